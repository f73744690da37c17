"""Analyses made by hand: a small one that a person can check, and one of thousands of operations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest

from polltape.exchange import Coverage
from polltape.measures.analysis import Analysis
from polltape.measures.codes import CODES
from polltape.measures.durations import durations
from polltape.measures.findings import FINDING_COLUMNS
from polltape.measures.pending_share import with_intervals
from polltape.measures.queue import queues
from polltape.measures.retry_after import compliance

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
START_US = round(START.timestamp() * 1e6)
HOST = "shop.example"
CHECKOUT = "/admin/api/{version}/checkouts/{token}.json"


class Step(NamedTuple):
    """One exchange of an operation: when it was sent, when its answer came (seconds), and what that said."""

    sent_s: float
    got_s: float
    status: int | None
    raw: str | None = None
    role: str = "poll"


def apart(later_s: float, earlier_s: float) -> float:
    """Seconds between two instants, in whole microseconds as the fold has them."""
    return round((later_s - earlier_s) * 1e6) / 1e6


def at(seconds: float) -> int:
    return START_US + round(seconds * 1e6)


def placed(findings: pd.DataFrame, timeline: pd.DataFrame) -> pd.DataFrame:
    """The findings with host and endpoint of the last exchange that each names."""
    known = timeline.drop_duplicates("exchange_id").set_index("exchange_id")
    about = findings["exchanges"].str[-1]
    return findings.assign(
        host=about.map(known["host"]).astype("string"),
        endpoint=about.map(known["method"] + " " + known["endpoint"]).astype("string"),
    )


class Made:
    """Collects operations, their timeline and their waits, and makes an analysis of them."""

    def __init__(self) -> None:
        self.operations: list[dict[str, Any]] = []
        self.timeline: list[dict[str, Any]] = []
        self.waits: list[dict[str, Any]] = []
        self.findings: list[tuple[Any, ...]] = []

    def operation(self, outcome: str, steps: list[Step], *, kind: str = "checkout.update", client: str = "c1") -> str:
        number = len(self.operations) + 1
        exchanges = [f"x{number}-{index}" for index in range(len(steps))]
        name, first, last = f"shopify-checkout:{exchanges[0]}", steps[0], steps[-1]
        ended = outcome in ("completed", "failed", "rejected", "action_required")
        pending = [step.sent_s for step in steps[1:] if step.status == 202]
        self.operations.append(
            {
                "id": name,
                "protocol": "shopify-checkout",
                "kind": kind,
                "key": f"tok{number}",
                "host": HOST,
                "client": client,
                "truncated": False,
                "submitted_us": at(first.sent_s),
                "accepted_us": at(first.got_s),
                "ended_us": at(last.got_s) if ended else None,
                "outcome": outcome,
                "polls": len(steps) - 1,
                "statuses": [step.status for step in steps],
                "duration_s": apart(last.got_s, first.got_s) if ended else None,
                "lower_s": apart(max(pending), first.got_s) if pending else 0.0,
                "upper_s": apart(last.got_s - 0.1, first.got_s) if ended else None,
                "observed_s": apart(last.got_s, first.got_s),
                "exchanges": exchanges,
            }
        )
        for index, (step, exchange) in enumerate(zip(steps, exchanges, strict=True)):
            following = steps[index + 1] if index + 1 < len(steps) else None
            self._exchange(step, exchange, name, "submit" if index == 0 else step.role)
            if step.raw is not None:
                self._wait(step, exchange, following, name, kind, client)
        return name

    def _exchange(self, step: Step, exchange: str, operation: str, role: str) -> None:
        number = len(self.timeline) + 1
        self.timeline.append(
            {
                "exchange_id": exchange,
                "host": HOST,
                "method": "PUT" if role == "submit" else "GET",
                "endpoint": CHECKOUT,
                "url": f"https://{HOST}/admin/api/2024-01/checkouts/tok.json",
                "status": step.status,
                "error": None if step.status else "connection reset",
                "start_us": at(step.sent_s),
                "response_start_us": at(step.got_s - 0.1) if step.status else None,
                "end_us": at(step.got_s),
                "source": "retry-after" if step.raw else None,
                "raw": step.raw,
                "klass": "seconds" if step.raw else None,
                "asked_s": float(step.raw) if step.raw else None,
                "request_id": f"req-{number:04}",
                "operation": operation,
                "role": role,
                "state": "pending" if step.status == 202 else "completed" if step.status else None,
            }
        )

    def _wait(self, step: Step, exchange: str, following: Step | None, operation: str, kind: str, client: str) -> None:
        asked = float(step.raw or 0)
        waited = None if following is None else apart(following.sent_s, step.got_s)
        verdict = "unanswered"
        if waited is not None:
            verdict = "early" if waited < asked - 0.01 else "kept" if waited <= asked + max(1, asked) else "late"
        number = exchange.split("-")[0]
        self.waits.append(
            {
                "operation": operation,
                "exchange_id": exchange,
                "next_exchange": None if following is None else f"{number}-{int(exchange.split('-')[1]) + 1}",
                "source": "retry-after",
                "raw": step.raw,
                "klass": "seconds",
                "clock": "server",
                "asked_s": asked,
                "waited_s": waited,
                "margin_s": None if waited is None else apart(waited, asked),
                "verdict": verdict,
                "rated": waited is not None,
                "scope": "operation",
                "protocol": "shopify-checkout",
                "kind": kind,
                "host": HOST,
                "method": "GET",
                "endpoint": CHECKOUT,
                "client": client,
                "status": step.status,
                "end_us": at(step.got_s),
            }
        )

    def finding(self, code: str, message: str, operation: str | None, exchanges: list[str], at_s: float) -> None:
        ids = [str(row["request_id"]) for row in self.timeline if row["exchange_id"] in exchanges]
        fault = CODES[code].fault
        self.findings.append((code, fault, message, operation, exchanges, ids, ["2024-01"], at(at_s)))

    def analysis(self, *, exchanges: int | None = None, statuses: list[tuple[Any, ...]] | None = None) -> Analysis:
        operations = pd.DataFrame(self.operations).astype(
            dict.fromkeys(("submitted_us", "accepted_us", "ended_us"), "Int64")
            | dict.fromkeys(("duration_s", "lower_s", "upper_s", "observed_s"), "float64")
        )
        waits = pd.DataFrame(self.waits).astype({"waited_s": "Float64", "margin_s": "Float64"})
        at_once = pd.DataFrame(
            [("shopify-checkout", "checkout.update", HOST, "x0")], columns=["protocol", "kind", "host", "exchange_id"]
        )
        timeline = pd.DataFrame(self.timeline).astype({"status": "Int64", "response_start_us": "Int64"})
        return Analysis(
            exchanges=len(timeline) if exchanges is None else exchanges,
            skipped=1,
            from_us=int(timeline["start_us"].min()),
            to_us=int(timeline["end_us"].max()),
            sources=("captures/shop",),
            warnings=(),
            coverage=(Coverage("s1", START, START + timedelta(minutes=5), gaps=0),),
            statuses=pd.DataFrame(
                statuses or [], columns=["host", "endpoint", "status", "count", "meaning", "fault"]
            ).astype({"status": "Int64"}),
            operations=operations,
            durations=durations(operations, at_once),
            waits=waits,
            compliance=compliance(waits),
            findings=placed(pd.DataFrame(self.findings, columns=FINDING_COLUMNS[:-2]), timeline),
            timeline=timeline,
        )


@pytest.fixture(scope="session")
def small() -> Analysis:
    """Four operations: a polite one, an early poller, one taken for the answer, one without an end."""
    made = Made()
    made.operation(
        "completed", [Step(0, 0.3, 202, "1"), Step(1.4, 1.6, 202, "1"), Step(2.7, 2.9, 202, "2"), Step(8.0, 8.2, 200)]
    )
    early = made.operation(
        "completed",
        [Step(10, 10.2, 202, "1"), Step(10.6, 10.8, 202, "1"), Step(10.85, 11.0, 202, "1"), Step(12.05, 12.2, 200)],
        client="c2",
    )
    taken = made.operation("abandoned", [Step(20, 20.25, 202, "1")], client="c3")
    stuck = made.operation(
        "pending",
        [Step(270, 270.2, 202, "10"), Step(280.3, 280.5, 202, "10"), Step(290.6, 290.7, None), Step(291.7, 291.8, 202)],
        kind="checkout.complete",
        client="c2",
    )
    made.finding(
        "RA001", "asked to wait 1 s ('1'), came back after 0.4 s: 0.6 s too early", early, ["x2-0", "x2-1"], 10.6
    )
    made.finding(
        "RA002", "asked to wait 1 s ('1'), came back after 0.05 s: the instruction was ignored", early,
        ["x2-1", "x2-2"], 10.85,
    )  # fmt: skip
    made.finding("OP003", 'the "not yet" was taken for the answer: nobody ever asked again', taken, ["x3-0"], 20.25)
    made.finding(
        "OP001", "still pending after 21.5 s; 20 s is long for shopify-checkout", stuck,
        ["x4-0", "x4-1", "x4-2", "x4-3"], 291.8,
    )  # fmt: skip
    made.finding(
        "ST002",
        f"PUT {CHECKOUT} on {HOST} answered 422 2 times: understood, but wrong in what it says: see errors in the body",
        None,
        ["e1", "e2"],
        295.0,
    )
    return made.analysis(
        exchanges=16,
        statuses=[
            (HOST, f"GET {CHECKOUT}", 200, 2, "processed", None),
            (HOST, f"GET {CHECKOUT}", 202, 6, "accepted, not yet processed: poll until it is", None),
            (HOST, f"GET {CHECKOUT}", None, 1, "no response", None),
            (HOST, f"PUT {CHECKOUT}", 200, 1, "processed", None),
            (HOST, f"PUT {CHECKOUT}", 202, 4, "accepted, not yet processed: poll until it is", None),
            (
                HOST,
                f"PUT {CHECKOUT}",
                422,
                2,
                "understood, but wrong in what it says: see errors in the body",
                "client",
            ),
        ],
    )


def journey(number: int, outcome: str, **known: Any) -> dict[str, Any]:
    """A row of journeys; what is not said is unknown."""
    unknown = (
        "client",
        "released_us",
        "release_s",
        "result_s",
        "observed_s",
        "eta_s",
        "eta_error_s",
        "eta_error_share",
    )
    return dict.fromkeys(unknown) | {
        "operation": f"shopify-queue:q{number}",
        "host": HOST,
        "outcome": outcome,
        "truncated": False,
        "polls": 3,
        "polls_ignored": 0,
        **known,
    }


def writes(endpoint: str, count: int, pending: int, **more: Any) -> dict[str, Any]:
    row = {"protocol": "par-posnext", "host": "pos.example", "endpoint": endpoint, "writes": count, "pending": pending}
    return row | more


@pytest.fixture(scope="session")
def busy(small: Analysis) -> Analysis:
    """A queue with an estimate that is wrong and a journey that was given up, a throttled host, PAR's writes."""
    out = {"released_us": at(12), "release_s": 12.0, "result_s": 12.5, "observed_s": 12.5, "eta_s": 20.0}
    journeys = pd.DataFrame(
        [
            journey(1, "completed", **out, eta_error_s=-8.5, eta_error_share=-0.425, polls_ignored=1),
            journey(
                2, "completed", **out | {"release_s": 31.5, "result_s": 33.0}, eta_error_s=11.0, eta_error_share=0.55
            ),
            journey(3, "abandoned", observed_s=20.0, eta_s=20.0),
            journey(4, "pending", truncated=True, polls=1),
        ]
    ).astype({"released_us": "Int64"})
    throttled = {"requests": 250, "throttled": 9, "share": 0.036, "operations": 4, "ended": 3, "clients": 2}
    polled = {"operations": 3, "completed": 2, "polls": 6, "polls_per_completed": 3.0, "polls_p50": 2.5}
    submit, validate = "POST /posnext/order/submit", "POST /posnext/order/validate"
    shares = [
        writes(submit, 200, 40, threshold=0.05, exception=False),
        writes(validate, 30, 1, threshold=0.05, exception=None),
        writes("POST /jobs", 7, 7, protocol="http-async", threshold=None, exception=None),
    ]
    steps = [(submit, 1, 1, 120, 6), (submit, 2, 3, 60, 18), (submit, 4, 7, 20, 16), (validate, 1, 1, 30, 1)]
    under_way = [writes(n, w, p, under_way_from=a, under_way_to=b) for n, a, b, w, p in steps]
    under_way.append(writes("POST /jobs", 7, 7, protocol="http-async", under_way_from=2, under_way_to=3))
    return replace(
        small,
        journeys=journeys,
        queues=queues(journeys),
        throttling=pd.DataFrame(
            [{"host": HOST, **throttled, "lost_s": 14.25, "longest_s": 9.5, "again": 2, "early": 1}]
        ),
        polling=pd.DataFrame(
            [
                {"protocol": "shopify-checkout", "kind": "checkout.update", "host": HOST, **polled}
                | {"polls_max": 4, "requests": 16, "share": 0.375, "early": 2, "peak_per_s": 2},
                {
                    "protocol": "shopify-checkout",
                    "kind": "checkout.create",
                    "host": HOST,
                    "operations": 1,
                    "completed": 0,
                }
                | {"polls": 0, "requests": 16, "share": 0.0, "early": 0, "peak_per_s": 0},
                {"protocol": "shopify-checkout", "kind": "checkout.complete", "host": HOST, "operations": 1}
                | {"completed": 0, "polls": 1, "requests": 16, "share": 0.0625, "early": 0, "peak_per_s": 1},
            ]
        ).astype({"polls_max": "Int64"}),
        pending_shares=with_intervals(pd.DataFrame(shares)),
        under_way=with_intervals(pd.DataFrame(under_way)),
    )


