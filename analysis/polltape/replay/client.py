"""Runs the reporter's client against the mock, behind a recorder, and judges what it did.

The client finds the mock in two ways at once: its base URL in ``POLLTAPE_BASE_URL``, and, for clients that
hard-code ``https://{shop}``, a proxy in ``HTTPS_PROXY`` and ``HTTP_PROXY`` that leads every recorded host to the
mock and refuses all others; its certificates are signed by an authority made for this run, named in
:data:`CA_VARIABLES`.  ``NO_PROXY`` is taken away, so that nothing goes past the recorder.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from polltape.capture.keys import given_secret
from polltape.capture.reading import open_capture, read_exchanges
from polltape.errors import ServiceError, UsageError
from polltape.exchange import Coverage, Exchange
from polltape.measures.analysis import analyse
from polltape.mock.core import Mock
from polltape.mock.server import serving
from polltape.protocols import observe
from polltape.replay.case import Case, in_memory, judgeable
from polltape.replay.difference import Comparing, differences
from polltape.replay.ending import with_ends
from polltape.replay.runner import Replayed
from polltape.replay.sides import beside, pairs_by_place, sides_of
from polltape.replay.verdict import Verdict, judge_client, like_ours
from polltape.replay.volatile import Ignored

BASE_URL: Final = "POLLTAPE_BASE_URL"
PROXY_VARIABLES: Final = ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy")
CA_VARIABLES: Final = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
TAKEN_AWAY: Final = ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy", "SSL_CERT_DIR")
_NODE_SHIM: Final = json.dumps(str(Path(__file__).with_name("node_shim.cjs")))
_TLS_PORT: Final = "POLLTAPE_TLS_PORT"
READY_WITHIN_S: Final = 30.0
ENDED_WITHIN_S: Final = 5.0
AFTER_THE_END: Final = timedelta(days=1)
"""The client has ended: nothing more can come, however long one would wait."""

_LISTENS: Final = {
    "reverse": re.compile(r"reverse proxy to \S+ listening at (\S+:\d+)"),
    "regular": re.compile(r"HTTP\(S\) proxy listening at (\S+:\d+)"),
}
_REFUSED: Final = re.compile(r"front: refused (\S+)")


@dataclass(frozen=True, slots=True)
class Front:
    """Where mitmdump listens: ``base_url`` leads straight to the mock, ``proxy`` is the proxy's URL."""

    base_url: str
    proxy: str
    authority: Path
    captures: Path


def replay_by_client(
    case: Case,
    command: str,
    *,
    recorder: Sequence[str],
    timeout_s: float,
    par_key: str | None = None,
    ignore: Sequence[str] = (),
) -> Replayed:
    """Run the command against a mock of the case and judge what was recorded of it.

    ``recorder``: mitmdump with the recorder's addon.  ``par_key``: where PAR's SharedId is (``env:NAME`` or a file),
    to sign the mock's orders and to judge them; without it the recorded digests are passed on, for nobody to judge.
    Raises UsageError for a command that cannot be split, ServiceError for one that cannot be started, fails, never
    ends, or asks the mock for nothing.
    """
    arguments = split(command)
    case, unjudged = judgeable(case, with_key=par_key is not None)
    mock = mock_for_clients(case, par_key)
    hosts = {exchange.host for exchange in case.exchanges}
    with tempfile.TemporaryDirectory(prefix="polltape-") as folder, serving(mock, host="127.0.0.1", port=0) as url:
        recording = _Mitmdump(Path(folder), recorder, urlsplit(url).netloc, hosts, par_key)
        with recording.running() as front, _strays_told(mock):
            run_client(arguments, environment(os.environ, front), timeout_s)
        exchanges, coverage = _recorded(Path(folder) / "captures")
    _check_asked(exchanges, recording.refused)
    recorded, replayed = case.measured(), analyse(in_memory(exchanges, [coverage]))
    verdict = judge_client(case, replayed)
    _check_begun(case, verdict)
    pairs = pairs_by_place(
        sides_of(case.exchanges, recorded),
        sides_of(exchanges, replayed),
        beside(case.targets, like_ours(case, replayed)),
        (recorded, replayed),
    )
    notes = (*unjudged, *_strays(mock))
    return Replayed(exchanges, coverage, verdict, differences(pairs, Comparing(Ignored(ignore))), notes)


