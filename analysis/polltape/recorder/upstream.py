"""In reverse mode, a response that names the upstream's own authority leads its client past the proxy."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from polltape.exchange import Exchange

_HEADERS: Final = frozenset({"location", "content-location", "operation-location", "azure-asyncoperation", "link"})
_DEFAULTS: Final = {"http": 80, "https": 443}


class UpstreamWatch:
    """Looks for absolute URLs of the upstreams in what responses tell their clients to ask next; once."""

    def __init__(self, upstreams: Iterable[tuple[str, int]]) -> None:
        self._ports: dict[str, set[int]] = {}
        for host, port in upstreams:
            self._ports.setdefault(host, set()).add(port)
        self._hosts = [host.lower().encode() for host in self._ports]
        names = "|".join(re.escape(host) for host in self._ports)
        # In JSON a slash may be escaped (RFC 8259 §7).
        pattern = rf"(https?):\\?/\\?/\[?({names})\]?(?::(\d{{1,5}}))?(?![\w.:-])"
        self._pattern = re.compile(pattern.encode(), re.IGNORECASE) if names else None

    def look(self, exchange: Exchange) -> str | None:
        """Where the (raw) response names an upstream: a header's name, or ``JSON body``; None afterwards."""
        if self._pattern is None:
            return None
        found = next((name for name, text in _places(exchange) if self._names(text)), None)
        if found:
            self._pattern = None
        return found

    def _names(self, text: bytes) -> bool:
        assert self._pattern is not None
        lower = text.lower()
        if not any(host in lower for host in self._hosts):  # told much faster than by the pattern
            return False
        for match in self._pattern.finditer(text):
            scheme, host, port = (part.decode().lower() if part else "" for part in match.groups())
            if (int(port) if port else _DEFAULTS[scheme]) in self._ports[host]:
                return True
        return False


def _places(exchange: Exchange) -> Iterable[tuple[str, bytes]]:
    for name, value in exchange.response_headers:
        if name.lower() in _HEADERS:
            yield name, value.encode("latin-1", "replace")
    content = exchange.response_body.content
    if content and "json" in (exchange.response_header("Content-Type") or "").lower():
        yield "JSON body", content
