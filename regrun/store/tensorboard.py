"""TensorBoard event files, written from evaluations.

``train/loss`` becomes the tag ``loss`` of the sub-run ``train/``, likewise for ``test/`` and
``val/``, because TensorBoard draws equal tags of several runs in one chart. All other metrics and
the hyperparameters belong to the run directory itself.

The protobuf messages are tensorboardX's. Its writers are not used: they start threads that block
forever on a full disk, keep files open, and overwrite a file opened within the same second. Points
are collected here and appended with one write per file and flush.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from regrun.escapes import escaped
from regrun.histograms import HistogramTable
from regrun.settings import flatten
from regrun.store.atomic import append, create, make_directory, storage_errors
from regrun.store.curve_events import curve_records, record
from regrun.store.curves import Curves, curves_of
from regrun.store.histogram_events import histogram_records
from regrun.store.histograms import read_histograms
from regrun.store.metrics import read_metrics
from regrun.store.place import Place, as_folder
from regrun.store.run_dir import EVENT_FOLDERS, RunDir

Hparams = Mapping[str, object]
"""``{"optimizer.lr": 0.1, …}``. None is left out; a value that is not a scalar is shown as JSON."""
Outcome = Literal["success", "failure"]

OWN = ""
"""The run directory itself, as a sub-run's name."""

_SCALARS = (bool, int, float, str, type(None))
_PREFIX = "events.out.tfevents."


class EventFiles:
    """The event files of one run and its sub-runs.

    No Experiment summary is written: TensorBoard would use that of an arbitrary run and hide every
    run with other columns. Without one, it collects the columns of the HParams tab from all runs.
    """

    def __init__(
        self, directory: Path | Place, hparams: Hparams, started: float | None = None
    ) -> None:
        """Nothing is written before the first flush. ``started``: seconds since 1970."""
        opening = _opening(int(time.time()))
        self._files = {
            name: _EventFile(folder, opening, is_own=name == OWN)
            for name, folder in _folders(directory).items()
        }
        self.add(OWN, record(_session_start(hparams, started or time.time())))

    def add(self, folder: str, records: bytes) -> None:
        """Add records to the file of a sub-run, or of the run directory (`OWN`)."""
        self._files[folder].add(records)

    def end(self, outcome: Outcome) -> None:
        """Add the run's outcome, for the HParams tab."""
        self.add(OWN, record(_session_end(outcome, time.time())))

    def flush(self) -> None:
        """Append all added records. Raises `StorageError`."""
        for file in self._files.values():
            file.flush()


def add_curves(runs: Sequence[EventFiles], curves: Curves) -> None:
    """Add the points of several runs, in the order of the curves."""
    steps, times = np.tile(curves.steps, len(runs)), np.tile(curves.wall_times, len(runs))
    for folder, tags, columns in _files_of_tags(curves.names):
        values = curves.values[:, :, columns].reshape(-1, len(columns))
        records, size = curve_records(tags, steps, times, values)
        size *= len(curves.steps)
        for number, run in enumerate(runs):
            run.add(folder, records[number * size : (number + 1) * size])


def rebuild(run: RunDir, hparams: Hparams) -> EventFiles:
    """Rewrite the event files from the files of lines; the old ones are emptied, never read.

    The time of each evaluation is not stored, so the points are spread evenly between the times at
    which the config and the last row were written, and histograms lie between them by their steps.
    Returns the new files, to which a resumed run
    appends. Raises `CorruptInputError`, `StorageError`.
    """
    rows = read_metrics(run.metrics)
    old = event_files(run.place)
    start, *times = _spread_times(run, len(rows))
    files = EventFiles(run.place, hparams, started=start)
    for curves in curves_of(rows, times):
        add_curves([files], curves)
    counted = read_histograms(run.histograms)
    if counted:
        at = np.array([each.step for each in counted])
        tables = {
            name: HistogramTable.of([each.parameters[name] for each in counted])
            for name in counted[0].parameters
        }
        spread = np.interp(at, [0, *(row["step"] for row in rows)], [start, *times])
        for each in histogram_records(tables, at, spread):
            files.add(OWN, each)
    files.flush()
    for place in old:
        _retire(place)
    return files


def event_files(directory: Path | Place) -> list[Place]:
    """The event files of a run and its sub-runs, by name. Raises `StorageError`."""
    return [
        folder / name
        for folder in _folders(directory).values()
        for name in folder.entries()
        if name.startswith(_PREFIX)
    ]


def folder_of(metric: str) -> str:
    """The sub-run whose file a metric goes to.

    >>> folder_of("test/loss"), folder_of("weights/l2")
    ('test', '')
    """
    folder = metric.partition("/")[0]
    return folder if folder in EVENT_FOLDERS else OWN


def _folders(directory: Path | Place) -> dict[str, Place]:
    """Sub-run → its folder."""
    place = as_folder(directory)
    return {OWN: place, **{name: place / name for name in EVENT_FOLDERS}}


def flat_hparams(config: Mapping[str, Any]) -> dict[str, object]:
    """A config's settings by dotted path, without ``sweep`` and ``name``."""
    return flatten({key: value for key, value in config.items() if key not in ("name", "sweep")})


