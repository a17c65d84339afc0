"""What a stack is computed with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from regrun.config.load import config_from_mapping
from regrun.config.training import Training
from regrun.execution import computing
from regrun.execution.budget import Budget
from regrun.execution.computing import threads_for
from regrun.execution.observer import Observer
from regrun.execution.train import train_run
from regrun.results import RunSummary
from regrun.stack.trial import Trial
from regrun.sweeps.run import Options, run_sweep
from tests.support.runs import DIGITS

LARGEST = 16 * 64 * 8
"""Multiplications of the first layer of DIGITS, for a batch."""


@pytest.fixture(autouse=True)
def _four_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


class Counting(Observer):
    """Notes what the process computes with when a run ends."""

    def __init__(self) -> None:
        self.counts: set[int] = set()
        self.products: set[str] = set()
        self.tries: set[bool] = set()

    def on_end(self, summary: RunSummary) -> None:
        self.counts.add(torch.get_num_threads())
        self.products.add(torch.get_float32_matmul_precision())
        self.tries.add(torch.backends.cudnn.benchmark)


def budget(multiplications: int, unstackable: str = "") -> Budget:
    return Budget(
        1, 1, 1, 1, 1, trial=Trial(unstackable=unstackable), multiplications=multiplications
    )


@pytest.mark.parametrize(
    ("multiplications", "members", "most", "expected"),
    [
        (0, 1, 8, 1),
        (49_999_999, 1, 8, 1),
        (50_000_000, 1, 8, 2),
        (50_000_000, 1, 1, 1),
        (1_000_000, 49, 8, 1),
        (1_000_000, 100, 8, 4),
        (10**12, 1, 8, 8),
    ],
)
def test_the_largest_product_decides_up_to_what_the_process_has(
    multiplications: int, members: int, most: int, expected: int
) -> None:
    assert threads_for(budget(multiplications), members, most) == expected


def test_members_that_are_computed_one_after_another_share_no_product() -> None:
    alone = budget(1_000_000, "no batching rule")
    assert threads_for(alone, 1_000, 8) == 1


@pytest.mark.parametrize(("pays", "expected"), [(LARGEST, 1), (LARGEST // 3, 3), (1, 4)])
def test_a_run_trains_with_these_and_leaves_the_process_as_it_was(
    pays: int, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(computing, "PAYS_A_THREAD", pays)
    counting = Counting()
    train_run(config_from_mapping(DIGITS), runs_dir=tmp_path, device="cpu", observer=counting)
    assert counting.counts == {expected}
    assert torch.get_num_threads() == 4


def test_the_members_of_a_stack_pay_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(computing, "PAYS_A_THREAD", LARGEST)
    counts = []
    compute = computing.computing

    def noting(training: Training, budget: Budget, members: int, threads: int | None) -> object:
        counts.append((budget.multiplications, members))
        return compute(training, budget, members, threads)

    monkeypatch.setattr("regrun.sweeps.planned_stack.computing", noting)
    loaded = config_from_mapping({**DIGITS, "sweep": {"seeds": 3, "vary": ["seed"]}})
    run_sweep(loaded, runs_dir=tmp_path, options=Options("cpu", workers=0), observer=Observer())
    assert counts == [(LARGEST, 3)]
    assert torch.get_num_threads() == 4


@pytest.mark.parametrize("matmul", ["highest", "high"])
def test_matrix_products_are_as_the_config_says(matmul: str, tmp_path: Path) -> None:
    counting, before = Counting(), torch.get_float32_matmul_precision()
    tree = {**DIGITS, "training": {**DIGITS["training"], "matmul": matmul}}
    train_run(config_from_mapping(tree), runs_dir=tmp_path, device="cpu", observer=counting)
    assert counting.products == {matmul}
    assert torch.get_float32_matmul_precision() == before == "highest"


@pytest.mark.parametrize(
    ("fills", "before", "expected"),
    [
        (LARGEST, False, True),
        (LARGEST + 1, False, False),
        (LARGEST + 1, True, True),
    ],
)
def test_cudnn_tries_its_algorithms_for_large_networks(
    fills: int, before: bool, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regrun.execution.budget.FILLS_A_GPU", fills)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", before)
    counting = Counting()
    train_run(config_from_mapping(DIGITS), runs_dir=tmp_path, device="cpu", observer=counting)
    assert counting.tries == {expected}
    assert torch.backends.cudnn.benchmark is before
