"""``polltape record``, ``polltape recover``, and the ``helper`` that the addon starts."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import click

from polltape.cli.inputs import protocol_option
from polltape.errors import InputError, ServiceError


def find_mitmdump() -> str:
    """mitmdump beside this Python, else on PATH; raises ServiceError."""
    found = shutil.which("mitmdump", path=str(Path(sys.executable).parent)) or shutil.which("mitmdump")
    if found is None:
        raise ServiceError(
            "mitmdump is neither beside this Python nor on PATH",
            hint="install mitmproxy, or load the addon into the one you have: see `polltape record --help`",
        )
    return found


def addon_path() -> Path:
    """The installed copy of ``addons/record.py``."""
    from polltape import recorder

    return Path(recorder.__path__[0]) / "addon_record.py"


def mitmdump_arguments(directory: str | None, arguments: tuple[str, ...]) -> list[str]:
    """What mitmdump gets: the addon, where to record, the helper beside this Python, the user's own."""
    options = ["-s", str(addon_path())]
    if directory is not None:
        options += ["--set", f"polltape_dir={directory}"]
    beside = Path(sys.executable).parent / "polltape"
    if beside.exists() and not any(argument.startswith("polltape_helper=") for argument in arguments):
        options += ["--set", f"polltape_helper={beside}"]
    return [*options, *arguments]


@click.command(context_settings={"ignore_unknown_options": True})
@protocol_option
@click.option("--dir", "directory", metavar="DIR", help="Folder to record to.  [default: captures]")
@click.option("--addon", is_flag=True, help="Only print where the addon is, to load it with mitmproxy -s.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[MITMDUMP ARGUMENTS]...")
def record(directory: str | None, addon: bool, arguments: tuple[str, ...]) -> None:
    """Record traffic with mitmdump.

    All other arguments are mitmdump's own, among them --set polltape_filter=FLOWFILTER and the other
    polltape_… options (mitmdump -s ADDON --options lists them).

    \b
      polltape record --dir captures --mode reverse:https://shop.example -p 8080
      mitmweb -s $(polltape record --addon) --set polltape_dir=captures
    """
    if addon:
        click.echo(addon_path())
        return
    program = find_mitmdump()
    sys.stdout.flush()
    try:
        os.execv(program, [program, *mitmdump_arguments(directory, arguments)])
    except OSError as error:
        raise ServiceError(f"{program} cannot be run: {error.strerror}") from error


@click.command(hidden=True)
@protocol_option
@click.option("--dir", "directory", required=True, type=click.Path(path_type=Path))
@click.option("--frames", required=True, type=int)
def helper(directory: Path, frames: int) -> None:
    """Take frames from the addon on standard input (started by the addon)."""
    from polltape.recorder.helper import run

    sys.exit(run(directory, frames))


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
def recover(directory: Path) -> None:
    """Make Parquet of what a crash left in a capture folder.

    The recorder does it by itself at its next start.  Recordings that are going on are left alone.

    \b
      polltape recover captures
    """
    from polltape.recorder.convert import recover as recover_folder
    from polltape.recorder.convert import told

    if not directory.is_dir():
        raise InputError(
            f"{directory}: no {'folder' if directory.exists() else 'such folder'}",
            hint="name the folder that was recorded to",
        )
    done = recover_folder(directory, say=lambda line: click.echo(line, err=True))
    click.echo(f"{told(done)} in {directory}")
