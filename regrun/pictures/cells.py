"""All cells, best first, with their intervals."""

from __future__ import annotations

from regrun.analysis.cells import Cell
from regrun.metrics import SPLITS
from regrun.pictures.axis import Point
from regrun.pictures.axis import heights as ranges
from regrun.pictures.base import Picture
from regrun.pictures.needs import measured, several_cells
from regrun.pictures.scales import fix_ticks, round_logs
from regrun.pictures.sentences import below, finding, notes_on, values_of, words_of
from regrun.pictures.sheet import Sheet
from regrun.pictures.style import MARKERS, Look, plain, tick_text
from regrun.pictures.subject import Subject

MOST_ROWS = 40
"""Cells that have a row, the best first."""

APART = 0.24
"""Between the splits of a row, in rows."""

ROW = 0.34
"""Inches of a row."""


class Cells(Picture):
    """A row per cell: train, validation and test with intervals and single seeds."""

    name = "cells"
    summary = "all cells, best first, with intervals and single seeds"

    def problem(self, subject: Subject) -> str | None:
        return several_cells(subject) or measured(subject)

    def draw(self, subject: Subject, look: Look) -> Sheet:
        metric = subject.metric
        cells = _ranked(subject)[:MOST_ROWS]
        curves = {
            split: points
            for split in SPLITS
            if (
                points := [
                    Point(
                        -y - APART * SPLITS.index(split) + APART,
                        found,
                        [*cell.values(name).values()],
                    )
                    for y, cell in enumerate(cells)
                    for name in [metric.on(split).name]
                    if (found := cell.interval(name)) is not None
                ]
            )
        }
        low, high, log = ranges(curves, metric)
        notes = notes_on(subject, marked="shaded", dots=True)
        if len(cells) < len(subject.cells):
            notes.append(f"The best {len(cells)} of {len(subject.cells):,} cells.")
        for split, points in curves.items():
            lowest = min(point.estimate.mean for point in points)
            notes += below(words_of(metric.on(split)), lowest, low) if log else []
        sheet = Sheet(look, finding(subject), notes, height=1.0 + ROW * len(cells))
        axes = sheet.figure.subplots()
        _scale(axes, low, high, log=log)
        alike = {id(cell) for cell in (subject.best, *subject.alike)} if subject.says else set()
        for y, cell in enumerate(cells):
            if id(cell) in alike:
                axes.axhspan(-y - 0.5, -y + 0.5, color=look.shade, linewidth=0, zorder=0)
        for split, points in curves.items():
            colour = look.splits[split]
            shown = [point for point in points if point.estimate.mean >= axes.get_xlim()[0]]
            axes.hlines(
                [point.at for point in shown],
                [max(point.low, axes.get_xlim()[0]) for point in shown],
                [point.high for point in shown],
                color=colour,
                linewidth=1.6,
            )
            for point in points:
                if len(point.seeds) > 1:
                    axes.plot(
                        point.seeds,
                        [point.at] * len(point.seeds),
                        linestyle="none",
                        marker=".",
                        markersize=4,
                        color=colour,
                        alpha=0.4,
                        markeredgewidth=0,
                    )
            axes.plot(
                [point.estimate.mean for point in points],
                [point.at for point in points],
                linestyle="none",
                marker=MARKERS[split],
                markersize=5,
                color=colour,
                label=words_of(metric.on(split)),
            )
        axes.set_ylim(-len(cells) + 0.4, 0.6)
        fix_ticks(axes.yaxis, [-y for y in range(len(cells))], [_name(subject, c) for c in cells])
        axes.tick_params(axis="y", length=0, labelcolor=look.ink)
        axes.set_xlabel(metric.quantity.replace("_", " "))
        axes.grid(True, axis="x")
        axes.legend(
            loc="lower right",
            bbox_to_anchor=(1, 1),
            ncols=len(curves),
            frameon=False,
            handletextpad=0.1,
            columnspacing=1.2,
        )
        return sheet


def _ranked(subject: Subject) -> list[Cell]:
    """Best first; those without the metric last."""

    def rank(cell: Cell) -> tuple[bool, float]:
        found = cell.interval(subject.metric.name)
        return found is None, 0.0 if found is None else subject.metric.sign * found.mean

    compared = {id(cell) for cell in subject.compared}
    return sorted(subject.cells, key=lambda cell: (id(cell) not in compared, *rank(cell)))


def _name(subject: Subject, cell: Cell) -> str:
    lost = f" ({cell.lost} of {cell.seeds} lost)" if cell.lost else ""
    return plain(values_of(subject, cell)) + lost


def _scale(axes: object, low: float, high: float, *, log: bool) -> None:
    from matplotlib.axes import Axes
    from matplotlib.ticker import MaxNLocator

    assert isinstance(axes, Axes)
    if log:
        axes.set_xscale("log")
        room = max((high / low) ** 0.05, 1.02)
        axes.set_xlim(low / room, high * room)
        ticks = round_logs(low / room, high * room)
    else:
        room = 0.05 * (high - low) or 0.1 * abs(high) or 0.5
        axes.set_xlim(low - room, high + room)
        found = MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]).tick_values(low - room, high + room)
        ticks = [float(tick) for tick in found if low - room <= tick <= high + room]
    fix_ticks(axes.xaxis, ticks, [tick_text(tick if log else round(tick, 12)) for tick in ticks])
