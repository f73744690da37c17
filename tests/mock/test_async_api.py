"""Long-running operations without a recording, in each style: what a write is answered, and what its polls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from polltape.mock.core import Mock, Request, Response
from polltape.mock.scenario import parse_scenario, scenario_text

NOW = 1_800_000_000.0
VM = "/subscriptions/s/vms/one?api-version=2024-07-01"
Ask = Callable[..., Request]


class Api:
    """The built-in scenario in that style with these lines replaced; paths are asked at seconds since its start."""

    def __init__(self, ask: Ask, style: str, *changes: tuple[str, str], **options: Any) -> None:
        text = scenario_text("azure-lro")
        for old, new in (('style = "azure-arm"', f'style = "{style}"'), *changes):
            assert old in text
            text = text.replace(old, new)
        self.mock = Mock.from_scenario(parse_scenario(text, "test"), **options)
        self._ask = ask

    def __call__(self, method: str, url: str, at: float, sent: object = None, **headers: str) -> Response:
        parts = urlsplit(url)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        return self.mock.answer(self._ask(method, target, sent, headers=headers), NOW + at)


def place(answer: Response, name: str) -> str:
    value = answer.header(name)
    assert value is not None
    return value


def test_resource_manager_tells_the_state_at_one_address_and_the_result_at_the_other(ask: Ask) -> None:
    api = Api(ask, "azure-arm")
    made = api("PUT", VM, 0, {"location": "westus", "properties": {"size": "S"}})
    assert (made.status, made.header("Retry-After")) == (201, "1")
    assert made.json()["properties"] == {"size": "S", "provisioningState": "Updating"}
    monitor, result = place(made, "Azure-AsyncOperation"), place(made, "Location")
    assert monitor.startswith("http://127.0.0.1:9/operations/")
    assert monitor.endswith("?api-version=2024-07-01")
    polls = [api("GET", monitor, at) for at in (1, 2.9, 3)]
    assert [(poll.status, poll.json()["status"]) for poll in polls] == [
        (200, "InProgress"),
        (200, "InProgress"),
        (200, "Succeeded"),
    ]
    assert [poll.header("Retry-After") for poll in polls] == ["1", "1", None]
    assert [api("GET", result, at).status for at in (3, 4)] == [200, 200]
    assert api("GET", VM, 4).json()["properties"]["provisioningState"] == "Succeeded"
    again = api("PUT", VM, 5, {"location": "eastus"})
    assert again.status == 202
    assert api("GET", place(again, "Location"), 6).status == 202


def test_what_is_deleted_is_gone_when_the_time_is_over(ask: Ask) -> None:
    api = Api(ask, "azure-arm")
    assert api("DELETE", VM, 0).status == 404
    api("PUT", VM, 0, {})
    assert api("DELETE", VM, 1).status == 409
    deleted = api("DELETE", VM, 4)
    assert deleted.status == 202
    assert [api("GET", VM, at).status for at in (5, 6.9, 7)] == [200, 200, 404]
    assert api("GET", place(deleted, "Location"), 8).status == 204


def test_resource_manager_wants_a_version(ask: Ask) -> None:
    refused = Api(ask, "azure-arm")("PUT", "/vms/one", 0, {})
    assert (refused.status, refused.json()["error"]["code"]) == (400, "MissingApiVersionParameter")


@pytest.mark.parametrize(("ending", "word"), [("failed", "Failed"), ("canceled", "Canceled")])
def test_a_share_of_the_operations_fails(ask: Ask, ending: str, word: str) -> None:
    api = Api(ask, "azure-arm", (f"{ending} = 0.0", f"{ending} = 1.0"))
    made = api("PUT", VM, 0, {})
    monitor = api("GET", place(made, "Azure-AsyncOperation"), 3)
    assert (monitor.status, monitor.json()["status"]) == (200, word)
    assert monitor.json()["error"]["code"] == word
    assert api("GET", place(made, "Location"), 3).status == 409
    assert api("GET", VM, 3).status == 404


def test_the_data_plane_names_the_resource_at_the_end(ask: Ask) -> None:
    api = Api(ask, "azure-data")
    made = api("POST", "/jobs", 0, {"input": "a"})
    assert made.status == 202
    monitor = place(made, "Operation-Location")
    assert api("GET", monitor, 1).json()["status"] == "Running"
    done = api("GET", monitor, 3).json()
    assert done["status"] == "Succeeded"
    assert api("GET", done["resourceLocation"], 3).json()["input"] == "a"


@pytest.mark.parametrize(
    ("prefer", "status", "held"),
    [
        ({}, 200, 3.0),
        ({"Prefer": "return=minimal"}, 200, 3.0),
        ({"Prefer": "respond-async"}, 202, 0.0),
        ({"Prefer": "respond-async, wait=2"}, 202, 0.0),
        ({"Prefer": "respond-async, wait=5"}, 200, 3.0),
    ],
)
def test_who_does_not_prefer_otherwise_waits_for_the_result(
    ask: Ask, prefer: dict[str, str], status: int, held: float
) -> None:
    api = Api(ask, "rfc7240")
    made = api("POST", "/jobs", 0, {}, **prefer)
    assert (made.status, made.hold_s) == (status, held)
    if status == 202:
        assert made.header("Preference-Applied") == "respond-async"
        assert [api("GET", place(made, "Location"), at).status for at in (1, 2, 3)] == [202, 202, 200]


def test_who_joins_waits_for_the_rest(ask: Ask) -> None:
    api = Api(ask, "rfc7240")
    assert [api("PUT", "/things/1", at, {}).hold_s for at in (0, 1)] == [3.0, 2.0]
    stuck = Api(ask, "rfc7240", ("duration_s = 3.0\n", "duration_s = inf\n"))("PUT", "/things/1", 0, {})
    assert (stuck.status, stuck.hold_s) == (504, 60.0)


def test_json_api_sends_on_to_the_resource(ask: Ask) -> None:
    api = Api(ask, "json-api")
    made = api("POST", "/photos", 0, {})
    monitor = place(made, "Content-Location")
    pending, done = api("GET", monitor, 1), api("GET", monitor, 3)
    assert (made.status, pending.status, pending.header("Retry-After"), done.status) == (202, 200, "1", 303)
    assert api("GET", place(done, "Location"), 3).status == 200


def test_fhir_shows_progress(ask: Ask) -> None:
    api = Api(ask, "fhir")
    made = api("GET", "/Patient/$export", 0)
    assert made.status == 404  # an export is asked for by POST here
    made = api("POST", "/Patient/$export", 0, {}, Prefer="respond-async")
    pending = api("GET", place(made, "Content-Location"), 1)
    assert (pending.status, pending.header("X-Progress"), pending.body) == (202, "in progress", b"")
    assert api("GET", place(made, "Content-Location"), 3).status == 200


@pytest.mark.parametrize(("ending", "member"), [("", "response"), ("failed", "error"), ("canceled", "error")])
def test_aip_151_is_done_with_an_error_or_a_response(ask: Ask, ending: str, member: str) -> None:
    changes = [(f"{ending} = 0.0", f"{ending} = 1.0")] if ending else []
    api = Api(ask, "aip-151", *changes)
    made = api("POST", "/v1/books", 0, {"title": "x"})
    name = made.json()["name"]
    assert (made.status, made.json()["done"]) == (200, False)
    assert api("GET", f"/{name}", 2.9).json()["done"] is False
    done = api("GET", f"/{name}", 3).json()
    assert done["done"] is True
    assert {"response", "error"} & done.keys() == {member}


def test_the_same_write_joins_and_another_is_refused_meanwhile(ask: Ask) -> None:
    api = Api(ask, "azure-data")
    first, same, other = (api("PUT", "/things/1", at, {"a": value}) for at, value in ((0, 1), (1, 1), (1, 2)))
    assert (first.status, same.status, other.status) == (201, 201, 409)
    assert place(first, "Operation-Location") == place(same, "Operation-Location")
    assert api("PUT", "/things/1", 3, {"a": 2}).status == 200
    assert api("POST", "/things", 9, {"a": 2}).status == 202


def test_an_operation_is_forgotten_after_its_time(ask: Ask) -> None:
    api = Api(ask, "azure-data", ("keep_s = inf", "keep_s = 60"))
    monitor = place(api("PUT", "/things/1", 0, {}), "Operation-Location")
    assert [api("GET", monitor, at).status for at in (62, 64)] == [200, 404]


def test_too_many_polls_are_refused_and_the_operation_goes_on(ask: Ask) -> None:
    api = Api(ask, "azure-data", ("\nsize = 0", "\nsize = 2"))
    monitor = place(api("PUT", "/things/1", 0, {}), "Operation-Location")
    assert [api("GET", monitor, at).status for at in (0.1, 0.2, 2.2, 3.1)] == [200, 429, 200, 200]
    assert api("GET", monitor, 5).json()["status"] == "Succeeded"


@pytest.mark.parametrize(
    ("method", "path", "sent", "status"),
    [
        ("PATCH", "/things/none", {}, 404),
        ("GET", "/things/none", None, 404),
        ("GET", "/operations/none", None, 404),
        ("PUT", "/things/1", [1], 400),
        ("OPTIONS", "/things/1", None, 405),
    ],
)
def test_a_wrong_request_is_told_so(ask: Ask, method: str, path: str, sent: object, status: int) -> None:
    assert Api(ask, "azure-data")(method, path, 0, sent).status == status


def test_a_patch_keeps_what_it_does_not_name(ask: Ask) -> None:
    api = Api(ask, "azure-data")
    api("PUT", "/things/1", 0, {"a": 1, "b": 2})
    api("PATCH", "/things/1", 3, {"b": 3})
    shown = [api("GET", "/things/1", at).json() for at in (4, 6)]
    assert [(body["a"], body["b"], body["properties"]["provisioningState"]) for body in shown] == [
        (1, 3, "Updating"),
        (1, 3, "Succeeded"),
    ]


def test_speed_shortens_operations_and_instructions(ask: Ask) -> None:
    api = Api(ask, "azure-data", ("retry_after = 1\n", "retry_after = 1.0\n"), speed=10)
    made = api("PUT", "/things/1", 0, {})
    assert (made.header("Retry-After"), made.header("X-Polltape-Wait")) == ("0.1", "0.1")
    states = [api("GET", place(made, "Operation-Location"), at).json()["status"] for at in (0.29, 0.3)]
    assert states == ["Running", "Succeeded"]


def test_two_clients_that_make_the_same_make_two_things(ask: Ask) -> None:
    api = Api(ask, "azure-data")
    first, second, again = (api("POST", "/jobs", 0, {}, Authorization=f"Bearer {name}") for name in "aba")
    assert place(first, "Operation-Location") == place(again, "Operation-Location")
    assert place(first, "Operation-Location") != place(second, "Operation-Location")


@pytest.mark.parametrize(("style", "status"), [("azure-arm", 202), ("fhir", 204)])
def test_an_operation_that_runs_can_be_cancelled_and_makes_nothing(ask: Ask, style: str, status: int) -> None:
    api = Api(ask, style, ("cancel_status = 202", f"cancel_status = {status}"))
    made = api("PUT", VM, 0, {"properties": {}}, Prefer="respond-async")
    monitor = place(made, "Azure-AsyncOperation" if style == "azure-arm" else "Content-Location")
    assert api("DELETE", monitor, 1).status == status
    poll = api("GET", monitor, 1)
    if style == "azure-arm":
        assert (poll.status, poll.json()["status"]) == (200, "Canceled")
    else:
        assert poll.status == 409
    assert api("GET", VM, 4).status == 404
    assert api("DELETE", monitor, 4).status == 409
    assert api("PUT", VM, 5, {"properties": {}}, Prefer="respond-async").status == made.status


@pytest.mark.parametrize(("style", "changes"), [("aip-151", ()), ("azure-data", (("= 202  ", "= 405  "),))])
def test_what_cannot_be_cancelled_says_so(ask: Ask, style: str, changes: tuple[tuple[str, str], ...]) -> None:
    api = Api(ask, style, *changes)
    made = api("POST", "/jobs", 0, {})
    monitor = made.header("Operation-Location") or f"/{made.json()['name']}"
    assert api("DELETE", monitor, 1).status == 405
    assert api("GET", monitor, 1).status == 200


def test_fhir_is_kicked_off_by_get_too(ask: Ask) -> None:
    api = Api(ask, "fhir")
    later = {"Prefer": "respond-async"}
    made = api("GET", "/fhir/Patient/$export?_type=Patient", 0, **later)
    assert (made.status, made.header("Retry-After")) == (202, "1")
    monitor = place(made, "Content-Location")
    other = api("GET", "/fhir/Patient/$export?_type=Group", 0.5, **later)
    assert place(other, "Content-Location") != monitor
    running, done = api("GET", monitor, 2.9), api("GET", monitor, 3)
    assert (running.status, running.header("X-Progress"), done.status) == (202, "in progress", 200)
    assert done.json()["request"] == "http://127.0.0.1:9/fhir/Patient/$export?_type=Patient"
    assert (done.json()["output"], done.json()["error"]) == ([], [])
    assert api("GET", "/fhir/Patient/unknown", 4, **later).status == 404
    assert api("GET", "/fhir/Patient/$export", 4).status == 404


def test_fhir_reads_later_what_is_there_and_is_in_nobodys_way(ask: Ask) -> None:
    api = Api(ask, "fhir")
    later = {"Prefer": "respond-async"}
    api("PUT", "/fhir/Patient/1", 0, {"active": True}, **later)
    assert api("GET", "/fhir/Patient/1", 1, **later).status == 404
    monitor = place(api("GET", "/fhir/Patient/1", 3, **later), "Content-Location")
    assert api("PUT", "/fhir/Patient/1", 3.5, {"active": False}, **later).status == 202
    assert api("GET", monitor, 6).json()["active"] is True
    assert api("GET", monitor, 7).json()["active"] is False
    cancelled = place(api("GET", "/fhir/Patient/1", 8, **later), "Content-Location")
    assert api("DELETE", cancelled, 9).status == 202
    assert api("GET", cancelled, 9).status == 409