@pytest.fixture(scope="session")
def shop() -> Callable[..., Analysis]:
    """A function that makes captures to compare."""

    def made_shop(slower_s: float, early: int, *, extra: bool = False) -> Analysis:
        """Twelve updates that end after about 3 s and ``slower_s``; the first ``early`` clients poll too early."""
        made = Made()
        for number in range(12):
            at, first = 20.0 * number, 0.5 if number < early else 1.1
            steps = [Step(at, at + 0.2, 202, "1"), Step(at + 0.2 + first, at + 0.3 + first, 202, "1")]
            end = at + 2.6 + number * 0.05 + slower_s
            client = f"c{number}"
            if number == 11:
                made.operation("abandoned", steps, client=client)
            else:
                made.operation("completed", [*steps, Step(end, end + 0.2, 200)], client=client)
        if extra:
            made.operation("completed", [Step(300, 300.2, 202, "1"), Step(301.3, 301.5, 200)], kind="checkout.complete")
        return made.analysis()

    return made_shop


@pytest.fixture(scope="session")
def empty() -> Analysis:
    """A capture of ordinary traffic: nothing in it was answered "not yet"."""
    made = Made()
    made.operation("completed", [Step(0, 0.3, 202, "1"), Step(1.4, 1.6, 200)])
    full = made.analysis()
    return Analysis(
        exchanges=3,
        skipped=0,
        from_us=at(0),
        to_us=at(1),
        sources=("a file.har",),
        warnings=(),
        coverage=full.coverage,
        statuses=full.statuses,
        operations=full.operations.iloc[:0],
        durations=pd.DataFrame(),
        waits=full.waits.iloc[:0],
        compliance=full.compliance.iloc[:0],
        findings=full.findings,
        timeline=full.timeline.iloc[:0],
    )


