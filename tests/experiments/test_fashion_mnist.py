"""Dropout on Fashion-MNIST."""

from __future__ import annotations

from pathlib import Path

import pytest

import regrun


@pytest.fixture(autouse=True)
def _real(real_data: Path) -> None:
    """All of this is about real pictures."""


def test_two_epochs_are_on_the_way(configs: Path, tmp_path: Path) -> None:
    run = regrun.train(
        configs / "dropout_fashion_mnist.yaml",
        {"training.epochs": 2},
        runs_dir=tmp_path,
        device="cpu",
    )
    first, second = (row for _, row in run.metrics.iterrows())
    assert second["train/loss"] < 0.7
    assert second["test/accuracy"] > 0.7
    assert second["train/loss"] < first["train/loss"]
    notes = [key for key in run.metrics if key.startswith("penalty/")]
    assert notes == []


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ten_epochs_reach_what_the_book_shows(seed: int, configs: Path, tmp_path: Path) -> None:
    run = regrun.train(
        configs / "dropout_fashion_mnist.yaml", {"seed": seed}, runs_dir=tmp_path, device="cpu"
    )
    last = run.metrics.iloc[-1]
    print(seed, dict(last))
    assert last["epoch"] == 10
    assert last["train/loss"] < 0.5
    assert last["train/accuracy"] > 0.85
    assert last["test/accuracy"] > 0.85
