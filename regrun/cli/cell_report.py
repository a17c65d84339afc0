"""Cells for people: as a table, a plot, CSV."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from regrun.analysis.cells import Cell
from regrun.analysis.sweeps import StoredSweep, metric_of_cells
from regrun.cli.cell_table import (
    ALIKE,
    BEST,
    cell_table,
    params_of,
    shown_metrics,
    status_of,
)
from regrun.cli.conclusions import caption, conclusions, standing_of, stopped_by_test
from regrun.cli.console import output, plotted, spelled, verbatim
from regrun.cli.data_report import data_line
from regrun.cli.heat_map import heat_map
from regrun.cli.plot import axis_plot
from regrun.metrics import SPLITS, Metric
from regrun.results import SweepSummary
from regrun.settings import format_value, short_keys
from regrun.store.run_dir import RunDir
from regrun.store.sweep_dir import SweepDir

MOST_SWEEP_ROWS = 40
"""Rows of the table after a sweep; `compare` shows the others."""


def sweep_report(sweep: SweepSummary, *, wide: bool = False) -> list[RenderableType]:
    """Everything to print after a sweep, in order."""
    directory = Path(sweep.sweep_dir)
    stored = StoredSweep(SweepDir(directory))
    cells = stored.cells
    metric = Metric.from_name(sweep.best.metric) if sweep.best else metric_of_cells(cells)
    endings = ("completed", "pruned", "diverged", "failed", "unfinished")
    counts = [(getattr(sweep, name), name) for name in endings]
    ended = ", ".join(f"{count:,} {name}" for count, name in counts if count)
    quoted = shlex.quote(str(directory))
    return [
        *answers(
            cells,
            metric,
            MOST_SWEEP_ROWS,
            wide=wide,
            confirmed=stored.confirmed,
        ),
        *([f"data       {data_line(sweep.data)}"] if sweep.data else []),
        f"runs       {ended} in {sweep.seconds.total:.1f} s",
        *([] if sweep.saved is None else [f"saved      {sweep.saved:,} runs, by the race"]),
        verbatim(f"sweep      {directory}"),
        *(verbatim(line) for line in _next(sweep, cells, quoted)),
    ]


def _next(sweep: SweepSummary, cells: Sequence[Cell], directory: str) -> list[str]:
    """The commands to try next; where everything failed, the log that says why."""
    failed = next((run for cell in cells for run in cell.runs if run.status == "failed"), None)
    if failed is not None and sweep.failed == sweep.runs:
        return [f"why        {RunDir(failed.path).log}"]
    verb = "resume" if sweep.unfinished else "compare"
    return [f"next       regrun {verb} {directory}", f"           regrun view {directory}"]


def _confirmation(confirmed: Sequence[Cell], metric: Metric, *, wide: bool) -> list[RenderableType]:
    """The finalists on their fresh replicates; nothing without any."""
    if not confirmed:
        return []
    replicates = max(cell.seeds for cell in confirmed)
    finalists = "the best cell" if len(confirmed) == 1 else f"{len(confirmed)} finalists"
    again = "once" if replicates == 1 else f"with {replicates:,} fresh replicates each"
    return [
        f"\nconfirmed: {finalists} trained again {again}, which had no part in the choice",
        *cell_table(confirmed, metric.name, width=output().width, wide=wide),
        *caption(confirmed, shown_metrics(confirmed, metric.name)),
    ]


def answers(
    cells: Sequence[Cell],
    metric: Metric,
    most_rows: int | None = None,
    *,
    plots: bool = True,
    wide: bool = False,
    confirmed: Sequence[Cell] = (),
) -> list[RenderableType]:
    """Table, plot over the axis and conclusions; of more than most_rows cells, the best so many.

    wide: all columns. confirmed: the finalists on fresh replicates.
    """
    standing = standing_of(cells, metric)
    shown = _best(cells, metric) if not standing.apart else list(cells)
    if most_rows is not None and len(cells) > most_rows:
        shown = shown[:most_rows]
    elif _is_grid(cells):
        shown = _along_axes(cells)
    best = standing.alike
    marks = [f"{BEST} {'lowest' if metric.sign > 0 else 'highest'} {metric.name}"] if best else []
    marks += [f"{ALIKE} not distinguishable from it"] if len(best) > 1 else []
    drawn = _plot(cells, metric) if plots else []
    return [
        *cell_table(
            shown,
            metric.name,
            width=output().width,
            marks=best,
            legend=spelled("   ".join(marks)),
            wide=wide,
        ),
        *(
            [f"the best {len(shown)} of {len(cells):,} cells by {metric.name}"]
            if len(shown) < len(cells)
            else []
        ),
        *caption(cells, shown_metrics(cells, metric.name)),
        *drawn,
        *conclusions(cells, metric, confirmed=bool(confirmed), standing=standing),
        *stopped_by_test(cells),
        *_confirmation(confirmed, metric, wide=wide),
    ]


def _best(cells: Sequence[Cell], metric: Metric) -> list[Cell]:
    """Best first; those without the metric last."""

    def rank(cell: Cell) -> float:
        mean = cell.interval(metric.name)
        return math.inf if mean is None else metric.sign * mean.mean

    return sorted(cells, key=rank)


def _values(cells: Sequence[Cell], key: str) -> list[Any]:
    """The values of an axis, in the order of the cells, each once."""
    values = {format_value(cell.params.get(key)): cell.params.get(key) for cell in cells}
    return [*values.values()]


def _is_grid(cells: Sequence[Cell]) -> bool:
    """Whether the cells are all combinations of the values of their keys."""
    counts = [len(_values(cells, key)) for key in params_of(cells)]
    return math.prod(counts) == len(cells)


def _along_axes(cells: Sequence[Cell]) -> list[Cell]:
    """Cells in the order of their values: numbers rising, others as they come."""
    places = {}
    for key in params_of(cells):
        values = _values(cells, key)
        if all(isinstance(value, int | float) for value in values):
            values = sorted(values)
        places[key] = {format_value(value): at for at, value in enumerate(values)}
    return sorted(
        cells,
        key=lambda cell: [places[key][format_value(cell.params.get(key))] for key in places],
    )


def _plot(cells: Sequence[Cell], metric: Metric) -> list[Text]:
    """The metric's quantity on every split over the one numeric axis, when there is just one."""
    axes = params_of(cells)
    whole = all(len(cell.params) == len(axes) for cell in cells)
    if len(axes) == 2 and whole and _is_grid(cells):
        return _two_axes(cells, metric)
    if len(axes) != 1:
        return []
    (axis,) = axes
    values = [cell.params.get(axis) for cell in cells]
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        return []
    rising = sorted(cells, key=lambda cell: float(cell.params[axis]))
    curves, bars = {}, {}
    for split in SPLITS:
        name = metric.on(split).name
        points = [
            (float(cell.params[axis]), interval.mean)
            for cell in rising
            if (interval := cell.interval(name)) is not None
        ]
        if points:
            curves[name] = ([x for x, _ in points], [y for _, y in points])
            bars[name] = [
                (float(cell.params[axis]), found.low, found.high)
                for cell in rising
                if (found := cell.interval(name)) is not None
                and found.low is not None
                and found.high is not None
            ]
    return plotted(axis_plot, curves, axis, bars=bars)


