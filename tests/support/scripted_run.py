"""A run without an engine: what `regrun.store` is asked for in the life of a real one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from regrun.results import RunSummary
from regrun.store.checkpoint import CheckpointStore
from regrun.store.curves import curves_of
from regrun.store.lock import exclusive
from regrun.store.run_dir import RunDir
from regrun.store.writer import RunWriter, add_evaluations

EVALUATIONS = 4
CONFIG = "name: small\noptimizer: {name: sgd, lr: 0.1}\n"
HPARAMS = {"optimizer.name": "sgd", "optimizer.lr": 0.1}
SUMMARY = RunSummary(run_dir="scripted", status="completed", epochs=EVALUATIONS)


def row(step: int) -> dict[str, float]:
    return {"epoch": step, "step": step, "train/loss": 1 / step, "lr": 0.1, "weights/l2": step / 3}


def weights(step: int) -> dict[str, torch.Tensor]:
    return {"weight": torch.full((3, 2), step / 7), "bias": torch.arange(step)}


def examples() -> dict[str, torch.Tensor]:
    return {"loss": torch.arange(5) / 3, "correct": torch.tensor([1, 0, 1, 1, 0]).byte()}


def evaluate(writer: RunWriter, row: Mapping[str, Any]) -> None:
    """Hand over one row, measured now."""
    (curves,) = curves_of([row], [time.time()])
    add_evaluations([writer], curves)


def live(directory: Path) -> None:
    """Carry the run in ``directory`` from wherever it stands to its end."""
    directory.mkdir(parents=True, exist_ok=True)
    run = RunDir(directory)
    with exclusive(directory):
        if run.finished:
            return
        store = CheckpointStore(run.checkpoints)
        checkpoint = store.load()
        done = checkpoint.state["step"] if checkpoint else 0
        if checkpoint:
            torch.testing.assert_close(checkpoint.tensors, weights(done), rtol=0, atol=0)
        if run.metrics.exists():
            writer = RunWriter.resume(directory, done, done, CONFIG, HPARAMS)
        else:
            writer = RunWriter.create(directory, CONFIG, HPARAMS)
        for step in range(done + 1, EVALUATIONS + 1):
            evaluate(writer, row(step))
            if step % 2 == 0 or step == 1:
                writer.flush()
                store.save(weights(step), {"step": step})
        writer.finish(SUMMARY, weights(EVALUATIONS), {}, examples())
        store.clear()


def results(directory: Path) -> dict[str, bytes]:
    """What must not depend on how often the run was interrupted."""
    run = RunDir(directory)
    paths = (run.config, run.metrics, run.summary, run.weights, run.test_examples)
    return {place.name: place.path.read_bytes() for place in paths}
