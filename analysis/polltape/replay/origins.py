"""Which answer gave a request what it speaks of: tokens, cookies, ids, wherever they stand.

A word of a request comes from the first answer that said it, if that had ended before the request began and no
request had said it before: a client's own words come from nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from polltape.exchange import Exchange

WORD: Final = re.compile(r"[A-Za-z0-9_-]+")
"""What tokens are made of; anything else stands between them."""
DAY: Final = re.compile(r"\d{4}-\d\d-\d\d(T\d\d)?")
_LONG: Final = re.compile(r"[A-Za-z0-9_-]{12,}")
"""Shorter words are too common to come from anywhere."""
_DIGIT: Final = re.compile(r"[0-9]")
OF_THE_MESSAGE: Final = frozenset({"host", "content-length"})
VOLATILE: Final = frozenset(
    {"date", "expires", "last-modified", "age", "content-length", "retry-after", "x-request-id", "x-polltape-wait"}
)
"""Headers of an answer that no later request speaks of."""


def said(exchange: Exchange) -> Iterable[str]:
    """Everything that a request says."""
    yield exchange.path
    yield exchange.query or ""
    yield from (value for name, value in exchange.request_headers if name.lower() not in OF_THE_MESSAGE)
    yield (exchange.request_body.content or b"").decode("latin-1")


def _answered(exchange: Exchange) -> Iterable[str]:
    yield from (value for name, value in exchange.response_headers if name.lower() not in VOLATILE)
    yield (exchange.response_body.content or b"").decode("latin-1")


def sources(exchanges: Sequence[Exchange]) -> dict[str, tuple[str, ...]]:
    """For each exchange those that issued what its request speaks of, by their ids; in any order of time."""
    spoken = {exchange.exchange_id: _words(said(exchange)) for exchange in exchanges}
    every = frozenset().union(*spoken.values())
    begun = {}
    for exchange in sorted(exchanges, key=lambda e: e.request_started_at, reverse=True):
        begun.update(dict.fromkeys(spoken[exchange.exchange_id], exchange.request_started_at))
    issuer: dict[str, Exchange] = {}
    for exchange in sorted(exchanges, key=lambda e: e.last_instant):
        for word in (_words(_answered(exchange)) & every) - spoken[exchange.exchange_id]:
            if begun[word] >= exchange.last_instant:
                issuer.setdefault(word, exchange)
    return {
        name: tuple(sorted({issuer[word].exchange_id for word in words if word in issuer}))
        for name, words in spoken.items()
    }


def _words(texts: Iterable[str]) -> frozenset[str]:
    found = {word for text in texts for word in _LONG.findall(text)}
    return frozenset(word for word in found if _DIGIT.search(word) and not DAY.fullmatch(word))
