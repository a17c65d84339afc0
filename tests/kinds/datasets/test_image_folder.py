"""Pictures of the user's own, a folder for each class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from regrun.errors import ConfigError, CorruptInputError
from tests.support.datasets import load


def picture(path: Path, colour: str | tuple[int, int, int], size: tuple[int, int] = (9, 7)) -> None:
    from PIL import Image

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
    from PIL import Image

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
    from PIL import Image

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


def test_one_class_or_other_classes_in_test_are_refused(tmp_path: Path) -> None:
    for part, name in (("train", "cat"), ("train", "dog"), ("test", "cat"), ("test", "cow")):
        picture(tmp_path / part / name / "a.png", "red")
    with pytest.raises(ConfigError, match="classes cat, cow in test, cat, dog in train"):
        load(name="image_folder", path=str(tmp_path))
    picture(tmp_path / "one" / "cat" / "a.png", "red")
    with pytest.raises(ConfigError, match="one class, 'cat'"):
        load(name="image_folder", path=str(tmp_path / "one"))
