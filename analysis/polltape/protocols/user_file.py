"""A user's own protocol, from a Python file that the user names on the command line.

The file is the user's own program and is run as such; nothing of a capture or a bundle is ever run.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from pathlib import Path
from typing import Final

from polltape.errors import ConfigError
from polltape.protocols.base import Protocol

HOW: Final = "define a class that derives from polltape.protocols.base.Protocol, and see docs/protocols.md"


def protocols_of_file(path: Path) -> list[Protocol]:
    """One instance of each Protocol class that the file defines, in its order.

    Raises :class:`~polltape.errors.ConfigError`.
    """
    name = f"polltape_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path}: not a Python file", hint="its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        classes = [value for value in vars(module).values() if _is_own(value, name)]
        found = [each() for each in classes]
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except (Exception, SystemExit) as error:  # whatever a user's program may raise
        raise ConfigError(f"{path}:{_line(error, path)}: {type(error).__name__}: {error}") from error
    if not found:
        raise ConfigError(f"{path}: defines no protocol", hint=HOW)
    for protocol in found:
        _check(protocol, path)
    return found


def _is_own(value: object, module: str) -> bool:
    return (
        inspect.isclass(value)
        and issubclass(value, Protocol)
        and not inspect.isabstract(value)
        and value.__module__ == module
    )


def _check(protocol: Protocol, path: Path) -> None:
    name, kinds = getattr(protocol, "name", None), getattr(protocol, "kinds", None)
    if not isinstance(name, str) or not name or "|" in name or ":" in name:
        raise ConfigError(f"{path}: {type(protocol).__name__}.name must be a word without | or :", hint=HOW)
    if not isinstance(kinds, tuple) or not all(isinstance(kind, str) for kind in kinds):
        raise ConfigError(f"{path}: {type(protocol).__name__}.kinds must be a tuple of words", hint=HOW)


def _line(error: BaseException, path: Path) -> int:
    if isinstance(error, SyntaxError) and error.lineno is not None:
        return error.lineno
    frames = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path) and f.lineno]
    return frames[-1] if frames else 1
