"""What the forum thread did: it modifies a checkout through ShopifyAPI and takes the 202 for the answer.

``save()`` returns True on a 202, so nothing looks wrong: the total that the buyer sees is the old one.

Reads SHOP (host) and TOKEN (access token); the proxy and its certificate come from HTTPS_PROXY and
SSL_CERT_FILE, as for any Python program.
"""

import os

import shopify


def main() -> None:
    """Create a checkout, change it, and never ask again."""
    session = shopify.Session(os.environ["SHOP"], "2024-04", os.environ["TOKEN"])
    shopify.ShopifyResource.activate_session(session)
    checkout = shopify.Checkout()
    checkout.line_items = [{"variant_id": 39072856, "quantity": 1}]
    if not checkout.save():
        raise SystemExit(f"create refused: {checkout.errors.full_messages()}")
    print(f"created; save() said True, total shown to the buyer: {checkout.total_price}")
    checkout.email = "bob.norman@mail.example.com"
    checkout.shipping_address = {
        "first_name": "Bob",
        "last_name": "Norman",
        "address1": "126 York St.",
        "city": "Los Angeles",
        "province_code": "CA",
        "country_code": "US",
        "phone": "(213)456-7890",
        "zip": "90002",
    }
    accepted = checkout.save()
    print(f"modified; save() said {accepted}, total shown to the buyer: {checkout.total_price} (taxes are missing)")


if __name__ == "__main__":
    main()
