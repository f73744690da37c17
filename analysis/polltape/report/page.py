"""A page of text: lines and tables for a width, with colours only where they are wanted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import StringIO
from typing import Final

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from polltape.measures.words import counted
from polltape.report.plain import printable

HEADING: Final = "bold"
QUIET: Final = "dim"
FAULTS: Final = {"server": "magenta", "client": "yellow", "capture": "cyan"}
VERDICTS: Final = {"early": "red", "late": "yellow", "kept": "green"}
MOST_GROUPS: Final = 30
"""Groups of operations or waits in one section; the rest is counted."""
OUTCOMES: Final = {"completed": "green", "failed": "red", "rejected": "red", "abandoned": "yellow", "pending": "cyan"}


class Page:
    """Collects lines; :meth:`text` is what they became.

    Every text goes through :func:`~polltape.report.plain.printable`, and none is read as markup.
    """

    def __init__(self, width: int, color: bool) -> None:
        self._file = StringIO()
        self._color = color
        self._console = Console(
            file=self._file,
            width=width,
            color_system="standard" if color else None,
            force_terminal=color,
            legacy_windows=False,
            markup=False,
            emoji=False,
            highlight=False,
            soft_wrap=False,
            _environ={},
        )

    def text(self) -> str:
        """The page, without blanks at the ends of its lines."""
        lines = self._file.getvalue().splitlines()
        return "\n".join(line.rstrip() for line in lines).rstrip("\n") + "\n"

    def heading(self, title: str, note: str = "") -> None:
        """A section's title, with what it means beside it."""
        line = Text(printable(title), style=HEADING)
        if note:
            line.append(f"  {note}", style=f"not bold {QUIET}")
        self._console.print()
        self._console.print(line)

    def line(self, *parts: str | tuple[str, str], indent: int = 2) -> None:
        """One paragraph of texts, or (text, style) pairs; continued lines keep the indent."""
        self._console.print(Padding(_assembled(parts), (0, 0, 0, indent)))

    def hanging(self, first: str | tuple[str, str], rest: str, *, indent: int, width: int, style: str = "") -> None:
        """A first word in a column of its own, the rest wrapped beside it."""
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(width=width, no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row(_assembled([first]), Text(printable(rest), style=style))
        self._console.print(Padding(grid, (0, 0, 0, indent)))

    def more(self, left: int, one: str, many: str | None = None, *, forms: str = "json or csv") -> None:
        """How many rows of a section are left out, if any."""
        if left > 0:
            self.line((f"… and {counted(left, one, many)} more: --format {forms} has them all", QUIET))

    def facts(self, facts: Iterable[str], *, indent: int = 4) -> None:
        """Short facts with a dot between them, as many on a line as fit, each in one piece."""
        line = ""
        for fact in facts:
            longer = f"{line} · {fact}" if line else fact
            if line and len(longer) > self._console.width - indent:
                self.line(line, indent=indent)
                longer = fact
            line = longer
        self.line(line, indent=indent)

    def cells(self, cells: Sequence[tuple[str, str]], widths: Sequence[int]) -> None:
        """One line of cells, padded to their widths."""
        line = Text()
        for (text, style), width in zip(cells, widths, strict=True):
            line.append(printable(text).ljust(width), style=style)
            line.append("  ")
        self._console.print(line, no_wrap=True, overflow="crop")

    def command(self, text: str, indent: int = 2) -> None:
        """A command to copy: never broken, whatever the width."""
        self._console.print(
            Text(" " * indent + printable(text), style="cyan"), no_wrap=True, overflow="ignore", crop=False
        )

    def table(
        self, columns: Sequence[str], rows: Iterable[Sequence[str | tuple[str, str]]], *, indent: int = 2
    ) -> None:
        """Columns named ``>name`` are right-aligned; only those named ``*name`` wrap where the line is full."""
        cells = [[_assembled([cell]) for cell in row] for row in rows]
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
        for index, column in enumerate(columns):
            wraps, name = column.startswith("*"), column.lstrip(">*")
            table.add_column(
                Text(name, style=QUIET),
                justify="right" if column.startswith(">") else "left",
                no_wrap=not wraps,
                min_width=None if wraps else max(len(name), *(row[index].cell_len for row in cells)),
            )
        for row in cells:
            table.add_row(*row)
        self._console.print(Padding(table, (0, 0, 0, indent), expand=False))


def _assembled(parts: Iterable[str | tuple[str, str]]) -> Text:
    whole = Text(overflow="fold")
    for part in parts:
        text, style = part if isinstance(part, tuple) else (part, "")
        whole.append(printable(text), style=style)
    return whole
