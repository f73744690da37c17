"""The committed recording tells what its README says, and nothing that it should not."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from polltape.capture.reading import Capture, open_capture, read_exchanges
from polltape.cli import polltape
from polltape.measures.analysis import analyse
from polltape.mock.core import Mock
from polltape.protocols import observe
from polltape.report import render

SAMPLES = Path(__file__).resolve().parents[1] / "captures" / "samples"
SECRETS = ("shpat_00", "Lovelace", "Norman", "York St", "mail.example.com", "456-7890")


@pytest.fixture(scope="module")
def sample() -> Capture:
    return open_capture([SAMPLES / "demo"], redact=lambda exchange: exchange, observe=observe)


@pytest.fixture(scope="module")
def told(sample: Capture) -> dict[str, Any]:
    analysis: dict[str, Any] = json.loads(render(analyse(sample), "json"))
    return analysis


def test_it_tells_the_story_of_the_readme(told: dict[str, Any]) -> None:
    found = Counter(finding["code"] for finding in told["findings"])
    assert set(found) == {"OP003", "RA001", "RA004"}
    assert found["OP003"] == 1
    outcomes = Counter((row["kind"], row["outcome"]) for row in told["operations"])
    assert outcomes["checkout.complete", "completed"] == 4
    assert outcomes["checkout.update", "abandoned"] == 1
    assert len({row["client"] for row in told["operations"]}) == 3


def test_the_readme_shows_what_it_prints(sample: Capture) -> None:
    readme = (SAMPLES.parents[1] / "README.md").read_text(encoding="utf-8")
    shown = readme.split("```\nDurations")[1].split("```")[0].splitlines()
    printed = render(analyse(sample), "text").splitlines()
    assert all(any(line.strip() in known for known in printed) for line in shown[1:])


def test_what_was_stored_when_recording_is_what_would_be_observed_now(sample: Capture) -> None:
    for exchange in read_exchanges(sample):
        assert observe(exchange) == exchange


def test_no_secret_of_the_demo_is_in_it(sample: Capture) -> None:
    text = "\n".join(repr(exchange) for exchange in read_exchanges(sample))
    assert not [secret for secret in SECRETS if secret in text]
    assert sum(path.stat().st_size for path in SAMPLES.rglob("*") if path.is_file()) < 1_000_000


def test_a_mock_can_be_made_of_it(sample: Capture) -> None:
    assert Mock.from_capture(sample).hosts == ("demo-shop.myshopify.com",)


def test_its_bug_happens_again_in_virtual_time() -> None:
    arguments = ["replay", str(SAMPLES / "early-poller.polltape"), "--virtual", "--format", "json"]
    result = CliRunner().invoke(polltape, arguments)
    assert json.loads(result.stdout)["verdict"] == "reproduced"
