"""The oracle on histories whose every number was worked out by hand."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest
from histories import coverages, histories
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import analyze
from oracle_durations import kaplan_meier, median_band, quantile
from oracle_har import exchange
from oracle_hints import instruction
from oracle_waits import wilson
from scipy.stats import CensoredData, ecdf

T = datetime(2026, 11, 23, 8, 0, 0, tzinfo=UTC)
SHOP = "https://shop.example"
ADMIN = "/admin/api/2024-01/checkouts"
DATE = "Mon, 23 Nov 2026 08:00:00 GMT"


def entry(
    at: float,
    method: str,
    path: str,
    status: int,
    *,
    took: float = 0.1,
    hint: str | None = None,
    body: Any = None,
    sent: str | None = None,
    client: str = "a",
    headers: list[tuple[str, str]] | None = None,
) -> dict[str, Any]:
    """A request that starts ``at`` seconds; its response starts and ends 10 ms and 0 ms before ``took``."""
    got = [*(headers or []), *([("Retry-After", hint)] if hint is not None else [])]
    request: dict[str, Any] = {
        "method": method,
        "url": path if path.startswith("http") else SHOP + path,
        "headers": [{"name": "X-Shopify-Access-Token", "value": client}],
    }
    if sent is not None:
        request["postData"] = {"mimeType": "application/json", "text": sent}
    return {
        "startedDateTime": (T + timedelta(seconds=at)).isoformat(),
        "time": took * 1000,
        "request": request,
        "response": {
            "status": status,
            "headers": [{"name": n, "value": v} for n, v in got],
            "content": {"text": json.dumps(body)} if body is not None else {},
        },
        "timings": {"send": 0, "wait": took * 1000 - 10, "receive": 10},
    }


def put(at: float, status: int = 202, sent: str = "x", **more: Any) -> dict[str, Any]:
    return entry(at, "PUT", f"{ADMIN}/T.json", status, sent=sent, **more)


def get(at: float, status: int = 202, **more: Any) -> dict[str, Any]:
    return entry(at, "GET", f"{ADMIN}/T.json", status, **more)


def rates(at: float, status: int = 202, **more: Any) -> dict[str, Any]:
    return entry(at, "GET", f"{ADMIN}/T/shipping_rates.json", status, **more)


def later(seconds: float) -> list[tuple[datetime, datetime]]:
    return [(T, T + timedelta(seconds=seconds))]


def codes(result: dict[str, Any]) -> list[str]:
    return sorted(f["code"] for f in result["findings"])


def test_an_update_polled_twice_has_its_bracket() -> None:
    result = analyze([put(0, hint="1"), get(1.2, hint="1"), get(2.0, 200)])
    (op,) = result["operations"]
    assert (op["id"], op["kind"], op["outcome"], op["polls"]) == (
        ("shopify-checkout", 0),
        "checkout.update",
        "completed",
        2,
    )
    # t0 = 0.1; the last pending poll was sent at 1.2; the end came at 2.09 (headers) and 2.1
    assert (op["lower_s"], op["upper_s"], op["duration_s"], op["observed_s"]) == (1.1, 1.99, 2.0, 2.0)
    assert op["statuses"] == [202, 202, 200]
    first, second = result["waits"]
    # 0.1 → 1.2 is 1.1 s of 1 s asked; 1.3 → 2.0 is 0.7 s
    assert (first["waited_s"], first["margin_s"], first["verdict"]) == (1.1, 0.1, "kept")
    assert (second["waited_s"], second["margin_s"], second["verdict"]) == (0.7, -0.3, "early")
    # the second deadline, 2.3, lies beyond the end of coverage, 2.1: a finding, but not rated
    (row,) = result["compliance"]
    assert (row["kept"], row["early"], row["rate"], row["operations_clean"]) == (1, 0, 1.0, 1)
    assert codes(result) == ["RA001"]


def test_the_tolerance_is_met_exactly() -> None:
    on_time = analyze([put(0, hint="1"), get(1.09, 200)], coverage=later(9))
    assert on_time["waits"][0]["verdict"] == "kept"
    too_soon = analyze([put(0, hint="1"), get(1.0899, 200)], coverage=later(9))
    # from response start (0.09) it waited 0.9999 s: within the tolerance
    assert too_soon["waits"][0]["verdict"] == "kept"
    early = analyze([put(0, hint="1"), get(1.0799, 200)], coverage=later(9))
    assert early["waits"][0]["verdict"] == "early"


def test_late_is_beyond_twice_what_was_asked() -> None:
    verdicts = [
        analyze([put(0, hint="2"), get(0.1 + w, 200)], coverage=later(99))["waits"][0]["verdict"] for w in (4.0, 4.001)
    ]
    assert verdicts == ["kept", "late"]


def test_a_different_write_supersedes_at_its_response_end() -> None:
    result = analyze([put(0), get(1, took=2), put(1.5, sent="y"), get(4, 200)])
    one, two = result["operations"]
    assert (one["outcome"], one["exchanges"], one["observed_s"]) == ("superseded", [0, 1], 2.9)
    assert (two["outcome"], two["exchanges"]) == ("completed", [2, 3])


def test_a_write_that_fails_leaves_it_open_and_a_200_supersedes() -> None:
    result = analyze([put(0), put(1, 422, sent="y"), get(2, 200)])
    assert [o["outcome"] for o in result["operations"]] == ["completed"]
    result = analyze([put(0), put(1, 200, sent="y"), get(2, 202)])
    assert [o["outcome"] for o in result["operations"]] == ["superseded"]
    assert result["durations"][0]["at_once"] == 1


def test_the_same_write_joins() -> None:
    result = analyze([put(0, hint="1"), put(2, hint="1"), get(3.5, 200)])
    (op,) = result["operations"]
    assert (op["polls"], op["exchanges"], op["lower_s"]) == (1, [0, 1, 2], 1.9)
    assert [(w["exchange"], w["next_exchange"]) for w in result["waits"]] == [(0, 1), (1, 2)]
    assert "OP005" in codes(result)


def test_a_join_may_end_it() -> None:
    (op,) = analyze([put(0), put(2, 200)])["operations"]
    assert (op["outcome"], op["polls"], op["duration_s"]) == ("completed", 0, 2.0)


def test_two_equal_writes_in_flight_are_one_operation() -> None:
    (op,) = analyze([put(0, took=1), put(0.5, took=1), get(3, 200)])["operations"]
    assert op["exchanges"] == [0, 1, 2]


def test_a_poll_that_started_at_t0_belongs_and_one_before_does_not() -> None:
    ops = analyze([put(0), get(0.1), get(1, 200)])["operations"]
    assert ops[0]["exchanges"] == [0, 1, 2]
    ops = analyze([put(0), get(0.05), get(1, 200)])["operations"]
    assert ops[0]["exchanges"] == [0, 2]


def test_a_poll_in_flight_at_the_end_counts_but_ends_nothing() -> None:
    result = analyze([put(0), get(1, 200, took=1), get(1.995, took=1), get(1.5, 422, took=3)])
    (op,) = result["operations"]
    # the pending one started after the end's response had started: it moves neither bound
    assert (op["outcome"], op["polls"], op["lower_s"], op["duration_s"]) == ("completed", 3, 0.0, 1.9)
    assert op["observed_s"] == 4.4
    assert "OP006" not in codes(result)


def test_pending_after_the_end_is_backwards() -> None:
    result = analyze([put(0), get(1, 200), get(2), get(3)])
    assert codes(result).count("OP006") == 2
    assert result["operations"][0]["polls"] == 1


def test_errors_say_nothing_and_422_rejects() -> None:
    (op,) = analyze([put(0), get(1, 500), get(2, 0), get(3, 401), get(4, 422)])["operations"]
    assert (op["outcome"], op["statuses"], op["lower_s"]) == ("rejected", [202, 500, None, 401, 422], 0.0)
    (op,) = analyze([put(0), get(1, 404)])["operations"]
    assert op["outcome"] == "failed"


def test_a_create_is_polled_by_the_token_it_issued() -> None:
    made = entry(0, "POST", f"{ADMIN}.json", 202, sent="{}", body={"checkout": {"token": "T", "order": None}})
    (op,) = analyze([made, get(1, 202, body={"checkout": {"completed_at": "2026"}})])["operations"]
    assert (op["kind"], op["outcome"]) == ("checkout.create", "completed")
    other = entry(0, "POST", "/wallets/checkouts.json", 202, headers=[("Location", "/wallets/checkouts/T.json")])
    (op,) = analyze([other, get(1, 200)])["operations"]
    assert (op["kind"], op["polls"]) == ("checkout.create", 1)


def test_a_202_that_is_final_already_opens_nothing() -> None:
    done = entry(0, "POST", f"{ADMIN}/T/complete.json", 202, body={"checkout": {"completed_at": "2026"}})
    assert analyze([done])["operations"] == []


def test_shipping_rates_open_by_get_again_and_again() -> None:
    result = analyze([rates(0), rates(1), rates(2, 200), rates(3), rates(4, 200), put(9)])
    assert [o["exchanges"] for o in result["operations"]] == [[0, 1, 2], [3, 4], [5]]
    assert "OP006" not in codes(result)


def test_a_get_that_would_open_one_joins_the_one_open_at_its_end() -> None:
    (op,) = analyze([rates(0, took=1), rates(0.5, took=1), rates(3, 200)])["operations"]
    assert (op["exchanges"], op["polls"]) == ([0, 1, 2], 2)


def test_calculate_shipping_has_the_key_of_shipping_rates() -> None:
    ask = entry(0, "POST", f"{ADMIN}/T/calculate_shipping.json", 202)
    (op,) = analyze([ask, rates(1, 200)])["operations"]
    assert (op["kind"], op["outcome"]) == ("checkout.shipping_rates", "completed")


def payment(at: float, status: int, **fields: Any) -> dict[str, Any]:
    return entry(at, "GET", f"{ADMIN}/T/payments/7.json", status, body={"payment": {"id": 7, **fields}})


def test_a_payment_goes_by_its_transaction() -> None:
    opened = entry(0, "POST", f"{ADMIN}/T/payments.json", 202, body={"payment": {"id": 7, "transaction": None}})
    (op,) = analyze([opened, payment(1, 200, transaction=None), payment(2, 200, transaction={"status": "failure"})])[
        "operations"
    ]
    assert (op["outcome"], op["statuses"], op["lower_s"]) == ("failed", [202, 200, 200], 0.9)


def test_a_payment_without_its_write_is_truncated() -> None:
    result = analyze([payment(1, 202, transaction=None), payment(2, 200, transaction={"status": "success"})])
    (op,) = result["operations"]
    assert op["truncated"] is True
    assert (op["outcome"], op["polls"], op["duration_s"], op["submitted_at"]) == ("completed", 2, None, None)
    assert result["durations"][0]["operations"] == 0
    assert result["durations"][0]["truncated"] == 1


def test_an_idle_checkout_opens_nothing_and_is_said_once() -> None:
    result = analyze([get(0, hint="1"), get(1.3, hint="1")])
    assert result["operations"] == []
    assert [(w["operation"], w["next_exchange"], w["verdict"]) for w in result["waits"]] == [
        (None, 1, "kept"),
        (None, None, "open"),
    ]
    assert codes(result) == ["OP007"]


@pytest.mark.parametrize(
    ("more", "coverage", "outcome", "code"),
    [
        ({}, 29.9, "pending", None),
        ({}, 30.1, "abandoned", "OP007"),
        ({"hint": "1"}, 30.1, "abandoned", "OP003"),
        ({"hint": "4"}, 40.0, "pending", None),
        ({"hint": "4"}, 40.1, "abandoned", "OP003"),
        ({"headers": [("Location", f"{SHOP}{ADMIN}/T.json")]}, 31, "abandoned", "OP003"),
    ],
)
def test_abandoned_is_a_matter_of_coverage(
    more: dict[str, Any], coverage: float, outcome: str, code: str | None
) -> None:
    result = analyze([put(0, **more)], coverage=later(coverage))
    assert result["operations"][0]["outcome"] == outcome
    assert [c for c in codes(result) if c.startswith("OP")] == ([code] if code else [])


def test_stuck_needs_twenty_seconds_of_shown_pending() -> None:
    assert "OP001" not in codes(analyze([put(0), get(20.0)]))
    assert "OP001" in codes(analyze([put(0), get(20.1)]))
    assert "OP001" not in codes(analyze([put(0), get(20.1), get(21, 500)]))


def test_a_throttle_governs_the_client_on_the_host() -> None:
    result = analyze(
        [
            entry(0, "GET", "/a", 429, hint="2"),
            entry(0.15, "GET", "/b", 200),
            entry(0.2, "GET", "/c", 200, client="other"),
            entry(1, "GET", "/d", 200),
        ],
        coverage=later(60),
    )
    (wait,) = result["waits"]
    # /b started 50 ms after the answer: under way; /c is another client's
    assert (wait["next_exchange"], wait["verdict"], wait["operation"]) == (3, "early", None)
    assert codes(result) == ["RA001", "RA007"]


def test_a_redirect_governs_the_redirected_request() -> None:
    moved = entry(0, "GET", "/a", 303, hint="1", headers=[("Location", "/b?x=1")])
    result = analyze([moved, entry(0.5, "GET", "/a", 200), entry(1.5, "GET", "/b?x=1", 200)])
    assert result["waits"][0]["next_exchange"] == 2


def test_a_wait_is_void_where_the_operation_ended_first() -> None:
    result = analyze([put(0), get(1, 202, hint="1", took=3), get(2, 200)], coverage=later(60))
    assert [(w["exchange"], w["verdict"]) for w in result["waits"]] == [(1, "void")]


def test_an_unanswered_wait_and_an_open_one_differ_by_coverage() -> None:
    for end, verdict in ((1.1, "open"), (1.11, "unanswered")):
        assert analyze([put(0, hint="1")], coverage=later(end))["waits"][0]["verdict"] == verdict


def test_statuses_are_judged_by_endpoint() -> None:
    result = analyze([get(0, 409), get(1, 303), get(2, 404), entry(3, "GET", "/x/123", 409), put(4, 0)])
    assert codes(result) == ["ST001", "ST002"]
    assert [(s["endpoint"], s["status"], s["fault"]) for s in result["statuses"]][:2] == [
        ("GET /admin/api/{version}/checkouts/{token}.json", 303, None),
        ("GET /admin/api/{version}/checkouts/{token}.json", 404, "client"),
    ]
    assert result["statuses"][3]["endpoint"] == "GET /x/{id}"


@pytest.mark.parametrize(
    ("lines", "klass", "asked", "code"),
    [
        (["120"], "seconds", 120, None),
        ([" 7 "], "seconds", 7, None),
        (["2.0"], "fraction", 2, "RA004"),
        (["0.5"], "fraction", 0.5, "RA004"),
        (["-5"], "negative", None, "RA004"),
        (["Mon, 23 Nov 2026 08:00:30 GMT"], "date", 30, None),
        (["Mon, 23 Nov 2026 07:59:30 GMT"], "date", 0, None),
        (["Monday, 23-Nov-26 08:00:30 GMT"], "date-obsolete", 30, "RA004"),
        (["Mon Nov 23 08:00:30 2026"], "date-obsolete", 30, "RA004"),
        (["Mon, 23 Nov 2026 08:00:30 +0000"], "date-invalid", 30, "RA004"),
        (["mon, 23 nov 2026 08:00:30 gmt"], "date-invalid", 30, "RA004"),
        (["Mon, 23 Nov 2026 00:00:30 PST"], "date-invalid", 30, "RA004"),
        (["2026-11-23T08:00:30Z"], "date-invalid", 30, "RA004"),
        (["1", "1"], "duplicate", 1, "RA005"),
        (["1", "9"], "conflicting", 9, "RA005"),
        (["1, 9"], "conflicting", 9, "RA005"),
        (["1, 1"], "conflicting", 1, "RA005"),
        (["1, Mon, 23 Nov 2026 08:00:30 GMT"], "conflicting", 30, "RA005"),
        (["abc", "-1"], "invalid", None, "RA005"),
        (["abc, def"], "invalid", None, "RA004"),
        ([""], "empty", None, "RA004"),
        *[
            ([v], "invalid", None, "RA004")
            for v in ["+3", "1e3", "1_0", "0x10", "inf", "nan", "٣", "120;x=1", "abc", "2.", ".5"]
        ],
        (["Mon, 31 Feb 2026 08:00:30 GMT"], "invalid", None, "RA004"),
    ],
)
def test_the_instruction_table(lines: list[str], klass: str, asked: float | None, code: str | None) -> None:
    headers = [("Date", DATE), *(("Retry-After", v) for v in lines)]
    hint = instruction(exchange(put(0, headers=headers), 0, ""))
    assert hint is not None
    assert (hint.klass, hint.asked, hint.finding, hint.clock) == (klass, asked, code, "server")
    found = codes(analyze([put(0, headers=headers)]))
    assert [c for c in found if c.startswith("RA")] == ([code] if code else [])


def test_without_a_date_header_the_recorder_s_clock_serves() -> None:
    result = analyze(
        [put(0, hint="Mon, 23 Nov 2026 08:00:02 GMT"), get(2.1, 200)],
        coverage=later(60),
    )
    (wait,) = result["waits"]
    assert (wait["clock"], wait["asked_s"], wait["verdict"]) == ("recorder", 1.9, "kept")
    assert result["compliance"][0]["rate"] is None


def test_vendor_milliseconds_only_without_retry_after() -> None:
    both = exchange(put(0, hint="1", headers=[("Retry-After-Ms", "250")]), 0, "")
    one = exchange(put(0, headers=[("x-ms-retry-after-ms", "250")]), 0, "")
    hints = [instruction(both), instruction(one)]
    assert [(h.source, h.asked) for h in hints if h] == [("retry-after", 1), ("x-ms-retry-after-ms", 0.25)]


def test_missing_hint_is_a_finding_only_inside_an_operation() -> None:
    assert codes(analyze([put(0), get(1), get(2, 200)])).count("RA003") == 2
    assert "RA003" not in codes(analyze([get(0)]))


def test_order_of_entries_does_not_matter() -> None:
    entries = [put(0, hint="1"), get(1.2, hint="1"), put(2, sent="y"), get(3, 500), get(4, 200)]
    there = analyze(entries, ids=[f"{i}" for i in range(5)])
    back = analyze(entries[::-1], ids=[f"{4 - i}" for i in range(5)])
    assert [o["outcome"] for o in there["operations"]] == [o["outcome"] for o in back["operations"]]
    assert [w["margin_s"] for w in there["waits"]] == [w["margin_s"] for w in back["waits"]]
    assert codes(there) == codes(back)
    assert there["durations"] == back["durations"]


def test_timings_of_minus_one_and_missing_time() -> None:
    raw = put(0)
    raw["timings"] = {"blocked": 5, "dns": -1, "connect": 20, "ssl": 15, "send": 1, "wait": -1, "receive": 2}
    del raw["time"]
    ex = exchange(raw, 0, "")
    start = ex.t_req
    assert start % 1_000_000 == 25_000
    assert (ex.t_req_end, ex.t_resp, ex.t_end) == (start + 1000, None, start + 3000)


def test_kaplan_meier_by_hand() -> None:
    # 1, 2+, 3, 4, 5+: S = 4/5, 4/5·2/3 = 8/15, 4/15
    points = [(1, True), (2, False), (3, True), (4, True), (5, False)]
    scaled = [(t * 1_000_000, event) for t, event in points]
    assert quantile(scaled, Fraction(1, 2)) == 4.0
    assert quantile(scaled, Fraction(9, 10)) is None


def test_brookmeyer_crowley_against_a_worked_case() -> None:
    # events at 1..6, no censoring: S(1) = 5/6, log-log width there 1.96·sqrt(1/30)/0.1823 = 1.963
    # lower band 0.8333^7.12 = 0.273 ≤ 0.5 at t = 1; upper at 5: (1/6)^exp(−1.96·0.9129/1.7918) = 0.516;
    # at 6 S = 0 and the band gives no end
    assert median_band([(t * 1_000_000, True) for t in range(1, 7)]) == (1.0, None)
    assert median_band([(1_000_000, True)]) == (None, None)


@settings(max_examples=100, deadline=None)
@given(points=st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=12))
def test_kaplan_meier_against_scipy(points: list[tuple[int, bool]]) -> None:
    seen = [t for t, event in points if event]
    curve = kaplan_meier(points)
    assert [t for t, _, _ in curve] == sorted(set(seen))
    if not seen:
        return
    sample = CensoredData(uncensored=seen, right=[t for t, event in points if not event])
    theirs = ecdf(sample).sf
    assert [float(s) for _, s, _ in curve] == pytest.approx([float(theirs.evaluate(t)) for t, _, _ in curve])


def test_wilson_by_hand() -> None:
    low, high = wilson(6, 8)
    assert low == pytest.approx(0.4093, abs=1e-4)
    assert high == pytest.approx(0.9285, abs=1e-4)
    assert wilson(0, 0) == (None, None)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_what_holds_in_every_history(data: st.DataObject) -> None:
    entries = data.draw(histories())
    ids = [f"{i:03d}" for i in range(len(entries))]
    result = analyze(entries, coverage=data.draw(coverages(entries)), ids=ids)
    for op in result["operations"]:
        assert op["exchanges"].count(op["id"][1]) == 1
        assert (op["ended_at"] is None) or op["outcome"] in ("completed", "failed", "rejected")
        if op["upper_s"] is not None:
            assert op["lower_s"] <= op["upper_s"] <= op["duration_s"] <= op["observed_s"]
    for row in result["durations"]:
        outcomes = ("completed", "failed", "rejected", "action_required", "superseded", "abandoned", "pending")
        assert sum(row[n] for n in outcomes) == row["operations"]
    assert sum(s["count"] for s in result["statuses"]) == len(entries) == result["capture"]["exchanges"]
    assert len({w["exchange"] for w in result["waits"]}) == len(result["waits"])


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_nothing_depends_on_the_order_of_entries(data: st.DataObject) -> None:
    entries = data.draw(histories())
    order = data.draw(st.permutations(range(len(entries))))
    ids = [f"{i:03d}" for i in range(len(entries))]
    there = analyze(entries, ids=ids)
    back = analyze([entries[i] for i in order], ids=[ids[i] for i in order])
    for name in ("durations", "compliance", "statuses"):
        assert there[name] == back[name]
    assert codes(there) == codes(back)
    named = [[order[i] for i in op["exchanges"]] for op in back["operations"]]
    assert [op["exchanges"] for op in there["operations"]] == named
