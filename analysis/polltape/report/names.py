"""Names that a person can copy into the next command."""

from __future__ import annotations

import shlex
from collections import Counter
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from polltape.errors import UsageError
from polltape.report.plain import printable

if TYPE_CHECKING:
    from polltape.measures.analysis import Analysis

SHORTEST: Final = 8
"""Characters of a short name at least, so that it still names one operation when the capture has grown."""


def shell_paths(analysis: Analysis) -> str:
    """The source as an argument for a shell; ``PATH`` where there are several."""
    return shlex.quote(printable(analysis.sources[0])) if len(analysis.sources) == 1 else "PATH"


def short_ids(analysis: Analysis) -> dict[str, str]:
    """For each operation the shortest beginning of its id, without protocol, that names it alone."""
    ids = [str(name) for name in analysis.operations["id"]]
    times = Counter(_bare(name) for name in ids)
    bare = sorted(times)
    needed = {}
    for index, name in enumerate(bare):
        beside = bare[max(0, index - 1) : index] + bare[index + 1 : index + 2]
        shared = max((_shared(name, other) for other in beside), default=0)
        needed[name] = name[: max(shared + 1, SHORTEST)]
    return {name: needed[_bare(name)] if times[_bare(name)] == 1 else name for name in ids}


def short_id(analysis: Analysis, operation: str) -> str:
    """That of one operation as :func:`short_ids` has it, without the others'."""
    name, ids = _bare(operation), analysis.operations["id"]
    alike = [_bare(other) for other in ids[ids.str.contains(name[:SHORTEST], regex=False)]]
    if alike.count(name) > 1:
        return operation
    return name[: max([SHORTEST, *(_shared(name, other) + 1 for other in alike if other != name)])]


def _shared(one: str, other: str) -> int:
    """How many characters two texts have in common at their beginning."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def find_operation(analysis: Analysis, wanted: str) -> str:
    """The id of the one operation that ``wanted`` names: an id or its beginning, with or without protocol.

    Raises UsageError where it names none or several.
    """
    ids = [str(name) for name in analysis.operations["id"]]
    found = [name for name in ids if wanted in (name, _bare(name))]
    found = found or [name for name in ids if name.startswith(wanted) or _bare(name).startswith(wanted)]
    if len(found) == 1:
        return found[0]
    path = shell_paths(analysis)
    if found:
        raise UsageError(f"{wanted!r} is the beginning of {len(found)} operations: {', '.join(found[:3])} …")
    near = get_close_matches(wanted, ids + [_bare(name) for name in ids], n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"`polltape show {path}` lists them"
    raise UsageError(f"no operation {wanted!r} in {', '.join(analysis.sources)}", hint=hint)


def _bare(operation: str) -> str:
    return operation.partition(":")[2] or operation
