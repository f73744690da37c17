"""An operation's steps: instants since its first request, waits and findings at the exchange they are about."""

from __future__ import annotations

from polltape.measures.analysis import Analysis
from polltape.report.steps import lives_of

EARLY, STUCK = "shopify-checkout:x2-0", "shopify-checkout:x4-0"


def test_waits_stand_at_the_answer_findings_at_the_request_they_are_about(small: Analysis) -> None:
    [life] = lives_of(small, [EARLY])
    assert [step.start_s for step in life.steps] == [0.0, 0.6, 0.85, 2.05]
    assert [step.verdict for step in life.steps] == ["early", "early", "kept", None]
    assert [step.codes for step in life.steps] == [(), ("RA001",), ("RA002",), ()]


def test_lives_come_in_the_order_asked_for_unknown_ones_left_out(small: Analysis) -> None:
    lives = lives_of(small, [STUCK, "nothing", EARLY, STUCK])
    assert [life.operation["id"] for life in lives] == [STUCK, EARLY]


def test_an_error_is_the_answer_where_no_status_came(small: Analysis) -> None:
    [life] = lives_of(small, [STUCK])
    assert [step.answer for step in life.steps] == ["202", "202", "connection reset", "202"]


def test_the_last_promise_is_drawn_but_does_not_squeeze_the_rest(small: Analysis) -> None:
    [life] = lives_of(small, ["shopify-checkout:x3-0"])
    assert life.span_s == 1.25
    waits = small.waits.assign(asked_s=9e15)
    patient = Analysis(**{name: getattr(small, name) for name in Analysis.__slots__} | {"waits": waits})
    [life] = lives_of(patient, [EARLY])
    assert life.span_s == 4.4


def test_a_finding_outside_operations_marks_each_exchange_it_names(small: Analysis) -> None:
    named = [*small.findings["exchanges"][:-1], ["x2-1", "x2-3"]]
    findings = small.findings.assign(exchanges=named)
    changed = Analysis(**{name: getattr(small, name) for name in Analysis.__slots__} | {"findings": findings})
    [life] = lives_of(changed, [EARLY])
    assert [step.codes for step in life.steps] == [(), ("RA001", "ST002"), ("RA002",), ("ST002",)]
