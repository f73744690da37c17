"""Instructions to wait, read strictly: Retry-After, its relatives, and hints in a body.

The grammar stands beside each pattern.  No text reaches ``int()`` or ``float()`` before a pattern has matched
all of it: those two accept ``1_0``, ``inf``, ``nan``, ``+3``, ``1e3`` and digits of every script.  All
patterns are ASCII and are used with ``fullmatch`` (``$`` would let a line feed pass).  The instant of receipt
is an argument, never the wall clock.

Decisions where the RFC leaves room:

* ``00120`` is 120 s: ``1*DIGIT`` allows leading zeros.  ``2.`` and ``.5`` are ``invalid``: a fraction has
  digits on both sides.  ``-0`` is ``negative``: the sign, not the value, is what the grammar lacks.
* A day name that does not fit the date leaves the date valid: the grammar does not tie the two, the instant
  is certain without the name, and RFC 9110 §5.6.7 asks for robustness in reading timestamps.
* ``:60`` is read as the first second of the next minute, as POSIX does.  31 Feb and year 0000 do not exist in
  the calendar: ``invalid``.  Year 0001 does (it is what an unset .NET date prints): long past, 0 s.
* A date in a zone that nobody can know (``IST`` is three of them) is ``date-invalid`` without a value.  RFC
  5322 §4.3 would read it as UTC, hours off, and a client would be blamed for it.
* An ISO 8601 day without a time is its midnight, UTC, as ECMAScript reads it; as ``pollAfter``, which is an
  instant, it is ``invalid``.
* Empty members make a list too: ``1,`` is ``conflicting`` with 1 s, ``,`` is ``invalid``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from math import inf
from typing import Final, NamedTuple

from polltape.errors import ConfigError
from polltape.exchange import Header, Instruction, all_headers

MAX_SECONDS: Final = 9_007_199_254_740_991
"""Longer waits are cut to this: 2**53 - 1, the largest whole number that every JSON reader holds exactly."""


class InstructionClass(NamedTuple):
    """What a class means, and the finding it stands for (None: none)."""

    meaning: str
    finding: str | None


CLASSES: Final[dict[str, InstructionClass]] = {
    "seconds": InstructionClass("whole seconds, as RFC 9110 §10.2.3 has it", None),
    "fraction": InstructionClass("seconds with a fraction (2.0, 0.5); taken exactly", "RA004"),
    "negative": InstructionClass("a number with a minus sign; no usable value", "RA004"),
    "date": InstructionClass("an IMF-fixdate; the wait is that instant minus Date, at least 0", None),
    "date-obsolete": InstructionClass("an RFC 850 or asctime date; read like a date", "RA004"),
    "date-invalid": InstructionClass("a date in another zone, case or form (ISO 8601); not rated", "RA004"),
    "duplicate": InstructionClass("several equal lines; the value of one", "RA005"),
    "conflicting": InstructionClass("different lines, or a list; the largest usable value", "RA005"),
    "vendor-ms": InstructionClass("milliseconds in a vendor's header, without Retry-After", None),
    "poll-after": InstructionClass("pollAfter in the body: that instant minus Date, at least 0", None),
    "poll-delay": InstructionClass("pollDelay in the body, milliseconds", None),
    "empty": InstructionClass("the line is there and says nothing", "RA004"),
    "invalid": InstructionClass("everything else; no usable value (several lines: RA005)", "RA004"),
}
"""Every class of :attr:`Instruction.klass`."""


def read_instruction(
    headers: Sequence[Header], received_at: datetime | None, hint: tuple[str, object] | None = None
) -> Instruction | None:
    """The one instruction to wait of a response, None where there is none.

    ``headers`` are the response's, one character a byte.  ``received_at`` (aware, None where unknown) is the
    response's end: dates count from it where no valid Date header is there.  ``hint`` is what a protocol
    found in the body, (``pollAfter``, text) or (``pollDelay``, milliseconds); it goes before Retry-After, and
    a null one is none.  Retry-After goes before ``retry-after-ms`` and ``x-ms-retry-after-ms`` (azure-core's
    order), even where it is unusable.  Raises ConfigError for a hint of another name, and for no text at all.
    """
    clock = _Clock(headers, received_at)
    if hint is not None and hint[1] is not None:
        return _from_hint(hint[0], hint[1], clock)
    for source, read in _READERS.items():
        if lines := all_headers(headers, source):
            return _from_lines(source, lines, read, clock)
    return None


# ------------------------------------------------------------------------------------------- grammar

_OWS: Final = " \t"  # RFC 9110 §5.6.3: OWS = *( SP / HTAB )

# RFC 9110 §10.2.3: delay-seconds = 1*DIGIT
_DELAY_SECONDS: Final = re.compile(r"[0-9]+")

# Not in any RFC, but in the wild (Shopify's 2.0, Sentry's 292.052427053): 1*DIGIT "." 1*DIGIT
_FRACTION: Final = re.compile(r"([0-9]+)\.([0-9]+)")

_NEGATIVE: Final = re.compile(r"-[0-9]+(?:\.[0-9]+)?")

# Vendors' milliseconds: 1*DIGIT [ "." 1*DIGIT ] (azure-core reads them with float())
_MILLISECONDS: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?")

_DAY: Final = "Mon|Tue|Wed|Thu|Fri|Sat|Sun"
_DAY_LONG: Final = "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday"
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH: Final = f"(?P<month>{'|'.join(_MONTHS)})"

# RFC 9110 §5.6.7: time-of-day = hour ":" minute ":" second ; 00:00:00 - 23:59:60 (leap second)
_TIME: Final = "(?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9]):(?P<second>[0-5][0-9]|60)"

# IMF-fixdate = day-name "," SP 2DIGIT SP month SP 4DIGIT SP time-of-day SP GMT ; case-sensitive
_IMF_FIXDATE: Final = re.compile(f"(?:{_DAY}), (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} GMT", re.ASCII)

# rfc850-date = day-name-l "," SP 2DIGIT "-" month "-" 2DIGIT SP time-of-day SP GMT
_RFC850_DATE: Final = re.compile(
    f"(?:{_DAY_LONG}), (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT", re.ASCII
)

# asctime-date = day-name SP month SP ( 2DIGIT / ( SP DIGIT ) ) SP time-of-day SP 4DIGIT ; assumed UTC
_ASCTIME_DATE: Final = re.compile(
    f"(?:{_DAY}) {_MONTH} (?P<day>[0-9]{{2}}| [0-9]) {_TIME} (?P<year>[0-9]{{4}})", re.ASCII
)

# What follows is no HTTP-date, yet its instant can be told (class date-invalid).
_LOOSE_TIME: Final = r"(?P<hour>[01]?[0-9]|2[0-3]):(?P<minute>[0-5][0-9])(?::(?P<second>[0-5][0-9]|60))?"
_ANY_DAY: Final = f"(?:{_DAY_LONG}|{_DAY})"
_ZONE: Final = "(?P<zone>[+-][0-9]{2}:?[0-9]{2}|[a-z]{1,5})"
_LOOSE: Final = re.IGNORECASE | re.ASCII

# RFC 5322 §3.3 and §4.3 (any zone, day name optional, two-digit years), and its cousins with hyphens.  A
# word before a comma is taken for a day name in the server's language.
_LOOSE_IMF: Final = re.compile(
    f"(?:[a-z]+, *|{_ANY_DAY} +)?(?P<day>[0-9]{{1,2}})(?: +|-){_MONTH}"
    f"(?: +|-)(?P<year>[0-9]{{4}}|[0-9]{{2}}) +{_LOOSE_TIME}(?: *{_ZONE})?",
    _LOOSE,
)

# asctime in another case or spacing, and with a zone, which date(1) prints before the year
_LOOSE_ASCTIME: Final = f"{_ANY_DAY},? +{_MONTH} +(?P<day>[0-9]{{1,2}}) +{_LOOSE_TIME}"
_LOOSE_ASCTIME_DATE: Final = re.compile(f"{_LOOSE_ASCTIME}(?: +{_ZONE})? +(?P<year>[0-9]{{4}})", _LOOSE)
_LOOSE_ASCTIME_ZONE: Final = re.compile(f"{_LOOSE_ASCTIME} +(?P<year>[0-9]{{4}}) +{_ZONE}", _LOOSE)

# ISO 8601 and RFC 3339: extended or basic, seconds and fraction optional, without a zone UTC
_ISO_8601: Final = re.compile(
    r"(?P<year>[0-9]{4})-?(?P<month>[0-9]{2})-?(?P<day>[0-9]{2})[T ]"
    r"(?P<hour>[01][0-9]|2[0-3]):?(?P<minute>[0-5][0-9])"
    r"(?::?(?P<second>[0-5][0-9]|60)(?:\.(?P<fraction>[0-9]+))?)?"
    r"(?: ?(?P<zone>Z|UTC|[+-][0-9]{2}(?::?[0-9]{2})?))?",
    _LOOSE,
)
_ISO_DAY: Final = re.compile(r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})", re.ASCII)

_DATE_FORMS: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (_IMF_FIXDATE, "date"),
    (_RFC850_DATE, "date-obsolete"),
    (_ASCTIME_DATE, "date-obsolete"),
    (_LOOSE_IMF, "date-invalid"),
    (_LOOSE_ASCTIME_DATE, "date-invalid"),
    (_LOOSE_ASCTIME_ZONE, "date-invalid"),
    (_ISO_8601, "date-invalid"),
    (_ISO_DAY, "date-invalid"),
)
"""The first form that matches the whole text decides."""

# RFC 5322 §4.3 obs-zone, and what people write for UTC; hours east of Greenwich
_ZONES: Final = dict.fromkeys(("GMT", "UTC", "UT", "Z"), 0) | {
    "EDT": -4,
    "EST": -5,
    "CDT": -5,
    "CST": -6,
    "MDT": -6,
    "MST": -7,
    "PDT": -7,
    "PST": -8,
}

_OFFSET: Final = re.compile(r"([+-])([01][0-9]|2[0-3]):?([0-5][0-9])?")


# ----------------------------------------------------------------------------------------------- dates


def _read_date(text: str, reference: datetime) -> tuple[str, datetime | None] | None:
    """Class and instant of a date; None where the text is no date of the calendar."""
    for pattern, klass in _DATE_FORMS:
        if match := pattern.fullmatch(text):
            try:
                return klass, _instant(match.groupdict(), reference)
            except (ValueError, OverflowError):  # 31 Feb, year 0000; beyond year 9999
                return None
    return None


def _instant(parts: dict[str, str | None], reference: datetime) -> datetime | None:
    """The instant in UTC, None in a zone that only the server knows.

    Raises ValueError or OverflowError where the calendar has no such day.
    """
    month_text = parts["month"] or ""
    month = int(month_text) if month_text[0].isdigit() else _MONTHS.index(month_text.title()) + 1
    day, hour, minute, second = (int(parts.get(name) or 0) for name in ("day", "hour", "minute", "second"))
    year_text = parts["year"] or ""
    year = int(year_text)
    if len(year_text) == 2:
        year = _full_year(year, (month, day, hour, minute, second), reference)
    whole = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
    offset = _offset(parts.get("zone"))
    if offset is None:
        return None
    micros = int(((parts.get("fraction") or "") + "000000")[:6])
    return whole + timedelta(seconds=second - min(second, 59), microseconds=micros) - offset


def _full_year(two_digits: int, rest: tuple[int, int, int, int, int], reference: datetime) -> int:
    """RFC 9110 §5.6.7: more than 50 years in the future means the latest past year with those digits."""
    year = reference.year + (two_digits - reference.year) % 100
    limit = (reference.year + 50, *reference.timetuple()[1:6])
    return year - 100 if (year, *rest) > limit else year


def _offset(zone: str | None) -> timedelta | None:
    """Offset east of Greenwich; no zone is UTC, an unknown one is None.  Raises ValueError out of range."""
    if zone is None:
        return timedelta(0)
    if zone[0].isalpha():
        hours = _ZONES.get(zone.upper())
        return None if hours is None else timedelta(hours=hours)
    match = _OFFSET.fullmatch(zone)
    if match is None:
        raise ValueError(zone)
    east = timedelta(hours=int(match[2]), minutes=int(match[3] or 0))
    return east if match[1] == "+" else -east


class _Clock:
    """From which instant a date counts: the response's Date, else the recorder's clock at receipt."""

    def __init__(self, headers: Sequence[Header], received_at: datetime | None) -> None:
        self.headers = headers
        self.received_at = None if received_at is None else received_at.astimezone(UTC)

    @cached_property
    def date(self) -> datetime | None:
        """The first valid Date line.  A two-digit year needs an instant of receipt to be known by."""
        reference = self.received_at or _NO_REFERENCE
        for line in all_headers(self.headers, "date"):
            text = line.strip(_OWS)
            if self.received_at is None and _RFC850_DATE.fullmatch(text):
                continue
            found = _read_date(text, reference)
            if found is not None and found[0] in ("date", "date-obsolete"):
                return found[1]
        return None

    @property
    def reference(self) -> datetime:
        """What the 50-year rule counts from."""
        return self.received_at or self.date or _NO_REFERENCE

    def until(self, klass: str, instant: datetime) -> _Reading:
        """A date's reading: seconds until then, at least 0; None where no clock is known."""
        name = "recorder" if self.date is None else "server"
        start = self.date or self.received_at
        asked = None if start is None else max(0.0, (instant - start).total_seconds())
        return _Reading(klass, asked, name, "date", rated=klass != "date-invalid" and self.date is not None)


