"""`training.histograms_every`: what runs and sweeps leave of the weights while they change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.filesize import decimal
from safetensors.numpy import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

import regrun
from regrun.config.load import config_from_mapping
from regrun.errors import CorruptInputError, UsageError
from regrun.histograms import BINS
from regrun.store.reading import load_stored_run
from regrun.sweeps.run import Options, plan_sweep
from tests.plugins.own import networks
from tests.support.program import invoke
from tests.support.runs import run_dirs
from tests.support.sweeps import with_keys

DIGITS: dict[str, Any] = {
    "name": "digits",
    "dataset": {"name": "digits", "num_train": 60, "num_test": 40},
    "model": {"name": "mlp", "hidden": [8, 6]},
    "penalty": {"type": "l1", "strength": 0.05, "method": "proximal"},
    "optimizer": {"name": "sgd", "lr": 0.1},
    "training": {"epochs": 5, "batch_size": 16, "histograms_every": 2},
}
LINEAR: dict[str, Any] = {
    "name": "linear",
    "dataset": {"name": "synthetic_linear", "num_features": 5, "num_train": 6},
    "model": {"name": "linear"},
    "optimizer": {"name": "sgd", "lr": 0.01},
    "training": {"epochs": 6, "batch_size": 3, "histograms_every": 1},
}


def test_a_run_leaves_them_in_its_files(tmp_path: Path) -> None:
    run = regrun.train(DIGITS, runs_dir=tmp_path)
    stored = load_stored_run(run.directory)
    assert [each.epoch for each in stored.histograms] == [0, 2, 4, 5]
    assert stored.summary is not None
    assert "histograms.jsonl" in stored.summary.files
    last = stored.histograms[-1].parameters
    weights = load_file(run.directory / "weights.safetensors")
    assert last.keys() == weights.keys()
    for name, tensor in weights.items():
        assert last[name].counts == np.histogram(tensor.astype(float), BINS)[0].tolist()
    for name, norms in stored.summary.weights.per_layer.items():
        assert last[name].sparsity == pytest.approx(norms.sparsity)
        assert last[name].role == "weight"
    events = EventAccumulator(str(run.directory), {"histograms": 0}).Reload()
    assert set(events.Tags()["histograms"]) == {f"parameters/{name}" for name in weights}
    found = events.Histograms("parameters/output.weight")
    assert [each.step for each in found] == [0, 8, 16, 20]
    assert found[-1].histogram_value.bucket == last["output.weight"].counts


class Scaled(nn.Module):
    """A network of the user's own, with a parameter that is a single number."""

    def __init__(self, in_features: int, num_outputs: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.head = nn.Linear(in_features, num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.scale * self.head(x.flatten(1))
        return y


@pytest.mark.parametrize("network", [Scaled, networks.Residual, networks.Rows])
def test_parameters_of_any_network_are_counted(tmp_path: Path, network: type[nn.Module]) -> None:
    tree = {key: value for key, value in DIGITS.items() if key not in ("model", "penalty")}
    tree["training"] = {"epochs": 1, "histograms_every": 1}
    run = regrun.train(tree, runs_dir=tmp_path, model=network)
    last = load_stored_run(run.directory).histograms[-1].parameters
    module = regrun.load_model(run.directory, model=network)
    assert last.keys() == dict(module.named_parameters()).keys()
    for name, parameter in module.named_parameters():
        entries = parameter.detach().numpy().astype(float)
        assert last[name].size == entries.size
        counts = np.histogram(entries, last[name].edges)[0]
        assert last[name].counts == counts.tolist()


def test_in_python_they_are_a_table(tmp_path: Path) -> None:
    run = regrun.train(DIGITS, runs_dir=tmp_path)
    table = run.histograms
    assert len(table) == 4 * 6
    last = table[table.epoch == 5].set_index("parameter")
    for name, tensor in load_file(run.directory / "weights.safetensors").items():
        counts, edges = np.histogram(tensor.astype(float), BINS)
        np.testing.assert_array_equal(last.counts[name], counts)
        np.testing.assert_array_equal(last.edges[name], edges)
        assert last.zeros[name] == (tensor == 0).sum()
        assert last.sparsity[name] == pytest.approx((tensor == 0).mean())
        assert last["std"][name] == pytest.approx(tensor.std(dtype=float))
    (run.directory / "histograms.jsonl").write_bytes(b"")
    with pytest.raises(CorruptInputError, match=r"histograms\.jsonl: damaged"):
        _ = run.histograms


def test_without_the_key_there_are_none(tmp_path: Path) -> None:
    run = regrun.train(with_keys(DIGITS, training={"histograms_every": 0}), runs_dir=tmp_path)
    assert not (run.directory / "histograms.jsonl").exists()
    assert load_stored_run(run.directory).histograms == []
    with pytest.raises(UsageError, match=r"set training\.histograms_every to have them"):
        _ = run.histograms
    events = EventAccumulator(str(run.directory), {"histograms": 0}).Reload()
    assert events.Tags()["histograms"] == []


def test_they_change_no_other_file_of_a_run(tmp_path: Path) -> None:
    with_them, without = (
        regrun.train(
            with_keys(DIGITS, training={"histograms_every": n}), runs_dir=tmp_path / str(n)
        )
        for n in (1, 0)
    )
    for name in ("metrics.jsonl", "weights.safetensors", "data.json", "preprocessing.json"):
        assert (with_them.directory / name).read_bytes() == (without.directory / name).read_bytes()


def test_runs_of_a_sweep_have_those_of_runs_alone(tmp_path: Path) -> None:
    tree = {**LINEAR, "sweep": {"grid": {"optimizer.lr": [0.01, 0.03]}, "seeds": 2}}
    regrun.sweep(tree, runs_dir=tmp_path)
    runs = run_dirs(tmp_path / "linear")
    assert len(runs) == 4
    for directory in runs:
        together = load_stored_run(directory).histograms
        alone = regrun.train(str(directory / "config.yaml"), runs_dir=tmp_path / "alone")
        for one, other in zip(load_stored_run(alone.directory).histograms, together, strict=True):
            assert (one.epoch, one.step) == (other.epoch, other.step)
            for name, histogram in one.parameters.items():
                assert histogram.counts == other.parameters[name].counts


@pytest.mark.parametrize("evaluate_every", [1, 4])
def test_a_run_that_diverged_has_those_up_to_then(tmp_path: Path, evaluate_every: int) -> None:
    changes = {"histograms_every": 3, "evaluate_every": evaluate_every}
    tree = with_keys(LINEAR, optimizer={"lr": 1e30}, training=changes)
    run = regrun.train(tree, runs_dir=tmp_path)
    assert run.summary.status == "diverged"
    counted = load_stored_run(run.directory).histograms
    assert counted[0].epoch == 0
    assert counted[-1].epoch == run.summary.epochs
    last = counted[-1].parameters["output.weight"]
    assert last.not_finite > 0
    ended = invoke("verify", run.directory)
    assert (ended.exit_code, ended.stdout) == (0, "1 run, 0 sweeps: all as they were left\n")


@pytest.mark.parametrize("value", ["-1", "1.5", "often", "null", "true"])
def test_a_wrong_number_of_epochs_is_refused(tmp_path: Path, value: str) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(json.dumps(LINEAR))
    ended = invoke("train", config, f"training.histograms_every={value}")
    assert ended.exit_code == 2
    assert "training.histograms_every" in ended.stderr


@pytest.mark.parametrize(("epochs", "every"), [(40, 1), (41, 4), (10, 100)])
def test_a_plan_says_how_many_bytes_they_take(tmp_path: Path, epochs: int, every: int) -> None:
    changes = {"epochs": epochs, "histograms_every": every}
    tree = {**with_keys(DIGITS, training=changes, penalty=None), "sweep": {"seeds": 2}}
    plan = plan_sweep(config_from_mapping(tree, {}), Options("cpu"))
    config = tmp_path / "c.yaml"
    config.write_text(json.dumps(tree))
    printed = invoke("sweep", config, "--dry-run").stdout
    assert f"disk       about {decimal(plan.histograms_bytes)} for histograms" in printed
    none = invoke("sweep", config, "training.histograms_every=0", "--dry-run").stdout
    assert "histograms" not in none
    run = regrun.train(tree, runs_dir=tmp_path)
    without = regrun.train(with_keys(tree, training={"histograms_every": 0}), runs_dir=tmp_path)
    taken, spared = (
        sum(file.stat().st_size for file in each.directory.glob("[he]*.*"))
        for each in (run, without)
    )
    assert plan.histograms_bytes / 2 == pytest.approx(taken - spared, rel=0.25)
