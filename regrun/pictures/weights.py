"""Sizes of weights: over the epochs of runs, or layer by layer over one swept number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from regrun.analysis.cells import Cell
from regrun.analysis.statistics import mean_interval
from regrun.numbers import number
from regrun.pictures.base import Picture
from regrun.pictures.curves import tick_epochs
from regrun.pictures.needs import one_number, several_cells
from regrun.pictures.scales import Strengths, scale_heights, setting_text, wants_log
from regrun.pictures.sheet import Sheet
from regrun.pictures.style import Look, plain
from regrun.pictures.subject import Subject
from regrun.results import Estimate
from regrun.store.reading import load_stored_run
from regrun.store.run_dir import RunDir

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LAYERS = 8
"""Parameters with a line each, the largest first."""


class Weights(Picture):
    """Norms and sparsity: of each layer over a strength, or of a run over its epochs."""

    name = "weights"
    summary = "norms and sparsity of the weights, by layer over one swept number, or over epochs"

    def problem(self, subject: Subject) -> str | None:
        if _over_strength(subject):
            return None
        if len(subject.cells) == 1 and len(_rows(subject.cells[0])) > 1:
            return None
        return "it needs one run, or one swept key whose values are numbers"

    def draw(self, subject: Subject, look: Look) -> Sheet:
        return _by_layer(subject, look) if _over_strength(subject) else _by_epoch(subject, look)


def _over_strength(subject: Subject) -> bool:
    missing = several_cells(subject) or one_number(subject)
    return missing is None and bool(_layers(subject.cells))


def _by_layer(subject: Subject, look: Look) -> Sheet:
    (key,) = subject.keys
    cells = sorted(subject.cells, key=lambda cell: float(cell.params[key]))
    scale = Strengths([float(cell.params[key]) for cell in cells])
    layers = _layers(cells)
    ends = [cell for cell in cells if cell.interval("weights/l2") is not None]
    title = "The weights"
    if ends:
        first, last = (
            (number(found.mean), setting_text(cell.params[key]))
            for cell in (ends[0], ends[-1])
            if (found := cell.interval("weights/l2")) is not None
        )
        title = (
            f"‖w‖₂ of all weights goes from {first[0]} at {subject.short[key]} = {first[1]} "
            f"to {last[0]} at {last[1]}"
        )
    shown = sorted(layers, key=lambda name: -_largest(cells, name))[:MOST_LAYERS]
    seeds = max(cell.seeds for cell in cells)
    notes = [f"Means over {seeds} seeds." if seeds > 1 else ""]
    if len(shown) < len(layers):
        notes.append(f"The largest {len(shown)} of {len(layers)} parameters.")
    sheet = Sheet(look, title, [" ".join(filter(None, notes))], height=5.6)
    sparse = any(any(_values(cell, name, "sparsity")) for cell in cells for name in shown)
    panels = _panels(sheet, sparse=sparse)
    if scale.is_log:
        panels[0].set_xscale("log")
    scale.draw(panels[-1], key)
    for axes, quantity in zip(panels, ("l2", "sparsity"), strict=False):
        curves = {name: _points(cells, name, quantity, key, scale) for name in shown}
        curves = {name: points for name, points in curves.items() if points}
        values = [mean for points in curves.values() for _, mean in points]
        log = quantity == "l2" and wants_log(values)
        low, high = (min(values), max(values)) if quantity == "l2" else (0.0, max(*values, 0.05))
        scale_heights(axes, low, high, log=log)
        labels = []
        for rank, (name, points) in enumerate(curves.items()):
            colour = look.series[rank % len(look.series)]
            axes.plot(
                *zip(*points, strict=True),
                color=colour,
                marker="o",
                markersize=4,
                linestyle="-" if rank < len(look.series) else "--",
                label=f"{name} {quantity}",
            )
            labels.append((points[-1][1], plain(name, 24), colour))
        axes.set_ylabel("‖w‖₂" if quantity == "l2" else "share exactly 0")
        if quantity == "l2":
            sheet.label_ends(axes, labels)
    sheet.figure.align_ylabels()
    return sheet


def _panels(sheet: Sheet, *, sparse: bool) -> list[Axes]:
    """One for the norms, and one for the sparsity where there is any."""
    if not sparse:
        return [sheet.figure.subplots()]
    return [*sheet.figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 2]})]


def _layers(cells: Sequence[Cell]) -> list[str]:
    """The parameters that runs have norms of."""
    return list(
        dict.fromkeys(
            name
            for cell in cells
            for run in cell.runs
            if run.summary is not None and run.status not in ("diverged", "failed")
            for name in run.summary.weights.per_layer
        )
    )


def _values(cell: Cell, layer: str, quantity: str) -> list[float]:
    found = []
    for run in cell.runs:
        if run.summary is None or run.status in ("diverged", "failed"):
            continue
        norms = run.summary.weights.per_layer.get(layer)
        value = None if norms is None else getattr(norms, quantity)
        if value is not None and math.isfinite(value):
            found.append(float(value))
    return found


def _largest(cells: Sequence[Cell], layer: str) -> float:
    return max((value for cell in cells for value in _values(cell, layer, "l2")), default=0.0)


def _points(
    cells: Sequence[Cell], layer: str, quantity: str, key: str, scale: Strengths
) -> list[tuple[float, float]]:
    """Place and mean of every cell that has the layer."""
    return [
        (
            scale.place(float(cell.params[key])),
            mean_interval(values, "log" if quantity == "l2" else "fraction").mean,
        )
        for cell in cells
        if (values := _values(cell, layer, quantity))
    ]


def _rows(cell: Cell) -> list[tuple[float, list[float], list[float]]]:
    """Epoch, norms and sparsities of all runs, at the epochs that all reached."""
    there = [
        run.path
        for run in cell.runs
        if run.summary is not None and RunDir(run.path).config.is_file()
    ]
    runs = []
    for path in there:
        rows = load_stored_run(path).rows
        runs.append(
            {
                float(row["epoch"]): (float(row["weights/l2"]), float(row["weights/sparsity"]))
                for row in rows
                if all(isinstance(row.get(f"weights/{q}"), int | float) for q in ("l2", "sparsity"))
            }
        )
    shared = sorted(set.intersection(*map(set, runs))) if runs else []
    return [(e, [r[e][0] for r in runs], [r[e][1] for r in runs]) for e in shared]


def _by_epoch(subject: Subject, look: Look) -> Sheet:
    (cell,) = subject.cells
    rows = _rows(cell)
    epochs = [epoch for epoch, _, _ in rows]
    norms = [mean_interval(values, "log") for _, values, _ in rows]
    shares = [mean_interval(values, "fraction") for _, _, values in rows]
    title = f"‖w‖₂ goes from {number(norms[0].mean)} to {number(norms[-1].mean)}"
    if any(share.mean for share in shares):
        title += f"; {100 * shares[-1].mean:.3g}% of the weights end at exactly 0"
    seeds = len(rows[0][1])
    notes = [f"Means with 95% bands over {seeds} seeds."] if seeds > 1 else []
    sheet = Sheet(look, title, notes, height=4.8)
    panels = _panels(sheet, sparse=any(share.mean for share in shares))
    panels[-1].set_xlim(epochs[0], epochs[-1])
    tick_epochs(panels[-1])
    for axes, estimates, name in zip(
        panels, (norms, shares), ("‖w‖₂", "share exactly 0"), strict=False
    ):
        means = [each.mean for each in estimates]
        log = name != "share exactly 0" and wants_log(means)
        scale_heights(axes, min(means), max(means), log=log)
        _draw(axes, epochs, estimates, look)
        axes.set_ylabel(name)
    sheet.figure.align_ylabels()
    return sheet


def _draw(axes: Axes, epochs: Sequence[float], estimates: Sequence[Estimate], look: Look) -> None:
    means = [each.mean for each in estimates]
    axes.plot(epochs, means, color=look.series[0], label="mean")
    lows = [each.mean if each.low is None else each.low for each in estimates]
    highs = [each.mean if each.high is None else each.high for each in estimates]
    axes.fill_between(epochs, lows, highs, color=look.series[0], alpha=0.15, linewidth=0)
