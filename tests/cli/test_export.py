"""Tables that `regrun export` writes, as pandas reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import regrun
from tests.support.program import invoke

CONFIG: dict[str, Any] = {
    "name": "small",
    "dataset": {"name": "synthetic_linear", "num_train": 20, "num_test": 10},
    "model": {"name": "linear"},
    "optimizer": {"name": "sgd", "lr": 0.003},
    "training": {"epochs": 3},
}
LASSO: dict[str, Any] = {
    "name": "lasso",
    "dataset": {"name": "diabetes"},
    "model": {"name": "linear"},
    "penalty": {"type": "l1", "strength": 1},
    "optimizer": {"name": "sgd", "lr": 0.1},
}
READ: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": pd.read_csv,
    ".parquet": pd.read_parquet,
}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> regrun.Sweep:
    axes = {"optimizer.weight_decay": [0, 1.5]}
    folder = tmp_path_factory.mktemp("export")
    return regrun.sweep(CONFIG, axes, seeds=2, runs_dir=folder, device="cpu")


def exported(directory: Path, file: Path, *options: str) -> pd.DataFrame:
    done = invoke("export", directory, file, *options)
    assert done.exit_code == 0, done.stderr
    assert str(file) in done.stdout
    return READ[file.suffix](file)


@pytest.mark.parametrize("suffix", READ)
def test_a_sweep_has_a_row_per_run(suffix: str, sweep: regrun.Sweep, tmp_path: Path) -> None:
    found = exported(sweep.directory, tmp_path / f"a{suffix}")
    expected = sweep.runs.reset_index(drop=True)
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, rtol=1e-15)


@pytest.mark.parametrize("suffix", READ)
def test_curves_have_a_row_per_run_and_evaluation(
    suffix: str, sweep: regrun.Sweep, tmp_path: Path
) -> None:
    found = exported(sweep.directory, tmp_path / f"a{suffix}", "--curves")
    assert len(found) == 4 * 3
    for _, row in sweep.runs.iterrows():
        own = found[found["run_dir"] == row["run_dir"]]
        assert set(own["optimizer.weight_decay"]) == {row["optimizer.weight_decay"]}
        assert set(own["seed"]) == {row["seed"]}
        curve = regrun.load_run(row["run_dir"]).metrics.reset_index(drop=True)
        pd.testing.assert_frame_equal(
            own[curve.columns].reset_index(drop=True), curve, check_dtype=False, rtol=1e-15
        )


@pytest.mark.parametrize("suffix", READ)
def test_a_run_has_a_row_per_evaluation(suffix: str, sweep: regrun.Sweep, tmp_path: Path) -> None:
    directory = Path(sweep.runs["run_dir"].iloc[0])
    found = exported(directory, tmp_path / f"a{suffix}")
    curve = regrun.load_run(directory).metrics.reset_index(drop=True)
    pd.testing.assert_frame_equal(found, curve, check_dtype=False, rtol=1e-15)


@pytest.mark.parametrize("suffix", READ)
def test_a_path_has_a_row_per_strength(suffix: str, tmp_path: Path) -> None:
    path = regrun.path(LASSO, number=4, ratio=0.1, folds=2, runs_dir=tmp_path, device="cpu")
    found = exported(path.directory, tmp_path / f"a{suffix}")
    assert found["strength"].tolist() == path.summary.strengths
    assert found["nonzeros"].tolist() == path.summary.nonzeros
    assert found["bmi"].tolist() == path.coefficients["bmi"].tolist()
    refused = invoke("export", path.directory, tmp_path / "a.onnx")
    assert refused.exit_code == 2
    assert "a path is exported as .csv or .parquet" in refused.stderr


@pytest.mark.parametrize(
    ("file", "options", "words"),
    [
        ("a.onnx", (), "a sweep is exported as .csv, .parquet, .db or .wandb"),
        ("a", (), "a sweep is exported as .csv, .parquet, .db or .wandb"),
        ("a.db", ("--curves",), "--curves needs a sweep and a file that ends in .csv or .parquet"),
    ],
)
def test_what_cannot_be_exported_is_refused(
    file: str, options: tuple[str, ...], words: str, sweep: regrun.Sweep, tmp_path: Path
) -> None:
    refused = invoke("export", sweep.directory, tmp_path / file, *options)
    assert refused.exit_code == 2
    assert words in " ".join(refused.stderr.split())
    assert list(tmp_path.iterdir()) == []


def test_a_run_with_another_ending_says_what_there_is(sweep: regrun.Sweep, tmp_path: Path) -> None:
    refused = invoke("export", sweep.runs["run_dir"].iloc[0], tmp_path / "a.xyz")
    assert refused.exit_code == 2
    assert "a network is exported as .pt2 or .onnx, a run as .csv" in refused.stderr
