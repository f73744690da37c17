"""The command line: arguments in, one call, output out.

A command's module is imported when it is called, and heavy libraries inside the command, so that ``--help``
answers at once.  What a user did wrong is one line on standard error and exit 2.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

import click

from polltape.errors import PolltapeError

COMMANDS: Final = {
    "analyze": "analyze",
    "bundle": "bundle",
    "compare": "compare",
    "convert": "convert",
    "explain": "explain",
    "helper": "record",
    "mock": "mock",
    "record": "record",
    "recover": "record",
    "replay": "replay",
    "show": "show",
    "simulate": "simulate",
    "token": "token",
}
"""Each command and the module of this package that holds it."""


class _Commands(click.Group):
    """Finds commands in :data:`COMMANDS` and names the nearest when there is none of that name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"polltape.cli.{COMMANDS[cmd_name]}"), cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            raise click.UsageError(f"no command {name!r}{did_you_mean(name, COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="polltape", message="%(prog)s %(version)s")
def polltape() -> None:
    """Record, measure and replay the traffic of APIs that answer "not yet".

    \b
    polltape record --dir captures     record through mitmproxy
    polltape analyze captures          how long 202s last, who kept to Retry-After
    polltape mock --scenario shopify-checkout
    """


def did_you_mean(name: str, known: Sequence[str] | dict[str, str]) -> str:
    """``; did you mean 'x'?`` where something near is known, else nothing."""
    from difflib import get_close_matches

    near = get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status: 0 fine, 1 the answer is no, 2 usage or unreadable input."""
    try:
        status = polltape.main(args=arguments, prog_name="polltape", standalone_mode=False)
    except PolltapeError as error:
        return _told(f"{error}; {error.hint}" if error.hint else str(error), 2)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.UsageError as error:
        where = f" (see '{error.ctx.command_path} --help')" if error.ctx else ""
        return _told(f"{error.format_message()}{where}", 2)
    except click.ClickException as error:
        return _told(error.format_message(), 2)
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        # The reader has gone (polltape … | head); what Python flushes at exit must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status if isinstance(status, int) else 0


def _told(message: str, status: int) -> int:
    click.echo(f"error: {' '.join(message.split())}", err=True)
    return status
