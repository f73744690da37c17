"""The verdict as text and as JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import stories

from polltape.replay.case import Named
from polltape.replay.difference import ABSENT, Changed, Difference, Differences, Pair
from polltape.replay.sides import Side
from polltape.replay.telling import as_json, as_text, fix_command
from polltape.replay.verdict import Compared, Life, Verdict, compare

LIFE = Life("shopify-checkout", "checkout.update", "p:1", "completed", (202, 200), "p:2", "pending", (202, None))
EARLY = Named("p:1", "RA001", "poll 1", "came back after 0.4 s")
NOTHING = Differences(())
VERDICT = Verdict("recording", (Compared("again", EARLY),), (LIFE,), 2)


def test_the_first_line_is_the_answer() -> None:
    assert as_text(VERDICT, NOTHING, "x").splitlines()[0] == "reproduced  (by: recording)"
    missing = Verdict("target", (Compared("missing", EARLY),), (LIFE,), 2)
    assert as_text(missing, NOTHING, "x").splitlines()[0] == "not reproduced  (by: target)"


def test_it_names_the_command_that_would_test_a_fix() -> None:
    command = fix_command("my bug.polltape", (), VERDICT)
    assert command == "polltape replay 'my bug.polltape' --client 'your command'"
    assert command in as_text(VERDICT, NOTHING, command)
    assert command not in as_text(Verdict("client", (), (LIFE,), 2), NOTHING, command)
    assert fix_command("captures", ["p:1", "p:2"], VERDICT) == (
        "polltape replay captures --operation p:1 --operation p:2 --client 'your command'"
    )


def test_a_servers_fault_is_tested_at_a_server() -> None:
    found = (Compared("again", Named("p:1", "PN001", "submit", "202 without x-pch-digest")),)
    by_recording = Verdict("recording", found, (LIFE,), 2)
    command = fix_command("BUG.polltape", (), by_recording)
    assert command == "polltape replay BUG.polltape --target https://your-server"
    assert f"To test a fix of the server:\n  {command}\n" in as_text(by_recording, NOTHING, command)
    by_client = as_text(Verdict("client", found, (LIFE,), 2), NOTHING, command)
    assert "a client cannot mend it" in by_client
    assert command in by_client
    assert command not in as_text(Verdict("target", found, (LIFE,), 2), NOTHING, command)
    both = Verdict("client", (*found, Compared("missing", EARLY)), (LIFE,), 2)
    assert "a client cannot mend it" not in as_text(both, NOTHING, command)


def test_what_is_still_there_is_said_with_whose_fault_it_is() -> None:
    still = Compared("again", Named("p:1", "OP005", "join 1"))
    partly = Verdict("client", (still, Compared("missing", EARLY)), (LIFE,), 2)
    assert "Not all of it is gone: OP005 (client)." in as_text(partly, NOTHING, "x")
    assert "Not all of it" not in as_text(VERDICT, NOTHING, "x")


def test_the_json_is_the_contracts() -> None:
    told = json.loads(as_json(VERDICT, NOTHING, "x"))
    assert told["schema"] == "polltape.replay/1"
    assert (told["verdict"], told["by"], told["exchanges"], told["test"]) == (
        "reproduced",
        "recording",
        2,
        "x",
    )
    assert told["findings"] == [
        {
            "standing": "again",
            "operation": "p:1",
            "code": "RA001",
            "place": "poll 1",
            "message": "came back after 0.4 s",
        }
    ]
    assert told["operations"][0]["replayed"] == {"id": "p:2", "outcome": "pending", "statuses": [202, None]}


def test_a_strangers_text_cannot_move_the_cursor() -> None:
    evil = Named("p:1", "\x1b[2J", "poll\r1", "\x1b]0;title\x07")
    text = as_text(Verdict("recording", (Compared("new", evil),), (LIFE,), 2), NOTHING, "x")
    assert all(char.isprintable() or char == "\n" for char in text)


def test_findings_are_compared_by_operation_code_and_place() -> None:
    expected = [EARLY, Named("p:1", "OP005", "join 1")]
    found = [Named("p:1", "RA001", "poll 1", "now"), Named("p:1", "RA001", "poll 2"), Named("p:9", "OP005", "join 1")]
    assert [(c.standing, c.finding.code, c.finding.place) for c in compare(expected, found)] == [
        ("missing", "OP005", "join 1"),
        ("again", "RA001", "poll 1"),
        ("new", "RA001", "poll 2"),
        ("new", "OP005", "join 1"),
    ]
    assert compare(expected, found)[1].finding.message == "now"


def differing(place: str, *changed: Changed, at: float = 0.4, only_recorded: bool = False) -> Difference:
    side = Side(stories.poll(at, wait="1"), at)
    return Difference(Pair("p:1", place, side, None if only_recorded else side), changed, ("header:date",))


def test_exchanges_that_differ_alike_are_told_once_and_nothing_is_wider_than_the_terminal() -> None:
    status, long = Changed("status", 202, 200), Changed("body:checkout.note", "x" * 90, ABSENT)
    found = Differences(
        (
            *(differing(f"poll {n}", status, at=n) for n in range(1, 6)),
            differing("poll 6", long),
            differing("poll 7", only_recorded=True),
            differing("poll 8"),
        )
    )
    text = as_text(VERDICT, found, "x")
    assert "Differences  7 of 8 exchanges  (8 volatile fields left aside)" in text
    assert "    poll 1, poll 2, poll 3 and 2 more\n      status                   202 -> 200\n" in text
    assert "      body:checkout.note\n        recorded  xxxx" in text
    assert "    poll 7\n      only in the recording\n" in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_json_has_every_difference_with_its_values_as_they_are() -> None:
    absent = Changed("body:a", ABSENT, None)
    told = json.loads(as_json(VERDICT, Differences((differing("poll 1", absent), differing("poll 2"))), "x"))
    recorded = stories.poll(0.4, wait="1")
    assert told["differences"] == {
        "compared": 2,
        "differing": [
            {
                "operation": "p:1",
                "place": "poll 1",
                "method": "GET",
                "endpoint": recorded.endpoint,
                "recorded": recorded.exchange_id,
                "replayed": recorded.exchange_id,
                "changed": [{"field": "body:a", "replayed": None}],
            }
        ],
        "volatile": {"header:date": 2},
    }


def test_a_crowd_of_findings_and_operations_is_told_in_few_lines() -> None:
    found = tuple(Compared("again", Named(f"p:{n}", "RA001", "poll 1", "too early")) for n in range(50))
    text = as_text(Verdict("recording", found, (LIFE, *[replace(LIFE, replayed_outcome="x")] * 50), 2), NOTHING, "x")
    assert "and 38 more: --format json has them all" in text
    assert "more operations" in text
    assert len(text.splitlines()) < 100
