"""The findings as JUnit XML, for the test pages of a CI server: one failed case a finding, by endpoint."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from polltape.measures.codes import CODES
from polltape.measures.words import iso
from polltape.report.places import Place, places

if TYPE_CHECKING:
    from polltape.measures.analysis import Analysis

_NO_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, not even escaped (§2.2)."""


def render(analysis: Analysis) -> str:
    """One ``testcase`` for each code and endpoint: classname is the endpoint, name ``CODE: title``.

    Where nothing was found, one case that passes, so that a CI server sees that the check ran.
    """
    found = places(analysis)
    counts = {"tests": str(max(1, len(found))), "failures": str(len(found)), "errors": "0", "skipped": "0"}
    suites = Element("testsuites", {"name": "polltape"} | counts)
    suite = SubElement(suites, "testsuite", {"name": "polltape"} | counts)
    if (start := iso(analysis.from_us)) is not None:
        suite.set("timestamp", start.removesuffix("Z").split(".")[0])
    for place in found:
        _case(suite, place)
    if not found:
        name = f"no finding in {analysis.exchanges} exchanges"
        SubElement(suite, "testcase", {"classname": "polltape", "name": name, "time": "0"})
    indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(suites, encoding="unicode") + "\n"


def _case(suite: Element, place: Place) -> None:
    code = CODES[place.code]
    names = {
        "classname": _xml(f"{place.endpoint} {place.host}".strip() or "capture"),
        "name": f"{code.code}: {code.title}",
    }
    case = SubElement(suite, "testcase", names | {"time": "0"})
    first = place.findings[0]
    failure = SubElement(case, "failure", {"type": code.code, "message": _xml(str(first["message"]))})
    failure.text = _xml("\n".join(place.lines()))


def _xml(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)
