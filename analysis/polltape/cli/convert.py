"""``polltape convert``: captures, HAR files and mitmproxy flow files into each other."""

from __future__ import annotations

from pathlib import Path

import click

from polltape.cli.inputs import par_key_option, protocol_option
from polltape.errors import UsageError


@click.command(
    epilog="""\b
Examples:
  polltape convert shop.har captures     from a browser; redacted
  polltape convert captures shop.har     a capture for tools that read HAR
  polltape convert session.mitm session.parquet
"""
)
@click.argument("source", metavar="IN", type=click.Path())
@click.argument("out", metavar="OUT", type=click.Path())
@click.option("--force", is_flag=True, help="Replace the file OUT; add to the folder OUT.")
@protocol_option
@par_key_option
def convert(source: str, out: str, force: bool, par_key: str | None) -> None:
    """Convert IN to OUT; the kinds are told by the endings.

    A capture folder (no ending), .parquet, .har, .mitm or .flow. What is imported is always redacted.
    """
    from polltape.cli.inputs import capture_of, check_captures, redaction

    check_captures([source])
    if out in ("", "-"):  # Path("") is the folder that one is in
        raise UsageError(f"OUT is {out or 'empty'}: only files and folders are written", hint="name one")
    from polltape.capture.converting import target_kind, write_capture
    from polltape.capture.redaction import Redactor
    from polltape.protocols import observe

    kind = target_kind(Path(out), [source], force=force)
    capture = capture_of([source], par_key)
    redactor = Redactor.of_user()
    redact = redaction(redactor, par_key)
    count = write_capture(capture, Path(out), kind, redact=redact, observe=observe, key=redactor.key)
    left_out = f", {capture.skipped} left out" if capture.skipped else ""
    click.echo(f"{out}: {count} exchange{'s'[: count != 1]} written{left_out}", err=True)
