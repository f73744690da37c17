"""The instruction parser: every class, every border, and that no text makes it raise."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from polltape.errors import ConfigError
from polltape.exchange import Header, Instruction
from polltape.protocols.instruction import CLASSES, MAX_SECONDS, read_instruction

REPEATABLE = settings(derandomize=True, deadline=None)
NOW = datetime(2026, 11, 23, 8, 0, 0, tzinfo=UTC)
DATE = "Mon, 23 Nov 2026 08:00:00 GMT"
IN_30_S = "Mon, 23 Nov 2026 08:00:30 GMT"
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def headers(*lines: str, name: str = "Retry-After", date: str | None = DATE) -> list[Header]:
    """A response's headers with the lines given, and a Date unless it is None."""
    rest = [Header(name, line) for line in lines]
    return rest if date is None else [*rest, Header("Date", date)]


def read(*lines: str, name: str = "Retry-After", date: str | None = DATE) -> Instruction:
    found = read_instruction(headers(*lines, name=name, date=date), NOW)
    assert found is not None
    return found


# ----------------------------------------------------------------------------------------- one line


@pytest.mark.parametrize(
    ("text", "klass", "asked"),
    [
        ("0", "seconds", 0),
        ("120", "seconds", 120),
        (" 7 ", "seconds", 7),
        ("\t7\t ", "seconds", 7),
        ("00120", "seconds", 120),
        ("9007199254740991", "seconds", MAX_SECONDS),
        ("9007199254740992", "seconds", MAX_SECONDS),
        ("9" * 5000, "seconds", MAX_SECONDS),
        ("0" * 5000 + "5", "seconds", 5),
        ("2.0", "fraction", 2.0),
        ("0.5", "fraction", 0.5),
        ("292.052427053", "fraction", 292.052427053),
        ("9" * 5000 + ".5", "fraction", MAX_SECONDS),
        ("-5", "negative", None),
        ("-0", "negative", None),
        ("-5.0", "negative", None),
        ("-" + "9" * 5000, "negative", None),
        ("", "empty", None),
        (" \t ", "empty", None),
        (IN_30_S, "date", 30),
        ("Mon, 23 Nov 2026 07:59:30 GMT", "date", 0),
        ("Mon, 23 Nov 2026 08:00:60 GMT", "date", 60),
        ("Tue, 23 Nov 2026 08:00:30 GMT", "date", 30),
        ("Mon, 01 Jan 0001 00:00:00 GMT", "date", 0),
        ("Monday, 23-Nov-26 08:00:30 GMT", "date-obsolete", 30),
        ("Sunday, 06-Nov-94 08:49:37 GMT", "date-obsolete", 0),
        ("Mon Nov 23 08:00:30 2026", "date-obsolete", 30),
        ("Wed Dec  2 08:00:00 2026", "date-obsolete", 9 * 86400),
        ("Wed Dec 02 08:00:00 2026", "date-obsolete", 9 * 86400),
    ],
)
def test_values_within_a_class(text: str, klass: str, asked: float | None) -> None:
    found = read(text)
    assert (found.klass, found.asked_s) == (klass, asked)
    assert found.tolerance == ("date" if klass.startswith("date") else "delay")
    assert (found.source, found.raw, found.clock) == ("retry-after", text, "server")


@pytest.mark.parametrize(
    "text",
    [
        "Mon, 23 nov 2026 08:00:30 GMT",
        "mon, 23 Nov 2026 08:00:30 gmt",
        "MON, 23 NOV 2026 08:00:30 GMT",
        "Mon, 23 Nov 2026 08:00:30 UTC",
        "Mon, 23 Nov 2026 08:00:30 +0000",
        "Mon, 23 Nov 2026 00:00:30 -0800",
        "Mon, 23 Nov 2026 00:00:30 PST",
        "Mon, 23 Nov 2026 09:00:30 +01:00",
        "Mon, 23 Nov 2026 08:00:30",
        "23 Nov 2026 08:00:30 GMT",
        "Mon,  23 Nov 2026 08:00:30 GMT",
        "Mon,23 Nov 2026 08:00:30 GMT",
        "Mon, 23-Nov-2026 08:00:30 GMT",
        "Mon, 23-Nov-26 08:00:30 GMT",
        "Lun, 23 Nov 2026 08:00:30 GMT",
        "mon nov 23 08:00:30 2026",
        "Mon Nov 23 08:00:30 UTC 2026",
        "Mon Nov 23 08:00:30 2026 GMT",
        "2026-11-23T08:00:30Z",
        "2026-11-23T08:00:30",
        "2026-11-23 08:00:30 UTC",
        "2026-11-23T03:30:30.000-0430",
        "20261123T080030Z",
    ],
)
def test_a_date_in_another_form_is_date_invalid_with_the_instant_it_means(text: str) -> None:
    found = read(text)
    assert (found.klass, found.asked_s, found.tolerance) == ("date-invalid", 30.0, "date")


