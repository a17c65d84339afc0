"""Learning curves: a metric over epochs, with bands over seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from regrun.analysis.cells import Cell
from regrun.analysis.statistics import mean_interval
from regrun.metrics import SPLITS, Metric, Split
from regrun.numbers import interval
from regrun.pictures.base import Picture
from regrun.pictures.scales import FACTOR, fix_ticks, scale_heights, wants_log
from regrun.pictures.sentences import capital, finding, words_of
from regrun.pictures.sheet import Sheet
from regrun.pictures.style import LINES, Look, ramp_colours, tick_text
from regrun.pictures.subject import Subject
from regrun.results import Estimate
from regrun.store.reading import load_stored_run
from regrun.store.run_dir import RunDir

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_CELLS = 6
"""Cells with curves of their own."""

MOST_BELOW = 1000.0
"""The factor by which the training loss of a run may lie below its other curves."""

MOST_EPOCHS = 400
"""Evaluations of a curve that are drawn."""


@dataclass(frozen=True)
class Curve:
    """A metric of one cell over epochs."""

    metric: Metric
    epochs: Sequence[float]
    estimates: Sequence[Estimate]
    runs: Sequence[tuple[Sequence[float], Sequence[float]]] = field(repr=False)
    """Epochs and values of each run."""

    @property
    def means(self) -> list[float]:
        return [each.mean for each in self.estimates]


class Curves(Picture):
    """The metric over epochs, of a run, or of some cells with bands over their seeds."""

    name = "curves"
    summary = "learning curves, with bands over seeds"

    def problem(self, subject: Subject) -> str | None:
        if not subject.cells:
            return "it needs runs"
        if any(curves_of(cell, subject.metric) for cell in chosen_cells(subject)):
            return None
        return "it needs runs with at least two evaluations"

    def draw(self, subject: Subject, look: Look) -> Sheet:
        cells = chosen_cells(subject)
        drawn = [(cell, curves_of(cell, subject.metric)) for cell in cells]
        drawn = [(cell, curves) for cell, curves in drawn if curves]
        alone = len(drawn) == 1
        if not alone:
            shown = ("train", subject.metric.split)
            drawn = [(cell, _only(curves, shown)) for cell, curves in drawn]
        title = _run_title(subject, *drawn[0]) if alone else finding(subject)
        sheet = Sheet(look, title, _notes(subject, drawn))
        axes = sheet.figure.subplots()
        every = [curve for _, curves in drawn for curve in curves.values()]
        last = max(curve.epochs[-1] for curve in every)
        axes.set_xlim(min(curve.epochs[0] for curve in every), last)
        tick_epochs(axes)
        low, high, log = _heights(every, subject.metric, MOST_BELOW if alone else FACTOR)
        kept = [m for cell, curves in drawn if _has_result(cell) for m in _highest(curves)]
        if kept and log:  # what diverged would leave no room for the others
            high = min(high, FACTOR * max(kept))
        scale_heights(axes, low, high, log=log)
        axes.set_ylabel(subject.metric.quantity.replace("_", " "))
        labels = []
        colours = cell_colours(subject, [cell for cell, _ in drawn], look)
        for (cell, curves), colour in zip(drawn, colours, strict=True):
            for split, curve in curves.items():
                own = look.splits[split] if alone else colour
                _draw(axes, curve, own, LINES[split], faint=not alone and split == "train")
                words = words_of(curve.metric) if alone else subject.setting(cell)
                if alone or split == subject.metric.split:
                    end = min(max(curve.means[-1], axes.get_ylim()[0]), axes.get_ylim()[1])
                    lost = "" if alone or _has_result(cell) else " (lost)"
                    labels.append((end, f"{words}{lost}", own))
        sheet.label_ends(axes, labels)
        return sheet


def chosen_cells(subject: Subject) -> list[Cell]:
    """The cells with curves: all, or the ends of the axis, the best, and some between."""
    cells = list(subject.cells)
    if len(cells) <= MOST_CELLS:
        return cells
    best = subject.best
    if len(subject.keys) == 1 and subject.numeric:
        (key,) = subject.keys
        cells.sort(key=lambda cell: float(cell.params[key]))
        step = (len(cells) - 1) / (MOST_CELLS - 1)
        chosen = [cells[round(step * index)] for index in range(MOST_CELLS)]
        if best is not None and best not in chosen:
            at = cells.index(best)
            nearest = min(range(1, MOST_CELLS - 1), key=lambda i: abs(round(step * i) - at))
            chosen[nearest] = best
        return chosen
    ranked = [] if best is None else [best, *subject.alike]
    rest = [cell for cell in cells if cell not in ranked]
    return [*ranked, *rest][:MOST_CELLS]


def _has_result(cell: Cell) -> bool:
    return cell.lost < cell.seeds


def _highest(curves: Mapping[Split, Curve]) -> list[float]:
    return [max(curve.means) for curve in curves.values()]


def _only(curves: Mapping[Split, Curve], splits: Sequence[str]) -> dict[Split, Curve]:
    return {split: curve for split, curve in curves.items() if split in splits}


def cell_colours(subject: Subject, cells: Sequence[Cell], look: Look) -> list[str]:
    """A scale of one hue along a numeric axis, else distinct colours."""
    if len(subject.keys) == 1 and subject.numeric and len(cells) > 2:
        return ramp_colours(look, len(cells))
    return [look.series[index % len(look.series)] for index in range(len(cells))]


def curves_of(cell: Cell, metric: Metric) -> dict[Split, Curve]:
    """The metric's quantity on every split, over the epochs that all runs of the cell reached.

    What a lost run measured is shown where there is no other.
    """
    ended = [run for run in cell.runs if run.status not in ("diverged", "failed")] or cell.runs
    there = [
        run.path for run in ended if run.summary is not None and RunDir(run.path).config.is_file()
    ]
    rows = [load_stored_run(path).rows for path in there]
    found: dict[Split, Curve] = {}
    for split in SPLITS:
        name = metric.on(split).name
        runs = [
            {
                float(row["epoch"]): float(row[name])
                for row in each
                if isinstance(row.get(name), int | float) and math.isfinite(row[name])
            }
            for each in rows
        ]
        runs = [run for run in runs if run]
        shared = sorted(set.intersection(*map(set, runs))) if runs else []
        if len(shared) < 2:
            continue
        step = -(-len(shared) // MOST_EPOCHS)
        epochs = sorted({*shared[::step], shared[-1]})
        scale, overlap = cell.scale(name), cell.overlap(name)
        found[split] = Curve(
            metric.on(split),
            epochs,
            [mean_interval([run[epoch] for run in runs], scale, overlap) for epoch in epochs],
            [([*run], [*run.values()]) for run in runs],
        )
    return found


def _draw(axes: Axes, curve: Curve, colour: str, line: str, *, faint: bool) -> None:
    """The mean with its band, and the single runs as thin lines."""
    means = curve.means
    axes.plot(
        curve.epochs,
        means,
        color=colour,
        linestyle=line,
        linewidth=1.1 if faint else 1.8,
        label=curve.metric.name,
    )
    if len(curve.runs) > 1 and not faint:
        lows = [e.mean if e.low is None else e.low for e in curve.estimates]
        highs = [e.mean if e.high is None else e.high for e in curve.estimates]
        floor = axes.get_ylim()[0] if axes.get_yscale() == "log" else -math.inf
        lows = [max(low, floor) for low in lows]
        axes.fill_between(curve.epochs, lows, highs, color=colour, alpha=0.15, linewidth=0)


def _heights(curves: Sequence[Curve], metric: Metric, most: float) -> tuple[float, float, bool]:
    """The range of the vertical axis, and whether it is logarithmic; see `axis.heights`.

    most: the factor by which a training loss may lie below the others.
    """
    means = [mean for curve in curves for mean in curve.means]
    log = metric.scale == "log" and wants_log(means)
    if not log:
        return min(means), max(means), False
    measured = [m for curve in curves if curve.metric.split != "train" for m in curve.means]
    low, high = min(measured or means), max(means)
    floor = low / max(most, math.sqrt(max(measured or means) / low))
    return max(min(means), floor), high, True


def tick_epochs(axes: Axes) -> None:
    """Whole epochs."""
    from matplotlib.ticker import MaxNLocator

    low, high = axes.get_xlim()
    found = MaxNLocator(8, steps=[1, 2, 5, 10], integer=True).tick_values(low, high)
    ticks = [float(tick) for tick in found if low <= tick <= high]
    fix_ticks(axes.xaxis, ticks, [tick_text(tick) for tick in ticks])
    axes.set_xlabel("epoch")


def _run_title(subject: Subject, cell: Cell, curves: Mapping[Split, Curve]) -> str:
    """Where the metric ends, and where it was best."""
    metric = subject.metric
    summary = cell.runs[0].summary
    if cell.lost == len(cell.runs) and summary is not None:
        at = summary.diverged_at_step
        return f"The run {summary.status}" + (f" at step {at:,}" if at is not None else "")
    curve = curves.get(metric.split) or next(iter(curves.values()))
    words = capital(words_of(curve.metric))
    best = min(range(len(curve.means)), key=lambda i: curve.metric.sign * curve.means[i])
    end, extreme = cell.interval(curve.metric.name), curve.estimates[best]
    ends = f"{words} ends at {interval(end or curve.estimates[-1])}"
    word = "lowest" if curve.metric.direction == "minimize" else "highest"
    if best == len(curve.means) - 1:
        return f"{ends}, its {word}"
    return f"{ends}; it is {word} at epoch {curve.epochs[best]:g}: {interval(extreme)}"


def _notes(subject: Subject, drawn: Sequence[tuple[Cell, Mapping[Split, Curve]]]) -> list[str]:
    lines = []
    seeds = max(len(curve.runs) for _, curves in drawn for curve in curves.values())
    if len(drawn) > 1:
        splits = {split for _, curves in drawn for split in curves}
        strokes = {"train": "dashed", "val": "dash-dotted", "test": "solid"}
        named = (f"{strokes[split]}: {split}" for split in SPLITS if split in splits)
        lines.append(f"{capital('; '.join(named))}.")
    if seeds > 1:
        mean = (
            "geometric means" if subject.cells[0].scale(subject.metric.name) == "log" else "means"
        )
        lines.append(f"{capital(mean)} with 95% bands over {seeds} seeds.")
    if len(drawn) < len(subject.cells):
        lines.append(f"{len(drawn)} of {len(subject.cells):,} cells.")
    return [" ".join(lines)] if lines else []
