"""Two classes are one output, and whatever is reported of them is of two classes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, roc_auc_score
from torch import nn

import regrun
from regrun.config.load import load_config
from regrun.execution.export import export_network
from regrun.store.weights import load_weights
from tests.execution.conftest import Train
from tests.support.program import invoke
from tests.support.tampering import age

BINARY: dict[str, Any] = {
    "dataset": {"name": "breast_cancer"},
    "model": {"name": "mlp", "hidden": [5]},
    "optimizer": {"name": "adam", "lr": 0.01},
    "training": {"epochs": 3, "precision": "float64"},
    "metrics": ["auroc", "f1", "confusion_matrix"],
}
RAW = load_breast_cancer(as_frame=True).data
NAMES = ["p(malignant)", "p(benign)"]


def logits(run: regrun.Run) -> np.ndarray:
    """Outputs for the raw data by the module that `load_model` gives."""
    model = regrun.load_model(run.directory)
    scale = model.preprocessing.input_scale  # type: ignore[union-attr]
    inputs = (RAW.to_numpy() - scale.mean) / scale.std
    with torch.no_grad():
        found: np.ndarray = model(torch.from_numpy(inputs)).numpy()
    return found


def test_the_module_gives_the_logit_of_the_second_class(train: Train) -> None:
    run = train(BINARY)
    z = logits(run)
    assert z.shape == (len(RAW), 1)
    assert run.summary.model is not None and run.summary.model.num_outputs == 1
    predictor = regrun.load_predictor(run.directory)
    frame = predictor.predict(RAW)
    expected = np.hstack([expit(-z), expit(z)])
    np.testing.assert_allclose(frame[NAMES].to_numpy(float), expected, rtol=1e-12)
    names = np.asarray(["malignant", "benign"])
    assert (frame["prediction"] == names[(z[:, 0] > 0).astype(int)]).all()
    np.testing.assert_allclose(predictor.outputs(RAW), np.hstack([0 * z, z]), rtol=1e-12)


def test_metrics_are_those_of_the_sigmoid(train: Train) -> None:
    run = train(BINARY)
    data = load_config(run.directory / "config.yaml").config.dataset.load()
    with torch.no_grad():
        z = regrun.load_model(run.directory)(data.test.inputs).numpy()[:, 0]
    y, found = data.test.targets.numpy(), run.summary.metrics
    assert found["test/loss"] == pytest.approx(log_loss(y, expit(z)), rel=1e-12)
    assert found["test/accuracy"] == pytest.approx(accuracy_score(y, z > 0), rel=1e-12)
    assert found["test/auroc"] == pytest.approx(roc_auc_score(y, z), rel=1e-12)
    assert run.summary.confusion is not None
    np.testing.assert_array_equal(run.summary.confusion["test"], confusion_matrix(y, z > 0))


def test_several_networks_give_the_mean_of_their_probabilities(tmp_path: Path) -> None:
    sweep = regrun.sweep(BINARY, seeds=3, runs_dir=tmp_path, device="cpu")
    each = [expit(logits(regrun.load_run(path))) for path in sweep.runs["run_dir"]]
    frame = regrun.load_predictor(sweep.directory).predict(RAW)
    mean = np.mean(each, axis=0)[:, 0]
    np.testing.assert_allclose(frame["p(benign)"].to_numpy(float), mean, rtol=1e-12)
    spread = np.std(each, axis=0, ddof=1)[:, 0]  # that of the other class is the same
    np.testing.assert_allclose(frame["spread"].to_numpy(float), spread, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("count", [1, 7])
@pytest.mark.parametrize("suffix", [".pt2", ".onnx"])
def test_exported_networks_give_scores_and_probabilities_of_both_classes(
    train: Train, suffix: str, count: int
) -> None:
    if suffix == ".onnx":
        onnxruntime = pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    run = train(BINARY)
    content = export_network(run.directory, suffix)
    x = RAW.to_numpy(np.float32)[:count]
    if suffix == ".onnx":
        scores, probabilities = onnxruntime.InferenceSession(content).run(None, {"inputs": x})
    else:
        program = torch.export.load(io.BytesIO(content)).module()
        scores, probabilities = (each.detach() for each in program(torch.from_numpy(x)))
    z = logits(run)[:count]
    np.testing.assert_allclose(scores, np.hstack([0 * z, z]), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(probabilities, np.hstack([expit(-z), expit(z)]), atol=1e-5)


def test_a_sequential_of_ones_own_reads_the_stored_weights(train: Train) -> None:
    run = train({**BINARY, "model": {"name": "linear"}})
    weights, _ = load_weights(run.directory / "weights.safetensors")
    own = nn.Linear(30, 1).double()
    own.load_state_dict({name.removeprefix("output."): t for name, t in weights.items()})
    inputs = torch.randn(4, 30, dtype=torch.float64)
    assert torch.equal(own(inputs), regrun.load_model(run.directory)(inputs))


def test_runs_with_two_outputs_are_loaded_predicted_and_compared(
    train: Train, tmp_path: Path
) -> None:
    """Runs of versions up to 0.2.0 have them under `loss: auto`."""
    older = train({**BINARY, "loss": "cross_entropy"})
    path = older.directory / "config.yaml"
    text = path.read_text(encoding="utf-8")
    assert "loss: cross_entropy" in text
    path.write_text(text.replace("loss: cross_entropy", "loss: auto"), encoding="utf-8")
    age(older.directory)
    scores = logits(older)
    assert scores.shape == (len(RAW), 2)
    predictor = regrun.load_predictor(older.directory)
    found = predictor.predict(RAW)[NAMES].to_numpy(float)
    expected = expit(scores[:, 1] - scores[:, 0])
    np.testing.assert_allclose(found[:, 1], expected, rtol=1e-12)
    np.testing.assert_allclose(predictor.outputs(RAW), scores, rtol=1e-12)
    newer = train(BINARY)
    ended = invoke("compare", older.directory, newer.directory)
    assert ended.exit_code == 0, ended.output
    program = torch.export.load(io.BytesIO(export_network(older.directory, ".pt2"))).module()
    x = torch.from_numpy(RAW.to_numpy(np.float32)[:5])
    np.testing.assert_allclose(program(x)[1].detach()[:, 1], expected[:5], atol=1e-5)


def test_a_sweep_with_two_outputs_gets_no_replicates_with_one(tmp_path: Path) -> None:
    config = {**BINARY, "loss": "cross_entropy", "sweep": {"grid": {"optimizer.lr": [0.01, 0.02]}}}
    sweep = regrun.sweep(config, runs_dir=tmp_path, device="cpu")
    more = invoke("resume", sweep.directory, "--seeds", "2")
    assert more.exit_code == 0, more.output
    for path in sweep.directory.rglob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("loss: cross_entropy", "loss: auto"), encoding="utf-8")
        age(path.parent)
    again = invoke("resume", sweep.directory, "--seeds", "3")
    assert again.exit_code == 2
    assert "2 outputs for 2 classes, where binary_cross_entropy now has one" in again.stderr
    assert len(list(sweep.directory.glob("*/summary.json"))) == 4


@pytest.mark.parametrize("model", ["linear", "cnn"])
def test_two_folders_of_pictures_are_two_classes(train: Train, tmp_path: Path, model: str) -> None:
    generator = np.random.default_rng(0)
    x = generator.integers(0, 256, (40, 1, 8, 8)).astype(np.uint8)
    np.savez(tmp_path / "a.npz", x=x, y=np.asarray(["cat", "dog"])[np.arange(40) % 2])
    sections = {"linear": {"name": "linear"}, "cnn": {"name": "cnn", "channels": [2], "hidden": []}}
    augment = {"flip": 0.5, "mixup": 0.3, "label_smoothing": 0.1}
    run = train(
        {
            **BINARY,
            "dataset": {"name": "npz", "path": str(tmp_path / "a.npz")},
            "model": sections[model],
            "augment": augment,
        }
    )
    frame = regrun.load_predictor(run.directory).predict(x)
    assert list(frame.columns) == ["prediction", "p(cat)", "p(dog)"]
    np.testing.assert_allclose(frame["p(cat)"] + frame["p(dog)"], 1, rtol=1e-12)
