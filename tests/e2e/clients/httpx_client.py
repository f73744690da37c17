"""httpx: `polite` waits in a loop, `trusting` takes a success for the answer."""

import math
import os
import sys
import time

import httpx

BASE = os.environ["BASE"]
CHECKOUTS = f"{BASE}/admin/api/2024-04/checkouts"

with httpx.Client() as client:
    answer = client.post(f"{CHECKOUTS}.json", json={"checkout": {}})
    answer.raise_for_status()
    path = f"{CHECKOUTS}/{answer.json()['checkout']['token']}.json"
    while sys.argv[1] == "polite" and answer.status_code == 202:
        time.sleep(math.ceil(float(answer.headers.get("Retry-After", 1))))
        answer = client.get(path)
    print(answer.status_code)
