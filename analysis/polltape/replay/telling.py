"""The verdict and the differences for people and for programs.

JSON, one object; instants and ids are those of the captures, a missing counterpart is null:

```
{"schema": "polltape.replay/1", "verdict": "reproduced", "by": "recording",
 "findings": [{"standing": "again", "operation": "…", "code": "RA001", "place": "poll 2", "message": "…"}],
 "operations": [{"protocol": "…", "kind": "…",
                 "recorded": {"id": "…", "outcome": "completed", "statuses": [202, 202, 200]},
                 "replayed": {"id": "…", "outcome": "completed", "statuses": [202, 202, 200]}}],
 "exchanges": 3,
 "differences": {"compared": 3, "differing": [
                   {"operation": "…", "place": "poll 2", "method": "GET", "endpoint": "…",
                    "recorded": "exchange id", "replayed": "exchange id",
                    "changed": [{"field": "status", "recorded": 202, "replayed": 200}]}],
                 "volatile": {"header:date": 3}},
 "test": "polltape replay BUG.polltape --client 'your command'"}
```

``verdict``: ``reproduced`` or ``not reproduced``.  ``standing``: ``again``, ``missing`` or ``new``.  In ``changed``
a value that one side does not have is left out.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from itertools import groupby
from textwrap import wrap
from typing import Final

import msgspec

from polltape.measures.codes import CODES
from polltape.replay.case import listed
from polltape.replay.difference import ABSENT, Changed, Difference, Differences
from polltape.replay.verdict import SCHEMA, By, Compared, Life, Standing, Verdict

WIDTH: Final = 80
_SHOWN_GROUPS: Final = 12
_SHOWN_ALIKE: Final = 3
_SHOWN_RUNS: Final = 6
_SHOWN_FIELDS: Final = 8
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


def fix_command(path: str, operations: Sequence[str], verdict: Verdict) -> str:
    """The command that would test a fix: of the server where only the server is at fault, else of the client."""
    chosen = "".join(f" --operation {shlex.quote(operation)}" for operation in operations)
    return f"polltape replay {shlex.quote(path)}{chosen} {_FIX[_to_mend(verdict)]}"


def _to_mend(verdict: Verdict) -> str:
    """Whose fix is to be tested: the server's where all that the case names is its fault."""
    named = {_fault(compared.finding.code) for compared in verdict.compared if compared.standing != "new"}
    return "server" if named == {"server"} else "client"


_FIX: Final = {"server": "--target https://your-server", "client": "--client 'your command'"}
_MENDED: Final[dict[By, str]] = {"target": "server", "client": "client"}
"""Whose fix a verdict is about already; the recording's own proves nothing about any."""


def as_json(verdict: Verdict, found: Differences, test: str) -> str:
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
        "differences": {
            "compared": len(found.every),
            "differing": [_difference_json(difference) for difference in found.differing],
            "volatile": dict(sorted(found.volatile.items())),
        },
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


def _difference_json(difference: Difference) -> dict[str, object]:
    pair = difference.pair
    sides = {"recorded": pair.recorded, "replayed": pair.replayed}
    return {
        "operation": pair.operation,
        "place": pair.place,
        "method": pair.either.method,
        "endpoint": pair.either.endpoint or pair.either.path,
        **{name: None if side is None else side.exchange.exchange_id for name, side in sides.items()},
        "changed": [
            {
                "field": changed.field,
                **({} if changed.recorded is ABSENT else {"recorded": changed.recorded}),
                **({} if changed.replayed is ABSENT else {"replayed": changed.replayed}),
            }
            for changed in difference.changed
        ],
    }


def as_text(verdict: Verdict, found: Differences, test: str) -> str:
    """The answer in the first line, then its reasons, and what differs; at most :data:`WIDTH` wide."""
    lines = [f"{answer_of(verdict)}  (by: {verdict.by})", ""]
    if not verdict.named:
        lines += wrap("The recording names no finding here, so there is nothing that could be missing.", WIDTH)
    lines += _findings_text(verdict)
    lines += _lives_text(verdict)
    lines += ["", *_differences_text(found), "", *wrap(_BY[verdict.by], WIDTH)]
    still = sorted({c.finding.code for c in verdict.compared if c.standing == "again"})
    if still and not verdict.reproduced:
        lines += [f"Not all of it is gone: {', '.join(f'{code} ({_fault(code)})' for code in still)}."]
    to_mend = _to_mend(verdict)
    if verdict.by == "client" and to_mend == "server":
        lines += wrap("What was found is the server's fault: a client cannot mend it, only meet it.", WIDTH)
    if _MENDED.get(verdict.by) != to_mend:
        lines += [f"To test a fix of the {to_mend}:", f"  {test}"]
    return "".join(f"{_plain(line).rstrip()}\n" for line in lines)