def test_a_date_in_a_zone_that_only_the_server_knows_has_no_value() -> None:
    found = read("Mon, 23 Nov 2026 08:00:30 IST")
    assert (found.klass, found.asked_s) == ("date-invalid", None)


def test_an_iso_day_alone_is_its_midnight() -> None:
    assert (read("2026-11-24").klass, read("2026-11-24").asked_s) == ("date-invalid", 16 * 3600.0)


@pytest.mark.parametrize(
    "text",
    [
        "+3",
        "1e3",
        "1_0",
        "0x10",
        "inf",
        "nan",
        "Infinity",
        "٣",
        "٣".encode().decode("latin-1"),
        "120;x=1",
        "120 (c)",
        "abc",
        "2.",
        ".5",
        "-.5",
        "-5.",
        "--5",
        "- 5",
        "1 2",
        "1.2.3",
        '"120"',
        "120s",
        "PT5S",
        "120\n",
        "120\r\n",
        "120\x00",
        "\x00120",
        "120\x0b",
        "120\xa0",
        "120\x85",
        "Mon, 31 Feb 2026 08:00:30 GMT",
        "Mon, 00 Nov 2026 08:00:30 GMT",
        "Sat, 01 Jan 0000 00:00:00 GMT",
        "Mon, 23 Nov 2026 24:00:00 GMT",
        "Mon, 23 Nov 2026 08:60:00 GMT",
        "Mon, 23 Nov 2026 08:00:61 GMT",
        "Fri, 31 Dec 9999 23:59:60 GMT",
        "Fri, 31 Dec 9999 23:59:59 -0800",
        "Mon, 23 Nov 2026 08:00:30 +2500",
        "2026-02-31T08:00:30Z",
        "2026-11-23T08:00:30+99:00",
        "2026-11-23T08:00:٣0Z",
    ],
)
def test_everything_else_is_invalid_and_asks_nothing(text: str) -> None:
    found = read(text)
    assert (found.klass, found.asked_s, found.tolerance) == ("invalid", None, "delay")


def test_without_any_header_there_is_no_instruction() -> None:
    assert read_instruction(headers(), NOW) is None
    assert read_instruction([], None) is None


def test_the_name_is_found_in_any_case() -> None:
    assert read("7", name="RETRY-AFTER").asked_s == 7
    assert read("7", name="retry-after").source == "retry-after"


# ------------------------------------------------------------------------------ two-digit years (RFC 850)


@pytest.mark.parametrize(
    ("text", "year"),
    [
        ("Monday, 23-Nov-76 08:00:00 GMT", 2076),  # 50 years to the second: not more than 50
        ("Monday, 23-Nov-76 08:00:01 GMT", 1976),
        ("Monday, 22-Nov-76 23:59:59 GMT", 2076),
        ("Monday, 23-Nov-77 08:00:00 GMT", 1977),
        ("Monday, 23-Nov-25 08:00:00 GMT", 2025),
        ("Monday, 23-Nov-26 08:00:00 GMT", 2026),
        ("Monday, 23-Nov-69 08:00:00 GMT", 2069),  # email.utils would say 1969
        ("Tuesday, 29-Feb-00 08:00:00 GMT", 2000),
    ],
)
def test_a_two_digit_year_is_at_most_50_years_ahead_of_the_receipt(text: str, year: int) -> None:
    asked = read(text).asked_s
    day, month = int(text.split(", ")[1][:2]), MONTHS.index(text.split("-")[1]) + 1
    clock = datetime.strptime(text[-12:-4], "%H:%M:%S").time()
    expected = datetime.combine(datetime(year, month, day), clock, UTC) - NOW
    assert asked == max(0.0, expected.total_seconds())


