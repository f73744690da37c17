"""Recorded texts as templates."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polltape.mock.template import Kind, template_of, values_for

OLD, NEW = "a1" * 16, "d4" * 16
HOSTS = frozenset({"shop.example"})


def filled(text: str, kind: Kind, *names: tuple[str, str], base: str = "http://127.0.0.1:9") -> str:
    template = template_of(text, [recorded for recorded, _ in names], HOSTS, kind)
    return template.filled(values_for(base, names, json=kind == "json"))


@pytest.mark.parametrize(
    ("recorded", "said"),
    [
        (f'{{"{OLD}": "{OLD}"}}', f'{{"{OLD}": "{NEW}"}}'),  # a key stays
        (f'["{OLD}","x{OLD}","{OLD}x","-{OLD}-"]', f'["{NEW}","x{OLD}","{OLD}x","-{NEW}-"]'),
        (f'"one\\n{OLD}\\t"', f'"one\\n{NEW}\\t"'),  # an escape is no letter
        (f'"one\\u00e4{OLD}"', f'"one\\u00e4{NEW}"'),
        (f'"he said \\"{OLD}\\""', f'"he said \\"{NEW}\\""'),
        (f'"\\\\",  "{OLD}"', f'"\\\\",  "{NEW}"'),
    ],
)
def test_a_name_in_json_is_replaced_where_it_stands_alone(recorded: str, said: str) -> None:
    assert filled(recorded, "json", (OLD, NEW)) == said


@pytest.mark.parametrize(
    ("recorded", "said"),
    [
        ('{"id": 25428999}', '{"id": 31415926}'),
        ('{"any":[25428999,125428999,25428999.5,-25428999]}', '{"any":[31415926,125428999,25428999.5,-25428999]}'),
        ('{"text": "in 25428999: yes"}', '{"text": "in 31415926: yes"}'),
    ],
)
def test_a_number_in_json_is_replaced_where_it_is_all_of_it(recorded: str, said: str) -> None:
    assert filled(recorded, "json", ("25428999", "31415926")) == said


@pytest.mark.parametrize(
    ("recorded", "said"),
    [
        ('{"id": 7, "count": 7, "paid": 7}', '{"id": 9, "count": 7, "paid": 7}'),
        ('{"jobId": "7", "attempts": "7"}', '{"jobId": "9", "attempts": "7"}'),
        ('{"job_id":"7","self":"/jobs/7?a","of":"7 of 7"}', '{"job_id":"9","self":"/jobs/9?a","of":"7 of 7"}'),
    ],
)
def test_a_short_number_is_a_name_only_in_a_path_and_in_what_is_called_an_id(recorded: str, said: str) -> None:
    assert filled(recorded, "json", ("7", "9")) == said
    assert [filled(text, "header", ("7", "9")) for text in ("7", "/jobs/7")] == ["7", "/jobs/9"]
    assert filled("7", "id header", ("7", "9")) == "9"


def test_a_name_of_the_client_stays_inside_its_string() -> None:
    live = 'a"b\\c\n'
    assert json.loads(filled(f'{{"token": "{OLD}", "path": "/x/{OLD}"}}', "json", (OLD, live))) == {
        "token": live,
        "path": "/x/a%22b%5Cc%0A",
    }
    address = 'http://a"b\\'
    assert json.loads(filled('{"u": "https://shop.example/x"}', "json", base=address)) == {"u": f"{address}/x"}


@pytest.mark.parametrize(
    ("recorded", "said"),
    [
        ("abcdefgh==", "zyxwvuts=="),
        ("token=abcdefgh==; path=/", "token=zyxwvuts==; path=/"),
        ("token=abcdefgh%3D%3D; path=/", "token=zyxwvuts%3D%3D; path=/"),
        ("https://shop.example/x?t=abcdefgh%3D%3D", "http://127.0.0.1:9/x?t=zyxwvuts%3D%3D"),
    ],
)
def test_a_name_with_marks_is_written_as_it_was(recorded: str, said: str) -> None:
    """A client echoes what a header gave it: percent-encoded it would be another token."""
    assert filled(recorded, "header", ("abcdefgh==", "zyxwvuts==")) == said


def test_two_names_and_an_address_in_one_text() -> None:
    text = f"https://shop.example/c/{OLD}/payments/25428999"
    assert filled(text, "header", (OLD, NEW), ("25428999", "1")) == f"http://127.0.0.1:9/c/{NEW}/payments/1"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12) | st.sampled_from([OLD, f"/c/{OLD}?a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


def renewed(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace(OLD, NEW)
    if isinstance(value, list):
        return [renewed(inner) for inner in value]
    return {key: renewed(inner) for key, inner in value.items()} if isinstance(value, dict) else value


@given(value=JSON, ascii_only=st.booleans(), indent=st.sampled_from([None, 1]))
def test_json_stays_json_and_means_the_same(value: Any, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    if "//" not in text:
        assert json.loads(filled(text, "json", (OLD, NEW))) == renewed(value)
