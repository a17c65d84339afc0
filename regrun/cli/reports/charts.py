"""What the interactive charts of a report show, as data; `templates/script.js` draws them.

Numbers are written with five digits. Marks are the rows of a table: cells, strengths or
ingredients. Who points at a mark sees its row, and who ticks a row chooses what is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from regrun.analysis.cells import Cell, Run, replicate_of
from regrun.analysis.sweeps import OnDamage, losses_apart
from regrun.cli.cell_table import TITLES, shown_metrics
from regrun.errors import CorruptInputError
from regrun.escapes import escaped_name
from regrun.metrics import METRICS, SPLITS, Metric, scale_of
from regrun.pictures.axis import Point, heights
from regrun.pictures.curves import MOST_BELOW, chosen_cells
from regrun.pictures.path import names_of
from regrun.pictures.scales import (
    FACTOR,
    MOST_VALUES,
    Strengths,
    is_number,
    setting_text,
    wants_log,
)
from regrun.pictures.sentences import words_of
from regrun.pictures.style import LINES, plain, tick_text
from regrun.pictures.subject import Subject, value_of
from regrun.results import AblationResult, Difference, MeanInterval, PathResult, json_line
from regrun.settings import format_value
from regrun.store.reading import load_stored_run
from regrun.store.run_dir import RunDir

MOST_TICKED = 12
"""Cells up to which all are ticked at first; of more, those of the picture of curves."""

MOST_NUMBERS = 240_000
"""Numbers of all curves of a chart: the more curves, the fewer points each has."""

MOST_RUNS = 2_000
"""Runs whose learning curves are read."""

MOST_COEFFICIENTS = 60
"""Coefficients of a path with a curve, the largest first."""

Space = Literal["cells", "strengths", "ingredients"]
"""What the marks of a chart, and the rows of a table, are."""

Dash = Literal["", "dash", "dot"]

_DASHES: Mapping[str, Dash] = {"-": "", "--": "dash", "-.": "dot"}


@dataclass(frozen=True)
class Scale:
    """An axis. ticks: places and texts. floor: where the page adds round numbers, from there on;
    None: it adds none.
    """

    label: str
    low: float
    high: float
    log: bool = False
    ticks: Sequence[tuple[float, str]] = ()
    floor: float | None = None
    whole: bool = False
    """Whether only whole numbers are ticks."""
    rule: float | None = None
    """Where a line says that there is no effect."""
    falls: bool = False
    """Whether the largest value is on the left."""


@dataclass(frozen=True)
class Across:
    """A choice for the horizontal axis: where each mark stands. joined: by lines."""

    scale: Scale
    places: Sequence[float]
    joined: bool = False
    is_key: bool = True
    """Whether it can be the vertical axis, too: the marks are then coloured by `Chart.shares`."""


@dataclass(frozen=True)
class Line:
    """One series. marks: of each point, or one for all.

    name: what else a reader must know to find it, such as the seed.
    """

    xs: Sequence[float]
    ys: Sequence[float]
    marks: Sequence[int] | int
    name: str = ""
    lows: Sequence[float] = ()
    highs: Sequence[float] = ()


@dataclass(frozen=True)
class Group:
    """Lines that the reader shows and hides together. colour: a variable of the style sheet.

    dots: mark, value and name of each single seed.
    """

    name: str
    colour: str
    dash: Dash = ""
    lines: Sequence[Line] = ()
    dots: Sequence[tuple[int, float, str]] = ()


@dataclass(frozen=True)
class Up:
    """A choice for the vertical axis."""

    scale: Scale
    groups: Sequence[Group]
    """With `Chart.across`, the values of a line are those of the marks."""


@dataclass(frozen=True)
class Chart:
    """A chart with choices. across: empty where lines have their own horizontal values."""

    title: str
    space: Space
    names: Sequence[str]
    """What each mark stands for."""
    up: Sequence[Up]
    across: Sequence[Across] = ()
    epochs: Scale | None = None
    shares: Sequence[float | None] = ()
    """How good each mark is, from 0 to 1, or where it stands on the axis."""
    shade: str = ""
    """What the shares are of."""
    ringed: str = ""
    """The group whose points of the best marks have a ring."""
    best: Sequence[int] = ()
    """The best mark, and those that are not distinguishable from it."""
    lost: Sequence[tuple[int, str]] = ()
    """Marks of which runs diverged or failed."""
    ticked: Sequence[int] = ()
    dodge: bool = False
    """Whether the points of groups stand next to each other."""
    is_map: bool = False
    """Whether the second key is the vertical axis at first."""
    by_mark: bool = False
    """Whether lines are coloured by their mark, and drawn only where it is ticked."""

    def to_json(self) -> str:
        """What the script reads; no text in it can end the element that holds it."""
        text = json_line(self._data()).decode().strip()
        return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")

    def _data(self) -> dict[str, Any]:
        """Plain data without control characters; equal epochs are written once."""
        xs: dict[tuple[float, ...], int] = {}
        return {
            "title": escaped_name(self.title),
            "space": self.space,
            "names": [escaped_name(name) for name in self.names],
            "across": [
                {
                    "scale": _scale(each.scale),
                    "places": _short(each.places),
                    "joined": each.joined,
                    "isKey": each.is_key,
                }
                for each in self.across
            ],
            "epochs": None if self.epochs is None else _scale(self.epochs),
            "up": [
                {
                    "scale": _scale(each.scale),
                    "groups": [
                        {
                            "name": escaped_name(group.name),
                            "colour": group.colour,
                            "dash": group.dash,
                            "lines": [self._line(line, xs) for line in group.lines],
                            "dots": [(mark, *_short([y]), name) for mark, y, name in group.dots],
                        }
                        for group in each.groups
                    ],
                }
                for each in self.up
            ],
            "xs": [_short(each) for each in xs],
            "shares": [None if each is None else round(each, 3) for each in self.shares],
            "shade": self.shade,
            "ringed": self.ringed,
            "best": list(self.best),
            "lost": list(self.lost),
            "ticked": list(self.ticked),
            "dodge": self.dodge,
            "isMap": self.is_map,
            "byMark": self.by_mark,
        }

    def _line(self, line: Line, xs: dict[tuple[float, ...], int]) -> dict[str, Any]:
        found: dict[str, Any] = {"m": line.marks, "y": _short(line.ys)}
        if self.epochs is not None:
            found["x"] = xs.setdefault(tuple(line.xs), len(xs))
        if line.name:
            found["name"] = line.name
        if line.lows:
            found |= {"low": _short(line.lows), "high": _short(line.highs)}
        return found


def _scale(scale: Scale) -> dict[str, Any]:
    return {
        "label": escaped_name(scale.label),
        "low": scale.low,
        "high": scale.high,
        "log": scale.log,
        "ticks": [(place, escaped_name(text)) for place, text in scale.ticks],
        "falls": scale.falls,
        "whole": scale.whole,
        "rule": scale.rule,
        "floor": None if scale.floor is None else max(scale.floor, -1e300),
    }


def _open(label: str, low: float, high: float, *, log: bool = False) -> Scale:
    """An axis with round numbers everywhere."""
    return Scale(label, low, high, log, floor=0.0 if log else -math.inf)


def _short(values: Iterable[float]) -> list[float | int | None]:
    """Five digits each; whole numbers without a point."""
    rounded = (float(f"{value:.5g}") if math.isfinite(value) else None for value in values)
    return [int(v) if v is not None and v.is_integer() and abs(v) < 1e6 else v for v in rounded]


def cells_chart(subject: Subject) -> Chart | None:
    """All cells: their metrics over each key. None where there is nothing to compare."""
    cells = list(subject.cells)
    if len(cells) < 2:
        return None
    axes = (_key(subject, key, alone=len(subject.keys) == 1) for key in subject.keys)
    keys = [axis for axis in axes if axis is not None]
    numbered = Scale("cell, as numbered in the table", 0.5, len(cells) + 0.5, floor=1, whole=True)
    row = Across(numbered, [*range(1, len(cells) + 1)], is_key=False)
    is_ablation = subject.ablation is not None
    across = [row, *keys] if is_ablation or len(keys) > _MOST_KEYS else [*keys, row]
    return Chart(
        title="Cells",
        space="cells",
        names=_names(subject),
        across=across,
        up=_quantities(subject),
        shares=_goodness(subject),
        shade=words_of(subject.metric),
        ringed=_split_name(subject.metric),
        best=[cells.index(each) for each in _best(subject)],
        lost=[
            (at, f"{cell.lost:,} of {cell.seeds:,} runs diverged or failed")
            for at, cell in enumerate(cells)
            if cell.lost
        ],
        ticked=_ticked(subject),
        is_map=len(keys) == 2 and not is_ablation,
    )


_MOST_KEYS = 12
"""Keys up to which the first of them is the horizontal axis."""


def curves_chart(subject: Subject, on_damage: OnDamage) -> Chart | None:
    """The learning curves of all runs. on_damage: takes the runs whose metrics are damaged."""
    cells = list(subject.cells)
    runs = [(mark, run) for mark, cell in enumerate(cells) for run in cell.runs]
    if len(runs) > MOST_RUNS:
        return None
    read = [(mark, run, _rows(run, on_damage)) for mark, run in runs]
    known = [name for name in shown_metrics(cells, subject.metric.name) if name in METRICS]
    names = [*dict.fromkeys(METRICS[name].on(split).name for name in known for split in SPLITS)]
    tracks = sum(name in rows[-1] for _, _, rows in read if rows for name in names)
    if not tracks:
        return None
    most = max(MOST_NUMBERS // (2 * tracks), 8)
    up = [_over_epochs(metrics, read, subject, most) for metrics in _by_quantity(names).values()]
    up = [each for each in up if any(group.lines for group in each.groups)]
    if not up:
        return None
    epochs = [x for each in up for group in each.groups for line in group.lines for x in line.xs]
    alone = len(cells) == 1
    return Chart(
        title="Learning curves",
        space="cells",
        names=_names(subject),
        up=up,
        epochs=Scale("epoch", min(epochs), max(epochs), floor=0, whole=True),
        shares=[] if alone else _along(subject),
        ticked=_ticked(subject),
        by_mark=not alone,
    )


def path_chart(path: PathResult) -> Chart:
    """Losses, coefficients and non-zeros over the strength."""
    marks = [*range(len(path.strengths))]
    scale = Strengths(sorted(set(path.strengths)))
    places = [scale.place(strength) for strength in path.strengths]
    error = path.metrics["cv/standard_error"]
    losses = []
    for at, (name, values) in enumerate(path.metrics.items()):
        split, _, quantity = name.partition("/")
        if quantity != "loss":
            continue
        low = [v - e for v, e in zip(values, error, strict=True)] if split == "cv" else []
        high = [v + e for v, e in zip(values, error, strict=True)] if split == "cv" else []
        colour = split if split in SPLITS else f"series-{at % _COLOURS}"
        words = {"val": "validation", "cv": _CV}
        line = Line(marks, values, marks, lows=low, highs=high)
        losses.append(Group(words.get(split, split), colour, lines=[line]))
    flat = [[number for row in _nested(each) for number in row] for each in path.coefficients]
    names = names_of(path)
    largest = sorted(range(len(names)), key=lambda j: -max(abs(row[j]) for row in flat))
    coefficients = [
        Group(
            names[j],
            f"series-{rank % _COLOURS}",
            "" if rank < _COLOURS else "dash",
            [Line(marks, [row[j] for row in flat], marks)],
        )
        for rank, j in enumerate(largest[:MOST_COEFFICIENTS])
    ]
    counts = [Group("non-zeros", "series-0", lines=[Line(marks, path.nonzeros, marks)])]
    best = [path.strengths.index(each) for each in (path.best.strength,)]
    best += [path.strengths.index(path.best.one_standard_error)]
    return Chart(
        title="Path",
        space="strengths",
        names=[f"λ = {tick_text(float(f'{each:.4g}'))}" for each in path.strengths],
        across=[Across(replace(_scale_of("strength λ", scale), falls=True), places, joined=True)],
        up=[
            _up("loss", losses, log=True),
            _up("coefficient", coefficients, log=False),
            _up("non-zeros", counts, log=False),
        ],
        ringed=_CV,
        best=[*dict.fromkeys(best)],
        ticked=marks,
    )


_CV = "cross-validation, ± one standard error"


def effects_chart(found: AblationResult) -> Chart:
    """The effect of each ingredient with its interval."""
    marks = [*range(len(found.effects))]
    roles: dict[str, Callable[[Any], Difference]] = {
        "in company": lambda effect: effect.left_out,
        "alone": lambda effect: effect.alone,
        "interaction": lambda effect: effect.interaction,
    }
    groups = []
    for at, (role, difference_of) in enumerate(roles.items()):
        kept = [
            (mark, difference_of(effect))
            for mark, effect in enumerate(found.effects)
            if difference_of(effect).n
        ]
        if kept and (at == 0 or len(marks) > 1):
            groups.append(Group(role, f"series-{at}", lines=[_line(kept)]))
    is_ratio = found.effects[0].alone.scale == "log"
    label = f"{'factor on' if is_ratio else 'change of'} {_words(found.metric)}"
    effect = _up(label, groups, log=is_ratio)
    ticks = [(float(mark), plain(each.ingredient, 24)) for mark, each in enumerate(found.effects)]
    place = Scale("ingredient", -0.5, len(marks) - 0.5, ticks=ticks)
    return Chart(
        title="Effects",
        space="ingredients",
        names=[each.ingredient for each in found.effects],
        across=[Across(place, [float(mark) for mark in marks])],
        up=[replace(effect, scale=replace(effect.scale, rule=1.0 if is_ratio else 0.0))],
        ticked=marks,
        dodge=True,
    )


_COLOURS = 6
"""Colours of lines without an order: `Look.series`."""


def _words(metric: str) -> str:
    return words_of(METRICS[metric]) if metric in METRICS else metric


def _names(subject: Subject) -> list[str]:
    return [subject.setting(cell) for cell in subject.cells]


def _best(subject: Subject) -> list[Cell]:
    if subject.best is None or losses_apart(subject.compared, subject.metric):
        return []
    return [subject.best, *(subject.alike if subject.says else [])]


def _ticked(subject: Subject) -> list[int]:
    cells = list(subject.cells)
    if len(cells) <= MOST_TICKED:
        return [*range(len(cells))]
    return sorted(cells.index(cell) for cell in chosen_cells(subject))


def _key(subject: Subject, key: str, *, alone: bool) -> Across | None:
    """The places of the cells on the axis of a key: by value, or one for each of few values."""
    values = [value_of(cell, key) for cell in subject.cells]
    label = plain(key)
    if all(map(is_number, values)):
        scale = Strengths(sorted({float(value) for value in values}))
        places = [scale.place(float(value)) for value in values]
        return Across(_scale_of(label, scale), places, joined=alone)
    texts = [*dict.fromkeys(format_value(value) for value in values)]
    if len(texts) > MOST_CHOICES or len(texts) < 2:
        return None
    at = {text: float(place) for place, text in enumerate(texts)}
    named = [(at[format_value(value)], setting_text(value)) for value in values]
    scale_of_names = Scale(label, -0.5, len(texts) - 0.5, ticks=[*dict.fromkeys(named)])
    return Across(scale_of_names, [at[format_value(value)] for value in values])


MOST_CHOICES = 40
"""Values of a key that is no number."""


def _scale_of(label: str, scale: Strengths) -> Scale:
    """The values as ticks, of which the page shows those that have room; of many, round numbers."""
    edges = scale.edges()
    few = len(scale.values) <= MOST_VALUES
    ticks = [each for each in scale.values if few or (each == 0 and scale.zero is not None)]
    named = [(scale.place(each), tick_text(float(f"{each:.4g}"))) for each in ticks]
    floor = None if few else next(each for each in scale.values if each or scale.zero is None)
    return Scale(label, edges[0], edges[-1], scale.is_log, named, floor)


def _by_quantity(names: Sequence[str]) -> dict[str, list[Metric]]:
    """``accuracy`` → its metrics on each split, in the order of the splits."""
    found: dict[str, list[Metric]] = {}
    for name in names:
        metric = METRICS[name]
        average = f" ({metric.average})" if metric.average else ""
        found.setdefault(metric.quantity.replace("_", " ") + average, []).append(metric)
    order = {split: at for at, split in enumerate(SPLITS)}
    return {
        label: sorted(metrics, key=lambda each: order[each.split])
        for label, metrics in found.items()
    }


def _quantities(subject: Subject) -> list[Up]:
    """Every metric of the table, that of the choice first."""
    cells = subject.cells
    names = shown_metrics(cells, subject.metric.name)
    measured = _by_quantity([name for name in names if name in METRICS])
    first = next((label for label, each in measured.items() if subject.metric in each), None)
    labels = sorted(measured, key=lambda label: label != first)
    up = [_on_splits(label, measured[label], cells) for label in labels]
    for name in names:
        if name not in METRICS:
            group = _group(TITLES.get(name, name), "series-0", "", name, cells)
            label = "gap: test − train" if name == "gap/loss" else TITLES.get(name, name)
            up.append(_up(label, [group], log=scale_of(name) == "log"))
    return [each for each in up if any(group.lines for group in each.groups)]


def _on_splits(label: str, metrics: Sequence[Metric], cells: Sequence[Cell]) -> Up:
    groups = [
        _group(_split_name(each), each.split, _DASHES[LINES[each.split]], each.name, cells)
        for each in metrics
    ]
    curves = {
        each.split: [
            Point(0.0, found, [*cell.values(each.name).values()])
            for cell in cells
            if (found := cell.interval(each.name)) is not None
        ]
        for each in metrics
    }
    curves = {split: points for split, points in curves.items() if points}
    if not curves:
        return Up(_open(label, 0, 1), [])
    low, high, log = heights(curves, metrics[0])
    return Up(_open(label, low, high, log=log), groups)


def _split_name(metric: Metric) -> str:
    return "validation" if metric.split == "val" else metric.split


def _group(name: str, colour: str, dash: Dash, metric: str, cells: Sequence[Cell]) -> Group:
    """A metric of all cells: the means with their intervals, and the single seeds."""
    kept = [
        (mark, found)
        for mark, cell in enumerate(cells)
        if (found := cell.interval(metric)) is not None
    ]
    dots = [
        (mark, value, _replicate_name(replicate))
        for mark, cell in enumerate(cells)
        if len(cell.values(metric)) > 1
        for replicate, value in cell.values(metric).items()
    ]
    return Group(name, colour, dash, [_line(kept)] if kept else [], dots)


def _line(kept: Sequence[tuple[int, MeanInterval]]) -> Line:
    marks = [mark for mark, _ in kept]
    return Line(
        xs=marks,
        ys=[each.mean for _, each in kept],
        marks=marks,
        lows=[each.mean if each.low is None else each.low for _, each in kept],
        highs=[each.mean if each.high is None else each.high for _, each in kept],
    )


def _replicate_name(replicate: tuple[int, int]) -> str:
    seed, data = replicate
    return f"seed {seed}" + (f", data seed {data}" if data else "")


def _up(label: str, groups: Sequence[Group], *, log: bool) -> Up:
    lines = [line for group in groups for line in group.lines]
    shown = [n for line in lines for n in (*line.ys, *line.lows, *line.highs) if math.isfinite(n)]
    if not shown:
        return Up(_open(label, 0, 1), groups)
    return Up(_open(label, min(shown), max(shown), log=log and wants_log(shown)), groups)


def _goodness(subject: Subject) -> list[float | None]:
    """From 0, the worst mean, to 1, the best; on a logarithmic scale where one is used."""
    metric = subject.metric
    estimates = [cell.interval(metric.name) for cell in subject.cells]
    means = [each.mean for each in estimates if each is not None]
    if not means:
        return [None] * len(estimates)
    log = metric.scale == "log" and wants_log(means)
    heights = [None if e is None else math.log(e.mean) if log else e.mean for e in estimates]
    known = [height for height in heights if height is not None]
    low, span = min(known), max(known) - min(known)
    best_is_low = metric.sign > 0
    return [
        None if h is None else 1.0 if not span else abs((h - low) / span - best_is_low)
        for h in heights
    ]


def _along(subject: Subject) -> list[float | None]:
    """Where each cell stands on a single axis of numbers; empty where there is none."""
    if len(subject.keys) != 1 or not subject.numeric or len(subject.cells) < 3:
        return []
    (key,) = subject.keys
    values = [float(cell.params[key]) for cell in subject.cells]
    scale = Strengths(sorted(set(values)))
    return [scale.share(value) for value in values]


def _rows(run: Run, on_damage: OnDamage) -> Sequence[Mapping[str, Any]]:
    if run.summary is None or not RunDir(run.path).config.is_file():
        return []
    try:
        return load_stored_run(run.path).rows
    except CorruptInputError as damage:
        on_damage(damage)
        return []


def _over_epochs(
    metrics: Sequence[Metric],
    read: Sequence[tuple[int, Run, Sequence[Mapping[str, Any]]]],
    subject: Subject,
    most: int,
) -> Up:
    """One quantity over the epochs of all runs, a group for each split."""
    groups: list[Group] = []
    kept: list[tuple[str, float]] = []
    for metric in metrics:
        lines = []
        for mark, run, rows in read:
            points = [
                (float(row["epoch"]), float(row[metric.name]))
                for row in rows
                if is_number(row.get(metric.name)) and math.isfinite(row[metric.name])
            ]
            points = _thinned(points, most)
            if points:
                xs, ys = zip(*points, strict=True)
                name = _replicate_name(replicate_of(run.config))
                lines.append(Line(xs, ys, mark, name))
                if run.status not in ("diverged", "failed"):
                    kept += [(metric.split, y) for y in ys]
        if lines:
            dash = _DASHES[LINES[metric.split]]
            groups.append(Group(_split_name(metric), metric.split, dash, lines))
    label = next(iter(_by_quantity([each.name for each in metrics])))
    if not kept:
        kept = [(each.colour, y) for each in groups for line in each.lines for y in line.ys]
    alone = len(subject.cells) == 1
    return Up(_heights(label, kept, metrics[0], MOST_BELOW if alone else FACTOR), groups)


def _heights(label: str, kept: Sequence[tuple[str, float]], metric: Metric, most: float) -> Scale:
    """As in the picture of curves: a train loss may lie below the others by so much, no more."""
    values = [y for _, y in kept]
    if not values:
        return _open(label, 0, 1)
    if metric.scale != "log" or not wants_log(values):
        return _open(label, min(values), max(values))
    measured = [y for split, y in kept if split != "train"] or values
    floor = min(measured) / max(most, math.sqrt(max(measured) / min(measured)))
    return _open(label, max(min(values), floor), max(values), log=True)


def _thinned(points: Sequence[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """At most so many, with both ends."""
    if len(points) <= most:
        return [*points]
    step = (len(points) - 1) / (most - 1)
    return [points[round(step * at)] for at in range(most)]


def _nested(coefficients: Any) -> list[list[float]]:
    """(outputs, features), also of one output."""
    return coefficients if coefficients and isinstance(coefficients[0], list) else [coefficients]
