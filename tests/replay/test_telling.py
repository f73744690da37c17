"""The verdict as text and as JSON."""

from __future__ import annotations

import json

from polltape.replay.case import Named
from polltape.replay.telling import as_json, as_text, fix_command
from polltape.replay.verdict import Compared, Life, Verdict, compare

LIFE = Life("shopify-checkout", "checkout.update", "p:1", "completed", (202, 200), "p:2", "pending", (202, None))
EARLY = Named("p:1", "RA001", "poll 1", "came back after 0.4 s")
VERDICT = Verdict("recording", (Compared("again", EARLY),), (LIFE,), 2)


def test_the_first_line_is_the_answer() -> None:
    assert as_text(VERDICT, "x").splitlines()[0] == "reproduced  (by: recording)"
    missing = Verdict("target", (Compared("missing", EARLY),), (LIFE,), 2)
    assert as_text(missing, "x").splitlines()[0] == "not reproduced  (by: target)"


def test_it_names_the_command_that_would_test_a_fix() -> None:
    command = fix_command("my bug.polltape", None)
    assert command == "polltape replay 'my bug.polltape' --client 'your command'"
    assert command in as_text(VERDICT, command)
    assert command not in as_text(Verdict("client", (), (LIFE,), 2), command)
    assert fix_command("captures", "p:1") == "polltape replay captures --operation p:1 --client 'your command'"


def test_what_is_still_there_is_said_with_whose_fault_it_is() -> None:
    still = Compared("again", Named("p:1", "OP005", "join 1"))
    partly = Verdict("client", (still, Compared("missing", EARLY)), (LIFE,), 2)
    assert "Not all of it is gone: OP005 (client)." in as_text(partly, "x")
    assert "Not all of it" not in as_text(VERDICT, "x")


def test_the_json_is_the_contracts() -> None:
    told = json.loads(as_json(VERDICT, "x"))
    assert told["schema"] == "polltape.replay/1"
    assert (told["verdict"], told["by"], told["exchanges"], told["test"]) == ("reproduced", "recording", 2, "x")
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
    text = as_text(Verdict("recording", (Compared("new", evil),), (LIFE,), 2), "x")
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
