"""Ids that the recorder gives: UUIDs of version 7 (RFC 9562 §5.7), in order of time."""

from __future__ import annotations

import hashlib
import os
import time


def uuid7(milliseconds: int, low: int) -> str:
    """The UUID of that instant (since 1970) whose other 74 bits are ``low``."""
    value = milliseconds << 80 | 7 << 76 | (low >> 62 & 0xFFF) << 64 | 2 << 62 | low & (1 << 62) - 1
    digits = f"{value:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def new_session_id() -> str:
    """The id of a recording session that begins now."""
    return uuid7(time.time_ns() // 1_000_000, int.from_bytes(os.urandom(10)) >> 6)


def exchange_id(session_id: str, seq: int, started_s: float) -> str:
    """The id of a session's exchange, the same each time that it is asked for.

    Within a millisecond in order of ``seq``; the rest is drawn from the session's id.
    """
    drawn = hashlib.blake2b(b"%d" % seq, key=session_id.encode(), digest_size=6).digest()
    return uuid7(max(0, int(started_s * 1000)), seq << 42 & (1 << 74) - 1 | int.from_bytes(drawn) >> 6)
