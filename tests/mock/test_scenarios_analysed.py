"""Every scenario, played in virtual time and analysed: a polite client has no findings, a rude one the right ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from scenario_stories import (
    CREATE,
    POLL,
    SHARED_ID,
    SUBMIT,
    VM,
    attempt_query,
    buys,
    calls,
    deploys,
    order,
    orders,
    query,
    queues,
    submission,
    submits,
)

from polltape.capture.keys import Key
from polltape.capture.reading import Capture
from polltape.capture.redaction import Redactor
from polltape.exchange import Body, Coverage, Exchange, to_table
from polltape.measures.analysis import Analysis, analyse
from polltape.mock.core import Mock, Request, Response
from polltape.mock.scenario import parse_scenario, scenario_names, scenario_text
from polltape.protocols import observe
from polltape.protocols.base import ADDRESS_HEADERS
from polltape.protocols.par_digest import judged

NOW = 1_800_000_000.0
LATENCY_S = 0.02
KEY = Key(b"0123456789abcdef0123456789abcdef", "test")
Ask = Callable[..., Request]


def instant(seconds: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=round(seconds * 1e6))


class Client:
    """One client of a scenario; what it sends is taken as a recorder would take it."""

    def __init__(self, ask: Ask, name: str, host: str, changes: Iterable[tuple[str, str]] = ()) -> None:
        text = scenario_text(name)
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        self._mock = Mock.from_scenario(parse_scenario(text, name))
        self._ask = ask
        self._redactor = Redactor(KEY)
        self._host = host
        self.taken: list[Exchange] = []
        self.now = NOW

    def __call__(self, method: str, url: str, sent: object = None, **headers: str) -> Response:
        parts = urlsplit(url)
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        lines = {"Content-Type": "application/json", **headers}
        request = self._ask(method, target, sent, headers=lines, authority=self._host, scheme="https")
        answer = self._mock.answer(request, self.now)
        start, self.now = self.now, self.now + LATENCY_S
        exchange = Exchange(
            *(f"{self._host}-{len(self.taken):04d}", method, "https", self._host, 443, parts.path, instant(start)),
            query=parts.query or None,
            request_ended_at=instant(start),
            response_started_at=instant(self.now),
            response_ended_at=instant(self.now),
            request_headers=request.headers,
            request_body=Body(content=request.body, size=len(request.body)),
            status=answer.status,
            reason=answer.reason,
            response_headers=answer.headers,
            response_body=Body(content=answer.body, size=len(answer.body)),
            client_address="127.0.0.1:5",
            session_id="s",
        )
        self.taken.append(observe(self._redactor.redact(judged(exchange, SHARED_ID))))
        return answer

    def wait(self, answer: Response, default: float = 1.0) -> None:
        """As long as the answer asks to."""
        self.now += float(answer.header("X-Polltape-Wait") or default)


# ------------------------------------------------------------------------------------------------ polite


def is_pending(answer: Response, style: str) -> bool:
    if style == "json-api":
        return answer.status == 200
    if style == "azure-data":
        return bool(answer.json()["status"] == "Running")
    return answer.json()["done"] is False if style == "aip-151" else answer.status == 202


def runs_job(style: str) -> Callable[[Client], None]:
    def play(client: Client) -> None:
        answer = client(*("POST", "/jobs", {"input": "a"}), Prefer="respond-async")
        address = next((answer.header(name) for name in ADDRESS_HEADERS if answer.header(name)), None)
        address = address or f"/{answer.json()['name']}"
        while True:
            client.wait(answer)
            answer = client("GET", address)
            if not is_pending(answer, style):
                break
        if answer.status == 303:
            assert client("GET", answer.header("Location") or "").status == 200

    return play


# ------------------------------------------------------------------------------------------------- rude


def polls_at_once(client: Client) -> None:
    """Takes each 202 for an invitation to ask again at once."""
    made = client("POST", CREATE, {"checkout": {}})
    path = CREATE.replace(".json", f"/{made.json()['checkout']['token']}.json")
    while client("GET", path).status == 202:
        client.now += 0.05


def sleeps_half(client: Client) -> None:
    made = client("POST", CREATE, {"checkout": {}})
    path = CREATE.replace(".json", f"/{made.json()['checkout']['token']}.json")
    while made.status == 202:
        client.now += 0.5
        made = client("GET", path)


def gives_up(client: Client) -> None:
    made = client("POST", CREATE, {"checkout": {}})
    client.wait(made)
    client("GET", CREATE.replace(".json", f"/{made.json()['checkout']['token']}.json"))


def waits_for_ever(client: Client) -> None:
    made = client("POST", CREATE, {"checkout": {}})
    path = CREATE.replace(".json", f"/{made.json()['checkout']['token']}.json")
    for _ in range(30):
        client.wait(made)
        made = client("GET", path)


def poll_queue(client: Client, token: str | None) -> tuple[Response, Any]:
    answer = client("POST", "/queue/poll", {"query": POLL, "variables": {"token": token}})
    return answer, answer.json()["data"]["poll"]


def comes_late(client: Client) -> None:
    """Backs off although the shop gives its own pace."""
    made = client("POST", CREATE, {"checkout": {}})
    client.now += 5
    assert client("GET", CREATE.replace(".json", f"/{made.json()['checkout']['token']}.json")).status == 200


def polls_queue_early(client: Client) -> None:
    """Until it is released, every 0.2 s; nothing moves before pollAfter."""
    token = client("POST", CREATE, {"checkout": {}}).header("X-Checkout-Queue-Token")
    told: Any = {"__typename": "PollContinue"}
    while told["__typename"] == "PollContinue":
        _, told = poll_queue(client, token)
        token = told["token"]
        client.now += 0.05
    client(*("POST", CREATE, {"checkout": {}}), **{"X-Checkout-Queue-Token": token})


def keeps_first_token(client: Client) -> None:
    """Loses its place with every poll, and is never released."""
    token = client("POST", CREATE, {"checkout": {}}).header("X-Checkout-Queue-Token")
    for _ in range(5):
        answer, told = poll_queue(client, token)
        assert told["__typename"] == "PollContinue"
        client.wait(answer)


def forgets_the_token(client: Client) -> None:
    """Is released, sends the request again without its token, and is queued anew."""
    token = client("POST", CREATE, {"checkout": {}}).header("X-Checkout-Queue-Token")
    told: Any = {"__typename": "PollContinue"}
    while told["__typename"] == "PollContinue":
        answer, told = poll_queue(client, token)
        token = told["token"]
        client.wait(answer, 0.1)
    assert client("POST", CREATE, {"checkout": {}}).status == 429


def comes_back_without_token(client: Client) -> None:
    """The line is empty by then: the shop lets it in all the same."""
    client("POST", CREATE, {"checkout": {}})
    queued = client("POST", CREATE, {"checkout": {"note": "second"}})
    token = queued.header("X-Checkout-Queue-Token")
    answer, told = poll_queue(client, token)
    while told["__typename"] == "PollContinue":
        client.wait(answer)
        answer, told = poll_queue(client, told["token"])
    client.now += 5
    assert client("POST", CREATE, {"checkout": {"note": "second"}}).status == 202


def submits_twice(client: Client) -> None:
    query(client, submission("c1"))
    client.now += 1
    assert query(client, submission("c1"))[1]["result"]["__typename"] == "SubmitAlreadyAccepted"
    client.now += 5


def reads_milliseconds_as_micro(client: Client) -> None:
    attempt: str = query(client, submission("c1"))[1]["result"]["attemptId"]
    while query(client, attempt_query(attempt))[1]["__typename"] == "CartCompletionProcessing":
        client.now += 0.001


def polls_cart_on(client: Client) -> None:
    attempt = submits(client)
    client.now += 1
    query(client, attempt_query(attempt))


def orders_and_polls_on(client: Client) -> None:
    orders(client)
    client.now += 1
    client("GET", "/posnext/orders/o1")


def orders_twice(client: Client) -> None:
    client("POST", SUBMIT, order())
    client.now += 1
    orders(client)


def orders_for_ever(client: Client) -> None:
    client("POST", SUBMIT, order())
    for _ in range(70):
        client.now += 1
        client("GET", "/posnext/orders/o1")


def orders_for_long(client: Client) -> None:
    """Takes a word that it does not know for pending."""
    client("POST", SUBMIT, order())
    while client("GET", "/posnext/orders/o1").json()["status"] not in ("placed", "errored", "rejected"):
        client.now += 1


def orders_twenty(client: Client) -> None:
    for number in range(20):
        orders(client, f"o{number}")


def deploys_and_cancels(client: Client) -> None:
    made = client("PUT", VM, {"properties": {}})
    monitor = made.header("Azure-AsyncOperation") or ""
    client.wait(made)
    assert client("GET", monitor).json()["status"] == "InProgress"
    client.now += 1.5
    assert client("DELETE", monitor).status == 202


def deploys_at_once(client: Client) -> None:
    monitor = client("PUT", VM, {"properties": {}}).header("Azure-AsyncOperation") or ""
    while client("GET", monitor).json()["status"] == "InProgress":
        client.now += 0.05


def deploys_and_polls_on(client: Client) -> None:
    monitor = deploys(client)
    client.now += 1
    client("GET", monitor)


def deploys_and_forgets(client: Client) -> None:
    client("PUT", VM, {"properties": {}})
    client.now += 10


def calls_again_at_once(client: Client) -> None:
    for number in range(6):
        while client("GET", f"/things/{number}").status == 429:
            client.now += 0.05


def calls_elsewhere(client: Client) -> None:
    for number in range(5):
        answer = client("GET", f"/things/{number}")
    assert answer.status == 429
    client.now += 0.2
    client.wait(client("GET", "/others/1"))
    client("GET", "/others/1")
    client("GET", "/things/4")


# ------------------------------------------------------------------------------------- what is expected

Changes = tuple[tuple[str, str], ...]
Ends = dict[str, set[str]]


class Expected(NamedTuple):
    """A story of a scenario, changed or not, how its operations end, and the codes of its findings."""

    scenario: str
    play: Callable[[Client], object]
    ends: Ends
    codes: set[str]
    changes: Changes = ()


DONE: Ends = {"checkout.create": {"completed"}}
ORDERED: Ends = {"order.submit": {"completed"}}
DEPLOYED: Ends = {"async": {"completed"}}
POLITE: dict[str, Expected] = {
    "shopify-checkout": Expected("shopify-checkout", buys, DONE, set()),
    "shopify-queue": Expected("shopify-queue", queues, {"queue.wait": {"completed"}, **DONE}, set()),
    "shopify-cart": Expected("shopify-cart", submits, {"cart.submit": {"completed"}}, set()),
    "par-posnext": Expected("par-posnext", orders, ORDERED, set()),
    "azure-lro": Expected("azure-lro", deploys, DEPLOYED, set()),
    "throttled-api": Expected("throttled-api", calls, {"throttle": {"completed"}}, set()),
}
RELATIVES: dict[str, Expected] = {
    style: Expected("azure-lro", runs_job(style), DEPLOYED, set(), (('style = "azure-arm"', f'style = "{style}"'),))
    for style in ("azure-data", "rfc7240", "json-api", "fhir", "aip-151")
}
MORE: dict[str, Expected] = {
    "polls at once": Expected("shopify-checkout", polls_at_once, DONE, {"RA002"}),
    "sleeps half": Expected("shopify-checkout", sleeps_half, DONE, {"RA001"}),
    "gives up": Expected("shopify-checkout", gives_up, {"checkout.create": {"abandoned"}}, {"OP002"}),
    "stuck": Expected(
        *("shopify-checkout", waits_for_ever, {"checkout.create": {"abandoned"}}, {"OP001", "OP002"}),
        changes=(("duration_s = 1.5", "duration_s = inf"),),
    ),
    "a hint that is a fraction": Expected(
        *("shopify-checkout", buys, DONE, {"RA004"}),
        changes=(("duration_s = 1.5\nretry_after = 1", "duration_s = 1.5\nretry_after = 1.0"),),
    ),
    "hints that contradict": Expected(
        *("shopify-checkout", buys, DONE, {"RA005"}),
        changes=(("duration_s = 1.5\nretry_after = 1", "duration_s = 1.5\nretry_after = [1, 2]"),),
    ),
    "no hint": Expected(
        *("shopify-checkout", buys, DONE, {"RA003"}),
        changes=(("duration_s = 1.5\nretry_after = 1", 'duration_s = 1.5\nretry_after = "none"'),),
    ),
    "comes late": Expected("shopify-checkout", comes_late, DONE, {"RA006"}),
    "an estimate that is wrong": Expected(
        *("shopify-queue", queues, {"queue.wait": {"completed"}, **DONE}, {"CQ005"}),
        changes=(("eta = 1.0 ", "eta = 3.0 "),),
    ),
    "polls the queue early": Expected(
        "shopify-queue",
        polls_queue_early,
        {"queue.wait": {"completed"}, "checkout.create": {"abandoned"}},
        {"CQ001", "RA002", "OP003"},
    ),
    "keeps the first token": Expected(
        "shopify-queue", keeps_first_token, {"queue.wait": {"abandoned"}}, {"CQ002", "OP002"}
    ),
    "forgets the token": Expected(
        "shopify-queue", forgets_the_token, {"queue.wait": {"abandoned"}}, {"CQ003", "OP003"}
    ),
    "comes back without the token": Expected(
        *("shopify-queue", comes_back_without_token),
        {"queue.wait": {"completed"}, "checkout.create": {"abandoned"}},
        {"CQ004", "OP003"},
        (("length = 3", "length = 0"),),
    ),
    "submits twice": Expected("shopify-cart", submits_twice, {"cart.submit": {"abandoned"}}, {"OP005", "OP003"}),
    "misreads pollDelay": Expected(
        "shopify-cart", reads_milliseconds_as_micro, {"cart.submit": {"completed"}}, {"RA002"}
    ),
    "polls a cart on": Expected("shopify-cart", polls_cart_on, {"cart.submit": {"completed"}}, {"OP004"}),
    "a card is declined": Expected(
        "shopify-cart", submits, {"cart.submit": {"failed"}}, set(), (("\nfailed = 0.0", "\nfailed = 1.0"),)
    ),
    "the buyer is to act": Expected(
        *("shopify-cart", submits, {"cart.submit": {"action_required"}}, set()),
        changes=(("action_required = 0.0", "action_required = 1.0"),),
    ),
    "orders and polls on": Expected("par-posnext", orders_and_polls_on, ORDERED, {"OP004"}),
    "orders twice": Expected("par-posnext", orders_twice, ORDERED, {"OP005"}),
    "an order is stuck": Expected(
        *("par-posnext", orders_for_ever, {"order.submit": {"abandoned"}}, {"OP001", "OP002"}),
        changes=(("duration_s = 3.0\nstuck = 0.0", "duration_s = 3.0\nstuck = 1.0"),),
    ),
    "signed wrongly": Expected("par-posnext", orders, ORDERED, {"PN002"}, (("wrong = 0.0", "wrong = 1.0"),)),
    "not signed": Expected("par-posnext", orders, ORDERED, {"PN001"}, (("missing = 0.0", "missing = 1.0"),)),
    "an order is rejected": Expected(
        *("par-posnext", orders, {"order.submit": {"rejected"}}, set()),
        changes=(("# the others end placed\nerrored = 0.0\nrejected = 0.0", "\nrejected = 1.0"),),
    ),
    "every order is pending": Expected("par-posnext", orders_twenty, ORDERED, {"PN003"}),
    "a word that PAR does not know": Expected(
        "par-posnext", orders_for_long, ORDERED, {"PN004"}, (("unknown = 0.0", "unknown = 1.0"),)
    ),
    "deploys and cancels": Expected("azure-lro", deploys_and_cancels, {"async": {"rejected"}}, set()),
    "deploys at once": Expected("azure-lro", deploys_at_once, DEPLOYED, {"RA002"}),
    "deploys and polls on": Expected("azure-lro", deploys_and_polls_on, DEPLOYED, {"OP004"}),
    "deploys and forgets": Expected("azure-lro", deploys_and_forgets, {"async": {"abandoned"}}, {"OP003"}),
    "a deployment fails": Expected(
        *("azure-lro", deploys, {"async": {"failed"}}, {"ST002"}),  # there is no machine to read afterwards
        changes=(("\nfailed = 0.0", "\nfailed = 1.0"),),
    ),
    "calls again at once": Expected(
        "throttled-api", calls_again_at_once, {"throttle": {"completed"}}, {"RA002", "RA007"}
    ),
    "calls elsewhere": Expected("throttled-api", calls_elsewhere, {"throttle": {"completed"}}, {"RA001", "RA007"}),
}
STORIES = {**POLITE, **RELATIVES, **MORE}


@pytest.fixture(scope="module")
def analysis(ask: Ask) -> Analysis:
    """All stories in one capture, each with a host of its own, and a minute of quiet behind the last."""
    taken: list[Exchange] = []
    end = NOW
    for number, story in enumerate(STORIES.values()):
        client = Client(ask, story.scenario, f"story{number}.example", story.changes)
        story.play(client)
        taken += client.taken
        end = max(end, client.now)
    covered = Coverage("s", instant(NOW), instant(end + 60))
    return analyse(Capture((), to_table(taken), (covered,), 0, ("test",), ()))


def test_every_scenario_has_a_polite_client() -> None:
    assert sorted(POLITE) == scenario_names()


@pytest.mark.parametrize("name", sorted(STORIES))
def test_operations_end_as_played_and_findings_are_those_of_the_story(analysis: Analysis, name: str) -> None:
    story = STORIES[name]
    host = f"story{[*STORIES].index(name)}.example"
    operations = analysis.operations[analysis.operations["host"] == host]
    assert {kind: {*outcomes} for kind, outcomes in operations.groupby("kind")["outcome"]} == story.ends
    codes, evidence = analysis.findings["code"], analysis.findings["exchanges"]
    assert {code for code, names in zip(codes, evidence, strict=True) if names[0].startswith(host)} == story.codes
