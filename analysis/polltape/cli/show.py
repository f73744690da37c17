"""``polltape show``."""

from __future__ import annotations

import click

from polltape.cli.inputs import protocol_option


@click.command()
@protocol_option
@click.argument("path")
@click.argument("operation", required=False)
def show(path: str, operation: str | None) -> None:
    """The operations of a capture, or the timeline of one.

    OPERATION is an operation's id or the beginning of it, with or without its protocol.

    \b
    polltape show captures
    polltape show captures shopify-checkout:0199a3
    """
    from polltape.cli.inputs import capture_of, check_captures

    check_captures([path])
    from polltape.measures.analysis import analyse
    from polltape.report import show_operation, show_operations

    analysis = analyse(capture_of([path]))
    click.echo(show_operations(analysis) if operation is None else show_operation(analysis, operation), nl=False)
