"""Finished sweeps that nobody trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from regrun.store.sweep_dir import PlannedRun, Round, SweepDir


def write_stored_sweep(
    directory: Path,
    cells: list[dict[str, Any]],
    seeds: int,
    metrics: Callable[[int, int], dict[str, float]],
) -> SweepDir:
    """metrics: (cell, seed) → metrics of the run's summary."""
    directory.mkdir(parents=True)
    files = SweepDir(directory)
    files.config.write_text("name: stored\n")
    runs = [
        PlannedRun(index, params, seed, f"{index:04d}-seed={seed}")
        for index, params in enumerate(cells)
        for seed in range(seeds)
    ]
    files.write_rounds([Round(runs, [list(range(len(runs)))], [""])])
    norms = {"l1": 30.0, "l2": 13.25, "sparsity": 0.0}
    for run in runs:
        path = directory / run.directory
        path.mkdir()
        summary = {
            "run_dir": str(path),
            "status": "completed",
            "epochs": 5,
            "steps": 20,
            "device": "cpu",
            "seed": run.seed,
            "metrics": metrics(run.cell, run.seed),
            "best": {"epoch": 5, "metric": "test/loss", "value": 1.0},
            "weights": {**norms, "per_layer": {"output.weight": norms}},
            "penalty": {},
            "seconds": {"total": 1.5, "train": 1.0, "data": 0.1},
        }
        (path / "summary.json").write_text(json.dumps(summary, indent=2))
    return files
