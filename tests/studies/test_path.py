"""Regularization paths: against scikit-learn, their folds, their files and their report."""

from __future__ import annotations

import csv
import json
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, enet_path
from sklearn.model_selection import KFold

from regrun.config.load import Loaded, config_from_mapping
from regrun.config.schema import Config
from regrun.data.dataset import Dataset
from regrun.errors import ConfigError
from regrun.execution.observer import Observer
from regrun.execution.prepare import load_data
from regrun.studies import path as study
from regrun.studies.path import (
    choose,
    fold_parts,
    largest_strength,
    path_config,
    run_path,
    solve,
)
from tests.support.program import invoke

CPU = torch.device("cpu")
LASSO: dict[str, Any] = {"type": "l1", "strength": 1.0}
NET: dict[str, Any] = {"type": "elastic_net", "strength": 1.0, "l1_ratio": 0.3}


def loaded(penalty: Any = LASSO, **changes: Any) -> Loaded:
    base: dict[str, Any] = {
        "name": "some",
        "dataset": {"name": "diabetes"},
        "model": {"name": "linear"},
        "loss": "half_mse",
        "penalty": penalty,
        "optimizer": {"name": "sgd", "lr": 0.1},
    }
    return config_from_mapping({**base, **changes})


def prepared(one: Loaded) -> tuple[Config, Dataset]:
    config = path_config(one)
    return config, load_data(config, CPU)


