"""How answers look: rich tables on a terminal, plain columns otherwise, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import typer

MINUTE, HOUR, DAY = 60, 3600, 86400


class Page:
    """Where a command writes its answer: standard output, with or without colours."""

    def __init__(self) -> None:
        self.is_rich = sys.stdout.isatty()
        self._console: Any = None

    @property
    def console(self) -> Any:
        """The console of rich; imported only when something is really drawn."""
        if self._console is None:
            from rich.console import Console  # noqa: PLC0415 - slow to import, and of no use to `--json`

            self._console = Console(highlight=False, soft_wrap=not self.is_rich)
        return self._console

    def line(self, text: str = "", *, style: str = "") -> None:
        """One line, or several."""
        if self.is_rich and style:
            self.console.print(text, style=style, markup=False)
        else:
            typer.echo(text)

    def title(self, text: str) -> None:
        """A heading of its own."""
        self.line()
        self.line(text, style="bold")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Rows under their columns; nothing at all where there are none."""
        if not rows:
            return
        cells = [[_cell(value) for value in row] for row in rows]
        if self.is_rich:
            self._draw(columns, cells)
            return
        for row in (columns, *cells):
            widths = [max(len(r[i]) for r in (columns, *cells)) for i in range(len(columns))]
            typer.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())

    def _draw(self, columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
        from rich import box  # noqa: PLC0415 - see `console`
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for name in columns:
            table.add_column(name, overflow="fold")
        for row in cells:
            table.add_row(*(Text(text) for text in row))
        self.console.print(table)


def answer(data: Any, *, as_json: bool, show: Callable[[Page], None]) -> None:
    """Write an answer in the form that was asked for."""
    if as_json:
        typer.echo(json.dumps(data, indent=2, ensure_ascii=False, default=str))
    else:
        page = Page()
        if isinstance(data, Mapping) and data.get("source") == "demo":
            page.line("DEMO", style="bold magenta")
        show(page)


def ago(seconds: float | None) -> str:
    """A length of time in its two largest units: `2 h 5 min`; a dash where it is not known."""
    if seconds is None:
        return "-"
    whole = int(seconds)
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE} s" if whole % MINUTE else f"{whole // MINUTE} min"
    if whole < DAY:
        return f"{whole // HOUR} h {whole % HOUR // MINUTE} min" if whole % HOUR >= MINUTE else f"{whole // HOUR} h"
    return f"{whole // DAY} d {whole % DAY // HOUR} h" if whole % DAY >= HOUR else f"{whole // DAY} d"


def moment(said: str | None) -> str:
    """An ISO time to the second, in the reader's zone; a dash where there is none."""
    if not said:
        return "-"
    return datetime.fromisoformat(said).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def share(value: float | None) -> str:
    """A ratio in per cent; a dash where there is none."""
    return "-" if value is None else f"{value:.0%}"


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(str(value).split())
