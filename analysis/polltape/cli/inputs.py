"""What several commands share: opening captures, choosing where output goes."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from functools import reduce
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from polltape.capture.named import check_capture
from polltape.errors import InputError, UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from polltape.capture.reading import Capture, Step
    from polltape.capture.redaction import Redactor

Command = Callable[..., Any]

DEFAULT_CAPTURE = "captures"
FIGURES = (".png", ".svg")


class Seconds(click.FloatRange):
    """A number of seconds in a range: neither ``nan``, which every range takes, nor ``inf``."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number of seconds.", param, ctx)
        return number


par_key_option = click.option(
    "--par-key",
    metavar="SOURCE",
    envvar="POLLTAPE_PAR_KEY",
    help="PAR's SharedId, to judge (and, in a mock, to make) x-pch-digest: env:NAME or a file.",
)


def _take_protocols(_context: click.Context, _option: click.Parameter, files: tuple[Path, ...]) -> None:
    """Take the user's protocols; programs that this one starts find them in the environment."""
    if not files:
        return
    from polltape.protocols import add_file

    for file in files:
        add_file(file)
    os.environ[PROTOCOL_VARIABLE] = os.pathsep.join(str(file.resolve()) for file in files)


PROTOCOL_VARIABLE = "POLLTAPE_PROTOCOL"

protocol_option = click.option(
    "--protocol",
    "protocols",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    envvar=PROTOCOL_VARIABLE,
    expose_value=False,
    is_eager=True,
    callback=_take_protocols,
    help="Read a protocol of your own, too: a Python file.",
)


def redaction(redactor: Redactor, par_key: str | None) -> Step:
    """The redactor's step; with a key of PAR its digests are judged first.  Raises ConfigError."""
    if not par_key:
        return redactor.redact
    from polltape.capture.keys import given_secret
    from polltape.protocols.par_digest import judged

    shared_id = given_secret(par_key, "--par-key")
    return lambda exchange: redactor.redact(judged(exchange, shared_id))


def check_captures(paths: Sequence[str]) -> None:
    """Raises InputError for a path where no capture can be, before what reads one is imported, which takes seconds."""
    for path in paths or [DEFAULT_CAPTURE]:
        check_capture(path)


def capture_of(paths: Sequence[str], par_key: str | None = None) -> Capture:
    """The capture that the paths name; what is imported is redacted with the user's key and rules, and observed.

    ``par_key`` is what :data:`par_key_option` was given: digests of PAR are judged before they are redacted.
    Warnings go to standard error.  Raises InputError and ConfigError.
    """
    from polltape.capture.reading import open_capture
    from polltape.capture.redaction import Redactor
    from polltape.measures.words import counted
    from polltape.protocols import observe, stumbled, users

    redactor = Redactor.of_user()
    named = list(paths) or [DEFAULT_CAPTURE]
    capture = open_capture(
        named, redact=redaction(redactor, par_key), observe=observe, key=redactor.key, anew=bool(users())
    )
    raised = [
        f"{what} {counted(count, 'time')}; what it would have seen there is missing"
        for what, count in stumbled().items()
    ]
    for warning in (*capture.warnings, *raised):
        click.echo(f"warning: {warning}", err=True)
    return capture


def check_figure(path: str | None) -> None:
    """Raises UsageError for a figure's file that is neither .png nor .svg, before any work is done."""
    if path is not None and Path(path).suffix.lower() not in FIGURES:
        raise UsageError(f"--figure {path}: the ending must be .png or .svg")


def save_figure(figure: Figure, path: str) -> None:
    """The figure to a .png or .svg file.  Raises InputError where it cannot be written."""
    from polltape.report.figures import save

    try:
        save(figure, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}", hint="name a file that can be written") from error


def chart_options(*, seed: str, figure: str) -> Callable[[Command], Command]:
    """The options of a command that draws samples, a figure, and a text; ``seed``, ``figure``: what they are for."""
    options = (
        click.option("--seed", type=click.IntRange(min=0), metavar="N", help=f"Of {seed}."),
        click.option("--figure", metavar="FILE", help=f"Draw {figure} there, .png or .svg."),
        click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True),
        click.option("-o", "--output", metavar="FILE", help="Write there instead of to standard output."),
    )
    return lambda command: reduce(lambda decorated, option: option(decorated), reversed(options), command)


def deliver(result: object, name: str, *, figure: str | None, form: str, output: str | None) -> None:
    """A ``comparison`` or a ``simulation``: its figure, where one is wanted, then the text or the JSON."""
    from polltape.report.terminal import colours, width

    if figure is not None:
        save_figure(import_module(f"polltape.report.{name}_figure").figure_of(result), figure)
    told, shown = import_module(f"polltape.report.{name}_text"), output is None
    if form == "json":
        write(told.to_json(result), output)
    else:
        write(told.render(result, width=width(shown), color=shown and colours()), output)


def write(text: str, output: str | None) -> None:
    """The text to a file, or to standard output for None and ``-``; a text that is not empty ends its last line."""
    if text and not text.endswith("\n"):
        text += "\n"
    if output is None or output == "-":
        click.echo(text, nl=False)
        return
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {output}: {error.strerror}", hint="name a file that can be written") from error
