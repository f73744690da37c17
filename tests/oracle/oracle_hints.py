"""The instruction to wait, read strictly (§5, the table), with exact numbers."""

from __future__ import annotations

import re
from calendar import timegm
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import mktime_tz, parsedate_tz
from fractions import Fraction

from oracle_har import Ex, every, micros

DAYS = "Mon|Tue|Wed|Thu|Fri|Sat|Sun"
LONG_DAYS = "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday"
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
MONTH = "|".join(MONTHS)
TIME = "([0-9]{2}):([0-9]{2}):([0-9]{2})"
IMF = re.compile(rf"(?:{DAYS}), ([0-9]{{2}}) ({MONTH}) ([0-9]{{4}}) {TIME} GMT")
RFC850 = re.compile(rf"(?:{LONG_DAYS}), ([0-9]{{2}})-({MONTH})-([0-9]{{2}}) {TIME} GMT")
ASCTIME = re.compile(rf"(?:{DAYS}) ({MONTH}) ([0-9]{{2}}| [0-9]) {TIME} ([0-9]{{4}})")
DAY_NAME = re.compile(rf"(?i:{DAYS}|{LONG_DAYS})")

RA004_CLASSES = {"fraction", "negative", "date-obsolete", "date-invalid", "empty", "invalid"}


@dataclass(frozen=True)
class Hint:
    """``asked`` in seconds, exact, None where unusable.  ``dated``: the tolerance is that of dates."""

    source: str
    raw: str
    klass: str
    asked: Fraction | None
    clock: str = "server"
    dated: bool = False
    rated: bool = True
    several: bool = False

    @property
    def finding(self) -> str | None:
        """§5, fourth column; "an unusable value opens none, and its RA004 (several lines: RA005)"."""
        if self.several or self.klass in {"duplicate", "conflicting"}:
            return "RA005"
        return "RA004" if self.klass in RA004_CLASSES else None


def build(year: int, month: str, day: str, clock: tuple[str, ...]) -> int | None:
    """Unix seconds; None for an instant that does not exist.  Second 60 is the next minute's first."""
    hour, minute, second = (int(x) for x in clock)
    if second > 60:
        return None
    try:
        base = datetime(year, MONTHS.index(month) + 1, int(day), hour, minute, min(second, 59), tzinfo=UTC)
    except ValueError:
        return None
    return timegm(base.timetuple()) + (second == 60)


