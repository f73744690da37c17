"""Instructions to wait, made for the mock's clock: scaled by its speed in their own grammar, dates moved to now.

Whole seconds are rounded up and never become 0 unless 0 was meant; a fraction keeps at least one decimal and
has at most three; a date has whole seconds and is rounded up.  What cannot be read stays as it is.  At speed 1
only dates change.  The exact wait travels in ``X-Polltape-Wait``, in seconds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from typing import Final

from polltape.exchange import Header
from polltape.mock.messages import http_date
from polltape.protocols.instruction import read_instruction

WAIT_HEADER: Final = "X-Polltape-Wait"
RETRY_AFTER: Final = "retry-after"
MILLISECONDS: Final = frozenset({"retry-after-ms", "x-ms-retry-after-ms"})
_NUMBER: Final = re.compile(r"[0-9]+(\.[0-9]+)?")
_THOUSANDTH: Final = Decimal("0.001")


def exact(seconds: float) -> str:
    """Seconds as a plain decimal, to the microsecond.

    >>> exact(1.0), exact(0.1), exact(0)
    ('1', '0.1', '0')
    """
    return f"{seconds:.6f}".rstrip("0").rstrip(".")


def scaled_number(text: str, speed: float) -> str:
    """A number's text divided by the speed, in its own grammar; other text unchanged.

    >>> scaled_number("1", 10), scaled_number("2.0", 10), scaled_number("0", 10)
    ('1', '0.2', '0')
    """
    match = _NUMBER.fullmatch(text.strip(" \t"))
    if match is None or speed == 1:
        return text
    value = Decimal(match[0]) / Decimal(str(speed))
    if match[1] is None:
        return str(math.ceil(value))
    thousandths = value.quantize(_THOUSANDTH, ROUND_CEILING)
    digits = format(thousandths, "f").rstrip("0")
    return f"{digits}0" if digits.endswith(".") else digits


def scaled_line(line: str, recorded: Sequence[Header], speed: float, now: float) -> str:
    """One Retry-After line: a number scaled, a date moved; ``recorded`` are the headers it came with."""
    if _NUMBER.fullmatch(line.strip(" \t")):
        return scaled_number(line, speed)
    dates = [header for header in recorded if header.name.lower() == "date"]
    read = read_instruction((Header("Retry-After", line), *dates), datetime.fromtimestamp(now, UTC))
    if read is None or read.klass not in ("date", "date-obsolete") or read.asked_s is None:
        return line
    return date_in(read.asked_s / speed, now, like=line)


def date_in(seconds: float, now: float, *, like: str = "") -> str:
    """The instant that many seconds after the Date of an answer given ``now``, in the form of ``like``."""
    instant = int(now) + math.ceil(round(seconds, 6))
    parts = datetime.fromtimestamp(instant, UTC)
    if "-" in like:
        return parts.strftime("%A, %d-%b-%y %H:%M:%S GMT")  # RFC 850, obsolete
    if like and "," not in like:
        return f"{parts:%a %b} {parts.day:2d} {parts:%H:%M:%S %Y}"  # asctime, obsolete
    return http_date(instant)
