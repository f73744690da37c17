"""Mocks behind a recording mitmdump, each with a host name of its own, so that clients find them as real servers.

Clients come by HTTPS_PROXY; Node knows none and is led to a second listener, as ``polltape replay --client`` does.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast
from urllib.parse import urlsplit

from mitmdumps import Mitmdump, Start, wait_for

from polltape.mock.core import Mock, Request, Response
from polltape.mock.server import serving
from polltape.replay import front
from polltape.replay.client import Front, environment

LISTENING = re.compile(r"(reverse proxy to \S+|HTTP\(S\) proxy) listening at (\S+:\d+)")


class Shops:
    """Answers as a mock does, by the host that the client names."""

    def __init__(self, mocks: Mapping[str, Mock]) -> None:
        self._mocks = mocks

    def answer(self, request: Request, now: float) -> Response:
        return self._mocks[request.authority.partition(":")[0]].answer(request, now)


@contextmanager
def recorded_shops(
    start: Start, mocks: Mapping[str, Mock], *arguments: str, environ: Mapping[str, str] | None = None
) -> Iterator[tuple[Mitmdump, dict[str, str]]]:
    """A mitmdump that records, and the environment of a client that is to reach the mocks through it.

    ``arguments`` and ``environ`` are mitmdump's, besides what it needs.
    """
    with serving(cast("Mock", Shops(mocks))) as url:
        mock = urlsplit(url).netloc
        settings = {"connection_strategy": "lazy", "keep_host_header": "true"}
        settings |= {"front_mock": mock, "front_hosts": ",".join(mocks)}
        mitmdump = start(
            *("-s", front.__file__),
            *("--mode", f"reverse:http://{mock}@127.0.0.1:0", "--mode", "regular@localhost:0"),
            *(part for name, value in settings.items() for part in ("--set", f"{name}={value}")),
            *arguments,
            environment=environ,
        )
        assert mitmdump.port  # it is ready
        wait_for("both listeners", lambda: len(LISTENING.findall(mitmdump.output)) == 2)
        at = {name.partition(" ")[0]: where for name, where in LISTENING.findall(mitmdump.output)}
        made = Front(
            *(f"http://{at['reverse']}", f"http://{at['HTTP(S)']}"),
            *(mitmdump.confdir / "mitmproxy-ca-cert.pem", mitmdump.captures),
        )
        yield mitmdump, environment(os.environ, made)