def fifty_years(two: int, month: str, rest: tuple[str, ...], receipt: int) -> int:
    """RFC 9110 §5.6.7: a timestamp more than 50 years ahead is in the most recent past year with these digits."""
    now = datetime.fromtimestamp(receipt // 1_000_000, UTC)
    year = now.year + (two - now.year) % 100
    ahead = (year, MONTHS.index(month) + 1, *map(int, rest))
    return year - 100 if ahead > (now.year + 50, *now.timetuple()[1:6]) else year


def strict_date(text: str, receipt: int) -> tuple[int, str] | None:
    """An HTTP-date as (Unix seconds, class)."""
    if m := IMF.fullmatch(text):
        at = build(int(m[3]), m[2], m[1], m.groups()[3:])
        return None if at is None else (at, "date")
    if m := RFC850.fullmatch(text):
        year = fifty_years(int(m[3]), m[2], (m[1], *m.groups()[3:]), receipt)
        at = build(year, m[2], m[1], m.groups()[3:])
    elif m := ASCTIME.fullmatch(text):
        at = build(int(m[6]), m[1], m[2], m.groups()[2:5])
    else:
        return None
    return None if at is None else (at, "date-obsolete")


def loose_date(text: str) -> Fraction | None:
    """ "other zone, case, ISO 8601": Unix seconds, UTC where no zone is named."""
    if not re.search(r"[0-9]", text):
        return None
    try:
        if re.match(r"[0-9]{4}-|[0-9]{8}T", text):
            return Fraction(micros(datetime.fromisoformat(text)), 1_000_000)
        if ":" not in text or not re.search(rf"(?i)\b({MONTH})", text):
            return None
        parsed = parsedate_tz(text)
        return None if parsed is None else Fraction(mktime_tz(parsed))
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def base_instant(ex: Ex) -> tuple[Fraction, str]:
    """What a date is subtracted from: "this response's Date", else "the recorder's clock"."""
    for value in every(ex.response_headers, "Date"):
        found = strict_date(value.strip(" \t"), ex.t_end)
        if found:
            return Fraction(found[0]), "server"
        break
    return Fraction(ex.t_end, 1_000_000), "recorder"


def from_instant(ex: Ex, source: str, raw: str, klass: str, at: Fraction) -> Hint:
    """ "date − this response's Date, at least 0"; the recorder's clock leaves it out of the rate."""
    base, clock = base_instant(ex)
    rated = clock == "server" and klass != "date-invalid"
    return Hint(source, raw, klass, max(Fraction(0), at - base), clock, dated=True, rated=rated)


def one(ex: Ex, source: str, raw: str) -> Hint:
    """One value of Retry-After that is no list."""
    text = raw.strip(" \t")
    if text == "":
        return Hint(source, raw, "empty", None)
    if re.fullmatch(r"[0-9]+", text):
        return Hint(source, raw, "seconds", Fraction(int(text)))
    if re.fullmatch(r"[0-9]+\.[0-9]+", text):
        return Hint(source, raw, "fraction", Fraction(text))
    if re.fullmatch(r"-[0-9]+(\.[0-9]+)?", text):
        return Hint(source, raw, "negative", None)
    strict = strict_date(text, ex.t_end)
    if strict:
        return from_instant(ex, source, raw, strict[1], Fraction(strict[0]))
    if IMF.fullmatch(text) or RFC850.fullmatch(text) or ASCTIME.fullmatch(text):
        return Hint(source, raw, "invalid", None)
    loose = loose_date(text)
    if loose is not None:
        return from_instant(ex, source, raw, "date-invalid", loose)
    return Hint(source, raw, "invalid", None)


def members(line: str) -> list[str]:
    """The members of a list; the comma after a day's name belongs to its date."""
    found: list[str] = []
    for part in line.split(","):
        if found and DAY_NAME.fullmatch(found[-1].strip()):
            found[-1] += "," + part
        else:
            found.append(part)
    return found


def largest(ex: Ex, source: str, raw: str, values: list[str], several: bool) -> Hint:
    """ "conflicting: the largest usable; none usable: invalid"."""
    hints = [one(ex, source, v) for v in values]
    usable = [h for h in hints if h.asked is not None]
    if not usable:
        return Hint(source, raw, "invalid", None, several=several)
    best = max(usable, key=lambda h: h.asked or Fraction(0))
    return replace(best, raw=raw, klass="conflicting", several=several)


def retry_after(ex: Ex, lines: list[str]) -> Hint:
    source, raw = "retry-after", ", ".join(lines)
    texts = [line.strip(" \t") for line in lines]
    split = [v for line in texts for v in members(line)]
    # a single value that reads as a date may hold a comma: not a list
    lists = any(len(members(t)) > 1 for t in texts)
    if len(texts) == 1 and not lists:
        return one(ex, source, raw)
    if not lists and len(set(texts)) == 1:
        return replace(one(ex, source, texts[0]), raw=raw, klass="duplicate", several=True)
    return largest(ex, source, raw, split, several=len(lines) > 1)


def vendor(ex: Ex, source: str, lines: list[str]) -> Hint:
    """ "ms / 1000"; what is no plain number falls to the same classes as Retry-After."""
    text = lines[0].strip(" \t")
    raw = ", ".join(lines)
    if len(lines) > 1 or not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        klass = "negative" if re.fullmatch(r"-[0-9]+(\.[0-9]+)?", text) else "invalid" if text else "empty"
        return Hint(source, raw, klass, None, several=len(lines) > 1)
    return Hint(source, raw, "vendor-ms", Fraction(text) / 1000)


def instruction(ex: Ex) -> Hint | None:
    """The one instruction of a response; "vendor-ms only where Retry-After is absent"."""
    lines = every(ex.response_headers, "Retry-After")
    if lines:
        return retry_after(ex, lines)
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        lines = every(ex.response_headers, name)
        if lines:
            return vendor(ex, name, lines)
    return None
