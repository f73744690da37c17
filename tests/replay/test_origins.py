"""Which answer issued what a request speaks of."""

from __future__ import annotations

from dataclasses import replace

import stories

from polltape.replay.origins import sources

ISSUED = "session-0123456789"


def test_the_first_answer_that_said_a_word_issued_it() -> None:
    login = stories.exchange(0, "POST", "/login", 200, more=[("Set-Cookie", f"sid={ISSUED}; path=/")])
    again = stories.exchange(1, "GET", "/me", 200, got={"sid": ISSUED})
    later = stories.put(2, sent_headers=[("Cookie", f"sid={ISSUED}")])
    found = sources([login, again, later])
    assert found[later.exchange_id] == (login.exchange_id,)
    assert found[again.exchange_id] == found[login.exchange_id] == ()


def test_a_clients_own_word_comes_from_nobody() -> None:
    """An idempotency key that the server echoes was not issued by it."""
    first = stories.put(0, sent_headers=[("Idempotency-Key", ISSUED)], got={"key": ISSUED})
    second = stories.put(1, sent_headers=[("Idempotency-Key", ISSUED)])
    assert sources([first, second])[second.exchange_id] == ()


def test_short_words_days_and_volatile_headers_issue_nothing() -> None:
    first = stories.exchange(
        0, "GET", "/a", 200, got={"n": 17, "at": "2026-11-23T08:00:00Z"}, more=[("X-Request-Id", ISSUED)]
    )
    second = replace(stories.exchange(1, "GET", "/b/17", 200), query=f"since=2026-11-23T08&seen={ISSUED}")
    assert sources([first, second])[second.exchange_id] == ()


def test_an_answer_that_was_still_under_way_issued_nothing() -> None:
    slow = stories.exchange(0, "GET", "/a", 200, took=5, got={"token": ISSUED})
    second = replace(stories.exchange(1, "GET", "/b", 200), query=f"token={ISSUED}")
    assert sources([slow, second])[second.exchange_id] == ()


def test_no_request_speaks_of_its_own_answer() -> None:
    """Not even of one that came in the very instant of the request."""
    at_once = stories.exchange(0, "GET", f"/a/{ISSUED}", 200, took=0, got={"token": ISSUED})
    assert sources([at_once])[at_once.exchange_id] == ()
