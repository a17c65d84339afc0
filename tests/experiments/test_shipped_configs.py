"""Every config in `configs/`: it loads, it is inspected, it trains, and its claims hold."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

import regrun
from regrun.config.load import load_config
from regrun.errors import RegrunError
from tests.support.program import invoke

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
REAL = ("mnist", "fashion_mnist", "kmnist")
SHORT = {"training.epochs": 2}
FEW = {"dataset.num_train": 100, "dataset.num_test": 50}


def needs(path: Path, request: pytest.FixtureRequest) -> dict[str, Any]:
    """Skip what has no data here; overrides that make the rest quick."""
    dataset = load_config(path).config.dataset
    if dataset.name == "cifar10":
        pytest.skip("CIFAR-10 is not among the real data")
    if dataset.name in REAL:
        request.getfixturevalue("real_data")
        return {**SHORT, **FEW}
    return SHORT


def test_the_configs_are_found() -> None:
    assert {path.stem for path in CONFIGS} >= {
        "weight_decay", "weight_decay_from_scratch", "digits", "dropout_fashion_mnist", "l1_mnist",
        "l2_mnist", "elastic_net_mnist", "diabetes", "csv_example", "cifar10_resnet18",
    }  # fmt: skip


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_loads_points_editors_to_the_schema_and_gives_its_reasons(path: Path) -> None:
    config = load_config(path).config
    assert config.name == path.stem.replace("_", "-")
    text = path.read_text()
    assert text.startswith("# yaml-language-server: $schema=")
    assert len(re.findall(r"^# ", text, flags=re.M)) >= 3


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_commands_in_its_comments_are_valid(path: Path) -> None:
    commands = re.findall(r"^# +(regrun (?:train|sweep) .*)$", path.read_text(), flags=re.M)
    for command in commands:
        _, _, where, *overrides = command.split()
        assert Path(where).name == path.name
        load_config(path, overrides)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_is_inspected_and_trains(
    path: Path, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    overrides = needs(path, request)
    arguments = [f"{key}={value}" for key, value in overrides.items()]
    inspected = invoke("inspect", path, *arguments, "--json")
    assert inspected.exit_code == 0
    document = json.loads(inspected.stdout)
    assert document["parameters"] and document["update_rule"]
    run = regrun.train(path, overrides, runs_dir=tmp_path, device="cpu")
    assert run.summary.status == "completed"
    assert run.summary.epochs == 2


def test_a_dataset_that_is_not_there_says_where_to_put_it(
    configs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*arguments: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("socket.getaddrinfo", no_network)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REGRUN_DATA", raising=False)
    with pytest.raises(RegrunError, match="put these files there") as error:
        regrun.train(configs / "cifar10_resnet18.yaml", runs_dir=tmp_path / "runs")
    assert error.value.exit_code == 2
    assert "data_batch_1" in str(error.value)
    assert not (tmp_path / "runs").exists()


def test_diabetes_reaches_the_objective_of_scikit_learns_lasso(
    configs: Path, tmp_path: Path
) -> None:
    from sklearn.linear_model import Lasso

    path = configs / "diabetes.yaml"
    config = load_config(path).config
    run = regrun.train(path, runs_dir=tmp_path, device="cpu")
    data = config.dataset.load().train
    x, y = data.inputs.numpy(), data.targets.numpy()[:, 0]
    strength = config.penalty[0].strength
    lasso = Lasso(alpha=strength, max_iter=100_000, tol=1e-10).fit(x, y)

    def objective(w: np.ndarray, b: float) -> float:
        return float(0.5 * np.mean((x @ w + b - y) ** 2) + strength * np.abs(w).sum())

    weights = load_file(run.directory / "weights.safetensors")
    mine = weights["output.weight"].double().numpy()[0], weights["output.bias"].item()
    least = objective(lasso.coef_, lasso.intercept_)
    assert objective(*mine) == pytest.approx(run.summary.metrics["objective"], rel=1e-5)
    assert least * (1 - 1e-7) <= objective(*mine) <= least * (1 + 1e-3)
    np.testing.assert_allclose(mine[0], lasso.coef_, atol=0.5)


def last(configs: Path, name: str, overrides: dict[str, Any], tmp_path: Path) -> Any:
    return regrun.train(configs / f"{name}.yaml", overrides, runs_dir=tmp_path).metrics.iloc[-1]


def test_the_penalty_of_the_table_predicts_better_than_none(configs: Path, tmp_path: Path) -> None:
    with_it, without = (
        last(configs, "csv_example", overrides, tmp_path)
        for overrides in ({}, {"penalty.strength": 0})
    )
    assert with_it["train/loss"] > without["train/loss"]
    assert with_it["test/loss"] < 0.7 * without["test/loss"]


def test_the_digits_are_learnt_by_heart_and_dropout_helps(configs: Path, tmp_path: Path) -> None:
    plain, dropped = (
        last(configs, "digits", overrides, tmp_path) for overrides in ({}, {"model.dropout": 0.5})
    )
    assert plain["train/accuracy"] == 1
    assert plain["test/loss"] > 10 * plain["train/loss"]
    assert dropped["test/loss"] < plain["test/loss"]
