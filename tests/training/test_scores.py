"""Scores of every member are scikit-learn's, on the original scale of the targets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics

import regrun
from regrun.errors import ConfigError
from regrun.metrics import SCORES
from tests.support.engines import config_of, train

CLASSES = ["f1", "precision", "recall", "balanced_accuracy", "auroc"]
NUMBERS = ["mae", "rmse", "r2"]
BASE: dict[str, Any] = {
    "dataset": {"name": "wine", "validation": 0.25},
    "model": {"name": "linear"},
    "optimizer": {"name": "sgd", "lr": 0.02},
    "training": {"epochs": 3, "precision": "float64"},
}


def predicted(run: regrun.Run) -> tuple[Any, Any, Any]:
    """Targets, predictions and probabilities of the test set, from the stored run alone."""
    from regrun.config.load import load_config

    data = load_config(run.directory / "config.yaml").config.dataset.load()
    model = regrun.load_model(run.directory)
    outputs = model(data.test.inputs).detach()
    targets = data.test.targets
    if data.target_scale is not None:
        return data.target_scale.invert(targets), data.target_scale.invert(outputs), None
    if data.task == "regression":
        return targets, outputs, None
    probabilities = outputs.softmax(1)
    if len(data.class_names) == 2:  # the network has one output, the logit of the second class
        second = outputs.sigmoid()
        probabilities = torch.cat([1 - second, second], 1)
    return targets, probabilities.argmax(1), probabilities


@pytest.mark.parametrize("dataset", ["wine", "breast_cancer"])
def test_scores_of_classes_are_scikit_learns(tmp_path: Path, dataset: str) -> None:
    config = {**BASE, "dataset": {"name": dataset}, "metrics": CLASSES}
    run = regrun.train(config, runs_dir=tmp_path, device="cpu")
    targets, classes, probabilities = predicted(run)
    expected = {
        "f1": metrics.f1_score(targets, classes, average="macro"),
        "precision": metrics.precision_score(targets, classes, average="macro", zero_division=0),
        "recall": metrics.recall_score(targets, classes, average="macro"),
        "balanced_accuracy": metrics.balanced_accuracy_score(targets, classes),
        "auroc": metrics.roc_auc_score(
            targets,
            probabilities if dataset == "wine" else probabilities[:, 1],
            multi_class="ovr",
        ),
    }
    for name, value in expected.items():
        assert run.summary.metrics[f"test/{name}"] == pytest.approx(value, rel=1e-9), name
    assert {f"train/{name}" for name in CLASSES} <= run.summary.metrics.keys()
    assert (run.directory / "metrics.jsonl").read_text().count("test/f1") == 3


@pytest.mark.parametrize("standardize_target", [False, True])
def test_scores_of_numbers_are_scikit_learns(tmp_path: Path, standardize_target: bool) -> None:
    dataset = {"name": "diabetes", "standardize_target": standardize_target}
    config = {**BASE, "dataset": dataset, "metrics": NUMBERS}
    run = regrun.train(config, runs_dir=tmp_path, device="cpu")
    targets, numbers, _ = predicted(run)
    expected = {
        "mae": metrics.mean_absolute_error(targets, numbers),
        "rmse": metrics.root_mean_squared_error(targets, numbers),
        "r2": metrics.r2_score(targets, numbers),
    }
    for name, value in expected.items():
        assert run.summary.metrics[f"test/{name}"] == pytest.approx(value, rel=1e-9), name


def test_members_of_a_stack_have_the_scores_they_have_alone() -> None:
    configs = [config_of(BASE, {"metrics": CLASSES, "seed": seed}) for seed in range(3)]
    together, _ = train(configs)
    for member, config in enumerate(configs):
        alone, _ = train([config])
        for one, other in zip(together[member], alone[0], strict=True):
            assert {tag: one[tag] for tag in other} == pytest.approx(other, rel=1e-6)


def test_the_confusion_matrix_is_scikit_learns(tmp_path: Path) -> None:
    config = {**BASE, "metrics": ["confusion_matrix"]}
    run = regrun.train(config, runs_dir=tmp_path, device="cpu")
    targets, classes, _ = predicted(run)
    assert run.summary.confusion is not None
    assert set(run.summary.confusion) == {"val", "test"}
    expected = metrics.confusion_matrix(targets, classes)
    np.testing.assert_array_equal(run.summary.confusion["test"], expected)
    assert not any("confusion" in name for name in run.summary.metrics)


def test_a_score_chooses_the_best_cell_and_stops_early(tmp_path: Path) -> None:
    stopping = {"early_stopping": {"metric": "val/f1", "patience": 1}}
    config = {
        **BASE,
        "metrics": "f1",
        "training": {"epochs": 30, **stopping},
        "sweep": {"grid": {"optimizer.lr": [1e-6, 0.05]}, "metric": "val/f1"},
    }
    sweep = regrun.sweep(config, runs_dir=tmp_path, device="cpu")
    best = sweep.summary.best
    assert best is not None
    assert (best.metric, best.params) == ("val/f1", {"optimizer.lr": 0.05})
    for path in sweep.runs["run_dir"]:
        summary = json.loads((Path(path) / "summary.json").read_text())
        assert summary["best"]["metric"] == "val/f1"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": ["mae"]}, "mae needs numbers to predict; wine is classification"),
        ({"dataset": {"name": "diabetes"}, "metrics": ["f1"]}, "f1 needs classes; diabetes is"),
        (
            {"training": {"epochs": 3, "early_stopping": {"metric": "val/f1"}}},
            r"val/f1 needs metrics: \[f1\]",
        ),
        ({"sweep": {"seeds": 2, "metric": "val/auroc"}}, r"val/auroc needs metrics: \[auroc\]"),
        ({"metrics": ["f2"]}, "'f2' is not one of accuracy"),
    ],
)
def test_scores_that_cannot_be_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        regrun.sweep({**BASE, **changes}, seeds=2, runs_dir=tmp_path)


def test_the_task_of_ones_own_data_decides_once_they_are_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.random.rand(40, 2), y=np.arange(40) % 2)
    dataset = {"name": "npz", "path": str(tmp_path / "a.npz")}
    with pytest.raises(ConfigError, match="metrics: mae needs numbers, and npz has classes here"):
        regrun.train({**BASE, "dataset": dataset, "metrics": ["mae"]}, runs_dir=tmp_path)


def test_the_program_reports_scores_and_confusions(invoke: Any, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    config = {**BASE, "metrics": ["f1", "confusion_matrix"], "training": {"epochs": 200}}
    path.write_text(json.dumps(config))
    result = invoke("train", path, "--runs-dir", tmp_path / "runs")
    assert result.exit_code == 0, result.stderr
    assert "f1 " in result.stdout
    assert "test: true / predicted" in result.stdout
    result = invoke("sweep", path, "optimizer.lr=0.1,0.2", "--runs-dir", tmp_path / "runs")
    assert result.exit_code == 0, result.stderr
    assert "test f1" in result.stdout
    result = invoke("ablate", path, "penalty={type: l2, strength: 0.1}", "--seeds", "2")
    assert result.exit_code == 0, result.stderr


def test_an_undefined_score_is_nan() -> None:
    one_class = np.zeros(5, np.int64)
    assert np.isnan(SCORES["auroc"](one_class, np.random.rand(5, 2)))
    assert np.isnan(SCORES["r2"](np.ones((1, 1)), np.ones((1, 1))))
    assert np.isnan(SCORES["mae"](np.ones((2, 1)), np.full((2, 1), np.inf)))
