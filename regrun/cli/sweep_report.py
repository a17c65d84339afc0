"""The answers of a sweep on a terminal: table, plot, and what may be said."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regrun.analysis.cells import Cell
from regrun.analysis.sweeps import metric_of_cells, sweep_cells
from regrun.metrics import SPLITS, Metric
from regrun.store.sweep_dir import SweepDir

if TYPE_CHECKING:
    from rich.console import RenderableType

MOST_ROWS = 40
"""Rows of the table after a sweep; `compare` shows the others."""


def sweep_report(document: Mapping[str, Any]) -> list[RenderableType]:
    """Everything to print after a sweep, in order."""
    from rich.text import Text

    directory = Path(document["sweep_dir"])
    cells = sweep_cells(SweepDir(directory))
    best = document["best"]
    metric = Metric.from_name(best["metric"]) if best else metric_of_cells(cells)
    counts = [
        f"{document[name]:,} {name}"
        for name in ("completed", "pruned", "diverged", "failed", "unfinished")
        if document[name]
    ]
    quoted = shlex.quote(str(directory))
    lines = [
        f"runs       {', '.join(counts)} in {document['seconds']['total']:.1f} s",
        f"sweep      {directory}",
        f"next       regrun {'resume' if document['unfinished'] else 'compare'} {quoted}",
        f"           regrun view {quoted}",
    ]
    return [*answers(cells, metric, MOST_ROWS), *(Text(line) for line in lines)]


def answers(
    cells: Sequence[Cell], metric: Metric, most_rows: int | None = None
) -> list[RenderableType]:
    """Table, plot over the axis and conclusions; of more than most_rows cells, the best so many."""
    from rich.text import Text

    from regrun.cli.comparison import comparison_table, conclusions

    shown = cells
    if most_rows is not None and len(cells) > most_rows:
        shown = _best(cells, metric)[:most_rows]
    parts: list[RenderableType] = [comparison_table(shown, metric.name)]
    if len(shown) < len(cells):
        parts.append(Text(f"the best {len(shown)} of {len(cells):,} cells by {metric.name}"))
    plot = _plot(cells, metric)
    if plot is not None:
        parts.append(Text.from_ansi(plot, no_wrap=True))
    return parts + [Text(line) for line in conclusions(cells, metric)]


def _best(cells: Sequence[Cell], metric: Metric) -> list[Cell]:
    """Best first; those without the metric last."""
    means = [cell.interval(metric.name) for cell in cells]
    order = sorted(
        range(len(cells)),
        key=lambda index: (
            (False, metric.sign * mean.mean) if (mean := means[index]) is not None else (True, 0.0)
        ),
    )
    return [cells[index] for index in order]


def _plot(cells: Sequence[Cell], metric: Metric) -> str | None:
    """The metric's quantity on every split over the one numeric axis, when there is just one."""
    from regrun.cli.console import plot_width, wants_colour
    from regrun.cli.plot import axis_plot

    axes = list(dict.fromkeys(key for cell in cells for key in cell.params))
    if len(axes) != 1:
        return None
    (axis,) = axes
    values = [cell.params.get(axis) for cell in cells]
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        return None
    rising = sorted(cells, key=lambda cell: float(cell.params[axis]))
    curves = {}
    for split in SPLITS:
        name = metric.on(split).name
        points = [
            (float(cell.params[axis]), interval.mean)
            for cell in rising
            if (interval := cell.interval(name)) is not None
        ]
        if points:
            curves[name] = ([x for x, _ in points], [y for _, y in points])
    return axis_plot(curves, axis, plot_width(), colour=wants_colour()) if curves else None