@pytest.fixture(scope="session")
def hostile(busy: Analysis) -> Analysis:
    """Everything that was recorded tries to break out."""
    made = Made()
    bad = "<script>alert(1)</script>\x1b[2J\u202e\"'&{{7*7}}]]>"
    name = made.operation("completed", [Step(0, 0.3, 202, "1"), Step(0.6, 0.8, 200)], kind=bad, client=bad)
    made.finding("RA001", bad, name, ["x1-0", "x1-1"], 0.6)
    made.findings[0] = (*made.findings[0][:5], [bad], [bad], made.findings[0][7])
    for row in made.timeline:
        row |= {"host": bad, "endpoint": f"/{bad}", "url": f"https://{bad}/", "request_id": bad}
    made.timeline[0]["raw"] = bad
    analysis = made.analysis(statuses=[(bad, f"GET /{bad}", 200, 1, bad, None)])
    operations = analysis.operations.assign(host=bad, key=bad)
    return Analysis(
        **{name: getattr(analysis, name) for name in Analysis.__slots__}
        | {
            "operations": operations,
            "sources": (bad,),
            "warnings": (bad,),
            "durations": analysis.durations.assign(host=bad),
            "compliance": analysis.compliance.assign(host=bad),
            "waits": analysis.waits.assign(raw=bad, host=bad),
            "journeys": busy.journeys.assign(operation=bad, host=bad),
            "queues": busy.queues.assign(host=bad),
            "throttling": busy.throttling.assign(host=bad),
            "polling": busy.polling.assign(kind=bad, host=bad),
            "pending_shares": busy.pending_shares.assign(host=bad, endpoint=f"POST /{bad}").iloc[:1],
            "under_way": busy.under_way.assign(host=bad, endpoint=f"POST /{bad}").iloc[:3],
        }
    )


@pytest.fixture(scope="session")
def thousands() -> Analysis:
    """3,000 operations, each with an early wait and a finding."""
    made = Made()
    for number in range(3000):
        start = number * 0.05
        steps = [Step(start, start + 0.1, 202, "1"), Step(start + 0.4, start + 0.6, 202, "1")]
        end = start + 1.7 + number % 17 * 0.25
        name = made.operation("completed", [*steps, Step(end, end + 0.2, 200)], client=f"c{number % 12}")
        message = "asked to wait 1 s ('1'), came back after 0.3 s: 0.7 s too early"
        exchange = f"x{number + 1}"
        made.findings.append(
            ("RA001", "client", message, name, [f"{exchange}-0", f"{exchange}-1"], [f"req-{number}"], [], at(start))
        )
    return made.analysis()


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compares with ``golden/NAME``.  To accept a change: delete the file, run the test twice, read the diff."""

    def compare(name: str, text: str) -> None:
        path = Path(request.path).parent / "golden" / name
        if not path.exists():
            path.write_text(text, encoding="utf-8")
            pytest.fail(f"{path} was not there and has been written: read it")
        assert text == path.read_text(encoding="utf-8")

    return compare
