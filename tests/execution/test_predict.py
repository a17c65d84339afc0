"""Predictions from a run's directory alone are those of its training, and of other programs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file
from scipy.special import softmax
from sklearn.datasets import load_diabetes, load_digits

import regrun
from regrun.data.preprocessing import Preprocessing
from regrun.errors import CorruptInputError, DataWarning, OutOfMemoryError, UsageError
from regrun.results import json_document
from tests.execution.conftest import Train
from tests.support.program import Invoke
from tests.support.tampering import age

DIGITS = {
    "dataset": {"name": "digits", "num_train": 300},
    "model": {"name": "linear"},
    "optimizer": {"name": "adam", "lr": 0.05},
    "training": {"epochs": 5},
}


def test_digits_are_predicted_as_by_hand_from_the_stored_weights(train: Train) -> None:
    run = train(DIGITS)
    data = load_digits()
    weights = load_file(run.directory / "weights.safetensors")
    scores = data.data / 16 @ weights["output.weight"].T + weights["output.bias"]
    expected = softmax(scores, axis=1)
    for raw in (data.images, data.data, data.images[:, None], torch.from_numpy(data.images)):
        frame = regrun.load_predictor(run.directory).predict(raw)
        assert list(frame.columns) == ["prediction", *(f"p({digit})" for digit in range(10))]
        assert (frame["prediction"] == expected.argmax(1).astype(str)).all()
        np.testing.assert_allclose(frame.iloc[:, 1:].to_numpy(float), expected, atol=1e-6)


def test_a_network_of_images_is_torchs_own(train: Train) -> None:
    config = {
        **DIGITS,
        "dataset": {"name": "fashion_mnist", "num_train": 200, "num_test": 50, "standardize": True},
        "model": {"name": "cnn", "channels": [4], "hidden": [8]},
    }
    run = train(config)
    images = torch.randint(0, 256, (60, 28, 28), dtype=torch.uint8)
    model = regrun.load_model(run.directory)
    assert isinstance(model.preprocessing, Preprocessing)
    scale = model.preprocessing.input_scale
    assert scale is not None
    pixels = (images[:, None].double() / 255 - scale.mean[0]) / scale.std[0]
    with torch.no_grad():
        expected = model(pixels.float())
    found = regrun.load_predictor(run.directory).outputs(images)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_diabetes_is_predicted_as_by_hand(train: Train) -> None:
    config = {
        "dataset": {"name": "diabetes"},
        "model": {"name": "linear"},
        "optimizer": {"name": "sgd", "lr": 0.05},
        "training": {"epochs": 40, "precision": "float64"},
    }
    run = train(config)
    predictor = regrun.load_predictor(run.directory)
    data = load_diabetes(as_frame=True)
    stored = predictor.preprocessing
    assert stored.input_scale is not None
    scaled = (data.data.to_numpy() - stored.input_scale.mean) / stored.input_scale.std
    weights = load_file(run.directory / "weights.safetensors")
    expected = scaled @ weights["output.weight"].T + weights["output.bias"]
    if stored.target_scale is not None:
        expected = expected * stored.target_scale.std[0] + stored.target_scale.mean[0]
    for raw in (data.data, data.data.to_numpy(), data.data[data.data.columns[::-1]]):
        frame = predictor.predict(raw)
        np.testing.assert_allclose(frame["prediction"], expected[:, 0], rtol=1e-12)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Pictures with the channels last, in floating point from 0 to 255, and their classes."""
    generator = np.random.default_rng(0)
    y = np.array(["cat", "dog", "owl"])[np.arange(90) % 3]
    x = (
        generator.integers(0, 200, (90, 10, 12, 3))
        + 25.0 * (np.arange(90) % 3)[:, None, None, None]
    )
    np.savez(tmp_path / "pets.npz", x=x.astype(np.float32), y=y)
    return tmp_path / "pets.npz"


@pytest.fixture
def pets(archive: Path, train: Train) -> regrun.Run:
    return train({**DIGITS, "dataset": {"name": "npz", "path": str(archive)}})


def test_a_copied_run_predicts_without_its_data(
    pets: regrun.Run, archive: Path, tmp_path: Path
) -> None:
    before = regrun.load_predictor(pets.directory).predict(archive)
    elsewhere = tmp_path / "elsewhere" / "run"
    shutil.copytree(pets.directory, elsewhere)
    shutil.rmtree(pets.directory)
    moved = archive.rename(tmp_path / "new.npz")
    after = regrun.load_predictor(elsewhere).predict(moved)
    pd.testing.assert_frame_equal(before, after)
    assert set(after["prediction"]) <= {"cat", "dog", "owl"}


