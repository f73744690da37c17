"""Shopify's checkout queue: 429 with ``X-Checkout-Queue``, then polls with a token that changes.

Reference: "Poll the checkout queue" (shopify.dev).  A queued request is answered 429 with a token (header
``X-Checkout-Queue-Token``, cookie ``_checkout_queue_token``).  Its client polls ``POST /queue/poll`` (GraphQL,
``poll(token: $token)``), always with the newest token; PollContinue says when to come back (``pollAfter``),
PollComplete *releases* it: the request is to be sent again with the token in the header or the cookie.  Only
that ends the wait, whatever it is answered.

===================  =====================================================================================
exchange             observation
===================  =====================================================================================
queue 429            ``resubmit`` that opens, issues its token; what it sent itself addresses an older chain
POST …/queue/poll    ``read`` by the token sent, issues the one answered
request with a       ``resubmit``: by the header's token; by the cookie's only if it is the queued request
token                itself (method, host, path), since a browser sends its cookies everywhere
===================  =====================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import unquote

from polltape.exchange import Exchange, Observation, all_headers
from polltape.protocols.base import Protocol, json_object, polled_state
from polltape.protocols.graphql import graphql_request
from polltape.protocols.instruction import MAX_SECONDS

NAME: Final = "shopify-queue"
QUEUED_HEADER: Final = "X-Checkout-Queue"
TOKEN_HEADER: Final = "X-Checkout-Queue-Token"
TOKEN_COOKIE: Final = "_checkout_queue_token"
_COOKIE: Final = re.compile(rf"(?:^|;)\s*{TOKEN_COOKIE}=([^;]*)")
_STATES: Final = {"PollContinue": "pending", "PollComplete": "released"}
UNANSWERED: Final = frozenset({408, 425, 429})
"""Answers to a resubmit, with 5xx and errors, that leave it waiting."""


class ShopifyQueue(Protocol):
    """The checkout queue; see the module's text."""

    name: ClassVar[str] = NAME
    kinds: ClassVar[tuple[str, ...]] = ("queue.wait",)
    counts_at_once: ClassVar[bool] = False

    def template(self, path: str) -> str | None:
        """None: its one endpoint has no names in its path."""
        return None

    def hint(self, exchange: Exchange) -> tuple[str, object] | None:
        """``pollAfter`` of a PollContinue."""
        if not is_poll(exchange):
            return None
        value = _answered(exchange).get("pollAfter")
        return None if value is None else ("pollAfter", value)

    def observe(self, exchange: Exchange) -> Sequence[Observation]:
        """One observation for a poll, a queued request, or one that carries a token."""
        if is_poll(exchange):
            return (self._poll(exchange),)
        header = exchange.request_header(TOKEN_HEADER)
        cookie = cookie_token(all_headers(exchange.request_headers, "Cookie"))
        queued = exchange.status == 429 and exchange.response_header(QUEUED_HEADER) is not None
        if not (header or cookie or queued):
            return ()
        return (self._resubmit(exchange, header, cookie, queued=queued),)

    def _resubmit(self, exchange: Exchange, header: str | None, cookie: str | None, *, queued: bool) -> Observation:
        issued = _issued(exchange) if queued else None
        return Observation(
            protocol=self.name,
            kind="queue.wait",
            role="resubmit" if header or not cookie else "resubmit-cookie",
            keys=_keys(exchange, header, cookie),
            issued=_keys(exchange, issued),
            state=resubmitted_state(exchange.status),
            opens=queued,
            address=queued,
        )

    def _poll(self, exchange: Exchange) -> Observation:
        answer = _answered(exchange)
        state = _poll_state(answer)
        eta = answer.get("queueEtaSeconds")
        return Observation(
            protocol=self.name,
            kind="queue.wait",
            role="read",
            keys=_keys(exchange, _polled_token(exchange)),
            issued=_keys(exchange, _text(answer.get("token")) or _issued(exchange)),
            state=state or polled_state(exchange.status),
            truncates="always" if state == "pending" else None,
            address=True,
            hint_expected=state == "pending",
            eta_s=_seconds(eta),
        )


def is_poll(exchange: Exchange) -> bool:
    """Whether it is a poll of the queue, whatever it was answered."""
    return exchange.method == "POST" and exchange.path.endswith("/queue/poll")


def _polled_token(exchange: Exchange) -> str | None:
    request = graphql_request(exchange)
    return None if request is None else request.argument("token")


def _answered(exchange: Exchange) -> dict[str, Any]:
    """The PollResult of a 2xx answer; empty where there is none."""
    if exchange.status is None or not 200 <= exchange.status < 300:
        return {}
    data = json_object(exchange.response_body).get("data")
    poll = data.get("poll") if isinstance(data, dict) else None
    return poll if isinstance(poll, dict) else {}


def _poll_state(answer: dict[str, Any]) -> str | None:
    """By ``__typename``, which clients need not ask for: else by the fields that only PollContinue has."""
    name = answer.get("__typename")
    if isinstance(name, str):
        return _STATES.get(name)
    if not answer.get("token"):
        return None
    waits = answer.get("pollAfter") is not None or answer.get("queueEtaSeconds") is not None
    return "pending" if waits else "released"


def resubmitted_state(status: int | None) -> str | None:
    """The request sent again ends the wait by any answer but a queue 429, 408, 425, 429, 5xx or an error."""
    return None if status is None or status in UNANSWERED or status >= 500 else "completed"


def _issued(exchange: Exchange) -> str | None:
    header = exchange.response_header(TOKEN_HEADER)
    return header or cookie_token(all_headers(exchange.response_headers, "Set-Cookie"))


def cookie_token(lines: Iterable[str]) -> str | None:
    """The token in lines of Cookie or Set-Cookie, decoded; None where there is none."""
    found = next((match for line in lines if (match := _COOKIE.search(line))), None)
    return unquote(found[1].strip().strip('"')) or None if found else None


def _seconds(value: object) -> float | None:
    """What can be a number of seconds; JSON has integers that no float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_SECONDS:
        return None
    return float(value)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _keys(exchange: Exchange, *tokens: str | None) -> tuple[str, ...]:
    """Clients take a cookie's token as it stands there, percent-encoded, or decode it: it is the same one."""
    return tuple(f"{NAME}|{exchange.authority}|{unquote(token)}" for token in tokens if token)
