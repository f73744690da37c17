"""From the scenario to a capture to the mock of it: the same client sees the same story, at any speed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from polltape.exchange import Body, Exchange
from polltape.mock.core import Mock, Request
from polltape.protocols import observe

NOW = 1_800_000_000.0
ADMIN = "/admin/api/2020-10/checkouts"
LATENCY_S = 0.05
HOME = {"zip": "90002", "country_code": "US", "province_code": "CA"}
Ask = Callable[..., Request]


class Client:
    """Polls as it is told, in virtual time; ``heard`` is what it was answered, ``taken`` what a recorder would see."""

    def __init__(self, mock: Mock, ask: Ask, speed: float) -> None:
        self.mock, self.ask, self.speed = mock, ask, speed
        self.now = NOW
        self.heard: list[tuple[str, int]] = []
        self.taken: list[Exchange] = []

    def send(self, method: str, path: str, sent: object = None) -> Any:
        request = self.ask(method, path, sent, authority="shop.example", scheme="https")
        answer = self.mock.answer(request, self.now)
        start, self.now = self.now, self.now + LATENCY_S / self.speed + answer.hold_s
        self.heard.append((method, answer.status))
        self.taken.append(
            observe(
                Exchange(
                    exchange_id=f"x{len(self.taken):04d}",
                    method=method,
                    scheme="https",
                    host="shop.example",
                    port=443,
                    path=path,
                    request_started_at=instant(start),
                    response_started_at=instant(self.now),
                    response_ended_at=instant(self.now),
                    request_body=Body(content=request.body, digest=request.body.hex()[-64:]),
                    status=answer.status,
                    response_headers=answer.headers,
                    response_body=Body(content=answer.body),
                    session_id="s",
                )
            )
        )
        return answer

    def poll(self, path: str) -> Any:
        """Until it is over; waits as long as it is asked to, exactly."""
        while True:
            answer = self.send("GET", path)
            if answer.status != 202:
                return answer
            self.now += float(answer.header("X-Polltape-Wait"))

    def wait(self, answer: Any) -> None:
        self.now += float(answer.header("X-Polltape-Wait"))

    def buy(self, note: str) -> dict[str, Any]:
        """A whole purchase; the completed checkout."""
        sent = {"line_items": [{"variant_id": 39072856, "quantity": 2}], "email": f"{note}@x.example"}
        created = self.send("POST", f"{ADMIN}.json", {"checkout": sent})
        path = f"{ADMIN}/{created.json()['checkout']['token']}.json"
        self.wait(created)
        self.poll(path)
        self.wait(self.send("PUT", path, {"checkout": {"shipping_address": HOME, "note": note}}))
        self.poll(path)
        self.poll(path.replace(".json", "/shipping_rates.json"))
        paid = self.send("POST", path.replace(".json", "/payments.json"), {"payment": {"unique_token": note}})
        self.wait(paid)
        self.poll(path.replace(".json", f"/payments/{paid.json()['payment']['id']}.json"))
        bought: dict[str, Any] = self.poll(path).json()["checkout"]
        return bought


def instant(seconds: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=round(seconds * 1e6))


@pytest.mark.parametrize("speed", [1.0, 10.0])
def test_the_same_client_sees_the_same_story(new_tape: Callable[[], Any], ask: Ask, speed: float) -> None:
    first = Client(Mock.from_scenario("shopify-checkout"), ask, 1.0)
    originals = [first.buy("a"), first.buy("b")]
    tape = new_tape()
    tape.exchanges = first.taken

    again = Client(Mock.from_capture(tape.capture, speed=speed), ask, speed)
    bought = [again.buy("c"), again.buy("d")]
    assert again.heard == first.heard
    assert again.now - NOW == pytest.approx((first.now - NOW) / speed, rel=0.1)
    assert again.mock.status(again.now)["unmatched"] == 0
    tokens = {checkout["token"] for checkout in (*originals, *bought)}
    assert len(tokens) == 4
    for checkout, original, note in zip(bought, originals, "cd", strict=True):
        assert (checkout["note"], checkout["email"]) == (note, f"{note}@x.example")
        assert checkout["total_price"] == original["total_price"] == "421.88"
        assert checkout["shipping_address"]["province"] == "California"
        assert original["token"] not in str(checkout)
