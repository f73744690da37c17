"""``polltape bundle``."""

from __future__ import annotations

from pathlib import Path

import click

from polltape.cli.inputs import protocol_option


@click.command()
@protocol_option
@click.argument("path")
@click.option("--operation", required=True, metavar="ID", help="Its id or the beginning of it: see polltape show PATH.")
@click.option("-o", "--output", required=True, metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--force", is_flag=True, help="Replace FILE if it is there already.")
def bundle(path: str, operation: str, output: Path, force: bool) -> None:
    """Make a bug report of one operation, one small file.

    It holds the redacted exchanges of the operation and what it depends on, what was found in it, and a
    README with the commands.

    \b
    polltape bundle captures --operation shopify-checkout:0199a3 -o BUG.polltape
    polltape replay BUG.polltape
    """
    from polltape.cli.inputs import capture_of, check_captures

    check_captures([path])
    from polltape.replay.bundle import SUFFIX, write_bundle
    from polltape.replay.case import case_of, listed

    if output.suffix.lower() != SUFFIX:
        raise click.BadParameter(f"{output}: a bundle's name ends in {SUFFIX}", param_hint="--output")
    case = case_of(capture_of([path]), [operation])
    write_bundle(case, output, force=force)
    codes = sorted({found.code for found in case.findings})
    target = case.targets[0]
    click.echo(f"{output}: {target.operation_id}, {len(case.exchanges)} exchanges, {output.stat().st_size} bytes")
    if codes:
        click.echo(f"findings: {listed(codes)}")
    else:
        click.echo("no finding in this operation: its replay shows what happened, but there is no bug to reproduce")
    for missed in case.left_out:
        click.echo(f"warning: {missed.code} is left out: these exchanges alone do not show it", err=True)
    click.echo(f"next: polltape replay {output}")
