"""Experiments of a fraction of a second, and how their results are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LINEAR: dict[str, Any] = {
    "dataset": {"name": "synthetic_linear", "num_features": 12, "num_train": 10, "num_test": 15},
    "model": {"name": "linear"},
    "optimizer": {"name": "sgd", "lr": 0.01},
    "training": {"epochs": 4, "batch_size": 5},
}
DIGITS: dict[str, Any] = {
    "dataset": {"name": "digits", "num_train": 60, "num_test": 40, "validation": 50},
    "model": {"name": "mlp", "hidden": [8, 6], "dropout": 0.2},
    "optimizer": {"name": "adam", "lr": 0.01},
    "training": {"epochs": 3, "batch_size": 16},
}
FISTA: dict[str, Any] = {
    "dataset": {"name": "diabetes"},
    "model": {"name": "linear"},
    "loss": "half_mse",
    "penalty": {"type": "l1", "strength": 1, "method": "proximal"},
    "optimizer": {"name": "fista"},
    "training": {"batch_size": "full"},
}
"""What `path` takes: a linear model, solved on all examples at once."""


def run_dirs(runs: Path) -> list[Path]:
    """Directories of the runs below a runs directory."""
    return sorted(path.parent for path in runs.glob("*/*/config.yaml"))


def rows_in(directory: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics."""
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").open()]
    return [{key: value for key, value in row.items() if key != "checksum"} for row in rows]


def results(directory: Path) -> dict[str, bytes]:
    """What two runs of one config must have in common to the last bit."""
    names = ("config.yaml", "metrics.jsonl", "weights.safetensors")
    return {name: (directory / name).read_bytes() for name in names}
