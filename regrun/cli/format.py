"""Numbers and tables as people read them in a terminal."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from regrun.results import MeanInterval

NOTHING = "–"

_ROUNDING = 1e-12
"""A half width below this share of the mean is rounding, not spread."""


def number(value: Any) -> str:
    """Four significant digits; ``–`` when there is none."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return NOTHING
    return f"{value:.4g}" if math.isfinite(value) else str(value)


def plus_minus(interval: MeanInterval | None) -> str:
    """``0.52 ± 0.03``: the half width to two digits, the mean to the same decimal place."""
    if interval is None:
        return NOTHING
    if interval.high is None:
        return number(interval.mean)
    half = interval.high - interval.mean
    if half < _ROUNDING * abs(interval.mean):
        half = 0.0
    if not (math.isfinite(half) and half > 0):
        return f"{number(interval.mean)} ± {half:.2g}"
    place = 1 - math.floor(math.log10(half))
    size = max(abs(interval.mean), half)
    if half >= 1e-4 and size < 1e6:
        decimals = max(place, 0)
        return f"{interval.mean:.{decimals}f} ± {half:.{decimals}f}"
    digits = max(place + math.floor(math.log10(size)) + 1, 2)
    return f"{interval.mean:.{digits}g} ± {half:.2g}"


def table(
    headers: Sequence[str], rows: Iterable[Sequence[str | Text]], right: Collection[str] = ()
) -> Table:
    """A table without lines; the columns whose headers are in ``right`` are aligned right."""
    grid = Table(box=None, pad_edge=False)
    for header in headers:
        grid.add_column(header, justify="right" if header in right else "left")
    for row in rows:
        grid.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    return grid


def name_table(rows: Iterable[Sequence[str]], title: str | None = None) -> Table:
    """A table without headers: a name, then what there is to say about it."""
    grid = Table(title=title, title_justify="left", box=None, show_header=False, pad_edge=False)
    grid.add_column(style="bold")
    for row in rows:
        grid.add_row(*(Text(cell) for cell in row))
    return grid