def test_the_fifty_years_count_from_the_receipt_and_not_from_this_century() -> None:
    late = datetime(2099, 6, 1, tzinfo=UTC)
    found = read_instruction(headers("Monday, 01-Jun-05 00:00:00 GMT", date=None), late)
    assert found is not None
    assert found.asked_s == (datetime(2105, 6, 1, tzinfo=UTC) - late).total_seconds()


def test_without_a_receipt_the_fifty_years_count_from_a_date_with_four_digits() -> None:
    found = read_instruction(headers("Monday, 23-Nov-26 08:00:30 GMT"), None)
    assert found is not None
    assert (found.klass, found.asked_s) == ("date-obsolete", 30.0)


# ---------------------------------------------------------------------------------- from which clock


def test_a_date_counts_from_the_responses_own_date() -> None:
    skewed = NOW + timedelta(hours=3)
    found = read_instruction(headers(IN_30_S), skewed)
    assert found is not None
    assert (found.asked_s, found.clock) == (30.0, "server")


@pytest.mark.parametrize("date", ["Monday, 23-Nov-26 08:00:00 GMT", "Mon Nov 23 08:00:00 2026", f" {DATE}\t"])
def test_an_obsolete_date_header_is_valid_too(date: str) -> None:
    assert (read(IN_30_S, date=date).asked_s, read(IN_30_S, date=date).clock) == (30.0, "server")


@pytest.mark.parametrize(
    "date", [None, "", "now", "2026-11-23T07:00:00Z", "Mon, 23 Nov 2026 07:00:00 UTC", f"{DATE}, {DATE}"]
)
def test_without_a_valid_date_header_it_counts_from_the_receipt(date: str | None) -> None:
    assert (read(IN_30_S, date=date).asked_s, read(IN_30_S, date=date).clock) == (30.0, "recorder")


def test_the_first_valid_of_several_date_headers_counts() -> None:
    lines = [Header("Date", "x"), Header("date", DATE), Header("Date", IN_30_S)]
    found = read_instruction([*lines, Header("Retry-After", IN_30_S)], NOW)
    assert found is not None
    assert (found.asked_s, found.clock) == (30.0, "server")


@pytest.mark.parametrize("date", [None, "Monday, 23-Nov-26 08:00:00 GMT"])
def test_without_any_clock_a_date_asks_nothing(date: str | None) -> None:
    found = read_instruction(headers(IN_30_S, date=date), None)
    assert found == Instruction("retry-after", IN_30_S, "date", None, "recorder", "date", rated=False)


def test_without_any_clock_seconds_still_count() -> None:
    found = read_instruction(headers("5", date=None), None)
    assert found == Instruction("retry-after", "5", "seconds", 5.0, "server", "delay")


def test_a_receipt_in_another_zone_is_the_same_instant() -> None:
    found = read_instruction(headers(IN_30_S, date=None), NOW.astimezone(timezone(timedelta(hours=-8))))
    assert found is not None
    assert found.asked_s == 30.0


# ---------------------------------------------------------------------------------- several, and lists


