"""Stored runs: found on disk, and read as far as they are asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from regrun.errors import ConfigError, CorruptInputError, UsageError
from regrun.results import DataCard, Listing, Result, RunSummary
from regrun.store.atomic import read_bytes
from regrun.store.checksums import check_document, check_yaml, missing_checksum, text_of
from regrun.store.lock import holder
from regrun.store.metrics import Row, metrics_frame, parse_metrics
from regrun.store.place import Place
from regrun.store.run_dir import CONFIG, RunDir

if TYPE_CHECKING:
    import numpy as np
    from pandas import DataFrame
    from torch import Tensor

    from regrun.config.yaml_nodes import Document
    from regrun.histograms import Histograms

R = TypeVar("R", bound=Result)

_DEPTH = 4
"""Levels from the runs directory down to a run of a sweep of a reproduction."""


@dataclass(frozen=True)
class TestExamples:
    """What the final weights of a run give on each test example, in the order of the test set."""

    loss: np.ndarray
    """(N,) float32 or float64, on the original scale; its mean is `test/loss`."""
    correct: np.ndarray | None
    """(N,) bool, its mean is `test/accuracy`; None for regression."""
    test_set: str
    """Equal for runs that were measured on the same examples: `DataCard.test_set`."""


@dataclass(frozen=True)
class StoredRun:
    """A run on disk. Its config and metrics are read when they are asked for."""

    files: RunDir
    summary: RunSummary | None
    """None while the run is unfinished."""

    @property
    def path(self) -> Path:
        """The run directory."""
        return self.files.path

    @property
    def status(self) -> str:
        """The summary's status; without a summary ``running`` or ``interrupted``."""
        return self.result.status

    @property
    def result(self) -> RunSummary:
        """The summary; of an unfinished run its directory and status."""
        if self.summary is not None:
            return self.summary
        alive = holder(self.files.place) or holder(self.path.parent)
        return RunSummary(run_dir=str(self.path), status="running" if alive else "interrupted")

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved config as plain data. Raises `CorruptInputError`, `StorageError`."""
        from regrun.config.paths import with_absolute_paths

        data: dict[str, Any] = self.document.data
        return with_absolute_paths(data, self.path)

    @property
    def document(self) -> Document:
        """The stored config, to be loaded. Raises `CorruptInputError`, `StorageError`."""
        place = self.files.config
        sealed = self.summary is None or bool(self.summary.files)
        return parse_stored(place, self.read(place), sealed=sealed)

    @cached_property
    def rows(self) -> list[Row]:
        """A row per evaluation. Raises `CorruptInputError`, `StorageError`."""
        place = self.files.metrics
        lists = self.summary is None or bool(self.summary.files)
        if lists and not self.has(place):  # as where a run diverged before its first evaluation
            return []
        return parse_metrics(place, self.read(place))

    @cached_property
    def histograms(self) -> list[Histograms]:
        """Those of the parameters, in order; none where `training.histograms_every` was 0.

        Raises `CorruptInputError`, `StorageError`.
        """
        from regrun.store.histograms import parse_file

        place = self.files.histograms
        return parse_file(place, self.read(place)) if self.has(place) else []

    def has(self, place: Place) -> bool:
        """Whether the run left this file, or should have it."""
        listed = self.summary is not None and place.name in self.summary.files
        return listed or place.exists()

    def read(self, place: Place) -> bytes:
        """A file of the run, which is as the run left it.

        Raises `CorruptInputError` when it is missing or has changed, `StorageError`.
        """
        return read_listed(place, self.summary.files if self.summary else {})

    @property
    def metrics(self) -> DataFrame:
        """`rows` as a DataFrame: a line per evaluation, a column per metric."""
        return metrics_frame(self.rows)

    @property
    def test_examples(self) -> TestExamples | None:
        """What the final weights give on each test example; None where the run stored none.

        Raises `CorruptInputError`, `StorageError`.
        """
        place = self.files.test_examples
        if not self.has(place):
            return None
        from regrun.store.weights import parse_weights  # which imports torch

        tensors, _ = parse_weights(place, self.read(place))
        card = read_card(self)
        problem = _problem_with(tensors, card)
        if problem is not None:
            raise CorruptInputError(f"{place}: damaged: {problem}")
        correct = tensors["correct"].numpy().astype(bool) if "correct" in tensors else None
        return TestExamples(tensors["loss"].numpy(), correct, card.test_set)


def load_stored_run(directory: Path | Place | RunDir) -> StoredRun:
    """The run in ``directory``; only its summary is read.

    Raises `UsageError` when there is no run, `CorruptInputError`, `StorageError`.
    """
    files = directory if isinstance(directory, RunDir) else RunDir(directory)
    summary = load_result(files.summary, RunSummary)
    if summary is None and not files.config.is_file():
        raise UsageError(f"{files.path} is not a run directory: it has no {CONFIG}")
    return StoredRun(files, summary)


def load_test_examples(directory: Path) -> TestExamples | None:
    """`StoredRun.test_examples` of the run in ``directory``."""
    files = RunDir(directory)
    return StoredRun(files, load_result(files.summary, RunSummary)).test_examples


def read_card(run: StoredRun) -> DataCard:
    """What a run's data were taken for. Raises `CorruptInputError`, `StorageError`."""
    place = run.files.data
    data = run.read(place)
    check_document(place, data)
    return DataCard.from_json(data, place)


