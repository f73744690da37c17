"""The addon by itself: its frames, its options, its hooks, without a helper or a socket."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import sys
import zlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest
from mitmproxy import exceptions, http
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.test import taddons, tflow

from polltape.recorder.frames import Head, exchange_head

ADDON = Path(__file__).parents[2] / "addons" / "record.py"


def load() -> ModuleType:
    specification = importlib.util.spec_from_file_location("record_under_test", ADDON)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


record = load()


def told(head: Head) -> dict[str, Any]:
    """What the head of an exchange tells; what it leaves out is left out."""
    known = {name: getattr(head, name) for name in head.__struct_fields__ if name != "options"}
    found: dict[str, Any] = json.loads(msgspec.json.encode(known))
    return {name: value for name, value in found.items() if value is not None}


class Sink:
    """Stands for the helper: keeps the frames it is given, or refuses them."""

    marks = None
    died = False

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []
        self.bodies: list[bytes] = []
        self.broken: str | None = None
        self.end: dict[str, Any] = {}

    def take(self, parts: Sequence[bytes]) -> None:
        data = b"".join(parts)
        while data:
            length, checksum, number, head_length = record.PREFIX.unpack_from(data)
            payload, data = data[record.PREFIX.size :][:length], data[record.PREFIX.size + length :]
            assert len(payload) == length
            assert zlib.crc32(payload) == checksum
            assert number == len(self.frames) + 1
            head = payload[:head_length]
            self.frames.append(json.loads(head) if head.startswith(b"{") else told(exchange_head(head)))
            self.bodies.append(payload[head_length:])

    def offer(self, parts: Sequence[bytes]) -> None:
        if self.broken:
            raise record.HelperError(self.broken)
        self.take(parts)

    def put_now(self, parts: Sequence[bytes]) -> None:
        self.take(parts)

    def hear(self, deadline: float, *wanted: str) -> dict[str, Any]:
        if self.broken:
            raise record.HelperError(self.broken)
        self.end = {"end": "recorded 7 exchanges", "exchanges": 7}
        return self.end

    def close(self) -> None:
        pass

    def forget(self) -> None:
        pass


Scenario = Callable[[Any, Any, Sink], Coroutine[Any, Any, None]]


def play(scenario: Scenario, tmp_path: Path, **options: object) -> Sink:
    """Run a scenario with a recorder that is recording into a sink."""
    sink = Sink()

    async def main() -> None:
        addon = record.Recorder()
        with taddons.context(Proxyserver(), addon) as context:
            context.configure(addon, polltape_dir=str(tmp_path), polltape_helper="/bin/true", **options)
            addon._helper = sink
            await scenario(addon, context, sink)

    asyncio.run(main())
    return sink


def a_flow(**changes: Any) -> http.HTTPFlow:
    flow = tflow.tflow(resp=True)
    flow.response.timestamp_end = 946681203.5
    for name, value in changes.items():
        setattr(flow, name, value)
    return flow


async def hook(result: Awaitable[None] | None) -> None:
    """As mitmproxy calls it."""
    if result is not None:
        await result


async def pass_through(addon: Any, flow: http.HTTPFlow) -> None:
    addon.requestheaders(flow)
    addon.request(flow)
    await hook(addon.responseheaders(flow))
    await hook(addon.response(flow))


# ---------------------------------------------------------------------------------------------- pieces


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("polltape_dirr=x", "no such option: polltape_dirr (there are polltape_body_cap, polltape_dir, "),
        ("polltape_timeout=soon", "polltape_timeout=soon: must be a whole number"),
        ("polltape_rotate=1000000", "polltape_rotate=1000000: must be a whole number, 1 to 999999"),
        ("polltape_keep_days=-1", "polltape_keep_days=-1: must be a whole number, 0 to 999999"),
        ("polltape_dir=~nobody-of-that-name/x", "polltape_dir=~nobody-of-that-name/x: whose home is that?"),
        ("polltape_store_secrets=yes", "polltape_store_secrets=yes: must be one of true, false"),
        ("polltape_filter=~zz", "polltape_filter=~zz: "),
        ("polltape_helper=/nowhere/polltape", "polltape_helper=/nowhere/polltape: no such program"),
        ("polltape_on_failure=ignore", "polltape_on_failure=ignore: must be one of stop, continue"),
        ("polltape_key=none", "polltape_key=none: must be one of file, ephemeral"),
    ],
)
def test_wrong_options_are_refused_in_one_line(option: str, complaint: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        addon = record.Recorder()
        with taddons.context() as context:
            context.options.set(option, defer=True)
            context.master.addons.add(addon)
            addon.configure(set(context.options.keys()))

    asyncio.run(main())
    [line] = [found.getMessage() for found in caplog.records if found.levelname == "ERROR"]
    assert line.startswith(f"polltape: {complaint}")


def test_an_option_given_twice_is_refused() -> None:
    twice = type("Twice", (), {"val": ["a", "b"]})()
    assert record.option_complaint("polltape_dir", twice) == "polltape_dir is given 2 times"
    assert record.option_complaint("polltape_timeout", "5") == "polltape_timeout=5: must be of type int"
    assert record.option_complaint("polltape_timeout", 5) is None


def test_options_hold_while_recording(tmp_path: Path) -> None:
    async def scenario(addon: Any, context: Any, sink: Sink) -> None:
        with pytest.raises(exceptions.OptionsError, match="polltape_filter cannot be changed"):
            context.configure(addon, polltape_filter="~m PUT")

    play(scenario, tmp_path)


# ----------------------------------------------------------------------------------------------- hooks


def test_an_exchange_is_one_frame_with_all_there_is(tmp_path: Path) -> None:
    async def scenario(addon: Any, context: Any, sink: Sink) -> None:
        flow = a_flow()
        flow.request.headers = http.Headers([(b"a", b"1"), (b"A", b"\xe9"), (b"host", b"shop.example")])
        flow.request.data.path = b"/caf\xe9?q"
        flow.response.trailers = http.Headers([(b"t", b"2")])
        await pass_through(addon, flow)

    sink = play(scenario, tmp_path)
    [head] = sink.frames
    assert (head["kind"], head["seq"], head["method"], head["target"]) == ("exchange", 1, "GET", "/caf\xe9?q")
    assert head["request_headers"] == [["a", "1"], ["A", "\xe9"], ["host", "shop.example"]]
    assert head["response_trailers"] == [["t", "2"]]
    assert head["times"] == [946681200, 946681201, 946681202, 946681203.5]
    assert head["mono"] == sorted(head["mono"])
    assert None not in head["mono"]
    assert (head["status"], head["reason"], head.get("error")) == (200, "OK", None)
    assert head["client"] == ["127.0.0.1", 22]
    assert sink.bodies == [b"content" + b"message"]


def test_a_body_is_cut_at_the_cap_and_its_size_kept(tmp_path: Path) -> None:
    async def scenario(addon: Any, context: Any, sink: Sink) -> None:
        addon._cap = 3
        await pass_through(addon, a_flow())

    sink = play(scenario, tmp_path)
    assert sink.frames[0]["request_body"] == {"size": 7, "kept": 3}
    assert sink.bodies == [b"conmes"]


def test_an_error_takes_the_place_of_the_response(tmp_path: Path) -> None:
    async def scenario(addon: Any, context: Any, sink: Sink) -> None:
        flow = tflow.tflow(err=True)
        addon.requestheaders(flow)
        addon.request(flow)
        await hook(addon.error(flow))

    [head] = play(scenario, tmp_path).frames
    assert head["error"] == "error"
    assert head["times"][2:] == [None, 946681207]
    assert "status" not in head


def test_what_cannot_be_written_down_stops_the_traffic(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Another addon may make anything of a flow; an exception in the hook would let it pass unrecorded."""

    async def scenario(addon: Any, context: Any, sink: Sink) -> None:
        flow = a_flow()
        flow.response.data.status_code = "none"
        context.master.shutdown = lambda: None
        await pass_through(addon, flow)
        assert flow.error.msg == flow.error.KILLED_MESSAGE
        assert (addon._recorded, addon._unrecorded) == (0, 1)

    assert play(scenario, tmp_path).frames == []
    assert "an exchange cannot be written down (error: required argument is not an integer)" in caplog.text
    assert "traffic stops here" in caplog.text