@pytest.mark.parametrize(
    ("lines", "klass", "asked", "tolerance"),
    [
        (("1", "1"), "duplicate", 1, "delay"),
        (("1", " 1"), "duplicate", 1, "delay"),
        (("1", "1", "1"), "duplicate", 1, "delay"),
        ((IN_30_S, IN_30_S), "duplicate", 30, "date"),
        (("abc", "abc"), "duplicate", None, "delay"),
        (("", ""), "duplicate", None, "delay"),
        (("1", "2"), "conflicting", 2, "delay"),
        (("2", "1"), "conflicting", 2, "delay"),
        (("1", "01"), "conflicting", 1, "delay"),
        (("1", "1", "2"), "conflicting", 2, "delay"),
        (("10", "9"), "conflicting", 10, "delay"),
        (("1", "abc"), "conflicting", 1, "delay"),
        (("1", ""), "conflicting", 1, "delay"),
        (("-5", "1"), "conflicting", 1, "delay"),
        (("1", IN_30_S), "conflicting", 30, "date"),
        (("31", IN_30_S), "conflicting", 31, "delay"),
        (("abc", "def"), "invalid", None, "delay"),
        (("-1", "-2"), "invalid", None, "delay"),
        (("1, 2",), "conflicting", 2, "delay"),
        (("1,2",), "conflicting", 2, "delay"),
        (("1, 1",), "conflicting", 1, "delay"),
        (("1, 2", "1, 2"), "conflicting", 2, "delay"),
        (("1,",), "conflicting", 1, "delay"),
        ((",1",), "conflicting", 1, "delay"),
        ((",",), "invalid", None, "delay"),
        (("a, b",), "invalid", None, "delay"),
        (("1, abc",), "conflicting", 1, "delay"),
        ((f"{DATE}, {IN_30_S}",), "conflicting", 30, "date"),
        ((f"{IN_30_S}, {IN_30_S}",), "conflicting", 30, "date"),
        ((f"{IN_30_S}, 120",), "conflicting", 120, "delay"),
        ((f"5,{IN_30_S}",), "conflicting", 30, "date"),
        (("Mon Nov 23 08:00:30 2026, Monday, 23-Nov-26 08:00:40 GMT",), "conflicting", 40, "date"),
    ],
)
def test_several_lines_and_lists(lines: tuple[str, ...], klass: str, asked: float | None, tolerance: str) -> None:
    found = read(*lines)
    assert (found.klass, found.asked_s, found.tolerance) == (klass, asked, tolerance)
    assert (found.raw, found.lines) == (", ".join(lines), len(lines))


def test_a_conflict_keeps_the_clock_of_the_line_chosen() -> None:
    assert read("1", IN_30_S, date=None).clock == "recorder"
    assert read("31", IN_30_S, date=None).clock == "server"


# ---------------------------------------------------------------------------------- vendors' headers


@pytest.mark.parametrize("name", ["retry-after-ms", "x-ms-retry-after-ms", "X-MS-Retry-After-Ms"])
@pytest.mark.parametrize(
    ("text", "klass", "asked"),
    [
        ("1500", "vendor-ms", 1.5),
        (" 0 ", "vendor-ms", 0.0),
        ("250.5", "vendor-ms", 0.2505),
        ("9" * 5000, "vendor-ms", MAX_SECONDS),
        ("abc", "invalid", None),
        ("-5", "negative", None),
        ("1e3", "invalid", None),
        ("nan", "invalid", None),
        (IN_30_S, "invalid", None),
        ("", "empty", None),
        ("100, 200", "conflicting", 0.2),
    ],
)
def test_vendor_milliseconds(name: str, text: str, klass: str, asked: float | None) -> None:
    found = read(text, name=name)
    assert (found.klass, found.asked_s, found.source) == (klass, asked, name.lower())


@pytest.mark.parametrize("retry_after", ["7", "abc", ""])
def test_a_vendors_header_counts_only_where_retry_after_is_absent(retry_after: str) -> None:
    lines = [Header("retry-after-ms", "1500"), Header("Retry-After", retry_after)]
    found = read_instruction(lines, NOW)
    assert found is not None
    assert found.source == "retry-after"


def test_retry_after_ms_goes_before_the_other_vendor_header() -> None:
    lines = [Header("x-ms-retry-after-ms", "1"), Header("retry-after-ms", "2000")]
    found = read_instruction(lines, NOW)
    assert found is not None
    assert (found.source, found.asked_s) == ("retry-after-ms", 2.0)


# ---------------------------------------------------------------------------------- hints in a body


def read_hint(name: str, value: object, date: str | None = DATE) -> Instruction:
    found = read_instruction(headers("9", date=date), NOW, (name, value))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("value", "asked"),
    [
        ("2026-11-23T08:00:05Z", 5.0),
        ("2026-11-23T08:00:05.250Z", 5.25),
        ("2026-11-23T04:00:05-04:00", 5.0),
        ("2026-11-23T13:30:05+05:30", 5.0),
        ("2026-11-23T08:00:05", 5.0),
        ("2026-11-23T08:00:05.123456789Z", 5.123456),
        ("2026-11-23T07:00:05Z", 0.0),
    ],
)
def test_poll_after_is_an_instant_less_date(value: str, asked: float) -> None:
    expected = Instruction("pollAfter", value, "poll-after", asked, "server", "date")
    assert read_hint("pollAfter", value) == expected


