"""Figures as SVG inside a page: in the reader's theme, without style sheets, ids that clash, or a fixed size."""

from __future__ import annotations

import re
from io import BytesIO
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

from polltape.report.figures import CLIENT, INK, LINE, QUIET, SERVER, VERDICTS, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

THEME: Final = {
    color: f"var(--{name}, {color})"
    for name, color in {
        "ink": INK,
        "quiet": QUIET,
        "line": LINE,
        "blue": CLIENT,
        "orange": SERVER,
        "red": VERDICTS["early"][0],
    }.items()
}
"""Colours that follow the page's theme; without its style sheet they stay what they are."""
_REFERENCE: Final = re.compile(r"#([\w-]+)")
_FONT: Final = re.compile(r"(?:\S+ )*?([\d.]+)px")


def inline(figure: Figure, name: str, description: str) -> str:
    """The figure as an ``<svg>`` element for HTML.

    ``name``: prefix of its ids, unique in the page.  ``description``: what it shows, for those who cannot see it.
    Style attributes become presentation attributes, since a strict Content-Security-Policy forbids the former.
    """
    drawn = BytesIO()
    save(figure, drawn, form="svg")
    root = ET.fromstring(drawn.getvalue())  # our own output, no untrusted document
    _clean(root, name)
    width, height = root.attrib.pop("width"), root.attrib.pop("height")
    root.attrib.setdefault("viewBox", f"0 0 {width.removesuffix('pt')} {height.removesuffix('pt')}")
    root.attrib |= {"role": "img", "aria-label": description, "class": "chart"}
    return ET.tostring(root, encoding="unicode")


def _clean(root: ET.Element, name: str) -> None:
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    elements = list(root.iter())
    referenced = {
        match for element in elements for value in element.attrib.values() for match in _REFERENCE.findall(value)
    }
    for element in elements:
        element.tag = _local(element.tag)
        element.attrib = {_local(key): value for key, value in _flat(element.attrib).items()}
        own = element.attrib.pop("id", None)
        if own in referenced:
            element.attrib["id"] = f"{name}-{own}"
        for key in ("href", "clip-path"):
            if key in element.attrib:
                element.attrib[key] = _REFERENCE.sub(rf"#{name}-\1", element.attrib[key])


def _flat(attributes: dict[str, str]) -> dict[str, str]:
    """The attributes with ``style`` as attributes of their own, colours themed."""
    found = {key: value for key, value in attributes.items() if key not in ("style", "version")}
    for declaration in attributes.get("style", "").split(";"):
        key, _, value = (part.strip() for part in declaration.partition(":"))
        if key == "font" and (size := _FONT.match(value)):
            found["font-size"] = size.group(1)
        elif key:
            found[key] = THEME.get(value, value)
    return found


def _local(name: str) -> str:
    return name.rpartition("}")[2]
