"""The data card as people read it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from regrun.cli.data_report import data_line
from regrun.results import ClassCount, DataCard, InputCard, TargetCard
from tests.support.runs import DIGITS


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "digits.yaml"
    path.write_text(yaml.safe_dump(DIGITS))
    return path


def test_a_line_names_file_task_inputs_and_sizes() -> None:
    card = DataCard(
        dataset="csv",
        files=["/data/flats.csv"],
        task="regression",
        targets=[TargetCard(name="price", mean=1, std=2, standardized=True)],
        sizes={"train": 1600, "test": 40},
        input=InputCard(shape=[8], dtype="text"),
    )
    expected = "flats.csv: regression of price from 8 features; 1,600 train, 40 test"
    assert data_line(card) == expected


def test_a_dataset_of_many_files_is_called_by_its_name() -> None:
    card = DataCard(
        dataset="mnist",
        files=[f"/data/MNIST/raw/{name}" for name in "abcd"],
        task="classification",
        sizes={"train": 9},
        input=InputCard(shape=[1, 28, 28], dtype="uint8"),
    )
    assert data_line(card).startswith("mnist: classification, 0 classes")


def test_many_classes_are_counted() -> None:
    card = DataCard(
        dataset="npz",
        task="classification",
        classes=[ClassCount(name=f"c{i}", train=1) for i in range(100)],
        sizes={"train": 100},
        input=InputCard(shape=[3, 32, 32], dtype="uint8"),
    )
    assert "100 classes (c0, c1, c2, c3, c4, … 95 more) from 3×32×32;" in data_line(card)


def test_inspect_data_shows_card_and_pictures(invoke: Any, config: Path) -> None:
    shown = invoke("inspect", "--data", config).stdout
    assert "60 train, 50 validation, 40 test" in shown
    assert "@@" in shown, "a picture, in characters"


def test_inspect_data_as_json_is_the_card_of_a_run(
    invoke: Any, config: Path, tmp_path: Path
) -> None:
    shown = json.loads(invoke("inspect", "--data", config, "--json").stdout)
    trained = json.loads(invoke("train", config, "--json", "--runs-dir", tmp_path).stdout)
    assert shown == trained["data"]


def test_data_are_shown_whatever_the_model(invoke: Any, config: Path) -> None:
    words = ("dataset={name: wine}", "model={name: cnn}")
    assert invoke("inspect", config, *words).exit_code == 2
    shown = invoke("inspect", "--data", config, *words)
    assert shown.exit_code == 0
    assert "example 1" in shown.stdout


def test_a_path_carries_the_card(invoke: Any, config: Path, tmp_path: Path) -> None:
    words = (
        "path", config, "dataset={name: diabetes}", "model={name: linear}",
        "penalty={type: l1, strength: 1}", "training={}", "optimizer={name: sgd, lr: 0.1}",
        "--number", "4", "--runs-dir", tmp_path,
    )  # fmt: skip
    card = json.loads(invoke(*words, "--json").stdout)["data"]
    assert (card["dataset"], card["task"]) == ("diabetes", "regression")
    assert "data       diabetes: regression of progression" in invoke(*words).stdout


def test_the_picture_grid_is_a_png(invoke: Any, config: Path, tmp_path: Path) -> None:
    path = tmp_path / "grid.png"
    assert invoke("inspect", config, "--pictures", path).exit_code == 0
    image = Image.open(io.BytesIO(path.read_bytes()))
    assert image.format == "PNG"
    assert image.width > 6 * 96


def test_a_table_has_no_pictures(invoke: Any, config: Path, tmp_path: Path) -> None:
    result = invoke("inspect", config, "dataset={name: wine}", "--pictures", tmp_path / "x.png")
    assert result.exit_code == 2
    assert "no pictures" in result.stderr
