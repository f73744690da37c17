"""Every code has a page with all its sections, and no page is without a code."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from functools import partial
from importlib import resources
from typing import Any

import pytest
import requests
import urllib3
from components import needs

from polltape.errors import UsageError
from polltape.measures.codes import CODES
from polltape.mock.core import Mock
from polltape.mock.server import serving
from polltape.protocols.par_digest import digest
from polltape.report.code_pages import page

SECTIONS = ["What it does", "Why it matters", "Example", "How to fix"]


@pytest.mark.parametrize("code", CODES)
def test_page_has_its_sections(code: str) -> None:
    explained = page(code)
    assert list(explained.sections)[:4] == SECTIONS
    assert all(explained.sections.values())
    assert len(explained.sections["What it does"]) <= 1024, "SARIF takes no longer description"
    assert explained.markdown.startswith(f"# {code}: {CODES[code].title}\n")


def test_there_is_no_page_too_many() -> None:
    files = resources.files("polltape.measures").joinpath("code_pages").iterdir()
    assert {file.name.removesuffix(".md") for file in files} == set(CODES)


def test_case_does_not_matter() -> None:
    assert page("ra001") == page("RA001")


@pytest.mark.parametrize(("name", "hint"), [("RA01", "did you mean RA001?"), ("?", "`polltape explain --all`")])
def test_unknown_code_names_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(UsageError, match="no finding code") as caught:
        page(name)
    assert (caught.value.hint or "").startswith(hint)


@pytest.mark.parametrize("code", CODES)
def test_what_the_common_clients_do_is_told_on_every_page(code: str) -> None:
    assert page(code).sections["In common clients"]


def snippets(code: str, language: str) -> list[str]:
    """The code blocks (indented) of that language."""
    found: list[str] = []
    inside, spoken = False, ""
    for line in page(code).sections["In common clients"].splitlines():
        if line.startswith("    ") or (inside and not line):
            if not inside and spoken == language:
                found.append("")
            if spoken == language:
                found[-1] += line[4:] + "\n"
            inside = True
        elif line:
            inside, spoken = False, re.split(r"\W", line)[0] if line.endswith(":") else ""
    return found


def python(code: str) -> dict[str, Any]:
    """What the page's Python defines."""
    names: dict[str, Any] = {}
    for snippet in snippets(code, "Python"):
        exec(compile(snippet, code, "exec"), names)
    return names


@pytest.mark.parametrize("code", [code for code in CODES if snippets(code, "Python")])
def test_the_pages_python_runs(code: str) -> None:
    assert any(callable(value) for value in python(code).values())


@pytest.mark.parametrize("code", [code for code in CODES if snippets(code, "Node")])
def test_the_pages_javascript_compiles(code: str) -> None:
    needs(shutil.which("node"), "node is missing")
    for snippet in snippets(code, "Node"):
        done = subprocess.run(["node", "--check", "-"], input=snippet, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def answer(*hints: str, status: int = 202, **headers: str) -> Any:
    """An answer as requests gives one."""
    lines = [("Retry-After", hint) for hint in hints] + [
        (name.replace("_", "-"), value) for name, value in headers.items()
    ]
    made = requests.Response()
    made.status_code = status
    made.raw = urllib3.HTTPResponse(headers=urllib3.HTTPHeaderDict(lines), status=status)
    made.headers = requests.structures.CaseInsensitiveDict(made.raw.headers)
    return made


@pytest.mark.parametrize(
    ("hint", "attempt", "seconds"),
    [
        (["7"], 0, 7.0),
        (["2.0"], 0, 2.0),
        ([], 0, 1.0),
        ([], 3, 8.0),
        (["soon"], 9, 30.0),
        (["-5"], 1, 2.0),
        (["nan"], 0, 1.0),
    ],
)
def test_ra003_has_a_default_that_grows(hint: list[str], attempt: int, seconds: float) -> None:
    assert python("RA003")["wait_s"](answer(*hint), attempt) == seconds


@pytest.mark.parametrize(
    ("hints", "seconds"), [(["1", "9"], 9), (["1, 9"], 9), ([], 1), (["soon", "3"], 3), (["\u0663"], 1)]
)
def test_ra005_takes_the_largest(hints: list[str], seconds: int) -> None:
    assert python("RA005")["wait_s"](answer(*hints)) == seconds


def test_op001_gives_up_in_time() -> None:
    poll = python("OP001")["poll"]
    answers = iter([answer(), answer(), answer(status=200)])
    assert poll(lambda: next(answers), lambda _: None).status_code == 200
    with pytest.raises(TimeoutError, match="still pending"):
        poll(answer, lambda _: None, limit_s=0.0)


def test_cq001_waits_by_the_servers_clock() -> None:
    told = answer(Date="Mon, 23 Nov 2026 08:00:00 GMT")
    assert python("CQ001")["wait_s"](told, {"pollAfter": "2026-11-23T04:00:05.500-04:00"}) == 5.5


def test_cq002_and_cq003_go_through_a_queue() -> None:
    """The pages' code against the queue's scenario, over real sockets."""
    released, through = python("CQ002")["released"], python("CQ003")["through_the_queue"]
    with serving(Mock.from_scenario("shopify-queue", speed=20)) as shop, requests.Session() as session:
        session.trust_env = False

        def wait(told: Any, _: Any) -> None:
            time.sleep(float(told.headers["X-Polltape-Wait"]))

        made = through(
            *(session, "POST", f"{shop}/admin/api/2024-04/checkouts.json", partial(released, pause=wait)),
            json={"checkout": {}},
        )
        state = session.get(f"{shop}/__polltape").json()["operations"][0]
    assert (made.status_code, state["kind"], state["state"]) == (202, "queue.wait", "completed")


def test_pn002_makes_pars_digest() -> None:
    order = {"request_uid": "order-12345", "location_id": "loc-001", "request_datetime": "2025-01-02T03:04:05.678Z"}
    order |= {"order_details": {"grand_total": 19.99, "subtotal": 18.5}}
    made = python("PN002")["digest"](json.dumps(order), "0123456789ABCDEF")
    assert made == digest("0123456789ABCDEF", "order-12345|loc-001|0|1999|1850|1735787045")
