"""Faults: which requests they hit, what they do, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polltape.errors import ConfigError, InputError, UsageError
from polltape.exchange import Header
from polltape.mock.core import Mock, Request, Response
from polltape.mock.faults import KINDS, Fault, Faults, fault_of, load_faults
from polltape.mock.messages import json_response

NOW = 1_800_000_000.0
ADMIN = "/admin/api/2020-10/checkouts"
Ask = Callable[..., Request]

PENDING = json_response(
    202,
    {"data": {"poll": {"token": "t1", "pollAfter": "2026-01-01T00:00:00Z"}}},
    (
        Header("Retry-After", "2"),
        Header("X-Polltape-Wait", "2"),
        Header("Location", "/c/1"),
        Header("X-Checkout-Queue-Token", "t1"),
        Header("Set-Cookie", "_checkout_queue_token=t1; path=/"),
        Header("Set-Cookie", "other=1"),
    ),
)


def spoilt(ask: Ask, *given: str, answer: Response = PENDING, speed: float = 1.0) -> Response:
    faults = Faults([fault_of(text) for text in given], speed)
    return faults.answer(ask("GET", "/c/1"), NOW, lambda: answer)[0]


def test_each_fault_of_the_delivery_spoils_only_that(ask: Ask) -> None:
    assert spoilt(ask, "late=1,seconds=3", speed=2).hold_s == 1.5
    never = spoilt(ask, "never=1")
    assert (never.hold_s, never.delivery.lost) == (60.0, "silent")
    assert spoilt(ask, "reset=1").delivery.lost == "reset"
    assert spoilt(ask, "slow=1,seconds=4").delivery.body_s == 4.0
    assert spoilt(ask, "cut=1,at=0.25").delivery.cut_at == len(PENDING.body) // 4
    assert spoilt(ask, "cut=1,at=1").delivery.cut_at == len(PENDING.body) - 1
    for text in ("late=1", "never=1", "reset=1", "slow=1", "cut=1"):
        answer = spoilt(ask, text)
        assert (answer.status, answer.headers, answer.body) == (202, PENDING.headers, PENDING.body)


def test_each_fault_of_the_answer_spoils_only_that(ask: Ask) -> None:
    malformed = spoilt(ask, "malformed-retry-after=1,value=a while")
    assert malformed.header("Retry-After") == "a while"
    assert malformed.header("X-Polltape-Wait") is None
    assert spoilt(ask, "missing-location=1").headers == tuple(h for h in PENDING.headers if h.name != "Location")
    lost = spoilt(ask, "lost-queue-token=1")
    assert lost.header("X-Checkout-Queue-Token") is None
    assert [header.value for header in lost.headers if header.name == "Set-Cookie"] == ["other=1"]
    assert lost.json() == {"data": {"poll": {"pollAfter": "2026-01-01T00:00:00Z"}}}
    assert lost.header("Content-Length") == str(len(lost.body))


def test_what_an_answer_does_not_have_cannot_be_spoilt(ask: Ask) -> None:
    plain = json_response(200, {"token": "x"})
    texts = ["malformed-retry-after=1", "missing-location=1", "lost-queue-token=1"]
    faults = Faults([fault_of(text) for text in texts])
    assert faults.answer(ask("GET", "/c/1"), NOW, lambda: plain)[0] is plain
    assert not faults.hits


def test_a_clock_is_off_by_so_much(ask: Ask) -> None:
    mock = Mock.from_scenario("shopify-checkout", faults=[fault_of("clock-skew,seconds=-3600")])
    assert mock.answer(ask("GET", "/x"), NOW).header("Date") == "Fri, 15 Jan 2027 07:00:00 GMT"


def test_a_burst_refuses_everything_for_its_time_and_asks_nobody(ask: Ask) -> None:
    asked: list[int] = []

    def served() -> Response:
        asked.append(1)
        return PENDING

    faults = Faults([fault_of("429-burst=0.02,seconds=4,retry_after=3")], speed=2.0, seed=1)
    statuses = [faults.answer(ask("GET", f"/c/{n % 5}"), NOW + n / 10, served)[0].status for n in range(300)]
    assert statuses.count(429) == 300 - len(asked) == faults.hits["429-burst"]
    begin = statuses.index(429)
    assert statuses[begin : begin + 20] == [429] * 20  # 4 s at speed 2 are 2 s
    assert statuses[begin + 20] == 202
    refusal = Faults([fault_of("429-burst=1,retry_after=3")], 2.0).answer(ask("GET", "/c"), NOW, served)[0]
    assert (refusal.header("Retry-After"), refusal.header("X-Polltape-Wait")) == ("2", "1.5")


def test_a_503_is_one_answer_and_says_what_it_is_told(ask: Ask) -> None:
    answer = spoilt(ask, "503=1")
    assert (answer.status, answer.header("Retry-After")) == (503, None)
    assert spoilt(ask, "503=1,retry_after=soon").header("Retry-After") == "soon"
    assert spoilt(ask, "429-burst=1,retry_after=none").header("Retry-After") is None


def test_the_same_faults_come_again_whatever_the_order_and_the_clock(ask: Ask) -> None:
    def hit(seed: int, order: list[str], step: float) -> dict[str, list[bool]]:
        faults = Faults([fault_of("reset=0.3")], seed=seed)
        found: dict[str, list[bool]] = {}
        for number, path in enumerate(order):
            answer = faults.answer(ask("GET", path), NOW + number * step, lambda: PENDING)[0]
            found.setdefault(path, []).append(answer.delivery.lost is not None)
        return found

    one, other = ["/a", "/b"] * 50, ["/a"] * 50 + ["/b"] * 50
    assert hit(1, one, 0.1) == hit(1, other, 7.0)
    assert hit(1, one, 0.1) != hit(2, one, 0.1)
    assert 10 <= sum(hit(1, one, 0.1)["/a"] + hit(1, one, 0.1)["/b"]) <= 50


def test_a_fault_hits_only_the_requests_it_is_meant_for(ask: Ask) -> None:
    faults = Faults([fault_of("reset=1,method=put,path=/admin/*/checkouts/*")])
    for method, path, lost in (
        ("PUT", f"{ADMIN}/1.json", "reset"),
        ("GET", f"{ADMIN}/1.json", None),
        ("PUT", "/x", None),
    ):
        assert faults.answer(ask(method, path), NOW, lambda: PENDING)[0].delivery.lost == lost


def test_a_mock_with_faults_counts_them_and_forgets_them(ask: Ask, tape: Any) -> None:
    tape.add("GET", "/api/orders/17", 200, 1.0)
    mock = Mock.from_capture(tape.capture, faults=[fault_of("503=1")])
    assert mock.answer(ask("GET", "/api/orders/17"), NOW).status == 503
    assert mock.status(NOW)["faults"] == {"503": 1}
    mock.reset()
    assert mock.status(NOW)["faults"] == {}
    assert mock.answer(ask("GET", "/__polltape"), NOW).status == 200  # its own pages are never spoilt


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lat=0.5", "kind: invalid enum value 'lat'"),
        ("late=2", "share: expected"),
        ("late=much", "share: expected"),
        ("late=0.1,secs=3", "secs: unknown key 'secs'"),
        ("late,3", "'3' is no KEY=VALUE"),
        ("reset,seconds=3", "seconds: reset has no 'seconds'"),
        ("late,seconds=-3", "seconds: late cannot take -3 s"),
        ("=0.5", "kind: invalid enum value ''"),
    ],
)
def test_what_is_wrong_in_an_option_is_told(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        fault_of(text)
    assert str(caught.value).startswith(f"--fault {text}: ")
    assert caught.value.hint


@pytest.mark.parametrize("text", ["", " "])
def test_no_fault_at_all_is_told_with_those_that_there_are(text: str) -> None:
    with pytest.raises(UsageError, match="--fault needs a kind of fault") as caught:
        fault_of(text)
    assert "late, never" in str(caught.value.hint)


def test_a_file_of_faults_that_is_not_there_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.toml: no such file"):
        load_faults(tmp_path / "gone.toml")


def test_a_file_of_faults(tmp_path: Path) -> None:
    path = tmp_path / "faults.toml"
    path.write_text('[[fault]]\nkind = "late"\nshare = 0.5\n\n[[fault]]\nkind = "503"\nretry_after = 7\n')
    assert load_faults(path) == (fault_of("late=0.5"), Fault("503", retry_after=7))
    path.write_text('[[fault]]\nkind = "late"\n\n[[fault]]\nkind = "reset"\nat = 0.5\n')
    with pytest.raises(ConfigError, match=r"faults\.toml:6: fault\[1\]\.at: reset has no 'at'"):
        load_faults(path)


def test_the_handbook_names_every_kind() -> None:
    text = (Path(__file__).parents[2] / "docs" / "mock.md").read_text(encoding="utf-8")
    assert [kind for kind in KINDS if f"`{kind}`" not in text] == []


def test_the_token_is_lost_under_an_alias_too(ask: Ask) -> None:
    body = {"data": {"p": {"__typename": "PollComplete", "token": "t1"}, "other": {"token": "kept"}}}
    faults = Faults([fault_of("lost-queue-token=1")])
    answer, _ = faults.answer(ask("POST", "/queue/poll"), NOW, lambda: json_response(200, body))
    assert answer.json() == {"data": {"p": {"__typename": "PollComplete"}, "other": {"token": "kept"}}}


@pytest.mark.parametrize("text", ["1_0", "+3", "1e3", "nan", "inf", "007x", "-1", "9" * 90])
def test_any_text_can_stand_in_retry_after(ask: Ask, text: str) -> None:
    """Also what Python takes for a number: it comes as it was written, and only a number has an exact wait."""
    faults = Faults([fault_of(f"429-burst=1,retry_after={text}")])
    answer, _ = faults.answer(ask("GET", "/x"), NOW, lambda: json_response(200, {}))
    assert answer.header("Retry-After") == text
    assert (answer.header("X-Polltape-Wait") is None) == (not text.isdigit())
