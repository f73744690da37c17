"""What a foreign format has no place for, carried inside it, so that what we wrote comes back without loss.

A HAR entry and a mitmproxy flow that we export hold the exchange's *facts*: every column but headers, bodies
and what protocols observe.  Beside them stands a *seal*: a keyed digest over the whole entry.

Importing redacts, always, with one exception: an entry whose seal is ours was redacted under this very key
and has not been changed since, so it is taken as it is (a pseudonym of a pseudonym would equal nothing).
A key id alone would prove nothing, for it stands in every row that was ever shared: without a valid seal an
entry is redacted like any other, and of its facts only numbers, instants and UUIDs are believed, nothing in
which a secret could hide.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final

import msgspec

from polltape.capture.keys import Key
from polltape.exchange import OBSERVED, Body, Coverage, Exchange, from_row, to_row

FIELD: Final = "_polltape"
"""Name of the extension in a HAR; custom fields begin with an underscore (HAR 1.2)."""

VERSION: Final = 1

_HEADERS: Final = ("request_headers", "response_headers")
_INSTANTS: Final = ("request_started_at", "request_ended_at", "response_started_at", "response_ended_at")
_MONOTONIC: Final = tuple(f"{name.removesuffix('_at')}_mono_ns" for name in _INSTANTS)
_UUID7: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def facts_of(exchange: Exchange) -> dict[str, Any]:
    """Everything of the exchange that JSON can hold but its headers, its contents and what was observed."""
    row = {name: value for name, value in to_row(exchange).items() if value is not None}
    for name in (*OBSERVED, *_HEADERS):
        row.pop(name, None)
    for name in _INSTANTS:
        if isinstance(row.get(name), datetime):
            row[name] = row[name].isoformat()  # type: ignore[attr-defined]
    row["request_body"] = _body_facts(exchange.request_body)
    row["response_body"] = _body_facts(exchange.response_body)
    return row


def _body_facts(body: Body) -> dict[str, Any]:
    facts = {name: getattr(body, name) for name in ("wire_size", "size", "truncated", "not_stored", "digest")}
    return {**facts, "empty": body.content == b""}


def from_facts(facts: Mapping[str, Any], carried: Exchange) -> Exchange:
    """The exchange of sealed facts; headers and contents as the entry itself carried them."""
    row = {name: value for name, value in facts.items() if name not in OBSERVED}
    for name in _INSTANTS:
        if name in row:
            row[name] = datetime.fromisoformat(row[name])
    for name in ("request_body", "response_body"):
        body = dict(row.get(name) or {})
        content = getattr(carried, name).content
        row[name] = {**body, "content": b"" if body.pop("empty", False) else content or None}
        row[name].pop("empty", None)
    return replace(from_row(row), request_headers=carried.request_headers, response_headers=carried.response_headers)


def with_plain_facts(facts: Mapping[str, Any], exchange: Exchange) -> Exchange:
    """The exchange with those unsealed facts that cannot hide a secret; unchanged where they are unsound."""
    found: dict[str, Any] = {}
    for name in ("exchange_id", "session_id"):
        if isinstance(facts.get(name), str) and _UUID7.fullmatch(facts[name]):
            found[name] = facts[name]
    for name in (*_MONOTONIC, "seq"):
        if _is_count(facts.get(name)):
            found[name] = facts[name]
    try:
        found |= {name: _instant(facts[name]) if name in facts else None for name in _INSTANTS}
        found["request_started_at"] = _instant(facts.get("request_started_at"))
        for name in ("request_body", "response_body"):
            found[name] = _plain_body(facts.get(name), getattr(exchange, name))
    except (TypeError, ValueError, OverflowError):
        return exchange
    return replace(exchange, **found)


def _plain_body(facts: object, body: Body) -> Body:
    if not isinstance(facts, Mapping):
        return body
    if facts.get("empty") is True and not body.content:
        return Body(wire_size=body.wire_size or 0, size=0, content=b"")
    sizes = {name: facts[name] for name in ("wire_size", "size") if _is_count(facts.get(name))}
    return replace(body, truncated=facts.get("truncated") is True, **sizes)


def coverage_extension(coverage: Sequence[Coverage], key: Key | None) -> dict[str, Any]:
    """When the recording sessions were there to see, for the file as a whole."""
    extension = {"version": VERSION, "coverage": msgspec.to_builtins(list(coverage))}
    return {**extension, "seal": seal_of(extension, key)} if key is not None else extension


def coverage_told(extension: object, key: Key | None) -> list[Coverage]:
    """The coverage that :func:`coverage_extension` tells of; empty where there is none or it is unsound.

    Unsealed it tells sessions with UUIDs and their instants, nothing else.
    """
    if not isinstance(extension, Mapping) or extension.get("version") != VERSION:
        return []
    try:
        found = msgspec.convert(extension.get("coverage"), list[Coverage])
        found = [replace(c, started_at=_utc(c.started_at), ended_at=_utc(c.ended_at)) for c in found]
    except (msgspec.ValidationError, ValueError, OverflowError):
        return []
    bare = {name: value for name, value in extension.items() if name != "seal"}
    if is_sealed(bare, extension.get("seal"), key):
        return found
    return [replace(c, filter=None, source=None) for c in found if _UUID7.fullmatch(c.session_id)]


def _utc(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError("an instant has a zone")
    return instant.astimezone(UTC)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**62


def _instant(value: object) -> datetime:
    if not isinstance(value, str):
        raise TypeError("an instant is a text")
    return _utc(datetime.fromisoformat(value))


# ----------------------------------------------------------------------------------------------- seals


def seal_of(entry: object, key: Key) -> str:
    """Keyed digest (hex) of the entry's canonical JSON; of the entry without its seal."""
    canonical = json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()
    return blake2b(canonical, key=key.secret, digest_size=32, person=b"polltape seal").hexdigest()


def is_sealed(entry: object, seal: object, key: Key | None) -> bool:
    """Whether the seal says that we made this entry, under this key, and nobody changed it."""
    return (
        key is not None and isinstance(seal, str) and hmac.compare_digest(seal.encode(), seal_of(entry, key).encode())
    )


def sealed(entry: Mapping[str, Any], exchange: Exchange, key: Key | None) -> dict[str, Any]:
    """The entry with the exchange's facts, sealed where there is a key and its row was redacted under it."""
    extension: dict[str, Any] = {"version": VERSION, "facts": facts_of(exchange)}
    whole = {**entry, FIELD: extension}
    if key is not None and exchange.key_id == key.key_id:
        extension["seal"] = seal_of({**entry, FIELD: dict(extension)}, key)
    return whole


def unseal(entry: Mapping[str, Any], carried: Exchange, key: Key | None) -> tuple[Exchange, bool]:
    """The exchange with what the extension tells of it, and whether it is sealed (not to be redacted again)."""
    extension = entry.get(FIELD)
    facts = extension.get("facts") if isinstance(extension, Mapping) else None
    if not isinstance(extension, Mapping) or not isinstance(facts, Mapping):
        return carried, False
    bare = {**entry, FIELD: {name: value for name, value in extension.items() if name != "seal"}}
    if extension.get("version") == VERSION and is_sealed(bare, extension.get("seal"), key):
        return from_facts(facts, carried), True
    return with_plain_facts(facts, carried), False
