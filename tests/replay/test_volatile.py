"""What may differ without meaning anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from polltape.errors import ConfigError, UsageError
from polltape.replay.volatile import Ignored, alike, checked, local, read_rules


@pytest.mark.parametrize(
    ("field", "is_ignored"),
    [
        ("header:date", True),
        ("header:cf-ray", True),
        ("header:x-request-id", True),
        ("header:x-polltape-wait", True),
        ("header:retry-after", False),
        ("header:location", False),
        ("body:date", False),
        ("status", False),
    ],
)
def test_headers_that_no_replay_can_repeat_are_known(field: str, is_ignored: bool) -> None:
    assert Ignored()(field) is is_ignored


def test_own_rules_name_a_field_with_stars() -> None:
    ignored = Ignored(["body:checkout.*.price", "header:X-Mine", "waited_s"])
    assert ignored("body:checkout.line_items.0.price")
    assert ignored("header:x-mine")
    assert ignored("waited_s")
    assert not ignored("body:checkout.price.amount")


@pytest.mark.parametrize("rule", ["", "headers:x", "header:", "price", "body", "*"])
def test_a_rule_that_names_no_field_is_refused(rule: str) -> None:
    with pytest.raises(UsageError, match="names no field"):
        checked(rule)


def test_rules_are_read_from_a_file_and_a_wrong_one_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "ignore.txt"
    file.write_text("# prices\nbody:*.price\n\nheader:X-A  # ours\n")
    assert read_rules(file) == ["body:*.price", "header:x-a"]
    file.write_text("body:a\nnonsense\n")
    with pytest.raises(ConfigError, match="line 2: 'nonsense' names no field"):
        read_rules(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_rules(tmp_path / "none")
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="UTF-8"):
        read_rules(file)


@pytest.mark.parametrize(
    ("field", "one", "other", "is_alike"),
    [
        ("body:at", "2026-11-23", "2027-01-01", True),
        ("header:expires", "Sun, 06 Nov 1994 08:49:37 GMT", "Mon, 07 Nov 1994 08:49:37 GMT", True),
        ("body:web_url", "https://a.example/c/5cb4149503d1", "http://127.0.0.1:1/c/1fe79205fae7", True),
        ("body:web_url", "https://a.example/c/5cb4149503d1", "http://127.0.0.1:1/d/1fe79205fae7", False),
        ("header:location", "/exports/1234", "/exports/977", True),
        ("header:location", "/exports/1234", "/imports/977", False),
        ("body:logo", "//cdn.example/a", "//unmatched.invalid/a", True),
        ("body:token", "AbC==", "x/y", True),
        ("body:token", "AbC==", "", False),
        ("body:id", 7, 8, True),
        ("body:order.orderId", 7, 8, True),
        ("body:paid", 7, 8, False),
        ("body:id", True, False, False),
        ("body:id", 7, None, False),
        ("body:status", "pending", "placed", False),
        ("body:note", "2 pieces", "3 pieces", False),
    ],
)
def test_instants_and_ids_are_volatile_values(field: str, one: object, other: object, is_alike: bool) -> None:
    assert alike(field, one, other) is is_alike


def test_a_url_is_the_same_whoever_serves_it() -> None:
    assert local("https://shop.example/a?b=1#c") == local("http://127.0.0.1:8202/a?b=1#c") == "/a?b=1#c"
    assert local("gid://shopify/Checkout/1") == "gid://shopify/Checkout/1"
    assert local("http://[") == "http://["
    assert local("https://shop.example") == local("//shop.example") == "/"
    assert local("//") == "//"
