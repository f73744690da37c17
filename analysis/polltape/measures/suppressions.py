"""Findings that a project has decided to live with: by code, host and route, each with a reason.

A suppression hides findings, it never changes a number: durations and compliance count every wait.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from polltape.measures.codes import codes_named

EVERY = "*"
"""A host or route of any text; within one, ``*`` stands for any characters."""


@dataclass(frozen=True, slots=True)
class Suppression:
    """Findings of these codes at this place are hidden, for this reason.

    ``code``: a code or prefix.  ``host``: without port.  ``route``: ``METHOD template``, or the template alone
    for every method.  ``where``: the file and line that say so.
    """

    code: str
    reason: str
    host: str = EVERY
    route: str = EVERY
    where: str = ""

    def told(self) -> str:
        """What it hides, in one line."""
        place = " ".join(part for part in (self.route, self.host) if part != EVERY)
        return f"{self.code} at {place}" if place else f"{self.code} everywhere"


def suppress(
    findings: pd.DataFrame, suppressions: Iterable[Suppression]
) -> tuple[pd.DataFrame, list[tuple[Suppression, int]]]:
    """The findings that stay, and how many each suppression hid; of several that fit the first one hides.

    ``findings``: with code, host, endpoint.
    """
    hidden = pd.Series(False, index=findings.index)
    told = []
    for suppression in suppressions:
        fits = ~hidden & _fits(findings, suppression)
        told.append((suppression, int(fits.sum())))
        hidden |= fits
    return findings[~hidden].reset_index(drop=True), told


def _fits(findings: pd.DataFrame, suppression: Suppression) -> pd.Series[bool]:
    found = findings["code"].isin(sorted(codes_named([suppression.code])))
    if suppression.host != EVERY:
        found &= findings["host"].fillna("").str.fullmatch(_pattern(suppression.host), case=False)
    if suppression.route != EVERY:
        any_method = "" if re.match(r"[A-Za-z]+ ", suppression.route) else r"\S+ "
        found &= findings["endpoint"].fillna("").str.fullmatch(any_method + _pattern(suppression.route))
    return found


def _pattern(text: str) -> str:
    """Only ``*`` has a meaning: routes are full of braces and brackets."""
    return ".*".join(re.escape(part) for part in text.split("*"))
