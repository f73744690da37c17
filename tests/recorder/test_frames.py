from __future__ import annotations

import fcntl
import importlib
import os
import struct
import termios
import threading
from collections.abc import Callable, Iterator

import pytest
from packing import frame, packed

from polltape.exchange import Header
from polltape.recorder import addon_record as addon
from polltape.recorder.frames import FRAMES_VERSION, Frame, FrameReader, _header

HEAD = {"kind": "exchange", "request_body": {"size": 9, "kept": 3}, "response_body": {"size": 4, "kept": 4}}


def frames(count: int = 3) -> list[bytes]:
    numbers = range(1, count + 1)
    return [frame(number, {**HEAD, "seq": number}, b"abc", b"defg") for number in numbers]


@pytest.fixture
def pipe() -> Iterator[Callable[[bytes], FrameReader]]:
    """Gives a reader of a pipe that holds the bytes and then ends."""
    descriptors: list[int] = []

    def reader(data: bytes) -> FrameReader:
        reading, writing = os.pipe()
        descriptors.append(reading)

        def fill() -> None:
            with os.fdopen(writing, "wb") as file:
                file.write(data)

        threading.Thread(target=fill).start()
        return FrameReader(reading)

    yield reader
    for descriptor in descriptors:
        os.close(descriptor)


Pipe = Callable[[bytes], FrameReader]


def whole(reader: FrameReader) -> list[Frame]:
    return [found for found in reader.frames() if found is not None]


def test_the_helper_reads_what_the_addon_writes(pipe: Pipe) -> None:
    reader = pipe(b"".join(frames()))
    found = whole(reader)
    assert [(one.head.seq, one.request_body, one.response_body) for one in found] == [
        (number, b"abc", b"defg") for number in (1, 2, 3)
    ]
    assert found[0].head.request_body.size == 9
    assert (reader.damaged, reader.torn) == (0, False)
    assert FRAMES_VERSION == addon.FRAMES_VERSION


def test_cut_at_any_byte_no_half_frame_is_read(pipe: Pipe) -> None:
    one, two = frames(2)
    for length in range(len(two)):
        reader = pipe(one + two[:length])
        assert len(whole(reader)) == 1
        assert reader.torn == (length > 0)


def test_a_large_frame_arrives_in_pieces(pipe: Pipe) -> None:
    body = os.urandom(3_000_000)
    head = {**HEAD, "seq": 1, "request_body": {"size": len(body), "kept": len(body)}}
    [found] = whole(pipe(frame(1, head, body, b"z")))
    assert (found.request_body, found.response_body) == (body, b"z")


def test_a_folded_header_is_one_line() -> None:
    assert _header(b"X-A", b"1\r\n \tfolded") == Header("X-A", "1 folded")


def test_a_frame_with_a_wrong_checksum_is_counted_and_left_out(pipe: Pipe) -> None:
    one, two, three = frames()
    reader = pipe(one + two[:-1] + b"!" + three)
    assert [found.head.seq for found in whole(reader)] == [1, 3]
    assert reader.damaged == 1


def test_a_missing_frame_is_counted(pipe: Pipe) -> None:
    one, _, three = frames()
    reader = pipe(one + three)
    assert len(whole(reader)) == 2
    assert reader.damaged == 1


WHOLE = packed({**HEAD, "seq": 1, "request_headers": [("a", "b")]})


@pytest.mark.parametrize("head", [b'{"kind": 7}', b"{", b"", b"x", WHOLE[:-1], WHOLE + b"x", WHOLE[:100]])
def test_a_head_that_is_none_is_counted(pipe: Pipe, head: bytes) -> None:
    reader = pipe(b"".join(addon.frame(1, head)))
    assert whole(reader) == []
    assert reader.damaged == 1


def test_silence_is_told(pipe: Pipe) -> None:
    reading, writing = os.pipe()
    found = FrameReader(reading).frames(idle_s=0.001)
    assert next(found) is None
    os.write(writing, frames(1)[0])
    assert next(found) is not None
    os.close(writing)
    assert list(found) == []
    os.close(reading)


def test_the_module_is_not_loaded_with_the_package() -> None:
    """addon_record imports mitmproxy: nothing of ours may import it."""
    source = importlib.import_module("polltape.recorder.helper")
    assert not hasattr(source, "addon_record")


def test_a_helper_that_is_slow_takes_little_at_a_time() -> None:
    """Else the pipe stays full while it works through all that it took, as if it hung."""
    reading, writing = os.pipe()
    size = fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, addon.PIPE_BYTES)
    os.set_blocking(writing, False)
    one = frame(1, {**HEAD, "seq": 1}, b"abc", b"defg")
    count = size // len(one) // 2
    os.write(writing, one * count)
    found = FrameReader(reading).frames()
    assert next(found) is not None
    [left] = struct.unpack("i", fcntl.ioctl(reading, termios.FIONREAD, bytes(4)))
    assert left >= count * len(one) - (1 << 16)
    os.close(writing)
    assert sum(frame is not None for frame in found) == count - 1
    os.close(reading)
