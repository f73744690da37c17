"""Choosing an operation, what belongs to it, and the places of its findings."""

from __future__ import annotations

from dataclasses import replace

import pytest
import stories

from polltape.errors import InputError, UsageError
from polltape.replay.case import Case, Named, case_of, find_operation, in_memory, judgeable, threads

KNOWN = ["shopify-checkout:aa11", "shopify-checkout:aa22", "queue:bb33"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("queue:bb33", "queue:bb33"),
        ("bb", "queue:bb33"),
        ("aa2", "shopify-checkout:aa22"),
        ("shopify-checkout:aa1", "shopify-checkout:aa11"),
        ("q", "queue:bb33"),
    ],
)
def test_an_operation_is_found_by_the_beginning_of_its_id_with_or_without_protocol(wanted: str, found: str) -> None:
    assert find_operation(KNOWN, wanted) == found


@pytest.mark.parametrize("wanted", ["aa", "shopify", ""])
def test_what_fits_several_or_nothing_is_refused(wanted: str) -> None:
    with pytest.raises(UsageError):
        find_operation(KNOWN, wanted)


def test_an_unknown_operation_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no operation 'bb34'; nearest: queue:bb33"):
        find_operation(KNOWN, "bb34")


def test_a_finding_is_placed_at_the_exchange_that_it_is_about() -> None:
    case = case_of(stories.capture(stories.early(), 60))
    assert [(f.code, f.place) for f in case.findings] == [("RA001", "poll 1"), ("RA001", "poll 2")]
    assert case.targets[0].outcome == "completed"


def test_a_finding_about_the_whole_operation_is_placed_there() -> None:
    case = case_of(stories.capture([stories.put(0, wait="1")], 60))
    assert [(f.code, f.place) for f in case.findings] == [("OP003", "operation")]


def test_a_finding_of_a_host_belongs_to_the_operation_whose_exchange_it_names() -> None:
    story = [stories.put(0, wait="1"), stories.poll(1.1, 503, got=None), stories.poll(2.3, 200)]
    case = case_of(stories.capture(story, 60))
    assert [(f.code, f.place) for f in case.findings] == [("ST001", "poll 1")]


def test_the_case_of_one_operation_holds_what_issued_its_keys_and_nothing_of_others() -> None:
    other = replace(
        stories.exchange(5.0, "PUT", stories.CHECKOUT.replace(stories.TOKEN, "f" * 32), 202, wait="1"), client="b"
    )
    capture = stories.capture([*stories.created(), other], 1900)
    case = case_of(capture, ["3cab"])
    assert [e.method for e in case.exchanges] == ["POST", "PUT", "GET", "GET", "GET"]
    assert not case.left_out


def test_what_came_after_the_story_stays_out_but_for_the_write_that_superseded_it() -> None:
    later = stories.exchange(9.0, "PUT", stories.CHECKOUT, 202, sent={"checkout": {"note": "z"}}, wait="1")
    assert len(case_of(stories.capture([*stories.early(), later], 60), ["3cab"]).exchanges) == 4
    superseding = [stories.put(0, wait="1"), stories.poll(1.1, wait="1"), later, stories.poll(20, 200)]
    case = case_of(stories.capture(superseding, 60), [superseding[0].exchange_id])
    assert case.targets[0].outcome == "superseded"
    assert [e.exchange_id for e in case.exchanges] == [e.exchange_id for e in superseding[:3]]


def test_a_payment_belongs_to_its_checkout() -> None:
    payment = stories.exchange(
        3.0, "POST", stories.CHECKOUT.replace(".json", "/payments.json"), 202, got={"payment": {"id": 7}}, wait="1"
    )
    other = stories.exchange(4.0, "PUT", stories.CHECKOUT.replace(stories.TOKEN, "f" * 32), 202)
    found = threads([stories.put(0), payment, other])
    assert found[stories.put(0).exchange_id] == found[payment.exchange_id] != found[other.exchange_id]


def test_the_tail_is_how_long_the_recording_went_on() -> None:
    assert case_of(stories.capture(stories.polite(), 62.31)).tail_s == pytest.approx(60)


def test_a_capture_without_operations_is_refused() -> None:
    with pytest.raises(InputError, match="no operation in a replay"):
        case_of(in_memory([stories.exchange(0, "GET", "/about", 200)], []))


def test_without_pars_shared_id_nobody_looks_for_wrong_digests() -> None:
    wrong, missing = Named("p:1", "PN002", "submit"), Named("p:1", "PN001", "submit")
    both = Case((), (), (missing, wrong), ())
    assert judgeable(both, with_key=True) == (both, ())
    left, notes = judgeable(both, with_key=False)
    assert left.findings == (missing,)
    assert "PN002" in notes[0]
    with pytest.raises(UsageError, match="PN002: without PAR's SharedId"):
        judgeable(Case((), (), (wrong,), ()), with_key=False)
    nothing = Case((), (), (), ())
    assert judgeable(nothing, with_key=False) == (nothing, ())
