"""What runs store of each test example: as plain torch computes it from the stored weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import regrun
from regrun.config.load import config_from_mapping, load_config
from regrun.errors import ConfigError, DataWarning, UsageError
from regrun.store.reading import load_test_examples
from regrun.sweeps.run import Options, plan_sweep
from regrun.training import evaluation
from tests.execution.conftest import Train
from tests.support.runs import DIGITS, LINEAR, results
from tests.support.sweeps import with_keys

KEEP: dict[str, Any] = {"training.test_examples": True, "training.precision": "float64"}
STOPPING = {"metric": "val/loss", "patience": 2}

CASES: dict[str, dict[str, Any]] = {
    "dropout": DIGITS,
    "the best epoch": with_keys(
        DIGITS, training={"epochs": 40, "early_stopping": STOPPING}, optimizer={"lr": 0.2}
    ),
    "batch norm": with_keys(DIGITS, model={"norm": "batch"}, penalty={"type": "l2", "strength": 1}),
    "class weights": with_keys(DIGITS, dataset={"class_weights": {"3": 9.0}}),
    "averages": with_keys(DIGITS, training={"ema": 0.9, "swa": {"start": 1}}),
    "pictures": {**DIGITS, "model": {"name": "cnn", "channels": [3], "hidden": []}},
    "through vmap": {
        "dataset": {"name": "digits", "num_train": 12, "num_test": 12},
        "model": {"name": "shufflenet_v2_x0_5"},
        "optimizer": {"name": "sgd", "lr": 0.01},
        "training": {"epochs": 1, "batch_size": 6},
    },
    "numbers": LINEAR,
    "half": {**LINEAR, "loss": "half_mse"},
    "scaled targets": {**LINEAR, "dataset": {"name": "diabetes", "standardize_target": True}},
}


def expected(run: regrun.Run) -> tuple[np.ndarray, np.ndarray | None]:
    """Losses and correctness by the network that `load_model` gives, an ordinary module."""
    config = load_config(run.directory / "config.yaml").config
    data = config.dataset.load().to("cpu", torch.float64)
    with torch.no_grad():
        outputs = regrun.load_model(run.directory)(data.features(data.test.inputs, torch.float64))
    targets = data.test.targets
    if data.task == "classification":
        loss = F.cross_entropy(outputs, targets, reduction="none")
        return loss.numpy(), (outputs.argmax(1) == targets).numpy()
    if data.target_scale is not None:
        outputs, targets = data.target_scale.invert(outputs), data.target_scale.invert(targets)
    factor = 0.5 if config.loss.kind == "half_mse" else 1.0
    return factor * ((outputs - targets) ** 2).mean(1).numpy(), None


@pytest.mark.parametrize("case", CASES)
def test_each_loss_is_that_of_the_stored_weights_and_their_mean_that_of_the_summary(
    case: str, train: Train
) -> None:
    run = train(CASES[case], KEEP)
    found = load_test_examples(run.directory)
    assert found is not None
    loss, correct = expected(run)
    np.testing.assert_allclose(found.loss, loss, rtol=1e-9, atol=1e-12)
    assert found.loss.dtype == np.float64
    assert found.loss.mean() == pytest.approx(run.summary.metrics["test/loss"], rel=1e-12)
    if correct is None:
        assert found.correct is None
    else:
        np.testing.assert_array_equal(found.correct, correct)
        mean = np.mean(correct)
        assert mean == pytest.approx(run.summary.metrics["test/accuracy"], rel=1e-12)


def test_the_best_epoch_of_its_case_is_not_the_last(train: Train) -> None:
    run = train(CASES["the best epoch"], KEEP)
    assert run.summary.stopped_early and run.summary.best is not None
    assert run.summary.best.epoch < run.summary.epochs
    last = run.metrics["test/loss"].iloc[-1]
    assert run.test_examples["loss"].mean() != pytest.approx(last, rel=1e-6)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_they_are_single_precision_where_training_is(precision: str, train: Train) -> None:
    run = train(DIGITS, KEEP | {"training.precision": precision})
    found = load_test_examples(run.directory)
    assert found is not None and found.correct is not None
    assert found.loss.dtype == np.float32
    mean = found.loss.mean(dtype=np.float64)
    assert mean == pytest.approx(run.summary.metrics["test/loss"], rel=1e-6)
    assert found.correct.mean() == run.summary.metrics["test/accuracy"]


def test_all_examples_are_measured_however_many_at_once(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = train(DIGITS, KEEP).test_examples
    monkeypatch.setattr(evaluation, "EVALUATION_ELEMENTS", 64 * 7)
    by_sevens = train(DIGITS, KEEP).test_examples
    assert len(at_once) == 40
    np.testing.assert_allclose(by_sevens["loss"], at_once["loss"], rtol=1e-9)
    np.testing.assert_array_equal(by_sevens["correct"], at_once["correct"])


def test_nothing_is_stored_by_default_and_storing_changes_nothing_else(train: Train) -> None:
    without, storing = train(DIGITS), train(DIGITS, {"training.test_examples": True})
    assert not (without.directory / "test_examples.safetensors").exists()
    assert load_test_examples(without.directory) is None
    with pytest.raises(UsageError, match=r"set training\.test_examples to have them"):
        _ = without.test_examples
    one, other = results(without.directory), results(storing.directory)
    for name in ("metrics.jsonl", "weights.safetensors"):
        assert one[name] == other[name]


@pytest.mark.parametrize(("vary", "test_sets"), [(["seed"], 1), (["seed", "data"], 2)])
def test_runs_of_a_sweep_have_those_of_the_run_alone(
    vary: list[str], test_sets: int, tmp_path: Path
) -> None:
    config = with_keys(
        CASES["dropout"],
        training={"precision": "float64", "test_examples": True, "early_stopping": STOPPING},
        sweep={"vary": vary},
    )
    sweep = regrun.sweep(
        config, {"optimizer.lr": [0.01, 0.3]}, seeds=2, runs_dir=tmp_path, device="cpu"
    )
    sets = set()
    for directory in sweep.runs["run_dir"]:
        together = load_test_examples(Path(directory))
        alone = regrun.train(Path(directory) / "config.yaml", runs_dir=tmp_path, device="cpu")
        assert together is not None
        np.testing.assert_allclose(alone.test_examples["loss"], together.loss, rtol=1e-9)
        np.testing.assert_array_equal(alone.test_examples["correct"], together.correct)
        sets.add(together.test_set)
    assert (len(sweep.runs), len(sets)) == (4, test_sets)


def test_a_pruned_run_has_them_and_a_diverged_one_has_none(tmp_path: Path) -> None:
    config = with_keys(LINEAR, training={"test_examples": True, "epochs": 16})
    config["sweep"] = {
        "grid": {"optimizer.lr": [0.01, 0.005, 0.001, 1e-9, 1e200]},
        "pruner": "asha",
        "metric": "train/loss",
    }
    sweep = regrun.sweep(config, runs_dir=tmp_path, device="cpu")
    stored = {
        status: {load_test_examples(Path(each)) is not None for each in runs["run_dir"]}
        for status, runs in sweep.runs.groupby("status")
    }
    assert stored == {"completed": {True}, "pruned": {True}, "diverged": {False}}


def set_of(changes: Mapping[str, Any], base: Mapping[str, Any] = DIGITS) -> str:
    config = config_from_mapping(with_keys(base, dataset=changes), {}).config
    return config.dataset.load().test_set


def test_a_test_set_is_recognised_whatever_the_training_set_is() -> None:
    one = set_of({})
    assert one == set_of({"num_train": 30, "validation": 40, "standardize": False})
    assert one != set_of({"seed": 1})
    assert one != set_of({"num_test": 39})
    assert set_of({}, LINEAR) != set_of({"seed": 1}, LINEAR)


def test_a_test_file_is_recognised_with_another_validation_set(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, count in (("train", 30), ("test", 12)):
        rows = [f"{x},{'abc'[i % 3]},{y}" for i, (x, y) in enumerate(rng.normal(size=(count, 2)))]
        (tmp_path / f"{name}.csv").write_text("\n".join(["x,c,y", *rows]))
    section = {
        "name": "csv", "path": str(tmp_path / "train.csv"), "target": "y",
        "test_path": str(tmp_path / "test.csv"), "validation": 5,
    }  # fmt: skip
    base = {**LINEAR, "dataset": section}
    assert set_of({}, base) == set_of({"seed": 3, "validation": 9}, base)


def test_without_a_test_set_they_are_refused(train: Train) -> None:
    config = with_keys(DIGITS, dataset={"num_test": None, "test": 0})
    message = r"training\.test_examples=true: needs a test set, and dataset\.test is 0"
    with pytest.raises(ConfigError, match=message):
        train(config, KEEP)
    with pytest.warns(DataWarning, match="there is no test set"):
        train(config)


@pytest.mark.parametrize(("base", "each"), [(DIGITS, 40 * 5), (LINEAR, 15 * 4)])
def test_a_plan_says_how_many_bytes_they_take(
    base: dict[str, Any], each: int, tmp_path: Path, invoke: Any
) -> None:
    tree = {**with_keys(base, training={"test_examples": True}), "sweep": {"seeds": 3}}
    plan = plan_sweep(config_from_mapping(tree, {}), Options("cpu"))
    assert plan.test_examples_bytes == 3 * each
    path = tmp_path / "c.yaml"
    path.write_text(json.dumps(tree))
    printed = invoke("sweep", path, "--dry-run").stdout
    assert f"disk       {3 * each} bytes for the results on test examples" in printed
    assert "disk" not in invoke("sweep", path, "training.test_examples=false", "--dry-run").stdout
    run = regrun.train(with_keys(base, training={"test_examples": True}), runs_dir=tmp_path)
    assert (run.directory / "test_examples.safetensors").stat().st_size < each + 400
