"""The oracle's other protocols on histories worked out by hand."""

from __future__ import annotations

import json
from typing import Any

from histories import coverages, histories
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import ALL, analyze
from test_oracle import DATE, codes, entry, later, payment, put


def whole(entries: list[dict[str, Any]], coverage: float | None = None) -> dict[str, Any]:
    return analyze(entries, protocols=ALL, coverage=later(coverage) if coverage else None)


def ops(result: dict[str, Any]) -> list[tuple[str, str, list[int]]]:
    return [(o["kind"], o["outcome"], o["exchanges"]) for o in result["operations"]]


# ------------------------------------------------------------------------------------------ throttle


def test_a_throttle_ends_with_another_answer() -> None:
    result = whole(
        [
            entry(0, "GET", "/a", 429, hint="1"),
            entry(1.2, "GET", "/a", 503),
            entry(2, "GET", "/b", 200),
            entry(3, "GET", "/a", 404),
        ]
    )
    assert ops(result) == [("throttle", "completed", [0, 1, 3])]
    (op,) = result["operations"]
    assert (op["lower_s"], op["upper_s"], op["duration_s"], op["polls"]) == (1.1, 2.99, 3.0, 2)
    assert result["waits"][0]["operation"] == ("throttle", 0)
    assert result["durations"][0]["at_once"] is None


def test_a_429_inside_an_operation_opens_no_throttle() -> None:
    result = whole([put(0), entry(1, "GET", "/admin/api/2024-01/checkouts/T.json", 429, hint="1")])
    assert ops(result) == [("checkout.update", "pending", [0, 1])]


def test_a_413_needs_a_hint_and_others_are_other_requests() -> None:
    assert ops(whole([entry(0, "POST", "/a", 413)])) == []
    result = whole([entry(0, "POST", "/a", 413, hint="1"), entry(2, "POST", "/a", 413)])
    assert ops(result) == [("throttle", "completed", [0, 1])]


def test_an_abandoned_throttle_that_was_never_retried_is_no_finding() -> None:
    found = codes(whole([entry(0, "GET", "/a", 429, hint="1")], coverage=60))
    assert not [c for c in found if c.startswith("OP")]


# --------------------------------------------------------------------------------------- http-async


def test_a_location_is_polled_and_the_newest_address_is_the_key() -> None:
    result = whole(
        [
            entry(0, "POST", "/jobs", 202, headers=[("Location", "/op/1")]),
            entry(1, "GET", "/op/1", 202, headers=[("Location", "/op/2")]),
            entry(2, "GET", "/op/2", 200),
            entry(3, "GET", "/op/2", 200),
        ]
    )
    assert ops(result) == [("async", "completed", [0, 1, 2])]
    assert [f["code"] for f in result["findings"]] == ["OP004"]


def test_the_body_speaks_under_operation_location() -> None:
    result = whole(
        [
            entry(0, "PUT", "/r", 201, headers=[("Operation-Location", "/op/1")]),
            entry(1, "GET", "/op/1", 200, body={"status": "Running"}),
            entry(2, "GET", "/op/1", 200, body={"status": "Canceled"}),
        ]
    )
    assert ops(result) == [("async", "rejected", [0, 1, 2])]
    assert result["operations"][0]["lower_s"] == 0.9


def test_content_location_is_pending_with_200_until_it_has_answered_202() -> None:
    start = entry(0, "POST", "/jobs", 202, headers=[("Content-Location", "/op/1")])
    assert ops(whole([start, entry(1, "GET", "/op/1", 200), entry(2, "GET", "/op/1", 303)]))[0][1] == "completed"
    result = whole([start, entry(1, "GET", "/op/1", 202), entry(2, "GET", "/op/1", 200)])
    assert ops(result) == [("async", "completed", [0, 1, 2])]
    moved = entry(1, "GET", "/op/1", 202, headers=[("Content-Location", "/op/2")])
    assert ops(whole([start, moved, entry(2, "GET", "/op/2", 200)])) == [("async", "completed", [0, 1, 2])]


def test_an_aip_operation_is_polled_by_its_name() -> None:
    result = whole(
        [
            entry(0, "POST", "/v1/things", 200, body={"name": "operations/7", "done": False}),
            entry(1, "GET", "/v1/operations/7", 200, body={"name": "operations/7", "done": False}),
            entry(2, "GET", "/v1/operations/7", 200, body={"name": "operations/7", "done": True, "response": {}}),
        ]
    )
    assert ops(result) == [("async", "completed", [0, 1, 2])]


def test_the_resource_itself_is_polled_where_only_a_wait_was_given() -> None:
    result = whole([entry(0, "PUT", "/r", 202, hint="1"), entry(2, "GET", "/r", 202), entry(3, "GET", "/r", 200)])
    assert ops(result) == [("async", "completed", [0, 1, 2])]
    assert ops(whole([entry(0, "PUT", "/r", 202)])) == []