def test_predictions_on_the_data_of_training_have_its_losses(
    pets: regrun.Run, archive: Path
) -> None:
    scores = regrun.load_predictor(pets.directory).score(archive)
    parts = {"train": 72, "test": 18}
    for name in ("loss", "accuracy"):
        measured = sum(
            count * (pets.summary.metrics[f"{part}/{name}"] or 0) for part, count in parts.items()
        )
        assert scores.metrics[name] == pytest.approx(measured / 90, rel=1e-5)
    assert scores.examples == 90


def test_regression_is_scored_as_by_scikit_learn(train: Train, tmp_path: Path) -> None:
    from sklearn import metrics

    generator = np.random.default_rng(0)
    x = generator.normal(size=(60, 3))
    y = np.stack([x.sum(1), 5 - x[:, 0]], axis=1)
    np.savez(tmp_path / "two.npz", x=x, y=y)
    config = {**DIGITS, "dataset": {"name": "npz", "path": str(tmp_path / "two.npz")}}
    predictor = regrun.load_predictor(train(config).directory)
    frame = predictor.predict(tmp_path / "two.npz")
    assert list(frame.columns) == ["prediction(y0)", "prediction(y1)"]
    found = predictor.score(tmp_path / "two.npz").metrics
    assert found["mse"] == pytest.approx(metrics.mean_squared_error(y, frame))
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(y, frame))
    assert found["r2"] == pytest.approx(metrics.r2_score(y, frame))


def test_seeds_of_a_cell_are_an_ensemble(tmp_path: Path, archive: Path) -> None:
    config = {**DIGITS, "dataset": {"name": "npz", "path": str(archive)}}
    axes = {"optimizer.lr": [1e-9, 0.05]}
    sweep = regrun.sweep(config, axes, seeds=3, runs_dir=tmp_path / "runs", device="cpu")
    frame = regrun.load_predictor(sweep.directory).predict(archive)
    assert sweep.summary.best is not None
    rate = sweep.summary.best.params["optimizer.lr"]
    best = sweep.runs[sweep.runs["optimizer.lr"] == rate]
    each = [regrun.load_predictor(path).predict(archive) for path in best["run_dir"]]
    columns = ["p(cat)", "p(dog)", "p(owl)"]
    stacked = np.stack([one[columns].to_numpy() for one in each])
    np.testing.assert_allclose(frame[columns], stacked.mean(0), rtol=1e-12)
    chosen = stacked[:, np.arange(90), stacked.mean(0).argmax(1)]
    np.testing.assert_allclose(frame["spread"], chosen.std(0, ddof=1), rtol=1e-9)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((5, 10, 12, 4)), r"shape \(5, 10, 12, 4\); each example must have shape"),
        (np.zeros((0, 10, 12, 3)), "not examples"),
        (np.full((5, 10, 12, 3), np.nan), "is nan"),
        (np.array([["a"]]), "not examples"),
    ],
)
def test_other_shapes_and_types_are_refused(
    pets: regrun.Run, array: np.ndarray[Any, Any], message: str
) -> None:
    with pytest.raises(CorruptInputError, match=message):
        regrun.load_predictor(pets.directory).predict(array)


def test_pixels_in_another_range_are_warned_of(pets: regrun.Run) -> None:
    with pytest.warns(DataWarning, match=r"values from .* training saw 0 to 249"):
        regrun.load_predictor(pets.directory).predict(np.random.rand(5, 10, 12, 3))


def test_a_class_that_training_did_not_have_is_named(pets: regrun.Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "new.npz", x=np.full((1, 10, 12, 3), 9.0), y=["cow"])
    with pytest.raises(CorruptInputError, match=r"'cow' .* none of the classes .* cat, dog, owl"):
        regrun.load_predictor(pets.directory).score(tmp_path / "new.npz")


def test_data_without_targets_are_predicted_and_not_scored(
    pets: regrun.Run, tmp_path: Path
) -> None:
    np.savez(tmp_path / "new.npz", x=np.full((2, 10, 12, 3), 9.0))
    predictor = regrun.load_predictor(pets.directory)
    assert len(predictor.predict(tmp_path / "new.npz")) == 2
    with pytest.raises(UsageError, match="no targets"):
        predictor.score(tmp_path / "new.npz")


def test_a_run_without_preprocessing_says_what_to_do(pets: regrun.Run) -> None:
    (pets.directory / "preprocessing.json").unlink()
    age(pets.directory)
    with pytest.raises(UsageError, match="earlier version of regrun"):
        regrun.load_predictor(pets.directory)
    assert regrun.load_model(pets.directory).preprocessing is None


