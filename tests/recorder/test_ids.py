from __future__ import annotations

import re
import time
import uuid

from polltape.recorder.ids import exchange_id, new_session_id

VERSION_7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def test_ids_are_version_7_and_rise_with_time_and_number() -> None:
    session = new_session_id()
    ids = [exchange_id(session, seq, 1_700_000_000 + seq // 50 / 1000) for seq in range(1, 5_000)]
    assert ids == sorted(set(ids))
    assert all(VERSION_7.fullmatch(found) for found in [session, *ids])
    assert uuid.UUID(ids[0]).int >> 80 == 1_700_000_000_000


def test_the_same_exchange_has_the_same_id_in_one_session_only() -> None:
    assert exchange_id("s1", 7, 1.5) == exchange_id("s1", 7, 1.5)
    assert exchange_id("s1", 7, 1.5) != exchange_id("s2", 7, 1.5)


def test_a_session_begins_now() -> None:
    assert abs((uuid.UUID(new_session_id()).int >> 80) / 1000 - time.time()) < 60
    assert new_session_id() != new_session_id()
