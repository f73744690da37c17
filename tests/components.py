"""What a test needs and a machine may not have."""

from __future__ import annotations

import os

import pytest


def needs(condition: object, reason: str) -> None:
    """Skip with the reason; where nothing may be skipped, fail."""
    if condition:
        return
    if os.environ.get("POLLTAPE_REQUIRE_ALL") == "1":
        pytest.fail(f"{reason}, and POLLTAPE_REQUIRE_ALL=1")
    pytest.skip(reason)
