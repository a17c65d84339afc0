"""Stored runs with chosen numbers, written by the store as it writes those of the engine."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from regrun.config.dump import dump_config
from regrun.config.load import config_from_mapping
from regrun.results import Best, RunSummary, Seconds, Status, WeightNorms
from regrun.store.curves import curves_of
from regrun.store.writer import RunWriter, add_evaluations

MakeRun = Callable[..., Path]


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
        status: Status = "completed",
        finished: bool = True,
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
                "optimizer": {"name": "sgd", "lr": 0.003, "weight_decay": decay},
                "training": {"epochs": epochs, "batch_size": 5},
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
