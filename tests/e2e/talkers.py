"""The standard library's client behind a recording proxy, in real time: what plays stories end to end."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urljoin
from urllib.request import HTTPRedirectHandler, HTTPSHandler, ProxyHandler, Request, build_opener

from mitmdumps import PATIENCE_S

from polltape.exchange import Header
from polltape.mock.core import Response


class _Stay(HTTPRedirectHandler):
    def redirect_request(self, *_: object, **__: object) -> None:
        return None


class Client:
    """One client of one server; ``token`` tells it from others, ``speed`` is the server's.

    ``answered`` is called with each answer.
    """

    def __init__(
        self,
        base: str,
        proxy: str,
        *,
        token: str | None = None,
        authority: Path | None = None,
        speed: float = 1.0,
        answered: Callable[[], object] = lambda: None,
    ) -> None:
        self._base = base
        self._own = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._speed = speed
        self._answered = answered
        handlers = [] if authority is None else [HTTPSHandler(context=ssl.create_default_context(cafile=authority))]
        self._opener = build_opener(ProxyHandler({"http": proxy, "https": proxy}), _Stay, *handlers)

    def __call__(self, method: str, url: str, sent: object = None, **headers: str) -> Response:
        body = None if sent is None else json.dumps(sent).encode()
        lines = {"Content-Type": "application/json", **self._own, **headers}
        request = Request(urljoin(self._base, url), body, lines, method=method)
        try:
            answer = self._opener.open(request, timeout=PATIENCE_S)
        except HTTPError as refused:
            answer = refused
        with answer:
            received = tuple(Header(*pair) for pair in answer.headers.items())
            told = Response(answer.status, answer.reason, received, answer.read())
        self._answered()
        return told

    def wait(self, answer: Response, default: float = 1.0) -> None:
        """As long as the answer asks to, to the millisecond where the server is a mock."""
        asked = answer.header("X-Polltape-Wait")
        time.sleep(default / self._speed if asked is None else float(asked))

    def pause(self, seconds: float) -> None:
        """A pause of the client's own."""
        time.sleep(seconds / self._speed)
