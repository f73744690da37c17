"""The status page as a browser shows it: a page of its own, no script, nothing loaded from elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from polltape.exchange import Header
from polltape.mock.messages import Response, reason_of

_SHOWN: Final = 200
"""Operations on the page; the JSON has all of them."""


def status_page(status: Mapping[str, Any]) -> Response:
    """What :meth:`polltape.mock.core.Mock.status` tells, as HTML: the operations that began last first."""
    operations = status["operations"]
    latest = [{**operation, "share": _share(operation)} for operation in reversed(operations[-_SHOWN:])]
    pending = sum(operation["state"] == "pending" for operation in operations)
    strays = _grouped(status["last_unmatched"])
    body = _template().render(status=status, operations=latest, pending=pending, strays=strays)
    content = body.encode()
    headers = (
        Header("Content-Type", "text/html; charset=utf-8"),
        Header("Cache-Control", "no-store"),
        Header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'"),
        Header("Content-Length", str(len(content))),
    )
    return Response(200, reason_of(200), headers, content)


def _grouped(unmatched: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same request once, with its ``times``; the latest first."""
    times = Counter((stray["method"], stray["target"]) for stray in unmatched)
    latest = {(stray["method"], stray["target"]): stray for stray in reversed(unmatched)}
    return [{**stray, "times": times[asked]} for asked, stray in latest.items()]


def _share(operation: Mapping[str, Any]) -> float | None:
    """How far its clock is, from 0 to 1; None where it never ends."""
    ends = operation["completes_s"]
    return None if ends is None else 1.0 if ends <= 0 else min(1.0, operation["elapsed_s"] / ends)


@cache
def _template() -> Template:
    pages = Environment(
        loader=PackageLoader("polltape.mock", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return pages.get_template("status.html.j2")
