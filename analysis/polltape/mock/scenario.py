"""Scenarios: small TOML files that users copy and change.  What is wrong in one is told with its line.

A scenario names its protocol; the protocol decides which tables the file may have.  The built-in ones lie in
``scenarios/`` and are found by name.
"""

from __future__ import annotations

import re
from decimal import Decimal
from difflib import get_close_matches
from importlib.resources import files
from math import exp
from pathlib import Path
from random import Random
from typing import Annotated, Final, Literal

from msgspec import Meta, field

from polltape.errors import ConfigError, InputError, UsageError
from polltape.exchange import Header
from polltape.mock.hints import WAIT_HEADER, date_in, exact, scaled_number
from polltape.toml_file import Lines, Table, convert, parse

Seconds = Annotated[float, Meta(ge=0)]
Money = Annotated[str, Meta(pattern=r"^[0-9]{1,12}(\.[0-9]{1,2})?$")]
Share = Annotated[float, Meta(ge=0, le=1)]


class LogNormal(Table, frozen=True):
    """A log-normal duration: exp(N(ln median, sigma)) seconds."""

    median: Annotated[float, Meta(gt=0, le=1e9)]
    sigma: Annotated[float, Meta(ge=0, le=10)]


class DateHint(Table, frozen=True):
    """Retry-After as an HTTP date, ``date`` seconds after the answer's own Date."""

    date: Annotated[int, Meta(ge=0, le=10**9)]


class Kind(Table, frozen=True):
    """How one kind of operation goes: its duration in seconds, and the instruction on its 202s."""

    duration_s: Seconds | LogNormal = 2.0
    retry_after: (
        Annotated[int, Meta(ge=0)]
        | Annotated[float, Meta(ge=0, le=1e9)]
        | Literal["none"]
        | DateHint
        | Annotated[list[Annotated[int, Meta(ge=0)]], Meta(min_length=1)]
    ) = 1

    def draw(self, chance: Random) -> float:
        """A duration in seconds; inf for one that never ends."""
        if isinstance(self.duration_s, LogNormal):
            return self.duration_s.median * exp(self.duration_s.sigma * chance.gauss())
        return self.duration_s

    def hint(self, speed: float, now: float) -> tuple[Header, ...]:
        """The header lines that ask to wait, at that speed, and the exact wait beside them."""
        hint = self.retry_after
        if hint == "none":
            return ()
        if isinstance(hint, DateHint):
            asked, lines = float(hint.date), [date_in(hint.date / speed, now)]
        else:
            numbers = hint if isinstance(hint, list) else [hint]
            asked, lines = float(max(numbers)), [scaled_number(_spelled(number), speed) for number in numbers]
        return (*(Header("Retry-After", line) for line in lines), Header(WAIT_HEADER, exact(asked / speed)))


class PaymentKind(Kind, frozen=True):
    """A payment, and the share of them that is declined."""

    declined: Share = 0.0


class Shop(Table, frozen=True):
    """The shop as a whole; each field is explained in the built-in scenario."""

    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")] = "USD"
    tax_rate: Annotated[str, Meta(pattern=r"^0(\.[0-9]{1,6})?$")] = "0.06"
    location: bool = True
    access_token: bool = False
    settled_status: Literal[200, 202] = 200
    idle: list[Annotated[str, Meta(min_length=1)]] = field(default_factory=list)
    strict: bool = False
    call_limit: Annotated[int, Meta(ge=0, le=10**6)] = 0


class Variant(Table, frozen=True, kw_only=True):
    """Something on sale."""

    id: Annotated[int, Meta(ge=1, lt=2**53)]
    product_id: Annotated[int, Meta(ge=1, lt=2**53)] = 632910392
    sku: str = ""
    vendor: str = ""
    title: str = "A thing"
    variant_title: str = ""
    image_url: str | None = None
    price: Money
    grams: Annotated[int, Meta(ge=0)] = 0
    taxable: bool = True
    requires_shipping: bool = True


