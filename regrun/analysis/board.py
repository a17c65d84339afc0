"""What `regrun view` shows of a folder of runs: their curves, settings and outcomes.

Everything is read from `metrics.jsonl`, `histograms.jsonl`, `config.yaml` and `summary.json`. The
event files in the run directories are for other programs and are not read.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from regrun.errors import RegrunError
from regrun.escapes import escaped, escaped_name
from regrun.histograms import Histograms
from regrun.settings import flatten
from regrun.store.atomic import read_bytes
from regrun.store.checksums import check_lines
from regrun.store.curves import curves_of
from regrun.store.lines import whole_lines
from regrun.store.place import Place
from regrun.store.reading import StoredRun, find_runs, load_stored_run
from regrun.store.run_dir import EVENT_FOLDERS, RunDir

SECONDS_BETWEEN_LOOKS = 2.0
"""How long what was read counts as current; TensorBoard asks for many things at a time."""

OWN = ""
"""The part of a run that belongs to no part of the data."""

GAP = "{}/gap"
"""The tag of test − train, which TensorBoard sorts behind the quantity itself."""

PICTURE = ".png"

_GAPS = ("loss", "accuracy")


class Curve(Protocol):
    """A metric over the steps of training. wall_times: seconds since 1970."""

    @property
    def steps(self) -> np.ndarray: ...

    @property
    def wall_times(self) -> np.ndarray: ...

    @property
    def values(self) -> np.ndarray: ...

    @property
    def last(self) -> float:
        """The value at the last step."""


@dataclass(frozen=True)
class Series:
    """The curve of one run."""

    steps: np.ndarray
    wall_times: np.ndarray
    values: np.ndarray

    @property
    def last(self) -> float:
        return float(self.values[-1])


@dataclass(frozen=True)
class Shown:
    """Something that has curves and settings: a run, or a cell of a sweep.

    parts: `train`, `test`, `val`, or `OWN` for what belongs to none of them → metric → its curve.
    settings: give them by dotted key, since they take longer to read than all else. status: that
    of a run, `running` and `interrupted` among them. cards: title → what gives a text in Markdown.
    folder: where its pictures lie. counted: gives the histograms of its runs when they are looked
    at. time_of: gives the wall time of a step of theirs.
    """

    name: str
    started: float
    parts: Mapping[str, Mapping[str, Curve]]
    settings: Callable[[], Mapping[str, Any]]
    status: str
    cards: Mapping[str, Callable[[], str]] = field(default_factory=dict)
    folder: Place | None = None
    counted: Callable[[], Sequence[Sequence[Histograms]]] = tuple
    time_of: Callable[[int], float] = float

    @property
    def own_name(self) -> str:
        """The name of its line that belongs to no part of the data."""
        return joined(self.name, OWN)

    def pictures(self) -> dict[str, Place]:
        """The PNG files of the folder, by their names. Raises `StorageError`."""
        names = [] if self.folder is None else self.folder.entries()
        places = {
            name.removesuffix(PICTURE): self.folder / name
            for name in names
            if self.folder is not None and name.endswith(PICTURE)
        }
        return {escaped_name(name): place for name, place in places.items() if place.is_file()}

    def lines(self) -> Iterator[tuple[str, Mapping[str, Curve]]]:
        """The name of each part and its metrics, the one that belongs to no part first."""
        for part in (OWN, *EVENT_FOLDERS):
            if part == OWN or part in self.parts:
                yield joined(self.name, part), self.parts.get(part, {})


class Board:
    """The runs at or below a directory, as they are now."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.damaged: dict[Path, str] = {}
        """Runs that are left out, and why."""
        self._lock = threading.Lock()
        self._looked = -math.inf
        self._versions: dict[Path, object] = {}
        self._shown: dict[Path, Shown] = {}

    def runs(self) -> Mapping[Path, Shown]:
        """All runs by directory; the same object until one of them has changed."""
        with self._lock:
            if time.monotonic() - self._looked > SECONDS_BETWEEN_LOOKS:
                versions, shown = {}, {}
                for files in find_runs([self.root]):
                    path = files.path
                    versions[path] = _version(files)
                    known = self._versions.get(path) == versions[path]
                    each = self._shown.get(path) if known else self._read(files)
                    if each is not None:
                        shown[path] = each
                if versions != self._versions:
                    self._versions, self._shown = versions, shown
                self._looked = time.monotonic()
            return self._shown

    def name_of(self, path: Path) -> str:
        """A directory below the root, as it is shown."""
        return "" if path == self.root else escaped_name(path.relative_to(self.root).as_posix())

    def _read(self, files: RunDir) -> Shown | None:
        """A run; None where it is damaged."""
        self.damaged.pop(files.path, None)
        try:
            return _shown(load_stored_run(files), self.name_of(files.path))
        except RegrunError as error:
            self.damaged[files.path] = str(error)
            return None


