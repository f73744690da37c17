"""Recorded, played by the mock, recorded again: the same client lives through the same story, in every protocol.

A scenario is the first server; its redacted capture becomes a ``polltape mock``, at speed 1 and at 10; both times
a real mitmdump records.  What the client lived through is compared by what ``polltape analyze`` says of it.

At speed 10 a hint keeps whole seconds, so the stories that are played so ask for ten.  A client that comes back
some milliseconds sooner than the recorded one must not make a difference: operations end in the middle of their
brackets (``--complete-at middle``), not where they were seen to end.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import pytest
from mitmdumps import PATIENCE_S, PROGRAMS, Mitmdump, helper_has_finished, starting
from shops import recorded_shops
from talkers import Client

from polltape.mock.core import Mock
from polltape.mock.scenario import parse_scenario, scenario_text

sys.path.insert(0, str(Path(__file__).parents[1] / "mock"))
from scenario_stories import (
    CREATE,
    POLL,
    SHARED_ID,
    SUBMIT,
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

# ---------------------------------------------------------------------------------------------- more clients

IDLE = "5cb4149503d186d8eec0ad2c4b9c6ea7"


def buys_early(client: Client) -> None:
    """Comes back each second, whatever it is asked."""
    made = client("POST", CREATE, {"checkout": {"note": "early"}})
    path = CREATE.replace(".json", f"/{made.json()['checkout']['token']}.json")
    while made.status == 202:
        client.pause(1)
        made = client("GET", path)


def changes(client: Client) -> None:
    """Polite, with a checkout that was there before."""
    path = CREATE.replace(".json", f"/{IDLE}.json")
    made = client("PUT", path, {"checkout": {"note": "changed"}})
    while made.status == 202:
        client.wait(made)
        made = client("GET", path)


def keeps_first_token(client: Client) -> None:
    token = client("POST", CREATE, {"checkout": {"note": "first"}}).header("X-Checkout-Queue-Token")
    for _ in range(3):
        client.wait(client("POST", "/queue/poll", {"query": POLL, "variables": {"token": token}}))


def submits_twice(client: Client) -> None:
    for _ in range(2):
        query(client, submission("c2"))
        client.pause(1)


def orders_twice(client: Client) -> None:
    client("POST", SUBMIT, order("o2"))
    client.pause(0.5)
    orders(client, "o2")


def polls_on(client: Client) -> None:
    monitor = deploys(client, "/vms/two?api-version=2024-07-01")
    client.pause(0.5)
    client("GET", monitor)


def calls_early(client: Client) -> None:
    client("GET", "/others/1")
    while client("GET", "/others/2").status == 429:
        client.pause(1)


def calls_twice(client: Client) -> None:
    calls(client, 2)


# -------------------------------------------------------------------------------------------------- stories


class Story(NamedTuple):
    """A scenario with its changes, who plays it, at which speed it is played again, and what is found in it."""

    scenario: str
    changes: tuple[tuple[str, str], ...]
    play: Callable[[Client], object]
    speed: int
    ends: set[tuple[str, str]]
    codes: set[str]


def takes(before: str, seconds: float, hint: str) -> tuple[str, str]:
    return before, f"duration_s = {seconds}\nretry_after = {hint}"


BOUGHT, ORDERED, DEPLOYED = (
    {("checkout.create", "completed")},
    {("order.submit", "completed")},
    {("async", "completed")},
)
QUEUED, SUBMITTED, CALLED = {("queue.wait", "completed")}, {("cart.submit", "completed")}, {("throttle", "completed")}
CHANGED, CHANGED_SLOWLY = "[update]\nduration_s = 2.5\nretry_after = 1", "[update]\nduration_s = 5\nretry_after = 10"
MADE, LINE = "duration_s = 1.5\nretry_after = 1", "rate_per_s = 1.0"
MADE_BEHIND, WORKS = "duration_s = 2.0\nretry_after = 1", "duration_s = 3.0\nstuck = 0.0\nretry_after = "
PAR = f'[submit]\npending = 1.0\n{WORKS}"none"'
PAR_ASKS = "[submit]\npending = 1.0\nduration_s = 5.0\nretry_after = 10"
CART = "duration_s = 3.0\nstuck = 0.0                 # this share of them never ends\npoll_delay_ms = 1000"
BUCKET = "size = 4                    # 0: no limit\nleak_per_s = 2.0"
FULL = "retry_after = 1 "

STORIES: dict[str, Story] = {
    "checkout": Story("shopify-checkout", (), buys, 1, BOUGHT, set()),
    "checkout, early": Story("shopify-checkout", (takes(MADE, 1.5, "4"),), buys_early, 1, BOUGHT, {"RA001"}),
    "queue": Story("shopify-queue", ((LINE, "rate_per_s = 6.0"), takes(MADE_BEHIND, 1.5, "1")), queues, 1,
                   QUEUED | BOUGHT, set()),
    "queue, first token": Story("shopify-queue", (), keeps_first_token, 1, {("queue.wait", "pending")}, {"CQ002"}),
    "cart": Story("shopify-cart", ((CART, "duration_s = 0.5\npoll_delay_ms = 1000"),), submits, 1, SUBMITTED, set()),
    "cart, twice": Story("shopify-cart", (), submits_twice, 1, {("cart.submit", "pending")}, {"OP005"}),
    "order": Story("par-posnext", ((PAR, "[submit]\npending = 1.0\nduration_s = 1.5"),), orders, 1, ORDERED, set()),
    "order, twice": Story("par-posnext", ((PAR, "[submit]\npending = 1.0\nduration_s = 1.0"),), orders_twice, 1,
                          ORDERED, {"OP005"}),
    "deployment": Story("azure-lro", ((f"{WORKS}1", "duration_s = 1.5"),), deploys, 1, DEPLOYED, set()),
    "deployment, on": Story("azure-lro", ((f"{WORKS}1", "duration_s = 1.5"),), polls_on, 1, DEPLOYED, {"OP004"}),
    "limit": Story("throttled-api", (), calls, 1, CALLED, set()),
    "limit, early": Story("throttled-api", ((BUCKET, "size = 1\nleak_per_s = 0.7"), (FULL, "retry_after = 30 ")),
                          calls_early, 1, CALLED, {"RA002"}),
    "checkout x10": Story("shopify-checkout", (("idle = []", f'idle = ["{IDLE}"]'), (CHANGED, CHANGED_SLOWLY)),
                          changes, 10, {("checkout.update", "completed")}, set()),
    "queue x10": Story(
        "shopify-queue",
        (
            ("length = 3", "length = 1"), (LINE, "rate_per_s = 0.11"), ("poll_after_s = 1.0", "poll_after_s = 10.0"),
            (MADE_BEHIND, "status = 201"),
        ),
        *(queues, 10, QUEUED, set()),
    ),
    "cart x10": Story("shopify-cart", ((CART, "duration_s = 7.5\npoll_delay_ms = 5000"),), submits, 10, SUBMITTED,
                      set()),
    "order x10": Story("par-posnext", ((PAR, PAR_ASKS),), orders, 10, ORDERED, set()),
    "deployment x10": Story("azure-lro", ((f"{WORKS}1", "duration_s = 5.0\nretry_after = 10"),), deploys, 10, DEPLOYED,
                            set()),
    "limit x10": Story("throttled-api", ((BUCKET, "size = 1\nleak_per_s = 0.15"), (FULL, "retry_after = 10 ")),
                       calls_twice, 10, CALLED, set()),
}  # fmt: skip
SPEEDS = (1, 10)


def of_scenario(story: Story, seed: int) -> Mock:
    """Its server; seeds differ, or all servers would give out the same tokens."""
    text = scenario_text(story.scenario)
    for old, new in story.changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    return Mock.from_scenario(parse_scenario(text, story.scenario), seed=seed)


def host(name: str) -> str:
    return f"{''.join(c if c.isalnum() else '-' for c in name)}.example"


# ---------------------------------------------------------------------------------------------------- playing


class Lived(NamedTuple):
    """The analysis of what was recorded of the scenarios, and of the mocks; each story's client by its pseudonym."""

    recorded: Any
    played: Any
    clients: dict[str, str]


