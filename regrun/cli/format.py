"""Tables as people read them in a terminal."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from rich.table import Table
from rich.text import Text

from regrun.escapes import escaped
from regrun.numbers import NOTHING, interval, number, ratio

__all__ = ["NOTHING", "interval", "name_table", "number", "ratio", "table"]


def table(
    headers: Sequence[str], rows: Iterable[Sequence[str | Text]], right: Collection[str] = ()
) -> Table:
    """A table without lines; the columns whose headers are in ``right`` are aligned right."""
    grid = Table(box=None, pad_edge=False)
    for header in headers:
        grid.add_column(header, justify="right" if header in right else "left")
    for row in rows:
        grid.add_row(*(Text(escaped(cell)) if isinstance(cell, str) else cell for cell in row))
    return grid


def name_table(rows: Iterable[Sequence[str]], title: str | None = None) -> Table:
    """A table without headers: a name, then what there is to say about it."""
    grid = Table(title=title, title_justify="left", box=None, show_header=False, pad_edge=False)
    grid.add_column(style="bold")
    for row in rows:
        grid.add_row(*(Text(escaped(cell)) for cell in row))
    return grid
