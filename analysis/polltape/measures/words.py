"""Numbers and instants as words: one way to say each, for findings and for every form of the report."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

LONGEST_ENDPOINT: Final = 200
"""An endpoint is shown up to here: some path segments are longer than a screen."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def iso(us: int | None) -> str | None:
    """Microseconds since 1970 as ISO 8601 UTC; None for None.

    >>> iso(0)
    '1970-01-01T00:00:00.000000Z'
    """
    if us is None:
        return None
    return instant(_EPOCH + timedelta(microseconds=us))


def instant(at: datetime) -> str:
    """An aware instant as ISO 8601 UTC with microseconds and Z."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def clock(us: int) -> str:
    """The same for people: date and time of day to the millisecond, UTC.

    >>> clock(1_500_000)
    '1970-01-01 00:00:01.500'
    """
    return (_EPOCH + timedelta(microseconds=us)).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def seconds(value: float | None, *, signed: bool = False) -> str:
    """A duration with its unit, to three digits or the millisecond; a dash for None.

    >>> [seconds(s) for s in (None, 0.0, 0.0004, 0.4, 12.3456, 754.2, 7300.0, 200000.0)]
    ['–', '0 s', '0.4 ms', '0.4 s', '12.35 s', '12 min 34 s', '2 h 1 min', '2 d 7 h']
    >>> seconds(-0.6, signed=True), seconds(0.25, signed=True)
    ('−0.6 s', '+0.25 s')
    """
    if value is None:
        return "–"
    sign = "−" if value < 0 else "+" if signed and value > 0 else ""
    return sign + _magnitude(abs(value))


def _magnitude(value: float) -> str:
    if 0 < value < 0.0095:
        return f"{_short(value * 1000, 1)} ms"
    if value < 100:
        return f"{_short(value, 2 if value >= 9.9995 else 3)} s"
    if value < 600:
        return f"{_short(value, 1)} s"
    whole = round(value)
    for size, unit, smaller, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit} {rest} {small}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def _short(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(share: float | None) -> str:
    """A share of 0 to 1 in per cent; never rounded to 0 or 100 where it is neither (but for float noise).

    >>> percent(0.75), percent(0.9999), percent(0.0004), percent(None)
    ('75 %', '> 99 %', '< 1 %', '–')
    """
    if share is None:
        return "–"
    whole = round(share * 100)
    if whole == 100 and share < 1 - 1e-9:
        return "> 99 %"
    if whole == 0 and share > 1e-9:
        return "< 1 %"
    return f"{whole} %"


def points(difference: float | None) -> str:
    """A difference of shares in percentage points, with its sign.

    >>> points(-0.125), points(0.1), points(0.0), points(None)
    ('−12.5 pp', '+10 pp', '0 pp', '–')
    """
    if difference is None:
        return "–"
    size = _short(abs(difference) * 100, 1)
    sign = "" if size == "0" else "−" if difference < 0 else "+"
    return f"{sign}{size} pp"


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun.

    >>> counted(1, "poll"), counted(2, "poll"), counted(0, "reply", "replies")
    ('1 poll', '2 polls', '0 replies')
    """
    return f"{number} {one if number == 1 else many or one + 's'}"


def shortened(text: str, most: int = 60) -> str:
    """The text, or its beginning and an ellipsis.

    >>> shortened("abcdef", 4)
    'abc…'
    """
    return text if len(text) <= most else f"{text[: most - 1]}…"
