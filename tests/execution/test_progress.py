"""What is said while a run trains, and that saying it changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from regrun.config.load import config_from_mapping
from regrun.execution import stack_run
from regrun.execution.observer import Observer
from regrun.execution.train import train_run
from tests.support.runs import DIGITS


class Looking(Observer):
    """Asks for the loss of a batch whenever it can."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.steps: list[int] = []

    def on_batch(self, loss: Callable[[], float]) -> None:
        self.losses.append(loss())

    def on_progress(self, step: int, total_steps: int) -> None:
        self.steps.append(step)


def test_looking_at_the_loss_after_each_step_changes_no_weight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack_run, "PROGRESS_SECONDS", -1.0)
    looking = Looking()
    weights = []
    for observer in (looking, Observer()):
        loaded = config_from_mapping(DIGITS)
        summary = train_run(loaded, runs_dir=tmp_path, device="cpu", observer=observer)
        weights.append((Path(summary.run_dir) / "weights.safetensors").read_bytes())
        assert summary.steps == looking.steps[-1]
    assert weights[0] == weights[1]
    assert set(looking.steps) == set(range(1, summary.steps + 1))
    assert len(looking.losses) >= summary.steps
    assert all(0 < loss < 20 for loss in looking.losses)
