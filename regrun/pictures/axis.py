"""A metric over the values of one swept number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from regrun.analysis.cells import Cell
from regrun.metrics import SPLITS, Metric, Split
from regrun.pictures.base import Picture
from regrun.pictures.needs import measured, one_number, several_cells
from regrun.pictures.scales import FACTOR, Strengths, scale_heights, wants_log
from regrun.pictures.sentences import below, finding, notes_on, words_of
from regrun.pictures.sheet import Sheet
from regrun.pictures.style import LINES, MARKERS, Look
from regrun.pictures.subject import Subject
from regrun.results import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_BARS = 40
"""Values of an axis with a bar each; the intervals of more become a band."""

MOST_DOTS = 2000
"""Single seeds of one split that are drawn."""


@dataclass(frozen=True)
class Point:
    """A cell on a curve."""

    at: float
    """Where it stands, on the scale of `Strengths`."""
    estimate: Estimate
    seeds: Sequence[float]

    @property
    def low(self) -> float:
        return self.estimate.mean if self.estimate.low is None else self.estimate.low

    @property
    def high(self) -> float:
        return self.estimate.mean if self.estimate.high is None else self.estimate.high

    @property
    def all(self) -> list[float]:
        """Every number that is drawn of it."""
        return [self.estimate.mean, self.low, self.high, *self.seeds]


class Axis(Picture):
    """Train, validation and test over one numeric key, with intervals and single seeds."""

    name = "axis"
    summary = "the metric over one swept number, with intervals and single seeds"

    def problem(self, subject: Subject) -> str | None:
        return several_cells(subject) or one_number(subject) or measured(subject)

    def draw(self, subject: Subject, look: Look) -> Sheet:
        (key,) = subject.keys
        metric = subject.metric
        cells = sorted(subject.cells, key=lambda cell: float(cell.params[key]))
        scale = Strengths([float(cell.params[key]) for cell in cells])
        curves = {
            split: points
            for split in SPLITS
            if (points := points_of(cells, metric.on(split), key, scale))
        }
        low, high, log = heights(curves, metric)
        hidden = []
        for split, points in curves.items():
            lowest = min(point.estimate.mean for point in points)
            hidden += below(words_of(metric.on(split)), lowest, low) if log else []
        sheet = Sheet(
            look, finding(subject), [*notes_on(subject, marked="shaded", dots=True), *hidden]
        )
        axes = sheet.figure.subplots()
        scale.draw(axes, key)
        scale_heights(axes, low, high, log=log)
        axes.set_ylabel(metric.quantity.replace("_", " "))
        shade_alike(axes, subject, cells, scale, look)
        for split, points in curves.items():
            draw_curve(axes, split, points, look)
        mark_best(axes, subject, key, scale, look)
        mark_lost(axes, cells, metric, key, scale, look)
        lows = axes.get_ylim()
        sheet.label_ends(
            axes,
            [
                (
                    min(max(points[-1].estimate.mean, lows[0]), lows[1]),
                    words_of(metric.on(split)),
                    look.splits[split],
                )
                for split, points in curves.items()
            ],
        )
        return sheet


def points_of(cells: Sequence[Cell], metric: Metric, key: str, scale: Strengths) -> list[Point]:
    """The cells that have a metric, by rising values of a key."""
    return [
        Point(scale.place(float(cell.params[key])), estimate, [*cell.values(metric.name).values()])
        for cell in cells
        if (estimate := cell.interval(metric.name)) is not None
    ]


def heights(curves: dict[Split, list[Point]], metric: Metric) -> tuple[float, float, bool]:
    """The range of the vertical axis, and whether it is logarithmic.

    A training loss that falls by many powers of ten would leave no room for what matters: the range
    then ends a little below the other curves.
    """
    shown = {split: [n for point in points for n in point.all] for split, points in curves.items()}
    everything = [number for numbers in shown.values() for number in numbers]
    measured = [n for split, numbers in shown.items() if split != "train" for n in numbers]
    means = [point.estimate.mean for points in curves.values() for point in points]
    log = metric.scale == "log" and wants_log(means)
    if not log:
        return min(everything), max(everything), False
    positive = [number for number in measured or everything if number > 0]
    low, high = min(positive), max(everything)
    floor = low / max(FACTOR, math.sqrt(max(positive) / low))
    return max(min(n for n in everything if n > 0), floor), high, True


def draw_curve(axes: Axes, split: Split, points: Sequence[Point], look: Look) -> None:
    """Means with their intervals, and the single seeds; arrows where they lie below the axis."""
    colour = look.splits[split]
    bottom = axes.get_ylim()[0]
    places = [point.at for point in points]
    means = [point.estimate.mean for point in points]
    axes.plot(
        places,
        means,
        color=colour,
        linestyle=LINES[split],
        marker=MARKERS[split],
        markersize=4.5,
        label=split,
        zorder=3,
    )
    floor = bottom if axes.get_yscale() == "log" else -math.inf
    lows = [max(point.low, floor) for point in points]
    highs = [max(point.high, floor) for point in points]
    if len(points) > MOST_BARS:
        axes.fill_between(places, lows, highs, color=colour, alpha=0.2, linewidth=0)
    else:
        axes.vlines(places, lows, highs, color=colour, linewidth=1.4, zorder=3)
    seeds = [(point.at, value) for point in points if len(point.seeds) > 1 for value in point.seeds]
    if seeds and len(seeds) <= MOST_DOTS:
        axes.plot(
            *zip(*seeds, strict=True),
            linestyle="none",
            marker=".",
            markersize=4,
            color=colour,
            alpha=0.45,
            markeredgewidth=0,
            zorder=2,
        )
    hidden = [place for place, mean in zip(places, means, strict=True) if mean < bottom]
    if hidden:
        axes.plot(
            hidden,
            [0.02] * len(hidden),
            transform=axes.get_xaxis_transform(),
            linestyle="none",
            marker="v",
            markersize=5,
            color=colour,
        )


def shade_alike(
    axes: Axes, subject: Subject, cells: Sequence[Cell], scale: Strengths, look: Look
) -> None:
    """Shade the best cell and those that are not distinguishable from it."""
    if subject.best is None or not subject.says:
        return
    edges = scale.edges()
    alike = {id(cell) for cell in (subject.best, *subject.alike)}
    for index, cell in enumerate(cells):
        if id(cell) in alike:
            axes.axvspan(edges[index], edges[index + 1], color=look.shade, linewidth=0, zorder=0)


def mark_best(axes: Axes, subject: Subject, key: str, scale: Strengths, look: Look) -> None:
    """A ring around the best mean."""
    if subject.best is None or (found := subject.best.interval(subject.metric.name)) is None:
        return
    axes.plot(
        [scale.place(float(subject.best.params[key]))],
        [found.mean],
        marker="o",
        markersize=12,
        markerfacecolor="none",
        markeredgecolor=look.ink,
        markeredgewidth=1.3,
        linestyle="none",
        zorder=4,
    )


def mark_lost(
    axes: Axes, cells: Sequence[Cell], metric: Metric, key: str, scale: Strengths, look: Look
) -> None:
    """A cross at the top edge for cells of which runs diverged or failed."""
    for cell in cells:
        if cell.lost:
            at = scale.place(float(cell.params[key]))
            axes.plot(
                [at], [0.97], transform=axes.get_xaxis_transform(), marker="x", color=look.ink
            )
            text = f"{cell.lost} of {cell.seeds}\nlost" if cell.seeds > 1 else "lost"
            axes.annotate(
                text,
                (at, 0.97),
                xycoords=axes.get_xaxis_transform(),
                xytext=(0, -7),
                textcoords="offset points",
                ha="center",
                va="top",
                fontsize=8,
                color=look.soft,
            )
