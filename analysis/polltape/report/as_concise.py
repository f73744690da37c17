"""The findings one a line, for a terminal, grep and editors; the sum of them at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polltape.measures.words import counted, iso
from polltape.report.places import ticket
from polltape.report.plain import Row, printable, rows

if TYPE_CHECKING:
    import pandas as pd

    from polltape.measures.analysis import Analysis


def render(analysis: Analysis) -> str:
    """``INSTANT HOST METHOD TEMPLATE: CODE message; X-Request-Id …; API version …``, then how many there are."""
    return "".join(f"{printable(_line(row))}\n" for row in rows(analysis.findings)) + total(analysis) + "\n"


def _line(row: Row) -> str:
    place = " ".join(part for part in (row["host"], row["endpoint"]) if part)
    return "; ".join([f"{iso(row['at_us'])} {place or '–'}: {row['code']} {row['message']}", *ticket(row)])


def total(analysis: Analysis) -> str:
    """How many findings there are, whose fault they are, and how many were suppressed."""
    faults = by_fault(analysis.findings)
    text = counted(sum(faults.values()), "finding") if faults else "no finding"
    if faults:
        text += f": {', '.join(f'{count} {fault}' for fault, count in faults.items())}"
    hidden = sum(count for _, count in analysis.suppressed)
    return f"{text}; {hidden} suppressed" if hidden else text


def by_fault(findings: pd.DataFrame) -> dict[str, int]:
    """How many findings are the client's, the server's and the capture's fault; those without any left out."""
    counts = findings["fault"].value_counts()
    return {fault: int(counts[fault]) for fault in ("client", "server", "capture") if fault in counts}
