"""What ONE exchange shows to each protocol (§1 Observation, §2), and its endpoint template (§5)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

from oracle_har import Ex

FINAL = {"completed", "failed", "rejected", "action_required"}
# §2 "Everywhere while polling: 401, 403, 406, 408, 425, 429, 5xx and errors say nothing"
SILENT = {401, 403, 406, 408, 425, 429}
ADDRESS_HEADERS = ("Azure-AsyncOperation", "Operation-Location", "Location", "Content-Location")

CHECKOUT = re.compile(r"(?P<form>/admin/api/[^/]+|/wallets|/api(?:/(?!checkouts)[^/]+)?)/checkouts(?P<rest>[/.].*)")
ONE = re.compile(
    r"/(?P<token>[^/]+)(?:/(?P<what>complete|shipping_rates|calculate_shipping|payments|payments/(?P<id>[^/]+)))?"
    r"\.json"
)


@dataclass(frozen=True)
class Obs:
    """``role``: write, read, or opening-read.  ``keys``: sent and issued.  ``resource``: a checkout's own GET."""

    protocol: str
    kind: str | None
    role: str
    keys: tuple[str, ...]
    state: str | None
    opens: bool = False
    truncates: bool = False
    address: bool = False
    hint_expected: bool = False
    resource: bool = False
    # the keys of an operation that it opens, where they are not simply ``keys``
    issued: tuple[str, ...] | None = None
    # what it shows depends on the operation
    in_op: Callable[[Any], str | None] | None = None
    # how the issued key is read (http-async)
    reads_as: str | None = None


def by_status(status: int | None) -> str | None:
    """§2 "Everywhere while polling … 422 = rejected; other 4xx = failed"."""
    if status is None or status in SILENT or not 400 <= status < 500:
        return None
    return "rejected" if status == 422 else "failed"


# --------------------------------------------------------------------------------- shopify-checkout


def inner(body: Any, name: str) -> dict[str, Any]:
    """The object under its name, else the body itself, else nothing."""
    if not isinstance(body, dict):
        return {}
    value = body.get(name)
    return value if isinstance(value, dict) else body


def payment_state(body: Any) -> str | None:
    """§2, the row: "a payment whose transaction is null" pending; "a payment's transaction" ends it."""
    payment = inner(body, "payment")
    if payment.get("payment_processing_error_message"):
        return "failed"
    transaction = payment.get("transaction")
    if isinstance(transaction, dict):
        return "failed" if transaction.get("status") in ("failure", "error") else "completed"
    is_payment = isinstance(body, dict) and ("payment" in body or "transaction" in body)
    return "pending" if is_payment else None


def body_state(kind: str, body: Any) -> str | None:
    """What the body alone proves; it goes before a 2xx status."""
    if kind == "checkout.payment":
        return payment_state(body)
    checkout = inner(body, "checkout")
    final = checkout.get("completed_at") is not None or checkout.get("order") is not None
    return "completed" if final else None


def checkout_state(kind: str, ex: Ex) -> str | None:
    if ex.status is None or not 200 <= ex.status < 300:
        return by_status(ex.status)
    shown = body_state(kind, ex.body)
    if shown is not None:
        return shown
    return {202: "pending", 200: "completed", 201: "completed"}.get(ex.status)


def located(ex: Ex) -> str:
    """The path that Location names; empty without one."""
    return urlsplit(urljoin(ex.url, ex.header("Location") or "")).path if ex.header("Location") else ""


def issued_token(ex: Ex) -> str | None:
    """The checkout token that a create's answer gives out: its body, else its Location."""
    token = inner(ex.body, "checkout").get("token")
    if token:
        return str(token)
    found = CHECKOUT.fullmatch(located(ex))
    one = ONE.fullmatch(found["rest"]) if found else None
    return one["token"] if one else None


def issued_payment(ex: Ex) -> str | None:
    payment = inner(ex.body, "payment").get("id")
    if payment:
        return str(payment)
    found = CHECKOUT.fullmatch(located(ex))
    one = ONE.fullmatch(found["rest"]) if found else None
    return one["id"] if one else None


def has_address(ex: Ex) -> bool:
    """A poll address was given explicitly."""
    return any(ex.header(name) for name in ADDRESS_HEADERS)


