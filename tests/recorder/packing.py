"""Frames for the tests, from heads as the helper reads them: what the addon makes of a flow, made of a dict."""

from __future__ import annotations

import json
import struct
from typing import Any

from polltape.recorder import addon_record as addon


def packed(head: dict[str, Any]) -> bytes:
    """The head as bytes: an exchange in numbers and texts, anything else in JSON."""
    if head.get("kind") not in ("exchange", "provisional"):
        return json.dumps(head).encode()
    mode, tls, scheme, host, port, host_header = head.get("named", ("", False, "", "", 0, None))
    names = [f"{side}_{part}" for side in ("request", "response") for part in ("headers", "trailers")]
    lines = [head.get(name, ()) for name in names]
    client, server = (head.get(name) or ("", 0) for name in ("client", "server"))
    bodies = [head.get(f"{side}_body", {}) for side in ("request", "response")]
    latin = (mode, scheme, host, host_header, head.get("method"), head.get("target"), head.get("http_version"))
    plain = (head.get("error"), client[0], server[0], head.get("client_connection"), head.get("server_connection"))
    texts = [(text or "").encode("latin-1") for text in (*latin, head.get("reason"))]
    texts += [(text or "").encode() for text in plain]
    texts += [part.encode("latin-1") for fields in lines for field in fields for part in field]
    numbers = addon.EXCHANGE.pack(
        *(head["kind"] == "provisional", head.get("streamed", False), tls, head["seq"], head.get("status") or 0),
        *(port, client[1], server[1], *[float("nan") if at is None else at for at in head.get("times", [None] * 4)]),
        *[-1 if clock is None else clock for clock in head.get("mono", [None] * 4)],
        *[number for body in bodies for number in (body.get("size", -1), body.get("kept", 0))],
        *map(len, lines),
    )
    return numbers + struct.pack(f">{len(texts)}I", *map(len, texts)) + b"".join(texts)


def frame(number: int, head: dict[str, Any], *bodies: bytes) -> bytes:
    """A whole frame."""
    return b"".join(addon.frame(number, packed(head), *bodies))
