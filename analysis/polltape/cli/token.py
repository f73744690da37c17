"""``polltape token``."""

from __future__ import annotations

import click


@click.command()
@click.argument("value")
def token(value: str) -> None:
    """The pseudonym of a VALUE that you know, to find it in a capture that your key redacted.

    \b
    polltape token 5cb4149503d186d8eec0ad2c4b9c6ea7
    """
    from polltape.capture.redaction import Redactor

    click.echo(Redactor.of_user().pseudonym(value))