def test_poll_after_counts_from_the_receipt_without_a_date_header() -> None:
    found = read_hint("pollAfter", "2026-11-23T08:00:05Z", date=None)
    assert (found.asked_s, found.clock) == (5.0, "recorder")


@pytest.mark.parametrize("value", ["soon", "5", IN_30_S, "2026-11-23", "2026-02-31T00:00:00Z", 5, True, {}, []])
def test_a_poll_after_that_is_no_instant_is_invalid(value: object) -> None:
    found = read_hint("pollAfter", value)
    assert (found.klass, found.asked_s, found.source) == ("invalid", None, "pollAfter")


def test_an_empty_poll_after_is_empty() -> None:
    assert (read_hint("pollAfter", "").klass, read_hint("pollAfter", "").asked_s) == ("empty", None)


@pytest.mark.parametrize(
    ("value", "asked", "raw"),
    [
        (500, 0.5, "500"),
        (0, 0.0, "0"),
        (1500.5, 1.5005, "1500.5"),
        (10**19, MAX_SECONDS, str(10**19)),
        (1e300, MAX_SECONDS, "1e+300"),
        pytest.param(10**5000, MAX_SECONDS, "<int>", id="5001 digits"),
    ],
)
def test_poll_delay_is_milliseconds(value: float, asked: float, raw: str) -> None:
    assert read_hint("pollDelay", value) == Instruction("pollDelay", raw, "poll-delay", asked)


def test_a_negative_zero_delay_asks_plain_zero() -> None:
    assert math.copysign(1, read_hint("pollDelay", -0.0).asked_s or 0.0) == 1


@pytest.mark.parametrize("value", [-1, -0.5, True, False, "500", "", math.nan, math.inf, [], {"a": 1}, object()])
def test_a_poll_delay_that_is_no_number_from_0_is_invalid(value: object) -> None:
    found = read_hint("pollDelay", value)
    assert (found.klass, found.asked_s, found.source) == ("invalid", None, "pollDelay")


@pytest.mark.parametrize("name", ["pollAfter", "pollDelay"])
def test_a_null_hint_is_none_and_retry_after_counts(name: str) -> None:
    assert read_hint(name, None).source == "retry-after"
    assert read_instruction([], NOW, (name, None)) is None


def test_a_hint_of_another_name_is_a_mistake_of_the_protocol() -> None:
    with pytest.raises(ConfigError, match="pollAfter or pollDelay"):
        read_hint("wait", 5)


# ------------------------------------------------------------------------------------------- the table


def test_the_table_names_the_finding_of_each_class() -> None:
    codes = {name: row.finding for name, row in CLASSES.items()}
    assert {name for name, code in codes.items() if code == "RA005"} == {"duplicate", "conflicting"}
    clean = {name for name, code in codes.items() if code is None}
    assert clean == {"seconds", "date", "vendor-ms", "poll-after", "poll-delay"}
    assert {name for name, code in codes.items() if code == "RA004"} == {
        *("fraction", "negative", "date-obsolete", "date-invalid", "empty", "invalid")
    }


@pytest.mark.parametrize(
    ("value", "date", "rated"),
    [
        ("Mon, 23 Nov 2026 08:00:30 GMT", "Mon, 23 Nov 2026 08:00:00 GMT", True),
        ("Mon, 23 Nov 2026 08:00:30 GMT", None, False),
        ("Mon, 23 Nov 2026 08:00:30 +0000", "Mon, 23 Nov 2026 08:00:00 GMT", False),
        ("7", None, True),
    ],
)
def test_a_foreign_or_unanchored_date_is_not_rated(value: str, date: str | None, rated: bool) -> None:
    headers = [Header("Retry-After", value)] + ([Header("Date", date)] if date else [])
    read = read_instruction(headers, datetime(2026, 11, 23, 8, 0, 0, tzinfo=UTC))
    assert read is not None
    assert read.rated is rated


# ----------------------------------------------------------------------------------------- properties

_LATIN_1 = st.characters(max_codepoint=255)
_PIECES = st.sampled_from(
    f"1|2.0|-5|,| |\t|\x00|Mon|Mon,|GMT|23 Nov 2026|08:00:30|é|-0800|{IN_30_S}|Monday, 23-Nov-26 08:00:30 GMT"
    "|Mon Nov 23 08:00:30 2026|2026-11-23T08:00:30Z".split("|")
)
_ANY_LINE = st.text() | st.text(_LATIN_1) | st.lists(_PIECES, max_size=6).map("".join)


