from __future__ import annotations

import io
from typing import Any

import pytest

from regrun.cli.render import run_report, warnings

CONFIG: dict[str, Any] = {"name": "toy", "seed": 7}


def summary(**changes: Any) -> dict[str, Any]:
    return {
        "run_dir": "runs/toy/x",
        "status": "completed",
        "epochs": 100,
        "steps": 400,
        "device": "cpu",
        "metrics": {"train/loss": 0.25, "test/loss": 1.75, "objective": 1.25},
        "best": {"epoch": 40, "metric": "test/loss", "value": 1.5},
        "weights": {"l1": 3.0, "l2": 13.0, "sparsity": 0.25, "per_layer": {}},
        "penalty": {"l1": 1.0},
        "seconds": {"total": 0.5},
        **changes,
    }


def text_of(content: dict[str, Any]) -> str:
    from rich.console import Console

    console = Console(file=io.StringIO(), width=120)
    for part in run_report(content, CONFIG, []):
        console.print(part)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_the_numbers_that_matter_are_there() -> None:
    text = text_of(summary())
    for figure in ("toy, seed 7", "100 epochs, 400 steps", "0.25", "1.75", "1.5", "13", "25%"):
        assert figure in text
    (loss,) = [line for line in text.splitlines() if line.startswith("loss")]
    assert loss.split() == ["loss", "0.25", "1.75", "1.5"]  # train, test, gap


def test_accuracy_and_validation_have_their_places() -> None:
    metrics = {
        "train/loss": 1.0, "val/loss": 2.0, "test/loss": 3.0,
        "train/accuracy": 0.9, "val/accuracy": 0.8, "test/accuracy": 0.7,
    }  # fmt: skip
    lines = text_of(summary(metrics=metrics)).splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in lines if line.strip()}
    assert rows["loss"] == ["1", "2", "3", "2"]
    assert rows["accuracy"] == ["0.9", "0.8", "0.7", "-0.2"]


def test_penalties_stand_apart_from_the_loss() -> None:
    text = text_of(summary())
    assert "penalty    l1 1   objective 1.25" in text
    assert "penalty" not in text_of(summary(penalty={}))


@pytest.mark.parametrize(("penalty", "warned"), [(25.0, False), (25.1, True), (None, False)])
def test_a_penalty_above_100_times_the_data_loss_is_warned_of(
    penalty: float | None, warned: bool
) -> None:
    lines = warnings(summary(penalty={"l1": penalty}))
    assert bool(lines) == warned
    if warned:
        assert "penalty/l1 is 100 times the data loss" in lines[0]


def test_a_diverged_run_says_when_and_what_helps() -> None:
    content = summary(status="diverged", diverged_at_step=12, metrics={}, weights={}, best=None)
    text = text_of(content)
    assert "diverged" in text
    assert "step 12" in text
    assert "learning rate" in text


def test_an_early_stop_is_told() -> None:
    assert "stopped early" in text_of(summary(ended_early="stopped"))