def mock_for_clients(case: Case, par_key: str | None = None) -> Mock:
    """The mock that a client runs against.

    Operations end in the middle of their brackets: a client that polls some milliseconds sooner or later than the
    recorded one still sees the same story.
    """
    return Mock.from_capture(
        in_memory(with_ends(case), case.coverage),
        operation=case.targets[0].operation_id if len(case.targets) == 1 else None,
        complete_at="middle",
        par_key=given_secret(par_key, "--par-key") if par_key else None,
        as_signed=not par_key,
    )


def split(command: str) -> list[str]:
    """The command's words, as a shell would split them; no shell ever runs it.  Raises UsageError."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--client {command!r}: {error}", hint="quote it as for a shell") from error
    if not words:
        raise UsageError("--client needs a command")
    return words


def environment(inherited: Mapping[str, str], front: Front) -> dict[str, str]:
    """The client's environment: everything inherited that could lead it elsewhere is set anew or taken away."""
    made = {name: value for name, value in inherited.items() if name not in TAKEN_AWAY}
    made |= dict.fromkeys(PROXY_VARIABLES, front.proxy)
    made |= dict.fromkeys(CA_VARIABLES, str(front.authority))
    made[BASE_URL] = front.base_url
    # Node knows no proxy: a small script in it leads its TLS connections to the listener before the mock.
    made["NODE_OPTIONS"] = f"{inherited.get('NODE_OPTIONS', '')} --require {_NODE_SHIM}".strip()
    made[_TLS_PORT] = front.base_url.rpartition(":")[2]
    return made


# --------------------------------------------------------------------------------------------- the client


def run_client(arguments: Sequence[str], environ: Mapping[str, str], timeout_s: float) -> None:
    """Run it to its end, its output on standard error.  Raises ServiceError where it does not end well."""
    name = arguments[0]
    program = shutil.which(name, path=environ.get("PATH"))
    if program is None:
        raise ServiceError(f"--client: no program {name!r}", hint="give its path, or put it on PATH")
    sys.stderr.flush()
    try:
        process = subprocess.Popen(
            [program, *arguments[1:]],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=_standard_error(),
            stderr=_standard_error(),
            start_new_session=True,  # a process group of its own, to be ended as one
        )
    except OSError as error:
        raise ServiceError(f"--client: {name} cannot be started: {error.strerror}") from error
    try:
        status = process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        raise ServiceError(
            f"--client: {name} did not end within {timeout_s:g} s; ended by us",
            hint="if it needs longer, give --client-timeout",
        ) from None
    finally:
        _end_group(process)
    if status:
        how = f"was ended by signal {-status}" if status < 0 else f"failed with status {status}"
        raise ServiceError(f"--client: {name} {how}", hint="its own output stands above")


def _standard_error() -> int:
    try:
        return sys.stderr.fileno()
    except (OSError, ValueError):  # standard error is no file (inside a test runner)
        return subprocess.DEVNULL


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End the client and what it has started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(ENDED_WITHIN_S if number == signal.SIGTERM else None)


# ------------------------------------------------------------------------------------------- the recorder


