"""The errors that a user can cause.  The command line turns each into one line and exit 2.

PolltapeError
├── UsageError          wrong arguments or options
├── InputError          a file or folder that cannot be read as what it should be
├── ConfigError         redaction rules, scenario or key file that cannot be used
└── ServiceError        a port in use, a target that refuses, a client command that cannot be run
"""

from __future__ import annotations

from typing import Final

_LONGEST: Final = 200


class PolltapeError(Exception):
    """What was wrong, where; and in ``hint`` what to do next."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(PolltapeError):
    """Wrong arguments or options."""


class InputError(PolltapeError):
    """A file or folder that cannot be read as what it should be."""


class ConfigError(PolltapeError):
    """Redaction rules, a scenario or a key file that cannot be used."""


class ServiceError(PolltapeError):
    """A port in use, a target that refuses, a client command that cannot be run."""


def first_line(error: BaseException) -> str:
    """What an error says, in one line of bounded length: it may quote what it stumbled over."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:_LONGEST]
