"""Every finding there is: its stable code, whose fault it is, what one finding stands for, in one line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from polltape.errors import UsageError


@dataclass(frozen=True, slots=True)
class Code:
    """One kind of finding.  ``fault``: client, server or capture.  ``per``: what one finding stands for."""

    code: str
    fault: str
    per: str
    title: str


CODES: Final[dict[str, Code]] = {
    code.code: code
    for code in (
        Code("RA001", "client", "wait", "asked to wait, came back early"),
        Code("RA002", "client", "wait", "ignored the instruction to wait"),
        Code("RA003", "server", "response", "pending without any instruction to wait"),
        Code("RA004", "server", "response", "instruction that a strict parser rejects"),
        Code("RA005", "server", "response", "several instructions to wait"),
        Code("RA006", "client", "wait", "came back late: latency given away"),
        Code("RA007", "client", "request", "sent to a throttled host before its deadline"),
        Code("OP001", "server", "operation", "stuck: pending for longer than it should take"),
        Code("OP002", "client", "operation", "stopped polling before the end"),
        Code("OP003", "client", "operation", 'took the "not yet" for the answer'),
        Code("OP004", "client", "request", "polled on after the end"),
        Code("OP005", "client", "request", "sent the same write again while it was pending"),
        Code("OP006", "server", "response", "state went backwards"),
        Code("OP007", "capture", "operation or checkout", "ambiguous 202: nothing tells whether anything is under way"),
        Code("CQ001", "client", "wait", "polled the queue before pollAfter"),
        Code("CQ002", "client", "request", "polled the queue with a token that was not the latest"),
        Code("CQ003", "client", "operation", "released from the queue, but the request was never sent again"),
        Code("CQ004", "client", "request", "sent the queued request again without its token"),
        Code("CQ005", "server", "operation", "first estimate of the queue wrong by more than half"),
        Code("PN001", "server", "response", "202 without x-pch-digest"),
        Code("PN002", "server", "response", "x-pch-digest does not match"),
        Code("PN003", "server", "host", "202 is no exception here"),
        Code("PN004", "server", "response", "unknown status in a 2xx"),
        Code("ST001", "server", "host, endpoint, status", "server error, or a status the API does not document"),
        Code("ST002", "client", "host, endpoint, status", "the client's own error"),
    )
}


def codes_named(names: Iterable[str]) -> frozenset[str]:
    """The codes that lists such as ``RA,OP001`` name: prefixes and ``ALL`` are understood, in any case.

    Raises UsageError for a name that fits no code.
    """
    return frozenset(code for name in split(names) for code in _fitting(name))


def selected(select: Iterable[str], ignore: Iterable[str] = ()) -> frozenset[str]:
    """The codes selected: for each the longest name that fits it decides, and of two as long ``ignore``.

    >>> sorted(selected(["OP", "RA001"], ["RA", "OP00"]) | selected(["OP00"], ["OP001,OP002,OP003,OP004,OP005"]))
    ['OP006', 'OP007', 'RA001']
    """
    wanted, unwanted = _lengths(select), _lengths(ignore)
    return frozenset(code for code, length in wanted.items() if length > unwanted.get(code, -1))


def split(names: Iterable[str]) -> list[str]:
    """The names of lists with commas, in capitals.

    >>> split(["ra, OP001", ""])
    ['RA', 'OP001']
    """
    return [part.strip().upper() for text in names for part in text.split(",") if part.strip()]


def _lengths(names: Iterable[str]) -> dict[str, int]:
    """For each code that is named the length of the longest name that fits it; ALL is the shortest."""
    found: dict[str, int] = {}
    for name in split(names):
        length = 0 if name == "ALL" else len(name)
        found |= {code: max(length, found.get(code, 0)) for code in _fitting(name)}
    return found


def _fitting(name: str) -> list[str]:
    fitting = [code for code in CODES if name == "ALL" or code.startswith(name)]
    if not fitting:
        near = get_close_matches(name, CODES, n=1)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"no finding has the code {name!r}{meant}", hint="polltape explain lists them")
    return fitting
