"""What `regrun view` shows at first: the cells of sweeps, and no more lines than can be looked at.

TensorBoard unticks all runs when there are more than 40 of them (tab Scalars), and then draws
nothing. A run is three or four runs to TensorBoard: itself and a part of the data each.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial, reduce
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from regrun.analysis.board import OWN, Board, Curve, Series, Shown, as_code, joined
from regrun.analysis.cells import LOST, Cell
from regrun.analysis.statistics import mean_interval
from regrun.analysis.sweeps import StoredSweep
from regrun.errors import CorruptInputError, RegrunError
from regrun.escapes import escaped_name
from regrun.histograms import Histograms
from regrun.metrics import Metric
from regrun.results import Estimate, Scale
from regrun.settings import flatten, format_value, short_keys
from regrun.store.sweep_dir import SweepDir

Settings = Callable[[], Mapping[str, Any]]

MOST_LINES = 40
"""TensorBoard's own limit, up to which its runs are ticked when it opens."""

LOW, HIGH = "{}/interval low", "{}/interval high"
"""The tags of the bounds of a mean curve, within the same part."""

_NOT_SETTINGS = ("seed", "dataset.seed")


@dataclass(frozen=True)
class MeanCurve:
    """The mean of the curves of a cell's runs and its 95% interval, at the steps that all have."""

    curves: Sequence[Curve]
    scale: Scale
    overlap: float

    @cached_property
    def steps(self) -> np.ndarray:
        return reduce(np.intersect1d, (curve.steps for curve in self.curves))

    @cached_property
    def wall_times(self) -> np.ndarray:
        first = self.curves[0]
        return first.wall_times[np.searchsorted(first.steps, self.steps)]

    @cached_property
    def _columns(self) -> np.ndarray:
        """The values of the runs at each step: (steps, runs)."""
        at_steps = [curve.values[np.searchsorted(curve.steps, self.steps)] for curve in self.curves]
        return np.stack(at_steps, axis=1)

    def _estimate(self, values: np.ndarray) -> Estimate | None:
        if not np.isfinite(values).all():
            return None
        return mean_interval(values.tolist(), self.scale, self.overlap)

    @cached_property
    def _estimates(self) -> list[Estimate | None]:
        return [self._estimate(values) for values in self._columns]

    @cached_property
    def values(self) -> np.ndarray:
        return np.array([np.nan if each is None else each.mean for each in self._estimates])

    @property
    def last(self) -> float:
        found = self._estimate(self._columns[-1])
        return np.nan if found is None else found.mean

    def bound(self, which: str) -> Series:
        """The curve of the `low` or `high` ends, at the steps where there are intervals."""
        ends = [None if each is None else getattr(each, which) for each in self._estimates]
        kept = np.array([end is not None for end in ends], bool)
        values = np.array([end for end in ends if end is not None], float)
        return Series(self.steps[kept], self.wall_times[kept], values)


@dataclass(frozen=True)
class Bound:
    """One end of the intervals of a mean curve, worked out when it is looked at."""

    mean: MeanCurve
    which: str

    @cached_property
    def _series(self) -> Series:
        return self.mean.bound(self.which)

    @property
    def steps(self) -> np.ndarray:
        return self._series.steps

    @property
    def wall_times(self) -> np.ndarray:
        return self._series.wall_times

    @property
    def values(self) -> np.ndarray:
        return self._series.values

    @property
    def last(self) -> float:
        return self._series.last


class View(NamedTuple):
    """What is listed, and what is known besides."""

    shown: Sequence[Shown]
    """The best first, at most `MOST_LINES` lines in all but for a single one with more."""
    all: Sequence[Shown]
    note: str
    """What is left out; empty where nothing is."""
    swept: Sequence[str]
    """The keys that sweeps vary, which come before others that differ."""
    metric: str | None
    """What the first sweep chooses its best cell by."""


@dataclass(frozen=True)
class _Group:
    """The cells of a sweep, the best first; or a run alone."""

    shown: Sequence[Shown]
    metric: Metric | None = None
    swept: Sequence[str] = ()

    @property
    def started(self) -> float:
        return min(each.started for each in self.shown)


Answer = Callable[[Path], str]
"""Sweep directory → what it found, in Markdown."""


