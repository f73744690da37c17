from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from polltape.errors import UsageError
from polltape.recorder import addon_record as addon
from polltape.recorder.options import Options, options_of, size, upstream


def test_the_addons_defaults_are_the_helpers() -> None:
    defaults = {name: default for name, (default, *_) in addon.OPTIONS.items()}
    assert options_of(msgspec.json.encode(defaults)) == Options()
    assert not Options().warnings


def test_a_plan_from_options(tmp_path: Path) -> None:
    given = {"polltape_rotate": 7, "polltape_rotate_size": "1k", "polltape_keep_size": "2g", "polltape_keep_days": 3}
    plan = options_of(msgspec.json.encode({**given, "mode": ["regular", "reverse:http://up.example:81"]})).plan(
        tmp_path, "s"
    )
    assert (plan.rotate_s, plan.rotate_bytes, plan.keep_bytes, plan.keep_days) == (7.0, 1024, 2 << 30, 3)
    assert plan.upstreams == (("up.example", 81),)
    assert plan.health == tmp_path / "_health.json"
    assert plan.redacts


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"polltape_rotate_size": "huge"}, "polltape_rotate_size=huge: no size like 16m"),
        ({"polltape_rotate_size": "0"}, "polltape_rotate_size=0: must be at least 1 byte"),
        ({"polltape_body_cap": "-1"}, "polltape_body_cap=-1: no size like 16m"),
        ({"polltape_body_cap": ""}, "polltape_body_cap=: no size like 16m"),
        ({"polltape_body_cap": "2g"}, "polltape_body_cap=2g: must be at most 1g"),
        ({"polltape_key": "none"}, "options of the addon: Invalid enum value"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], complaint: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        options_of(msgspec.json.encode(options)).plan(tmp_path, "s")
    assert str(caught.value).startswith(complaint)


def test_what_may_leak_is_warned_of() -> None:
    [off] = Options(store_secrets=True, keep_unparsed=True).warnings
    assert "redaction is OFF (polltape_store_secrets)" in off
    [unparsed] = Options(keep_unparsed=True).warnings
    assert "polltape_keep_unparsed" in unparsed


def test_sizes() -> None:
    sizes = [("0", 0), ("10", 10), ("10b", 10), ("2K", 2048), ("1t", 1 << 40)]
    assert [size("x", text) for text, _ in sizes] == [wanted for _, wanted in sizes]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("reverse:https://shop.example", ("shop.example", 443)),
        ("reverse:http://shop.example", ("shop.example", 80)),
        ("reverse:shop.example:81@9000", ("shop.example", 81)),
        ("reverse:https://[::1]:8443@127.0.0.1:0", ("::1", 8443)),
        ("regular@8080", None),
        ("upstream:http://proxy:3128", None),
    ],
)
def test_upstreams(mode: str, expected: tuple[str, int] | None) -> None:
    assert upstream(mode) == expected
