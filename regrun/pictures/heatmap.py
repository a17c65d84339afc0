"""A metric over two swept keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from regrun.analysis.cells import Cell
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
from regrun.pictures.style import Look, plain, ramp, tick_text
from regrun.pictures.subject import Subject, value_of
from regrun.settings import format_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Colormap, Normalize

MOST_ROWS = 25
"""Values of one key in a grid; more are drawn as dots."""

MOST_NUMBERED = 12
"""Columns up to which every field has its number."""


class Heatmap(Picture):
    """Fields of a grid, or dots where the cells are scattered, coloured by the metric."""

    name = "heatmap"
    summary = "the metric over two swept keys, as colours"

    def problem(self, subject: Subject) -> str | None:
        if len(subject.keys) != 2:
            return "it needs two swept keys"
        missing = measured(subject)
        if missing is None and not _is_grid(subject) and len(subject.numeric) < 2:
            return "it needs a grid, or two keys whose values are numbers"
        return missing

    def draw(self, subject: Subject, look: Look) -> Sheet:
        grid = _is_grid(subject)
        outlined = "dashed frames" if grid else "thick edges"
        sheet = Sheet(look, finding(subject), notes_on(subject, marked=outlined), height=5.6)
        axes = sheet.figure.subplots()
        norm = _norm(subject)
        coloured = _fields(axes, subject, norm, look) if grid else _dots(axes, subject, norm, look)
        _colour_bar(sheet, axes, coloured, subject)
        return sheet


def _values(subject: Subject, key: str) -> list[Any]:
    """The values of a key: numbers by size, others as they first appear."""
    found = {format_value(value_of(cell, key)): value_of(cell, key) for cell in subject.cells}
    numbers: list[Any] = [value for value in found.values() if is_number(value)]
    return [*sorted(numbers), *(value for value in found.values() if not is_number(value))]


def _is_grid(subject: Subject) -> bool:
    """Whether at least half of all combinations of few values are there."""
    counts = [len(_values(subject, key)) for key in subject.keys]
    fields = counts[0] * counts[1]
    return max(counts) <= MOST_ROWS and 2 * len(subject.cells) >= fields


def _means(subject: Subject) -> list[tuple[Cell, float]]:
    name = subject.metric.name
    return [(cell, e.mean) for cell in subject.cells if (e := cell.interval(name)) is not None]


def _norm(subject: Subject) -> Normalize:
    from matplotlib.colors import LogNorm, Normalize

    means = [mean for _, mean in _means(subject)]
    if subject.metric.scale == "log" and wants_log(means):
        return LogNorm(min(means), max(means))
    return Normalize(min(means), max(means))


def _colours(subject: Subject, look: Look) -> Colormap:
    """The better the stronger."""
    return ramp(look) if subject.metric.sign < 0 else ramp(look).reversed()


def _fields(axes: Axes, subject: Subject, norm: Normalize, look: Look) -> ScalarMappable:
    """A rectangle per cell, with its number where there is room."""
    import numpy as np

    across, up = subject.keys
    columns, rows = _values(subject, across), _values(subject, up)
    at = {(format_value(value_of(cell, across)), format_value(value_of(cell, up))): cell
          for cell in subject.cells}  # fmt: skip
    heights = np.full((len(rows), len(columns)), np.nan)
    for (x, y), cell in _placed(at, columns, rows):
        if (found := cell.interval(subject.metric.name)) is not None:
            heights[y, x] = found.mean
    mesh = axes.pcolormesh(
        heights, cmap=_colours(subject, look), norm=norm, edgecolors=look.paper, linewidth=1
    )
    for (x, y), cell in _placed(at, columns, rows):
        _write(axes, subject, (x, y), cell, len(columns), look, norm)
    _frame(axes, subject, {id(cell): place for place, cell in _placed(at, columns, rows)}, look)
    for axis, values, key in ((axes.xaxis, columns, across), (axes.yaxis, rows, up)):
        fix_ticks(axis, [i + 0.5 for i in range(len(values))], [setting_text(v) for v in values])
        axis.set_label_text(plain(key))
    axes.tick_params(length=0)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    return mesh


def _placed(
    at: Mapping[tuple[str, str], Cell], columns: Sequence[Any], rows: Sequence[Any]
) -> list[tuple[tuple[int, int], Cell]]:
    """Column and row of each cell."""
    return [
        ((x, y), at[each])
        for y, row in enumerate(rows)
        for x, column in enumerate(columns)
        if (each := (format_value(column), format_value(row))) in at
    ]


def _write(
    axes: Axes,
    subject: Subject,
    place: tuple[int, int],
    cell: Cell,
    columns: int,
    look: Look,
    norm: Normalize,
) -> None:
    """The mean in a field, or how many of its runs were lost."""
    found = cell.interval(subject.metric.name)
    x, y = place[0] + 0.5, place[1] + 0.5
    if cell.lost:
        lines = {"hatch": "////", "fill": False, "linewidth": 0}
        axes.add_patch(_rectangle(place, **lines))
    if columns > MOST_NUMBERED:
        return
    if found is None:
        text = "lost" if cell.lost else "–"
        axes.text(x, y, text, ha="center", va="center", color=look.soft, fontsize=8)
        return
    share = float(norm(found.mean))
    dark = (share if subject.metric.sign < 0 else 1 - share) > 0.55
    colour = look.paper if dark else look.ink
    axes.text(x, y, _digits(found.mean), ha="center", va="center", color=colour, fontsize=8)


def _digits(mean: float) -> str:
    """Three digits: ``0.300``, ``17.8``."""
    return f"{mean:#.3g}".rstrip(".") if 1e-3 < abs(mean) < 1e5 else tick_text(float(f"{mean:.3g}"))


def _rectangle(place: tuple[int, int], **style: Any) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((place[0] + 0.03, place[1] + 0.03), 0.94, 0.94, **style)


def _frame(axes: Axes, subject: Subject, places: Mapping[int, tuple[int, int]], look: Look) -> None:
    """A thick frame around the best, thin ones around those not distinguishable from it."""
    says = subject.says and len(subject.alike) < len(subject.compared) - 1
    alike = subject.alike if says else []
    for cell in alike:
        frame = {
            "fill": False,
            "edgecolor": look.accent,
            "linewidth": 1.0,
            "linestyle": (0, (3, 2)),
        }
        axes.add_patch(_rectangle(places[id(cell)], **frame))
    if subject.best is not None:
        frame = {"fill": False, "edgecolor": look.accent, "linewidth": 2.6}
        axes.add_patch(_rectangle(places[id(subject.best)], **frame))


def _dots(axes: Axes, subject: Subject, norm: Normalize, look: Look) -> ScalarMappable:
    """A dot per cell where it stands."""
    across, up = subject.keys
    scales = [
        Strengths(sorted({float(cell.params[key]) for cell in subject.cells}))
        for key in (across, up)
    ]
    scales[0].draw(axes, across)
    scales[1].draw_upright(axes, up)
    measured = sorted(_means(subject), key=lambda each: -subject.metric.sign * each[1])
    alike = {id(cell) for cell in subject.alike} if subject.says else set()
    best = id(subject.best)
    axes.grid(True)
    return axes.scatter(
        [scales[0].place(float(cell.params[across])) for cell, _ in measured],
        [scales[1].place(float(cell.params[up])) for cell, _ in measured],
        c=[mean for _, mean in measured],
        s=[150 if id(cell) == best else 60 for cell, _ in measured],
        cmap=_colours(subject, look),
        norm=norm,
        clip_on=False,
        zorder=3,
        edgecolors=[
            look.accent if id(c) == best else look.ink if id(c) in alike else look.soft
            for c, _ in measured
        ],
        linewidths=[2.4 if id(c) == best else 1.4 if id(c) in alike else 0.4 for c, _ in measured],
    )


def _colour_bar(sheet: Sheet, axes: Axes, coloured: ScalarMappable, subject: Subject) -> None:
    from matplotlib.colors import LogNorm

    bar = sheet.figure.colorbar(coloured, ax=axes, pad=0.02, aspect=30)
    bar.outline.set_visible(False)
    bar.set_label(words_of(subject.metric))
    low, high = coloured.get_clim()
    if isinstance(coloured.norm, LogNorm) and low and high:
        ticks = round_logs(low, high, 6)
        fix_ticks(bar.ax.yaxis, ticks, [tick_text(tick) for tick in ticks])
