"""Stored runs: found on disk, and read as far as they are asked."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regrun.errors import ConfigError, CorruptInputError, UsageError
from regrun.store.atomic import read_bytes, storage_errors
from regrun.store.lock import holder
from regrun.store.metrics import Row, metrics_frame, read_metrics
from regrun.store.run_dir import CONFIG, RunDir

if TYPE_CHECKING:
    from pandas import DataFrame

_DEPTH = 3
"""Levels from the runs directory down to a run of a sweep."""


@dataclass(frozen=True)
class StoredRun:
    """A run on disk. Its config and metrics are read when they are asked for."""

    files: RunDir
    summary: dict[str, Any] | None
    """None while the run is unfinished."""

    @property
    def path(self) -> Path:
        """The run directory."""
        return self.files.path

    @property
    def status(self) -> str:
        """The summary's status; without a summary ``running`` or ``interrupted``."""
        if self.summary is not None:
            return str(self.summary["status"])
        alive = holder(self.path) or holder(self.path.parent)
        return "running" if alive else "interrupted"

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


def load_stored_run(directory: Path) -> StoredRun:
    """The run in ``directory``; only its summary is read.

    Raises `UsageError` when there is no run, `CorruptInputError`, `StorageError`.
    """
    files = RunDir(directory)
    if not files.config.is_file():
        raise UsageError(f"{directory} is not a run directory: it has no {CONFIG}")
    return StoredRun(files, load_summary(directory))


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
    """A stored ``config.yaml`` as plain data. Raises `CorruptInputError`, `StorageError`."""
    from regrun.config.yaml_nodes import parse_config

    try:
        config: dict[str, Any] = parse_config(read_bytes(path), str(path)).data
    except FileNotFoundError:
        raise CorruptInputError(f"{path}: missing") from None
    except ConfigError as error:
        raise CorruptInputError(f"{path}: not a stored config any more:\n{error}") from error
    return config


def _walk(directory: Path, depth: int) -> Iterator[Path]:
    if (directory / CONFIG).is_file():
        yield directory
    elif depth:
        with os.scandir(directory) as entries:
            below = sorted(entry.name for entry in entries if entry.is_dir())
        for name in below:
            yield from _walk(directory / name, depth - 1)


def load_summary(directory: Path) -> dict[str, Any] | None:
    """A run's or sweep's summary; None while it is unfinished.

    Raises `CorruptInputError`, `StorageError`.
    """
    try:
        return _read_summary(RunDir(directory).summary)
    except FileNotFoundError:
        return None


def _read_summary(path: Path) -> dict[str, Any]:
    try:
        summary = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise CorruptInputError(f"{path}: not JSON: {error}") from error
    kinds = ("status", str), ("cells", list)  # of a run, of a sweep
    if not isinstance(summary, dict) or not any(
        isinstance(summary.get(key), kind) for key, kind in kinds
    ):
        raise CorruptInputError(f"{path}: not a summary: it has no status")
    return summary
