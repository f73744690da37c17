"""``polltape compare``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from polltape.cli.inputs import Seconds, capture_of, chart_options, check_captures, check_figure, deliver
from polltape.errors import UsageError

if TYPE_CHECKING:
    from polltape.measures.comparison import Bounds


@click.command()
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@click.option(
    "--max-slower", default="0", show_default=True, metavar="SECONDS|PERCENT", help="Slower than that fails: 0.5 or 10%"
)
@click.option(
    "--max-drop", default="0", show_default=True, metavar="SHARE", help="A lower compliance rate fails: 0.05 or 5%."
)
@click.option(
    "--horizon",
    type=Seconds(min=0, min_open=True),
    metavar="SECONDS",
    help="Compare times up to there. [default: as far as both captures tell]",
)
@click.option("--by-host/--across-hosts", default=None, help="Tell hosts apart. [default: where A and B share one]")
@chart_options(seed="permutations and resamples", figure="both captures' survival curves")
def compare(
    before: str,
    after: str,
    max_slower: str,
    max_drop: str,
    horizon: float | None,
    by_host: bool | None,
    seed: int | None,
    figure: str | None,
    form: str,
    output: str | None,
) -> int:
    """What changed from capture A to capture B, and whether it is worse than allowed.

    A and B are captures in any form that `polltape analyze` reads.  Exit status 1: in some group the whole 95 %
    interval of the change, Holm-corrected, lies beyond the bound.

    \b
    polltape compare captures/monday captures/tuesday
    polltape compare before.har after.har --max-slower 10% --max-drop 0.05
    polltape compare captures/old captures/new --figure curves.svg --format json
    """
    check_figure(figure)
    check_captures([before, after])
    bounds = _bounds(max_slower, max_drop)
    from polltape.measures.analysis import analyse
    from polltape.measures.comparison import compare as compared
    from polltape.measures.statistics import SEED

    first, second = analyse(capture_of([before])), analyse(capture_of([after]))
    comparison = compared(
        first, second, bounds=bounds, horizon_s=horizon, by_host=by_host, seed=SEED if seed is None else seed
    )
    deliver(comparison, "comparison", figure=figure, form=form, output=output)
    return int(comparison.regressions > 0)


def _bounds(max_slower: str, max_drop: str) -> Bounds:
    from polltape.measures.comparison import Bounds

    share = max_slower.strip().endswith("%")
    slower = _number(max_slower, "--max-slower", "seconds such as 0.5, or per cent such as 10%")
    drop = _number(max_drop, "--max-drop", "a share from 0 to 1 such as 0.05, or per cent such as 5%")
    if drop > 1:
        raise UsageError(f"--max-drop {max_drop!r} is more than all: write a share such as 0.05, or 5%")
    return Bounds(slower_s=0.0 if share else slower, slower_share=slower if share else None, drop=drop)


def _number(text: str, option: str, what: str) -> float:
    """A number from 0 on; with ``%`` a hundredth of it."""
    bare = text.strip()
    try:
        number = float(bare.removesuffix("%")) / (100 if bare.endswith("%") else 1)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise UsageError(f"{option} {text!r}: {what}, at least 0")
    return number
