"""The curves of a run, drawn with characters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from regrun.metrics import Metric

SMALLEST_WIDTH = 40
"""Columns below which a plot shows nothing."""
LARGEST_WIDTH = 90
HEIGHT = 15
MOST_POINTS = 1000
LOG_RATIO = 100.0
"""Losses that span more than this are drawn on a log axis."""

Curves = Mapping[str, tuple[list[float], list[float]]]
"""``train/loss`` … → epochs and values."""

_LARGEST_LOSS = 1e300
"""Beyond it the arithmetic of the axis overflows."""
_COLOURS = {"train": "blue", "test": "orange", "val": "green"}
_PLAIN = {"train": ".", "test": "o", "val": "x"}


def loss_plot(rows: Sequence[Mapping[str, Any]], width: int, *, colour: bool) -> str | None:
    """Train, validation and test loss over epochs, as text with ANSI colours.

    Without ``colour`` the curves differ by their characters. None when there is nothing to
    draw: fewer than two evaluations, or a terminal narrower than 40 columns.
    """
    curves = _curves(rows)
    return _draw(curves, _epoch_ticks(curves), "epoch", width, colour=colour) if curves else None


def axis_plot(curves: Curves, axis: str, width: int, *, colour: bool) -> str | None:
    """Metrics over the values of a swept axis; evenly spaced where the axis grows by factors.

    curves: ``train/loss`` … → values of the axis (rising) and of the metric. None when there is
    nothing to draw.
    """
    longest = max((xs for xs, _ in curves.values()), key=len, default=[])
    if len(longest) < 2:
        return None
    positions = _positions(longest)
    placed = {name: ([positions[x] for x in xs], values) for name, (xs, values) in curves.items()}
    every = max(1, math.ceil(len(longest) / 8))
    shown = longest[::every]
    ticks = [positions[x] for x in shown], [f"{x:g}" for x in shown]
    return _draw(placed, ticks, axis, width, colour=colour)


def _positions(values: Sequence[float]) -> dict[float, float]:
    """Where each value stands: its logarithm when they grow by factors, 0 before them all."""
    positive = [value for value in values if value > 0]
    by_factors = len(positive) >= len(values) - 1 and positive[-1] / positive[0] >= LOG_RATIO / 10
    if not by_factors or len(positive) < 2:
        return {value: value for value in values}
    logs = {value: math.log10(value) for value in positive}
    gap = (logs[positive[-1]] - logs[positive[0]]) / (len(positive) - 1)
    return {value: logs.get(value, logs[positive[0]] - gap) for value in values}


def _draw(
    curves: Curves,
    x_ticks: tuple[list[float], list[str]],
    x_label: str,
    width: int,
    *,
    colour: bool,
) -> str | None:
    if width < SMALLEST_WIDTH:
        return None
    import plotext

    log = _wants_log(curves)
    plotext.clear_figure()
    plotext.limit_size(False, False)
    plotext.plot_size(min(width, LARGEST_WIDTH), HEIGHT)
    plotext.theme("clear")
    legend = []
    for name, (xs, values) in curves.items():
        shown = [math.log10(value) for value in values] if log else values
        split = Metric.from_name(name).split
        marker = "braille" if colour else _PLAIN[split]
        plotext.plot(xs, shown, marker=marker, color=_COLOURS[split])
        sample = plotext.colorize("━━" if colour else _PLAIN[split] * 2, _COLOURS[split])
        legend.append(f"{sample} {name.replace('/', ' ')}")
    plotext.yticks(*(_log_ticks(curves) if log else _linear_ticks(curves)))
    plotext.xticks(*x_ticks)
    plotext.xlabel(x_label)
    # The library's own legend lies on the canvas, over the curves.
    text = f"{'   '.join(legend)}\n{plotext.build()}"
    plotext.clear_figure()
    if not colour:
        text = plotext.uncolorize(text)
    return "\n".join(line.rstrip() for line in text.rstrip().splitlines())


def _curves(rows: Sequence[Mapping[str, Any]]) -> Curves:
    curves = {}
    for name in (f"{split}/loss" for split in _COLOURS):
        points = [
            (float(row["epoch"]), float(row[name]))
            for row in rows
            if isinstance(row.get(name), int | float) and abs(row[name]) < _LARGEST_LOSS
        ]
        # A terminal has no room for more; the last one always counts.
        points = points[: -1 : 1 + len(points) // MOST_POINTS] + points[-1:]
        if len(points) > 1:
            curves[name] = ([x for x, _ in points], [y for _, y in points])
    return curves


def _range(curves: Curves, axis: int) -> tuple[float, float]:
    values = [value for points in curves.values() for value in points[axis]]
    return min(values), max(values)


def _wants_log(curves: Curves) -> bool:
    low, high = _range(curves, 1)
    return low > 0 and high / LOG_RATIO > low


def _log_ticks(curves: Curves) -> tuple[list[float], list[str]]:
    """Whole powers of ten; plotext's own log axis labels odd numbers in between."""
    low, high = (math.log10(value) for value in _range(curves, 1))
    first, last = math.floor(low), math.ceil(high)
    powers = range(first, last + 1, max(1, math.ceil((last - first) / 6)))
    return [float(power) for power in powers], [f"1e{power}" for power in powers]


def _linear_ticks(curves: Curves) -> tuple[list[float], list[str]]:
    low, high = _range(curves, 1)
    ticks = [low + (high - low) * part / 5 for part in range(6)] if high > low else [low]
    return ticks, [f"{tick:.4g}" for tick in ticks]


def _epoch_ticks(curves: Curves) -> tuple[list[float], list[str]]:
    """Epochs are counted: five whole numbers at most."""
    first, last = (round(epoch) for epoch in _range(curves, 0))
    ticks = sorted({round(first + (last - first) * part / 4) for part in range(5)})
    return [float(tick) for tick in ticks], [str(tick) for tick in ticks]
