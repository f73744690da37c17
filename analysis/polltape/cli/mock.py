"""``polltape mock``: a server that answers as recorded, or from a scenario, by elapsed time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from polltape.cli.inputs import check_captures, par_key_option, protocol_option
from polltape.errors import UsageError

if TYPE_CHECKING:
    from polltape.mock.core import Mock
    from polltape.mock.faults import Fault
    from polltape.mock.tls import Certificates


@click.command(
    epilog="""\b
Examples:
  polltape mock captures --speed 10
  polltape mock --scenario shopify-checkout --port 0
  polltape mock --scenario azure-lro --fault 429-burst=0.05,retry_after=2
  polltape mock --print-scenario azure-lro > my-api.toml
  polltape mock --scenario my-api.toml
"""
)
@protocol_option
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--scenario", metavar="NAME|FILE", help="Play a built-in scenario, or a .toml file of yours.")
@click.option("--print-scenario", metavar="NAME", help="Print a built-in scenario, to copy and change it.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8202, show_default=True, help="0: a free one.")
@click.option("--tls", is_flag=True, help="Speak HTTPS, with an authority made for this run.")
@click.option("--speed", type=float, default=1.0, show_default=True, metavar="X", help="X times faster than recorded.")
@click.option(
    "--complete-at",
    type=click.Choice(["upper", "lower", "middle"]),
    default="upper",
    show_default=True,
    help="Where between the last pending answer and the final one a recorded operation ends.",
)
@click.option(
    "--by",
    type=click.Choice(["time", "count"]),
    default="time",
    show_default=True,
    help="What moves a recorded operation on: elapsed time, or (for comparison) the number of polls.",
)
@click.option("--latency", is_flag=True, help="Let recorded answers take as long as they took.")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="KIND[=SHARE][,KEY=VALUE]...|FILE",
    help="Spoil a share of the answers, the same ones again; or a .toml file of [[fault]] tables.",
)
@par_key_option
@click.option("--operation", metavar="ID", help="Play this recorded operation for every client.")
@click.option("--seed", type=int, help="Another seed for tokens and drawn durations.")
@click.option("-v", "--verbose", is_flag=True, help="One line a request.")
def mock(
    paths: tuple[str, ...],
    scenario: str | None,
    print_scenario: str | None,
    host: str,
    port: int,
    tls: bool,
    speed: float,
    complete_at: str,
    by: str,
    latency: bool,
    faults: tuple[str, ...],
    par_key: str | None,
    operation: str | None,
    seed: int | None,
    verbose: bool,
) -> None:
    """Answer as recorded, or from a scenario, by elapsed time.

    Each client's operation has a clock of its own.  Point the client at the address that is printed; nothing is
    ever forwarded.  GET /__polltape shows every operation and its clock.
    """
    if paths and scenario is None:
        check_captures(paths)
    from polltape.mock.server import serve
    from polltape.mock.tls import certificates

    if print_scenario is not None:
        from polltape.mock.scenario import scenario_text

        click.echo(scenario_text(print_scenario), nl=False)
        return
    recorded = {
        "complete_at": complete_at,
        "by": by,
        "latency": "all" if latency else "none",
        "operation": operation,
        "par_key": par_key,
    }
    made = _mock(paths, scenario, recorded, speed=speed, seed=seed, faults=_faults(faults))
    for note in made.notes:
        _say(f"note: {note}")
    with ExitStack() as stack:
        shown = None
        if tls:
            shown = stack.enter_context(certificates((*made.hosts, *_named(host))))
        serve(made, host=host, port=port, certificates=shown, log=_say if verbose else None, ready=_ready(shown))


def _mock(
    paths: tuple[str, ...],
    scenario: str | None,
    recorded: dict[str, Any],
    *,
    speed: float,
    seed: int | None,
    faults: tuple[Fault, ...],
) -> Mock:
    """The mock that the arguments ask for.  Raises UsageError where they ask for none, or for two."""
    from polltape.mock.core import Mock

    if bool(paths) == (scenario is not None):
        said = "a capture and a scenario at once" if paths else "neither a capture nor a scenario"
        raise UsageError(said, hint="name a capture folder or file, or --scenario shopify-checkout")
    if scenario is not None:
        if recorded["operation"] is not None:
            raise UsageError("--operation pins a recorded operation; a scenario has none", hint="name a capture")
        for option, given in _RECORDED_ONLY.items():
            if given(recorded):
                raise UsageError(f"{option} is about what was recorded; a scenario has nothing recorded")
        return Mock.from_scenario(scenario, speed=speed, seed=seed, faults=faults)
    from polltape.capture.keys import given_secret
    from polltape.cli.inputs import capture_of

    capture = capture_of(paths, recorded["par_key"])
    if recorded["par_key"]:
        recorded["par_key"] = given_secret(recorded["par_key"], "--par-key")
    return Mock.from_capture(capture, **recorded, speed=speed, seed=seed or 0, faults=faults)


_RECORDED_ONLY: Final[dict[str, Callable[[dict[str, Any]], bool]]] = {
    "--by count": lambda given: given["by"] == "count",
    "--latency": lambda given: given["latency"] == "all",
    "--complete-at": lambda given: given["complete_at"] != "upper",
    "--par-key": lambda given: given["par_key"] is not None,
}


def _faults(given: tuple[str, ...]) -> tuple[Fault, ...]:
    """The faults of every option, in their order."""
    if not given:
        return ()
    from polltape.mock.faults import fault_of, load_faults

    found: list[Fault] = []
    for text in given:
        found += load_faults(Path(text)) if text.endswith(".toml") else [fault_of(text)]
    return tuple(found)


def _named(host: str) -> tuple[str, ...]:
    """The host as a name in the certificate; the address that means all addresses is none."""
    return () if host in ("0.0.0.0", "::", "") else (host,)


def _ready(shown: Certificates | None) -> Callable[[str], None]:
    def ready(url: str) -> None:
        if shown is not None:
            _say(f"certificate authority: {shown.authority}")
        _say(f"listening on {url}")

    return ready


def _say(line: str) -> None:
    click.echo(line, err=True)