@pytest.mark.parametrize(
    ("version", "named"), [(b"HTTP/1.1", "a"), (b"HTTP/2.0", "b:81"), (b"HTTP/3", "b:81"), (b"HTTP/1.0", "a")]
)
def test_what_the_client_named_is_kept_when_others_rewrite_it(tmp_path: Path, version: bytes, named: str) -> None:
    async def scenario(addon: Any, context: Any, sink: Sink) -> None:
        flow = a_flow()
        flow.request.headers = http.Headers([(b"x", b"1"), (b"hOST", b"a"), (b"Host", b"c")])
        flow.request.data.http_version, flow.request.data.authority = version, b"b:81"
        addon.requestheaders(flow)
        flow.request.headers["Host"] = "elsewhere"
        flow.request.host, flow.request.data.authority = "elsewhere", b"elsewhere"
        await hook(addon.response(flow))

    [head] = play(scenario, tmp_path).frames
    assert head["named"] == ["regular", True, "http", "address", 22, named]


def test_a_streamed_response_is_handed_over_before_its_body(tmp_path: Path) -> None:
    async def scenario(addon: Any, context: Any, sink: Sink) -> None:
        flow = a_flow()
        flow.response.stream = True
        flow.response.data.content = None
        await pass_through(addon, flow)

    provisional, final = play(scenario, tmp_path).frames
    assert (provisional["kind"], final["kind"]) == ("provisional", "exchange")
    assert provisional["seq"] == final["seq"]
    assert final["response_body"] == {"size": None, "kept": None}
    assert final["streamed"]


