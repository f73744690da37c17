"""Loaded by mitmdump behind the recorder's addon: leads a client under test to the mock, and nowhere else.

A request to a recorded host, or to one of mitmdump's own listeners, goes to the mock with the name that the
client used; every other is refused with a 502 that names the host.  Nothing is ever forwarded.  Self-contained:
the standard library and mitmproxy only.
"""

from __future__ import annotations

import logging

from mitmproxy import ctx, http
from mitmproxy.addonmanager import Loader

REFUSED = "front: refused "


class Front:
    """Two options: ``front_mock`` is host:port of the mock, ``front_hosts`` the recorded hosts, by commas."""

    def load(self, loader: Loader) -> None:
        """Declare the options."""
        loader.add_option("front_mock", str, "", "host:port of the mock.")
        loader.add_option("front_hosts", str, "", "Recorded hosts, separated by commas.")

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Before anything is sent: to the mock, or refused."""
        request = flow.request
        named = request.host_header or request.host
        host = request.pretty_host.lower().strip("[]")
        if not self._is_for_the_mock(host, request.port):
            logging.warning(f"{REFUSED}{host}")
            text = f"polltape replay: {host} is not in the recording, and nothing is forwarded\n"
            flow.response = http.Response.make(502, text.encode(), {"Content-Type": "text/plain; charset=utf-8"})
            return
        scheme = "https" if flow.client_conn.tls_established else "http"
        mock_host, _, mock_port = str(ctx.options.front_mock).rpartition(":")
        request.scheme, request.host, request.port = "http", mock_host, int(mock_port)
        request.host_header = named  # the mock answers with URLs of the server that the client knows
        request.headers["X-Forwarded-Proto"] = scheme

    def _is_for_the_mock(self, host: str, port: int) -> bool:
        if host in str(ctx.options.front_hosts).lower().split(","):
            return True
        proxyserver = ctx.master.addons.get("proxyserver")
        here = {address[:2] for server in proxyserver.servers for address in server.listen_addrs}
        mock_host, _, mock_port = str(ctx.options.front_mock).rpartition(":")
        return host == "localhost" or (host, port) in {*here, (mock_host, int(mock_port))}


addons = [Front()]