def _two_axes(cells: Sequence[Cell], metric: Metric) -> list[Text]:
    """The metric over two axes; the one with fewer values runs to the right."""
    axes = sorted(params_of(cells), key=lambda key: -len(_values(cells, key)))
    names = short_keys(axes)
    ordered = _along_axes(cells)
    (down, rows), (right, columns) = (
        (key, [format_value(each) for each in _values(ordered, key)]) for key in axes
    )
    means = {
        (format_value(cell.params[down]), format_value(cell.params[right])): found.mean
        for cell in ordered
        if (found := cell.interval(metric.name)) is not None
    }
    console = output()
    drawn = heat_map(
        metric.name,
        (names[down], rows),
        (names[right], columns),
        means,
        console.width,
        sign=metric.sign,
        colour=console.is_terminal and not console.no_color,
    )
    return [] if drawn is None else [drawn]


def csv_rows(cells: Sequence[Cell]) -> Iterator[list[Any]]:
    """A header, then a row per cell; repeated seeds give mean, low and high of each metric."""
    repeated = any(cell.seeds > 1 for cell in cells)
    params = params_of(cells)
    metrics = list(dict.fromkeys(name for cell in cells for name in cell.metrics))
    parts = ("mean", "low", "high") if repeated else ("mean",)
    columns = [f"{name}/{part}".removesuffix("/mean") for name in metrics for part in parts]
    if repeated:
        yield [*params, "seeds", "completed", *columns]
    else:
        yield ["run", *params, "status", *columns]
    for cell in cells:
        given = [cell.params.get(key) for key in params]
        intervals = [cell.interval(name) for name in metrics]
        values = [getattr(interval, part, None) for interval in intervals for part in parts]
        if repeated:
            yield [*given, cell.seeds, cell.count("completed"), *values]
        else:
            yield [str(cell.runs[0].path), *given, status_of(cell), *values]
