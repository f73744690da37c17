"""The brakes in front of a real server."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import stories

from polltape.capture.redaction_rules import DEFAULT_RULES
from polltape.errors import ServiceError, UsageError
from polltape.exchange import Exchange, Header
from polltape.mock.core import Mock
from polltape.mock.scenario import parse_scenario
from polltape.mock.server import serving
from polltape.protocols import observe
from polltape.replay.carrying import Carrier
from polltape.replay.case import case_of
from polltape.replay.runner import replay_on_target
from polltape.replay.target import check_writes, headers_given, peer_of, without_pseudonyms


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://a.example", "a.example", 80),
        ("https://A.example:8443/", "a.example", 8443),
        ("http://[::1]:5", "::1", 5),
    ],
)
def test_a_target_is_scheme_host_and_port(url: str, host: str, port: int) -> None:
    peer = peer_of(url)
    assert (peer.host, peer.port) == (host, port)
    assert (peer.tls is not None) == url.startswith("https")


@pytest.mark.parametrize(
    "url", ["a.example", "ftp://a", "http://", "http://a/path", "http://u:p@a", "http://a:x", "http://a?b", "http://["]
)
def test_any_other_target_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="--target"):
        peer_of(url)


@pytest.mark.parametrize("whose", ["reader:hunter2", "hunter2"])
@pytest.mark.parametrize("rest", ["staging.example", "staging.example:port", "staging.example/path"])
def test_a_target_with_credentials_is_refused_without_telling_them(whose: str, rest: str) -> None:
    with pytest.raises(UsageError) as caught:
        peer_of(f"https://{whose}@{rest}")
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"


def test_a_credential_comes_from_the_environment() -> None:
    assert headers_given(["X-Api-Key=env:KEY"], {"KEY": "secret"}) == (Header("X-Api-Key", "secret"),)


@pytest.mark.parametrize(
    "option", ["X-Api-Key=secret", "X-Api-Key", "=env:KEY", "X=env:", "X=env:NONE", "X=env:BROKEN"]
)
def test_any_other_header_is_refused_and_never_quoted(option: str) -> None:
    with pytest.raises(UsageError) as caught:
        headers_given([option], {"KEY": "secret", "BROKEN": "secret\r\nX: y"})
    assert "secret" not in str(caught.value)


def test_writes_go_only_to_loopback_and_to_allowed_hosts() -> None:
    story = stories.early()
    for url in ("http://127.0.0.1:9", "http://localhost", "http://[::1]"):
        check_writes(story, peer_of(url), [])
    check_writes(story, peer_of("http://Staging.example"), ["staging.EXAMPLE"])
    check_writes(story[1:], peer_of("http://staging.example"), [])
    with pytest.raises(UsageError, match=r"1 of the requests may change something on staging\.example"):
        check_writes(story, peer_of("http://staging.example"), ["other.example"])


def prepared(recorded: Exchange, *given: Header, learnt: Exchange | None = None) -> list[Header]:
    first = stories.exchange(0.0, "POST", stories.CREATE, 201, more=[("X-Checkout-Queue-Token", "queue-token-1")])
    carrier = Carrier([first, recorded])
    if learnt is not None:
        carrier.learn(first, learnt)
    return list(without_pseudonyms(given, DEFAULT_RULES)(carrier.outgoing(recorded), recorded, carrier).headers)


def test_pseudonyms_are_never_sent_as_credentials() -> None:
    recorded = stories.poll(
        1.0,
        sent_headers=[
            ("X-Shopify-Access-Token", "shpat_pseudonym"),
            ("Authorization", "Basic pseudonym"),
            ("Cookie", "a=b"),
            ("Accept", "application/json"),
        ],
    )
    assert prepared(recorded) == [Header("Accept", "application/json")]
    given = Header("Authorization", "Bearer mine")
    assert prepared(recorded, given) == [Header("Accept", "application/json"), given]


def test_a_token_that_the_target_has_issued_is_sent() -> None:
    recorded = stories.poll(1.0, sent_headers=[("X-Checkout-Queue-Token", "queue-token-1")])
    assert prepared(recorded) == []
    first = stories.exchange(0.0, "POST", stories.CREATE, 201, more=[("X-Checkout-Queue-Token", "queue-token-2")])
    assert prepared(recorded, learnt=first) == [Header("X-Checkout-Queue-Token", "queue-token-2")]


def test_secrets_in_the_query_go_too() -> None:
    recorded = replace(stories.poll(1.0), query="access_token=dropped&page=2&empty=")
    carrier = Carrier([recorded])
    assert without_pseudonyms([], DEFAULT_RULES)(carrier.outgoing(recorded), recorded, carrier).query == "page=2&empty="


# ------------------------------------------------------------------------------------ a server that is real


class Shop(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    heard: list[dict[str, str]]
    done_after: int

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.heard.append({"path": self.path, **{name.lower(): value for name, value in self.headers.items()}})
        token = self.path.rpartition("/")[2].removesuffix(".json").encode()
        body = b'{"checkout": {"token": "' + token + b'", "email": "jo@example.com"}}'
        self.send_response(202 if len(self.heard) <= self.done_after else 200)
        self.send_header("Retry-After", "1")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST = answer  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def shop() -> Iterator[tuple[str, type[Shop]]]:
    handler = type("OneShop", (Shop,), {"heard": [], "done_after": 3})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", handler
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def own_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLLTAPE_CONFIG_DIR", str(tmp_path / "config"))


def test_a_real_server_is_asked_the_same_and_what_it_says_is_redacted(shop: tuple[str, type[Shop]]) -> None:
    url, handler = shop
    case = case_of(stories.capture(stories.early(), 60))
    done = replay_on_target(case, url, timing="recorded")
    assert done.verdict.by == "target"
    assert done.verdict.reproduced
    assert done.verdict.lives[0].replayed_statuses == (202, 202, 202, 200)
    assert {heard["host"] for heard in handler.heard} == {url.removeprefix("http://")}
    assert b"jo@example.com" not in b"".join(e.response_body.content or b"" for e in done.exchanges)
    assert {e.host for e in done.exchanges} == {"127.0.0.1"}


def test_a_real_server_that_is_done_at_once_does_not_have_the_bug(shop: tuple[str, type[Shop]]) -> None:
    url, handler = shop
    handler.done_after = 0
    done = replay_on_target(case_of(stories.capture(stories.early(), 60)), url, timing="asap")
    assert not done.verdict.reproduced


def test_a_target_that_refuses_is_one_line() -> None:
    case = case_of(stories.capture(stories.early(), 60))
    with pytest.raises(ServiceError, match="cannot be reached"):
        replay_on_target(case, "http://127.0.0.1:1")


class Things(Shop):
    """Gives what is made another number than then, and lets nobody read it."""

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.heard.append({"path": self.path})
        body = b'{"id": 7654321}'
        self.send_response(201 if self.command == "POST" else 429)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer  # noqa: N815


def test_a_short_number_that_has_come_by_then_is_carried(shop: tuple[str, type[Shop]]) -> None:
    """Too short to tell whether it came from there, so nothing waits for it; but a request is made when it goes."""
    url, handler = shop
    handler.answer = handler.do_GET = handler.do_POST = Things.answer  # type: ignore[method-assign,assignment]
    story = [
        stories.exchange(0, "POST", "/things", 201, sent={}, got={"id": 1234567}),
        stories.exchange(0.4, "GET", "/things/1234567/state", 429, wait="1"),
    ]
    replay_on_target(case_of(stories.capture(story, 60)), url)
    assert [heard["path"] for heard in handler.heard] == ["/things", "/things/7654321/state"]


@pytest.mark.parametrize(("wrong", "reproduced"), [("1.0", True), ("0.0", False)])
def test_whether_a_real_server_signs_right_is_judged_with_the_key(wrong: str, reproduced: bool) -> None:
    """Without PAR's SharedId nobody can tell: that is said, and never called mended."""
    sent, signed = {"request_uid": "order-12345"}, [("x-pch-digest", "0")]
    submit = stories.exchange(
        0, "POST", "/posnext/order/submit", 202, sent=sent, got={**sent, "status": "pending"}, more=signed
    )
    case = case_of(stories.capture([observe(replace(submit, digest_ok=False))], 1))
    assert [found.code for found in case.findings] == ["PN002"]
    scenario = parse_scenario(f'protocol = "par-posnext"\n[digest]\nwrong = {wrong}\n', "test")
    with serving(Mock.from_scenario(scenario)) as url:
        done = replay_on_target(case, url, shared_id="0123456789ABCDEF")
        assert done.verdict.reproduced is reproduced
        with pytest.raises(UsageError, match="PN002: without PAR's SharedId"):
            replay_on_target(case, url)
