"""Finished sweeps that nobody trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from regrun.results import Best, Norms, RunSummary, Seconds, WeightNorms, json_document
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
    files.config.path.write_text("name: stored\n")
    runs = [
        PlannedRun(index, params, seed, f"{index:04d}-seed={seed}")
        for index, params in enumerate(cells)
        for seed in range(seeds)
    ]
    files.write_rounds([Round(runs, [list(range(len(runs)))], [""])])
    norms = Norms(l1=30.0, l2=13.25, sparsity=0.0)
    for run in runs:
        path = directory / run.directory
        path.mkdir()
        summary = RunSummary(
            run_dir=str(path),
            status="completed",
            epochs=5,
            steps=20,
            device="cpu",
            seed=run.seed,
            metrics=dict(metrics(run.cell, run.seed)),
            best=Best(epoch=5, metric="test/loss", value=1.0),
            weights=WeightNorms(
                l1=30.0, l2=13.25, sparsity=0.0, per_layer={"output.weight": norms}
            ),
            penalty={},
            seconds=Seconds(total=1.5, train=1.0, data=0.1),
        )
        (path / "summary.json").write_bytes(json_document(summary))
    return files
