"""Work that takes time in a scenario: when it began, when it ends, how it ends."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any

from polltape.capture.identity import identity_of
from polltape.mock.messages import Request


@dataclass(frozen=True, slots=True)
class Job:
    """Work that takes time: its kind, when it was submitted and when it ends, and the write that did it.

    Instants are seconds since 1970, ``ends`` is inf for work that never ends.  ``outcome``: how it ends, where
    that is not well.
    """

    kind: str
    started: float
    ends: float
    write: bytes = b""
    outcome: str | None = None

    def runs(self, now: float) -> bool:
        """Whether it is not over yet."""
        return now < self.ends

    def status(self, key: str, now: float, speed: float) -> dict[str, Any]:
        """For the status page: kind, key, seconds since the submit at speed 1, when it ends, its state."""
        takes = (self.ends - self.started) * speed
        return {
            "kind": self.kind,
            "key": key,
            "elapsed_s": round((now - self.started) * speed, 6),
            "completes_s": round(takes, 6) if isfinite(takes) else None,
            "state": "pending" if self.runs(now) else self.outcome or "completed",
        }


def identity(request: Request) -> bytes:
    """What makes two writes the same where the server gives out what they are about.

    A POST makes something new: two clients that send the same, or one with two queries, make two things.  Cookies and
    address tell nothing here, since a client that tries again may have others by then.  Another write names what it
    is about in its path, and is the same whoever sends it.
    """
    if request.method != "POST":
        return request.identity
    headers = [header for header in request.headers if header.name.lower() != "cookie"]
    asked = (request.query or "", *identity_of(headers, request.query, "", ()))
    return request.identity + "\n".join(asked).encode("utf-8", "surrogatepass")