def _problem_with(tensors: Mapping[str, Tensor], card: DataCard) -> str | None:
    """What is wrong with a run's results on its test examples; None when nothing is."""
    of_classes = card.task == "classification"
    dtypes = {"loss": ("float32", "float64")} | ({"correct": ("uint8",)} if of_classes else {})
    if tensors.keys() != dtypes.keys():
        return f"holds {', '.join(sorted(tensors)) or 'nothing'}, not {' and '.join(dtypes)}"
    count = card.sizes.get("test", 0)
    for name, allowed in dtypes.items():
        found = tensors[name]
        dtype = str(found.dtype).removeprefix("torch.")
        if dtype not in allowed:
            return f"{name} is of type {dtype}, not {' or '.join(allowed)}"
        if found.shape != (count,):
            return f"{name} has shape {tuple(found.shape)}, and the test set {count:,} examples"
    if not tensors["loss"].isfinite().all():
        return "loss is not finite everywhere"
    if of_classes and (tensors["correct"] > 1).any():
        return "correct is not 0 or 1 everywhere"
    return None


def find_runs(paths: Iterable[Path]) -> list[RunDir]:
    """Every run directory at or below the paths, in order of their names, each once.

    A path may be a run, a sweep, all runs of a name, or the whole runs directory. Links below it
    are not followed. Raises `UsageError` for a path that is no directory, `StorageError`.
    """
    found: dict[Path, RunDir] = {}
    for path in paths:
        if not path.is_dir():
            raise UsageError(f"{path} is not a directory")
        found |= {run.path: run for run in _walk(Place(path), _DEPTH)}
    return list(found.values())


def read_listed(place: Place, files: Mapping[str, str]) -> bytes:
    """A file that a summary lists, with the checksum that it had, or that it does not list.

    Raises `CorruptInputError` when it is missing or another one, `StorageError`.
    """
    try:
        data = read_bytes(place)
    except FileNotFoundError:
        raise CorruptInputError(f"{place}: missing") from None
    expected = files.get(place.name)
    if expected is not None and expected != text_of(data):
        raise CorruptInputError(f"{place}: damaged: it is not the file that the summary lists")
    return data


def read_document(place: Place, *, sealed: bool = False) -> Document:
    """A stored config, to be loaded. sealed: it has a checksum, as all have since 0.3.

    Raises `CorruptInputError`, `StorageError`.
    """
    return parse_stored(place, read_listed(place, {}), sealed=sealed)


def parse_stored(place: Place, data: bytes, *, sealed: bool = False) -> Document:
    """A stored config from its bytes. Raises `CorruptInputError`."""
    from regrun.config.yaml_nodes import parse_config

    check_yaml(place, data, required=sealed)
    try:
        return parse_config(data, str(place))
    except ConfigError as error:
        raise CorruptInputError(f"{place}: not a stored config any more:\n{error}") from error


def _walk(place: Place, depth: int) -> Iterator[RunDir]:
    if (place / CONFIG).is_file():
        yield RunDir(place)
    elif depth:
        for name in place.folders():
            yield from _walk(place / name, depth - 1)


def load_result(place: Place, kind: type[R]) -> R | None:
    """A stored result such as a summary; None where there is no file, and the run is unfinished.

    Raises `CorruptInputError`, `StorageError`.
    """
    try:
        data = read_bytes(place)
    except FileNotFoundError:
        return None
    sealed = check_document(place, data)
    found = kind.from_json(data, place)
    if isinstance(found, Listing) and found.files and not sealed:
        raise missing_checksum(place)
    return found
