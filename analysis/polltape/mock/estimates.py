"""Durations from a capture: what its operations took, for a scenario to draw from.

The estimate is Kaplan-Meier's, with the unended operations censored when they were last known to be pending: what
the capture cannot tell, how long they would have taken, stays "never ends", as in the mock of that capture.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from msgspec.structs import replace

from polltape.errors import ConfigError
from polltape.mock.scenario_tables import Drawn


def estimated(drawn: Drawn, folder: Path) -> Drawn:
    """A duration from a capture, written out.

    ``drawn.at`` is where in its bracket (lower, upper] an operation ended.  Raises InputError for a capture that
    cannot be read, and ConfigError for one without operations of that kind.
    """
    from polltape.capture.reading import open_capture
    from polltape.capture.redaction import Redactor
    from polltape.measures.analysis import analyse
    from polltape.measures.statistics import kaplan_meier
    from polltape.protocols import observe

    redactor = Redactor.of_user()
    named = folder / str(drawn.capture)
    capture = open_capture([str(named)], redact=redactor.redact, observe=observe, key=redactor.key)
    table = analyse(capture).operations
    whole = table[~table["truncated"].astype(bool)]
    group = whole[whole["kind"] == drawn.kind]
    if group.empty:
        known = ", ".join(sorted(set(whole["kind"].dropna()))) or "none"
        raise ConfigError(f"{named} has no operation of kind {drawn.kind!r}", hint=f"it has: {known}")
    lower, upper = group["lower_s"].to_numpy(float), group["upper_s"].to_numpy(float)
    ended = ~np.isnan(upper)
    instant = {"lower": lower, "middle": (lower + upper) / 2}.get(drawn.at or "upper", upper)
    curve = kaplan_meier(np.where(ended, instant, lower), ended)
    steps = curve.events > 0
    shares = -np.diff(curve.survival[steps], prepend=1.0)
    written = {"seconds": curve.times[steps].tolist(), "shares": shares.tolist()} if steps.any() else {}
    return replace(drawn, capture=None, kind=None, at=None, **(written or {"seconds": [0.0], "shares": [0.0]}))
