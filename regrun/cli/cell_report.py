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
from regrun.analysis.sweeps import confirmed_cells, metric_of_cells, sweep_cells
from regrun.cli.conclusions import caption, conclusions, stopped_by_test
from regrun.cli.console import plotted
from regrun.cli.data_report import data_line
from regrun.cli.format import interval, table
from regrun.cli.plot import axis_plot
from regrun.metrics import SCORES, SPLITS, Metric
from regrun.results import SweepSummary
from regrun.settings import format_value
from regrun.store.sweep_dir import SweepDir

MOST_FITTED_ROWS = 200
"""Rows that are fitted to the terminal, which takes a millisecond each."""

MOST_SWEEP_ROWS = 40
"""Rows of the table after a sweep; `compare` shows the others."""

_COLUMNS = {
    "train/loss": "train loss",
    "val/loss": "val loss",
    "test/loss": "test loss",
    "gap/loss": "gap",
    "train/accuracy": "train acc.",
    "val/accuracy": "val acc.",
    "test/accuracy": "test acc.",
    "weights/l2": "‖w‖₂",
    "weights/sparsity": "sparsity",
}


def sweep_report(sweep: SweepSummary) -> list[RenderableType]:
    """Everything to print after a sweep, in order."""
    directory = Path(sweep.sweep_dir)
    cells = sweep_cells(SweepDir(directory))
    metric = Metric.from_name(sweep.best.metric) if sweep.best else metric_of_cells(cells)
    endings = ("completed", "pruned", "diverged", "failed", "unfinished")
    counts = [(getattr(sweep, name), name) for name in endings]
    ended = ", ".join(f"{count:,} {name}" for count, name in counts if count)
    quoted = shlex.quote(str(directory))
    return [
        *answers(cells, metric, MOST_SWEEP_ROWS, confirmed=confirmed_cells(SweepDir(directory))),
        *([f"data       {data_line(sweep.data)}"] if sweep.data else []),
        f"runs       {ended} in {sweep.seconds.total:.1f} s",
        *([] if sweep.saved is None else [f"saved      {sweep.saved:,} runs, by the race"]),
        f"sweep      {directory}",
        f"next       regrun {'resume' if sweep.unfinished else 'compare'} {quoted}",
        f"           regrun view {quoted}",
    ]


def _confirmation(confirmed: Sequence[Cell], metric: Metric) -> list[RenderableType]:
    """The finalists on their fresh replicates; nothing without any."""
    if not confirmed:
        return []
    replicates = max(cell.seeds for cell in confirmed)
    finalists = "the best cell" if len(confirmed) == 1 else f"{len(confirmed)} finalists"
    again = "once" if replicates == 1 else f"with {replicates:,} fresh replicates each"
    return [
        f"\nconfirmed: {finalists} trained again {again}, which had no part in the choice",
        comparison_table(confirmed, metric.name),
        *caption(confirmed, table_metrics(confirmed, metric.name)),
    ]


def answers(
    cells: Sequence[Cell],
    metric: Metric,
    most_rows: int | None = None,
    *,
    plots: bool = True,
    confirmed: Sequence[Cell] = (),
) -> list[RenderableType]:
    """Table, plot over the axis and conclusions; of more than most_rows cells, the best so many.

    confirmed: the finalists on fresh replicates.
    """
    shown = cells
    if most_rows is not None and len(cells) > most_rows:
        shown = _best(cells, metric)[:most_rows]
    parts: list[RenderableType] = [comparison_table(shown, metric.name)]
    if len(shown) < len(cells):
        parts.append(f"the best {len(shown)} of {len(cells):,} cells by {metric.name}")
    parts += caption(cells, table_metrics(cells, metric.name))
    drawn = _plot(cells, metric) if plots else []
    return [
        *parts,
        *drawn,
        *conclusions(cells, metric, confirmed=bool(confirmed)),
        *stopped_by_test(cells),
        *_confirmation(confirmed, metric),
    ]


def _best(cells: Sequence[Cell], metric: Metric) -> list[Cell]:
    """Best first; those without the metric last."""

    def rank(cell: Cell) -> float:
        mean = cell.interval(metric.name)
        return math.inf if mean is None else metric.sign * mean.mean

    return sorted(cells, key=rank)


def _plot(cells: Sequence[Cell], metric: Metric) -> list[Text]:
    """The metric's quantity on every split over the one numeric axis, when there is just one."""
    axes = _params(cells)
    if len(axes) != 1:
        return []
    (axis,) = axes
    values = [cell.params.get(axis) for cell in cells]
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        return []
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
    return plotted(axis_plot, curves, axis)


def comparison_table(cells: Sequence[Cell], metric: str | None = None) -> RenderableType:
    """A row per cell: what differs, the metrics, how the runs ended.

    metric: what they are chosen by, shown whatever it is.
    """
    repeated = any(cell.seeds > 1 for cell in cells)
    params = _params(cells)
    metrics = table_metrics(cells, metric)
    left = [*([] if repeated else ["run"]), *params]
    titles = [
        _COLUMNS.get(name, name if name == metric else name.replace("/", " ")) for name in metrics
    ]
    right = [*(["seeds"] if repeated else []), *titles]
    rows = []
    for cell in cells:
        row = [] if repeated else [_run_name(cell)]
        row += [format_value(cell.params[key]) if key in cell.params else "" for key in params]
        row += [str(cell.seeds)] if repeated else []
        row += [interval(cell.interval(name)) for name in metrics]
        rows.append([*row, _status(cell)])
    if len(rows) > MOST_FITTED_ROWS:
        return _unfitted_table(left, right, rows)
    return table([*left, *right, "status"], rows, right)


def table_metrics(cells: Sequence[Cell], metric: str | None = None) -> list[str]:
    """The metrics that the table of these cells shows, in its order."""
    scores = (f"{split}/{name}" for name in SCORES for split in SPLITS if split != "train")
    known = dict.fromkeys([*_COLUMNS, *scores])
    if metric is not None and metric not in known:
        known = {metric: None, **known}
    present = {name for cell in cells for name in cell.metrics}
    return [name for name in known if name in present]


def _unfitted_table(left: list[str], right: list[str], rows: list[list[str]]) -> Text:
    """The table as wide as it is."""
    lines = [[*left, *right, "status"], *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    ends = len(left), len(left) + len(right)
    return Text(
        "\n".join(
            "  ".join(
                text.rjust(width) if ends[0] <= at < ends[1] else text.ljust(width)
                for at, (text, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )
    )


def csv_rows(cells: Sequence[Cell]) -> Iterator[list[Any]]:
    """A header, then a row per cell; repeated seeds give mean, low and high of each metric."""
    repeated = any(cell.seeds > 1 for cell in cells)
    params = _params(cells)
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
            yield [str(cell.runs[0].path), *given, _status(cell), *values]


def _params(cells: Sequence[Cell]) -> list[str]:
    return list(dict.fromkeys(key for cell in cells for key in cell.params))


def _run_name(cell: Cell) -> str:
    return cell.runs[0].path.name


def _status(cell: Cell) -> str:
    ended = [run.status for run in cell.runs]
    if len(set(ended)) == 1:
        return ended[0]
    return ", ".join(f"{ended.count(status)} {status}" for status in dict.fromkeys(ended))
