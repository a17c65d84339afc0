"""Stored runs written by hand as the contract describes them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

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
        test: float | None = 2.0,
        epochs: int = 5,
        status: str = "completed",
        finished: bool = True,
        **summary: Any,
    ) -> Path:
        directory = tmp_path / "runs" / name / run_id
        directory.mkdir(parents=True)
        config = {
            "name": name,
            "seed": seed,
            "dataset": {"name": "synthetic_linear", "num_train": 20},
            "model": {"name": "linear", "input_dropout": 0.0},
            "penalty": [],
            "constraints": [],
            "optimizer": {"name": "sgd", "lr": 0.003, "weight_decay": decay},
            "training": {"epochs": epochs, "batch_size": 5},
        }
        (directory / "config.yaml").write_text(yaml.safe_dump(config))
        rows = [
            {
                "epoch": epoch,
                "step": 4 * epoch,
                "train/loss": math.exp(-epoch),
                "test/loss": None if test is None else test + math.exp(-epoch),
            }
            for epoch in range(1, epochs + 1)
        ]
        (directory / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        if finished:
            content = {
                "run_dir": str(directory),
                "status": status,
                "epochs": epochs,
                "steps": 4 * epochs,
                "device": "cpu",
                "metrics": {"train/loss": 0.5, "test/loss": test},
                "best": {"epoch": epochs, "metric": "test/loss", "value": test},
                "weights": {"l1": 30.0, "l2": 13.25, "sparsity": 0.0, "per_layer": {}},
                "penalty": {},
                "seconds": {"total": 1.5, "train": 1.0, "data": 0.1},
                **summary,
            }
            (directory / "summary.json").write_text(json.dumps(content))
        return directory

    return write