_NO_REFERENCE: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""Stands in where no clock is known: the class can be told, and no value is derived from it."""


# -------------------------------------------------------------------------------------------- readings


class _Reading(NamedTuple):
    klass: str
    asked_s: float | None = None
    clock: str = "server"
    tolerance: str = "delay"
    lines: int = 1
    rated: bool = True


def _whole_seconds(digits: str) -> float:
    """The digits as seconds, at most MAX_SECONDS; int() itself refuses more than 4300 digits."""
    significant = digits.lstrip("0") or "0"
    return float(MAX_SECONDS if len(significant) > 16 else min(int(significant), MAX_SECONDS))


def _read_retry_after(text: str, clock: _Clock) -> _Reading:
    """One member of a Retry-After field: delay-seconds / HTTP-date, or what came instead."""
    if not text:
        return _Reading("empty")
    if _DELAY_SECONDS.fullmatch(text):
        return _Reading("seconds", _whole_seconds(text))
    if _FRACTION.fullmatch(text):
        return _Reading("fraction", min(float(text), float(MAX_SECONDS)))
    if _NEGATIVE.fullmatch(text):
        return _Reading("negative")
    found = _read_date(text, clock.reference)
    if found is None:
        return _Reading("invalid")
    klass, instant = found
    return _Reading(klass) if instant is None else clock.until(klass, instant)


def _read_milliseconds(text: str, clock: _Clock) -> _Reading:
    """One member of a vendor's header in milliseconds."""
    if not text:
        return _Reading("empty")
    if _NEGATIVE.fullmatch(text):
        return _Reading("negative")
    if not _MILLISECONDS.fullmatch(text):
        return _Reading("invalid")
    return _Reading("vendor-ms", min(float(text) / 1000, float(MAX_SECONDS)))