def play(names: list[str], client: Callable[[str, Callable[[], None]], Client]) -> None:
    """Each story in a thread; the next begins when the one before has had its first answer: always in that order."""
    with ThreadPoolExecutor(len(names)) as pool:
        running = []
        for name in names:
            begun = threading.Event()
            running.append(pool.submit(STORIES[name].play, client(name, begun.set)))
            assert begun.wait(PATIENCE_S), name
        for story in running:
            story.result()


def ended(mitmdump: Mitmdump) -> Path:
    """What it has recorded."""
    mitmdump.send(signal.SIGTERM)
    assert mitmdump.ended() == 0, mitmdump.output
    helper_has_finished(mitmdump.captures)
    return mitmdump.captures


def record(home: Path, speed: int, mocks: dict[str, Mock]) -> Path:
    """The stories of that speed, played against their scenarios and recorded."""
    names = [name for name, story in STORIES.items() if story.speed == speed]
    own = home / f"recorded-{speed}"
    own.mkdir()
    shops = {host(name): mocks[name] for name in names}
    with (
        starting(own) as start,
        recorded_shops(start, shops, *SIGNED, environ=environ(home)) as (mitmdump, clients),
    ):
        proxy, authority = clients["HTTPS_PROXY"], Path(clients["SSL_CERT_FILE"])

        def client(name: str, answered: Callable[[], None]) -> Client:
            return Client(f"https://{host(name)}", proxy, token=name, authority=authority, answered=answered)

        play(names, client)
        return ended(mitmdump)


