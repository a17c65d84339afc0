"""Cells for people: as a table, a plot, CSV, and sentences on which is best."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from regrun.analysis.cells import Cell
from regrun.analysis.sweeps import best_cells, comparable, metric_of_cells, sweep_cells
from regrun.cli.console import plotted
from regrun.cli.data_report import data_line
from regrun.cli.format import plus_minus, table
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
_LOSSES_APART = ("loss", "dataset.name")
"""Where cells differ in these, their losses are of different things."""

_MOST_NAMED = 5


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
        *answers(cells, metric, MOST_SWEEP_ROWS),
        *([f"data       {data_line(sweep.data)}"] if sweep.data else []),
        f"runs       {ended} in {sweep.seconds.total:.1f} s",
        f"sweep      {directory}",
        f"next       regrun {'resume' if sweep.unfinished else 'compare'} {quoted}",
        f"           regrun view {quoted}",
    ]


def answers(
    cells: Sequence[Cell], metric: Metric, most_rows: int | None = None
) -> list[RenderableType]:
    """Table, plot over the axis and conclusions; of more than most_rows cells, the best so many."""
    shown = cells
    if most_rows is not None and len(cells) > most_rows:
        shown = _best(cells, metric)[:most_rows]
    parts: list[RenderableType] = [comparison_table(shown, metric.name)]
    if len(shown) < len(cells):
        parts.append(f"the best {len(shown)} of {len(cells):,} cells by {metric.name}")
    return [*parts, *_plot(cells, metric), *conclusions(cells, metric), *stopped_by_test(cells)]


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
    known = _COLUMNS if metric is None or metric in _COLUMNS else {metric: metric, **_COLUMNS}
    repeated = any(cell.seeds > 1 for cell in cells)
    params = _params(cells)
    present = {name for cell in cells for name in cell.metrics}
    scores = (f"{split}/{name}" for name in SCORES for split in SPLITS if split != "train")
    known = known | {name: name.replace("/", " ") for name in scores if name not in known}
    metrics = [name for name in known if name in present]
    left = [*([] if repeated else ["run"]), *params]
    right = [*(["seeds"] if repeated else []), *(known[name] for name in metrics)]
    rows = []
    for cell in cells:
        row = [] if repeated else [_run_name(cell)]
        row += [format_value(cell.params[key]) if key in cell.params else "" for key in params]
        row += [str(cell.seeds)] if repeated else []
        row += [plus_minus(cell.interval(name)) for name in metrics]
        rows.append([*row, _status(cell)])
    if len(rows) > MOST_FITTED_ROWS:
        return _unfitted_table(left, right, rows)
    return table([*left, *right, "status"], rows, right)


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


def conclusions(cells: Sequence[Cell], metric: Metric) -> list[str]:
    """What may be said about which cell is best, and no more."""
    name = metric.name
    compared = comparable(cells, metric)
    left_out = _left_out([cell for cell in cells if cell.lost and cell not in compared])
    if len(compared) < 2:
        return left_out
    word = "lowest" if metric.direction == "minimize" else "highest"
    apart = [key for key in _LOSSES_APART if len({cell.params.get(key) for cell in compared}) > 1]
    if apart and metric.quantity == "loss":
        return [f"{name} means something else for each {' and '.join(apart)}: none is the {word}"]
    best = best_cells(cells, metric)
    flatters = " (chosen by the test set, which flatters it)" if metric.split == "test" else ""
    sentences = [f"{word} {name}: {_name(best[0])}{flatters}"]
    seeds = len(best[0].values(name))
    if seeds < 2:
        sentences.append("one seed cannot distinguish a difference from chance")
    elif len(best) == 1:
        among = "" if len(compared) == len(cells) else f" with a {name}"
        sentences.append(
            f"different from every other row{among} (paired t-tests over seeds, Holm, 5%)"
        )
    else:
        others = [_name(cell) for cell in best[1 : 1 + _MOST_NAMED]]
        more = len(best) - 1 - len(others)
        listed = ", ".join(others) + (f" and {more:,} more" if more else "")
        sentences.append(f"not distinguishable from it at {seeds} seeds: {listed}")
    sentences += left_out
    lost = best[0].seeds - seeds
    if lost:
        sentences.append(f"{lost} of its {best[0].seeds} runs ended without a {name}")
    return sentences


def stopped_by_test(cells: Sequence[Cell]) -> list[str]:
    """That early stopping chose epochs by the test set, where it did."""
    summaries = [run.summary for cell in cells for run in cell.runs if run.summary is not None]
    metrics = Counter(each.early_stopping for each in summaries if each.early_stopping is not None)
    return [
        f"early stopping chose the epochs of {count:,} of {len(summaries):,} runs by {name}, which "
        "flatters the test set; dataset.validation holds out examples to choose by"
        for name, count in metrics.items()
        if Metric.from_name(name).split == "test"
    ]


def _left_out(cells: Sequence[Cell]) -> list[str]:
    """That these cells are not compared, and why."""
    if not cells:
        return []
    runs = sum(cell.lost for cell in cells)
    shown = ", ".join(_name(cell) for cell in cells[:_MOST_NAMED])
    more = f" and {len(cells) - _MOST_NAMED:,} more" if len(cells) > _MOST_NAMED else ""
    return [f"not compared, since {runs:,} of their runs diverged or failed: {shown}{more}"]


def _params(cells: Sequence[Cell]) -> list[str]:
    return list(dict.fromkeys(key for cell in cells for key in cell.params))


def _run_name(cell: Cell) -> str:
    return cell.runs[0].path.name


def _name(cell: Cell) -> str:
    settings = [f"{key}={format_value(setting)}" for key, setting in cell.params.items()]
    return " ".join(settings) or _run_name(cell)


def _status(cell: Cell) -> str:
    ended = [run.status for run in cell.runs]
    if len(set(ended)) == 1:
        return ended[0]
    return ", ".join(f"{ended.count(status)} {status}" for status in dict.fromkeys(ended))
