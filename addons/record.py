"""Records HTTP exchanges for polltape:  mitmdump -s addons/record.py --set polltape_dir=captures

Needs nothing but the standard library and mitmproxy.  The work is done by a child process, ``polltape
helper``: it redacts, writes the spool and turns it into Parquet.  This file hands each raw exchange over as
one frame through a pipe, and lets a response go only once its frame is in the pipe; what is in the pipe
survives the death of mitmproxy.  If the helper dies or hangs, traffic stops visibly.

A frame is a prefix (:data:`PREFIX`: length of the payload, its CRC-32, running number of the frame, length
of the head) and the payload: a head in JSON, then the raw bodies.  Text in a head that was bytes on the wire
has one character a byte.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
import json
import logging
import os
import re
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import deque
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from mitmproxy import command, ctx, exceptions, flowfilter, http
from mitmproxy.addonmanager import Loader
from mitmproxy.utils import human

FRAMES_VERSION: Final = 1
PREFIX: Final = struct.Struct(">IIQI")
PIPE_BYTES: Final = 1 << 20
READY_S: Final = 30.0
FINISH_S: Final = 30.0
SWEEP_S: Final = 1.0
BEAT_S: Final = 5.0
FAILURES: Final = ("stop", "continue")
KEYS: Final = ("file", "ephemeral")
FSYNCS: Final = ("never", "second", "always")

logger = logging.getLogger("polltape")


class HelperError(Exception):
    """The helper cannot be started, died, or does not take what it is given."""


def frame(number: int, head: dict[str, Any], *bodies: bytes) -> bytes:
    """One frame: prefix, head as JSON, bodies as they were on the wire."""
    encoded = json.dumps(head, separators=(",", ":")).encode()
    payload = b"".join((encoded, *bodies))
    return PREFIX.pack(len(payload), zlib.crc32(payload), number, len(encoded)) + payload


class Uuid7:
    """UUIDs of version 7 (RFC 9562 §5.7): in order of time, and strictly rising within one process."""

    def __init__(self) -> None:
        self._last = 0

    def __call__(self) -> str:
        value = (time.time_ns() // 1_000_000) << 74 | int.from_bytes(os.urandom(10)) >> 6
        self._last = value = max(value, self._last + 1)
        milliseconds, high, low = value >> 74, value >> 62 & 0xFFF, value & (1 << 62) - 1
        digits = f"{milliseconds << 80 | 7 << 76 | high << 64 | 2 << 62 | low:032x}"
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


# ------------------------------------------------------------------------------------------ the helper


def find_helper(option: str) -> str:
    """The program ``polltape``: as named, else beside this Python, else on PATH."""
    if option:
        found = shutil.which(Path(option).expanduser())
        if found is None:
            raise HelperError(f"polltape_helper={option}: no such program; give the path of `polltape`")
        return found
    found = shutil.which("polltape", path=str(Path(sys.executable).parent)) or shutil.which("polltape")
    if found is None:
        raise HelperError(
            "the program `polltape` is neither beside this Python nor on PATH; "
            "install it, or name it: --set polltape_helper=/path/to/polltape"
        )
    return found


def helper_environment() -> dict[str, str]:
    """The environment, without what a stand-alone mitmproxy binary put in for itself."""
    environment = dict(os.environ)
    if getattr(sys, "frozen", False):
        original = environment.pop("LD_LIBRARY_PATH_ORIG", None)
        environment.pop("LD_LIBRARY_PATH", None)
        if original is not None:
            environment["LD_LIBRARY_PATH"] = original
    return environment


class Helper:
    """The child process and the two pipes: frames to it, lines of JSON from it.

    Frames leave in the order in which they were given.  ``patience_s`` is how long a frame may wait for room
    in the pipe before the helper counts as hung.
    """

    def __init__(self, argv: Sequence[str], patience_s: float) -> None:
        self._patience_s = patience_s
        self._queue: deque[tuple[memoryview, asyncio.Future[None]]] = deque()
        self._heard = b""
        self.said: list[str] = []
        try:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                bufsize=0,
                start_new_session=True,  # a Ctrl-C in the terminal is for mitmproxy alone
                env=helper_environment(),
            )
        except OSError as error:
            raise HelperError(f"{argv[0]} cannot be run: {error.strerror}") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        with contextlib.suppress(AttributeError, OSError):
            fcntl.fcntl(self._in, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    @property
    def pid(self) -> int:
        return self._process.pid

    def hear(self, deadline: float, wanted: str) -> dict[str, Any]:
        """The helper's line that has the key ``wanted``; blocks until the deadline (``time.monotonic``)."""
        while True:
            *lines, self._heard = self._heard.split(b"\n")
            for line in lines:
                message = self._understand(line)
                if wanted in message:
                    return message
            remaining = deadline - time.monotonic()
            if remaining <= 0 or not select.select([self._out], [], [], remaining)[0]:
                raise HelperError(f"the helper (pid {self.pid}) did not answer in time")
            data = os.read(self._out, 1 << 16)
            if not data:
                raise HelperError(self.death(deadline))
            self._heard += data

    def _understand(self, line: bytes) -> dict[str, Any]:
        try:
            message = json.loads(line)
        except ValueError:
            message = {"said": line.decode("utf-8", "replace").strip()}
        if not isinstance(message, dict):
            return {}
        said = message.get("error") or message.get("said")
        if said:
            self.said.append(str(said))
        return message

    def is_dead(self) -> bool:
        return self._process.poll() is not None

    def death(self, deadline: float = 0.0) -> str:
        """Why the helper is not there any more, in its own last words if it left any."""
        with contextlib.suppress(OSError):
            while data := os.read(self._out, 1 << 16):
                self._heard += data
        for line in self._heard.split(b"\n"):
            self._understand(line)
        self._heard = b""
        try:
            code = self._process.wait(max(1.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return f"the helper (pid {self.pid}) closed its pipe"
        how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
        return f"the helper {how}" + (f": {self.said[-1]}" if self.said else "")

    def _push(self, data: memoryview) -> memoryview:
        """Write what fits; the rest."""
        try:
            while data:
                data = data[os.write(self._in, data) :]
        except BlockingIOError:
            pass
        except OSError as error:
            raise HelperError(self.death()) from error
        return data

    async def put(self, data: bytes) -> None:
        """Return once the whole frame is in the pipe."""
        rest = memoryview(data)
        if not self._queue:
            rest = self._push(rest)
            if not rest:
                return
        future = asyncio.get_running_loop().create_future()
        self._queue.append((rest, future))
        if len(self._queue) == 1:
            asyncio.get_running_loop().add_writer(self._in, self._pump)
        try:
            # The frame stays in the queue whatever becomes of the one who waits: half a frame is no frame.
            await asyncio.wait_for(asyncio.shield(future), self._patience_s)
        except TimeoutError as error:
            raise HelperError(f"the helper (pid {self.pid}) took nothing for {self._patience_s:g} s") from error

    def _pump(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._queue:
                rest = self._push(self._queue[0][0])
                if rest:
                    self._queue[0] = (rest, self._queue[0][1])
                    return
                self._settle(self._queue.popleft()[1], None)
        except HelperError as error:
            while self._queue:
                self._settle(self._queue.popleft()[1], error)
        loop.remove_writer(self._in)

    @staticmethod
    def _settle(future: asyncio.Future[None], error: HelperError | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
            future.exception()  # whoever waited may be gone

    def put_now(self, data: bytes, deadline: float) -> None:
        """The same without an event loop: for the start and the end."""
        waiting = [rest for rest, _ in self._queue] + [memoryview(data)]
        for _, future in self._queue:
            self._settle(future, None)
        if self._queue:
            asyncio.get_running_loop().remove_writer(self._in)
            self._queue.clear()
        for rest in waiting:
            while rest := self._push(rest):
                if not select.select([], [self._in], [], max(0.0, deadline - time.monotonic()))[1]:
                    raise HelperError(f"the helper (pid {self.pid}) took nothing for {self._patience_s:g} s")

    def close(self) -> None:
        """No more frames: the helper drains the pipe and finishes by itself."""
        if self._queue:
            asyncio.get_running_loop().remove_writer(self._in)
        assert self._process.stdin is not None
        self._process.stdin.close()

    def forget(self) -> None:
        """Let go of the process: it goes on alone, if it is still there."""
        assert self._process.stdout is not None
        self._process.stdout.close()
        if self._process.poll() is None:
            self._process.returncode = 0  # not ours to wait for any more; no warning when collected


# -------------------------------------------------------------------------------------------- exchanges


class Track:
    """An exchange under way: what the flow itself does not tell."""

    def __init__(self, flow: http.HTTPFlow, exchange_id: str, seq: int, named: tuple[str, str, int]) -> None:
        self.flow = flow
        self.exchange_id = exchange_id
        self.seq = seq
        self.named = named
        self.mono: list[int | None] = [time.monotonic_ns(), None, None, None]
        self.provisional = False


_HOST_PORT: Final = re.compile(r"(.*?)(?::(\d{1,5}))?", re.DOTALL)


def named_target(flow: http.HTTPFlow, keep_host_header: bool) -> tuple[str, str, int]:
    """Scheme, host and port that the client named, wherever the request is really sent to.

    In reverse mode mitmproxy has put the upstream's name into the Host header before any addon is asked,
    unless ``keep_host_header`` is set: the upstream's scheme belongs to that name.
    """
    request = flow.request
    kind = flow.client_conn.proxy_mode.type_name
    if kind == "reverse" and not keep_host_header:
        scheme = request.scheme
    elif flow.client_conn.tls_established:
        scheme = "https"
    else:
        scheme = request.scheme if kind in ("regular", "upstream") else "http"
    match = _HOST_PORT.fullmatch(request.host_header or "")
    if match is None or not match[1]:
        return scheme, request.host.lower(), request.port
    port = int(match[2]) if match[2] else {"http": 80, "https": 443}.get(scheme, request.port)
    return scheme, match[1].strip("[]").lower(), port


def text(raw: bytes | None) -> str | None:
    return raw.decode("latin-1") if raw else None


def pairs(headers: http.Headers | None) -> list[tuple[str, str]]:
    return [(n.decode("latin-1"), v.decode("latin-1")) for n, v in headers.fields] if headers else []


def address(peer: tuple[Any, ...] | None) -> str | None:
    if not peer:
        return None
    host, port = peer[0], peer[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def body(message: http.Message | None, cap: int) -> tuple[dict[str, Any], bytes]:
    """What the head tells about a body, and as much of it as is handed over."""
    content = message.raw_content if message is not None else None
    if content is None:
        return {"size": None, "kept": None}, b""
    return {"size": len(content), "kept": min(len(content), cap)}, content[:cap]


def head_of(track: Track, final: bool, cap: int) -> tuple[dict[str, Any], bytes, bytes]:
    """The head of an exchange's frame and its two bodies."""
    flow, request, response = track.flow, track.flow.request, track.flow.response
    request_body, sent = body(request, cap)
    response_body, received = body(response, cap)
    ended = response.timestamp_end if response else None
    if flow.error and final:
        ended = flow.error.timestamp
    scheme, host, port = track.named
    head: dict[str, Any] = {
        "kind": "exchange" if final else "provisional",
        "id": track.exchange_id,
        "seq": track.seq,
        "method": request.data.method.decode("latin-1"),
        "scheme": scheme,
        "host": host,
        "port": port,
        "target": request.data.path.decode("latin-1"),
        "http_version": request.data.http_version.decode("latin-1"),
        "times": [
            request.timestamp_start,
            request.timestamp_end,
            response.timestamp_start if response else None,
            ended,
        ],
        "mono": track.mono,
        "request_headers": pairs(request.headers),
        "request_trailers": pairs(request.trailers),
        "request_body": request_body,
        "error": flow.error.msg if flow.error else None,
        "client_address": address(flow.client_conn.peername),
        "server_address": address(flow.server_conn.peername or flow.server_conn.address),
        "client_connection": flow.client_conn.id,
        "server_connection": flow.server_conn.id,
        "response_body": response_body,
    }
    if response is not None:
        head["status"] = response.status_code
        head["reason"] = text(response.data.reason)
        head["response_headers"] = pairs(response.headers)
        head["response_trailers"] = pairs(response.trailers)
        head["streamed"] = bool(response.stream)
    return head, sent, received


# ------------------------------------------------------------------------------------------- the addon


class Settings(NamedTuple):
    """The options, checked."""

    directory: Path
    filter_text: str | None
    matches: flowfilter.TFilter | None
    helper: str
    on_failure: str
    patience_s: float
    body_cap: int
    helper_arguments: tuple[str, ...]


def complain(what: str) -> None:
    """One line.  At start-up it also ends mitmdump with status 1 (an OptionsError would be a traceback)."""
    logger.error(f"polltape: {what}")


def option_complaint(name: str, value: Any) -> str | None:
    """What is wrong with one ``polltape_…`` option as the user gave it, before mitmproxy converts it.

    mitmproxy's own conversion fails after `load`, in a task whose failure nobody sees: mitmdump would go on
    without the recorder.
    """
    kind = next((kind for known, kind, *_ in OPTIONS if known == name), None)
    if kind is None:
        return f"no such option: {name} (there are {', '.join(sorted(known for known, *_ in OPTIONS))})"
    texts = getattr(value, "val", None)  # of --set; a configuration file gives values with types
    if texts is None:
        return None if isinstance(value, kind) else f"{name}={value}: must be of type {kind.__name__}"
    if len(texts) > 1:
        return f"{name} is given {len(texts)} times"
    choices = next(choices for known, *_, choices in OPTIONS if known == name)
    if choices and "".join(texts) not in choices:
        return f"{name}={''.join(texts)}: must be one of {', '.join(choices)}"
    if kind is int and not (texts and re.fullmatch(r"[0-9]{1,6}", texts[0])):
        return f"{name}={''.join(texts)}: must be a whole number"
    return None


def checked_directory(option: str) -> Path:
    """The capture folder, made if need be, tried out by writing."""
    directory = Path(option or "captures").expanduser().absolute()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise HelperError(f"polltape_dir={option}: cannot write there ({error.strerror})") from error
    return directory


OPTIONS: Final[tuple[tuple[str, type, Any, str, tuple[str, ...] | None], ...]] = (
    ("polltape_dir", str, "captures", "Folder that the recording goes to; made if it is not there.", None),
    ("polltape_filter", str, "", "Record only what matches this mitmproxy filter expression.", None),
    ("polltape_helper", str, "", "Path of `polltape`; else beside mitmproxy's Python, or on PATH.", None),
    ("polltape_on_failure", str, "stop", "When recording fails: stop all traffic, or go on.", FAILURES),
    ("polltape_timeout", int, 5, "Seconds that a response may wait for the helper.", None),
    ("polltape_body_cap", str, "16m", "Bytes kept of a body at most; its true size is kept.", None),
    ("polltape_key", str, "file", "Key of the pseudonyms: the user's, or one for this run only.", KEYS),
    ("polltape_fsync", str, "second", "When the spool is forced to the disk, against power loss.", FSYNCS),
    ("polltape_rotate", int, 300, "Seconds until a Parquet file is made (sooner at 64 MB).", None),
)


class Recorder:
    """The hooks.  One recording session from ``running`` to ``done``."""

    def __init__(self) -> None:
        self._settings: Settings | None = None
        self._helper: Helper | None = None
        self._failure: str | None = None
        self._complaints: list[str] = []
        self._new_id = Uuid7()
        self._session_id = self._new_id()
        self._numbers = itertools.count(1)
        self._seq = 0
        self._tracks: dict[str, Track] = {}
        self._skipped: list[int] = []
        self._recorded = 0
        self._unrecorded = 0
        self._sweeper: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[Any]] = set()
        self._started_mono = 0.0

    # -- options and life

    def load(self, loader: Loader) -> None:
        for name, kind, default, text_, choices in OPTIONS:
            loader.add_option(name, kind, default, text_, choices)
        for name, value in list(ctx.options.deferred.items()):
            if name.startswith("polltape_") and (complaint := option_complaint(name, value)):
                del ctx.options.deferred[name]
                self._complaints.append(complaint)

    def configure(self, updated: set[str]) -> None:
        mine = {name for name, *_ in OPTIONS} & set(updated)
        if self._helper is not None:
            if mine:
                raise exceptions.OptionsError(f"{min(mine)} cannot be changed while polltape records")
            return
        try:
            self._settings = self._check()
        except HelperError as error:
            self._settings = None
            complain(str(error))

    def _check(self) -> Settings:
        options = ctx.options
        if self._complaints:
            raise HelperError(self._complaints[0])
        try:
            matches = flowfilter.parse(options.polltape_filter) if options.polltape_filter else None
        except ValueError as error:
            raise HelperError(f"polltape_filter={options.polltape_filter}: {error}") from error
        try:
            cap = human.parse_size(options.polltape_body_cap)
        except ValueError as error:
            raise HelperError(f"polltape_body_cap={options.polltape_body_cap}: no size like 16m") from error
        for name in ("polltape_timeout", "polltape_rotate"):
            if getattr(options, name) < 1:
                raise HelperError(f"{name}={getattr(options, name)}: must be at least 1 second")
        return Settings(
            directory=Path(options.polltape_dir or "captures").expanduser().absolute(),
            filter_text=options.polltape_filter or None,
            matches=matches,
            helper=find_helper(options.polltape_helper),
            on_failure=options.polltape_on_failure,
            patience_s=float(options.polltape_timeout),
            body_cap=cap or 0,
            helper_arguments=(
                *("--key", options.polltape_key),
                *("--fsync", options.polltape_fsync),
                *("--rotate-seconds", str(options.polltape_rotate)),
            ),
        )

    def running(self) -> None:
        if self._settings is None or self._helper is not None:
            return
        try:
            self._start(self._settings)
        except HelperError as error:
            self._failure = str(error)
            complain(self._failure)

    def _start(self, settings: Settings) -> None:
        checked_directory(str(settings.directory))
        arguments = ["helper", "--dir", str(settings.directory), "--session", self._session_id]
        helper = Helper(
            [settings.helper, *arguments, "--frames", str(FRAMES_VERSION), *settings.helper_arguments],
            settings.patience_s,
        )
        deadline = time.monotonic() + READY_S
        start = {"kind": "start", "filter": settings.filter_text, "body_cap": settings.body_cap}
        helper.put_now(frame(next(self._numbers), {**start, **self._clock()}), deadline)
        ready = helper.hear(deadline, "ready")
        self._helper, self._started_mono = helper, time.monotonic()
        if ready.get("recovering"):
            logger.info(f"polltape: recovering what {ready['recovering']} earlier recording(s) left behind")
        logger.info(f"polltape records to {settings.directory}" + self._filter_note(settings))
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep())

    @staticmethod
    def _filter_note(settings: Settings) -> str:
        return f" what matches {settings.filter_text}" if settings.filter_text else ""

    @staticmethod
    def _clock() -> dict[str, Any]:
        return {"wall": time.time(), "mono": time.monotonic_ns()}

    def done(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._helper is not None:
            self._finish(self._helper)
            self._helper = None
        if self._failure is not None and self._stops():
            raise SystemExit(1)

    def _finish(self, helper: Helper) -> None:
        assert self._settings is not None
        answer: dict[str, Any] = {}
        wanted = [track for track in self._tracks.values() if self._wanted(track.flow)]
        self._skipped += [track.seq for track in self._tracks.values() if track not in wanted]
        try:
            if self._failure is None:
                deadline = time.monotonic() + self._settings.patience_s
                for track in wanted:
                    helper.put_now(self._exchange_frame(track, final=False), deadline)
                stop = {"kind": "stop", "last": self._seq, "skipped": self._skipped, **self._clock()}
                helper.put_now(frame(next(self._numbers), stop), deadline)
            helper.close()
            wait_s = FINISH_S if self._failure is None else 1.0
            answer = helper.hear(time.monotonic() + wait_s, "stopped")
        except HelperError as error:
            if self._failure is None:
                self._failure = str(error)
                complain(f"{error}; what it has is in {self._settings.directory}")
        helper.forget()
        self._say_end(answer, len(wanted))

    def _say_end(self, answer: dict[str, Any], unfinished: int) -> None:
        assert self._settings is not None
        count = answer.get("exchanges", self._recorded)
        notes = [
            f"{number} {what}"
            for number, what in (
                (unfinished, "unfinished"),
                (answer.get("withheld", 0), "kept without content, their redaction failed"),
                (answer.get("gaps", 0), "missing"),
                (self._unrecorded, "not recorded"),
            )
            if number
        ]
        noun = "exchange" if count == 1 else "exchanges"
        told = f" ({', '.join(notes)})" if notes else ""
        logger.info(f"polltape recorded {count} {noun}{told} in {self._settings.directory}")

    # -- failure

    def _stops(self) -> bool:
        return self._settings is None or self._settings.on_failure == "stop"

    def _fail(self, reason: str) -> None:
        if self._failure is not None:
            return
        self._failure = reason
        assert self._settings is not None
        if self._stops():
            logger.error(f"polltape: {reason}; traffic stops here, what is recorded is in {self._settings.directory}")
            ctx.master.shutdown()
        else:
            logger.error(f"polltape: {reason}; traffic goes on UNRECORDED (polltape_on_failure=continue)")

    def _refuse(self, flow: http.HTTPFlow) -> None:
        """This exchange is not recorded: it must not reach the client either, unless the user wants that."""
        self._unrecorded += 1
        if self._stops() and flow.killable:
            flow.kill()

    # -- hooks

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        if self._helper is None and self._failure is None:
            self.running()  # the servers are up a moment before addons are told so
        if self._helper is None or self._failure is not None:
            self._refuse(flow)
            return
        if not flow.live:
            return  # read from a file, not seen on the wire: `polltape convert` does that
        self._seq += 1
        named = named_target(flow, ctx.options.keep_host_header)
        track = Track(flow, self._new_id(), self._seq, named)
        self._tracks[flow.id] = track

    def request(self, flow: http.HTTPFlow) -> None:
        if track := self._tracks.get(flow.id):
            track.mono[1] = time.monotonic_ns()

    async def responseheaders(self, flow: http.HTTPFlow) -> None:
        track = self._tracks.get(flow.id)
        if track is None:
            return
        track.mono[2] = time.monotonic_ns()
        assert flow.response is not None
        if flow.response.stream:
            await self._provisional(track)
        else:  # an addon after this one may decide to stream
            asyncio.get_running_loop().call_soon(self._look_again, track)

    def _look_again(self, track: Track) -> None:
        response = track.flow.response
        if response is not None and response.stream:
            self._in_background(self._provisional(track))

    def _in_background(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def response(self, flow: http.HTTPFlow) -> None:
        await self._ended(flow)

    async def error(self, flow: http.HTTPFlow) -> None:
        await self._ended(flow)

    async def _ended(self, flow: http.HTTPFlow) -> None:
        track = self._tracks.pop(flow.id, None)
        if track is None:
            return
        track.mono[3] = time.monotonic_ns()
        if self._failure is not None:
            self._refuse(flow)
        elif self._wanted(flow):
            if await self._hand_over(flow, self._exchange_frame(track, final=True)):
                self._recorded += 1
        else:
            self._skipped.append(track.seq)
            if track.provisional:
                retract = {"kind": "retract", "id": track.exchange_id, "seq": track.seq}
                await self._hand_over(flow, frame(next(self._numbers), retract))

    def _wanted(self, flow: http.HTTPFlow) -> bool:
        assert self._settings is not None
        return self._settings.matches is None or bool(self._settings.matches(flow))

    # -- handing over

    def _exchange_frame(self, track: Track, final: bool) -> bytes:
        assert self._settings is not None
        head, sent, received = head_of(track, final, self._settings.body_cap)
        if self._skipped:
            head["skipped"], self._skipped = self._skipped, []
        return frame(next(self._numbers), head, sent, received)

    async def _hand_over(self, flow: http.HTTPFlow | None, data: bytes) -> bool:
        """True once the frame is in the pipe; on failure the flow is refused."""
        assert self._helper is not None
        try:
            await self._helper.put(data)
        except HelperError as error:
            self._fail(str(error))
            if flow is not None:
                self._refuse(flow)
            return False
        return True

    async def _provisional(self, track: Track) -> None:
        """What is known of an exchange that has not ended; replaced by its last frame."""
        if self._failure is not None or track.provisional or track.flow.id not in self._tracks:
            return
        if self._wanted(track.flow):
            track.provisional = True
            if not await self._hand_over(track.flow, self._exchange_frame(track, final=False)):
                self._tracks.pop(track.flow.id, None)

    async def _sweep(self) -> None:
        """Once a second: is the helper alive, what is under way for long; every five seconds a heartbeat."""
        assert self._helper is not None
        next_beat = time.monotonic() + BEAT_S
        while self._failure is None:
            await asyncio.sleep(SWEEP_S)
            if self._helper.is_dead():
                self._fail(self._helper.death())
                return
            old = time.monotonic_ns() - int(SWEEP_S * 1e9)
            for track in [t for t in self._tracks.values() if not t.provisional and (t.mono[0] or 0) < old]:
                await self._provisional(track)
            if time.monotonic() >= next_beat:
                next_beat += BEAT_S
                await self._hand_over(None, self._note("beat"))

    def _note(self, kind: str) -> bytes:
        skipped, self._skipped = self._skipped, []
        return frame(next(self._numbers), {"kind": kind, "skipped": skipped, **self._clock()})

    # -- commands

    @command.command("polltape.status")  # type: ignore[untyped-decorator]
    def status(self) -> str:
        """How the recording stands."""
        if self._helper is None or self._settings is None:
            return "polltape does not record"
        state = f"failed: {self._failure}" if self._failure else f"records to {self._settings.directory}"
        seconds = time.monotonic() - self._started_mono
        return f"polltape {state}: {self._recorded} exchanges in {seconds:.0f} s, {len(self._tracks)} under way"

    @command.command("polltape.rotate")  # type: ignore[untyped-decorator]
    def rotate(self) -> None:
        """Make a Parquet file of what has been recorded until now."""
        if self._helper is not None and self._failure is None:
            self._in_background(self._hand_over(None, self._note("rotate")))


addons = [Recorder()]
