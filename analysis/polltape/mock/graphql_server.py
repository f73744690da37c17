"""The little of GraphQL that scenarios need to answer it: what is asked, and an answer of what was selected."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final

from polltape.exchange import Body, Exchange, Header
from polltape.mock.messages import Request, Response, json_response
from polltape.protocols.graphql import GraphqlRequest, graphql_request

_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)


def asked(request: Request) -> GraphqlRequest | None:
    """What a request asks for: JSON, form or GET; None where it is no GraphQL."""
    return graphql_request(
        Exchange(
            *("", request.method, request.scheme, "", 0, request.path, _NEVER),
            query=request.query,
            request_headers=request.headers,
            request_body=Body(content=request.body),
        )
    )


def answered(request: GraphqlRequest, field: str, value: object, headers: tuple[Header, ...] = ()) -> Response:
    """HTTP 200 with the value of that field, under its alias if it has one."""
    alias = re.search(rf"\b(\w+)\s*:\s*{field}\b", request.query)
    return json_response(200, {"data": {alias[1] if alias else field: value}}, headers)


def problem(message: str, *, matched: bool = True) -> Response:
    """HTTP 200 with an error, as GraphQL servers refuse a query."""
    return json_response(200, {"errors": [{"message": message}]}, matched=matched)


def selected(request: GraphqlRequest, value: dict[str, Any]) -> dict[str, Any]:
    """Of an object what the query names, and its ``__typename``, which Shopify sends without being asked."""
    names = set(re.findall(r"\w+", request.query)) | {"__typename"}
    return {name: inner for name, inner in value.items() if name in names}
