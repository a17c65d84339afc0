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
MOST_TICKS = 8
FRAME = 12
"""More columns than the labels and the frame take."""
MOST_POINTS = 1000
LOG_RATIO = 100.0
"""Losses that span more than this are drawn on a log axis."""

Curves = Mapping[str, tuple[list[float], list[float]]]
"""``train/loss`` … → epochs and values."""

Bars = Mapping[str, Sequence[tuple[float, float, float]]]
"""``test/loss`` … → values of the axis, low and high."""

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


def axis_plot(
    curves: Curves, axis: str, width: int, *, colour: bool, bars: Bars | None = None
) -> str | None:
    """Metrics over the values of a swept axis; evenly spaced where the axis grows by factors.

    curves: ``train/loss`` … → values of the axis (rising) and of the metric. bars: intervals of
    those values. None when there is nothing to draw.
    """
    longest = max((xs for xs, _ in curves.values()), key=len, default=[])
    if len(longest) < 2:
        return None
    positions = _positions(longest)
    placed = {name: ([positions[x] for x in xs], values) for name, (xs, values) in curves.items()}
    spread = {
        name: [(positions[x], low, high) for x, low, high in each]
        for name, each in (bars or {}).items()
    }
    few = len(longest) <= MOST_TICKS and (len(longest) < 3 or all(map(_is_short, longest)))
    shown = longest if few else _round_between(longest)
    places = [positions[x] if x in positions else _place(x, longest) for x in shown]
    ticks = places, [f"{x:g}" for x in shown]
    return _draw(placed, ticks, axis, width, colour=colour, bars=spread)


def _is_short(value: float) -> bool:
    """Whether a value was chosen by a person, as 0.025 was, and 0.122813 was not."""
    return float(f"{value:.3g}") == value


def _grow_by_factors(values: Sequence[float]) -> bool:
    """Whether an axis is logarithmic."""
    positive = [value for value in values if value > 0]
    most = len(positive) >= max(len(values) - 1, 2)
    return most and positive[-1] / positive[0] >= LOG_RATIO / 10


def _place(value: float, values: Sequence[float]) -> float:
    """Where a value stands on the axis of others."""
    return math.log10(value) if _grow_by_factors(values) else value


def _round_between(values: Sequence[float]) -> list[float]:
    """Round numbers on the axis of many values."""
    if not _grow_by_factors(values):
        low, high = values[0], values[-1]
        step = _round_up((high - low) / 5)
        numbers = [step * at for at in range(math.ceil(low / step), math.floor(high / step) + 1)]
        return [float(f"{number:.6g}") for number in numbers]
    low, high = next(value for value in values if value > 0), values[-1]
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5)):
        found = [float(f"{factor}e{power}") for power in powers for factor in factors]
        found = [number for number in found if low <= number <= high]
        if len(found) > 2:
            break
    zero = [0.0] if values[0] == 0 else []
    return zero + found[:: max(1, math.ceil(len(found) / MOST_TICKS))]


def _positions(values: Sequence[float]) -> dict[float, float]:
    """Where each value stands: its logarithm when they grow by factors, 0 before them all."""
    positive = [value for value in values if value > 0]
    if not _grow_by_factors(values):
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
    bars: Bars | None = None,
) -> str | None:
    if width < SMALLEST_WIDTH:
        return None
    import plotext

    intervals = bars or {}
    values = [value for _, each in curves.values() for value in each]
    values += [bound for each in intervals.values() for _, *bounds in each for bound in bounds]
    log = _wants_log(values)
    place = math.log10 if log else float
    ticks = _log_ticks(values) if log else _linear_ticks(values)
    low, high = (min(map(place, values)), max(map(place, values)))
    low, high = min(low, ticks[0][0]), max(high, ticks[0][-1])
    plotext.clear_figure()
    plotext.limit_size(False, False)
    columns = min(width, LARGEST_WIDTH)
    plotext.plot_size(columns, HEIGHT)
    plotext.theme("clear")
    legend = []
    placed = {name: (xs, [place(y) for y in ys]) for name, (xs, ys) in curves.items()}
    dots = _apart(placed, columns, low, high)
    first, last = _range(curves, 0)
    column = (last - first) / (columns - FRAME)
    for at, name in enumerate(curves):
        split = Metric.from_name(name).split
        for centre, *bounds in intervals.get(name, ()):
            # Next to those of the other curves: in one column they would hide each other.
            x = centre + (at - (len(curves) - 1) / 2) * column
            x = min(max(x, first + at * column), last - (len(curves) - 1 - at) * column)
            ends = [place(bound) for bound in bounds]
            if ends[1] - ends[0] > (high - low) / HEIGHT:
                marker = "braille" if colour else "|"
                plotext.plot([x, x], ends, marker=marker, color=_COLOURS[split])
    for name, (xs, ys) in dots.items():
        split = Metric.from_name(name).split
        marker = "braille" if colour else _PLAIN[split]
        if xs:
            plotext.scatter(xs, ys, marker=marker, color=_COLOURS[split])
        sample = plotext.colorize("━━" if colour else _PLAIN[split] * 2, _COLOURS[split])
        legend.append(f"{sample} {name.replace('/', ' ')}")
    if high > low:
        plotext.ylim(low, high)
    plotext.yticks(*ticks)
    plotext.xticks(*x_ticks)
    plotext.xlabel(x_label)
    # The library's own legend lies on the canvas, over the curves.
    text = f"{'   '.join(legend)}\n{plotext.build()}"
    plotext.clear_figure()
    if not colour:
        text = plotext.uncolorize(text)
    return "\n".join(line.rstrip() for line in text.rstrip().splitlines())