def play_again(home: Path, captures: dict[int, Path]) -> Path:
    """The stories once more, each against the mock of its speed's recording."""
    with starting(home) as start, ExitStack() as stack:
        mitmdump = start(*SIGNED, environment=environ(home))
        mocks = {speed: stack.enter_context(mock(home, captures[speed], speed)) for speed in SPEEDS}
        proxy = f"http://127.0.0.1:{mitmdump.port}"

        def client(name: str, answered: Callable[[], None]) -> Client:
            speed = STORIES[name].speed
            return Client(mocks[speed], proxy, token=name, speed=speed, answered=answered)

        play(list(STORIES), client)
        for url in mocks.values():
            with urlopen(f"{url}/__polltape", timeout=PATIENCE_S) as status:
                assert json.load(status)["last_unmatched"] == []
        return ended(mitmdump)


@contextmanager
def mock(home: Path, captures: Path, speed: int) -> Iterator[str]:
    """``polltape mock``: its URL."""
    options = ("--port", "0", "--speed", str(speed), "--complete-at", "middle", "--par-key", "env:PAR_KEY")
    command = [PROGRAMS / "polltape", "mock", captures, *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **environ(home)})
    try:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith("listening on "):
                break
        assert said, "the mock ended"
        assert said[-1].startswith("listening on "), said
        yield said[-1].removeprefix("listening on ").strip()
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_S)


SIGNED = ("--set", "polltape_par_key=env:PAR_KEY")


def environ(home: Path) -> dict[str, str]:
    """One redaction key for all: a client has the same pseudonym in every recording."""
    return {"POLLTAPE_CONFIG_DIR": str(home / "config"), "PAR_KEY": SHARED_ID}


def analysed(home: Path, *captures: Path) -> Any:
    command = [PROGRAMS / "polltape", "analyze", *captures, "--format", "json"]
    done = subprocess.run(
        command, env={**os.environ, **environ(home)}, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Lived:
    """Every story twice: against its scenario, and against the mock of what was recorded then."""
    home = tmp_path_factory.mktemp("home")
    mocks = {name: of_scenario(story, seed) for seed, (name, story) in enumerate(STORIES.items())}
    with ThreadPoolExecutor(len(SPEEDS)) as pool:
        captures = dict(zip(SPEEDS, pool.map(lambda speed: record(home, speed, mocks), SPEEDS), strict=True))
        first = pool.submit(analysed, home, *captures.values())
        again = pool.submit(analysed, home, play_again(home, captures))
        clients = {row["host"]: row["client"] for row in first.result()["operations"]}
        return Lived(first.result(), again.result(), {name: clients[host(name)] for name in STORIES})


def lives(told: Any, client: str) -> dict[tuple[str, str, str], int]:
    """Protocol, kind and outcome of each of the client's operations, and its polls."""
    rows = [row for row in told["operations"] if row["client"] == client]
    polls: Counter[tuple[str, str, str]] = Counter()
    for row in rows:
        polls[row["protocol"], row["kind"], row["outcome"]] += row["polls"]
    return dict(polls)


def waits(told: Any, client: str) -> set[tuple[str, str]]:
    """Source and verdict of its waits; a client that its computer held up is late, which is no breach."""
    rows = [row for row in told["waits"] if row["client"] == client]
    return {(row["source"], "kept" if row["verdict"] == "late" else row["verdict"]) for row in rows}


def findings(told: Any, client: str) -> set[str]:
    """The codes of what was found in its operations."""
    own = {row["id"] for row in told["operations"] if row["client"] == client}
    return {found["code"] for found in told["findings"] if found["operation"] in own} - {"RA006"}


@pytest.mark.parametrize("name", STORIES)
def test_the_story_is_recorded_as_it_was_played(name: str, lived: Lived) -> None:
    story, client = STORIES[name], lived.clients[name]
    assert {(kind, outcome) for _, kind, outcome in lives(lived.recorded, client)} == story.ends
    assert findings(lived.recorded, client) == story.codes


@pytest.mark.parametrize("name", STORIES)
def test_the_same_client_comes_to_the_same_verdicts_with_the_mock(name: str, lived: Lived) -> None:
    """A busy computer moves a poll over the end of its operation: one more or less, here where time is real.

    To the poll they are the same in virtual time (tests/mock/test_every_protocol.py).
    """
    client = lived.clients[name]
    recorded, played = lives(lived.recorded, client), lives(lived.played, client)
    assert played.keys() == recorded.keys()
    for life, polls in recorded.items():
        assert abs(played[life] - polls) <= max(1, polls // 4), life
    assert waits(lived.played, client) == waits(lived.recorded, client)
    assert findings(lived.played, client) == findings(lived.recorded, client)


def test_nothing_is_found_outside_of_the_stories(lived: Lived) -> None:
    """Unsigned answers, shares of 202 and the like belong to no operation."""
    for told in (lived.recorded, lived.played):
        assert [found for found in told["findings"] if found["operation"] is None] == []