def test_a_response_that_a_later_addon_streams_is_too(tmp_path: Path) -> None:
    async def scenario(addon: Any, context: Any, sink: Sink) -> None:
        flow = a_flow()
        addon.requestheaders(flow)
        addon.request(flow)
        await hook(addon.responseheaders(flow))
        flow.response.stream = True
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    assert [head["kind"] for head in play(scenario, tmp_path).frames] == ["provisional"]


def test_what_the_filter_leaves_out_is_accounted_for(tmp_path: Path) -> None:
    async def scenario(addon: Any, context: Any, sink: Sink) -> None:
        for path in ("/no", "/yes", "/no"):
            flow = a_flow()
            flow.request.path = path
            await pass_through(addon, flow)
        addon._finish(sink)

    before, exchange, stop = play(scenario, tmp_path, polltape_filter="~u yes").frames
    assert (before["kind"], before["skipped"], exchange["seq"]) == ("skipped", [1], 2)
    assert (stop["kind"], stop["last"], stop["skipped"]) == ("stop", 3, [3])


def test_a_provisional_row_is_taken_back_when_the_filter_decides_so(tmp_path: Path) -> None:
    async def scenario(addon: Any, context: Any, sink: Sink) -> None:
        flow = a_flow()
        flow.response.stream = True
        addon.requestheaders(flow)
        await hook(addon.responseheaders(flow))
        flow.error = tflow.terr()
        await hook(addon.error(flow))

    heads = play(scenario, tmp_path, polltape_filter="!~e").frames
    assert [head["kind"] for head in heads] == ["provisional", "retract"]
    assert heads[0]["seq"] == heads[1]["seq"]


def test_what_is_under_way_is_handed_over_at_the_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    async def scenario(addon: Any, context: Any, sink: Sink) -> None:
        flow = tflow.tflow()
        addon.requestheaders(flow)
        addon.request(flow)
        addon.done()

    provisional, stop = play(scenario, tmp_path).frames
    assert (provisional["kind"], provisional["target"]) == ("provisional", "/path")
    assert (stop["kind"], stop["last"]) == ("stop", 1)
    assert f"polltape recorded 7 exchanges in {tmp_path}" in caplog.text


