"""A tiny client: updates a checkout, then polls it: `polling.py polite`, `early`, `never`, or `hard` (polite, but
with the shop's own address written into it, so that it needs the proxy)."""

import json
import os
import sys
import time
import urllib.request

MANNER = sys.argv[1]
PATH = "/admin/api/2020-10/checkouts/0123456789abcdef0123456789abcdef.json"
BASE = "https://shop.example" if MANNER == "hard" else os.environ["POLLTAPE_BASE_URL"]


def ask(method: str, url: str, body: object = None) -> tuple[int, str | None]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        answer.read()
        return answer.status, answer.headers["Retry-After"]


status, asked = ask("PUT", BASE + PATH, {"checkout": {"note": "y"}})
while status == 202 and MANNER != "never":
    time.sleep(0.3 if MANNER == "early" else float(asked or 1) + 0.05)
    status, asked = ask("GET", BASE + PATH)
print("the checkout is done" if status == 200 else "not waiting")