class _EventFile:
    """One event file, created by the first flush that has something to write."""

    def __init__(self, folder: Place, opening: bytes, *, is_own: bool) -> None:
        """is_own: whether the folder is the run directory, which is there."""
        self._folder, self._opening, self._is_own = folder, opening, is_own
        self._place: Place | None = None
        self._length = 0
        self._records: list[bytes] = []

    def add(self, records: bytes) -> None:
        self._records.append(records)

    def flush(self) -> None:
        if not self._records:
            return
        data = b"".join(self._records)
        if self._place is None:
            if not self._is_own:
                make_directory(self._folder)
            place = self._folder / _new_name()
            data = self._opening + data
            create(place, data)
            self._place = place
        else:
            append(self._place, data, self._length)
        self._length += len(data)
        self._records.clear()


@lru_cache(maxsize=256)
def _files_of_tags(names: tuple[str, ...]) -> list[tuple[str, tuple[str, ...], list[int]]]:
    """(folder, tags, their columns) of every event file that these metrics go to."""
    files: dict[str, tuple[list[str], list[int]]] = {}
    for column, name in enumerate(names):
        folder = folder_of(name)
        tag = name.removeprefix(f"{folder}/") if folder else name
        tags, columns = files.setdefault(folder, ([], []))
        tags.append(tag)
        columns.append(column)
    return [(folder, tuple(tags), columns) for folder, (tags, columns) in files.items()]


@lru_cache(maxsize=1)
def _opening(seconds: int) -> bytes:
    """The first records of every file: the format version, and a session start at step 0.

    The session start makes TensorBoard drop the points of earlier files of the run. seconds: since
    1970, an integer, so that the runs of a stack share the cached records.
    """
    from tensorboardX.proto import event_pb2

    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    version = event_pb2.Event(wall_time=seconds, file_version="brain.Event:2")
    return record(version) + record(event_pb2.Event(wall_time=seconds, step=0, session_log=start))


def _session_start(hparams: Hparams, wall_time: float) -> Any:
    from tensorboardX.proto.plugin_hparams_pb2 import SessionStartInfo

    settings = [
        _hparam(name, value if isinstance(value, _SCALARS) else json.dumps(value, default=str))
        for name, value in hparams.items()
    ]
    info = SessionStartInfo(start_time_secs=wall_time)
    info.MergeFromString(b"".join(settings))
    return _hparams_event(wall_time, "session_start_info", info)


@lru_cache(maxsize=4096, typed=True)
def _hparam(name: str, value: object) -> bytes:
    """One setting as a message, empty for None; cached, since the runs of a sweep share most."""
    from tensorboardX.proto.plugin_hparams_pb2 import SessionStartInfo

    info = SessionStartInfo()
    if isinstance(value, bool):
        info.hparams[name].bool_value = value
    elif isinstance(value, int | float):
        info.hparams[name].number_value = value
    elif value is not None:
        info.hparams[name].string_value = escaped(str(value))
    return info.SerializeToString()  # type: ignore[no-any-return]


def _session_end(outcome: Outcome, wall_time: float) -> Any:
    from tensorboardX.proto.api_pb2 import Status
    from tensorboardX.proto.plugin_hparams_pb2 import SessionEndInfo

    info = SessionEndInfo(status=Status.Value(f"STATUS_{outcome.upper()}"), end_time_secs=wall_time)
    return _hparams_event(wall_time, "session_end_info", info)


def _hparams_event(wall_time: float, kind: str, info: Any) -> Any:
    from tensorboardX.proto import event_pb2, summary_pb2
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    content = HParamsPluginData(version=0, **{kind: info}).SerializeToString()
    plugin = summary_pb2.SummaryMetadata.PluginData(plugin_name="hparams", content=content)
    value = summary_pb2.Summary.Value(
        tag=f"_hparams_/{kind}", metadata=summary_pb2.SummaryMetadata(plugin_data=plugin)
    )
    return event_pb2.Event(wall_time=wall_time, summary=summary_pb2.Summary(value=[value]))


def _new_name() -> str:
    """A file name that sorts after all earlier ones of this machine."""
    seconds, rest = divmod(time.time_ns(), 10**9)
    unique = f"{rest:09d}.{os.urandom(4).hex()}"
    return f"{_PREFIX}{seconds}.{socket.gethostname()}.{unique}"


def _retire(place: Place) -> None:
    """Empty an old event file, or remove it when it is already empty.

    A running TensorBoard moves on from an empty file to the next one, but stops at a missing file.
    """
    with storage_errors(place, "removed"):
        descriptor = place.open(os.O_WRONLY)
        try:
            found = os.fstat(descriptor)
            if found.st_size and found.st_nlink == 1:
                os.ftruncate(descriptor, 0)
            else:
                place.unlink()
        finally:
            os.close(descriptor)


def _spread_times(run: RunDir, count: int) -> Iterator[float]:
    """The start time, then ``count`` times up to that of the last row."""

    def written(place: Place) -> float:
        found = place.status()
        return time.time() if found is None else found.st_mtime

    first, last = written(run.config), written(run.metrics)
    step = max(last - first, 0.0) / max(count, 1)
    return (first + index * step for index in range(count + 1))
