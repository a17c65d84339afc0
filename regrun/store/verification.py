"""Whether stored runs and sweeps are as they were left, and event files rebuilt from metrics."""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from regrun.errors import CorruptInputError
from regrun.results import Damage, PathResult, ReproductionResult, RunSummary, SweepSummary
from regrun.store.atomic import read_bytes
from regrun.store.checksums import check_document
from regrun.store.curve_events import HEAD_BYTES, TAIL_BYTES, masked_checksum
from regrun.store.metrics import Row
from regrun.store.place import Place
from regrun.store.reading import StoredRun, load_result, read_document
from regrun.store.run_dir import EVENT_FOLDERS, RunDir
from regrun.store.study import PATH_CONFIG, STUDY, PathStudy, ReproductionStudy, read_study
from regrun.store.sweep_dir import SweepDir
from regrun.store.tensorboard import OWN, event_files, flat_hparams, folder_of, rebuild

if TYPE_CHECKING:
    from regrun.histograms import Histograms

Repair = Literal["summary", "event files"]
"""What can be rebuilt from the other files."""

_OPENING = 2
"""Records at the start of each event file that hold no evaluation."""


def check_run(run: RunDir) -> list[Damage]:
    """All that is wrong with the files of a run. Raises `StorageError`.

    A run that is being trained just now is not looked at.
    """
    found = _Findings()
    with found.noting(run.summary, "summary"):
        summary = load_result(run.summary, RunSummary)
        stored = StoredRun(run, summary)
        if stored.status == "running":
            return []
        _check_files(stored, found)
        _check_checkpoints(run, found)
    _check_entries(run.place, found)
    return found.damage


def check_sweep(sweep: SweepDir) -> list[Damage]:
    """All that is wrong with a sweep's own files, and its plan's runs that are missing.

    Raises `StorageError`.
    """
    found = _Findings()
    with found.noting(sweep.summary, "summary"):
        done = load_result(sweep.summary, SweepSummary)
        sealed = done is None or bool(done.files)  # what has not ended needs checksums to go on
        with found.noting(sweep.config):
            read_document(sweep.config, sealed=sealed)
        with found.noting(sweep.plan):
            rounds = sweep.read_rounds(sealed=sealed)
            for run in (run for each in rounds for run in each.runs):
                place = sweep.run(run).summary
                if done is not None and not place.exists():
                    found.add(place, "missing, though the sweep has ended", "summary")
    for name in sweep.place.entries():
        _check_kind(sweep.place / name, found)
    return found.damage


def check_study(directory: Place) -> list[Damage]:
    """All that is wrong with the files of a path, an ablation or a reproduction, but for its runs.

    Raises `StorageError`.
    """
    found = _Findings()
    with found.noting(directory / STUDY):
        study = read_study(directory)
        if isinstance(study, PathStudy):
            with found.noting(directory / PATH_CONFIG):
                read_document(directory / PATH_CONFIG, sealed=True)
        if isinstance(study, PathStudy | ReproductionStudy):
            kind = PathResult if isinstance(study, PathStudy) else ReproductionResult
            summary = RunDir(directory).summary
            with found.noting(summary):
                load_result(summary, kind)
    return found.damage


def rebuild_events(run: RunDir) -> None:
    """Write the event files of an ended run again. Raises `CorruptInputError`, `StorageError`."""
    stored = StoredRun(run, load_result(run.summary, RunSummary))
    files = rebuild(run, flat_hparams(stored.config))
    files.end("success" if stored.status == "completed" else "failure")
    files.flush()


class _Findings:
    """What has been found so far."""

    def __init__(self) -> None:
        self.damage: list[Damage] = []

    def add(self, place: Place, problem: str, repair: Repair | None = None) -> None:
        text = problem.removeprefix(f"{place}: ")
        self.damage.append(Damage(path=str(place), problem=text, repair=repair))

    @contextmanager
    def noting(self, place: Place, repair: Repair | None = None) -> Iterator[None]:
        """Note the damage that ends the block."""
        try:
            yield
        except CorruptInputError as error:
            self.add(place, str(error), repair)


def _check_files(stored: StoredRun, found: _Findings) -> None:
    run, summary = stored.files, stored.summary
    for name in summary.files if summary is not None else ():
        with found.noting(run.place / name):
            stored.read(run.place / name)
    if any(each.path == str(run.config) for each in found.damage):
        return  # what the other files are compared with
    with found.noting(run.config):
        _ = stored.config
    for place in (run.data, run.preprocessing):
        if place.exists():
            with found.noting(place):
                check_document(place, read_bytes(place))
    rows: list[Row] | None = None
    histograms: list[Histograms] | None = None
    if not any(each.path == str(run.metrics) for each in found.damage):
        with found.noting(run.metrics):
            rows = stored.rows
    if not any(each.path == str(run.histograms) for each in found.damage):
        with found.noting(run.histograms):
            histograms = stored.histograms
    if summary is not None and rows is not None and histograms is not None:
        problem = _problem_with_events(run, rows, histograms)
        if problem is not None:
            found.add(run.place, problem, "event files")


def _check_checkpoints(run: RunDir, found: _Findings) -> None:
    if run.checkpoints.entries():
        from regrun.store.checkpoint import CheckpointStore  # which imports torch

        for place in CheckpointStore(run.checkpoints).damaged():
            found.add(place, "damaged: its checksum does not match")


def _check_entries(place: Place, found: _Findings) -> None:
    """Note links and special files, which are not followed or opened."""
    for name in place.entries():
        entry = place / name
        _check_kind(entry, found)
        if entry.is_folder():
            for below in entry.entries():
                _check_kind(entry / below, found)


def _check_kind(place: Place, found: _Findings) -> None:
    status = place.status()
    if status is None:
        return
    if stat.S_ISLNK(status.st_mode):
        found.add(place, "a symbolic link, which is not followed")
    elif not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        found.add(place, "not a regular file")


def _problem_with_events(run: RunDir, rows: list[Row], histograms: list[Histograms]) -> str | None:
    """What is wrong with the event files of an ended run; None when nothing is.

    Each sub-run has a record for each evaluation that has one of its metrics, and the run itself
    one for the histograms of each time.
    """
    expected = dict.fromkeys((OWN, *EVENT_FOLDERS), 0)
    for row in rows:
        for folder in {folder_of(tag) for tag in row if tag not in ("epoch", "step")}:
            expected[folder] += 1
    expected[OWN] += len(histograms)
    if rows or histograms:
        expected[OWN] += 2  # the start and the end of the session, for the HParams tab
    found = dict.fromkeys(expected, 0)
    for place in event_files(run.place):
        data = read_bytes(place)
        count = _count_records(data)
        if count is None:
            return f"{place.name}: damaged: an event record is not whole"
        if data:
            found[OWN if place.parent == run.place else place.parent.name] += count - _OPENING
    for folder, count in expected.items():
        if found[folder] != count and (rows or histograms):
            return (
                f"{found[folder]:,} event records in {folder or 'it'}, and {count:,} are expected"
            )
    return None


def _count_records(data: bytes) -> int | None:
    """The number of records of an event file; None if one is not whole."""
    at = count = 0
    while at < len(data):
        head = data[at : at + 8]
        if len(head) < 8 or data[at + 8 : at + HEAD_BYTES] != masked_checksum(head):
            return None
        end = at + HEAD_BYTES + struct.unpack("<Q", head)[0]
        body = data[at + HEAD_BYTES : end]
        if data[end : end + TAIL_BYTES] != masked_checksum(body):
            return None
        at, count = end + TAIL_BYTES, count + 1
    return count