def test_what_comes_after_the_end_is_refused_and_begins_no_second_recording(tmp_path: Path) -> None:
    """mitmproxy still moves some traffic when its addons are done."""
    under_way, late = a_flow(), a_flow()

    async def scenario(addon: Any, context: Any, sink: Sink) -> None:
        addon.requestheaders(under_way)
        addon.done()
        await hook(addon.response(under_way))
        addon.requestheaders(late)
        await hook(addon.response(late))
        assert addon.status() == "polltape does not record"

    play(scenario, tmp_path)
    for flow in (under_way, late):
        assert flow.error
        assert "killed" in flow.error.msg.lower()


def test_flows_read_from_a_file_are_not_recorded(tmp_path: Path) -> None:
    async def scenario(addon: Any, context: Any, sink: Sink) -> None:
        await pass_through(addon, a_flow(live=False))

    assert play(scenario, tmp_path).frames == []


def test_a_failure_kills_the_exchange_at_hand_and_all_after_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(addon: Any, context: Any, sink: Sink) -> None:
        sink.broken = "the helper was killed by signal 9"
        first, under_way, later = a_flow(), a_flow(), a_flow()
        addon.requestheaders(under_way)
        await pass_through(addon, first)
        await hook(addon.response(under_way))
        addon.requestheaders(later)
        for flow in (first, under_way, later):
            assert flow.error is not None
            assert flow.error.msg == flow.error.KILLED_MESSAGE
        await asyncio.sleep(0)
        assert context.master.should_exit.is_set()
        with pytest.raises(SystemExit) as caught:
            addon.done()
        assert caught.value.code == 1

    play(scenario, tmp_path)
    [line] = [found.getMessage() for found in caplog.records if found.levelname == "ERROR"]
    assert line.startswith("polltape: the helper was killed by signal 9; traffic stops here")


def test_a_failure_is_counted_when_traffic_shall_go_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    async def scenario(addon: Any, context: Any, sink: Sink) -> None:
        sink.broken = "gone"
        for _ in range(3):
            flow = a_flow()
            await pass_through(addon, flow)
            assert flow.error is None
        addon.done()

    play(scenario, tmp_path, polltape_on_failure="continue")
    assert "3 not recorded" in caplog.text
    assert "UNRECORDED" in caplog.text


def test_commands(tmp_path: Path) -> None:
    async def scenario(addon: Any, context: Any, sink: Sink) -> None:
        await pass_through(addon, a_flow())
        assert f"records to {tmp_path}: 1 exchanges" in context.master.commands.call("polltape.status")
        context.master.commands.call("polltape.rotate")
        await asyncio.sleep(0)

    assert play(scenario, tmp_path).frames[-1]["kind"] == "rotate"


# ---------------------------------------------------------------------------------------------- the pipe


def reading_helper(tmp_path: Path, sleep_s: float) -> list[str]:
    """A program that waits, then copies its standard input to a file and answers."""
    script = tmp_path / "reader.sh"
    script.write_text(f'#!/bin/sh\nsleep {sleep_s}\ncat > "{tmp_path}/got"\necho \'{{"stopped": true}}\'\n')
    script.chmod(0o755)
    return [str(script)]


def test_frames_of_many_waiting_writers_arrive_whole_and_in_order(tmp_path: Path) -> None:
    async def main() -> None:
        helper = record.Helper(reading_helper(tmp_path, 0.2), 20.0)
        frames = [bytes([65 + n]) * 300_000 for n in range(12)]
        puts = [asyncio.create_task(hook(helper.offer([data]))) for data in frames]
        await asyncio.sleep(0.05)
        puts[8].cancel()  # whoever gives up waiting must not tear its frame
        await asyncio.gather(*puts, return_exceptions=True)
        helper.put_now([b"end"])
        helper.close()
        assert helper.hear(record.time.monotonic() + 20, "stopped")
        helper.process.wait()
        helper.forget()
        assert (tmp_path / "got").read_bytes() == b"".join(frames) + b"end"

    asyncio.run(main())


