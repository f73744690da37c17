"""Instructions to wait, made for the mock's clock: scaled by its speed in their own grammar, dates moved to now.

Whole seconds are rounded up and never become 0 unless 0 was meant; a fraction keeps at least one decimal and
has at most three; a date has whole seconds and is rounded up.  What cannot be read stays as it is.  At speed 1
only dates change.  The exact wait travels in ``X-Polltape-Wait``, in seconds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final

from polltape.exchange import Header, Instruction
from polltape.mock.messages import http_date
from polltape.protocols.instruction import read_instruction

WAIT_HEADER: Final = "X-Polltape-Wait"
"""The exact wait in seconds, beside a hint that speed has made too coarse."""
ETA_HEADER: Final = "X-Polltape-Eta"
"""The exact ``queueEtaSeconds``, likewise."""
DIGEST_HEADER: Final = "X-Polltape-Digest"
"""What the recorder thought of a digest that is passed on; nobody can tell of what redaction left of it."""
RETRY_AFTER: Final = "retry-after"
MILLISECONDS: Final = frozenset({"retry-after-ms", "x-ms-retry-after-ms"})
_NUMBER: Final = re.compile(r"[0-9]+(\.[0-9]+)?")
_THOUSANDTH: Final = Decimal("0.001")


def exact(seconds: float, speed: float = 1.0) -> str:
    """Seconds of the server, told to the microsecond, as a plain decimal of what they are at that speed.

    Digits enough that whoever multiplies by the speed again has the same microsecond.

    >>> exact(1.0), exact(0.1), exact(0), exact(1.0, 7)
    ('1', '0.1', '0', '0.142857142857')
    """
    return f"{round(seconds, 6) / speed:.12f}".rstrip("0").rstrip(".")


def wait_of(instruction: Instruction | None, began: datetime | None) -> float | None:
    """Seconds that an answer given at ``began`` asks to wait, None where it does not.

    ``pollAfter`` counts from there, as :func:`move_fields` moves it; its Date has cut off a part of a second.
    """
    if instruction is None or instruction.asked_s is None:
        return None
    if instruction.source == "pollAfter" and began is not None:
        with suppress(ValueError, TypeError):
            return max(0.0, (datetime.fromisoformat(instruction.raw) - began).total_seconds())
    return instruction.asked_s


def read_number(text: str) -> Decimal | None:
    """The number that a text is in the grammar of Retry-After or with a fraction, None for other text."""
    match = _NUMBER.fullmatch(text.strip(" \t"))
    return None if match is None else Decimal(match[0])


def scaled_number(text: str, speed: float) -> str:
    """A number's text divided by the speed, in its own grammar; other text unchanged.

    >>> scaled_number("1", 10), scaled_number("2.0", 10), scaled_number("0", 10)
    ('1', '0.2', '0')
    """
    number = read_number(text)
    if number is None or speed == 1:
        return text
    value = number / Decimal(str(speed))
    if "." not in text:
        return str(math.ceil(value))
    thousandths = value.quantize(_THOUSANDTH, ROUND_CEILING)
    digits = format(thousandths, "f").rstrip("0")
    return f"{digits}0" if digits.endswith(".") else digits


def scaled_line(line: str, recorded: Sequence[Header], speed: float, now: float) -> str:
    """One Retry-After line: a number scaled, a date moved; ``recorded`` are the headers it came with."""
    if read_number(line) is not None:
        return scaled_number(line, speed)
    dates = [header for header in recorded if header.name.lower() == "date"]
    read = read_instruction((Header("Retry-After", line), *dates), datetime.fromtimestamp(now, UTC))
    if read is None or read.klass not in ("date", "date-obsolete") or read.asked_s is None:
        return line
    return date_in(read.asked_s / speed, now, like=line)


def move_fields(value: Any, began: datetime | None, speed: float, now: float, age_s: float = 0.0) -> None:
    """Instructions inside a JSON value, changed in place: an answer given at ``began`` is given ``now``.

    ``pollAfter`` (an instant) keeps its place in the operation, as :func:`left_of` says; ``pollDelay``
    (milliseconds) and ``queueEtaSeconds`` are divided by it and rounded up.
    """
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in inner:
        move_fields(part, began, speed, now, age_s)
    if not isinstance(value, dict):
        return
    if isinstance(after := value.get("pollAfter"), str) and began is not None:
        value["pollAfter"] = instant_in(after, began, speed, now, age_s)
    for name in ("pollDelay", "queueEtaSeconds"):
        if isinstance(number := value.get(name), int | float) and not isinstance(number, bool) and speed != 1:
            value[name] = math.ceil(round(number / speed, 6))


def left_of(wait_s: float, age_s: float) -> float:
    """What is left of a wait until an instant when the answer that names it is given ``age_s`` later.

    So a client that asks again before the instant is told the same instant again.  Once it has passed the wait is
    the whole one: the recording holds no later answer yet, and none left would make the client ask without a pause.
    """
    return wait_s - age_s if wait_s > age_s else wait_s


def instant_in(text: str, began: datetime, speed: float, now: float, age_s: float = 0.0) -> str:
    """An ISO 8601 instant as far from ``now`` as it was from ``began``, in its zone and to its precision.

    ``age_s``: how much later in the operation than recorded the answer is given, as in :func:`left_of`.
    """
    try:
        recorded = datetime.fromisoformat(text)
    except ValueError:
        return text
    if recorded.tzinfo is None:
        return text
    seconds = now + left_of((recorded - began).total_seconds(), age_s) / speed
    fraction = "." in text
    moved = datetime.fromtimestamp(round(seconds, 3) if fraction else math.ceil(round(seconds, 6)), recorded.tzinfo)
    told = moved.isoformat(timespec="milliseconds" if fraction else "seconds")
    return told.replace("+00:00", "Z") if text.endswith(("Z", "z")) else told


def date_in(seconds: float, now: float, *, like: str = "") -> str:
    """The instant that many seconds after the Date of an answer given ``now``, in the form of ``like``."""
    instant = int(now) + math.ceil(round(seconds, 6))
    parts = datetime.fromtimestamp(instant, UTC)
    if "-" in like:
        return parts.strftime("%A, %d-%b-%y %H:%M:%S GMT")  # RFC 850, obsolete
    if like and "," not in like:
        return f"{parts:%a %b} {parts.day:2d} {parts:%H:%M:%S %Y}"  # asctime, obsolete
    return http_date(instant)
