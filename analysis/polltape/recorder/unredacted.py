"""Redaction switched off, on the user's explicit wish: rows as they were, still with what measuring needs."""

from __future__ import annotations

from dataclasses import replace

from polltape.capture.redaction import Redactor
from polltape.exchange import Body, Exchange


class Unredacted:
    """In the redactor's place.  Rows have no ``key_id``: by that, converting redacts them on their way out."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def redact(self, exchange: Exchange) -> Exchange:
        """The exchange with its client's pseudonym and its bodies' digests, else as it was."""
        return replace(
            exchange,
            client=self._redactor.client(exchange),
            request_body=self._with_digest(exchange.request_body),
            response_body=self._with_digest(exchange.response_body),
        )

    def words(self, text: str) -> str:
        """What the user typed, as it is."""
        return text

    def _with_digest(self, body: Body) -> Body:
        if body.content is None or body.truncated:
            return body
        return replace(body, size=len(body.content), digest=self._redactor.digest(body.content))