_READERS: Final[dict[str, Callable[[str, _Clock], _Reading]]] = {
    "retry-after": _read_retry_after,
    "retry-after-ms": _read_milliseconds,
    "x-ms-retry-after-ms": _read_milliseconds,
}
"""The headers that carry an instruction; the first that is there is read, the others are not."""


def _from_lines(source: str, lines: list[str], read: Callable[[str, _Clock], _Reading], clock: _Clock) -> Instruction:
    values = [member for line in lines for member in _members(line.strip(_OWS), clock)]
    readings = [read(value, clock) for value in dict.fromkeys(values)]
    if len(values) == 1:
        reading = readings[0]
    elif len(values) == len(lines) and len(readings) == 1:
        reading = readings[0]._replace(klass="duplicate")
    else:
        reading = _largest(readings)
    return Instruction(source, ", ".join(lines), *reading._replace(lines=len(lines)))


def _members(line: str, clock: _Clock) -> list[str]:
    """The members of a line: more than one is a list, which the field does not allow (RFC 9110 §5.5).

    The comma after a day name belongs to the date.
    """
    members: list[str] = []
    parts = line.split(",")
    index = 0
    while index < len(parts):
        text = parts[index]
        pair = ",".join(parts[index : index + 2]).strip(_OWS)
        if text.strip(_OWS).isalpha() and _read_date(pair, clock.reference) is not None:
            text = pair
            index += 1
        members.append(text.strip(_OWS))
        index += 1
    return members


