"""The server around the mock, on real sockets."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request as Ask
from urllib.request import urlopen

import pytest

from polltape.errors import ServiceError
from polltape.exchange import Header
from polltape.mock.core import Mock, Request, Response
from polltape.mock.server import bind, serving, steady_clock

ADMIN = "/admin/api/2020-10/checkouts"


@pytest.fixture
def mock() -> Mock:
    return Mock.from_scenario("shopify-checkout")


class Echo:
    """A backend that tells what reached it."""

    protocol = "echo"

    def answer(self, request: Request, now: float) -> Response:
        told = [request.method, request.base, request.target, request.body.decode(), request.header("X-Two")]
        body = json.dumps(told).encode()
        return Response(200, "OK", (Header("Content-Length", str(len(body))), Header("A", "1"), Header("A", "2")), body)

    def status(self, now: float) -> list[dict[str, object]]:
        return []

    def reset(self) -> None:
        return


def test_a_client_polls_over_a_socket_until_its_200(mock: Mock) -> None:
    with serving(mock) as url:
        sent = json.dumps({"checkout": {"email": "a@b.example"}}).encode()
        with urlopen(Ask(f"{url}{ADMIN}.json", sent, method="POST"), timeout=10) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (202, "1")
            location = answer.headers["Location"]
            assert location.startswith(url)
        with urlopen(location, timeout=10) as pending:
            assert pending.status == 202
        with urlopen(f"{url}/__polltape/advance?seconds=1.5", timeout=10) as page:
            assert json.load(page)["clock"] == 1.5
        with urlopen(location, timeout=10) as final:
            assert (final.status, json.load(final)["checkout"]["email"]) == (200, "a@b.example")
            assert final.headers["Server"] is None
            assert len(final.headers.get_all("Date")) == 1


def test_the_request_reaches_the_mock_as_it_was_sent() -> None:
    with serving(Mock(Echo())) as url:
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=10)
        for _ in range(2):  # and the connection stays
            headers = {"Host": "shop.example", "X-Forwarded-Proto": "https", "X-Two": "zwei"}
            connection.request("PATCH", "/a%2Fb%20c?d=%C3%A9&e", body="body", headers=headers)
            answer = connection.getresponse()
            told = json.loads(answer.read())
            assert told == ["PATCH", "https://shop.example", "/a%2Fb%20c?d=%C3%A9&e", "body", "zwei"]
            assert answer.headers.get_all("A") == ["1", "2"]
        connection.close()


def test_half_a_request_does_nothing(mock: Mock) -> None:
    with serving(mock) as url:
        parts = urlsplit(url)
        with socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=10) as client:
            client.sendall(f"POST {ADMIN}.json HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{{".encode())
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""
        with urlopen(f"{url}/__polltape", timeout=10) as page:
            assert json.load(page)["served"] == 0


def test_a_held_answer_is_sent_when_its_time_has_come(mock: Mock) -> None:
    class Holding(Echo):
        def answer(self, request: Request, now: float) -> Response:
            return Response(200, "OK", (Header("Content-Length", "0"),), b"", hold_s=0.2)

    clock = steady_clock()
    with serving(Mock(Holding())) as url:
        start = clock()
        with urlopen(url, timeout=10) as answer:
            assert answer.status == 200
        assert clock() - start >= 0.2


def test_a_fault_of_the_mock_is_a_500_that_says_so_and_the_server_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(Echo):
        def answer(self, request: Request, now: float) -> Response:
            raise RuntimeError("the fault")

    with serving(Mock(Broken())) as url:
        for _ in range(2):
            with pytest.raises(HTTPError) as caught:
                urlopen(url, timeout=10)
            assert caught.value.code == 500
            caught.value.close()


def test_a_port_in_use_is_one_clear_error() -> None:
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServiceError, match=f"port {port} on 127.0.0.1 is in use") as caught:
            bind("127.0.0.1", port)
        assert "--port 0" in str(caught.value.hint)


def test_a_host_that_is_none_is_one_clear_error() -> None:
    with pytest.raises(ServiceError, match=r"cannot listen on host 'nowhere\.invalid'"):
        bind("nowhere.invalid", 0)


def test_the_server_ends_with_its_block(mock: Mock) -> None:
    with serving(mock) as url:
        pass
    assert not [thread for thread in threading.enumerate() if thread.name == "polltape-mock"]
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", int(urlsplit(url).port or 0)), timeout=5)