def table(tmp_path: Path, inputs: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
    """A dataset section for arrays of one's own."""
    np.savez(tmp_path / "data.npz", x_train=inputs, y_train=targets, x_test=inputs, y_test=targets)
    return {"name": "npz", "path": str(tmp_path / "data.npz"), "task": "regression"}


def designs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Correlated columns; more of them than examples for odd seeds."""
    draw = np.random.default_rng(seed)
    count, width = (60, 12) if seed % 2 == 0 else (25, 40)
    inputs = draw.normal(size=(count, width)) + 0.7 * draw.normal(size=(count, 1))
    weights = np.where(draw.random(width) < 0.3, draw.normal(size=width), 0)
    return inputs, inputs @ weights + 0.5 * draw.normal(size=count)


def scikit_learns(
    inputs: np.ndarray, targets: np.ndarray, strengths: np.ndarray, ratio: float
) -> np.ndarray:
    """(strengths, features); an intercept is fitted by centring."""
    _, coefficients, _ = enet_path(
        inputs - inputs.mean(0),
        targets - targets.mean(),
        l1_ratio=ratio,
        alphas=strengths,
        tol=1e-13,
        max_iter=10**6,
    )
    found: np.ndarray = coefficients.T
    return found


@pytest.mark.parametrize(("penalty", "ratio"), [(LASSO, 1.0), (NET, 0.3)])
@pytest.mark.parametrize("seed", [None, 0, 1])
def test_every_fold_has_scikit_learns_path(
    tmp_path: Path, penalty: dict[str, Any], ratio: float, seed: int | None
) -> None:
    changes = {} if seed is None else {"dataset": table(tmp_path, *designs(seed))}
    config, dataset = prepared(loaded(penalty, **changes))
    largest = largest_strength(config, dataset)
    strengths = np.geomspace(largest, largest * 0.02, 12)
    parts = fold_parts(config, len(dataset.train), 3)
    paths = solve(config, dataset, strengths, parts, CPU)
    assert len(paths) == 4
    inputs, targets = dataset.train.inputs.numpy(), dataset.train.targets.numpy()[:, 0]
    for found, kept in zip(paths, parts.numpy(), strict=True):
        assert found.converged
        expected = scikit_learns(inputs[kept], targets[kept], strengths, ratio)
        mine = np.asarray([weight[0].numpy() for weight in found.weights])
        np.testing.assert_array_equal(mine == 0, expected == 0)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(mine, expected, rtol=1e-6, atol=1e-7 * scale)
        offsets = targets[kept].mean() - expected @ inputs[kept].mean(0)
        bias = [each.item() for each in found.intercepts]
        np.testing.assert_allclose(bias, offsets, rtol=1e-6, atol=1e-7 * scale)
        if not kept.all():
            residuals = targets[~kept] - expected @ inputs[~kept].T - offsets[:, None]
            held_out = 0.5 * (residuals**2).mean(1)
            mine_held_out = [row["held_out/loss"] for row in found.rows]
            np.testing.assert_allclose(mine_held_out, held_out, rtol=1e-6)


def test_all_folds_in_one_stack_are_the_folds_one_after_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config, dataset = prepared(loaded())
    largest = largest_strength(config, dataset)
    strengths = np.geomspace(largest, largest * 0.05, 4)
    parts = fold_parts(config, len(dataset.train), 2)
    together = solve(config, dataset, strengths, parts, CPU)
    # Converged paths differ by what convergence leaves; the same number of steps must not.
    monkeypatch.setattr(study, "TOLERANCE", -inf)
    config = config.model_copy(
        update={"training": config.training.model_copy(update={"epochs": 60})}
    )
    whole = solve(config, dataset, strengths, parts, CPU)
    monkeypatch.setattr(study, "available_bytes", lambda _: 1)  # a stack of one each
    single = solve(config, dataset, strengths, parts, CPU)
    for one, other, settled in zip(whole, single, together, strict=True):
        assert not one.converged
        assert settled.converged
        for index in range(len(strengths)):
            torch.testing.assert_close(
                one.weights[index], other.weights[index], rtol=1e-9, atol=1e-9
            )
            assert one.rows[index] == pytest.approx(other.rows[index], rel=1e-9)


def test_an_l1_logistic_path_is_scikit_learns() -> None:
    config, dataset = prepared(
        loaded(dataset={"name": "breast_cancer", "num_train": 150}, loss="auto")
    )
    largest = largest_strength(config, dataset)
    strengths = np.geomspace(largest, largest * 0.1, 4)
    everything = torch.ones(1, len(dataset.train), dtype=torch.bool)
    (found,) = solve(config, dataset, strengths, everything, CPU)
    inputs, labels = dataset.train.inputs.numpy(), dataset.train.targets.numpy()
    assert not found.weights[0].any()
    for strength, weight in list(zip(strengths, found.weights, strict=True))[1:]:
        # Two outputs with opposite weights w, −w cost λ (2 Σ|w|) and score 2w: Σ|2w| λ n in all.
        model = LogisticRegression(
            C=1 / (strength * len(inputs)),
            l1_ratio=1,
            solver="saga",
            tol=1e-9,
            max_iter=10**5,
        ).fit(inputs, labels)
        difference = (weight[1] - weight[0]).numpy()
        np.testing.assert_allclose(difference, model.coef_[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("penalty", [LASSO, NET])
def test_at_the_largest_strength_all_weights_are_zero_and_just_below_it_one_is_not(
    penalty: dict[str, Any],
) -> None:
    config, dataset = prepared(loaded(penalty))
    largest = largest_strength(config, dataset)
    everything = torch.ones(1, len(dataset.train), dtype=torch.bool)
    strengths = np.asarray([largest, largest * (1 - 1e-4)])
    (found,) = solve(config, dataset, strengths, everything, CPU)
    assert [int(weight.count_nonzero()) for weight in found.weights] == [0, 1]
    centred = dataset.train.targets - dataset.train.targets.mean()
    steepest = (dataset.train.inputs.T @ centred).abs().max() / len(centred)
    ratio = penalty.get("l1_ratio", 1)
    assert largest == pytest.approx(float(steepest) / ratio, rel=1e-8)


def test_the_largest_strength_of_classes_starts_from_their_frequencies() -> None:
    config, dataset = prepared(loaded(dataset={"name": "wine"}, loss="auto"))
    labels = torch.nn.functional.one_hot(dataset.train.targets, 3).double()
    gradient = dataset.train.inputs.T @ (labels.mean(0) - labels) / len(labels)
    assert largest_strength(config, dataset) == pytest.approx(float(gradient.abs().max()), rel=1e-8)


def test_every_example_is_held_out_by_one_fold() -> None:
    config = path_config(loaded())
    parts = fold_parts(config, 11, 4)
    assert parts.shape == (5, 11)
    assert parts[0].all()
    assert (~parts[1:]).sum(0).tolist() == [1] * 11
    sizes = [len(held) for _, held in KFold(4).split(np.zeros(11))]
    assert (~parts[1:]).sum(1).tolist() == sizes
    assert torch.equal(fold_parts(config, 11, 4), parts)


def test_the_choice_is_the_lowest_mean_and_the_largest_within_its_standard_error() -> None:
    losses = np.asarray([[9.0, 4.1, 3.0, 2.0, 4.0], [9.0, 3.9, 3.0, 4.0, 4.0]])

    def chosen() -> tuple[float, float]:
        error = losses.std(0, ddof=1) / np.sqrt(2)
        best = choose(np.asarray([5.0, 4.0, 3.0, 2.0, 1.0]), losses.mean(0), error)
        return best.strength, best.one_standard_error

    # means 9, 4, 3, 3, 4: the first of the lowest has no spread, so nothing else is within it
    assert chosen() == (3.0, 3.0)
    losses[:, 2] = [2.0, 3.8]
    # means 9, 4, 2.9, 3, 4; the error of 2.9: sd √(2 · 0.9²) = 1.2728, over √2 = 0.9
    assert chosen() == (3.0, 3.0)
    losses[:, 2] = [1.7, 4.1]
    # the error is 1.2: 2.9 + 1.2 takes in the 4 at strength 4
    assert chosen() == (3.0, 4.0)


@pytest.mark.parametrize(
    ("changes", "where", "words"),
    [
        ({"model": {"name": "mlp", "hidden": [3]}}, "model.name", "mlp: .* linear model"),
        ({"model": {"name": "linear", "input_dropout": 0.1}}, "model.input_dropout", "use 0"),
        ({"penalty": []}, "penalty", "one penalty"),
        ({"penalty": {"type": "l2", "strength": 1.0}}, "penalty", "l1 or elastic_net"),
        ({"penalty": {**NET, "l1_ratio": 0.0}}, "penalty.l1_ratio", "without an L1 part"),
    ],
)
def test_a_config_without_a_path_is_refused_where_it_says_so(
    changes: dict[str, Any], where: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        path_config(loaded(**changes))
    assert where in str(caught.value.details if hasattr(caught.value, "details") else caught.value)


def test_more_folds_than_examples_are_refused(tmp_path: Path) -> None:
    inputs, targets = designs(0)
    few = loaded(dataset=table(tmp_path, inputs[:4], targets[:4]))
    with pytest.raises(ConfigError, match="5 folds of 4"):
        run_path(few, runs_dir=tmp_path, device="cpu")


def test_data_without_a_path_are_refused(tmp_path: Path) -> None:
    inputs, targets = designs(0)
    constant = loaded(dataset=table(tmp_path, inputs, np.ones_like(targets)))
    with pytest.raises(ConfigError, match="every weight stays zero"):
        run_path(constant, runs_dir=tmp_path, device="cpu")
    huge = loaded(dataset=table(tmp_path, inputs, 1e200 * targets))
    with pytest.raises(ConfigError, match="too large"):
        run_path(huge, runs_dir=tmp_path, device="cpu")


def test_one_that_does_not_converge_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    class Watcher(Observer):
        def on_message(self, text: str) -> None:
            said.append(text)

    monkeypatch.setattr(study, "MOST_EPOCHS", 30)
    found = run_path(
        loaded(), runs_dir=tmp_path, number=3, folds=2, device="cpu", observer=Watcher()
    )
    assert found.converged is False
    assert any("not every strength converged" in message for message in said)


def test_the_verb_leaves_the_document_and_its_files(tmp_path: Path) -> None:
    config = Path(__file__).parents[2] / "configs" / "diabetes.yaml"
    arguments = ["path", config, "--number", 6, "--folds", 3, "--json", "--runs-dir", tmp_path]
    ended = invoke(*arguments)
    assert ended.exit_code == 0, ended.stderr
    document = json.loads(ended.stdout)
    ratios = np.divide(document["strengths"][:-1], document["strengths"][1:])
    np.testing.assert_allclose(ratios, 1000 ** (1 / 5))
    assert np.shape(document["coefficients"]) == (6, 10)
    assert np.shape(document["intercepts"]) == (6,)
    assert document["nonzeros"] == np.count_nonzero(document["coefficients"], axis=1).tolist()
    assert document["nonzeros"][0] == 0
    assert document["feature_names"][:3] == ["age", "sex", "bmi"]
    assert document["metrics"].keys() == {
        "train/loss",
        "test/loss",
        "cv/loss",
        "cv/standard_error",
    }
    assert all(len(values) == 6 for values in document["metrics"].values())
    assert document["best"].keys() == {"strength", "one_standard_error"}
    assert document["best"]["one_standard_error"] >= document["best"]["strength"]
    place = Path(document["path_dir"])
    assert {file.name for file in place.iterdir()} == {
        "path.yaml",
        "path.csv",
        "path.png",
        "path.svg",
        "summary.json",
    }
    assert json.loads((place / "summary.json").read_text()) == document
    with (place / "path.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert [float(row["bmi"]) for row in rows] == [each[2] for each in document["coefficients"]]
    again = invoke("path", place / "path.yaml", *arguments[2:])
    repeated = json.loads(again.stdout)
    assert {**repeated, "path_dir": ""} == {**document, "path_dir": ""}
    assert repeated["path_dir"] != document["path_dir"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["model.name=mlp", "model.hidden=[3]"], "a regularization path needs the linear model"),
        (["penalty={type: l2, strength: 1}"], "l1 or elastic_net"),
        (["penalty.strenght=1"], "did you mean"),
        (["--folds", "1"], "--folds"),
        (["--number", "1"], "--number"),
        (["--folds", "5000"], "5000 folds of 354 training examples"),
    ],
)
def test_the_verb_ends_with_2_and_names_the_place(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    config = Path(__file__).parents[2] / "configs" / "diabetes.yaml"
    ended = invoke("path", config, *arguments, "--runs-dir", tmp_path)
    assert ended.exit_code == 2
    assert words in " ".join(ended.stderr.replace("│", " ").split())
    assert list(tmp_path.iterdir()) == []


def test_the_verb_shows_the_chosen_strengths_and_where_the_files_are(tmp_path: Path) -> None:
    config = Path(__file__).parents[2] / "configs" / "diabetes.yaml"
    ended = invoke("path", config, "--number", 40, "--folds", 2, "--runs-dir", tmp_path, "--quiet")
    assert ended.exit_code == 0
    assert "lowest cv loss" in ended.stdout
    assert "one standard error" in ended.stdout
    assert "path.png, path.svg" in ended.stdout
    table = [line for line in ended.stdout.splitlines() if line.strip()[:1].isdigit()]
    assert len(table) < 20
