"""How the weights of each layer are distributed, from the start of training to its end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from regrun.numbers import number
from regrun.pictures.base import Picture
from regrun.pictures.layers import (
    NONE_COUNTED,
    counted_cell,
    counted_runs,
    notes_of,
    spread_out,
    weights_of,
)
from regrun.pictures.scales import fix_ticks
from regrun.pictures.sheet import Sheet
from regrun.pictures.style import SIZES, Look, plain, ramp_colours, tick_text
from regrun.pictures.subject import Subject

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

    from regrun.analysis.weight_histograms import Pool, Times

MOST_PANELS = 6
"""Layers with a panel each."""

MOST_TIMES = 10
"""Epochs whose histograms are drawn."""

HEIGHT = 1.7
"""The height of a histogram, in distances of two of them."""

OUTSIDE = 0.0005
"""The share of entries on each side that may lie beyond the axis."""

EXPLODED = 100.0
"""From where the weights span so many times as much as before, they are not drawn."""


class WeightHistograms(Picture):
    """A panel a layer: histograms one behind another, the last epoch in front."""

    name = "histograms"
    summary = "histograms of the weights of each layer over training"

    def problem(self, subject: Subject) -> str | None:
        return None if _layers(subject) else NONE_COUNTED

    def draw(self, subject: Subject, look: Look) -> Sheet:
        cell = counted_cell(subject)
        assert cell is not None
        layers, runs = _layers(subject), len(counted_runs(cell))
        names = spread_out([*layers], MOST_PANELS)
        drawn = {name: _drawn(layers[name]) for name in names}
        columns = {1: 1, 2: 2, 4: 2}.get(len(names), 3)
        rows = -(-len(names) // columns)
        most = max(len(each) for each in drawn.values())
        height = rows * (0.9 + 0.22 * max(most, 5))
        notes = [
            "Each histogram is scaled to the same height, without the exact zeros. Numbers above a "
            "panel: of the last epoch in it.",
            notes_of(subject, cell, runs, len(names), len(layers)),
            _left_out(layers, drawn),
        ]
        sheet = Sheet(look, _title(layers), [" ".join(filter(None, notes))], height=height)
        panels = sheet.figure.subplots(rows, columns, squeeze=False).flatten()
        for axes, name in zip(panels, names, strict=False):
            _draw(axes, drawn[name], look)
            axes.set_title(
                f"{plain(name, 30)}\n{_ends(drawn[name])}",
                fontsize=SIZES["note"],
                color=look.ink,
                loc="left",
            )
        for axes in panels[len(names) :]:
            axes.set_visible(False)
        for axes in panels[0 : len(names) : columns]:
            axes.set_ylabel("epoch")
        return sheet


Moment = tuple[int, "Pool"]
"""An epoch, and the entries then."""


def _layers(subject: Subject) -> dict[str, list[Moment]]:
    """The weights of each layer at the times at which any of them is finite."""
    from regrun.analysis.weight_histograms import over_training

    found = over_training(counted_runs(counted_cell(subject)), zeros=False)
    layers = {name: _moments(times) for name, times in weights_of(found).items()}
    return {name: moments for name, moments in layers.items() if moments}


def _moments(times: Times) -> list[Moment]:
    pairs = zip(times.epochs, times.pools, strict=True)
    return [(epoch, pool) for epoch, pool in pairs if pool is not None]


def _drawn(moments: Sequence[Moment]) -> list[Moment]:
    """At most so many times, and none from where the weights explode."""
    kept: list[Moment] = []
    largest = 0.0
    for epoch, pool in moments:
        reach = max(abs(each) for each in pool.edges[[0, -1]])
        if largest and reach > EXPLODED * largest:
            break
        kept.append((epoch, pool))
        largest = max(largest, reach)
    return spread_out(kept, MOST_TIMES)


def _left_out(layers: dict[str, list[Moment]], drawn: dict[str, list[Moment]]) -> str:
    """From which epoch on weights are too large to be drawn."""
    ends = [drawn[name][-1][0] for name in drawn if drawn[name][-1][0] < layers[name][-1][0]]
    return f"After epoch {min(ends):,} weights are too large to be drawn." if ends else ""


def _draw(axes: Axes, moments: Sequence[Moment], look: Look) -> None:
    """The first time lies at the top and behind the others."""
    low, high = _range([pool for _, pool in moments])
    axes.set_xlim(low, high)
    axes.set_ylim(-0.12, len(moments) - 1 + HEIGHT + 0.1)
    colours = ramp_colours(look, len(moments))
    for rank, ((_, pool), colour) in enumerate(zip(moments, colours, strict=True)):
        base = len(moments) - 1 - rank
        edges, heights = _outline(pool, high - low)
        axes.stairs(
            base + HEIGHT * heights,
            edges,
            baseline=base,
            fill=True,
            facecolor=colour,
            edgecolor=look.paper,
            linewidth=0.5,
            zorder=2 + rank,
        )
        axes.axhline(base, color=colour, linewidth=0.7, zorder=2 + rank)
    bases = [len(moments) - 1 - rank for rank in range(len(moments))]
    fix_ticks(axes.yaxis, bases, [f"{epoch:,}" for epoch, _ in moments])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    ticks = _round_values(low, high)
    fix_ticks(axes.xaxis, ticks, [tick_text(round(tick, 12)) for tick in ticks])


def _outline(pool: Pool, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Edges, and heights up to 1; a single value is a thin column."""
    import numpy as np

    edges, counts = pool.edges, pool.counts
    if edges[0] == edges[-1]:
        thin = 0.004 * width
        return edges + np.array([-thin, thin]), np.ones(1)
    densities = counts / np.diff(edges)
    return edges, densities / (densities.max() or 1.0)


def _range(pools: Sequence[Pool]) -> tuple[float, float]:
    """What the axis spans: almost all entries of every time."""
    ends = [pool.quantiles([OUTSIDE, 1 - OUTSIDE]) for pool in pools]
    low, high = float(min(end[0] for end in ends)), float(max(end[1] for end in ends))
    room = 0.05 * (high - low) or 0.5 * abs(high) or 0.5
    return low - room, high + room


def _round_values(low: float, high: float) -> list[float]:
    from matplotlib.ticker import MaxNLocator

    found = MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [float(tick) for tick in found if low <= tick <= high]


def _ends(moments: Sequence[Moment]) -> str:
    """How spread the last weights are, and how many are 0."""
    _, last = moments[-1]
    zeros = f", {100 * last.sparsity:.3g}% exactly 0" if last.zeros else ""
    return f"std {last.std:.3g}{zeros}"


def _title(layers: dict[str, list[Moment]]) -> str:
    """The layer whose weights have spread or shrunk most."""

    def change(moments: Sequence[Moment]) -> float:
        first, last = moments[0][1].std, moments[-1][1].std
        if not (math.isfinite(first) and math.isfinite(last)):
            return -1.0
        return abs(math.log(max(last, 1e-300) / max(first, 1e-300)))

    name = max(layers, key=lambda each: change(layers[each]))
    first, last = layers[name][0][1].std, layers[name][-1][1].std
    most = ", the largest change of all layers" if len(layers) > 1 else ""
    return (
        f"The standard deviation of {plain(name, 30)} goes from {number(first)} to "
        f"{number(last)}{most}"
    )
