"""The tables of a scenario with a checkout; the built-in ``shopify-checkout`` explains each key."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta, field

from polltape.mock.buckets import Bucket
from polltape.mock.scenario_tables import Kind, Money, Scenario, Share
from polltape.toml_file import Table

if TYPE_CHECKING:
    from polltape.mock.core import Backend


class Shop(Table, frozen=True):
    """The shop as a whole."""

    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")] = "USD"
    tax_rate: Annotated[str, Meta(pattern=r"^0(\.[0-9]{1,6})?$")] = "0.06"
    location: bool = True
    access_token: bool = False
    settled_status: Literal[200, 202] = 200
    idle: list[Annotated[str, Meta(min_length=1)]] = field(default_factory=list)
    strict: bool = False


class CreateKind(Kind, frozen=True):
    """A new checkout.

    ``status``: 202 as in the reference, or 201 where nothing has to be waited for; ``asynchronous_tax``: with 201,
    a checkout that has an address to tax by is answered 202 all the same.  ``per_minute``: more than these are
    answered 303, as Shopify does beyond five (0: no limit).
    """

    status: Literal[202, 201] = 202
    asynchronous_tax: bool = False
    per_minute: Annotated[int, Meta(ge=0, le=10**6)] = 0


class PaymentKind(Kind, frozen=True):
    """A payment, and the share of them that is declined."""

    declined: Share = 0.0


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


class CheckoutTables(Scenario, frozen=True, kw_only=True):
    """What every scenario with a checkout has."""

    shop: Shop = Shop()
    bucket: Bucket = Bucket()
    create: CreateKind = CreateKind()
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


class CheckoutScenario(CheckoutTables, frozen=True, kw_only=True):
    """The scenario of protocol ``shopify-checkout``."""

    built_in: ClassVar[str] = "shopify-checkout"

    protocol: Literal["shopify-checkout"]

    def backend(self, *, speed: float, seed: int) -> Backend:
        """What plays it."""
        from polltape.mock.checkout_shop import CheckoutShop

        return CheckoutShop(self, speed=speed, seed=seed)
