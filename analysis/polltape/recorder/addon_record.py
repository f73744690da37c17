"""Records HTTP exchanges for polltape:  mitmdump -s addons/record.py --set polltape_dir=captures

Needs nothing but the standard library and mitmproxy.  A child process, ``polltape helper``, redacts, writes the spool
and turns it into Parquet.  This file hands each raw exchange over as one frame through a pipe, and lets a response go
only once its frame is in it; what is in the pipe survives the death of mitmproxy.  If the helper dies or hangs, traffic
stops visibly; what a dead one had not spooled yet is kept here, and a second one brings it to the disk.
docs/record.md is the handbook page.

A frame is a prefix (:data:`PREFIX`: length of the payload, its CRC-32, running number of the frame, length of the head)
and the payload: a head, then the raw bodies.  The head of an exchange is numbers (:data:`EXCHANGE`), the lengths of the
texts, and the texts (:func:`head_of`); any other is JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
import json
import logging
import mmap
import os
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections import deque
from collections.abc import Awaitable, Coroutine, Iterator, Sequence
from itertools import chain
from pathlib import Path
from subprocess import PIPE, STDOUT
from typing import Any, Final

from mitmproxy import command, ctx, exceptions, flowfilter, http
from mitmproxy.addonmanager import Loader

FRAMES_VERSION: Final = 3
PREFIX: Final = struct.Struct(">IIQI")
EXCHANGE: Final = struct.Struct(">B??QIIII4d4q4q4H")
"""0 or (provisional) 1, streamed, client speaks TLS, seq, status, ports: named, client's, server's; four instants; four
readings of the clock; size of the request's body, and how much of it is kept, the same of the response's; fields of
request headers, request trailers, response headers, response trailers.  What is not there is 0, −1 or not a number."""
NOT_THERE: Final = float("nan")
MARKS_AT: Final = 24
MARKS: Final = ("given", "spooled", "recorded", "withheld", "left_out")
PIPE_BYTES: Final = 1 << 20
READY_S: Final = 30.0
SILENCE_S: Final = 60.0
END_S: Final = 3_600.0
SWEEP_S: Final = 1.0
BEAT_S: Final = 5.0

logger = logging.getLogger("polltape")

Fields = tuple[tuple[bytes, bytes], ...]


def utf8(text: str) -> bytes:
    """As UTF-8, whatever it holds."""
    return text.encode("utf-8", "replace")


class HelperError(Exception):
    """The helper cannot be started, died, or does not take what it is given."""


def frame(number: int, head: bytes, *bodies: bytes) -> tuple[bytes, ...]:
    """One frame in parts: prefix, head, bodies as they were on the wire."""
    length, checksum = len(head), zlib.crc32(head)
    for body in bodies:
        length, checksum = length + len(body), zlib.crc32(body, checksum)
    return PREFIX.pack(length, checksum, number, len(head)), head, *bodies


# ------------------------------------------------------------------------------------------ the helper


def find_helper(option: str) -> str:
    """The program ``polltape``: as named, else beside this Python, else on PATH."""
    if option:
        found, why = shutil.which(Path(option).expanduser()), f"polltape_helper={option}: no such program"
    else:
        found = shutil.which("polltape", path=str(Path(sys.executable).parent)) or shutil.which("polltape")
        why = "the program `polltape` is neither beside this Python nor on PATH"
    if found is None:
        raise HelperError(f"{why}; install it, or name it: --set polltape_helper=/path/to/polltape")
    return found


def helper_environment() -> dict[str, str]:
    """The environment, without the libraries that a stand-alone mitmproxy binary put in for itself."""
    environment = dict(os.environ)
    if getattr(sys, "frozen", False):
        environment["LD_LIBRARY_PATH"] = environment.pop("LD_LIBRARY_PATH_ORIG", "")
    return environment


class Marks:
    """Numbers in the session's lock file, which the helper shares: a SIGKILL of either, or both, leaves them readable.

    ``given``, the highest sequence number handed over, is ours; of the helper are ``spooled``, the bytes of whole
    frames that it took from the pipe and brought to the spool, and what it counted until then.
    """

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        size = MARKS_AT + 8 * len(MARKS)
        self._view: memoryview | None = None
        with contextlib.suppress(OSError):  # a file system that cannot share memory
            self._view = memoryview(mmap.mmap(self._file, size))[MARKS_AT:].cast("Q")

    def __getitem__(self, name: str) -> int:
        number = MARKS.index(name)
        if self._view is not None:
            return self._view[number]
        return int.from_bytes(os.pread(self._file, 8, MARKS_AT + 8 * number), sys.byteorder)

    def give(self, seq: int) -> None:
        """All up to this number have been handed over, or are under way."""
        if self._view is not None:
            self._view[0] = seq
        else:
            os.pwrite(self._file, seq.to_bytes(8, sys.byteorder), MARKS_AT)


class Helper:
    """The child process and the two pipes: frames to it, lines of JSON from it.

    Frames leave in the order in which they were given; what has no room in the pipe is the backlog.  A helper that
    takes nothing for ``patience_s`` while there is one counts as hung.  Frames are kept until they are spooled: as
    many as the pipe holds and the helper has at work.
    """

    def __init__(self, argv: Sequence[str], patience_s: float) -> None:
        self._patience_s = patience_s
        self._backlog = bytearray()
        self._taken = 0
        self._kept: deque[tuple[int, Sequence[bytes]]] = deque()  # where in the pipe each ends
        self._moved: asyncio.Future[None] | None = None
        self.marks: Marks | None = None
        self._broken = ""
        self._heard = b""
        self.error = self.said = ""
        self.end: dict[str, Any] = {}
        try:
            # In a session of its own: a Ctrl-C in the terminal is for mitmproxy alone.
            self.process = subprocess.Popen(
                argv,
                bufsize=0,
                stdin=PIPE,
                stdout=PIPE,
                stderr=STDOUT,
                start_new_session=True,
                env=helper_environment(),
            )
        except OSError as error:
            raise HelperError(f"{argv[0]} cannot be run: {error.strerror}") from error
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.pid, self._program = self.process.pid, argv[0]
        self._hung = f"the helper (pid {self.pid}) took nothing for {patience_s:g} s"
        self._in, self._out = self.process.stdin.fileno(), self.process.stdout.fileno()
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        with contextlib.suppress(AttributeError, OSError):
            fcntl.fcntl(self._in, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    # -- what it says

    def hear(self, deadline: float, *wanted: str) -> dict[str, Any]:
        """The helper's next line that has a key of these; blocks until the deadline (``time.monotonic``)."""
        while True:
            while b"\n" in self._heard:
                line, _, self._heard = self._heard.partition(b"\n")
                message = self._understand(line)
                if not message.keys().isdisjoint(wanted):
                    return message
            remaining = deadline - time.monotonic()
            if remaining <= 0 or not select.select([self._out], [], [], remaining)[0]:
                raise HelperError(f"the helper (pid {self.pid}) did not answer in time")
            data = os.read(self._out, 1 << 16)
            if not data:
                raise HelperError(self.death(deadline))
            self._heard += data

    def listen(self, rest: bool = False) -> None:
        """Take in what it has said, without waiting; the unfinished last line too, if this is the ``rest``."""
        with contextlib.suppress(OSError):
            while data := os.read(self._out, 1 << 16):
                self._heard += data
        *lines, self._heard = (self._heard + b"\n" * rest).split(b"\n")
        for line in lines:
            self._understand(line)

    def _understand(self, line: bytes) -> dict[str, Any]:
        """One line of it; what is meant for people is logged or kept."""
        try:
            message = json.loads(line)
        except ValueError:
            said = line.decode("utf-8", "replace").strip()
            message = {"said": said} if said else {}
        if not isinstance(message, dict):
            return {}
        for level, name in ((logging.INFO, "info"), (logging.WARNING, "warning")):
            if name in message:
                logger.log(level, f"polltape: {message[name]}")
        if "end" in message:
            self.end = message
        self.error = str(message.get("error", self.error))
        self.said = str(message.get("said", self.said))
        return message

    def death(self, deadline: float = 0.0) -> str:
        """Why the helper is not there any more, in its own last words if it left any."""
        self.listen(rest=True)
        try:
            code = self.process.wait(max(1.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return f"the helper (pid {self.pid}) closed its pipe"
        how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code} ({self._program})"
        return self.error or f"the helper {how}" + (f": {self.said}" if self.said else "")

    # -- what it gets

    def offer(self, parts: Sequence[bytes]) -> Awaitable[None] | None:
        """Hand over a frame: None where it is in the pipe already, else wait for this."""
        if self._broken:
            raise HelperError(self._broken)
        self._keep(parts)
        written = 0 if self._backlog else self._write(parts)
        if written == sum(map(len, parts)):
            return None
        # Whole frames only, whatever becomes of the one who waits: half a frame is no frame.
        self._backlog += b"".join(parts)[written:]
        asyncio.get_running_loop().add_writer(self._in, self._pump)
        return self._until(self._taken + len(self._backlog))

    def _keep(self, parts: Sequence[bytes]) -> None:
        if self.marks is None:
            return
        spooled, kept = self.marks["spooled"], self._kept
        while kept and kept[0][0] <= spooled:
            kept.popleft()
        kept.append((self._taken + len(self._backlog) + sum(map(len, parts)), parts))

    def unspooled(self) -> list[Sequence[bytes]]:
        """What was in the pipe whole and did not reach the spool."""
        spooled = self.marks["spooled"] if self.marks else 0
        return [parts for end, parts in self._kept if spooled < end <= self._taken]

    def _write(self, parts: Sequence[bytes | bytearray]) -> int:
        """Write what fits; how many bytes."""
        try:
            written = os.writev(self._in, parts)
        except BlockingIOError:
            return 0
        except OSError as error:
            self._broken = self.death()
            raise HelperError(self._broken) from error
        self._taken += written
        return written

    async def _until(self, goal: int) -> None:
        """Until the helper's pipe has taken so many bytes."""
        while self._taken < goal:
            if self._moved is None:
                self._moved = asyncio.get_running_loop().create_future()
            try:
                await asyncio.wait_for(asyncio.shield(self._moved), self._patience_s)
            except TimeoutError as error:
                raise HelperError(self._hung) from error
            if self._broken:
                raise HelperError(self._broken)

    def _pump(self) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(HelperError):
            del self._backlog[: self._write([self._backlog])]
        if self._broken or not self._backlog:
            loop.remove_writer(self._in)
        moved, self._moved = self._moved, None
        if moved is not None:
            moved.set_result(None)

    def put_now(self, parts: Sequence[bytes]) -> None:
        """The same without waiting in an event loop: for the start and the end."""
        self._keep(parts)
        self._backlog += b"".join(parts)
        while self._backlog:
            if not select.select([], [self._in], [], self._patience_s)[1]:
                raise HelperError(self._hung)
            del self._backlog[: self._write([self._backlog])]

    def close(self) -> None:
        """No more frames: the helper drains the pipe and finishes by itself."""
        with contextlib.suppress(RuntimeError):  # of a rescue, in a thread without an event loop
            asyncio.get_running_loop().remove_writer(self._in)
        assert self.process.stdin is not None
        self.process.stdin.close()

    @property
    def died(self) -> bool:
        """Whether the process is gone."""
        return self.process.poll() is not None

    def forget(self) -> None:
        """Let go of the process: it goes on alone, if it is still there."""
        assert self.process.stdout is not None
        self.process.stdout.close()
        if self.process.poll() is None:
            self.process.returncode = 0  # not ours to wait for any more; no warning when collected


@contextlib.contextmanager
def leaving_by_signal() -> Iterator[None]:
    """Inside, Ctrl-C and SIGTERM raise HelperError: mitmproxy's own handlers wait for the event loop."""

    def leave(number: int, _: object) -> None:
        raise HelperError(f"{signal.Signals(number).name} again: left; the helper makes the Parquet alone")

    before = {}
    with contextlib.suppress(ValueError):  # not in the main thread
        before = {number: signal.signal(number, leave) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


# -------------------------------------------------------------------------------------------- exchanges


class Track:
    """An exchange under way: what the flow does not tell; ``named``: what was addressed, before others rewrite it."""

    __slots__ = ("flow", "mono", "named", "provisional", "seq")

    def __init__(self, flow: http.HTTPFlow, seq: int) -> None:
        request = flow.request.data
        self.flow = flow
        self.seq = seq
        # The fields are never changed, only replaced: who rewrites the Host header does not change these.
        self.named = (request.scheme, request.host, request.port, request.authority, request.headers.fields)
        self.mono = [time.monotonic_ns(), -1, -1, -1]
        self.provisional = False


def host_header(http_version: bytes, authority: bytes, fields: Fields) -> bytes:
    """What the client named: ``:authority`` where the version has one, else the Host header."""
    if authority and http_version in (b"HTTP/2.0", b"HTTP/3"):
        return authority
    return next((value for name, value in fields if name.lower() == b"host"), b"")


def fields_of(message: http.MessageData) -> tuple[Fields, Fields]:
    """Headers and trailers."""
    return message.headers.fields, message.trailers.fields if message.trailers else ()


def head_of(track: Track, final: bool, cap: int) -> tuple[bytes, bytes, bytes]:
    """The head of an exchange's frame and its two bodies.

    Its texts are bytes as they were on the wire, else UTF-8: kind of the proxy mode, scheme, host, host header, method,
    target, version, reason, error, the client's and the server's address, ids of the two connections; then names and
    values of the fields.
    """
    flow, client, server, error = track.flow, track.flow.client_conn, track.flow.server_conn, track.flow.error
    request, response = flow.request.data, flow.response.data if flow.response else None
    sent, received = request.content, response.content if response else None
    kept, passed = (sent or b"")[:cap], (received or b"")[:cap]
    answered, ended = (response.timestamp_start, response.timestamp_end) if response else (None, None)
    if error and final:
        ended = error.timestamp
    peer, upstream = client.peername or ("", 0), server.peername or server.address or ("", 0)
    scheme, host, port, authority, fields = track.named
    lines = (*fields_of(request), *(fields_of(response) if response else ((), ())))
    texts = (
        *(utf8(client.proxy_mode.type_name), scheme, utf8(host), host_header(request.http_version, authority, fields)),
        *(request.method, request.path, request.http_version, response.reason if response else b""),
        *(utf8(error.msg or "failed") if error else b"", utf8(str(peer[0])), utf8(str(upstream[0]))),
        *(utf8(client.id), utf8(server.id), *chain.from_iterable(chain.from_iterable(lines))),
    )
    numbers = EXCHANGE.pack(
        *(not final, bool(flow.response and flow.response.stream), client.tls_established, track.seq),
        *(response.status_code if response else 0, port, peer[1], upstream[1]),
        *[NOT_THERE if at is None else at for at in (request.timestamp_start, request.timestamp_end, answered, ended)],
        *track.mono,
        *(-1 if sent is None else len(sent), len(kept), -1 if received is None else len(received), len(passed)),
        *map(len, lines),
    )
    lengths = struct.pack(f">{len(texts)}I", *map(len, texts))
    return b"".join((numbers, lengths, *texts)), kept, passed


# -------------------------------------------------------------------------------------------- options


# Default, help, and of some the values that there are.
OPTIONS: Final[dict[str, tuple[Any, ...]]] = {
    "polltape_dir": ("captures", "Folder that the recording goes to; made if it is not there."),
    "polltape_filter": ("", "Record only what matches this mitmproxy filter expression."),
    "polltape_helper": ("", "Path of `polltape`; else beside mitmproxy's Python, or on PATH."),
    "polltape_on_failure": ("stop", "When recording fails: stop all traffic, or go on.", "stop", "continue"),
    "polltape_timeout": (5, "Seconds that a response may wait for the helper."),
    "polltape_body_cap": ("16m", "Bytes kept of a body at most; its true size is kept."),
    "polltape_key": ("file", "Key of the pseudonyms: the user's, or one for this run.", "file", "ephemeral"),
    "polltape_par_key": ("", "SharedId of PAR, to judge x-pch-digest: env:NAME or a file; empty: not judged."),
    "polltape_fsync": ("second", "When the spool is forced to the disk.", "never", "second", "always"),
    "polltape_rotate": (300, "Seconds until a Parquet file is made."),
    "polltape_rotate_size": ("64m", "Size of the spool at which a Parquet file is made."),
    "polltape_keep_days": (0, "Remove Parquet files of the folder when they are older than this; 0: never."),
    "polltape_keep_size": ("", "Remove the oldest Parquet files of the folder above this size; empty: never."),
    "polltape_health": ("", "File with the recorder's state, for supervisors; else DIR/_health.json."),
    "polltape_keep_unparsed": (False, "Keep bodies that cannot be read; secrets in them reach the disk."),
    "polltape_store_secrets": (False, "Switch redaction OFF: everything reaches the disk as it was."),
}


def option_complaint(name: str, value: Any) -> str | None:
    """What is wrong with a ``polltape_…`` option as the user gave it.

    mitmproxy's own conversion fails after `load`, in a task whose failure nobody sees, and goes on without us.
    """
    if name not in OPTIONS:
        return f"no such option: {name} (there are {', '.join(sorted(OPTIONS))})"
    default, _, *choices = OPTIONS[name]
    kind = type(default)
    texts = getattr(value, "val", None)  # of --set; a configuration file gives values with types
    if texts is None and not isinstance(value, kind):
        return f"{name}={value}: must be of type {kind.__name__}"
    if texts is not None and len(texts) > 1:
        return f"{name} is given {len(texts)} times"
    given = str(value) if texts is None else "".join(texts)
    if kind is bool and texts is not None:
        choices = ["true", "false"] if given else []
    if choices and given not in choices:
        return f"{name}={given}: must be one of {', '.join(choices)}"
    if kind is int and not re.fullmatch(r"[0-9]{1,6}" if default == 0 else r"[1-9][0-9]{0,5}", given):
        return f"{name}={given}: must be a whole number, {1 if default else 0} to 999999"
    if given.startswith("~") and "filter" not in name:
        try:
            Path(given).expanduser()
        except RuntimeError:
            return f"{name}={given}: whose home is that?"
    return None


# ------------------------------------------------------------------------------------------- the addon


class Recorder:
    """The hooks.  One recording session from ``running`` to ``done``."""

    def __init__(self) -> None:
        self._helper: Helper | None = None
        self._failure: str | None = None
        self._over = False
        self._complaints: list[str] = []
        self._matches: flowfilter.TFilter | None = None
        self._program = ""
        self._cap = 1 << 24
        self._numbers: Iterator[int] = itertools.count(1)
        self._seq = 0
        self._given = 0
        self._tracks: dict[str, Track] = {}
        self._skipped: list[int] = []
        self._recorded = 0
        self._unrecorded = 0
        self._background: set[asyncio.Task[Any]] = set()
        self._saving: threading.Thread | None = None
        self._session = ""

    def load(self, loader: Loader) -> None:
        for name, (default, help_, *choices) in OPTIONS.items():
            loader.add_option(name, type(default), default, help_, choices or None)
        for name, value in list(ctx.options.deferred.items()):
            if name.startswith("polltape_") and (complaint := option_complaint(name, value)):
                del ctx.options.deferred[name]
                self._complaints.append(complaint)

    def configure(self, updated: set[str]) -> None:
        mine = OPTIONS.keys() & updated
        if self._helper is not None:
            if mine:
                raise exceptions.OptionsError(f"{min(mine)} cannot be changed while polltape records")
            return
        try:
            self._matches = flowfilter.parse(ctx.options.polltape_filter) if ctx.options.polltape_filter else None
            self._program = find_helper(ctx.options.polltape_helper)
        except (HelperError, ValueError) as error:
            about = "" if isinstance(error, HelperError) else f"polltape_filter={ctx.options.polltape_filter}: "
            self._complaints.append(f"{about}{error}")
        if self._complaints:
            self._complain(self._complaints[0])

    def _complain(self, what: str) -> None:
        """One line.  At start-up it ends mitmdump with status 1 (an OptionsError would be a traceback)."""
        if self._failure is None:
            self._failure = what
            logger.error(f"polltape: {what}")

    def running(self) -> None:
        if self._failure is None and self._helper is None:
            try:
                self._start()
            except HelperError as error:
                self._complain(str(error))

    def _start(self) -> None:
        self._helper, ready = self._new_helper()
        self._cap, self._session = ready["body_cap"], ready["session"]
        try:
            self._helper.marks = Marks(ready["marks"])
        except OSError as error:
            raise HelperError(f"{ready['marks']}: {error.strerror}") from error
        what = f" what matches {ctx.options.polltape_filter}" if ctx.options.polltape_filter else ""
        logger.info(f"polltape records to {self._directory}{what}")
        self._in_background(self._sweep())

    def _new_helper(self, **more: Any) -> tuple[Helper, dict[str, Any]]:
        """A helper that is ready, and what it said then."""
        options = {name: getattr(ctx.options, name) for name in (*OPTIONS, "mode", "keep_host_header")}
        arguments = ["helper", "--frames", str(FRAMES_VERSION), "--dir", self._directory]
        helper = Helper([self._program, *arguments], float(ctx.options.polltape_timeout))
        helper.put_now(self._note("start", options=options, **more))
        return helper, helper.hear(time.monotonic() + READY_S, "ready")

    @property
    def _directory(self) -> str:
        return str(Path(ctx.options.polltape_dir or "captures").expanduser().absolute())

    def _note(self, kind: str, **more: Any) -> tuple[bytes, ...]:
        """A frame that is no exchange."""
        head: dict[str, Any] = {"kind": kind, "skipped": self._skipped, "under_way": len(self._tracks), **more}
        self._skipped = []
        head |= {"wall": time.time(), "mono": time.monotonic_ns()}
        return frame(next(self._numbers), json.dumps(head).encode())

    def done(self) -> None:
        self._over = True
        for task in self._background:
            task.cancel()
        if self._helper is not None:
            self._finish(self._helper)
            self._helper = None
        if self._failure is not None and self._stops():
            logging.getLogger("asyncio").disabled = True  # 3.12.1 would print each connection that this cancels
            raise SystemExit(1)

    def _finish(self, helper: Helper) -> None:
        under_way = list(self._tracks.values())
        wanted = [track for track in under_way if self._wanted(track.flow)]
        self._skipped += [track.seq for track in under_way if track not in wanted]
        try:
            if self._failure is None:
                for track in wanted:
                    helper.put_now(self._exchange_frame(track, final=False))
                helper.put_now(self._note("stop", last=self._seq))
            helper.close()
            self._hear_out(helper, SILENCE_S if self._failure is None else 1.0)
        except HelperError as error:
            self._complain(f"{error}; what it has is in {self._directory}")
        if self._saving is not None:
            with leaving_by_signal(), contextlib.suppress(HelperError):
                self._saving.join()
        elif self._failure is not None and helper.died:
            self._save(helper, wanted)
        helper.forget()
        self._say_end(helper)

    def _save(self, dead: Helper, under_way: Sequence[Track] = ()) -> None:
        """A second helper goes on with the session of a dead one: what that had not spooled, and its Parquet."""
        frames = dead.unspooled()
        if dead.marks is None or (dead.end and not frames):
            return
        self._numbers = itertools.repeat(0)
        counts = {name: dead.marks[name] for name in MARKS[2:]}
        second = None
        try:
            second, _ = self._new_helper(session=self._session, counts=counts, last=dead.marks["given"])
            for parts in frames:
                second.put_now(parts)
            for track in under_way:
                second.put_now(self._exchange_frame(track, final=False))
            second.close()
            self._hear_out(second, SILENCE_S)
            dead.end = second.end
            logger.info("polltape: what the dead helper had not written is saved")
        except HelperError as error:
            logger.warning(f"polltape: what the dead helper had not written cannot be saved: {error}")
        finally:
            if second is not None:
                second.forget()

    def _hear_out(self, helper: Helper, silence_s: float) -> None:
        """Wait for the helper's last word, as long as it tells that it works on."""
        begin = time.monotonic()
        told = silence_s < SILENCE_S
        with leaving_by_signal():
            while "end" not in helper.hear(min(time.monotonic() + silence_s, begin + END_S), "end", "working"):
                if not told and time.monotonic() - begin > 2.0:
                    told = True
                    logger.info("polltape makes Parquet of what is recorded (Ctrl-C: leave that to the helper)")

    def _say_end(self, helper: Helper) -> None:
        """One line: what is there, as the helper counted it; without it, what is known."""
        unknown = f"handed over {self._recorded} exchanges; `polltape recover` tells how many arrived,"
        lost = self._recorded - helper.end.get("exchanges", self._recorded)
        notes = ((lost, "lost"), (self._unrecorded, "not recorded"))
        more = "".join(f"; {number} {what}" for number, what in notes if number > 0)
        logger.info(f"polltape {helper.end.get('end', unknown)} in {self._directory}{more}")

    # -- failure

    def _stops(self) -> bool:
        return bool(ctx.options.polltape_on_failure == "stop")

    def _fail(self, reason: str) -> None:
        if self._failure is not None:
            return
        if self._stops():
            self._complain(f"{reason}; traffic stops here, what is recorded is in {self._directory}")
            ctx.master.shutdown()
            return
        self._complain(f"{reason}; traffic goes on UNRECORDED (polltape_on_failure=continue)")
        if self._helper is not None and self._helper.died:
            self._saving = threading.Thread(target=self._save, args=[self._helper], daemon=True)
            self._saving.start()

    def _refuse(self, flow: http.HTTPFlow) -> None:
        """This exchange is not recorded: it must not reach the client either, unless the user wants that."""
        self._unrecorded += 1
        if self._stops() and flow.killable:
            flow.kill()

    # -- hooks: None, or what mitmproxy has to await

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        if self._helper is None and self._failure is None and not self._over:
            self.running()  # the servers are up a moment before addons are told so
        if self._helper is None or self._failure is not None:
            self._refuse(flow)
        elif flow.live:  # else read from a file, not seen on the wire: `polltape convert` does that
            self._seq += 1
            self._tracks[flow.id] = Track(flow, self._seq)

    def request(self, flow: http.HTTPFlow) -> None:
        if track := self._tracks.get(flow.id):
            track.mono[1] = time.monotonic_ns()

    def responseheaders(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        track = self._tracks.get(flow.id)
        if track is None:
            return None
        track.mono[2] = time.monotonic_ns()
        assert flow.response is not None
        if flow.response.stream:
            return self._provisional(track)
        # An addon after this one may decide to stream.
        asyncio.get_running_loop().call_soon(self._look_again, track)
        return None

    def _look_again(self, track: Track) -> None:
        response = track.flow.response
        if response is not None and response.stream:
            self._in_background(self._provisional(track))

    def _in_background(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def response(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        track = self._tracks.pop(flow.id, None)
        if track is None:
            return None
        track.mono[3] = time.monotonic_ns()
        if self._failure is not None or self._over:  # mitmproxy lets some traffic pass after our end
            self._refuse(flow)
        elif self._wanted(flow):
            self._recorded += 1
            return self._tell(track, final=True)
        else:
            self._skipped.append(track.seq)
            if track.provisional:
                return self._hand_over(None, self._note("retract", seq=track.seq))
        return None

    error = response

    def _wanted(self, flow: http.HTTPFlow) -> bool:
        return self._matches is None or bool(self._matches(flow))

    def _exchange_frame(self, track: Track, final: bool) -> tuple[bytes, ...]:
        before = self._note("skipped") if self._skipped else ()
        if track.seq > self._given and self._helper is not None and self._helper.marks is not None:
            self._given = track.seq
            self._helper.marks.give(track.seq)
        try:
            return *before, *frame(next(self._numbers), *head_of(track, final, self._cap))
        except Exception as error:  # another addon made of the flow what no flow is
            raise HelperError(f"an exchange cannot be written down ({type(error).__name__}: {error})") from error

    def _tell(self, track: Track, final: bool) -> Awaitable[None] | None:
        """Hand an exchange over as it is now."""
        try:
            parts = self._exchange_frame(track, final)
        except HelperError as error:
            self._not_handed_over(track.flow, error)
            return None
        return self._hand_over(track.flow, parts)

    def _hand_over(self, flow: http.HTTPFlow | None, parts: tuple[bytes, ...]) -> Awaitable[None] | None:
        """None once the frame is in the pipe, else wait for this; on failure the flow is refused."""
        assert self._helper is not None
        try:
            waiting = self._helper.offer(parts)
        except HelperError as error:
            self._not_handed_over(flow, error)
            return None
        return None if waiting is None else self._handed_over(flow, waiting)

    async def _handed_over(self, flow: http.HTTPFlow | None, waiting: Awaitable[None]) -> None:
        try:
            await waiting
        except HelperError as error:
            self._not_handed_over(flow, error)

    def _not_handed_over(self, flow: http.HTTPFlow | None, error: HelperError) -> None:
        self._fail(str(error))
        if flow is not None:
            self._recorded -= self._tracks.pop(flow.id, None) is None
            self._refuse(flow)

    async def _provisional(self, track: Track) -> None:
        """What is known of an exchange that has not ended; replaced by its last frame."""
        if self._failure is not None or self._over or track.provisional or track.flow.id not in self._tracks:
            return
        if self._wanted(track.flow):
            track.provisional = True
            if waiting := self._tell(track, final=False):
                await waiting

    async def _sweep(self) -> None:
        """Once a second: what does the helper say, what is under way for long; every five a heartbeat."""
        assert self._helper is not None
        next_beat = time.monotonic() + BEAT_S
        while self._failure is None:
            await asyncio.sleep(SWEEP_S)
            self._helper.listen()
            if self._helper.died:
                self._fail(self._helper.death())
                return
            old = time.monotonic_ns() - int(SWEEP_S * 1e9)
            for track in [t for t in self._tracks.values() if not t.provisional and t.mono[0] < old]:
                await self._provisional(track)
            if time.monotonic() >= next_beat:
                next_beat += BEAT_S
                await self._send("beat")

    async def _send(self, kind: str) -> None:
        if waiting := self._hand_over(None, self._note(kind)):
            await waiting

    # -- commands

    @command.command("polltape.status")  # type: ignore[untyped-decorator]
    def status(self) -> str:
        """How the recording stands."""
        if self._helper is None:
            return "polltape does not record"
        state = f"failed: {self._failure}" if self._failure else f"records to {self._directory}"
        return f"polltape {state}: {self._recorded} exchanges, {len(self._tracks)} under way"

    @command.command("polltape.rotate")  # type: ignore[untyped-decorator]
    def rotate(self) -> None:
        """Make a Parquet file of what has been recorded until now."""
        if self._helper is not None and self._failure is None:
            self._in_background(self._send("rotate"))


addons = [Recorder()]
