"""Content encodings undone, with a bound: a recording is untrusted input, and a kilobyte can unpack to a gigabyte.

RFC 9110 §8.4: codings are listed in the order in which they were applied, so they are undone from the last.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final, NamedTuple

DEFAULT_CAP: Final = 16 * 1024 * 1024
"""Bytes of decoded content that are kept at most."""

MAX_CODINGS: Final = 4
"""More codings on top of each other than this are no message but a trap."""


class Decoded(NamedTuple):
    """``content``: decoded, at most the cap; None where it cannot be decoded, ``problem`` then says why.

    ``complete`` is false where the content is only the beginning: over the cap, or the input ended early.
    """

    content: bytes | None
    complete: bool = True
    problem: str | None = None


def decode(raw: bytes, encodings: str | None, cap: int = DEFAULT_CAP) -> Decoded:
    """Undo the codings that a Content-Encoding header names (several lines joined by commas).

    >>> decode(b"plain", None)
    Decoded(content=b'plain', complete=True, problem=None)
    """
    names = [name.strip().lower() for name in (encodings or "").split(",")]
    codings = [name for name in names if name and name != "identity"]
    if len(codings) > MAX_CODINGS:
        return Decoded(None, False, "too many content codings")
    complete = True
    for name in reversed(codings):
        decoder = _DECODERS.get(name)
        if decoder is None:
            return Decoded(None, False, "unknown content coding")
        if not raw:
            break  # an empty body stays empty, whatever its header says (HEAD, 304)
        try:
            raw, whole = decoder(raw, cap)
        except _broken():
            return Decoded(None, False, f"broken {name}")
        complete = complete and whole
    return Decoded(raw[:cap], complete and len(raw) <= cap)


def _broken() -> tuple[type[Exception], ...]:
    import brotli  # type: ignore[import-untyped]
    import zstandard

    return (zlib.error, brotli.error, zstandard.ZstdError)


def _inflate(raw: bytes, cap: int, wbits: int) -> tuple[bytes, bool]:
    """Members one after the other (RFC 1952 §2.2), until the cap."""
    out = bytearray()
    while raw:
        member = zlib.decompressobj(wbits)
        out += member.decompress(raw, cap + 1 - len(out))
        if not member.eof or len(out) > cap:
            return bytes(out), False
        raw = member.unused_data.lstrip(b"\0")
    return bytes(out), True


def _gzip(raw: bytes, cap: int) -> tuple[bytes, bool]:
    return _inflate(raw, cap, 16 + zlib.MAX_WBITS)


def _deflate(raw: bytes, cap: int) -> tuple[bytes, bool]:
    """zlib's format (RFC 1950), or the bare one (RFC 1951) that some servers send under this name."""
    try:
        return _inflate(raw, cap, zlib.MAX_WBITS)
    except zlib.error:
        return _inflate(raw, cap, -zlib.MAX_WBITS)


def _brotli(raw: bytes, cap: int) -> tuple[bytes, bool]:
    import brotli

    stream = brotli.Decompressor()
    out = bytearray(stream.process(raw, output_buffer_limit=cap + 1))
    while len(out) <= cap and not stream.is_finished():
        more = stream.process(b"", output_buffer_limit=cap + 1 - len(out))
        if not more:
            break
        out += more
    return bytes(out), bool(stream.is_finished()) and len(out) <= cap


def _zstd(raw: bytes, cap: int) -> tuple[bytes, bool]:
    """Frames one after the other (RFC 8878 §3); a window above 8 MB is refused (RFC 9659 §3)."""
    import zstandard

    stream = zstandard.ZstdDecompressor(max_window_size=8 * 1024 * 1024)
    out = bytearray()
    while raw:
        frame = stream.decompressobj()
        # Fed in small pieces, so that what one piece unpacks to stays bounded.
        for start in range(0, len(raw), 1024):
            out += frame.decompress(raw[start : start + 1024])
            if len(out) > cap:
                return bytes(out), False
            if frame.eof:
                raw = frame.unused_data + raw[start + 1024 :]
                break
        else:
            return bytes(out), False
    return bytes(out), True


_DECODERS: Final[dict[str, Callable[[bytes, int], tuple[bytes, bool]]]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}
