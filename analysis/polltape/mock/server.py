"""The thin server around the mock: a listening socket, connections, an end.

The socket is bound by us first: port 0 gives a free one, and a port in use is one clear error.  The clock that
the mock sees starts at the wall clock and goes on by the monotonic one, so that it never goes back.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from math import inf
from typing import Any, Final

from polltape.errors import ServiceError
from polltape.mock.connection import Connection, Site
from polltape.mock.core import Mock
from polltape.mock.tls import Certificates

IDLE_S: Final = 75.0
"""A connection on which nothing comes for so long is closed."""
_BACKLOG: Final = 2048
_SWEEP_S: Final = 5.0
_SHUTDOWN_S: Final = 1.0
_TICK_S: Final = 0.01
_COLLECTING: Final = (5_000, 5, 1_000_000)
"""While a mock serves, garbage is looked for among what is young; among all else only when nobody asks."""

Log = Callable[[str], None]


def steady_clock() -> Callable[[], float]:
    """Seconds since 1970 that never go back, whatever happens to the wall clock."""
    offset = time.time() - time.monotonic()
    return lambda: offset + time.monotonic()


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


class Server:
    """The mock behind a listening socket while :meth:`run` runs; ``ready`` is called once it can be asked."""

    def __init__(
        self,
        mock: Mock,
        listener: socket.socket,
        authority: str,
        *,
        certificates: Certificates | None = None,
        log: Log | None = None,
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        clock = steady_clock()
        scheme = "http" if certificates is None else "https"
        self._site = Site(lambda request: mock.answer(request, clock()), scheme, authority, log)
        self._listener = listener
        self._tls = None if certificates is None else _context(certificates)
        self._ready = ready
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending = asyncio.Event()

    async def run(self) -> None:
        """Serve until told to stop."""
        self._loop = loop = asyncio.get_running_loop()
        made = await loop.create_server(
            lambda: Connection(self._site, loop), sock=self._listener, backlog=_BACKLOG, ssl=self._tls
        )
        sweeper = loop.create_task(self._sweep(loop))
        try:
            self._ready()
            await self._ending.wait()
        finally:
            sweeper.cancel()
            made.close()
            await self._end()

    @property
    def quiet_s(self) -> float:
        """How long nothing has come on any open connection; inf where there is none."""
        last = max((connection.active for connection in self._site.connections), default=-inf)
        return inf if self._loop is None else self._loop.time() - last

    def stop(self) -> None:
        """End it; to be called in its own thread."""
        self._ending.set()

    def stop_from_elsewhere(self) -> None:
        """End it, from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.stop)

    async def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close connections on which nothing has come for long; one timer for all of them."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            for connection in [*self._site.connections]:
                if not connection.busy and loop.time() - connection.active > IDLE_S:
                    connection.close()

    async def _end(self) -> None:
        """Let answers that are on their way arrive, for a moment."""
        for connection in [*self._site.connections]:
            connection.finish()
        until = time.monotonic() + _SHUTDOWN_S
        while self._site.connections and time.monotonic() < until:
            await asyncio.sleep(_TICK_S)
        for connection in [*self._site.connections]:
            connection.abort()


def _context(certificates: Certificates) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.chain, certificates.key)
    context.set_alpn_protocols(["http/1.1"])
    return context


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
        ready = threading.Event()
        server = Server(mock, listener, _authority(url), certificates=certificates, log=log, ready=ready.set)

        def work() -> None:
            try:
                _run(server.run())
            finally:
                ready.set()  # whoever waits does not wait for ever

        thread = threading.Thread(target=work, name="polltape-mock", daemon=True)
        thread.start()
        ready.wait()
        try:
            yield url
        finally:
            server.stop_from_elsewhere()
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
        server = Server(mock, listener, _authority(url), certificates=certificates, log=log, ready=lambda: ready(url))
        _settle()
        usual = gc.get_threshold()
        gc.set_threshold(*_COLLECTING)
        try:
            _run(_until_signal(server))
        finally:
            gc.set_threshold(*usual)


def _settle() -> None:
    """What is there now stays: the collector need not look through a hundred thousand operations again and again."""
    gc.collect()
    gc.freeze()


def _authority(url: str) -> str:
    return url.partition("//")[2]


async def _until_signal(server: Server) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # Windows has no signal handlers in its loop
            loop.add_signal_handler(number, server.stop)
    tidying = loop.create_task(_tidy(server))
    try:
        await server.run()
    finally:
        tidying.cancel()


async def _tidy(server: Server) -> None:
    """Look for garbage while nobody asks: where many clients have begun much, that takes longer than any answer."""
    while True:
        await asyncio.sleep(_SWEEP_S)
        if server.quiet_s >= _SWEEP_S:
            _settle()


def _run(work: Coroutine[Any, Any, None]) -> None:
    """On uvloop where there is one: it serves half as many requests again."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(work)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
