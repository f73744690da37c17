"""What differs between a recording and its replay, exchange by exchange.

Compared of each answer: status or error, headers, the fields of a JSON body (other bodies as a whole), the wait
that it asked for, its verdict, the findings that it is the last proof of; and of each request when it came.
What is known to be volatile is counted, not shown (:mod:`~polltape.replay.volatile`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from polltape.capture.redaction_rules import DEFAULT_RULES, normalise
from polltape.exchange import Exchange
from polltape.replay.carrying import by_name, cookies_set, json_of
from polltape.replay.volatile import Ignored, alike, local

if TYPE_CHECKING:
    from polltape.replay.sides import Side

MOST_LEAVES: Final = 5000
"""Values of a body that are compared one by one; a larger one is compared as a whole."""


class Absent:
    """Stands for a value that one side does not have."""

    def __repr__(self) -> str:
        return "absent"


ABSENT: Final = Absent()


@dataclass(frozen=True, slots=True)
class Changed:
    """One field and its two values, plain JSON values or :data:`ABSENT`."""

    field: str
    recorded: Any
    replayed: Any


@dataclass(frozen=True, slots=True)
class Pair:
    """An exchange of the recording and its counterpart; one of them may be missing.

    ``operation``: the recorded operation's id (the replayed one's where that is alone), None outside of any.
    ``place`` as in :class:`~polltape.replay.case.Named`.
    """

    operation: str | None
    place: str
    recorded: Side | None
    replayed: Side | None

    @property
    def either(self) -> Exchange:
        """The recorded exchange, else the replayed one."""
        side = self.recorded or self.replayed
        assert side is not None
        return side.exchange


@dataclass(frozen=True, slots=True)
class Difference:
    """A pair, what differs in it and matters, and the volatile fields that differ, too."""

    pair: Pair
    changed: tuple[Changed, ...] = ()
    volatile: tuple[str, ...] = ()

    @property
    def differs(self) -> bool:
        """Whether anything does that matters, or a side is missing."""
        return bool(self.changed) or self.pair.recorded is None or self.pair.replayed is None


@dataclass(frozen=True, slots=True)
class Differences:
    """All of a replay, in the recording's order."""

    every: tuple[Difference, ...]

    @property
    def differing(self) -> list[Difference]:
        """Those that differ."""
        return [difference for difference in self.every if difference.differs]

    @property
    def volatile(self) -> Counter[str]:
        """How often each volatile field differed."""
        return Counter(field for difference in self.every for field in difference.volatile)


@dataclass(frozen=True, slots=True)
class Comparing:
    """What is compared.

    ``ignored`` says which fields are not.  ``timing``: whether the instants of requests are; a replay at another
    pace keeps none.  ``tolerance_s`` and ``share``: two times are the same within the larger of so many seconds
    and that part of the recorded one.
    """

    ignored: Ignored = Ignored()  # noqa: RUF009 - never changed
    timing: bool = True
    tolerance_s: float = 0.05
    share: float = 0.05


def differences(pairs: Iterable[Pair], comparing: Comparing) -> Differences:
    """Compare the two sides of every pair."""
    return Differences(tuple(_difference(pair, comparing) for pair in pairs))


def _difference(pair: Pair, comparing: Comparing) -> Difference:
    if pair.recorded is None or pair.replayed is None:
        return Difference(pair)
    changed, volatile = [], []
    for one in _changes(pair.recorded, pair.replayed, comparing):
        if comparing.ignored(one.field) or _is_stand_in(one) or alike(one.field, one.recorded, one.replayed):
            volatile.append(one.field)
        else:
            changed.append(one)
    return Difference(pair, tuple(changed), tuple(volatile))


def _changes(old: Side, new: Side, comparing: Comparing) -> Iterator[Changed]:
    """Every field in which they differ, volatile or not."""
    for field in ("status", "error"):
        yield from _unless_same(field, getattr(old.exchange, field), getattr(new.exchange, field))
    yield from _headers(old.exchange, new.exchange)
    yield from _bodies(old.exchange, new.exchange)
    yield from _asked(old.exchange, new.exchange, comparing.tolerance_s)
    yield from _unless_same("verdict", old.verdict, new.verdict)
    yield from _unless_same("findings", list(old.findings), list(new.findings))
    if comparing.timing:
        for field in ("waited_s", "elapsed_s"):
            one, other = getattr(old, field), getattr(new, field)
            if one is None or other is None:
                continue
            if abs(one - other) > max(comparing.tolerance_s, comparing.share * abs(one)):
                yield Changed(field, round(one, 6), round(other, 6))


