"""The benchmarks work: every figure, at a tiny size, gives numbers. How large they are is not
tested: `python -m tests.benchmarks.run` prints them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks import claims
from tests.benchmarks.figures import FIGURES

DATA = Path(os.environ.get("REGRUN_DATA", "data"))
NEEDS = {
    "sweep-mnist": "MNIST",
    "sweep-mnist-command": "MNIST",
    "train-fashion-mnist": "FashionMNIST",
    "storing": "MNIST",
}


@pytest.mark.benchmark
@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_can_be_measured(name: str) -> None:
    if name in NEEDS and not (DATA / NEEDS[name]).is_dir():
        pytest.skip(f"{NEEDS[name]} is not in {DATA}/")
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.run", name, "--quick", "--json"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    print(done.stderr)
    measured = json.loads(done.stdout)
    if name == "gpu" and not measured:
        pytest.skip("no CUDA device here")
    assert measured[name]["rows"]
    for row in measured[name]["rows"]:
        assert all(value > 0 for value in [*row["values"], *row["ratios"]]), row


@pytest.mark.benchmark
def test_every_claim_can_be_simulated() -> None:
    found = list(claims.rows(draws=2))
    assert len({what for what, *_ in found}) >= 7
    assert all(0 <= share <= 1 for *_, share, _ in found)
