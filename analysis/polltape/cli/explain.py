"""``polltape explain``."""

from __future__ import annotations

import click

from polltape.errors import UsageError


@click.command()
@click.argument("codes", nargs=-1, metavar="[CODE]...")
@click.option("--all", "every", is_flag=True, help="Every code's page, one after the other.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def explain(codes: tuple[str, ...], every: bool, form: str) -> None:
    """What a finding code means, why it matters, and how to fix it.  Without a code: all codes, one line each.

    \b
    polltape explain RA001
    polltape explain --all > codes.md
    """
    from polltape.measures.codes import CODES
    from polltape.report.code_pages import page

    if every and codes:
        raise UsageError("--all explains every code; leave it out, or the codes")
    wanted = [page(code) for code in (CODES if every or (form == "json" and not codes) else codes)]
    if form == "json":
        import json

        click.echo(json.dumps([explained.as_dict() for explained in wanted], indent=2, ensure_ascii=False))
    elif wanted:
        click.echo("\n\n".join(explained.markdown for explained in wanted), nl=False)
    else:
        for code in CODES.values():
            click.echo(f"{code.code}  {code.fault:7}  {code.title}")
