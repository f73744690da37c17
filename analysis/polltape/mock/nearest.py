"""The answer to a request that no recording fits: 404, the nearest recordings, and what differs from each."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import Any, Final

from polltape.exchange import Header
from polltape.mock.messages import Request, Response, json_response
from polltape.mock.recording import Recording, Shape, shape_of

_SHOWN: Final = 3
_POLLED_ONLY: Final = "it was only polled as part of an operation: submit that first"


def no_match(recording: Recording, request: Request) -> Response:
    """404 as JSON: ``error``, ``request``, ``nearest`` (recorded shape, how often, what differs), ``hint``."""
    asked = shape_of(request.method, request.path, request.query)
    ranked = sorted(recording.shapes, key=lambda shape: (-_likeness(asked, shape), shape))
    body: dict[str, Any] = {
        "error": "no recording matches this request; nothing was forwarded",
        "request": _told(asked),
        "nearest": [
            {"recorded": _told(shape), "times": recording.shapes[shape], "differs": _differences(asked, shape)}
            for shape in ranked[:_SHOWN]
        ],
        "hint": "compared are method, endpoint and the names in the query; record this request, or ask as recorded",
    }
    return json_response(404, body, (Header("X-Polltape-Match", "none"),), matched=False)


def _told(shape: Shape) -> str:
    method, template, names = shape
    return f"{method} {template}" + (f"?{'&'.join(f'{name}=…' for name in names)}" if names else "")


def _differences(asked: Shape, recorded: Shape) -> list[str]:
    found = []
    for what, ours, theirs in zip(("method", "endpoint"), asked[:2], recorded[:2], strict=True):
        if ours != theirs:
            found.append(f"{what}: asked {ours}, recorded {theirs}")
    missing, more = set(recorded[2]) - set(asked[2]), set(asked[2]) - set(recorded[2])
    if missing:
        found.append(f"query: without {', '.join(sorted(missing))}")
    if more:
        found.append(f"query: {', '.join(sorted(more))} was not recorded")
    return found or [_POLLED_ONLY]


def _likeness(asked: Shape, recorded: Shape) -> float:
    """1 for the same shape; the path weighs most, then the method, then the query."""
    path = SequenceMatcher(None, asked[1].split("/"), recorded[1].split("/")).ratio()
    names = set(asked[2]) | set(recorded[2])
    query = len(set(asked[2]) & set(recorded[2])) / len(names) if names else 1.0
    return 0.6 * path + 0.25 * (asked[0] == recorded[0]) + 0.15 * query
