from __future__ import annotations

import zlib

import brotli  # type: ignore[import-untyped]
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from polltape.capture.content import Decoded, decode


def raw_deflate(data: bytes) -> bytes:
    return zlib.compress(data, wbits=-15)


def gzip(data: bytes) -> bytes:
    return zlib.compress(data, wbits=31)


ENCODERS = {
    "gzip": gzip,
    "x-gzip": gzip,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.compress,
}


@given(data=st.binary(max_size=3000), name=st.sampled_from(sorted(ENCODERS)))
def test_every_coding_is_undone(data: bytes, name: str) -> None:
    assert decode(ENCODERS[name](data), name.upper()) == Decoded(data)


def test_codings_are_undone_from_the_last() -> None:
    assert decode(gzip(brotli.compress(b"hello")), "br, identity, gzip") == Decoded(b"hello")


@pytest.mark.parametrize("raw", [raw_deflate(b"hello"), gzip(b"hel") + gzip(b"lo")])
def test_what_servers_send_besides_the_rule(raw: bytes) -> None:
    assert decode(raw, "gzip" if raw[:2] == b"\x1f\x8b" else "deflate") == Decoded(b"hello")


def test_several_zstd_frames() -> None:
    raw = zstandard.compress(b"a" * 5000) + zstandard.compress(b"b")
    assert decode(raw, "zstd") == Decoded(b"a" * 5000 + b"b")


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_a_bomb_is_cut_at_the_cap(name: str) -> None:
    content, complete, problem = decode(ENCODERS[name](b"a" * 5_000_000), name, 1000)
    assert content == b"a" * 1000
    assert not complete
    assert problem is None


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_an_end_too_early_keeps_the_beginning(name: str) -> None:
    content, complete, _ = decode(ENCODERS[name](bytes(range(256)) * 50)[:-4], name)
    assert not complete
    assert content is not None
    assert (bytes(range(256)) * 50).startswith(content)


@pytest.mark.parametrize("name", sorted(ENCODERS))
@given(raw=st.binary(min_size=1, max_size=200))
def test_no_input_breaks_it(name: str, raw: bytes) -> None:
    decoded = decode(raw, name, 10_000)
    assert decoded.content is not None or decoded.problem == f"broken {name}"


@pytest.mark.parametrize(
    ("encodings", "problem"),
    [("compress", "unknown content coding"), ("gzip,gzip,gzip,gzip,gzip", "too many content codings")],
)
def test_what_cannot_be_undone_is_not_kept(encodings: str, problem: str) -> None:
    assert decode(b"x", encodings) == Decoded(None, False, problem)


def test_an_empty_body_stays_empty_whatever_its_header() -> None:
    assert decode(b"", "gzip") == Decoded(b"")
