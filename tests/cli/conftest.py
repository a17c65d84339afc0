"""Stored runs written by hand as the contract describes them, and a way to call the program."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from regrun.cli.app import app

Invoke = Callable[..., Result]
MakeRun = Callable[..., Path]


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Call regrun in this process; a bug (any exception) fails the test with its traceback."""
    for name in ("FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: object, env: dict[str, str] | None = None) -> Result:
        result = CliRunner().invoke(app, [str(item) for item in arguments], env=env)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


@pytest.fixture
def program() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Call regrun as a process of its own."""

    def call(
        *arguments: object, env: dict[str, str] | None = None, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from regrun.cli.app import main; main()"]
        return subprocess.run(
            [*command, *(str(item) for item in arguments)],
            capture_output=True,
            encoding="utf-8",
            env={**os.environ, **(env or {})},
            timeout=120,
            check=False,
            **options,
        )

    return call


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
