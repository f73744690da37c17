"""Every built-in scenario, really recorded: polite clients, one mitmdump, and an analysis without findings."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from mitmdumps import PROGRAMS, Start, helper_has_finished, rows
from talkers import Client

from polltape.mock.core import Mock
from polltape.mock.server import serving

sys.path.insert(0, str(Path(__file__).parents[1] / "mock"))
from scenario_stories import (
    SHARED_ID,
    Talker,
    buys,
    calls,
    deploys,
    orders,
    queues,
    submits,
)

STORIES: dict[str, Callable[[Talker], object]] = {
    "shopify-checkout": buys,
    "shopify-queue": queues,
    "shopify-cart": submits,
    "par-posnext": orders,
    "azure-lro": deploys,
    "throttled-api": calls,
}


def test_polite_clients_of_every_scenario_are_recorded_without_findings(start: Start, tmp_path: Path) -> None:
    mitmdump = start("--set", "polltape_par_key=env:PAR_KEY", environment={"PAR_KEY": SHARED_ID})
    with ExitStack() as stack:
        proxy = f"http://127.0.0.1:{mitmdump.port}"
        clients = {name: Client(stack.enter_context(serving(Mock.from_scenario(name))), proxy) for name in STORIES}
        with ThreadPoolExecutor(len(STORIES)) as pool:
            for played in [pool.submit(story, clients[name]) for name, story in STORIES.items()]:
                played.result()
    mitmdump.send(signal.SIGTERM)
    assert mitmdump.ended() == 0, mitmdump.output
    helper_has_finished(mitmdump.captures)

    assert {row.digest_ok for row in rows(mitmdump.captures) if "/posnext/" in row.path} == {True}
    answer = subprocess.run(
        [PROGRAMS / "polltape", "analyze", mitmdump.captures, "--format", "json"],
        env={**os.environ, "POLLTAPE_CONFIG_DIR": str(tmp_path / "config")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert answer.returncode == 0, answer.stderr
    told = json.loads(answer.stdout)
    assert [(finding["code"], finding["message"]) for finding in told["findings"]] == []
    ended = {(operation["kind"], operation["outcome"]) for operation in told["operations"]}
    kinds = ("checkout.create", "queue.wait", "cart.submit", "order.submit", "async", "throttle")
    assert ended == {(kind, "completed") for kind in kinds}
