"""requests: `adapter` with a Retry mounted, `polite` in a loop that waits, `busy` in one that does not."""

import math
import os
import sys
import time

import requests
from requests.adapters import HTTPAdapter
from urllib3 import Retry

BASE = os.environ["BASE"]
CHECKOUTS = f"{BASE}/admin/api/2024-04/checkouts"
session = requests.Session()

if sys.argv[1] == "adapter":
    session.mount("https://", HTTPAdapter(max_retries=Retry(total=3, status_forcelist=[429, 503])))
    try:
        print(*(session.get(f"{BASE}/things/{number}").status_code for number in (1, 2)))
    except requests.RequestException as error:
        print(type(error).__name__, error)
else:
    answer = session.post(f"{CHECKOUTS}.json", json={"checkout": {}})
    path = f"{CHECKOUTS}/{answer.json()['checkout']['token']}.json"
    while answer.status_code == 202:
        if sys.argv[1] == "polite":
            time.sleep(math.ceil(float(answer.headers.get("Retry-After", 1))))
        answer = session.get(path)
    print(answer.status_code)