def test_a_get_202_is_a_submit_or_truncated() -> None:
    result = whole([entry(0, "GET", "/r", 202, headers=[("Location", "/op/1")]), entry(1, "GET", "/op/1", 200)])
    assert ops(result) == [("async", "completed", [0, 1])]
    result = whole([entry(0, "GET", "/op/1", 202), entry(1, "GET", "/op/1", 200)])
    assert result["operations"][0]["truncated"] is True
    assert ops(result) == [("async", "completed", [0, 1])]


def test_a_delete_of_the_monitor_rejects() -> None:
    result = whole([entry(0, "POST", "/jobs", 202, headers=[("Location", "/op/1")]), entry(1, "DELETE", "/op/1", 204)])
    assert ops(result) == [("async", "rejected", [0, 1])]
    assert result["operations"][0]["polls"] == 0


def test_a_checkout_is_not_http_async() -> None:
    assert {o["protocol"] for o in whole([put(0, hint="1"), payment(1, 202, transaction=None)])["operations"]} == {
        "shopify-checkout"
    }


# ----------------------------------------------------------------------------------- par-posnext


def par(at: float, what: str, status: int, word: str | None, digest: bool = True) -> dict[str, Any]:
    body = {"request_uid": "u1", **({"status": word} if word else {})}
    headers = [("x-pch-digest", "ab")] if digest else []
    sent = json.dumps({"request_uid": "u1"})
    if what == "get":
        return entry(at, "GET", "/posnext/orders/u1", status, body=body, headers=headers)
    return entry(at, "POST", f"/posnext/order/{what}", status, body=body, sent=sent, headers=headers)


def test_validated_ends_a_validate_and_not_a_submit() -> None:
    assert ops(whole([par(0, "validate", 202, "pending"), par(1, "get", 200, "validated")])) == [
        ("order.validate", "completed", [0, 1])
    ]
    result = whole([par(0, "submit", 200, "validated"), par(1, "get", 200, "validated"), par(2, "get", 200, "placed")])
    assert ops(result) == [("order.submit", "completed", [0, 1, 2])]
    assert result["operations"][0]["lower_s"] == 0.9


def test_par_responses_are_checked() -> None:
    assert codes(whole([par(0, "submit", 202, None, digest=False), par(1, "get", 200, "odd")]))[:2] == [
        "PN001",
        "PN004",
    ]
    result = whole([par(i, "submit", 202 if i < 2 else 200, "placed") for i in range(20)])
    assert codes(result) == ["PN003"]
    assert result["operations"] == []


def test_a_par_order_that_is_pending_without_its_write_is_truncated() -> None:
    (op,) = whole([par(0, "get", 200, "pending"), par(1, "get", 200, "errored")])["operations"]
    assert (op["truncated"], op["outcome"]) == (True, "failed")


# ---------------------------------------------------------------------------------- shopify-cart


def graphql(at: float, query: str, result: dict[str, Any], **more: Any) -> dict[str, Any]:
    sent = json.dumps({"query": query, "variables": {"attemptId": "A"} if "Attempt" in query else {}})
    return entry(at, "POST", "/api/2026-04/graphql.json", 200, body={"data": {"x": result}}, sent=sent, **more)


SUBMIT = "mutation { cartSubmitForCompletion }"
POLL = "query { cartCompletionAttempt }"


def test_a_cart_is_polled_by_its_delay() -> None:
    result = whole(
        [
            graphql(0, SUBMIT, {"__typename": "SubmitSuccess", "attemptId": "A"}),
            graphql(1, POLL, {"__typename": "CartCompletionProcessing", "pollDelay": 500}),
            graphql(1.5, POLL, {"__typename": "CartCompletionSuccess"}),
        ]
    )
    assert ops(result) == [("cart.submit", "completed", [0, 1, 2])]
    (wait,) = result["waits"]
    assert (wait["source"], wait["class"], wait["asked_s"], wait["waited_s"], wait["verdict"]) == (
        "pollDelay",
        "poll-delay",
        0.5,
        0.4,
        "early",
    )


def test_after_action_required_a_pending_answer_is_a_new_operation() -> None:
    result = whole(
        [
            graphql(0, SUBMIT, {"__typename": "SubmitSuccess", "attemptId": "A"}),
            graphql(1, POLL, {"__typename": "CartCompletionActionRequired"}),
            graphql(2, POLL, {"__typename": "CartCompletionProcessing", "pollDelay": 500}),
            graphql(3, POLL, {"__typename": "CartCompletionSuccess"}),
        ]
    )
    assert ops(result) == [("cart.submit", "action_required", [0, 1]), ("cart.submit", "completed", [2, 3])]