SPOOLS_TWO = """
import os, sys
with open(sys.argv[1], "r+b") as file:
    data = b""
    while len(data) < 20:
        data += os.read(0, 20 - len(data))
    os.pwrite(file.fileno(), (20).to_bytes(8, sys.byteorder), 32)
print('{"spooled": 20}', flush=True)
os.read(0, 1)
os.kill(os.getpid(), 9)
"""
"""A helper that spools the first 20 bytes, takes one more and is killed."""


def test_what_a_dead_helper_had_not_spooled_is_still_there(tmp_path: Path) -> None:
    """In the pipe, or in the hands of the helper; not what never came into the pipe whole."""
    lock = tmp_path / "lock"
    lock.write_bytes(bytes(record.MARKS_AT + 8 * len(record.MARKS)))

    async def main() -> None:
        helper = record.Helper([sys.executable, "-c", SPOOLS_TWO, str(lock)], 20.0)
        helper.marks = record.Marks(str(lock))
        for number in range(2):
            helper.put_now([b"%d" % number * 10])
        assert helper.hear(record.time.monotonic() + 20, "spooled")
        assert not helper.unspooled()
        assert helper.offer([b"a", b"b" * 9]) is None
        assert len(helper._kept) == 1  # what is spooled is let go
        with pytest.raises(record.HelperError, match="killed by signal 9"):
            await hook(helper.offer([b"c" * 3_000_000]))
        assert helper.unspooled() == [[b"a", b"b" * 9]]
        helper.close()
        helper.forget()

    asyncio.run(main())


def test_a_file_system_that_cannot_share_memory_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from polltape.recorder import marks
    from polltape.recorder.frames import Counts

    def refuses(*_: object) -> object:
        raise OSError(19, "No such device")

    assert (record.MARKS_AT, record.MARKS) == (marks.MARKS_AT, marks.MARKS)
    for maps in (True, False):
        path = tmp_path / f"lock{maps}"
        with path.open("w+b") as file:
            file.write(b"4242\n")
            file.flush()
            if not maps:
                monkeypatch.setattr("mmap.mmap", refuses)
            theirs, ours = marks.Marks(file.fileno()), record.Marks(str(path))
            theirs.tell(1 << 40, Counts(3, 4, 5))
            assert {name: ours[name] for name in record.MARKS[1:]} == {
                "spooled": 1 << 40,
                "recorded": 3,
                "withheld": 4,
                "left_out": 5,
            }
            ours.give(7)
            assert (theirs.given, marks.given_to(path)) == (7, 7)
        assert path.read_bytes().startswith(b"4242\n")


def test_a_helper_that_takes_nothing_is_hung(tmp_path: Path) -> None:
    async def main() -> None:
        helper = record.Helper(["/bin/sleep", "60"], 0.1)
        with pytest.raises(record.HelperError, match=r"took nothing for 0\.1 s"):
            await helper.offer([b"x" * 3_000_000])
        helper.close()
        os.kill(helper.pid, 9)
        helper.process.wait()
        helper.forget()

    asyncio.run(main())


def test_what_is_no_helper_is_told_with_its_last_words(tmp_path: Path) -> None:
    helper = record.Helper(["/bin/sh", "-c", "echo no such module; echo; exit 3"], 5.0)
    with pytest.raises(record.HelperError, match=r"^the helper ended with status 3 \(/bin/sh\): no such module$"):
        helper.hear(record.time.monotonic() + 20, "ready")
    helper.close()
    helper.forget()


def test_a_dead_helper_leaves_its_last_words(tmp_path: Path) -> None:
    async def main() -> None:
        helper = record.Helper(["/bin/sh", "-c", 'echo \'{"error": "disk full"}\'; exit 1'], 5.0)
        with pytest.raises(record.HelperError, match=r"^disk full$"):
            helper.hear(record.time.monotonic() + 20, "ready")
        with pytest.raises(record.HelperError, match="disk full"):
            helper.offer([b"x"])
        helper.close()
        helper.forget()

    asyncio.run(main())