_SAMPLES = 8
"""Dots of a curve in each column, so that steep parts have no gaps."""


def _apart(curves: Curves, columns: int, low: float, high: float) -> Curves:
    """The curves as dots; where several fall on one place, each has every other column."""
    first, last = _range(curves, 0)
    span, tall = (last - first) or 1.0, (high - low) or 1.0
    grid = [first + span * at / (columns * _SAMPLES) for at in range(columns * _SAMPLES + 1)]
    drawn = {name: _on_grid(xs, ys, grid) for name, (xs, ys) in curves.items()}

    def row(value: float | None) -> int | None:
        return None if value is None else round((value - low) / tall * (HEIGHT - 5))

    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in drawn}
    for at, x in enumerate(grid):
        rows = {name: row(ys[at]) for name, ys in drawn.items()}
        for name, ys in drawn.items():
            value = ys[at]
            if value is None:
                continue
            here = [other for other in drawn if rows[other] == rows[name]]
            if here[at // _SAMPLES // 2 % len(here)] == name:
                found[name][0].append(x)
                found[name][1].append(value)
    return found


def _on_grid(xs: Sequence[float], ys: Sequence[float], grid: Sequence[float]) -> list[float | None]:
    """The curve at each place of the grid, linear between its points; None outside."""
    values: list[float | None] = []
    at = 0
    for x in grid:
        while at + 2 < len(xs) and xs[at + 1] < x:
            at += 1
        if not xs[0] <= x <= xs[-1]:
            values.append(None)
            continue
        width = xs[at + 1] - xs[at]
        share = (x - xs[at]) / width if width else 0.0
        values.append(ys[at] + min(max(share, 0.0), 1.0) * (ys[at + 1] - ys[at]))
    return values


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


def _wants_log(values: Sequence[float]) -> bool:
    low, high = min(values), max(values)
    return low > 0 and high / LOG_RATIO > low


def _log_ticks(values: Sequence[float]) -> tuple[list[float], list[str]]:
    """Whole powers of ten, from one below all values to one above them."""
    first, last = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    step = max(1, math.ceil((last - first) / 6))
    last = first + step * math.ceil((last - first) / step)
    powers = range(first, last + 1, step)
    return [float(power) for power in powers], [f"1e{power}" for power in powers]


def _linear_ticks(values: Sequence[float]) -> tuple[list[float], list[str]]:
    """Round numbers, from one below all values to one above them."""
    low, high = min(values), max(values)
    if not high > low:
        return [low], [f"{low:.4g}"]
    step = _round_up((high - low) / 5)
    ticks = [step * at for at in range(math.floor(low / step), math.ceil(high / step) + 1)]
    digits = max(0, math.ceil(2 - math.log10(step))) if step < 1 else 0
    return ticks, [f"{round(tick, digits):.10g}" for tick in ticks]


def _epoch_ticks(curves: Curves) -> tuple[list[float], list[str]]:
    """The first and the last epoch, and round numbers between them."""
    first, last = (round(epoch) for epoch in _range(curves, 0))
    step = max(1, round(_round_up((last - first) / 4)))
    inner = range(step * (first // step + 1), last, step)
    ticks = [first, *(at for at in inner if min(at - first, last - at) >= step / 2), last]
    ticks = list(dict.fromkeys(ticks))
    return [float(tick) for tick in ticks], [str(tick) for tick in ticks]


def _round_up(size: float) -> float:
    """The next of 1, 2, 2.5, 5 and 10 times a power of ten."""
    if size <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(size))
    return next(power * f for f in (1, 2, 2.5, 5, 10, 20) if power * f >= size * 0.999)
