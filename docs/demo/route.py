"""Loaded into mitmdump by the demo: the shop's host is served by the mock, every other host is refused."""

import os
from urllib.parse import urlsplit

from mitmproxy import http

MOCK = urlsplit(os.environ["DEMO_MOCK"])
SHOP = os.environ["SHOP"]


def requestheaders(flow: http.HTTPFlow) -> None:
    """Send the shop's requests to the mock, under the shop's own name."""
    if flow.request.pretty_host != SHOP:
        flow.response = http.Response.make(502, b"the demo reaches nothing but its own mock\n")
        return
    flow.request.scheme, flow.request.host, flow.request.port = "http", MOCK.hostname or "", MOCK.port or 80
    flow.request.host_header = SHOP
