"""The verdict for people and for programs.

JSON, one object; instants and ids are those of the captures, a missing counterpart is null:

```
{"schema": "polltape.replay/1", "verdict": "reproduced", "by": "recording",
 "findings": [{"standing": "again", "operation": "…", "code": "RA001", "place": "poll 2", "message": "…"}],
 "operations": [{"protocol": "…", "kind": "…",
                 "recorded": {"id": "…", "outcome": "completed", "statuses": [202, 202, 200]},
                 "replayed": {"id": "…", "outcome": "completed", "statuses": [202, 202, 200]}}],
 "exchanges": 3, "test": "polltape replay BUG.polltape --client 'your command'"}
```

``verdict``: ``reproduced`` or ``not reproduced``.  ``standing``: ``again``, ``missing`` or ``new``.
"""

from __future__ import annotations

import shlex
from textwrap import wrap
from typing import Final

import msgspec

from polltape.measures.codes import CODES
from polltape.replay.verdict import SCHEMA, By, Life, Verdict

_BY: Final[dict[By, str]] = {
    "recording": "The recording's own requests were sent to a mock made of it: the bug can be looked at here, "
    "but that proves nothing about a fix.",
    "client": "This client ran against a mock made of the recording. Codes are compared wherever they appear: "
    "another run polls at other instants.",
    "target": "The recording's own requests were sent to this server.",
}


def answer_of(verdict: Verdict) -> str:
    """``reproduced`` or ``not reproduced``."""
    return "reproduced" if verdict.reproduced else "not reproduced"


def fix_command(path: str, operation: str | None) -> str:
    """The command that would test a fix."""
    chosen = "" if operation is None else f" --operation {shlex.quote(operation)}"
    return f"polltape replay {shlex.quote(path)}{chosen} --client 'your command'"


def as_json(verdict: Verdict, test: str) -> str:
    """The object of the module's text."""
    value = {
        "schema": SCHEMA,
        "verdict": answer_of(verdict),
        "by": verdict.by,
        "findings": [
            {
                "standing": compared.standing,
                "operation": compared.finding.operation or None,
                "code": compared.finding.code,
                "place": compared.finding.place,
                "message": compared.finding.message,
            }
            for compared in verdict.compared
        ],
        "operations": [_life_json(life) for life in verdict.lives],
        "exchanges": verdict.exchanges,
        "test": test,
    }
    return msgspec.json.format(msgspec.json.encode(value)).decode() + "\n"


def _life_json(life: Life) -> dict[str, object]:
    def side(name: str | None, outcome: str | None, statuses: tuple[int | None, ...] | None) -> object:
        return None if name is None else {"id": name, "outcome": outcome, "statuses": statuses}

    return {
        "protocol": life.protocol,
        "kind": life.kind,
        "recorded": side(life.recorded_id, life.recorded_outcome, life.recorded_statuses),
        "replayed": side(life.replayed_id, life.replayed_outcome, life.replayed_statuses),
    }


def as_text(verdict: Verdict, test: str) -> str:
    """The answer in the first line, then its reasons."""
    lines = [f"{answer_of(verdict)}  (by: {verdict.by})", ""]
    if not verdict.named:
        lines.append("  The recording names no finding here, so there is nothing that could be missing.")
    several = len({c.finding.operation for c in verdict.compared}) > 1
    for compared in verdict.compared:
        found = compared.finding
        lines.append(f"  {compared.standing:<8}{found.code}  {found.place:<10} {found.message}")
        if several:
            lines.append(f"          in {found.operation}")
    lines.append("")
    for life in verdict.lives:
        lines += _life_text(life)
    lines += ["", *wrap(_BY[verdict.by], 90)]
    still = sorted({c.finding.code for c in verdict.compared if c.standing == "again"})
    if still and not verdict.reproduced:
        lines += [f"Not all of it is gone: {', '.join(f'{code} ({_fault(code)})' for code in still)}."]
    if verdict.by != "client":
        lines += ["To test a fix of the client:", f"  {test}"]
    return "".join(f"{_plain(line).rstrip()}\n" for line in lines)


def _fault(code: str) -> str:
    known = CODES.get(code)
    return "unknown" if known is None else known.fault


def _life_text(life: Life) -> list[str]:
    lines = [f"  {life.protocol}, {life.kind or 'of unknown kind'}"]
    if life.recorded_id is not None:
        lines.append(f"    recorded  {_went(life.recorded_outcome, life.recorded_statuses)}")
    if life.replayed_id is not None:
        lines.append(f"    replayed  {_went(life.replayed_outcome, life.replayed_statuses)}")
    return lines


_SHOWN: Final = 20


def _went(outcome: str | None, statuses: tuple[int | None, ...] | None) -> str:
    every = [("error" if status is None else str(status)) for status in statuses or ()]
    more = f" … {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return f"{outcome}: {' '.join(every[:_SHOWN])}{more}"


def _plain(text: str) -> str:
    """Without control characters: a bundle is a stranger's, and may hold what moves a terminal's cursor."""
    return "".join(char if char.isprintable() else "?" for char in text)
