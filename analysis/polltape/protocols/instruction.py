"""Instructions to wait, read strictly (placeholder until the grammar lands)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from polltape.exchange import Header, Instruction


def read_instruction(
    headers: Sequence[Header], received_at: datetime | None, hint: tuple[str, object] | None = None
) -> Instruction | None:
    raise NotImplementedError
