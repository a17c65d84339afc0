"""Stored runs: found on disk, and read as far as they are asked."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from regrun.errors import ConfigError, CorruptInputError, UsageError
from regrun.results import DataCard, Result, RunSummary
from regrun.store.atomic import read_bytes, storage_errors
from regrun.store.lock import holder
from regrun.store.metrics import Row, metrics_frame, read_metrics
from regrun.store.run_dir import CONFIG, RunDir

if TYPE_CHECKING:
    import numpy as np
    from pandas import DataFrame
    from torch import Tensor

R = TypeVar("R", bound=Result)

_DEPTH = 3
"""Levels from the runs directory down to a run of a sweep."""


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
        alive = holder(self.path) or holder(self.path.parent)
        return RunSummary(run_dir=str(self.path), status="running" if alive else "interrupted")

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved config as plain data. Raises `CorruptInputError`, `StorageError`."""
        return read_config(self.files.config)

    @cached_property
    def rows(self) -> list[Row]:
        """A row per evaluation. Raises `CorruptInputError`, `StorageError`."""
        return read_metrics(self.files.metrics)

    @property
    def metrics(self) -> DataFrame:
        """`rows` as a DataFrame: a line per evaluation, a column per metric."""
        return metrics_frame(self.rows)

    @property
    def test_examples(self) -> TestExamples | None:
        """See `load_test_examples`."""
        return load_test_examples(self.path)


def load_stored_run(directory: Path) -> StoredRun:
    """The run in ``directory``; only its summary is read.

    Raises `UsageError` when there is no run, `CorruptInputError`, `StorageError`.
    """
    files = RunDir(directory)
    if not files.config.is_file():
        raise UsageError(f"{directory} is not a run directory: it has no {CONFIG}")
    return StoredRun(files, load_result(directory, RunSummary))


def load_test_examples(directory: Path) -> TestExamples | None:
    """What a run stored of each test example; None where it stored none.

    Raises `CorruptInputError`, `StorageError`.
    """
    files = RunDir(directory)
    path = files.test_examples
    if not os.path.lexists(path):
        return None
    from regrun.store.weights import load_weights  # which imports torch

    tensors, _ = load_weights(path)
    try:
        card = DataCard.from_json(read_bytes(files.data), files.data)
    except FileNotFoundError:
        raise CorruptInputError(f"{files.data}: missing") from None
    problem = _problem_with(tensors, card)
    if problem is not None:
        raise CorruptInputError(f"{path}: damaged: {problem}")
    correct = tensors["correct"].numpy().astype(bool) if "correct" in tensors else None
    return TestExamples(tensors["loss"].numpy(), correct, card.test_set)


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
    if of_classes and tensors["correct"].max() > 1:
        return "correct is not 0 or 1 everywhere"
    return None


def find_runs(paths: Iterable[Path]) -> list[Path]:
    """Every run directory at or below the paths, in order of their names, each once.

    A path may be a run, a sweep, all runs of a name, or the whole runs directory. Raises
    `UsageError` for a path that is no directory, `StorageError`.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if not path.is_dir():
            raise UsageError(f"{path} is not a directory")
        with storage_errors(path, "read"):
            found.update(dict.fromkeys(_walk(path, _DEPTH)))
    return list(found)


def read_config(path: Path) -> dict[str, Any]:
    """A stored ``config.yaml`` as plain data, its data paths absolute.

    Raises `CorruptInputError`, `StorageError`.
    """
    from regrun.config.paths import with_absolute_paths
    from regrun.config.yaml_nodes import parse_config

    try:
        config: dict[str, Any] = parse_config(read_bytes(path), str(path)).data
    except FileNotFoundError:
        raise CorruptInputError(f"{path}: missing") from None
    except ConfigError as error:
        raise CorruptInputError(f"{path}: not a stored config any more:\n{error}") from error
    return with_absolute_paths(config, path.parent)


def _walk(directory: Path, depth: int) -> Iterator[Path]:
    if (directory / CONFIG).is_file():
        yield directory
    elif depth:
        with os.scandir(directory) as entries:
            below = sorted(entry.name for entry in entries if entry.is_dir())
        for name in below:
            yield from _walk(directory / name, depth - 1)


def load_result(directory: Path, kind: type[R]) -> R | None:
    """The summary of a run or sweep; None while it is unfinished.

    Raises `CorruptInputError`, `StorageError`.
    """
    try:
        path = RunDir(directory).summary
        return kind.from_json(read_bytes(path), path)
    except FileNotFoundError:
        return None
