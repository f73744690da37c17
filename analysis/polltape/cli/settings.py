"""``polltape.toml``: which findings a project wants to see, and which it has decided to live with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from msgspec import Meta, field

from polltape.errors import ConfigError, InputError, UsageError
from polltape.measures.codes import codes_named
from polltape.measures.suppressions import EVERY, Suppression
from polltape.toml_file import Lines, Step, Table, convert, parse

NAME: Final = "polltape.toml"
"""Looked for in the working directory."""
_HINT: Final = 'a suppression has a code, a reason, and where it is to hold host and route: [[suppress]] code = "RA001"'


class _Findings(Table, frozen=True, rename="kebab"):
    select: list[str] = field(default_factory=list)
    ignore: list[str] = field(default_factory=list)
    fail_on: list[str] = field(default_factory=list)


class _Suppress(Table, frozen=True):
    code: Annotated[str, Meta(min_length=1)]
    reason: str
    host: str = EVERY
    route: str = EVERY


class _File(Table, frozen=True):
    findings: _Findings = _Findings()
    suppress: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """What the file says: lists of codes and prefixes as the options of ``analyze`` take them, and suppressions."""

    path: str | None = None
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    fail_on: tuple[str, ...] = ()
    suppressions: tuple[Suppression, ...] = ()


def settings_in_force(config: str | None, isolated: bool) -> SettingsFile:
    """The file that ``--config`` names, else ``polltape.toml`` in the working directory, else nothing.

    Raises as :func:`load_settings`, and UsageError for both options at once.
    """
    if config is not None and isolated:
        raise UsageError("--config and --isolated exclude each other")
    if config is not None:
        return load_settings(config)
    return load_settings(NAME) if not isolated and Path(NAME).is_file() else SettingsFile()


def load_settings(path: str | Path) -> SettingsFile:
    """The file's settings.  Raises InputError where it cannot be read, ConfigError with the line where it is wrong."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is no UTF-8 text", hint="a settings file is a TOML file") from None
    except OSError as problem:
        reason = (problem.strerror or "cannot be read").lower()
        raise InputError(f"{path}: {reason}", hint="--config names a TOML file") from None
    return parse_settings(text, str(path))


def parse_settings(text: str, source: str) -> SettingsFile:
    """The settings that a TOML text holds.  Raises ConfigError with ``source`` and the line."""
    whole = convert(parse(text, source, "a settings file"), _File, text, source, hint=_HINT)
    for name in ("select", "ignore", "fail_on"):
        _checked(getattr(whole.findings, name), text, source, ("findings", name.replace("_", "-")))
    return SettingsFile(
        path=source,
        select=tuple(whole.findings.select),
        ignore=tuple(whole.findings.ignore),
        fail_on=tuple(whole.findings.fail_on),
        suppressions=tuple(_suppression(values, text, source, number) for number, values in enumerate(whole.suppress)),
    )


def _suppression(values: dict[str, Any], text: str, source: str, number: int) -> Suppression:
    inside: tuple[Step, ...] = ("suppress", number)
    found = convert(values, _Suppress, text, source, hint=_HINT, inside=inside)
    if not found.reason.strip():
        hint = "say why: whoever reads it next year has to decide whether it still holds"
        raise Lines(text).error(source, (*inside, "reason"), "is empty", hint)
    _checked([found.code], text, source, (*inside, "code"))
    where = f"{source}:{Lines(text).line(inside)}"
    return Suppression(found.code.upper(), found.reason.strip(), found.host, found.route, where)


def _checked(names: list[str], text: str, source: str, steps: tuple[Step, ...]) -> None:
    try:
        codes_named(names)
    except UsageError as problem:
        raise Lines(text).error(source, steps, str(problem), problem.hint or "") from None
