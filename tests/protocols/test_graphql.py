"""What a GraphQL request asks for, however its client spells it."""

from __future__ import annotations

from typing import Any

import pytest

from polltape.protocols.graphql import GraphqlRequest


@pytest.mark.parametrize(
    ("query", "variables", "value"),
    [
        ("query($attemptId: String!) { poll(attemptId: $attemptId) { id } }", {"attemptId": "a1"}, "a1"),
        ("query($id: String!) { poll(attemptId: $id) { id } }", {"id": "a1"}, "a1"),
        ("query($id: String!) { poll(attemptId :\n$id) { id } }", {"id": "a1", "attemptId": "other"}, "a1"),
        ("query($attemptId: String!) { poll(id: $attemptId) { id } }", {"attemptId": "a1"}, "a1"),
        ('{ poll(attemptId: "a1") { id } }', {}, "a1"),
        ("", {"attemptId": "a1"}, "a1"),
        ("query($id: ID!) { poll(attemptId: $id) { id } }", {"id": 7}, "7"),
        ("query($id: ID!) { poll(attemptId: $id) { id } }", {}, None),
        ("query($id: ID!) { poll(attemptId: $id) { id } }", {"id": True}, None),
        ("{ poll { id } }", {}, None),
    ],
)
def test_an_argument_is_a_variable_of_any_name(query: str, variables: dict[str, Any], value: str | None) -> None:
    assert GraphqlRequest(query, variables).argument("attemptId") == value