def overview(board: Board, answer: Answer) -> View:
    """The cells of sweeps and other runs; the newest sweeps first where they are too many."""
    runs = board.runs()
    groups = list(_groups(board, runs, answer))
    groups.sort(key=lambda group: group.started, reverse=True)
    everything = [each for group in groups for each in group.shown]
    shown: list[Shown] = []
    lines = 0
    for each in everything:
        lines += len(list(each.lines()))
        if lines > MOST_LINES and shown:
            break
        shown.append(each)
    metric = next((group.metric for group in groups if group.metric is not None), None)
    return View(
        shown,
        everything,
        _note(groups, shown, len(everything), len(runs)),
        list(dict.fromkeys(key for group in groups for key in group.swept)),
        None if metric is None else metric.name,
    )


class Latest:
    """A view that is made anew when a run has changed."""

    def __init__(self, board: Board, make: Callable[[], View]) -> None:
        self._board, self._make = board, make
        self._lock = threading.Lock()
        self._runs: Mapping[Path, Shown] | None = None
        self._view: View

    def __call__(self) -> View:
        """The view of the runs as they are now."""
        with self._lock:
            runs = self._board.runs()
            if runs is not self._runs:
                self._view, self._runs = self._make(), runs
            return self._view


def every_run(board: Board) -> View:
    """Each single run, however many."""
    runs = dict(board.runs())
    for path, own in _by_folder(runs).items():
        sweep = _read_sweep(path) if path.is_relative_to(board.root) else None
        if sweep is not None:
            base = next(iter(own.values())).settings
            members = (run for cell in sweep.all_cells for run in cell.runs if run.path in own)
            for run in members:
                settings = cache(partial(_changed, base, run.config))
                runs[run.path] = replace(runs[run.path], settings=settings)
    return View([*runs.values()], [*runs.values()], "", [], None)


def _changed(
    base: Settings, params: Mapping[str, Any], without: Sequence[str] = ()
) -> Mapping[str, Any]:
    """The settings of a part of a sweep, from those of one of its runs."""
    settings = {**base(), **flatten(params)}
    return {key: value for key, value in settings.items() if key not in without}


def _by_folder(runs: Mapping[Path, Shown]) -> dict[Path, dict[Path, Shown]]:
    folders: dict[Path, dict[Path, Shown]] = {}
    for path, shown in runs.items():
        folders.setdefault(path.parent, {})[path] = shown
    return folders


def _note(groups: Sequence[_Group], shown: Sequence[Shown], count: int, runs: int) -> str:
    """What is not shown of everything."""
    if len(shown) == runs == count:
        return ""
    swept = any(group.metric is not None for group in groups)
    what = "settings" if swept else "runs"
    if len(shown) == count:
        return f"{count:,} {what} are shown, as means of {runs:,} runs" if swept else ""
    if len(groups) == 1 and groups[0].metric is not None:
        return f"the {len(shown):,} best of {count:,} {what} by {groups[0].metric.name} are shown"
    return f"{len(shown):,} of {count:,} {what} are shown, the newest first"


def _groups(board: Board, runs: Mapping[Path, Shown], answer: Answer) -> Iterator[_Group]:
    folders = _by_folder(runs)
    below = [path for path in folders if path.is_relative_to(board.root)]
    found = {path: sweep for path in below for sweep in [_read_sweep(path)] if sweep is not None}
    alone = len(found) == len(folders) == 1
    for path, own in folders.items():
        if path not in found:
            yield from (_Group([shown]) for shown in own.values())
            continue
        sweep = found[path]
        cells, members = _shown_cells(sweep, own, "" if alone else board.name_of(path))
        if cells:
            files = SweepDir(path)
            cards = {"answer": partial(answer, path), "config": partial(as_code, files.config)}
            first, *others = cells
            first = replace(first, cards=cards, folder=files.place)
            yield _Group([first, *others], sweep.metric, sweep.keys)
        yield from (_Group([shown]) for path, shown in own.items() if path not in members)


