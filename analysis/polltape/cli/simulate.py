"""``polltape simulate``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from polltape.cli.inputs import Seconds, capture_of, chart_options, check_captures, check_figure, deliver
from polltape.errors import InputError, UsageError

if TYPE_CHECKING:
    from polltape.measures.policies import Policy


@click.command()
@click.argument("path")
@click.option("--policy", "policies", multiple=True, metavar="POLICY", help="May be given several times; see above.")
@click.option(
    "--give-up",
    type=Seconds(min=0, min_open=True),
    metavar="SECONDS",
    help="Send no poll after that time. [default: poll until the end]",
)
@click.option("--samples", type=click.IntRange(1, 10_000_000), metavar="N", help="Operations played. [default: 10000]")
@chart_options(seed="completions within brackets, and of jitter", figure="polls against added latency")
def simulate(
    path: str,
    policies: tuple[str, ...],
    give_up: float | None,
    samples: int | None,
    seed: int | None,
    figure: str | None,
    form: str,
    output: str | None,
) -> None:
    """What if clients polled otherwise: polls sent, latency added, waits obeyed.

    Plays polling policies against the completion times that a capture shows.  PATH is what `polltape analyze`
    reads.  POLICY is one of:

    \b
    fixed:2              always 2 s after the answer
    obey                 as asked; obey:2 waits 2 s where nothing was asked
    exponential          :first=1,factor=2,max=30,jitter=full (or equal, none)
    hint+backoff         as asked, and that exponential on top
    FILE.py:FUNCTION     your own: def wait(poll, asked_s, elapsed_s, rng)

    \b
    polltape simulate captures
    polltape simulate captures --policy obey --policy fixed:0.5 --figure out.png
    polltape simulate shop.har --policy mine.py:wait --give-up 60 --format json
    """
    check_figure(figure)
    check_captures([path])
    from polltape.measures.policies import USUAL, policy_named

    chosen = [_from_file(name) if _is_file(name) else policy_named(name) for name in policies or USUAL]
    if len({policy.name for policy in chosen}) < len(chosen):
        raise UsageError("--policy: the same one is named twice")
    from polltape.measures.analysis import analyse
    from polltape.measures.statistics import SEED
    from polltape.measures.whatif import SAMPLES
    from polltape.measures.whatif import simulate as simulated

    simulation = simulated(
        analyse(capture_of([path])),
        chosen,
        samples=SAMPLES if samples is None else samples,
        give_up_s=give_up,
        seed=SEED if seed is None else seed,
    )
    deliver(simulation, "simulation", figure=figure, form=form, output=output)


def _is_file(name: str) -> bool:
    return name.endswith(".py") or ".py:" in name


def _from_file(name: str) -> Policy:
    """The user's own policy: a file that they named is run, as Python would; nothing of a capture ever is."""
    import runpy

    from polltape.measures.policies import Own

    path, _, function = name.partition(".py")
    path, function = f"{path}.py", function.removeprefix(":") or "wait"
    try:
        found = runpy.run_path(path).get(function)
    except OSError as error:
        raise InputError(f"--policy {name}: cannot read {path}: {error.strerror}", hint="name a Python file") from error
    except SyntaxError as error:
        raise InputError(f"--policy {name}: {path}, line {error.lineno}: {error.msg}") from error
    except (Exception, SystemExit) as error:  # sys.exit() in it would end us without a word
        raise InputError(f"--policy {name}: {type(error).__name__} while {path} ran: {error}") from error
    if not callable(found):
        raise InputError(
            f"--policy {name}: no function {function!r} in {path}",
            hint="write def wait(poll, asked_s, elapsed_s, rng), or name yours as FILE.py:FUNCTION",
        )
    return Own(name, found)