class _Mitmdump:
    """mitmdump with the recorder's addon, in front of the mock: a reverse proxy and a regular one."""

    def __init__(self, folder: Path, recorder: Sequence[str], mock: str, hosts: set[str], par_key: str | None) -> None:
        self._confdir = folder / "mitmproxy"
        self._captures = folder / "captures"
        self._arguments = [
            *recorder,
            *("-s", str(Path(__file__).with_name("front.py"))),
            *("--mode", f"reverse:http://{mock}@127.0.0.1:0"),
            *("--mode", "regular@localhost:0"),  # mitmproxy takes one address only once, be its port 0
            *_set(
                polltape_dir=self._captures,
                polltape_key="ephemeral",
                polltape_par_key=par_key or "",
                confdir=self._confdir,
                connection_strategy="lazy",
                keep_host_header="true",
                front_mock=mock,
                front_hosts=",".join(sorted(hosts)),
                flow_detail=0,
                termlog_verbosity="info",
            ),
        ]
        self._output = bytearray()

    @property
    def refused(self) -> list[str]:
        """The hosts that the client asked for although they are not in the recording."""
        return sorted(set(_REFUSED.findall(self._text())))

    def _text(self) -> str:
        return self._output.decode("utf-8", "replace")

    @contextmanager
    def running(self) -> Iterator[Front]:
        """From when it listens until everything is written."""
        process = subprocess.Popen(
            self._arguments,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},  # its first line says where it listens: at once, please
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        reader = threading.Thread(target=self._read, args=(process,), daemon=True)
        reader.start()
        try:
            yield self._front(process)
        finally:
            process.terminate()
            try:
                process.wait(READY_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            reader.join()

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self._output += line

    def _front(self, process: subprocess.Popen[bytes]) -> Front:
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline and process.poll() is None:
            text = self._text()
            at = {mode: match[1] for mode, pattern in _LISTENS.items() if (match := pattern.search(text))}
            if len(at) == len(_LISTENS) and "polltape records to" in text:
                authority = self._confdir / "mitmproxy-ca-cert.pem"
                return Front(f"http://{at['reverse']}", f"http://{at['regular']}", authority, self._captures)
            time.sleep(0.01)
        last = (self._text().strip().splitlines() or ["it said nothing"])[-1]
        raise ServiceError(f"the recorder in front of the mock did not start: {last}")


def _set(**options: object) -> Iterator[str]:
    for name, value in options.items():
        yield from ("--set", f"{name}={value}")


# --------------------------------------------------------------------------------------------- the verdict


def _recorded(captures: Path) -> tuple[tuple[Exchange, ...], Coverage]:
    """What the client did, and when somebody was there to see: until long after its end.

    Raises ServiceError where it did nothing.
    """
    if not any(captures.glob("date=*/*.parquet")):
        raise _asked_nothing()
    capture = open_capture([captures], redact=lambda exchange: exchange, observe=observe)
    exchanges = tuple(read_exchanges(capture))
    covered = capture.coverage[0]
    last = max(exchange.last_instant for exchange in exchanges)
    return exchanges, replace(covered, ended_at=max(covered.ended_at, last) + AFTER_THE_END)


def _check_asked(exchanges: Sequence[Exchange], refused: Sequence[str]) -> None:
    """Raises ServiceError where the mock was asked for nothing."""
    if any(exchange.status != 502 or exchange.host not in refused for exchange in exchanges):
        return
    if refused:
        raise ServiceError(
            f"--client: it asked only for {', '.join(refused)}, which the recording does not know",
            hint=f"let it take its server from {BASE_URL}",
        )
    raise _asked_nothing()


def _asked_nothing() -> ServiceError:
    return ServiceError(
        "--client: it sent no request to the mock",
        hint=f"let it take its server from {BASE_URL}, or use the proxy in HTTPS_PROXY",
    )


def _check_begun(case: Case, verdict: Verdict) -> None:
    """Raises ServiceError where the client began no operation like the recorded one: that is no proof of a fix."""
    if any(life.replayed_id is not None for life in verdict.lives):
        return
    kinds = sorted({target.kind or target.protocol for target in case.targets})
    raise ServiceError(
        f"--client: it began no {' and no '.join(kinds)}, so nothing can be compared",
        hint="let it do what the recorded client did; `polltape show` tells what that was",
    )


@contextmanager
def _strays_told(mock: Mock) -> Iterator[None]:
    """A client that does not end well may have stumbled over what the mock could not answer: that is said with it."""
    try:
        yield
    except ServiceError as error:
        told = "; ".join([*([error.hint] if error.hint else []), *_strays(mock)])
        raise ServiceError(str(error), hint=told or None) from None


def _strays(mock: Mock) -> tuple[str, ...]:
    """What the client asked for that the mock could not answer."""
    status = mock.status(time.time())
    if not status["unmatched"]:
        return ()
    last = status["last_unmatched"][-1]
    return (
        f"the recording has no answer to {status['unmatched']} of the client's requests (404), "
        f"the last: {last['method']} {last['target']}",
    )
