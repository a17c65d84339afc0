"""The generalisation gap over one swept number."""

from __future__ import annotations

from regrun.numbers import interval
from regrun.pictures.axis import MOST_DOTS, Point
from regrun.pictures.base import Picture
from regrun.pictures.needs import one_number, several_cells
from regrun.pictures.scales import Strengths, scale_heights, setting_text, wants_log
from regrun.pictures.sheet import Sheet
from regrun.pictures.style import Look
from regrun.pictures.subject import Subject


class Gap(Picture):
    """Test minus train over one numeric key, with intervals and single seeds."""

    name = "gap"
    summary = "the generalisation gap, test minus train, over one swept number"

    def problem(self, subject: Subject) -> str | None:
        missing = several_cells(subject) or one_number(subject)
        measured = sum(cell.interval(_name(subject)) is not None for cell in subject.cells)
        if missing is None and measured < 2:
            return "it needs cells with a train and a test set"
        return missing

    def draw(self, subject: Subject, look: Look) -> Sheet:
        (key,) = subject.keys
        name = _name(subject)
        cells = sorted(subject.cells, key=lambda cell: float(cell.params[key]))
        scale = Strengths([float(cell.params[key]) for cell in cells])
        points = [
            Point(scale.place(float(cell.params[key])), found, [*cell.values(name).values()])
            for cell in cells
            if (found := cell.interval(name)) is not None
        ]
        measured = [cell for cell in cells if cell.interval(name) is not None]
        first, last = (
            (interval(cell.interval(name)), setting_text(cell.params[key]))
            for cell in (measured[0], measured[-1])
        )
        quantity = name.partition("/")[2]
        title = (
            f"Test minus train {quantity} goes from {first[0]} at {subject.short[key]} = "
            f"{first[1]} to {last[0]} at {last[1]}"
        )
        seeds = max(cell.seeds for cell in cells)
        notes = [f"Means and 95% intervals over {seeds} seeds; dots: single seeds."]
        sheet = Sheet(look, title, notes if seeds > 1 else [], height=4.4)
        axes = sheet.figure.subplots()
        scale.draw(axes, key)
        drawn = [value for point in points for value in point.all]
        log = wants_log(drawn)
        scale_heights(axes, min(drawn), max(drawn), log=log)
        axes.set_ylabel(f"test − train {quantity}")
        if not log:
            axes.axhline(0, color=look.soft, linewidth=0.8)
        places = [point.at for point in points]
        axes.plot(
            places,
            [point.estimate.mean for point in points],
            color=look.ink,
            marker="o",
            markersize=4.5,
            label="gap",
            zorder=3,
        )
        axes.vlines(
            places,
            [point.low for point in points],
            [point.high for point in points],
            color=look.ink,
            linewidth=1.4,
        )
        seeds_at = [(p.at, value) for p in points if len(p.seeds) > 1 for value in p.seeds]
        if seeds_at and len(seeds_at) <= MOST_DOTS:
            axes.plot(
                *zip(*seeds_at, strict=True),
                linestyle="none",
                marker=".",
                markersize=4,
                color=look.soft,
                alpha=0.6,
            )
        return sheet


def _name(subject: Subject) -> str:
    """The gap of the metric's quantity, where runs have it; else that of the loss."""
    return f"gap/{'accuracy' if subject.metric.quantity == 'accuracy' else 'loss'}"
