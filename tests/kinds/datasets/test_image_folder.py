"""Pictures of the user's own, a folder for each class."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

import regrun
from regrun.data.pictures import read_pictures
from regrun.data.preprocessing import PictureInputs
from regrun.errors import ConfigError, CorruptInputError
from tests.support.datasets import dataset_section, load


def picture(path: Path, colour: str | tuple[int, int, int], size: tuple[int, int] = (9, 7)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """10 red cats and 10 blue dogs."""
    for i in range(10):
        picture(tmp_path / "pets" / "cat" / f"{i}.png", (250 - i, 0, 0))
        picture(tmp_path / "pets" / "dog" / f"{i}.jpg", (0, 0, 250 - i))
    return tmp_path / "pets"


def test_class_folders_are_split_by_class(pets: Path) -> None:
    data = load(name="image_folder", path=str(pets), size=4, test=4, validation=2)
    assert data.validation is not None
    assert (len(data.train), len(data.validation), len(data.test)) == (14, 2, 4)
    assert data.train.inputs.shape == (14, 3, 4, 4)
    assert data.train.inputs.dtype == torch.uint8
    assert data.class_names == ("cat", "dog")
    assert torch.bincount(data.test.targets).tolist() == [2, 2]
    red = data.train.inputs[:, 0].double().mean((1, 2)) > 100
    assert torch.equal(red, data.train.targets == 0)


def test_pictures_are_resized_as_by_pillow(pets: Path) -> None:
    generator = np.random.default_rng(0)
    path = pets / "cat" / "0.png"
    Image.fromarray(generator.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(path)
    (pets / "train").mkdir()
    for name in ("cat", "dog"):
        (pets / name).rename(pets / "train" / name)
    picture(pets / "test" / "cat" / "a.png", "red")
    picture(pets / "test" / "dog" / "a.png", "blue")
    data = load(name="image_folder", path=str(pets), size=8)
    assert (len(data.train), len(data.test)) == (20, 2)
    with Image.open(pets / "train" / "cat" / "0.png") as image:
        expected = np.asarray(image.resize((8, 8), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    np.testing.assert_array_equal(data.train.inputs[0], expected)


@pytest.mark.parametrize("keep", [0, 1, 20, 500])
@pytest.mark.parametrize("file", ["cat/3.png", "dog/3.jpg"])
def test_a_broken_picture_is_named(pets: Path, file: str, keep: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(noise).save(pets / file)
    (pets / file).write_bytes((pets / file).read_bytes()[:keep])
    with pytest.raises(CorruptInputError, match=f"{file}: not a readable picture"):
        load(name="image_folder", path=str(pets))


def test_folders_that_do_not_fit_are_refused(pets: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"dataset\.path: .*empty"):
        load(name="image_folder", path=str(tmp_path / "empty"))
    with pytest.raises(ConfigError, match=r"dataset\.path: .*no such file or folder"):
        load(name="image_folder", path=str(tmp_path / "none"))
    (pets / "cow").mkdir()
    with pytest.raises(ConfigError, match="cow"):
        load(name="image_folder", path=str(pets))


@pytest.mark.parametrize("part", ["test", "val"])
def test_a_class_that_only_another_part_has_is_refused(tmp_path: Path, part: str) -> None:
    for folder, name in (("train", "cat"), ("train", "dog"), (part, "cat"), (part, "cow")):
        picture(tmp_path / folder / name / "a.png", "red")
    with pytest.raises(CorruptInputError, match=r"class 'cow' is in the \w+ part only"):
        load(name="image_folder", path=str(tmp_path))


def test_a_test_set_may_lack_a_class(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        picture(tmp_path / "train" / name / "1.png", "red")
    for name in ("a", "c"):
        picture(tmp_path / "test" / name / "1.png", "red")
    data = load(name="image_folder", path=str(tmp_path))
    assert data.class_names == ("a", "b", "c")
    assert data.test.targets.tolist() == [0, 2]
    assert [each.test for each in data.card.classes] == [1, 0, 1]


def test_a_validation_folder_is_the_validation_set(pets: Path) -> None:
    for name in ("cat", "dog"):
        picture(pets / "Training" / name / "a.png", "red")
        (pets / name).rename(pets / "Training" / f"{name}s")
        (pets / "Training" / name / "a.png").rename(pets / "Training" / f"{name}s" / "z.png")
        (pets / "Training" / name).rmdir()
        picture(pets / "Valid" / f"{name}s" / "a.png", "red")
    section = dataset_section(name="image_folder", path=str(pets), test=4)
    assert section.may_have_validation and section.has_own_validation()
    data = section.load()
    assert data.validation is not None
    assert (len(data.train), len(data.validation), len(data.test)) == (18, 2, 4)
    drawn = load(name="image_folder", path=str(pets), test=4, validation=6)
    assert drawn.validation is not None and len(drawn.validation) == 6
    assert any("the validation folder is not used" in note for note in drawn.notes)


def test_damaged_pictures_are_skipped_where_asked_to(pets: Path) -> None:
    for i in (3, 7):
        (pets / "cat" / f"{i}.png").write_bytes(b"")
    with pytest.raises(CorruptInputError, match="2 of 20 pictures cannot be read"):
        load(name="image_folder", path=str(pets))
    data = load(name="image_folder", path=str(pets), test=4, on_error="skip")
    assert data.card.sizes == {"train": 14, "test": 4}
    assert [each.train + (each.test or 0) for each in data.card.classes] == [8, 10]
    assert data.card.skipped[0].startswith("2 damaged pictures: ")
    assert any(note.startswith("skipped 2 damaged pictures") for note in data.notes)
    for path in (pets / "cat").iterdir():
        path.write_bytes(b"")
    with pytest.raises(CorruptInputError, match="every training picture of class 'cat' is damaged"):
        load(name="image_folder", path=str(pets), on_error="skip")


def test_the_card_and_the_preprocessing_say_how_pictures_were_read(tmp_path: Path) -> None:
    for i in range(6):
        values = np.full((5, 4), 4095 - 100 * i, np.uint16)
        for name in ("a", "b"):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray(values).save(tmp_path / name / f"{i}.png")
    data = load(name="image_folder", path=str(tmp_path), size=[5, 4], test=2)
    card = data.card.input
    assert (card.shape, card.dtype, card.low, card.high) == ([3, 5, 4], "uint16", 3595, 4095)
    assert card.scaling == "0..4095 scaled to 0..1"
    assert data.card.files == [str(tmp_path)]
    inputs = data.preprocessing.inputs
    assert isinstance(inputs, PictureInputs)
    assert (inputs.size, inputs.integers) == ((5, 4), (0, 4095))
    files = sorted(tmp_path.glob("*/*.png"))
    again = read_pictures(files, inputs)
    there = torch.cat([data.train.inputs, data.test.inputs])
    assert sorted(again[:, 0, 0, 0].tolist()) == sorted(there[:, 0, 0, 0].tolist())
    data = load(name="image_folder", path=str(tmp_path), standardize=True, test=2)
    assert data.card.input.scaling == "0..4095 scaled to 0..1, standardized by channel"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"background": "whit"}, "'whit' is no opaque colour"),
        ({"background": "#ffffff80"}, "is no opaque colour"),
        ({"value_range": [5, 5]}, "the lower number first"),
        ({"size": [8, 0]}, "size"),
        ({"size": [8, 8, 3]}, "size"),
        ({"on_error": "ignore"}, "on_error"),
    ],
)
def test_wrong_keys_are_found_with_the_config(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        dataset_section(name="image_folder", path=".", **keys)


def test_the_memory_is_estimated_from_the_number_of_pictures(pets: Path) -> None:
    section = dataset_section(name="image_folder", path=str(pets), size=[8, 4])
    assert section.estimate_bytes() == section.load().train.inputs[0].numel() * 20


def test_torchvision_is_not_needed(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    assert len(load(name="image_folder", path=str(pets)).test) == 4


def test_folders_with_one_class_are_refused(tmp_path: Path) -> None:
    picture(tmp_path / "one" / "cat" / "a.png", "red")
    with pytest.raises(ConfigError, match="one class, 'cat'"):
        load(name="image_folder", path=str(tmp_path / "one"))


@pytest.fixture
def config(pets: Path) -> dict[str, Any]:
    """The config of a quick run on the pets."""
    return {
        "dataset": {"name": "image_folder", "path": str(pets), "size": [6, 4], "test": 4},
        "model": {"name": "linear"},
        "optimizer": {"name": "sgd", "lr": 0.1},
        "training": {"epochs": 2},
    }


def test_a_run_keeps_what_was_done_to_its_pictures(
    invoke: Any, config: dict[str, Any], pets: Path, tmp_path: Path
) -> None:
    for name in ("cat", "dog"):
        (pets / "Train").mkdir(exist_ok=True)
        (pets / name).rename(pets / "Train" / name)
        picture(pets / "valid" / name / "a.png", "red")
    Image.new("RGBA", (6, 4), (0, 0, 0, 0)).save(pets / "Train" / "cat" / "0.png")
    (pets / "Train" / "cat" / "1.png").write_bytes(b"")
    (pets / "Train" / "cat" / ".hidden.png").write_bytes(b"")
    (tmp_path / "c.yaml").write_text(json.dumps(config))
    refused = invoke("train", tmp_path / "c.yaml", "--runs-dir", tmp_path / "runs")
    assert refused.exit_code == 5
    assert "1.png: not a readable picture: the file is empty" in refused.stderr
    result = invoke(
        "train", tmp_path / "c.yaml", "dataset.on_error=skip", "--runs-dir", tmp_path / "runs",
        "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    summary = json.loads(result.stdout)
    assert {"val/loss", "val/accuracy"} <= summary["metrics"].keys()
    data = summary["data"]
    assert data["sizes"] == {"train": 15, "validation": 2, "test": 4}
    assert [each["name"] for each in data["classes"]] == ["cat", "dog"]
    assert data["input"]["shape"] == [3, 6, 4]
    assert [line.split(":")[0] for line in data["skipped"]] == [
        "1 hidden entry", "1 damaged picture",
    ]  # fmt: skip
    assert "1 transparent picture composed on white (dataset.background)" in data["notes"]


def test_layouts_and_missing_validation_pictures_are_refused_by_the_program(
    invoke: Any, config: dict[str, Any], pets: Path, tmp_path: Path
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(json.dumps(config))
    stopping = "training.early_stopping={metric: val/loss}"
    result = invoke("train", path, stopping, "--runs-dir", tmp_path / "runs")
    assert result.exit_code == 2
    assert "there are no validation pictures; give dataset.validation" in result.stderr
    picture(pets / "test" / "a.png", "red")
    result = invoke("train", path, "--runs-dir", tmp_path / "runs")
    assert result.exit_code == 2
    assert "c.yaml:1:46: dataset.path: " in result.stderr
    assert "test looks like a part, the others do not" in result.stderr
    assert not list((tmp_path / "runs").glob("*"))


@pytest.mark.filterwarnings("ignore::regrun.errors.DataWarning")
def test_a_run_with_a_table_of_labels_can_be_repeated_from_its_config(
    config: dict[str, Any], pets: Path, tmp_path: Path
) -> None:
    rows = [f"{path.relative_to(pets)},{path.parent.name}" for path in pets.glob("*/*")]
    (pets / "labels.csv").write_text("\n".join(["file,label", *sorted(rows)]))
    config["dataset"]["labels"] = "labels.csv"
    first = regrun.train(config, runs_dir=tmp_path / "runs")
    assert first.summary.data is not None
    assert first.summary.data.files == [str(pets), str(pets / "labels.csv")]
    again = regrun.train(first.directory / "config.yaml", runs_dir=tmp_path / "again")
    assert again.summary.metrics == first.summary.metrics