def checkout_role(ex: Ex, rest: str) -> tuple[str, str, str | None] | None:
    """(kind, role, key without its host) of a request on a checkout path; key None: only the answer tells."""
    reads, writes = ex.method == "GET", ex.method == "POST"
    if rest == ".json":
        return ("checkout.create", "write", None) if writes else None
    one = ONE.fullmatch(rest)
    if one is None:
        return None
    token, what = one["token"], one["what"]
    if what is None:
        if reads:
            return "checkout.update", "read", token
        return ("checkout.update", "write", token) if ex.method in ("PUT", "PATCH") else None
    if what == "complete":
        return ("checkout.complete", "write", token) if writes else None
    if what == "shipping_rates":
        return ("checkout.shipping_rates", "opening-read", f"{token}/shipping_rates") if reads else None
    if what == "calculate_shipping":
        # "calculate_shipping opens by POST or GET, with the key of shipping_rates"
        role = "opening-read" if reads else "write" if writes else ""
        return ("checkout.shipping_rates", role, f"{token}/shipping_rates") if role else None
    if what == "payments":
        return ("checkout.payment", "write", None) if writes else None
    return ("checkout.payment", "read", f"{token}/payments/{one['id']}") if reads else None


def checkout(ex: Ex) -> list[Obs]:
    found = CHECKOUT.fullmatch(ex.path)
    role = checkout_role(ex, found["rest"]) if found else None
    if found is None or role is None:
        return []
    kind, what, key = role
    good = ex.status is not None and 200 <= ex.status < 300
    if key is None and good and kind == "checkout.create":
        key = issued_token(ex)
    elif key is None and good:
        payment, one = issued_payment(ex), ONE.fullmatch(found["rest"])
        key = f"{one['token']}/payments/{payment}" if one and payment else None
    state = checkout_state(kind, ex)
    pending202 = ex.status == 202 and state == "pending"
    return [
        Obs(
            "shopify-checkout",
            kind,
            what,
            # §2 "every key includes the host"
            keys=(f"{ex.host}|{key}",) if key else (),
            state=state,
            # "a write answered 202 whose body is not final already; shipping_rates: its GET answered 202"
            opens=pending202 and what != "read",
            # "A payment … GET that shows pending without its write is a truncated operation."
            truncates=what == "read" and kind == "checkout.payment" and state == "pending",
            address=has_address(ex),
            # RA003: "where the protocol documents one: a checkout's 202"
            hint_expected=pending202,
            resource=what == "read" and kind == "checkout.update",
        )
    ]


# ------------------------------------------------------------------------------------------ endpoint

UUID = re.compile(r"(?i)[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")


def is_id(segment: str) -> bool:
    """§5 "digits, UUIDs, hex of 16 or more, and segments of 20 or more with a digit become {id}"."""
    return bool(
        re.fullmatch(r"[0-9]+", segment)
        or UUID.fullmatch(segment)
        or re.fullmatch(r"(?i)[0-9a-f]{16,}", segment)
        or (len(segment) >= 20 and re.search(r"[0-9]", segment))
    )


def checkout_template(path: str) -> str | None:
    """The protocol's own names: {version}, {token}, {id}."""
    found = CHECKOUT.fullmatch(path)
    if found is None:
        return None
    form = re.sub(r"^/(admin/api|api)/[^/]+$", r"/\1/{version}", found["form"])
    one = ONE.fullmatch(found["rest"])
    if found["rest"] == ".json":
        return f"{form}/checkouts.json"
    if one is None:
        return None
    what = one["what"]
    tail = "" if what is None else "/payments/{id}" if one["id"] else f"/{what}"
    return f"{form}/checkouts/{{token}}{tail}.json"


def other_template(path: str) -> str | None:
    """A cart's {version}, a PAR order's {id}."""
    if re.fullmatch(r"/api/[^/]+/graphql(\.json)?", path):
        return re.sub(r"^/api/[^/]+", "/api/{version}", path)
    order = re.fullmatch(r"(.*/posnext/orders?)/([^/]+)", path)
    return f"{order[1]}/{{id}}" if order and order[2] not in ("validate", "submit") else None


def template(path: str) -> str:
    known = checkout_template(path) or other_template(path)
    return known or "/".join("{id}" if is_id(s) else s for s in path.split("/"))


def endpoint(ex: Ex) -> str:
    return f"{ex.method} {template(ex.path)}"
