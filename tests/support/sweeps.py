"""Sweeps of a second, and how what they leave is read."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regrun.store.checksums import KEY
from regrun.store.sweep_dir import PlannedRun, SweepDir
from regrun.sweeps.planned_stack import PlannedStack
from tests.support.runs import rows_in

DIGITS: dict[str, Any] = {
    "name": "small",
    "dataset": {"name": "digits", "num_train": 60, "num_test": 40, "validation": 20},
    "model": {"name": "mlp", "hidden": [8, 6], "dropout": 0.2},
    "optimizer": {"name": "adam", "lr": 0.01},
    "training": {"epochs": 3, "batch_size": 16, "precision": "float64"},
}
LINEAR: dict[str, Any] = {
    "name": "linear",
    "dataset": {"name": "synthetic_linear", "num_features": 6, "num_train": 10, "num_test": 15},
    "model": {"name": "linear"},
    "optimizer": {"name": "sgd", "lr": 0.01},
    "training": {"epochs": 2, "batch_size": 5},
}


def with_keys(config: Mapping[str, Any], **sections: Any) -> dict[str, Any]:
    """The config with keys of its sections replaced."""
    merged = dict(config)
    for name, section in sections.items():
        old = config.get(name)
        if isinstance(old, Mapping) and isinstance(section, Mapping):
            section = {**old, **section}
        merged[name] = section
    return merged


def planned(sweep: Path) -> list[PlannedRun]:
    """Every run of the plan."""
    return [run for each in SweepDir(sweep).read_rounds() for run in each.runs]


def stacks(sweep: Path) -> list[list[str]]:
    """Directories of the runs that shared a stack, stack by stack."""
    return [
        [each.runs[index].directory for index in members]
        for each in SweepDir(sweep).read_rounds()
        for members in each.stacks
    ]


def rows_by_setting(sweep: Path) -> dict[str, list[dict[str, Any]]]:
    """Parameters and seeds as text → the run's rows."""
    found = {}
    for run in planned(sweep):
        key = json.dumps([sorted(run.params.items()), run.seed, run.data_seed])
        found[key] = rows_in(sweep / run.directory)
    return found


def summary_of(directory: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((directory / "summary.json").read_text())
    summary.pop(KEY, None)
    return summary


def results(sweep: Path) -> dict[str, tuple[object, ...]]:
    """Run directory → what must not depend on interruptions."""
    found: dict[str, tuple[object, ...]] = {}
    for run in planned(sweep):
        path = sweep / run.directory
        summary = summary_of(path)
        found[run.directory] = (
            bytes_of(path / "metrics.jsonl"),
            bytes_of(path / "histograms.jsonl"),
            bytes_of(path / "weights.safetensors"),
            bytes_of(path / "test_examples.safetensors"),
            summary["status"],
            summary.get("steps"),
        )
    return found


def bytes_of(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def ended(sweep: Path) -> dict[str, int]:
    """Runs that have their summary → when it was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in sweep.glob("*/summary.json")}


@dataclass(frozen=True)
class Deadly(PlannedStack):
    """A stack that kills the worker it is given to."""

    main: int = 0

    def unfinished(self) -> list[PlannedRun]:
        if os.getpid() != self.main:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().unfinished()
