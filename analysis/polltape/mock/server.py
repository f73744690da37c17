"""The thin server around the mock: HTTP/1.1 in, :meth:`Mock.answer`, HTTP/1.1 out.  uvicorn and httptools.

The socket is bound by us first: port 0 gives a free one, and a port in use is one clear error.  The clock that
the mock sees starts at the wall clock and goes on by the monotonic one, so that it never goes back.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any, Final

import uvicorn

from polltape.errors import ServiceError
from polltape.exchange import Header, first_header
from polltape.mock.core import Mock
from polltape.mock.messages import Request, Response
from polltape.mock.tls import Certificates

MAX_BODY: Final = 64 * 1024 * 1024
"""Larger request bodies are answered 413."""
_BACKLOG: Final = 2048
_SHUTDOWN_S: Final = 1
_TICK_S: Final = 0.02

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Log = Callable[[str], None]


def steady_clock() -> Callable[[], float]:
    """Seconds since 1970 that never go back, whatever happens to the wall clock."""
    offset = time.time() - time.monotonic()
    return lambda: offset + time.monotonic()


@dataclass(frozen=True)
class App:
    """The mock as an ASGI application; ``log`` gets one line a request."""

    mock: Mock
    clock: Callable[[], float]
    authority: str
    log: Log | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, one answer; see the ASGI specification, HTTP connection scope."""
        if scope["type"] != "http":
            return
        try:
            body = await _read(receive)
        except ConnectionError:
            return  # half a request asks for nothing
        if body is None:
            await _send(send, Response(413, "", (Header("Content-Length", "0"), Header("Connection", "close"))))
            return
        request = self._request(scope, body)
        response = self.mock.answer(request, self.clock())
        if self.log is not None:
            self.log(f"{request.method} {request.target} -> {response.status}")
        if response.hold_s > 0:
            await asyncio.sleep(response.hold_s)
        await _send(send, response)

    def _request(self, scope: Scope, body: bytes) -> Request:
        headers = tuple(Header(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
        target = scope["raw_path"].decode("latin-1")
        if query := scope["query_string"]:
            target = f"{target}?{query.decode('latin-1')}"
        # Whoever stands in front (our recorder as a proxy) says what the client itself speaks.
        spoken = first_header(headers, "X-Forwarded-Proto")
        scheme = spoken if spoken in ("http", "https") else scope["scheme"]
        host = first_header(headers, "Host") or self.authority
        return Request(scope["method"], scheme, host, target, headers, body)


async def _read(receive: Receive) -> bytes | None:
    """The request's body, None where it is too large.  Raises ConnectionError where the client goes away."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError
        part = message.get("body", b"")
        size += len(part)
        if size > MAX_BODY:
            return None
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


async def _send(send: Send, response: Response) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})


class _Server(uvicorn.Server):
    """uvicorn's server that leaves signals to us: its own handling raises them again after the end."""

    def capture_signals(self) -> nullcontext[None]:  # type: ignore[override]
        return nullcontext()

    async def main_loop(self) -> None:
        """Until told to end; uvicorn's own loop makes a Date a second, which we do not need."""
        while not self.should_exit:
            await asyncio.sleep(_TICK_S)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket.  Raises ServiceError, naming the port, where there is none to be had."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError, OverflowError):
        raise ServiceError(f"cannot listen on host {host!r}: no such address", hint="try --host 127.0.0.1") from None
    listener = socket.socket(family, kind, proto)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as problem:
        listener.close()
        raise _unusable(host, port, problem) from None
    listener.setblocking(False)
    return listener


def _unusable(host: str, port: int, problem: OSError) -> ServiceError:
    if problem.errno == errno.EADDRINUSE:
        return ServiceError(f"port {port} on {host} is in use", hint="choose another with --port; --port 0 finds one")
    reason = (problem.strerror or str(problem)).lower()
    return ServiceError(f"cannot listen on {host}, port {port}: {reason}", hint="try --host 127.0.0.1 --port 0")


def base_url(listener: socket.socket, host: str, *, tls: bool) -> str:
    """The URL under which a client reaches the listener."""
    port = listener.getsockname()[1]
    name = f"[{host}]" if ":" in host else host
    return f"{'https' if tls else 'http'}://{name}:{port}"


def make_server(mock: Mock, authority: str, certificates: Certificates | None, log: Log | None) -> _Server:
    """A server that is not running yet."""
    config = uvicorn.Config(
        App(mock, steady_clock(), authority, log),
        http="httptools",
        ws="none",
        loop="asyncio",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_SHUTDOWN_S,
        ssl_certfile=None if certificates is None else str(certificates.chain),
        ssl_keyfile=None if certificates is None else str(certificates.key),
    )
    # Broken requests and connections cut off are a client's business and no news; all else is ours to hear.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    return _Server(config)


@contextmanager
def serving(
    mock: Mock,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    certificates: Certificates | None = None,
    log: Log | None = None,
) -> Iterator[str]:
    """Serve the mock in a thread of its own; gives the base URL, ready to be asked.  Ends with the block.

    Raises ServiceError where the port cannot be had.
    """
    with bind(host, port) as listener:
        url = base_url(listener, host, tls=certificates is not None)
        server = make_server(mock, url.partition("//")[2], certificates, log)
        thread = threading.Thread(
            target=asyncio.run, args=(server.serve(sockets=[listener]),), name="polltape-mock", daemon=True
        )
        thread.start()
        try:
            yield url
        finally:
            server.should_exit = True
            thread.join()


def serve(
    mock: Mock,
    *,
    host: str,
    port: int,
    certificates: Certificates | None = None,
    log: Log | None = None,
    ready: Callable[[str], None],
) -> None:
    """Serve the mock until SIGINT or SIGTERM; ``ready`` gets the base URL once it can be asked.

    Raises ServiceError where the port cannot be had.
    """
    with bind(host, port) as listener:
        url = base_url(listener, host, tls=certificates is not None)
        server = make_server(mock, url.partition("//")[2], certificates, log)
        asyncio.run(_until_signal(server, listener, lambda: ready(url)))


async def _until_signal(server: _Server, listener: socket.socket, ready: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        server.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # Windows has no signal handlers in its loop
            loop.add_signal_handler(number, stop)
    task = asyncio.ensure_future(server.serve(sockets=[listener]))
    while not server.started and not task.done():
        await asyncio.sleep(0.001)
    if server.started:
        ready()
    await task
