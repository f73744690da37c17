"""What real clients do with "not yet", recorded through the real proxy: the verdict on each is the one it deserves.

The programs lie in ``clients/``: each does what its library makes easy.  All run at once, each against a shop of
its own, through one mitmdump.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from components import needs
from mitmdumps import PROGRAMS, helper_has_finished, starting
from node_clients import CLIENTS, MissingError, node_modules
from shops import recorded_shops

from polltape.mock.core import Mock
from polltape.mock.scenario import parse_scenario, scenario_text

OF_A_BUSY_COMPUTER = {"RA006"}
"""A client that is held up by its computer is late; that is no breach, and not what is asserted here."""
LOOKED_ON = timedelta(minutes=10)
"""The clients have ended: whoever looks on for longer sees nothing more."""


class Client(NamedTuple):
    """A program, its shop, and what is to come of it.

    ``waits``: how often each verdict on them, :data:`MANY` where that is chance; ``late`` counts as ``kept``.
    """

    program: str
    shop: str
    changes: tuple[tuple[str, str], ...]
    said: str
    ends: dict[str, str]
    waits: dict[str, int | None]
    codes: set[str]


MANY = None
CHECKOUT, LIMIT = "shopify-checkout", "throttled-api"
ONE = (("size = 4 ", "size = 1 "),)
LONG = ("retry_after = 1 ", "retry_after = 30 ")  # a tenth of it is more than a computer takes, however busy
FRACTION = (*ONE, ("retry_after = 1 ", "retry_after = 2.0 "))
AZURE = (
    ('azure-arm"   ', 'azure-data"   '),
    ("duration_s = 3.0", "duration_s = 2.0"),
    ("stuck = 0.0\nretry_after = 1", "retry_after = 3"),
)
MADE_SLOWLY = (("duration_s = 1.5\nretry_after = 1", "duration_s = 1.5\nretry_after = 30"),)
MADE, TAKEN = {"checkout.create": "completed"}, {"checkout.create": "abandoned"}
THROTTLED, GIVEN_UP = {"throttle": "completed"}, {"throttle": "abandoned"}

CLIENTS_OF_PYTHON: dict[str, Client] = {
    # urllib3: waits after 429 as it is told, cannot read Shopify's "2.0", and leaves a 202 to its caller.
    "urllib3": Client("urllib3_retry.py limit", LIMIT, ONE, "200 200", THROTTLED, {"kept": 1}, set()),
    "urllib3-fraction": Client(
        "urllib3_retry.py limit", LIMIT, FRACTION, "InvalidHeader", GIVEN_UP, {"unanswered": 1}, {"RA004"}
    ),
    "urllib3-202": Client("urllib3_retry.py checkout", CHECKOUT, (), "202 None", TAKEN, {"unanswered": 1}, {"OP003"}),
    # requests: the same where a Retry is mounted.
    "requests": Client("requests_client.py adapter", LIMIT, ONE, "200 200", THROTTLED, {"kept": 1}, set()),
    "requests-fraction": Client(
        "requests_client.py adapter", LIMIT, FRACTION, "InvalidHeader", GIVEN_UP, {"unanswered": 1}, {"RA004"}
    ),
    "requests-polite": Client("requests_client.py polite", CHECKOUT, (), "200", MADE, {"kept": 2}, set()),
    "requests-busy": Client("requests_client.py busy", CHECKOUT, MADE_SLOWLY, "200", MADE, {"early": MANY}, {"RA002"}),
    # httpx: retries nothing and waits for nothing.
    "httpx-polite": Client("httpx_client.py polite", CHECKOUT, (), "200", MADE, {"kept": 2}, set()),
    "httpx-trusting": Client("httpx_client.py trusting", CHECKOUT, (), "202", TAKEN, {"unanswered": 1}, {"OP003"}),
    # ShopifyAPI: save() says True on a 202.
    "shopifyapi.myshopify.com": Client(
        "shopifyapi_save.py", CHECKOUT, (), "True None", TAKEN, {"unanswered": 1}, {"OP003"}
    ),
    # azure-core: its first poll comes at once, the next as it is told.
    "azure-core": Client(
        *("azure_core_poller.py", "azure-lro", AZURE, "200 Succeeded", {"async": "completed"}),
        *({"early": 1, "kept": 1}, {"RA002"}),
    ),
}
CLIENTS_OF_NODE: dict[str, Client] = {
    # shopify-api-node: follows the Location of a 202; a date is 0 to it.
    "shopify-api-node.myshopify.com": Client("shopify_api_node.cjs", CHECKOUT, (), "made 32", MADE, {"kept": 2}, set()),
    "shopify-api-node-date.myshopify.com": Client(
        *(
            "shopify_api_node.cjs",
            CHECKOUT,
            (("duration_s = 1.5\nretry_after = 1", "duration_s = 1.5\nretry_after = { date = 30 }"),),
        ),
        *("made 32", MADE, {"early": MANY}, {"RA002"}),
    ),
    # axios-retry: waits after a 429; a 202 is a success like any other.
    "axios": Client("axios_client.cjs limit", LIMIT, ONE, "200 200", THROTTLED, {"kept": 1}, set()),
    "axios-202": Client("axios_client.cjs checkout", CHECKOUT, (), "202 null", TAKEN, {"unanswered": 1}, {"OP003"}),
    "got": Client("got_client.mjs", LIMIT, ONE, "200 200", THROTTLED, {"kept": 1}, set()),
    # @shopify/graphql-client: takes seconds for milliseconds.
    "graphql-client": Client(
        "graphql_client.cjs",
        LIMIT,
        (*ONE, LONG, ("leak_per_s = 2.0", "leak_per_s = 0.01")),
        "429",
        GIVEN_UP,
        {"early": 2, "unanswered": 1},
        {"RA002", "OP002"},
    ),
}
CLIENTS_OF_ALL = CLIENTS_OF_PYTHON | CLIENTS_OF_NODE


class Lived(NamedTuple):
    """What each client said, the analysis of what was recorded of them, and why some did not run."""

    said: dict[str, str]
    told: Any
    missing: str | None


def host(name: str) -> str:
    return name if name.endswith(".com") else f"{name}.example"


def shop_of(client: Client) -> Mock:
    text = scenario_text(client.shop)
    for old, new in client.changes:
        assert old in text
        text = text.replace(old, new, 1)
    return Mock.from_scenario(parse_scenario(text, client.shop))


def programs(home: Path) -> str | None:
    """The programs in a folder with Node's packages beside them; why these are not there, if so."""
    shutil.copytree(CLIENTS, home / "clients")
    try:
        (home / "clients" / "node_modules").symlink_to(node_modules())
    except MissingError as reason:
        return str(reason)
    return None


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Lived:
    """All clients at once, through one mitmdump."""
    home = tmp_path_factory.mktemp("home")
    missing = programs(home)
    clients = CLIENTS_OF_PYTHON if missing else CLIENTS_OF_ALL
    with starting(home) as start:
        with recorded_shops(start, {host(name): shop_of(client) for name, client in clients.items()}) as (
            mitmdump,
            environ,
        ):

            def run(name: str) -> str:
                program, *arguments = clients[name].program.split()
                interpreter = sys.executable if program.endswith(".py") else "node"
                command = [interpreter, str(home / "clients" / program), *arguments]
                own = environ | {"BASE": f"https://{host(name)}"}
                done = subprocess.run(command, env=own, capture_output=True, text=True, timeout=60, check=False)
                return done.stdout + done.stderr

            with ThreadPoolExecutor(5) as pool:
                said = dict(zip(clients, pool.map(run, clients), strict=True))
        mitmdump.send(signal.SIGTERM)
        assert mitmdump.ended() == 0, mitmdump.output
        helper_has_finished(mitmdump.captures)
    looked_on(mitmdump.captures)
    return Lived(said, analysed(mitmdump.captures, home), missing)


