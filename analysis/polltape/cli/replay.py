"""``polltape replay``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from polltape.cli.inputs import Seconds, par_key_option, protocol_option
from polltape.errors import UsageError

if TYPE_CHECKING:
    from polltape.exchange import Exchange
    from polltape.replay.case import Case
    from polltape.replay.plan import Timing
    from polltape.replay.runner import Replayed


@click.command()
@protocol_option
@click.argument("path")
@click.option(
    "--operation", "operations", metavar="ID", multiple=True, help="Only this one; its id or its beginning. Repeatable."
)
@click.option("--client", metavar="COMMAND", help="Run this client against the mock instead of the recorded requests.")
@click.option("--client-timeout", type=Seconds(min=0.1), default=120.0, show_default=True, metavar="SECONDS")
@click.option("--target", metavar="URL", help="Send the requests to this server instead of the mock.")
@click.option("--header", "headers", multiple=True, metavar="NAME=env:VAR", help="A credential for the target.")
@click.option("--allow-writes", multiple=True, metavar="HOST", help="Let requests that change something go to it.")
@click.option(
    "--timing",
    type=click.Choice(["recorded", "asap", "obey"]),
    default="recorded",
    show_default=True,
    help="As recorded, each as soon as its answers are there, or waiting as the server says now.",
)
@click.option("--speed", type=click.FloatRange(0.001, 1000), default=1.0, show_default=True, metavar="X")
@click.option("--virtual", is_flag=True, help="In simulated time: nobody waits, twice the same to the byte.")
@par_key_option
@click.option("--record", metavar="DIR", type=click.Path(path_type=Path, file_okay=False), help="Keep what comes back.")
@click.option(
    "--ignore",
    metavar="RULE",
    multiple=True,
    help="A field that may differ, or @FILE with such rules.",
)
@click.option("--exact", is_flag=True, help="Exit status 1 also where anything differs that matters.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def replay(
    path: str,
    operations: tuple[str, ...],
    client: str | None,
    client_timeout: float,
    target: str | None,
    headers: tuple[str, ...],
    allow_writes: tuple[str, ...],
    timing: str,
    speed: float,
    virtual: bool,
    par_key: str | None,
    record: Path | None,
    ignore: tuple[str, ...],
    exact: bool,
    form: str,
) -> int:
    """Replay a bug report or a recording: is it found again?

    PATH is a .polltape file, or a capture in any form that `polltape analyze` reads.  What differs between
    recording and replay is listed exchange by exchange.  Exit status 0: reproduced; 1: not reproduced.

    \b
    polltape replay BUG.polltape
    polltape replay BUG.polltape --client 'python my_client.py'
    polltape replay captures --operation shopify-checkout:0199a3 --speed 10
    polltape replay captures --virtual --exact --ignore 'body:*.updated_at'
    polltape replay BUG.polltape --target https://staging.example \\
        --header X-Api-Key=env:KEY
    """
    _check(client, target, headers or allow_writes, timing, speed, virtual)
    from polltape.replay.telling import as_json, as_text, fix_command

    rules = _rules(ignore)
    case = _case(path, operations, par_key)
    if client is not None:
        done = _by_client(case, client, client_timeout, par_key, rules)
    else:
        done = _by_recording(case, target, headers, allow_writes, timing, speed, virtual, par_key, rules)
    for note in done.notes:
        click.echo(f"note: {note}", err=True)
    if record is not None:
        for file in done.write(record):
            click.echo(f"recorded to {file}", err=True)
    test = fix_command(path, operations, done.verdict)
    told = as_json if form == "json" else as_text
    click.echo(told(done.verdict, done.differences, test), nl=False)
    return 0 if done.verdict.reproduced and not (exact and done.differences.differing) else 1


def _rules(ignore: tuple[str, ...]) -> list[str]:
    """The rules given, those of files with them.  Raises UsageError and ConfigError."""
    from polltape.replay.volatile import checked, read_rules

    rules: list[str] = []
    for rule in ignore:
        rules += read_rules(Path(rule[1:])) if rule.startswith("@") else [checked(rule)]
    return rules


def _check(
    client: str | None, target: str | None, for_target: object, timing: str, speed: float, virtual: bool
) -> None:
    """Raises UsageError for options that do not go together."""
    if client is not None and (target is not None or virtual or speed != 1 or timing != "recorded"):
        raise UsageError(
            "--client runs at its own pace against the mock", hint="leave out --target, --virtual, --speed and --timing"
        )
    if target is not None and (virtual or speed != 1):
        raise UsageError("--target is a real server", hint="leave out --virtual and --speed: its time is not ours")
    if for_target and target is None:
        raise UsageError("--header and --allow-writes are for a --target")


def _case(path: str, operations: tuple[str, ...], par_key: str | None) -> Case:
    from polltape.cli.inputs import capture_of
    from polltape.replay.bundle import is_bundle, read_bundle
    from polltape.replay.case import case_of, find_operation

    if not is_bundle(Path(path)):
        return case_of(capture_of([path], par_key), operations)
    case = read_bundle(Path(path))
    for operation in operations:
        find_operation([target.operation_id for target in case.targets], operation)
    return case


def _by_recording(
    case: Case,
    target: str | None,
    headers: tuple[str, ...],
    allow_writes: tuple[str, ...],
    timing: str,
    speed: float,
    virtual: bool,
    par_key: str | None,
    ignore: list[str],
) -> Replayed:
    from polltape.capture.keys import given_secret
    from polltape.replay.runner import Progress, replay_on_mock, replay_on_target

    def begins(seconds: float) -> None:
        click.echo(f"replaying {len(case.exchanges)} exchanges, about {seconds:.0f} s", err=True)

    def said(exchange: Exchange) -> None:
        click.echo(f"  {exchange.method} {exchange.endpoint} -> {exchange.error or exchange.status}", err=True)

    pace: Timing = timing  # type: ignore[assignment]
    progress = Progress(begins, said)
    if target is not None:
        return replay_on_target(
            case,
            target,
            timing=pace,
            headers=headers,
            allow_writes=allow_writes,
            ignore=ignore,
            shared_id=given_secret(par_key, "--par-key") if par_key else None,
            progress=progress,
        )
    return replay_on_mock(case, timing=pace, speed=speed, virtual=virtual, ignore=ignore, progress=progress)


def _by_client(case: Case, command: str, timeout_s: float, par_key: str | None, ignore: list[str]) -> Replayed:
    from polltape.cli.record import find_mitmdump, mitmdump_arguments
    from polltape.replay.client import replay_by_client

    recorder = [find_mitmdump(), *mitmdump_arguments(None, ())]
    return replay_by_client(case, command, recorder=recorder, timeout_s=timeout_s, par_key=par_key, ignore=ignore)