def joined(name: str, part: str) -> str:
    """The name of a part of a run as TensorBoard would find it on disk."""
    return "/".join(word for word in (name, part) if word) or "."


def _version(files: RunDir) -> object:
    """Changes when a run has been trained further."""
    places = (files.config, files.metrics, files.histograms, files.summary)
    return [_stamp(place) for place in places]


def _stamp(place: Place) -> tuple[int, int] | None:
    found = place.status()
    return None if found is None else (found.st_mtime_ns, found.st_size)


def _shown(run: StoredRun, name: str) -> Shown:
    times = _spread_times(run.files, len(run.rows))
    lines = run.files.histograms
    if run.has(lines):  # they are parsed when somebody looks at them
        check_lines(lines, whole_lines(run.read(lines)), required=True)
    parts: dict[str, dict[str, list[Series]]] = {}
    for curves in curves_of(run.rows, times[1:].tolist()):
        steps, wall_times = np.asarray(curves.steps), np.asarray(curves.wall_times)
        columns = dict(zip(curves.names, curves.values[0].T, strict=True))
        for quantity in _GAPS:
            if {f"train/{quantity}", f"test/{quantity}"} <= columns.keys():
                gap = columns[f"test/{quantity}"] - columns[f"train/{quantity}"]
                columns[GAP.format(quantity)] = gap
        for metric, values in columns.items():
            part, _, tag = metric.partition("/")
            if part not in EVENT_FOLDERS:
                part, tag = OWN, metric
            series = Series(steps, wall_times, values)
            parts.setdefault(part, {}).setdefault(escaped_name(tag), []).append(series)
    whole = {
        part: {tag: _in_a_row(pieces) for tag, pieces in tags.items()}
        for part, tags in parts.items()
    }
    return Shown(
        name,
        float(times[0]),
        whole,
        cache(partial(_settings, run)),
        run.status,
        {"config": partial(as_code, run.files.config)},
        run.files.place,
        cache(partial(_counted, run)),
        partial(_time_of, [0, *(row["step"] for row in run.rows)], times),
    )


def _counted(run: StoredRun) -> Sequence[Sequence[Histograms]]:
    """The histograms of a run; none where they are damaged, or it has none."""
    try:
        return [run.histograms] if run.histograms else []
    except RegrunError:
        return []


def _time_of(steps: Sequence[int], times: np.ndarray, step: int) -> float:
    return float(np.interp(step, steps, times))


def _settings(run: StoredRun) -> Mapping[str, Any]:
    """The settings of a run; none where its config is damaged."""
    try:
        config = run.config
    except RegrunError:
        return {}
    return flatten({key: value for key, value in config.items() if key not in ("name", "sweep")})


def as_code(place: Place) -> str:
    """A file as Markdown that shows it as it is."""
    text = escaped(read_bytes(place).decode(errors="replace"))
    return "".join(f"    {line}\n" for line in text.splitlines())


def _in_a_row(pieces: Sequence[Series]) -> Series:
    if len(pieces) == 1:
        return pieces[0]
    return Series(
        np.concatenate([each.steps for each in pieces]),
        np.concatenate([each.wall_times for each in pieces]),
        np.concatenate([each.values for each in pieces]),
    )


def _spread_times(files: RunDir, count: int) -> np.ndarray:
    """The start, then a time for each of the evaluations, which store none of their own.

    They are spread evenly between the times at which the config and the last row were written.
    """
    stamps = _stamp(files.config), _stamp(files.metrics)
    first, last = (stamp[0] / 1e9 if stamp else time.time() for stamp in stamps)
    return np.linspace(first, max(first, last), count + 1)
