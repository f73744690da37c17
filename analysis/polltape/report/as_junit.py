"""The findings as JUnit XML, for the test pages of a CI server: one failed case a code and endpoint."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from polltape.measures.codes import CODES
from polltape.measures.words import counted, iso
from polltape.report.places import Place, places

if TYPE_CHECKING:
    from polltape.measures.analysis import Analysis

_NO_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, not even escaped (§2.2)."""


def render(analysis: Analysis) -> str:
    """One ``testcase`` for each code and endpoint: classname is the endpoint, name ``CODE: title``.

    Where nothing was found, one case that passes, so that a CI server sees that the check ran.  Suppressions are
    cases that were skipped, with their reason.
    """
    found = places(analysis)
    hidden = [(suppression, count) for suppression, count in analysis.suppressed if count]
    tests = max(1, len(found)) + len(hidden)
    counts = {"tests": str(tests), "failures": str(len(found)), "errors": "0", "skipped": str(len(hidden))}
    suites = Element("testsuites", {"name": "polltape"} | counts)
    suite = SubElement(suites, "testsuite", {"name": "polltape"} | counts)
    if (start := iso(analysis.from_us)) is not None:
        suite.set("timestamp", start.removesuffix("Z").split(".")[0])
    for place in found:
        _case(suite, place)
    for suppression, count in hidden:
        names = {"classname": _xml(suppression.where), "name": _xml(suppression.told()), "time": "0"}
        told = f"{counted(count, 'finding')} suppressed: {suppression.reason}"
        SubElement(SubElement(suite, "testcase", names), "skipped", {"message": _xml(told)})
    if not found:
        name = f"no finding in {analysis.exchanges} exchanges"
        SubElement(suite, "testcase", {"classname": "polltape", "name": name, "time": "0"})
    indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(suites, encoding="unicode") + "\n"


def _case(suite: Element, place: Place) -> None:
    code = CODES[place.code]
    names = {
        "classname": _xml(place.name or "capture"),
        "name": f"{code.code}: {code.title}",
    }
    case = SubElement(suite, "testcase", names | {"time": "0"})
    first = place.findings[0]
    failure = SubElement(case, "failure", {"type": code.code, "message": _xml(str(first["message"]))})
    failure.text = _xml("\n".join(place.lines()))


def _xml(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)
