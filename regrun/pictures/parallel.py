"""All cells of a search: a line each through the values of its keys to its metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from regrun.pictures.base import Picture
from regrun.pictures.needs import measured
from regrun.pictures.scales import (
    Strengths,
    fix_ticks,
    is_number,
    round_logs,
    setting_text,
    wants_log,
)
from regrun.pictures.sentences import finding, notes_on, words_of
from regrun.pictures.sheet import Sheet
from regrun.pictures.style import SIZES, Look, plain, tick_text
from regrun.pictures.subject import Subject, value_of
from regrun.settings import format_value

MOST_LINES = 400
"""Cells that are drawn, the best first."""

MOST_MARKED = 12
"""Cells not distinguishable from the best that are marked."""

MOST_CHOICES = 12
"""Values of a key that is no number."""


@dataclass(frozen=True)
class Pole:
    """An upright axis: ticks as (place from 0 to 1, text), and where values stand."""

    name: str
    ticks: Sequence[tuple[float, str]]
    places: Sequence[float]
    """One for each cell."""


class Parallel(Picture):
    """Parallel coordinates, coloured by how good the cells are."""

    name = "parallel"
    summary = "parallel coordinates of all swept keys and the metric"

    def problem(self, subject: Subject) -> str | None:
        if len(subject.keys) < 2 or len(subject.cells) < 3:
            return "it needs two swept keys and three cells"
        if len(subject.keys) > 12:
            return "it needs at most twelve swept keys"
        many = [key for key in subject.keys if _choices(subject, key) > MOST_CHOICES]
        if many:
            return f"{many[0]} has more than {MOST_CHOICES} values that are no numbers"
        return measured(subject)

    def draw(self, subject: Subject, look: Look) -> Sheet:
        from matplotlib.collections import LineCollection

        metric = subject.metric
        cells = [cell for cell in subject.cells if cell.interval(metric.name) is not None]
        means = [found.mean for c in cells if (found := c.interval(metric.name)) is not None]
        order = sorted(range(len(cells)), key=lambda i: metric.sign * means[i])[:MOST_LINES]
        cells, means = [cells[i] for i in order], [means[i] for i in order]
        poles = [
            _pole(subject.short[key], [value_of(cell, key) for cell in cells])
            for key in subject.keys
        ]
        poles.append(_metric_pole(words_of(metric), means, log=metric.scale == "log"))
        width = max(8.0, 1.45 * len(poles))
        # Where almost all are like the best, that is no mark.
        alike = {id(cell) for cell in subject.alike if len(subject.alike) <= MOST_MARKED}
        marked = f"thin {'black' if look.theme == 'light' else 'white'} lines" if alike else None
        notes = notes_on(subject, marked=marked)
        if len(cells) < len(subject.cells):
            notes.append(f"{len(cells):,} of {len(subject.cells):,} cells.")
        sheet = Sheet(look, finding(subject), notes, width=width, height=4.8)
        axes = sheet.figure.subplots()
        paths = [
            [(x, pole.places[row]) for x, pole in enumerate(poles)] for row in range(len(cells))
        ]
        ranks = [row / max(len(cells) - 1, 1) for row in range(len(cells))]
        for row in reversed(range(1, len(cells))):
            like_best = subject.says and id(cells[row]) in alike
            colour = look.ink if like_best else _mixed(look, ranks[row])
            axes.add_collection(
                LineCollection([paths[row]], colors=colour, linewidths=0.9, alpha=0.85)
            )
        axes.plot(*zip(*paths[0], strict=True), color=look.accent, linewidth=2.6, label="best")
        _draw_poles(axes, poles, look)
        return sheet


def _choices(subject: Subject, key: str) -> int:
    """How many values of a key are no numbers."""
    values = [value_of(cell, key) for cell in subject.cells]
    return len({format_value(value) for value in values if not is_number(value)})


def _pole(name: str, values: Sequence[Any]) -> Pole:
    """The axis of a key; values that are no numbers are evenly spaced, below those that are."""
    numbers = sorted({float(value) for value in values if is_number(value)})
    others = list(dict.fromkeys(format_value(value) for value in values if not is_number(value)))
    if not others:
        scale = Strengths(numbers)
        ticks = [(scale.share(each), tick_text(each)) for each in scale.ticks()]
        return Pole(name, ticks, [scale.share(float(value)) for value in values])
    texts = [*others, *(format_value(each) for each in numbers)]
    places = {text: (i + 0.5) / len(texts) for i, text in enumerate(texts)}
    shown = {**{text: text for text in others}, **{format_value(n): tick_text(n) for n in numbers}}
    ticks = [(place, plain(shown[text], 16)) for text, place in places.items()]
    return Pole(name, ticks, [places[_text(value)] for value in values])


def _text(value: Any) -> str:
    return format_value(float(value)) if is_number(value) else format_value(value)


def _metric_pole(name: str, means: Sequence[float], *, log: bool) -> Pole:
    """The axis of the metric, its values as they are: up is more."""
    import math

    low, high = min(means), max(means)
    if low == high:
        return Pole(name, [(0.5, setting_text(float(f"{low:.4g}")))], [0.5] * len(means))
    if log and wants_log(means):
        ticks = round_logs(low, high)
        low, high = math.log(low), math.log(high)
        return Pole(
            name,
            [((math.log(t) - low) / (high - low), tick_text(t)) for t in ticks],
            [(math.log(mean) - low) / (high - low) for mean in means],
        )
    from matplotlib.ticker import MaxNLocator

    found = MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return Pole(
        name,
        [
            ((t - low) / (high - low), tick_text(round(float(t), 12)))
            for t in found
            if low <= t <= high
        ],
        [(mean - low) / (high - low) for mean in means],
    )


def _draw_poles(axes: Any, poles: Sequence[Pole], look: Look) -> None:
    """The upright axes with their ticks, and their names below, every second one lower."""
    axes.set_xlim(-0.35, len(poles) - 0.55)
    axes.set_ylim(-0.04, 1.04)
    fix_ticks(axes.xaxis, [], [])
    fix_ticks(axes.yaxis, [], [])
    axes.set_axis_off()
    for x, pole in enumerate(poles):
        axes.plot([x, x], [0, 1], color=look.soft, linewidth=1.0, zorder=4)
        last = -1.0
        for place, text in sorted(pole.ticks):
            if place - last < 0.045:
                continue
            last = place
            axes.plot([x - 0.03, x], [place, place], color=look.soft, linewidth=1.0, zorder=4)
            axes.text(
                x - 0.05,
                place,
                text,
                ha="right",
                va="center",
                fontsize=SIZES["note"],
                color=look.ink,
                zorder=5,
                bbox={"facecolor": look.paper, "edgecolor": "none", "alpha": 0.75, "pad": 0.6},
            )
        axes.text(
            x,
            -0.07 - 0.06 * (x % 2),
            plain(pole.name, 24),
            ha="center",
            va="top",
            fontsize=SIZES["text"],
            fontweight="bold" if x == len(poles) - 1 else "normal",
        )


def _mixed(look: Look, rank: float) -> Any:
    """The better the stronger."""
    from regrun.pictures.style import ramp

    return ramp(look)(0.75 - 0.6 * rank)
