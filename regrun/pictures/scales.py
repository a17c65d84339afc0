"""Axes: where values stand, and ticks at round numbers or at the values themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from regrun.pictures.style import plain, tick_text
from regrun.settings import format_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

FACTOR = 8.0
"""Positive values that span more than this stand on a logarithmic axis."""

LARGEST = 1e250
"""Larger numbers lie beyond the axis, whose arithmetic they would overflow."""

MOST_VALUES = 14
"""Values of an axis that have a tick each."""


def is_number(value: Any) -> bool:
    """Whether a value of an axis is a finite number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True)
class Strengths:
    """The scale of a swept number.

    On a logarithmic scale 0 has a place of its own, a step before the smallest, behind a gap in the
    axis.
    """

    values: Sequence[float]
    """Rising, each once."""

    @property
    def is_log(self) -> bool:
        positive = [value for value in self.values if value > 0]
        zeros = [value for value in self.values if value == 0]
        if len(positive) + len(zeros) < len(self.values) or len(positive) < 2:
            return False
        return positive[-1] / positive[0] >= FACTOR

    @property
    def zero(self) -> float | None:
        """Where 0 stands on a logarithmic axis; None where it needs no such place."""
        if not self.is_log or self.values[0] > 0:
            return None
        positive = [value for value in self.values if value > 0]
        step = math.pow(positive[-1] / positive[0], 1 / (len(positive) - 1))
        return positive[0] / min(max(step, 2.0), 10.0)

    def place(self, value: float) -> float:
        """The coordinate of a value."""
        return self.zero if value == 0 and self.zero is not None else float(value)

    def edges(self) -> list[float]:
        """The coordinates between neighbours, with one before the first and one after the last."""
        at = [self.place(value) for value in self.values]
        if self.is_log:
            at = [math.log(each) for each in at]
        if len(at) == 1:
            room = 0.5 * abs(at[0]) or 0.5
            inner = [at[0] - room, at[0] + room]
        else:
            between = [(a + b) / 2 for a, b in pairwise(at)]
            inner = [2 * at[0] - between[0], *between, 2 * at[-1] - between[-1]]
        return [math.exp(each) for each in inner] if self.is_log else inner

    def draw(self, axes: Axes, name: str) -> None:
        """Scale the horizontal axis of some axes, with ticks and a name."""
        axes.set_xlabel(plain(name))
        edges = self.edges()
        if self.is_log:
            axes.set_xscale("log")
        axes.set_xlim(edges[0], edges[-1])
        self._draw_ticks(axes.xaxis)
        if self.zero is not None:
            self._break_axis(axes)

    def draw_upright(self, axes: Axes, name: str) -> None:
        """The same for the vertical axis."""
        axes.set_ylabel(plain(name))
        edges = self.edges()
        if self.is_log:
            axes.set_yscale("log")
        axes.set_ylim(edges[0], edges[-1])
        self._draw_ticks(axes.yaxis)

    def _draw_ticks(self, axis: Axis) -> None:
        ticks = self.ticks()
        fix_ticks(axis, [self.place(each) for each in ticks], [tick_text(each) for each in ticks])

    def ticks(self) -> Sequence[float]:
        """The values where they are few, else round numbers."""
        return self.values if len(self.values) <= MOST_VALUES else self._round()

    def share(self, value: float) -> float:
        """Where a value stands between the ends of the axis, from 0 to 1."""
        low, at, high = (self.place(each) for each in (self.values[0], value, self.values[-1]))
        if low == high:
            return 0.5
        if self.is_log:
            low, at, high = math.log(low), math.log(at), math.log(high)
        return (at - low) / (high - low)

    def _round(self) -> list[float]:
        """Round numbers within the values, and 0 where it has a place of its own."""
        positive = [value for value in self.values if value > 0]
        if not self.is_log:
            from matplotlib.ticker import MaxNLocator

            found = MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]).tick_values(
                self.values[0], self.values[-1]
            )
            return [float(t) for t in found if self.values[0] <= t <= self.values[-1]]
        zeros = [0.0] if self.zero is not None else []
        return [*zeros, *round_logs(positive[0], positive[-1])]

    def _break_axis(self, axes: Axes) -> None:
        """Two strokes across the axis between 0 and the smallest positive value."""
        assert self.zero is not None
        positive = next(value for value in self.values if value > 0)
        middle = math.sqrt(self.zero * positive)
        for shift in (0.985, 1.015):
            axes.plot(
                [middle * shift**2],
                [0],
                marker=[(-1, -2), (1, 2)],
                markersize=9,
                linestyle="none",
                color=axes.spines["bottom"].get_edgecolor(),
                markeredgewidth=1.0,
                transform=axes.get_xaxis_transform(),
                clip_on=False,
                zorder=5,
            )


def round_logs(low: float, high: float, most: int = 8) -> list[float]:
    """Round numbers from low to high: whole powers of ten, with 2 and 5 where there is room.

    >>> round_logs(0.9, 40)
    [1.0, 2.0, 5.0, 10.0, 20.0]
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    slack = 1 + 1e-9
    for factors in ((1, 2, 5), (1, 3), (1,)):
        found = [
            float(f"{factor}e{power}")
            for power in range(first, last + 1)
            for factor in factors
            if low / slack <= float(f"{factor}e{power}") <= high * slack
        ]
        if len(found) <= most:
            return found or [low]
    step = math.ceil((last - first) / most)
    powers = [power for power in range(first, last + 1) if power % step == 0]
    return [10.0**power for power in powers if low / slack <= 10.0**power <= high * slack]


def fix_ticks(axis: Axis, places: Sequence[float], texts: Sequence[str]) -> None:
    """Ticks at these places and no others."""
    from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

    axis.set_major_locator(FixedLocator([*places]))
    axis.set_ticklabels([*texts])
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def scale_heights(axes: Axes, low: float, high: float, *, log: bool) -> None:
    """Scale the vertical axis to hold what lies from low to high, with round ticks and a grid."""
    low, high = max(low, -LARGEST), min(high, LARGEST)
    if log:
        low = max(low, 1 / LARGEST)
        axes.set_yscale("log")
        room = math.exp(0.05 * (math.log(high) - math.log(low))) if high > low else 1.3
        axes.set_ylim(low / room, high * room)
        ticks = round_logs(low / room, high * room)
    else:
        from matplotlib.ticker import MaxNLocator

        room = 0.06 * (high - low) or 0.1 * abs(high) or 0.5
        axes.set_ylim(low - room, high + room)
        found = MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(low - room, high + room)
        ticks = [float(t) for t in found if low - room <= t <= high + room]
    fix_ticks(axes.yaxis, ticks, [tick_text(round(t, 12) if not log else t) for t in ticks])
    axes.grid(True, axis="y")


def wants_log(values: Sequence[float]) -> bool:
    """Whether positive values span so much that a linear axis would hide the small ones."""
    return bool(values) and min(values) > 0 and max(values) / FACTOR > min(values)


def setting_text(value: Any) -> str:
    """A value of an axis as text, numbers with four digits."""
    return tick_text(float(f"{value:.4g}")) if is_number(value) else plain(format_value(value), 28)
