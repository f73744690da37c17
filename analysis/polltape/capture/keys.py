"""The key under which pseudonyms and digests are made.

It lies in the user's configuration folder, never in a capture: ``$POLLTAPE_CONFIG_DIR/key``, else
``$XDG_CONFIG_HOME/polltape/key``, else ``~/.config/polltape/key``, readable by its owner alone (0600).
Captures made under one key can be linked with each other; nothing is linked across keys.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from polltape.errors import ConfigError

KEY_BYTES: Final = 32
_PREFIX: Final = "polltape-key-1:"
_ANEW: Final = "move it away to have a new one made (captures made before will then not link with later ones)"


@dataclass(frozen=True)
class Key:
    """A secret of 32 bytes, and ``key_id``, a short digest of it that every row carries."""

    secret: bytes = field(repr=False)
    key_id: str

    @classmethod
    def of(cls, secret: bytes) -> Key:
        """The key of that secret; its id is 8 hexadecimal digits."""
        return cls(secret, hashlib.blake2b(secret, digest_size=4, person=b"polltape key id").hexdigest())


def config_dir(environ: Mapping[str, str] | None = None) -> Path:
    """The user's configuration folder of polltape (it need not exist)."""
    env = os.environ if environ is None else environ
    if env.get("POLLTAPE_CONFIG_DIR"):
        return Path(env["POLLTAPE_CONFIG_DIR"])
    if env.get("XDG_CONFIG_HOME"):
        return Path(env["XDG_CONFIG_HOME"]) / "polltape"
    try:
        return Path.home() / ".config" / "polltape"
    except RuntimeError as error:
        raise ConfigError("no home folder to keep the key in", hint="set POLLTAPE_CONFIG_DIR") from error


def load_key(config_dir: Path | None = None, *, ephemeral: bool = False) -> Key:
    """The user's key, made at first use; with ``ephemeral`` a new one that is written nowhere.

    Raises :class:`~polltape.errors.ConfigError` where the file cannot be read or made, is no key, or may be
    read by others.
    """
    if ephemeral:
        return Key.of(secrets.token_bytes(KEY_BYTES))
    path = (_default_dir() if config_dir is None else config_dir) / "key"
    try:
        if not path.exists():
            _create(path)
        return Key.of(_read(path))
    except OSError as error:
        raise ConfigError(
            f"{path}: the key cannot be read or made: {error.strerror or error}",
            hint="set POLLTAPE_CONFIG_DIR to a folder of yours, or use an ephemeral key",
        ) from error


def given_secret(source: str, option: str) -> str:
    """A secret that somebody else gave out: ``env:NAME`` reads it from the environment, all else names a file.

    It is never told, nor what may be one by mistake.  Raises :class:`~polltape.errors.ConfigError`.
    """
    wanted = "name it as env:NAME or as a file that holds it; the secret itself is not given here"
    kind, colon, name = source.partition(":")
    if kind == "env" and colon:
        secret, where = os.environ.get(name, ""), f"the environment variable {name}"
    else:
        try:
            secret, where = Path(source).expanduser().read_text("utf-8"), "the file"
        except (OSError, ValueError, RuntimeError) as error:
            why = getattr(error, "strerror", None) or "no text"
            raise ConfigError(f"{option}: no such file, or it cannot be read ({why})", hint=wanted) from None
    if not secret.strip():
        raise ConfigError(f"{option}: {where} is empty or not there", hint=wanted)
    return secret.strip()


_default_dir = config_dir


def _create(path: Path) -> None:
    """Write a new key beside its place and link it there: of two that try at once, one key stays."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".key-{os.getpid()}-{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(f"{_PREFIX}{secrets.token_hex(KEY_BYTES)}\n".encode())
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        draft.unlink(missing_ok=True)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        state = os.fstat(file.fileno())
        text = file.read(4096)
    if not stat.S_ISREG(state.st_mode):
        raise ConfigError(f"{path}: not a regular file", hint=_ANEW)
    if state.st_mode & 0o077:
        raise ConfigError(f"{path}: the key may be read by others", hint=f"chmod 600 {path}")
    return _parse(text, path)


def _parse(content: bytes, path: Path) -> bytes:
    text = content.decode("ascii", "replace").strip()
    try:
        secret = bytes.fromhex(text.removeprefix(_PREFIX))
    except ValueError:
        secret = b""
    if not text.startswith(_PREFIX) or len(secret) != KEY_BYTES:
        # `from None`: the parser's own message would quote the key
        raise ConfigError(f"{path}: not a key of polltape", hint=_ANEW) from None
    return secret