class Rate(Table, frozen=True):
    """A shipping rate that the shop offers."""

    title: Annotated[str, Meta(min_length=1)]
    price: Money


class CheckoutScenario(Table, frozen=True, kw_only=True):
    """The scenario of protocol ``shopify-checkout``."""

    protocol: Literal["shopify-checkout"]
    seed: int = 1
    shop: Shop = Shop()
    create: Kind = Kind()
    update: Kind = Kind()
    complete: Kind = Kind()
    shipping_rates: Kind = Kind()
    payment: PaymentKind = PaymentKind()
    variants: list[Variant] = field(default_factory=list)
    rates: list[Rate] = field(default_factory=list)

    @property
    def tax_rate(self) -> Decimal:
        """The tax rate as a decimal."""
        return Decimal(self.shop.tax_rate)


Scenario = CheckoutScenario
"""Any scenario; one class a protocol."""

_BY_PROTOCOL: Final[dict[str, type[Scenario]]] = {"shopify-checkout": CheckoutScenario}


def _spelled(number: float) -> str:
    """A number in the grammar of Retry-After: whole, or with a fraction."""
    return str(number) if isinstance(number, int) else f"{number:.3f}".rstrip("0") + ("0" if number % 1 == 0 else "")


# ---------------------------------------------------------------------------------------------- reading


def scenario_names() -> list[str]:
    """The names of the built-in scenarios."""
    folder = files("polltape.mock") / "scenarios"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def scenario_text(name: str) -> str:
    """The text of a built-in scenario.  Raises UsageError for a name that is none."""
    if name not in scenario_names():
        near = get_close_matches(name, scenario_names(), 1, 0.4)
        meant = f"did you mean {near[0]!r}? " if near else ""
        known = ", ".join(scenario_names())
        raise UsageError(f"no scenario named {name!r}", hint=f"{meant}built in: {known}; or name a .toml file")
    return (files("polltape.mock") / "scenarios" / f"{name}.toml").read_text(encoding="utf-8")


def load_scenario(name: str | Path) -> Scenario:
    """A built-in scenario by its name, or a file (what ends in ``.toml``, or has a slash).

    Raises UsageError for an unknown name, InputError for a file that cannot be read, and ConfigError, naming
    the line, for one that is no scenario.
    """
    text = str(name)
    if not text.endswith(".toml") and "/" not in text and not Path(text).is_file():
        return parse_scenario(scenario_text(text), text)
    try:
        return parse_scenario(Path(name).read_text(encoding="utf-8"), text)
    except UnicodeDecodeError:
        raise ConfigError(f"{name}: is no UTF-8 text", hint="a scenario is a TOML file") from None
    except OSError as problem:
        reason = (problem.strerror or "cannot be read").lower()
        known = ", ".join(scenario_names())
        raise InputError(f"{name}: {reason}", hint=f"name a .toml file, or a built-in scenario: {known}") from None


def parse_scenario(text: str, source: str) -> Scenario:
    """The scenario that a TOML text holds.  Raises ConfigError with ``source`` and the line."""
    values = parse(text, source, "a scenario")
    protocol = values.get("protocol")
    if protocol not in _BY_PROTOCOL:
        said = "has no protocol" if protocol is None else f"unknown protocol {protocol!r}"
        known = ", ".join(f'"{name}"' for name in _BY_PROTOCOL)
        raise Lines(text).error(source, ("protocol",), said, f"protocol = one of {known}")
    return convert(values, _BY_PROTOCOL[protocol], text, source, hint=_HINT, words=_WORDS)


_HINT: Final = "the built-in scenario explains each key: polltape mock --print-scenario shopify-checkout"
_WORDS: Final = {
    re.compile(r"Expected str matching regex '\^\[0-9\]\{1,12\}.*"): 'expected an amount such as "9.99", in quotes',
}