def _unless_same(field: str, one: Any, other: Any) -> Iterator[Changed]:
    if one != other:
        yield Changed(field, one, other)


def _asked(old: Exchange, new: Exchange, tolerance_s: float) -> Iterator[Changed]:
    """The wait asked for in seconds; a date is as good as a second, and ``pollAfter`` as its answer was quick."""
    one, other = old.instruction, new.instruction
    if one is None or other is None:
        yield from _unless_same("asked_s", one and one.asked_s, other and other.asked_s)
    elif (one.asked_s is None) != (other.asked_s is None):
        yield Changed("asked_s", one.asked_s, other.asked_s)
    elif one.asked_s is not None and other.asked_s is not None:
        tolerance_s = 1.0 if "date" in (one.tolerance, other.tolerance) else tolerance_s
        if abs(one.asked_s - other.asked_s) > tolerance_s:
            yield Changed("asked_s", one.asked_s, other.asked_s)


# --------------------------------------------------------------------------------------------- headers


def _headers(old: Exchange, new: Exchange) -> Iterator[Changed]:
    one, other = by_name(old.response_headers), by_name(new.response_headers)
    for name in sorted(one.keys() | other.keys()):
        if name == "set-cookie":
            yield from _mappings("header:set-cookie.", cookies_set(old), cookies_set(new))
            continue
        values = [", ".join(map(local, lines[name])) if name in lines else ABSENT for lines in (one, other)]
        yield from _unless_same(f"header:{name}", *values)


# ---------------------------------------------------------------------------------------------- bodies


def _bodies(old: Exchange, new: Exchange) -> Iterator[Changed]:
    one, other = old.response_body, new.response_body
    if one.not_stored or other.not_stored or one.truncated or other.truncated:
        return
    sides = [_leaves(body.content) for body in (one, other)]
    if sides[0] is None or sides[1] is None:
        whole = [_whole(body.content) for body in (one, other)]
        yield from _unless_same("body:", *whole)
        return
    yield from _mappings("body:", sides[0], sides[1])


def _mappings(prefix: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[Changed]:
    for name in dict.fromkeys((*one, *other)):
        old, new = one.get(name, ABSENT), other.get(name, ABSENT)
        if not _same_value(old, new):
            yield Changed(f"{prefix}{name}", old, new)


def _same_value(one: Any, other: Any) -> bool:
    """JSON's values: true is not 1; a URL is the same whoever's server it names."""
    if isinstance(one, bool) != isinstance(other, bool):
        return False
    if isinstance(one, str) and isinstance(other, str):
        return one == other or local(one) == local(other)
    return bool(one == other)


def _leaves(content: bytes | None) -> dict[str, Any] | None:
    """The values of a JSON body by their paths; None for any other body."""
    if not content:
        return {}
    value = json_of(content)
    if value is None:
        return None
    found: dict[str, Any] = {}
    pending = [("", value)]
    while pending:
        path, value = pending.pop()
        inner = _inner(value)
        if inner:
            pending += [(f"{path}.{name}" if path else str(name), part) for name, part in reversed(inner)]
        elif path or value not in ({}, []):
            found[path] = value
        if len(found) > MOST_LEAVES:
            return None
    return found


def _inner(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, dict):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, list) else []


def _whole(content: bytes | None) -> str:
    return (content or b"").decode("utf-8", "replace")


_REDACTED: Final = DEFAULT_RULES.table("body")


def _is_stand_in(changed: Changed) -> bool:
    """Whether the values of a body's field were made up by the redaction, or by the mock for what that dropped."""
    if not changed.field.startswith("body:") or ABSENT in (changed.recorded, changed.replayed):
        return False
    last = next((part for part in reversed(changed.field[5:].split(".")) if not part.isdigit()), "")
    return normalise(last) in _REDACTED
