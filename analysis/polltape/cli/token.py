"""``polltape token``."""

from __future__ import annotations

import click


@click.command()
@click.argument("value")
def token(value: str) -> None:
    """The pseudonym of a VALUE, to find it in a capture.

    Your key and your redaction rules make it: a capture of another key has another pseudonym for it.

    \b
    polltape token 5cb4149503d186d8eec0ad2c4b9c6ea7
    """
    from polltape.capture.redaction import Redactor

    if not value.strip():
        raise click.UsageError("VALUE is empty")
    click.echo(Redactor.of_user().pseudonym(value))