def _findings_text(verdict: Verdict) -> Iterator[str]:
    """Findings of one code in one operation together: what is missing first, then what is there again, then new."""
    groups: dict[tuple[str, str, str], list[Compared]] = {}
    for compared in verdict.compared:
        found = compared.finding
        groups.setdefault((compared.standing, found.operation, found.code), []).append(compared)
    several = len({operation for _, operation, _ in groups}) > 1
    in_order = sorted(groups.items(), key=lambda group: (_ORDER[group[1][0].standing], group[0]))
    for (standing, operation, code), members in in_order[:_SHOWN_GROUPS]:
        places = listed([compared.finding.place for compared in members])
        yield from _wrapped(f"  {standing:<8}{code}  ", f"{places}: {members[0].finding.message}")
        if several:
            yield f"{'':17}{operation}"
    if len(in_order) > _SHOWN_GROUPS:
        rest = sum(len(members) for _, members in in_order[_SHOWN_GROUPS:])
        yield f"  and {rest} more: --format json has them all"


_ORDER: Final[dict[Standing, int]] = {"missing": 0, "again": 1, "new": 2}


def _fault(code: str) -> str:
    known = CODES.get(code)
    return "unknown" if known is None else known.fault


def _lives_text(verdict: Verdict) -> Iterator[str]:
    """How the operations went: those that went otherwise first."""
    yield ""
    otherwise = sum(not life.went_alike for life in verdict.lives)
    shown = min(max(otherwise, _SHOWN_ALIKE), _SHOWN_GROUPS)
    for life in sorted(verdict.lives, key=lambda life: life.went_alike)[:shown]:
        yield from _life_text(life)
    if shown < len(verdict.lives):
        rest = f"{otherwise - shown} of them went otherwise" if otherwise > shown else "all as recorded"
        yield f"  and {len(verdict.lives) - shown} more operations, {rest}"


def _life_text(life: Life) -> list[str]:
    lines = [f"  {life.protocol}, {life.kind or 'of unknown kind'}"]
    if life.recorded_id is not None:
        lines.append(f"    recorded  {_went(life.recorded_outcome, life.recorded_statuses)}")
    if life.replayed_id is not None:
        lines.append(f"    replayed  {_went(life.replayed_outcome, life.replayed_statuses)}")
    return lines


def _went(outcome: str | None, statuses: tuple[int | None, ...] | None) -> str:
    """
    >>> _went("completed", (202, 202, 202, 200))
    'completed: 202 ×3 200'
    """
    runs = [(status, len(list(same))) for status, same in groupby(statuses or ())]
    told = ["error" if status is None else str(status) for status, _ in runs]
    told = [text if length == 1 else f"{text} ×{length}" for text, (_, length) in zip(told, runs, strict=True)]
    more = " …" if len(told) > _SHOWN_RUNS else ""
    return f"{outcome}: {' '.join(told[:_SHOWN_RUNS])}{more}"


def _wrapped(head: str, text: str) -> list[str]:
    """The text behind its head, further lines below it."""
    parts = wrap(text, WIDTH - len(head), break_on_hyphens=False) or [""]
    return [head + parts[0], *(" " * len(head) + part for part in parts[1:])]


# ----------------------------------------------------------------------------------------- differences


def _differences_text(found: Differences) -> Iterator[str]:
    differing = found.differing
    number = f"{len(differing)} of {len(found.every)} exchanges" if differing else "none that matters"
    ignored = f"  ({sum(found.volatile.values())} volatile fields left aside)" if found.volatile else ""
    yield f"Differences  {number}{ignored}"
    groups: dict[str, list[Difference]] = {}
    for difference in differing:
        told = _told(difference)
        groups.setdefault("\n".join(told), []).append(difference)
    for text, members in list(groups.items())[:_SHOWN_GROUPS]:
        first, *fields = text.split("\n")
        yield first
        yield f"    {listed([difference.pair.place for difference in members])}"
        yield from fields
    if len(groups) > _SHOWN_GROUPS:
        rest = sum(len(members) for members in list(groups.values())[_SHOWN_GROUPS:])
        yield f"  and {rest} more exchanges: --format json has them all"


def _told(difference: Difference) -> list[str]:
    """An exchange and its differences, a line each; line breaks in values are told as such."""
    pair = difference.pair
    lines = [_cut(f"  {pair.either.method} {pair.either.endpoint or pair.either.path}", WIDTH)]
    if pair.replayed is None:
        lines.append("      only in the recording")
    elif pair.recorded is None:
        lines.append("      only in the replay")
    for changed in difference.changed[:_SHOWN_FIELDS]:
        lines += _changed_text(changed)
    if len(difference.changed) > _SHOWN_FIELDS:
        lines.append(f"      and {len(difference.changed) - _SHOWN_FIELDS} more fields")
    return [_plain(line) for line in lines]


def _changed_text(changed: Changed) -> Iterator[str]:
    """In one line where it fits, else each value in a line of its own."""
    old, new = _value(changed.recorded), _value(changed.replayed)
    line = f"      {changed.field:<24} {old} -> {new}"
    if len(line) <= WIDTH:
        yield line
        return
    yield _cut(f"      {changed.field}", WIDTH)
    yield _cut(f"        recorded  {old}", WIDTH)
    yield _cut(f"        replayed  {new}", WIDTH)


def _value(value: object) -> str:
    if value is ABSENT or value is None:
        return "-"
    if isinstance(value, list):
        return " ".join(map(_value, value)) or "-"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _plain(text: str) -> str:
    """Without control characters: a bundle is a stranger's, and may hold what moves a terminal's cursor."""
    return "".join(char if char.isprintable() else "?" for char in text)
