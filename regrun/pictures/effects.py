"""What each ingredient of an ablation does: a forest plot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from regrun.metrics import Metric
from regrun.numbers import ratio
from regrun.pictures.base import Picture
from regrun.pictures.scales import fix_ticks, round_logs
from regrun.pictures.sentences import words_of
from regrun.pictures.sheet import Sheet
from regrun.pictures.style import SIZES, Look, plain, tick_text
from regrun.pictures.subject import Subject
from regrun.results import AblationResult, Difference, Effect

ROW = 0.3
"""Inches of a row."""


class Row(NamedTuple):
    """A line of the forest."""

    ingredient: str
    role: str
    difference: Difference


class Effects(Picture):
    """The effect of every ingredient in company and alone, with intervals, and its interaction."""

    name = "effects"
    summary = "the effect of each ingredient of an ablation, with its interval"

    def problem(self, subject: Subject) -> str | None:
        if subject.ablation is None:
            return "it needs an ablation"
        return None if _rows(subject.ablation) else "no effect was measured"

    def draw(self, subject: Subject, look: Look) -> Sheet:
        from matplotlib.transforms import blended_transform_factory

        ablation = subject.ablation
        assert ablation is not None
        rows = _rows(ablation)
        metric = Metric.from_name(ablation.metric)
        log = rows[0].difference.scale == "log"
        seeds = max((cell.seeds for cell in ablation.cells), default=0)
        notes = [
            f"In company: all ingredients with it over all without it; alone: it over none. "
            f"95% intervals of each over {seeds} seeds; filled: a certain difference (rotation "
            "test, 5% for all together)."
        ]
        if not log:
            notes = [notes[0].replace(" over all without", " minus all without").replace(
                "it over none", "it minus none")]  # fmt: skip
        height = 0.9 + ROW * (len(rows) + 0.5 * len(ablation.effects))
        sheet = Sheet(look, title_of(ablation, metric), notes, height=height)
        axes = sheet.figure.subplots()
        heights = _heights(rows)
        none = rows[0].difference.none
        axes.axvline(none, color=look.soft, linewidth=1.0)
        low, high = _range(rows, none, log=log)
        for row, y in zip(rows, heights, strict=True):
            _draw_row(axes, row, y, metric, look)
        axes.set_ylim(min(heights) - 0.8, max(heights) + 0.8)
        if log:
            axes.set_xscale("log")
            axes.set_xlim(low, high)
            ticks = sorted({*_ratio_ticks(low, high), 1.0})
            fix_ticks(axes.xaxis, ticks, [f"× {tick_text(tick)}" for tick in ticks])
        else:
            axes.set_xlim(low, high)
        axes.set_xlabel(f"{'factor on' if log else 'change of'} {words_of(metric)}")
        fix_ticks(axes.yaxis, heights, [_label(row) for row in rows])
        axes.tick_params(axis="y", length=0, labelcolor=look.ink)
        axes.spines["left"].set_visible(False)
        axes.grid(True, axis="x")
        at_edge = blended_transform_factory(axes.transAxes, axes.transData)
        for row, y in zip(rows, heights, strict=True):
            star = " *" if row.difference.is_certain else ""
            axes.text(
                1.02,
                y,
                ratio(row.difference) + star,
                transform=at_edge,
                va="center",
                fontsize=SIZES["tick"],
                fontweight="bold" if star else "normal",
            )
        better, worse = ("← better", "worse →")[:: metric.sign]
        for x, text, side in ((0.0, better, "left"), (1.0, worse, "right")):
            axes.text(x, 1.0, text, transform=axes.transAxes, ha=side, va="bottom", color=look.soft)
        return sheet


def _rows(ablation: AblationResult) -> list[Row]:
    """In company and alone, and the interaction where it is certain; those that were measured."""
    rows = []
    for effect in ablation.effects:
        rows.append(Row(effect.ingredient, "in company", effect.left_out))
        if len(ablation.effects) > 1:
            rows.append(Row(effect.ingredient, "alone", effect.alone))
        if effect.interacts:
            rows.append(Row(effect.ingredient, "interaction", effect.interaction))
    return [row for row in rows if row.difference.n]


def _label(row: Row) -> str:
    return f"{plain(row.ingredient, 28)}, {row.role}"


def _heights(rows: Sequence[Row]) -> list[float]:
    """From top to bottom, with a space between ingredients."""
    found, y = [], 0.0
    for index, row in enumerate(rows):
        if index and rows[index - 1].ingredient != row.ingredient:
            y -= 0.5
        found.append(y)
        y -= 1
    return found


def _bounds(difference: Difference) -> tuple[float, float]:
    low, high = difference.low, difference.high
    return (difference.mean if low is None else low, difference.mean if high is None else high)


def _range(rows: Sequence[Row], none: float, *, log: bool) -> tuple[float, float]:
    """What the axis holds: all intervals and no effect; huge intervals are cut."""
    lows, highs = zip(*(_bounds(row.difference) for row in rows), strict=True)
    means = [row.difference.mean for row in rows]
    if log:
        widest = 30 * max(max(means), 1 / min(means), 1.0)
        low, high = max(min(*lows, none), 1 / widest), min(max(*highs, none), widest)
        room = max((high / low) ** 0.06, 1.02)
        return low / room, high * room
    low, high = min(*lows, none), max(*highs, none)
    room = 0.06 * (high - low) or 1.0
    return low - room, high + room


def _ratio_ticks(low: float, high: float) -> list[float]:
    """Round factors; of a narrow range tenths, or hundredths."""
    found = round_logs(low, high, 7)
    if len(found) >= 3:
        return found
    from matplotlib.ticker import MaxNLocator

    ticks = MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [round(float(tick), 6) for tick in ticks if low <= tick <= high]


def _draw_row(axes: object, row: Row, y: float, metric: Metric, look: Look) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    difference = row.difference
    low, high = _bounds(difference)
    better = metric.sign * (difference.mean - difference.none) < 0
    colour = look.soft
    if difference.is_certain:
        colour = look.splits["val"] if better else look.splits["test"]
    if row.role == "interaction":
        colour = look.soft
    axes.plot([low, high], [y, y], color=colour, linewidth=2.0 if row.role != "alone" else 1.4)
    axes.plot(
        [difference.mean],
        [y],
        marker="o" if row.role == "in company" else "D",
        markersize=7 if row.role == "in company" else 5.5,
        color=colour,
        markerfacecolor=colour if difference.is_certain else look.paper,
        markeredgewidth=1.4,
        linestyle="none",
        label=f"{row.ingredient}, {row.role}",
    )


def title_of(ablation: AblationResult, metric: Metric) -> str:
    """The largest certain effect in company, in words."""
    certain = [effect for effect in ablation.effects if effect.left_out.is_certain]
    words = words_of(metric)
    if not certain:
        if len(ablation.effects) > 1:
            return f"No ingredient has a certain effect on {words}"
        return f"{plain(ablation.effects[0].ingredient)} has no certain effect on {words}"
    largest = max(certain, key=lambda effect: abs(_size(effect)))
    change = "lowers" if _size(largest) < 0 else "raises"
    by = ratio(largest.left_out)
    how = f"to {by}" if largest.left_out.scale == "log" else f"by {by.lstrip('-−')}"
    others = len(ablation.effects) - len(certain)
    rest = f"; no certain effect of {others} other{'s' if others > 1 else ''}" if others else ""
    return f"{plain(largest.ingredient)} {change} {words} {how}{rest}"


def _size(effect: Effect) -> float:
    """How far the effect is from none."""
    import math

    mean = effect.left_out.mean
    return math.log(mean) if effect.left_out.scale == "log" else mean
