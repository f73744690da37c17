"""urllib3 with its Retry: `limit` calls a throttled API, `checkout` makes a checkout and takes what it gets."""

import os
import sys

import urllib3

BASE = os.environ["BASE"]
http = urllib3.ProxyManager(
    os.environ["HTTPS_PROXY"], retries=urllib3.Retry(total=3), ca_certs=os.environ["SSL_CERT_FILE"]
)
if sys.argv[1] == "limit":
    try:
        print(*(http.request("GET", f"{BASE}/things/{number}").status for number in (1, 2)))
    except urllib3.exceptions.InvalidHeader as error:
        print("InvalidHeader", error)
else:
    made = http.request("POST", f"{BASE}/admin/api/2024-04/checkouts.json", json={"checkout": {}})
    print(made.status, made.json()["checkout"]["completed_at"])
