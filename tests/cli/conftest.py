"""Stored runs with chosen numbers, written by the store as it writes those of the engine."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regrun.config.dump import dump_config
from regrun.config.load import config_from_mapping
from regrun.histograms import Histograms, WeightHistograms
from regrun.results import Best, RunSummary, Seconds, Status, WeightNorms
from regrun.store.atomic import write_atomic
from regrun.store.curves import curves_of
from regrun.store.sweep_dir import PlannedRun, Purpose, Round, SweepDir
from regrun.store.writer import RunWriter, add_evaluations, add_histograms
from tests.support.histograms import histogram_of, tables_of

MakeRun = Callable[..., Path]
WriteSweep = Callable[..., SweepDir]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Write a run directory under ``tmp_path/runs``."""

    def write(
        run_id: str = "seed0-aaaaaa",
        *,
        name: str = "toy",
        seed: int = 0,
        decay: float = 0.0,
        loss: str = "auto",
        test: float | None = 2.0,
        epochs: int = 5,
        optimizer: Mapping[str, Any] | None = None,
        status: Status = "completed",
        finished: bool = True,
        histograms_every: int = 0,
        **changes: Any,
    ) -> Path:
        directory = tmp_path / "runs" / name / run_id
        directory.mkdir(parents=True)
        config = config_from_mapping(
            {
                "name": name,
                "seed": seed,
                "dataset": {"name": "synthetic_linear", "num_train": 20},
                "model": {"name": "linear"},
                "loss": loss,
                "optimizer": optimizer or {"name": "sgd", "lr": 0.003, "weight_decay": decay},
                "training": {
                    "epochs": epochs,
                    "batch_size": 5,
                    "histograms_every": histograms_every,
                },
            }
        ).config
        rows = [
            {
                "epoch": epoch,
                "step": 4 * epoch,
                "train/loss": math.exp(-epoch),
                "test/loss": None if test is None else test + math.exp(-epoch),
            }
            for epoch in range(1, epochs + 1)
        ]
        writer = RunWriter.create(directory, dump_config(config), {"seed": seed})
        for curves in curves_of(rows, [time.time()] * epochs):
            add_evaluations([writer], curves)
        for epoch in range(0, epochs + 1, histograms_every) if histograms_every else ():
            draw = np.random.default_rng([seed, epoch])
            weights = {"output.weight": draw.normal(size=40), "output.bias": np.zeros(1)}
            parameters = {each: histogram_of(entries) for each, entries in weights.items()}
            tables = tables_of([Histograms(epoch, 4 * epoch, parameters)])
            counted = WeightHistograms(epoch, 4 * epoch, [0], tables)
            add_histograms({0: writer}, counted, time.time())
        writer.flush()
        if finished:
            summary = RunSummary(
                run_dir=str(directory),
                status=status,
                epochs=epochs,
                steps=4 * epochs,
                device="cpu",
                seed=seed,
                metrics={"train/loss": 0.5, "test/loss": test},
                best=Best(epoch=epochs, metric="test/loss", value=test),
                weights=WeightNorms(l1=30.0, l2=13.25, sparsity=0.0),
                penalty={},
                seconds=Seconds(data=0.1, train=1.0, total=1.5),
            )
            writer.finish(summary.model_copy(update=changes))
        return directory

    return write


@pytest.fixture
def write_sweep(make_run: MakeRun, tmp_path: Path) -> WriteSweep:
    """Write a sweep over ``optimizer.weight_decay`` with the curves that `make_run` makes."""

    def write(
        cells: int,
        seeds: int,
        name: str = "sweep-a",
        status: Callable[[int, int], Status] = lambda cell, seed: "completed",
        epochs: Callable[[int, int], int] = lambda cell, seed: 5,
        purposes: Sequence[Purpose] = ("cells",),
        histograms_every: int = 0,
    ) -> SweepDir:
        rounds = []
        for number, purpose in enumerate(purposes):
            runs = []
            for cell in range(cells):
                for seed in range(seeds):
                    directory = f"{number}{cell:03d}-seed={seed}"
                    make_run(
                        f"{name}/{directory}",
                        seed=seed + 100 * number,
                        decay=float(cell),
                        test=10.0 + abs(cell - 2) + 0.1 * seed,  # cell 2 is the best
                        status=status(cell, seed),
                        epochs=epochs(cell, seed),
                        histograms_every=histograms_every,
                        metrics={"test/loss": 10.0 + abs(cell - 2) + 0.1 * seed},
                    )
                    params = {"optimizer.weight_decay": cell}
                    runs.append(PlannedRun(cell, params, seed + 100 * number, directory))
            rounds.append(Round(runs, [[*range(len(runs))]], [""], purpose=purpose))
        files = SweepDir(tmp_path / "runs" / "toy" / name)
        write_atomic(files.config, "name: toy\nsweep: {metric: test/loss}\n")
        files.write_rounds(rounds)
        return files

    return write
