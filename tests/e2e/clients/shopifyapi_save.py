"""ShopifyAPI (pyactiveresource): saves a checkout and takes True for the answer."""

import os

import shopify

session = shopify.Session(os.environ["BASE"].removeprefix("https://"), "2024-04", "shpat_0123456789abcdef")
shopify.ShopifyResource.activate_session(session)
checkout = shopify.Checkout()
checkout.line_items = [{"variant_id": 39072856, "quantity": 1}]
print(checkout.save(), checkout.completed_at)
