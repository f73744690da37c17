"""What the helper is asked to do: the addon's options, as its first frame carries them, checked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, Literal

import msgspec

from polltape.capture.content import DEFAULT_CAP
from polltape.capture.spool import FsyncPolicy
from polltape.errors import UsageError

ROTATE_BYTES: Final = 64 * 1024 * 1024
MAX_BODY_CAP: Final = 1 << 30
"""A frame, which holds two of them, tells its length in 32 bits."""
HEALTH: Final = "_health.json"
"""Readers of Parquet folders pass over names that begin with an underscore."""

_UNITS: Final = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_UPSTREAM: Final = re.compile(r"reverse:(?:(\w+)://)?(\[[^\]]+\]|[^@/:]+)(?::(\d+))?")


class Plan(msgspec.Struct, frozen=True):
    """What one recording session does.

    ``rotate_s``, ``rotate_bytes``: when a spool becomes Parquet.  ``keep_days``, ``keep_bytes``: which Parquet
    files are removed, 0 for none.  ``upstreams``: host and port of each reverse mode.  ``resumes``: it goes
    on with the session of a dead helper.
    """

    directory: Path
    session_id: str
    fsync: FsyncPolicy = "second"
    rotate_s: float = 300.0
    rotate_bytes: int = ROTATE_BYTES
    keep_days: int = 0
    keep_bytes: int = 0
    body_cap: int = DEFAULT_CAP
    health: Path | None = None
    upstreams: tuple[tuple[str, int], ...] = ()
    keep_host_header: bool = False
    redacts: bool = True
    resumes: bool = False


class Options(msgspec.Struct, frozen=True):
    """mitmproxy's options as the addon hands them over; the names are the addon's without ``polltape_``."""

    body_cap: str = msgspec.field(name="polltape_body_cap", default="16m")
    filter: str = msgspec.field(name="polltape_filter", default="")
    key: Literal["file", "ephemeral"] = msgspec.field(name="polltape_key", default="file")
    par_key: str = msgspec.field(name="polltape_par_key", default="")
    fsync: FsyncPolicy = msgspec.field(name="polltape_fsync", default="second")
    rotate: int = msgspec.field(name="polltape_rotate", default=300)
    rotate_size: str = msgspec.field(name="polltape_rotate_size", default="64m")
    keep_days: int = msgspec.field(name="polltape_keep_days", default=0)
    keep_size: str = msgspec.field(name="polltape_keep_size", default="")
    health: str = msgspec.field(name="polltape_health", default="")
    keep_unparsed: bool = msgspec.field(name="polltape_keep_unparsed", default=False)
    store_secrets: bool = msgspec.field(name="polltape_store_secrets", default=False)
    mode: tuple[str, ...] = ()
    keep_host_header: bool = False

    def plan(self, directory: Path, session_id: str, resumes: bool = False) -> Plan:
        """The plan of a session; raises UsageError where an option cannot be."""
        rotate_bytes = size("polltape_rotate_size", self.rotate_size)
        if rotate_bytes < 1:
            raise UsageError(f"polltape_rotate_size={self.rotate_size}: must be at least 1 byte")
        body_cap = size("polltape_body_cap", self.body_cap)
        if body_cap > MAX_BODY_CAP:
            raise UsageError(f"polltape_body_cap={self.body_cap}: must be at most 1g")
        return Plan(
            directory,
            session_id,
            fsync=self.fsync,
            rotate_s=float(self.rotate),
            rotate_bytes=rotate_bytes,
            keep_days=self.keep_days,
            keep_bytes=size("polltape_keep_size", self.keep_size) if self.keep_size else 0,
            body_cap=body_cap,
            health=Path(self.health).expanduser().absolute() if self.health else directory / HEALTH,
            upstreams=tuple(found for mode in self.mode if (found := upstream(mode))),
            keep_host_header=self.keep_host_header,
            redacts=not self.store_secrets,
            resumes=resumes,
        )

    @property
    def warnings(self) -> list[str]:
        """What the user must be told at every start."""
        told = []
        if self.store_secrets:
            told.append(
                "redaction is OFF (polltape_store_secrets): credentials and personal data reach the disk as they are"
            )
        elif self.keep_unparsed:
            told.append(
                "bodies that cannot be read are kept (polltape_keep_unparsed): secrets in them may reach the disk"
            )
        return told


def options_of(raw: bytes) -> Options:
    """The options in a start frame's head; raises UsageError."""
    try:
        return msgspec.json.decode(raw or b"{}", type=Options)
    except msgspec.DecodeError as error:
        raise UsageError(f"options of the addon: {error}") from error


def size(name: str, text: str) -> int:
    """Bytes.  Raises UsageError.

    >>> size("polltape_body_cap", "16m")
    16777216
    """
    match = re.fullmatch(r"(\d{1,12})([bkmgt]?)", text.strip().lower())
    if match is None:
        raise UsageError(f"{name}={text}: no size like 16m")
    return int(match[1]) * _UNITS[match[2]]


def upstream(mode: str) -> tuple[str, int] | None:
    """Host and port to which a reverse mode sends; None for the other modes.

    >>> upstream("reverse:https://Shop.example@8080")
    ('shop.example', 443)
    """
    match = _UPSTREAM.match(mode)
    if match is None:
        return None
    port = int(match[3]) if match[3] else {"http": 80}.get((match[1] or "https").lower(), 443)
    return match[2].strip("[]").lower(), port