def looked_on(captures: Path) -> None:
    """The recorder's coverage, :data:`LOOKED_ON` longer."""
    for file in (captures / "_coverage").iterdir():
        covered = json.loads(file.read_text())
        ended = datetime.fromisoformat(covered["ended_at"]) + LOOKED_ON
        file.write_text(json.dumps(covered | {"ended_at": ended.isoformat()}))


def analysed(captures: Path, home: Path) -> Any:
    command = [PROGRAMS / "polltape", "analyze", captures, "--format", "json"]
    environ = {**os.environ, "POLLTAPE_CONFIG_DIR": str(home / "config")}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", CLIENTS_OF_ALL)
def test_each_client_gets_the_verdict_that_it_deserves(name: str, lived: Lived) -> None:
    client = CLIENTS_OF_ALL[name]
    needs(not lived.missing or name not in CLIENTS_OF_NODE, lived.missing or "")
    assert client.said in lived.said[name], lived.said[name]
    operations = {row["id"]: row for row in lived.told["operations"] if row["host"] == host(name)}
    assert {row["kind"]: row["outcome"] for row in operations.values()} == client.ends
    verdicts = [wait["verdict"] for wait in lived.told["waits"] if wait["operation"] in operations]
    counted = Counter("kept" if verdict == "late" else verdict for verdict in verdicts)
    assert {verdict: n if client.waits.get(verdict, n) else MANY for verdict, n in counted.items()} == client.waits
    codes = {found["code"] for found in lived.told["findings"] if found["host"] == host(name)}
    assert codes - OF_A_BUSY_COMPUTER == client.codes
