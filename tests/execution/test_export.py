"""Exported networks give what the predictor gives."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import regrun
from regrun.data.targets import Array
from regrun.errors import UsageError
from regrun.execution.export import export_network
from tests.execution.conftest import Train

CNN = {
    "model": {"name": "cnn", "channels": [4], "hidden": [8], "dropout": 0.3},
    "optimizer": {"name": "adam", "lr": 0.01},
    "training": {"epochs": 2},
}


@pytest.fixture(params=["uint8", "float32", "numbers"])
def run(request: pytest.FixtureRequest, train: Train, tmp_path: Path) -> regrun.Run:
    """Trained on bytes, on standardized floating-point pictures, and on two numbers to predict."""
    generator = np.random.default_rng(0)
    x: Array
    y: Array
    if request.param == "numbers":
        x, y = generator.normal(50, 9, (60, 4)), generator.normal(900, 70, (60, 2))
    else:
        x = generator.integers(0, 256, (60, 3, 8, 8)).astype(request.param)
        y = generator.integers(0, 3, 60)
    np.savez(tmp_path / "a.npz", x=x, y=y)
    dataset = {"name": "npz", "path": str(tmp_path / "a.npz"), "standardize": True}
    model = {"name": "mlp", "hidden": [8]} if request.param == "numbers" else CNN["model"]
    return train({**CNN, "model": model, "dataset": dataset})


def raw_inputs(directory: Path, count: int) -> Array:
    with np.load(directory.parents[2] / "a.npz") as archive:
        x: Array = archive["x"][:count]
    return x if x.dtype == np.uint8 else x.astype(np.float32)


@pytest.mark.parametrize("count", [1, 7])
def test_torch_export_gives_the_outputs_of_the_predictor(run: regrun.Run, count: int) -> None:
    stored = {"preprocessing.json": ""}
    content = io.BytesIO(export_network(run.directory, ".pt2"))
    program = torch.export.load(content, extra_files=stored).module()
    x = raw_inputs(run.directory, count)
    outputs = program(torch.from_numpy(x))
    scores = outputs[0] if isinstance(outputs, tuple) else outputs
    expected = regrun.load_predictor(run.directory).outputs(x)
    np.testing.assert_allclose(scores.detach(), expected, rtol=1e-5, atol=1e-5)
    assert json.loads(stored["preprocessing.json"])["dataset"] == "npz"


@pytest.mark.parametrize("count", [1, 7])
def test_onnx_gives_the_predictions_and_probabilities(run: regrun.Run, count: int) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(export_network(run.directory, ".onnx"))
    x = raw_inputs(run.directory, count)
    outputs = session.run(None, {"inputs": x})
    predictor = regrun.load_predictor(run.directory)
    np.testing.assert_allclose(outputs[0], predictor.outputs(x), rtol=1e-4, atol=1e-4)
    metadata = session.get_modelmeta().custom_metadata_map["preprocessing.json"]
    assert json.loads(metadata) == predictor.preprocessing.to_dict() | {
        "inputs": json.loads(metadata)["inputs"]
    }
    if predictor.preprocessing.classes:
        frame = predictor.predict(x)
        np.testing.assert_allclose(outputs[1], frame.iloc[:, 1:].to_numpy(float), atol=1e-5)


def test_without_the_packages_of_onnx_it_says_what_to_install(
    run: regrun.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UsageError, match=r"pip install 'regrun\[onnx\]'"):
        export_network(run.directory, ".onnx")


@pytest.mark.parametrize("name", ["nothing", "empty", "file.yaml"])
def test_what_is_no_run_is_not_called_a_run_of_an_earlier_version(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.yaml").write_text("name: a\n", encoding="utf-8")
    with pytest.raises(UsageError, match=rf"{name} is not a run directory"):
        export_network(tmp_path / name, ".onnx")
