"""Short histories at the edges of the definitions, worked out by hand from their sentences.

One row: the sentence; the requests, ``at METHOD what status …`` (``took=`` and ``head=`` seconds until the response's
end and its headers, ``ra=`` Retry-After, ``to=`` Location, ``body=`` what was sent, ``by=`` the client); then what
follows from it: each operation with its statuses, polls, duration, lower, upper and observed seconds, each wait with
what was asked, waited and judged, and each finding with its instant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Make = Callable[..., Any]

PLACES = {
    "C": "/admin/api/2024-04/checkouts/t1.json",
    "D": "/admin/api/2024-04/checkouts/t2.json",
    "R": "/admin/api/2024-04/checkouts/t1/shipping_rates.json",
    "END": "/elsewhere",
}

EDGES = [
    (
        "the final answer whose response ended first ends; polls then in flight count, a later one is OP006",
        "0 PUT C 202 ra=1; 1.2 GET C 200 took=3; 1.6 GET C 200; 1.65 GET C 202 took=.5 ra=1; 2.5 GET C 202 ra=1",
        "completed 202 200 200 202: 3 polls, 1.6 s in (1.55, 1.6], seen 4.1",
        "1 s kept 1.1; 1 s void; 1 s unanswered",
        "OP006 2.6",
    ),
    (
        "what starts between the end's response start and its end counts for neither",
        "0 PUT C 202 ra=1; 1.2 GET C 200 took=2 head=.5; 2 GET C 202 took=.5 ra=1; 9 GET END 200",
        "completed 202 200 202: 2 polls, 3.1 s in (0, 1.6], seen 3.1",
        "1 s kept 1.1; 1 s void",
        "",
    ),
    (
        "a join is open when the request starts, shows the state, and is no poll",
        "0 PUT C 202 ra=1; 1.2 PUT C 202 took=3 ra=1; 1.5 GET C 200",
        "completed 202 202 200: 1 polls, 1.5 s in (1.1, 1.5], seen 4.1",
        "1 s kept 1.1; 1 s void",
        "OP005 1.2",
    ),
    (
        "a join that is open when its response ends was under way: it is not governed",
        "0 PUT C 202 ra=1; .05 PUT C 202 took=1 ra=1; 2.5 GET C 200",
        "completed 202 202 200: 1 polls, 2.5 s in (0, 2.5], seen 2.5",
        "1 s late 2.4; 1 s kept 1.45",
        "OP005 0.05; RA006 2.5",
    ),
    (
        "the same write as one that has been superseded is a different write",
        "0 PUT C 202 ra=1; 2 PUT C 202 body=B ra=1; 3 PUT C 202 ra=1; 4.2 GET C 200",
        "superseded 202: 0 polls, None s in (0, None], seen 0; "
        "superseded 202: 0 polls, None s in (0, None], seen 0; completed 202 200: 1 polls, 1.2 s in (0, 1.2], seen 1.2",
        "1 s void; 1 s void; 1 s kept 1.1",
        "",
    ),
    (
        "two writes in flight: the one answered last supersedes, whichever was sent first",
        "0 PUT C 202 took=2 ra=1; .5 PUT C 202 took=1 body=B ra=1; 3.2 GET C 200",
        "completed 202 200: 1 polls, 1.3 s in (0, 1.3], seen 1.3; superseded 202: 0 polls, None s in (0, None], seen 0",
        "1 s void; 1 s kept 1.2",
        "",
    ),
    (
        "a poll in flight when its operation is superseded is still its own, and ends nothing",
        "0 PUT C 202 ra=5; 1 GET C 200 took=3; 2 PUT C 202 body=B ra=1; 4.5 GET C 200",
        "superseded 202 200: 1 polls, None s in (0, None], seen 3.9; "
        "completed 202 200: 1 polls, 2.5 s in (0, 2.5], seen 2.5",
        "5 s early 0.9; 1 s late 2.4",
        "RA001 1; RA006 4.5",
    ),
    (
        "a GET that would open one belongs to the one open when its response ends; a checkout's GET opens none",
        "0 GET R 202 took=1 ra=1; .5 GET R 202 took=1 ra=1; 2.6 GET R 200; "
        "10 PUT D 202 took=1 ra=1; 10.5 GET D 202 took=1 ra=1; 12.2 GET D 200",
        "completed 202 202 200: 2 polls, 1.7 s in (0, 1.7], seen 1.7; "
        "completed 202 200: 1 polls, 1.3 s in (0, 1.3], seen 1.3",
        "1 s kept 1.6; 1 s kept 1.1; 1 s kept 1.2; 1 s early 0.7",
        "RA001 12.2",
    ),
    (
        "an error took the response's place: headers in its record asked nobody to wait",
        "0 PUT C 202; 1 PUT C 0 ra=5; 40 GET END 200",
        "abandoned 202 None: 0 polls, None s in (0, None], seen 1",
        "",
        "OP005 1; OP007 1.1; RA003 0.1",
    ),
    (
        "401, 403, 406, 408, 425, 429, 5xx and errors neither end the operation nor move lower_s",
        "0 POST /jobs 202 to=/m; 1 GET /m 202; 2 GET /m 401; 3 GET /m 403; 4 GET /m 406; 5 GET /m 408; 6 GET /m 425; "
        "7 GET /m 429; 8 GET /m 500; 9 GET /m 0; 10 GET /m 204",
        "completed 202 202 401 403 406 408 425 429 500 None 204: 10 polls, 10 s in (0.9, 10], seen 10",
        "",
        "ST002 2.1; ST002 3.1; ST002 4.1; ST001 8.1",
    ),
    (
        "throttle's own row goes first: 408, 425 and 5xx are the same again, an error nothing, a 404 the end",
        "0 GET /a 429 ra=1; 1.2 GET /a 503 ra=1; 2.4 GET /a 408; 3 GET /a 425; 4 GET /a 500; 5 GET /a 0; 6 GET /a 404",
        "completed 429 503 408 425 500 None 404: 6 polls, 6 s in (3.9, 6], seen 6",
        "1 s kept 1.1; 1 s kept 1.1",
        "ST001 1.3; ST001 4.1; ST002 6.1",
    ),
    (
        "a 429 inside an operation opens no throttle; its wait governs the client's next request to the host",
        "0 PUT C 202 ra=1; 1.2 GET C 429 ra=2; 2 GET /a 200 by=z; 2.1 GET /a 200; 3.4 GET C 200",
        "completed 202 429 200: 2 polls, 3.4 s in (0, 3.4], seen 3.4",
        "1 s kept 1.1; 2 s early 0.8",
        "RA001 2.1; RA007 2.1",
    ),
    (
        "elsewhere within 100 ms counts as under way, the same path does not",
        "0 GET /a 429 ra=2; .2 GET /b 200; 2.2 GET /a 429 ra=2; 2.3 GET /a 200; 9 GET END 200",
        "completed 429 429 200: 2 polls, 2.3 s in (2.1, 2.3], seen 2.3",
        "2 s kept 2.1; 2 s early 0",
        "RA002 2.3",
    ),
    (
        "RA007 once per request, before any of the deadlines, whatever was answered in between",
        "0 GET /a 429 ra=10; .05 GET /b 429 ra=1; 2 GET /c 200; 5 GET /a 200; 6 GET /b 200; 30 GET END 200",
        "completed 429 200: 1 polls, 5 s in (0, 5], seen 5; completed 429 200: 1 polls, 5.95 s in (0, 5.95], seen 5.95",
        "10 s early 1.9; 1 s kept 1.85",
        "RA001 2; RA007 2; RA007 6",
    ),
    (
        "early from the response's end and from its start",
        "0 PUT C 202 took=3 head=1 ra=2; 3 GET C 200",
        "completed 202 200: 1 polls, 0.1 s in (0, 0.1], seen 0.1",
        "2 s kept 0",
        "",
    ),
    (
        "the deadline at the coverage's very end is open, and an early wait is rated there",
        "0 PUT C 202 ra=5; 2 GET C 202 ra=20; 5 GET END 200",
        "pending 202 202: 1 polls, None s in (1.9, None], seen 2",
        "5 s early 1.9; 20 s open",
        "RA001 2",
    ),
    (
        "abandoned from ten times the last usable asked past the last response's end",
        "0 PUT C 202 ra=5; 5.2 GET C 202 ra=soon; 55.2 GET END 200",
        "abandoned 202 202: 1 polls, None s in (5.1, None], seen 5.2",
        "5 s kept 5.1",
        "RA004 5.3; OP002 5.3",
    ),
    (
        "a later poll is never too late, though it was watched for ten minutes in between",
        "0 PUT C 202 ra=1; 600 GET END 200; 1000 GET C 200",
        "completed 202 200: 1 polls, 1000 s in (0, 1000], seen 1000",
        "1 s late 999.9",
        "RA006 1000",
    ),
    (
        "neither usable wait nor address: ambiguous, and RA004 stands instead of RA003",
        "0 PUT C 202 ra=-5; 31 GET END 200",
        "abandoned 202: 0 polls, None s in (0, None], seen 0",
        "",
        "RA004 0.1; OP007 0.1",
    ),
    (
        "an answer opens no wait for the operation that it ends; the redirect that it is still does",
        "0 POST /jobs 202 to=/m; 1 GET /m 303 to=/r ra=2; 2 GET /r 200; 9 GET END 200",
        "completed 202 303: 1 polls, 1 s in (0, 1], seen 1",
        "2 s early 0.9",
        "RA001 2",
    ),
    (
        "the scope of a 429 outlives the operation; without another request it is void",
        "0 POST /jobs 202 to=/m; 1 GET /m 200 took=3; 1.5 GET /m 429 ra=10; 60 GET END 200 by=z",
        "completed 202 200 429: 2 polls, 3.9 s in (0, 3.9], seen 3.9",
        "10 s void",
        "",
    ),
    (
        "polled on after the end, and the state went backwards",
        "0 POST /jobs 202 to=/m; 1 GET /m 200 took=1; 1.5 GET /m 200 took=1; 2 GET /m 200; 3 GET /m 202; 9 GET END 200",
        "completed 202 200 200: 2 polls, 1.9 s in (0, 1.9], seen 2.4",
        "",
        "OP004 2; OP004 3; OP006 3.1",
    ),
    (
        "all addresses issued link, and each is read as it was first issued",
        "0 POST /jobs 202 to=/m/1; 1 GET /m/1 202 to=2; 2 GET /m/2 202 to=3; 3 GET /m/1 202; 4 GET /m/3 201",
        "completed 202 202 202 202 201: 4 polls, 4 s in (2.9, 4], seen 4",
        "",
        "",
    ),
    (
        "a client's cancel ends the operation as rejected, and is no poll",
        "0 POST /jobs 202 to=/m ra=5; 1 DELETE /m 204; 60 GET END 200",
        "rejected 202 204: 0 polls, 1 s in (0, 1], seen 1",
        "5 s void",
        "",
    ),
    (
        "stuck at exactly 20 s, by the last exchange that shows pending",
        "0 PUT C 202 ra=1; 20.1 GET C 202 ra=1",
        "pending 202 202: 1 polls, None s in (20, None], seen 20.1",
        "1 s late 20; 1 s open",
        "RA006 20.1; OP001 20.2",
    ),
]


@pytest.mark.parametrize(
    ("requests", "operations", "waits", "findings"), [row[1:] for row in EDGES], ids=[row[0] for row in EDGES]
)
def test_what_follows_from_the_sentence(
    entry: Make, analysed: Make, requests: str, operations: str, waits: str, findings: str
) -> None:
    analysis = analysed([_request(entry, *line.split()) for line in reversed(requests.split("; "))])
    assert "; ".join(map(_operation, analysis.operations.to_dict("records"))) == operations
    assert "; ".join(map(_wait, analysis.waits.to_dict("records"))) == waits
    assert sorted(map(_finding, analysis.findings.to_dict("records"))) == sorted(filter(None, findings.split("; ")))


def _request(entry: Make, at: str, method: str, what: str, status: str, *more: str) -> Any:
    said = dict(each.split("=", 1) for each in more)
    return entry(
        float(at),
        method,
        PLACES.get(what, what),
        int(status),
        took=float(said.get("took", 0.1)),
        headers_after=float(said["head"]) if "head" in said else None,
        hint=said.get("ra"),
        headers=[("Location", said["to"])] if "to" in said else [],
        sent=said.get("body", "A") if method in ("PUT", "POST") else None,
        client=said.get("by", "a"),
    )


def _number(value: Any) -> str:
    return "None" if value is None or value != value else f"{round(value, 6):g}"


def _operation(row: dict[str, Any]) -> str:
    statuses = " ".join(map(_number, row["statuses"]))
    lasted, lower, upper, seen = (_number(row[f"{name}_s"]) for name in ("duration", "lower", "upper", "observed"))
    return f"{row['outcome']} {statuses}: {row['polls']} polls, {lasted} s in ({lower}, {upper}], seen {seen}"


def _wait(row: dict[str, Any]) -> str:
    waited = "" if row["waited_s"] != row["waited_s"] or row["waited_s"] is None else f" {_number(row['waited_s'])}"
    return f"{_number(row['asked_s'])} s {row['verdict']}{waited}"


def _finding(row: dict[str, Any]) -> str:
    return f"{row['code']} {_number((row['at_us'] - T0_US) / 1e6)}"


T0_US = 1_795_420_800_000_000
"""2026-11-23T08:00:00Z, from which ``at`` counts."""
