"""The answers of a sweep on a terminal: table, plot, and what may be said."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regrun.analysis.cells import Cell
from regrun.analysis.sweeps import sweep_cells
from regrun.store.sweep_dir import SweepDir

if TYPE_CHECKING:
    from rich.console import RenderableType

MOST_ROWS = 40
"""Rows of the table on a terminal; `compare` shows the others."""

SPLITS = ("train", "val", "test")


def sweep_report(document: Mapping[str, Any]) -> list[RenderableType]:
    """Everything to print, in order."""
    from rich.text import Text

    from regrun.cli.comparison import comparison_table, conclusions

    directory = Path(document["sweep_dir"])
    cells = sweep_cells(SweepDir(directory))
    best = document["best"]
    metric = best["metric"] if best else "test/loss"
    falling = metric.endswith("accuracy")
    ordered = cells
    if len(cells) > MOST_ROWS:
        found = [cell for cell in cells if cell.interval(metric) is not None]
        ordered = sorted(found, key=lambda cell: _mean(cell, metric), reverse=falling)[:MOST_ROWS]
    parts: list[RenderableType] = [comparison_table(ordered)]
    if len(ordered) < len(cells):
        parts.append(Text(f"the best {len(ordered)} of {len(cells):,} cells by {metric}"))
    plot = _plot(cells, metric)
    if plot is not None:
        parts.append(Text.from_ansi(plot))
    if best:
        parts += [Text(line) for line in conclusions(cells, metric, "max" if falling else "min")]
    counts = [
        f"{document[name]:,} {name}"
        for name in ("completed", "pruned", "diverged", "failed", "unfinished")
        if document[name]
    ]
    seconds = document["seconds"]["total"]
    parts.append(Text(f"runs       {', '.join(counts)} in {seconds:.1f} s"))
    parts.append(Text(f"sweep      {directory}"))
    parts.append(Text(f"next       regrun compare {shlex.quote(str(directory))}"))
    parts.append(Text(f"           regrun view {shlex.quote(str(directory))}"))
    return parts


def _mean(cell: Cell, metric: str) -> float:
    interval = cell.interval(metric)
    assert interval is not None
    return interval.mean


def _plot(cells: Sequence[Cell], metric: str) -> str | None:
    """The metric's quantity on every split over the one numeric axis, when there is just one."""
    from regrun.cli.console import plot_width, wants_colour
    from regrun.cli.plot import axis_plot

    axes = list(dict.fromkeys(key for cell in cells for key in cell.params))
    values = {cell.params.get(axes[0]) for cell in cells} if len(axes) == 1 else set()
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        return None
    rising = sorted(cells, key=lambda cell: float(cell.params[axes[0]])) if values else []
    curves = {}
    for split in SPLITS:
        name = f"{split}/{metric.split('/')[1]}"
        points = [
            (float(cell.params[axes[0]]), interval.mean)
            for cell in rising
            if (interval := cell.interval(name)) is not None
        ]
        if points:
            curves[name] = ([x for x, _ in points], [y for _, y in points])
    return axis_plot(curves, axes[0], plot_width(), colour=wants_colour()) if curves else None
