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


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_ten_epochs_reach_what_the_book_shows(seed: int, configs: Path, tmp_path: Path) -> None:
    """At the best epoch: under this learning rate the last one may be a jump out of the valley."""
    path = configs / "dropout_fashion_mnist.yaml"
    rows = regrun.train(path, {"seed": seed}, runs_dir=tmp_path, device="cpu").metrics
    assert len(rows) == 10
    best = rows.iloc[int(rows["test/loss"].argmin())]
    assert best["train/loss"] < 0.5
    assert best["train/accuracy"] > 0.85
    assert best["test/accuracy"] > 0.85


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_with_a_cosine_schedule_the_last_epoch_is_the_best(
    seed: int, configs: Path, tmp_path: Path
) -> None:
    path, overrides = configs / "dropout_fashion_mnist.yaml", {"seed": seed, "schedule": "cosine"}
    last = regrun.train(path, overrides, runs_dir=tmp_path, device="cpu").metrics.iloc[-1]
    assert last["train/loss"] < 0.35
    assert last["test/accuracy"] > 0.86