@dataclass(frozen=True)
class _Sweep:
    cells: Sequence[Cell]
    """The best first."""
    confirmed: Sequence[Cell]
    metric: Metric

    @property
    def all_cells(self) -> list[Cell]:
        return [*self.cells, *self.confirmed]

    @property
    def keys(self) -> list[str]:
        return list(dict.fromkeys(key for cell in self.cells for key in cell.params))


def _read_sweep(path: Path) -> _Sweep | None:
    """The cells of a sweep; None where there is none, or it is damaged."""
    files = SweepDir(path)
    if not files.config.is_file():
        return None
    try:
        sweep = StoredSweep(files, on_damage=_left_out)
        return _Sweep(ranked(sweep.cells, sweep.metric), sweep.confirmed, sweep.metric)
    except RegrunError:
        return None


def _left_out(damage: CorruptInputError) -> None:
    """The board knows of the run, which is read there, too."""


def ranked(cells: Sequence[Cell], metric: Metric) -> list[Cell]:
    """The best first; those without a result last, in the order of the plan."""

    def rank(cell: Cell) -> tuple[bool, float]:
        found = cell.interval(metric.name)
        return found is None, 0.0 if found is None else metric.sign * found.mean

    return sorted(cells, key=rank)


def _shown_cells(
    sweep: _Sweep, runs: Mapping[Path, Shown], prefix: str
) -> tuple[list[Shown], set[Path]]:
    """The cells that have runs, and the runs that belong to one."""
    short = short_keys(sweep.keys)
    shown: list[Shown] = []
    members: set[Path] = set()
    taken: Counter[str] = Counter()
    base = next(iter(runs.values())).settings
    for number, cell in enumerate(sweep.all_cells):
        own = [runs[run.path] for run in cell.runs if run.path in runs]
        members.update(run.path for run in cell.runs)
        if own:
            name = joined(prefix, _name(cell, short)) + (
                " confirmed" if number >= len(sweep.cells) else ""
            )
            taken[name] += 1
            if taken[name] > 1:  # values are shown with six digits
                name = f"{name} ({taken[name]})"
            shown.append(_mean_of(name, cell, own, base))
    return shown, members


def _name(cell: Cell, short: Mapping[str, str]) -> str:
    """``weight_decay=3,dropout=0.5``; a slash would make parts of it."""
    settings = (f"{short[key]}={format_value(value)}" for key, value in cell.params.items())
    return escaped_name(",".join(settings).replace("/", "\\")) or "all seeds"


def _mean_of(name: str, cell: Cell, runs: Sequence[Shown], base: Settings) -> Shown:
    """The means of a cell's curves, without what runs measured before they were lost."""
    counted = _counted(runs)
    parts: dict[str, dict[str, Curve]] = {}
    for part in counted[0].parts:
        for tag in counted[0].parts[part]:
            curves = [run.parts.get(part, {}).get(tag) for run in counted]
            have = [curve for curve in curves if curve is not None]
            metric = joined(part, tag)
            mean = MeanCurve(have, cell.scale(metric), cell.overlap(metric))
            if len(have) < len(counted) or not len(mean.steps):
                continue
            own = parts.setdefault(part, {})
            own[tag] = mean
            if len(have) > 1 and part != OWN:
                own[LOW.format(tag)] = Bound(mean, "low")
                own[HIGH.format(tag)] = Bound(mean, "high")
    statuses = {run.status for run in runs}
    status = next(
        (each for each in ("running", "interrupted", "completed") if each in statuses),
        runs[0].status,
    )
    settings = cache(partial(_changed, base, cell.params, _NOT_SETTINGS))
    return Shown(
        name,
        min(run.started for run in runs),
        parts,
        settings,
        status,
        counted=cache(partial(_all_counted, counted)),
        time_of=counted[0].time_of,
    )


def _all_counted(runs: Sequence[Shown]) -> Sequence[Sequence[Histograms]]:
    """The histograms of all runs of a cell; none where one of them has none."""
    found = [run.counted() for run in runs]
    return [own for each in found for own in each] if all(found) else []


def _counted(runs: Sequence[Shown]) -> Sequence[Shown]:
    """The runs that a mean is taken of: those that have ended well, else those that have begun."""
    begun = [run for run in runs if run.parts and run.status not in LOST]
    ended = [run for run in begun if run.status not in ("running", "interrupted")]
    return ended or begun or runs
