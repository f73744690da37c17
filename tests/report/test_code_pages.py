"""Every code has a page with all its sections, and no page is without a code."""

from __future__ import annotations

from importlib import resources

import pytest

from polltape.errors import UsageError
from polltape.measures.codes import CODES
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


@pytest.mark.parametrize("code", ["RA001", "RA002", "RA004", "RA007", "OP002", "OP003", "OP005"])
def test_what_the_common_clients_do_is_told_where_they_matter(code: str) -> None:
    assert "urllib3" in page(code).sections["In common clients"] or "ShopifyAPI" in page(code).markdown
