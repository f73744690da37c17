"""The page of each finding code: what it does, why it matters, an example, how to fix it."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from importlib import resources
from typing import Any

from polltape.errors import UsageError
from polltape.measures.codes import CODES, Code


@dataclass(frozen=True, slots=True)
class CodePage:
    """A code and its text; ``sections``: heading → Markdown, in the order of the page."""

    code: Code
    sections: dict[str, str]

    @property
    def markdown(self) -> str:
        """The whole page."""
        facts = f"Fault: {self.code.fault}. One finding for each {self.code.per}."
        parts = [f"# {self.code.code}: {self.code.title}", facts]
        parts += [f"## {heading}\n\n{text}" for heading, text in self.sections.items()]
        return "\n\n".join(parts) + "\n"

    @property
    def protocols(self) -> list[str]:
        """The only protocols that it is about; none named: every one."""
        return [name.strip() for name in self.sections.get("Protocols", "").split(",") if name.strip()]

    def as_dict(self) -> dict[str, Any]:
        """The page for ``--format json``."""
        code = self.code
        facts = {"code": code.code, "fault": code.fault, "per": code.per, "title": code.title}
        return facts | {"protocols": self.protocols, "sections": self.sections}


def page(name: str) -> CodePage:
    """The page of a code, in any case.  Raises UsageError, with the nearest one, for an unknown code."""
    code = CODES.get(name.strip().upper())
    if code is None:
        near = get_close_matches(name.strip().upper(), CODES, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else "`polltape explain --all` has them all"
        raise UsageError(f"no finding code {name!r}", hint=hint)
    text = resources.files("polltape.measures").joinpath("code_pages", f"{code.code}.md").read_text(encoding="utf-8")
    return CodePage(code, _sections(text))


def _sections(text: str) -> dict[str, str]:
    found = {}
    for part in text.split("## ")[1:]:
        heading, _, body = part.partition("\n")
        found[heading.strip()] = body.strip("\n")
    return found