def test_averaged_weights_predict_when_they_are_asked_for(train: Train) -> None:
    run = train(DIGITS, {"training.ema": 0.9})
    plain, averaged = (
        regrun.load_predictor(run.directory, average).outputs(load_digits().images)
        for average in (None, "ema")
    )
    assert not torch.equal(plain, averaged)


def test_a_table_with_everything_is_predicted_as_it_was_trained(
    train: Train, tmp_path: Path
) -> None:
    """Text, numbers, decimal commas, dates, missing cells, true and false as the classes."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "when": [f"2020-01-{1 + i % 28:02}" for i in range(80)],
            "town": rng.choice(["Rome ", "Rome", "NA"], 80),
            "zip": rng.choice(["01067", "80331"], 80),
            "size": np.where(rng.random(80) < 0.2, np.nan, rng.normal(size=80)),
            "ok": ["TRUE" if i % 3 else "false" for i in range(80)],
        }
    )
    path = tmp_path / "train.csv"
    frame.to_csv(path, index=False, sep=";", decimal=",")
    keys = {"separator": ";", "decimal": ",", "missing": "mean", "target": "ok"}
    config = {
        "dataset": {"name": "csv", "path": str(path), "test_path": str(path), **keys},
        "model": {"name": "linear"},
        "optimizer": {"name": "sgd", "lr": 0.1},
        "training": {"epochs": 5, "precision": "float64"},
    }
    run = train(config)
    moved = shutil.copytree(run.directory, tmp_path / "elsewhere")
    predictor = regrun.load_predictor(moved)
    scores = predictor.score(path).metrics
    assert scores["loss"] == pytest.approx(run.summary.metrics["test/loss"], rel=1e-6)
    assert scores["accuracy"] == run.summary.metrics["test/accuracy"]
    from_file = predictor.predict(path)
    assert {*from_file["prediction"]} <= {"True", "False"}
    typed = frame.assign(ok=frame["ok"] == "TRUE", when=pd.to_datetime(frame["when"]))
    columns = ["prediction", "p(False)", "p(True)"]
    pd.testing.assert_frame_equal(predictor.predict(typed)[columns], from_file[columns])
    assert predictor.score(typed).metrics == scores


def test_new_pictures_may_have_any_names(train: Train, tmp_path: Path, invoke: Invoke) -> None:
    for name in ("a/1.png", "a/2.png", "b/1.png", "b/2.png"):
        (tmp_path / "old" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "old" / name)
    folder = tmp_path / "new"
    folder.mkdir()
    names = ["\x1b[31m.png", "\n.png", "\u202e.png", os.fsdecode(b"\xff.png"), "[red].png"]
    for name in names:
        Image.new("RGB", (4, 4)).save(folder / name)
    data = {"name": "image_folder", "path": str(tmp_path / "old"), "size": 4, "test": 2}
    optimizer = {"name": "sgd", "lr": 0.1}
    run = train({"dataset": data, "model": {"name": "linear"}, "optimizer": optimizer})
    frame = regrun.load_predictor(run.directory).predict(folder)
    assert {*frame["file"]} == {str(folder / name) for name in [*names[:3], names[4]]} | {
        str(folder / r"\udcff.png")
    }
    json_document(frame.to_dict(orient="records"))
    ended = invoke("predict", run.directory, folder)
    assert (ended.exit_code, r"\x1b[31m.png" in ended.output) == (0, True)


@pytest.mark.parametrize(("most", "sizes"), [(300, [400, 200, 200]), (0, [1] * 10)])
def test_examples_that_do_not_fit_at_once_are_predicted_in_smaller_batches(
    most: int, sizes: list[int], train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.tile(load_digits().images, (2, 1, 1))[:400]
    predictor = regrun.load_predictor(train(DIGITS).directory)
    expected = predictor.outputs(images)
    begun: list[int] = []
    forward = predictor.networks[0].forward

    def short(inputs: torch.Tensor) -> torch.Tensor:
        begun.append(len(inputs))
        if len(inputs) > most:
            torch.empty(10**15)
        found: torch.Tensor = forward(inputs)
        return found

    monkeypatch.setattr(predictor.networks[0], "forward", short)
    if most:
        np.testing.assert_allclose(predictor.outputs(images), expected, rtol=1e-6)
        begun = [size for size in begun if size > 1]  # one is looked at before
    else:
        with pytest.raises(OutOfMemoryError, match=r"4\.0 PB were asked for"):
            predictor.outputs(images)
    assert begun == sizes