@REPEATABLE
@given(
    lines=st.lists(_ANY_LINE, max_size=3),
    vendor=st.lists(_ANY_LINE, max_size=2),
    dates=st.lists(_ANY_LINE, max_size=2),
    received_at=st.none() | st.datetimes(timezones=st.just(UTC)),
)
@example(["1" * 5000], [], [], None)
@example(["Sunday, 29-Feb-00 00:00:00 GMT"], [], [], datetime.max.replace(tzinfo=UTC))
def test_no_text_makes_it_raise(
    lines: list[str], vendor: list[str], dates: list[str], received_at: datetime | None
) -> None:
    rows = [Header("Retry-After", v) for v in lines] + [Header("retry-after-ms", v) for v in vendor]
    found = read_instruction(rows + [Header("Date", v) for v in dates], received_at)
    assert (found is None) == (not lines and not vendor)
    if found is not None:
        assert found.klass in CLASSES
        assert found.asked_s is None or 0 <= found.asked_s < math.inf
        assert found.asked_s is None or found.klass not in ("negative", "empty", "invalid")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@REPEATABLE
@given(name=st.sampled_from(["pollAfter", "pollDelay"]), value=_JSON)
def test_no_hint_makes_it_raise(name: str, value: object) -> None:
    found = read_instruction([], NOW, (name, value))
    assert (found is None) == (value is None)
    assert found is None or found.asked_s is None or 0 <= found.asked_s < math.inf


@REPEATABLE
@given(seconds=st.integers(0, MAX_SECONDS), zeros=st.integers(0, 3), before=st.text(" \t", max_size=3))
def test_whole_seconds_come_back(seconds: int, zeros: int, before: str) -> None:
    found = read(f"{before}{'0' * zeros}{seconds} ")
    assert (found.klass, found.asked_s) == ("seconds", seconds)


@REPEATABLE
@given(seconds=st.decimals(0, 10**9, places=4))
def test_fractions_come_back_exactly(seconds: object) -> None:
    found = read(str(seconds))
    assert (found.klass, found.asked_s) == ("fraction", float(str(seconds)))


def _spelled(instant: datetime) -> dict[str, str]:
    """The instant in the three forms of RFC 9110 §5.6.7, spelled without strftime (no locale)."""
    day, month = DAYS[instant.weekday()], MONTHS[instant.month - 1]
    clock = f"{instant.hour:02}:{instant.minute:02}:{instant.second:02}"
    return {
        "imf": f"{day[:3]}, {instant.day:02} {month} {instant.year:04} {clock} GMT",
        "rfc850": f"{day}, {instant.day:02}-{month}-{instant.year % 100:02} {clock} GMT",
        "asctime": f"{day[:3]} {month} {instant.day:2} {clock} {instant.year:04}",
    }


@REPEATABLE
@given(
    instant=st.datetimes(datetime(1977, 1, 1), datetime(2076, 11, 23), timezones=st.just(UTC)).map(
        lambda value: value.replace(microsecond=0)
    ),
    ahead=st.integers(0, 10**6),
)
def test_dates_come_back_in_all_three_forms(instant: datetime, ahead: int) -> None:
    base = _spelled(instant - timedelta(seconds=ahead))["imf"]
    klasses = {"imf": "date", "rfc850": "date-obsolete", "asctime": "date-obsolete"}
    for form, text in _spelled(instant).items():
        found = read(text, date=base)
        assert (found.klass, found.asked_s, found.clock) == (klasses[form], ahead, "server")


@REPEATABLE
@given(
    instant=st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=st.just(UTC)),
    minutes=st.integers(-23 * 60 - 59, 23 * 60 + 59),
)
def test_iso_instants_mean_the_same_in_every_zone(instant: datetime, minutes: int) -> None:
    text = instant.astimezone(timezone(timedelta(minutes=minutes))).isoformat()
    found = read_instruction([], NOW, ("pollAfter", text))
    assert found is not None
    assert found.asked_s == max(0.0, (instant - NOW).total_seconds())
