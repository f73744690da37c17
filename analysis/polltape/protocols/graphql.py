"""GraphQL over HTTP, as far as protocols need it: what a request asks for, and the objects of an answer.

Requests: JSON, form-encoded (``query=``, ``variables[token]=`` or ``variables=`` as JSON), and the query of a
GET.  https://graphql.github.io/graphql-over-http/draft/ §5; the form is what storefront clients send.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from polltape.exchange import Exchange
from polltape.protocols.base import MAX_JSON_BYTES, json_object

_OPERATION: Final = re.compile(r"\b(?:query|mutation|subscription)\s+([A-Za-z_]\w*)")
_FIRST_FIELD: Final = re.compile(r"\{\s*(?:[A-Za-z_]\w*\s*:\s*)?([A-Za-z_]\w*)")  # behind an alias, if there is one
_FORM_VARIABLE: Final = re.compile(r"variables\[([^\]]+)\]")
_MAX_FIELDS: Final = 1_000
_DEEPEST: Final = 64


@dataclass(frozen=True, slots=True)
class GraphqlRequest:
    """``name``: the operation's name, else its first field; empty where neither can be read."""

    query: str
    variables: dict[str, Any] = field(default_factory=dict)
    operation_name: str | None = None

    @property
    def name(self) -> str:
        """What tells this request from others to the same path."""
        if self.operation_name:
            return self.operation_name
        found = _OPERATION.search(self.query) or _FIRST_FIELD.search(self.query)
        return found[1] if found else ""

    def argument(self, name: str) -> str | None:
        """A field's argument: the variable that stands there, whatever its name, else a literal; None without one.

        Where the text is not sent (a persisted query), the variable of the argument's own name.
        """
        variable = re.search(rf"\b{re.escape(name)}\s*:\s*\$(\w+)", self.query)
        value = self.variables.get(variable[1] if variable else name)
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            return str(value)
        literal = re.search(rf'\b{re.escape(name)}\s*:\s*"([^"\\]+)"', self.query)
        return literal[1] if literal else None


def graphql_request(exchange: Exchange) -> GraphqlRequest | None:
    """The GraphQL request that an exchange sent, None where it sent none."""
    body = json_object(exchange.request_body)
    if body:
        return _from_fields(body.get("query"), body.get("variables"), body.get("operationName"))
    if exchange.method == "GET":
        return _from_form(exchange.query or "") if "query=" in (exchange.query or "") else None
    content = exchange.request_body.content or b""
    kind = (exchange.request_header("Content-Type") or "").partition(";")[0].strip().lower()
    if len(content) > MAX_JSON_BYTES or exchange.request_body.truncated:
        return None
    if kind == "application/graphql":
        return GraphqlRequest(content.decode("utf-8", "replace"))
    if kind == "application/x-www-form-urlencoded" and b"query=" in content:
        return _from_form(content.decode("utf-8", "replace"))
    return None


def _from_form(text: str) -> GraphqlRequest | None:
    try:
        fields = dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_FIELDS))
    except ValueError:
        return None
    named = {match[1]: value for name, value in fields.items() if (match := _FORM_VARIABLE.fullmatch(name))}
    return _from_fields(fields.get("query"), named or fields.get("variables"), fields.get("operationName"))


def _from_fields(query: object, variables: object, name: object) -> GraphqlRequest | None:
    if isinstance(variables, str):
        try:
            variables = msgspec.json.decode(variables)
        except (msgspec.DecodeError, RecursionError):
            variables = {}
    known = variables if isinstance(variables, dict) else {}
    named = name if isinstance(name, str) and name else None
    if not isinstance(query, str):
        return GraphqlRequest("", known, named) if named else None
    return GraphqlRequest(query, known, named)


def objects(value: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """Every JSON object in a value, from the outside in, document order; what is nested too deeply is left out."""
    if depth > _DEEPEST:
        return
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from objects(item, depth + 1)