def _largest(readings: Sequence[_Reading]) -> _Reading:
    """The largest usable of several, with its own clock and tolerance; ``invalid`` where none is."""
    usable = [reading for reading in readings if reading.asked_s is not None]
    if not usable:
        return _Reading("invalid")
    return max(usable, key=lambda reading: reading.asked_s or 0.0)._replace(klass="conflicting")


# ------------------------------------------------------------------------------------- hints in a body


def _from_hint(name: str, value: object, clock: _Clock) -> Instruction:
    if name not in HINTS:
        raise ConfigError(f"hint {name!r}: a protocol's hint is pollAfter or pollDelay")
    return Instruction(name, _raw(value), *HINTS[name](value, clock))


def _read_poll_after(value: object, clock: _Clock) -> _Reading:
    """An ISO 8601 instant (Shopify's documentation shows offsets other than Z)."""
    text = value.strip(_OWS) if isinstance(value, str) else None
    if text == "":
        return _Reading("empty")
    found = _read_date(text, clock.reference) if text and _ISO_8601.fullmatch(text) else None
    if found is None or found[1] is None:
        return _Reading("invalid")
    return clock.until("poll-after", found[1])


def _read_poll_delay(value: object, clock: _Clock) -> _Reading:
    """A JSON number of milliseconds, at least 0.  True is an int to Python, not a number to JSON."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < inf:
        return _Reading("invalid")
    return _Reading("poll-delay", max(0.0, min(value, MAX_SECONDS * 1000) / 1000))


HINTS: Final[dict[str, Callable[[object, _Clock], _Reading]]] = {
    "pollAfter": _read_poll_after,
    "pollDelay": _read_poll_delay,
}
"""What a protocol's hint may be, and how it is read."""


def _raw(value: object) -> str:
    """The hint as it stood in the JSON, a string without its quotes."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):  # an int of more than 4300 digits, a foreign type
        return f"<{type(value).__name__}>"