def test_after_action_required_a_final_answer_is_at_once_and_the_next_polls_on() -> None:
    result = whole(
        [
            graphql(0, SUBMIT, {"__typename": "SubmitSuccess", "attemptId": "A"}),
            graphql(1, POLL, {"__typename": "CartCompletionActionRequired"}),
            graphql(2, POLL, {"__typename": "CartCompletionSuccess"}),
            graphql(3, POLL, {"__typename": "CartCompletionSuccess"}),
            graphql(4, POLL, {"__typename": "CartCompletionProcessing", "pollDelay": 500}),
        ]
    )
    assert ops(result) == [("cart.submit", "action_required", [0, 1]), ("cart.submit", "pending", [4])]
    assert codes(result) == ["OP004"]


def test_submit_throttled_has_the_scope_of_a_429() -> None:
    result = whole(
        [
            graphql(
                0,
                SUBMIT,
                {"__typename": "SubmitThrottled", "pollAfter": "2026-11-23T08:00:02Z"},
                headers=[("Date", DATE)],
            ),
            entry(0.5, "GET", "/else", 200),
        ],
        coverage=60,
    )
    (wait,) = result["waits"]
    assert (wait["class"], wait["asked_s"], wait["next_exchange"], wait["operation"]) == ("poll-after", 2.0, 1, None)
    assert codes(result) == ["RA001", "RA007"]


# --------------------------------------------------------------------------------- shopify-queue


def queued(at: float, token: str, **more: Any) -> dict[str, Any]:
    headers = [("X-Checkout-Queue", "true"), ("X-Checkout-Queue-Token", token)]
    return entry(at, "POST", "/admin/api/2024-01/checkouts.json", 429, sent="{}", headers=headers, **more)


def ask(at: float, token: str, name: str, new: str, **fields: Any) -> dict[str, Any]:
    sent = json.dumps({"query": "{ poll }", "variables": {"token": token}})
    body = {"data": {"poll": {"__typename": name, "token": new, **fields}}}
    return entry(at, "POST", "/queue/poll", 200, sent=sent, body=body, headers=[("Date", DATE)])


def again(at: float, status: int, token: str | None) -> dict[str, Any]:
    made = entry(at, "POST", "/admin/api/2024-01/checkouts.json", status, sent="{}")
    if token:
        made["request"]["headers"].append({"name": "X-Checkout-Queue-Token", "value": token})
    return made


def test_a_queue_ends_with_the_resubmit() -> None:
    result = whole(
        [
            queued(0, "t1"),
            ask(1, "t1", "PollContinue", "t2", pollAfter="2026-11-23T08:00:03Z", queueEtaSeconds=10),
            ask(3.5, "t2", "PollComplete", "t3"),
            again(4, 422, "t3"),
        ]
    )
    assert ops(result) == [("queue.wait", "completed", [0, 1, 2, 3])]
    (op,) = result["operations"]
    assert (op["polls"], op["lower_s"], op["duration_s"]) == (2, 0.9, 4.0)
    # ETA 10 s told at 1.1, through at 3.6: off by 7.5 s
    assert codes(result) == ["CQ005", "ST002"]
    assert result["waits"][0]["verdict"] == "kept"


def test_the_queue_s_own_findings() -> None:
    stale = whole(
        [
            queued(0, "t1"),
            ask(1, "t1", "PollContinue", "t2", pollAfter="2026-11-23T08:00:09Z"),
            ask(3.5, "t1", "PollComplete", "t3"),
            again(4, 201, None),
        ],
        coverage=60,
    )
    # Date is 08:00:00, so 9 s asked at 1.1; back at 3.5 is early, with a token that is not the newest
    assert codes(stale) == ["CQ001", "CQ002", "CQ004", "RA001"]
    left = whole([queued(0, "t1"), ask(1, "t1", "PollComplete", "t2")], coverage=60)
    assert codes(left) == ["CQ003"]
    silent = whole([queued(0, "t1")], coverage=60)
    assert codes(silent) == ["OP003"]


def test_a_resubmit_is_the_ordinary_write_as_well() -> None:
    made = again(4, 202, "t2")
    made["response"]["content"] = {"text": json.dumps({"checkout": {"token": "T"}})}
    result = whole([queued(0, "t1"), ask(1, "t1", "PollComplete", "t2"), made])
    assert ops(result) == [("queue.wait", "completed", [0, 1, 2]), ("checkout.create", "pending", [2])]


# ------------------------------------------------------------------------------------ all of them


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_checkout_operations_are_the_same_with_all_protocols_on(data: st.DataObject) -> None:
    entries = data.draw(histories())
    coverage = data.draw(coverages(entries))
    alone, beside = (analyze(entries, coverage=coverage, protocols=p) for p in ({"shopify-checkout"}, ALL))
    assert alone["operations"] == [o for o in beside["operations"] if o["protocol"] == "shopify-checkout"]
    for op in beside["operations"]:
        if op["protocol"] == "throttle":
            assert op["statuses"][0] in (413, 429, 503)
