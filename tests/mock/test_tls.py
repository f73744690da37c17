"""The mock's own certificate authority."""

from __future__ import annotations

import json
import socket
import ssl
from urllib.parse import urlsplit
from urllib.request import urlopen

from polltape.mock.core import Mock
from polltape.mock.server import serving
from polltape.mock.tls import certificates


def test_tls_with_an_authority_that_a_strict_client_trusts() -> None:
    mock = Mock.from_scenario("shopify-checkout")
    with certificates(["shop.example"]) as shown, serving(mock, certificates=shown) as url:
        assert url.startswith("https://127.0.0.1:")
        assert shown.key.stat().st_mode & 0o077 == 0
        trusting = ssl.create_default_context(cafile=str(shown.authority))
        trusting.verify_flags |= ssl.VERIFY_X509_STRICT
        with urlopen(f"{url}/__polltape", timeout=10, context=trusting) as page:
            assert json.load(page)["protocol"] == "shopify-checkout"
        port = urlsplit(url).port
        with (
            socket.create_connection(("127.0.0.1", int(port or 0)), timeout=10) as raw,
            trusting.wrap_socket(raw, server_hostname="shop.example") as named,
        ):
            assert named.version() == "TLSv1.3"
    assert not shown.key.exists()
