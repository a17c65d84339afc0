"""The image sets of torchvision: where they are found, and what damage is noticed."""

from __future__ import annotations

import errno
import gzip
import os
import pickle
import struct
import sys
from collections.abc import Callable
from hashlib import md5
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from regrun.data.targets import Array
from regrun.errors import CorruptInputError, StorageError, UsageError
from tests.support.datasets import dataset_section, load

REAL = Path(os.environ.get("REGRUN_DATA", "data"))


def write_idx(path: Path, array: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def write_set(folder: Path, seed: int = 0) -> None:
    """30 + 10 pictures of 4×4 pixels in the layout of torchvision, in ``folder``."""
    generator = np.random.default_rng(seed)
    for part, count in (("train", 30), ("t10k", 10)):
        images = generator.integers(0, 256, (count, 4, 4))
        write_idx(folder / f"{part}-images-idx3-ubyte", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte", np.arange(count) % 10)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A working directory without any data, and no connection."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REGRUN_DATA", raising=False)

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("no connection")

    monkeypatch.setattr("torchvision.datasets.utils.urllib.request.urlopen", refuse)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "folder", "first_labels", "mean", "std"),
    [
        ("mnist", "MNIST", [5, 0, 4, 1], 0.1307, 0.3081),
        ("fashion_mnist", "FashionMNIST", [9, 0, 0, 3], 0.2860, 0.3530),
    ],
)
def test_the_real_sets_are_what_the_world_knows(
    name: str, folder: str, first_labels: list[int], mean: float, std: float
) -> None:
    if not (REAL / folder / "raw" / "train-images-idx3-ubyte").is_file():
        pytest.skip(f"{folder} is in neither REGRUN_DATA nor data/")
    data = load(name=name, standardize=True, root=str(REAL))
    assert data.train.inputs.shape == (60_000, 1, 28, 28)
    assert data.test.inputs.shape == (10_000, 1, 28, 28)
    assert data.train.inputs.dtype == torch.uint8
    assert data.train.targets[:4].tolist() == first_labels
    assert torch.bincount(data.test.targets).tolist()[0] == (980 if name == "mnist" else 1000)
    assert (data.task, data.num_outputs, data.input_shape) == ("classification", 10, (1, 28, 28))
    assert data.pixel_mean is not None
    assert float(data.pixel_mean) == pytest.approx(mean, abs=5e-5)
    assert data.pixel_std is not None
    assert float(data.pixel_std) == pytest.approx(std, abs=5e-5)


@pytest.mark.parametrize(
    ("name", "folder"),
    [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST"), ("kmnist", "KMNIST")],
)
def test_each_set_is_read_from_its_own_folder(elsewhere: Path, name: str, folder: str) -> None:
    write_set(elsewhere / "data" / folder / "raw", seed=3)
    data = load(name=name)
    expected = np.random.default_rng(3).integers(0, 256, (30, 4, 4))
    np.testing.assert_array_equal(data.train.inputs[:, 0], expected)
    assert data.train.targets.tolist() == [i % 10 for i in range(30)]
    assert (len(data.test), len(data.class_names)) == (10, 10)
    assert data.pixel_mean is None


def test_the_root_comes_before_the_environment_and_that_before_data(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed, place in enumerate(("named", "shared", "data")):
        write_set(elsewhere / place / "MNIST" / "raw", seed)
    monkeypatch.setenv("REGRUN_DATA", str(elsewhere / "shared"))
    first = [int(load(name="mnist", root=r).train.inputs[0, 0, 0, 0]) for r in ("named", "none")]
    monkeypatch.delenv("REGRUN_DATA")
    first.append(int(load(name="mnist").train.inputs[0, 0, 0, 0]))
    assert first == [int(np.random.default_rng(s).integers(0, 256, 1)[0]) for s in (0, 1, 2)]


def test_a_read_only_folder_is_enough(elsewhere: Path) -> None:
    folder = elsewhere / "data" / "MNIST" / "raw"
    write_set(folder)
    before = sorted(elsewhere.rglob("*"))
    folder.chmod(0o555)
    try:
        assert len(load(name="mnist").train) == 30
    finally:
        folder.chmod(0o755)
    assert sorted(elsewhere.rglob("*")) == before


def test_validation_and_subsets_are_drawn_by_class(elsewhere: Path) -> None:
    write_set(elsewhere / "data" / "MNIST" / "raw")
    data = load(name="mnist", validation=10, num_train=10)
    assert data.validation is not None
    assert sorted(data.train.targets.tolist()) == sorted(data.validation.targets.tolist())
    assert torch.bincount(data.train.targets).tolist() == [1] * 10


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("train-images-idx3-ubyte", lambda b: b[:-100], "396 bytes, but its header promises 496"),
        ("train-labels-idx1-ubyte", lambda b: b + b"\0", "39 bytes, but its header promises 38"),
        ("t10k-images-idx3-ubyte", lambda b: b"", "0 bytes, too short for its header"),
        ("t10k-labels-idx1-ubyte", lambda b: b[:5], "5 bytes, too short for its header"),
        ("t10k-images-idx3-ubyte", lambda b: gzip.compress(b), "starts with 0x1f8b"),
        ("train-labels-idx1-ubyte", lambda b: b[:-1] + b"\x0a", "label 10; there are 10 classes"),
        (
            "t10k-labels-idx1-ubyte",
            lambda b: struct.pack(">2I", 0x0801, 9) + b[8:-1],
            "9 labels for 10 images",
        ),
        (
            "train-images-idx3-ubyte",
            lambda b: struct.pack(">4I", 0x0803, 2**32 - 1, 2**32 - 1, 2**32 - 1) + b[16:],
            "496 bytes, but its header promises",
        ),
    ],
)
def test_a_damaged_file_is_named(
    elsewhere: Path, file: str, damage: Callable[[bytes], bytes], message: str
) -> None:
    folder = elsewhere / "data" / "MNIST" / "raw"
    write_set(folder)
    (folder / file).write_bytes(damage((folder / file).read_bytes()))
    with pytest.raises(CorruptInputError) as caught:
        load(name="mnist")
    assert str(caught.value).startswith(f"data/MNIST/raw/{file}: {message}")


def test_every_cut_of_a_file_is_noticed(elsewhere: Path) -> None:
    folder = elsewhere / "data" / "MNIST" / "raw"
    write_set(folder)
    file = folder / "t10k-labels-idx1-ubyte"
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        with pytest.raises(CorruptInputError, match="t10k-labels"):
            load(name="mnist")


def test_a_failed_download_lists_the_files_and_their_places(elsewhere: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load(name="fashion_mnist")
    message = str(caught.value)
    assert "the download failed: no connection" in message
    for file in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        assert f"  data/FashionMNIST/raw/{file}-ubyte" in message
    assert list((elsewhere / "data").iterdir()) == []


def test_a_folder_that_cannot_hold_the_download_is_a_storage_error(elsewhere: Path) -> None:
    (elsewhere / "file").write_text("")
    with pytest.raises(StorageError, match="file/below: cannot hold the download: Not a directory"):
        load(name="mnist", root="file/below")


def test_a_disk_that_fills_up_during_the_download_is_a_storage_error(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import MNIST

    def download(self: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(MNIST, "download", download)
    with pytest.raises(StorageError, match="data: cannot hold the download: No space left"):
        load(name="mnist")
    assert list((elsewhere / "data").iterdir()) == []


def test_a_download_arrives_whole_is_announced_and_is_not_repeated(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import MNIST

    downloads: list[str] = []

    def download(self: Any) -> None:
        downloads.append(self.root)
        write_set(Path(self.raw_folder))

    monkeypatch.setattr(MNIST, "download", download)
    lines: list[str] = []
    for _ in range(2):
        data = dataset_section(name="mnist", root="mine").load(lines.append)
        assert len(data.train) == 30
    assert len(downloads) == 1
    assert Path(downloads[0]).parent == Path("mine")
    assert lines == ["downloading mnist to mine/"]
    assert [place.name for place in (elsewhere / "mine").iterdir()] == ["MNIST"]


def test_a_partly_downloaded_set_is_completed(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import MNIST

    write_set(elsewhere / "data" / "MNIST" / "raw")
    (elsewhere / "data" / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    monkeypatch.setattr(MNIST, "download", lambda self: write_set(Path(self.raw_folder)))
    assert len(load(name="mnist").test) == 10


class _MissingOrBroken:
    """Makes `import torchvision` fail as it does when it is missing or built for another torch."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.split(".")[0] == "torchvision":
            raise self.error


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
@pytest.mark.parametrize(
    "error",
    [
        ModuleNotFoundError("No module named 'torchvision'"),
        RuntimeError("operator torchvision::nms does not exist"),
        AttributeError("partially initialized module 'torchvision' has no attribute 'extension'"),
        OSError("libtorch_cuda.so: undefined symbol"),
    ],
)
def test_without_a_matching_torchvision_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, name: str, error: Exception
) -> None:
    for module in [each for each in sys.modules if each.split(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, "meta_path", [_MissingOrBroken(error), *sys.meta_path])
    with pytest.raises(UsageError) as caught:
        load(name=name)
    assert str(error) in str(caught.value)
    assert "pip install --upgrade torch torchvision" in str(caught.value)
    assert len(load(name="digits").test) == 359


@pytest.fixture
def cifar(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A CIFAR-10 of 20 + 10 pictures, whose checksums torchvision expects."""
    from torchvision.datasets import CIFAR10

    folder = elsewhere / "data" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)

    def write(name: str, content: object) -> str:
        (folder / name).write_bytes(pickle.dumps(content))
        return md5((folder / name).read_bytes()).hexdigest()

    def batch(count: int) -> dict[str, Any]:
        pixels = generator.integers(0, 256, (count, 3072), dtype=np.uint8)
        return {"data": pixels, "labels": [i % 10 for i in range(count)]}

    trains = [(f"data_batch_{i}", write(f"data_batch_{i}", batch(4))) for i in range(1, 6)]
    monkeypatch.setattr(CIFAR10, "train_list", trains)
    monkeypatch.setattr(CIFAR10, "test_list", [("test_batch", write("test_batch", batch(10)))])
    names = {"label_names": [f"class {i}" for i in range(10)]}
    meta = {"filename": "batches.meta", "key": "label_names", "md5": write("batches.meta", names)}
    monkeypatch.setattr(CIFAR10, "meta", meta)
    return folder


def test_cifar10_has_channels_first_and_its_labels(cifar: Path) -> None:
    data = load(name="cifar10")
    assert data.train.inputs.shape == (20, 3, 32, 32)
    assert data.train.inputs.is_contiguous()
    first = pickle.loads((cifar / "data_batch_1").read_bytes())
    np.testing.assert_array_equal(data.train.inputs[0].flatten(), first["data"][0])
    assert data.train.targets[:5].tolist() == [0, 1, 2, 3, 0]
    assert data.class_names[9] == "class 9"


@pytest.mark.parametrize("file", ["data_batch_3", "test_batch", "batches.meta"])
def test_a_cifar10_file_with_another_md5_is_named_and_not_unpickled(cifar: Path, file: str) -> None:
    (cifar / file).write_bytes(b"cos\nsystem\n(S'touch unpickled'\ntR.")
    with pytest.raises(CorruptInputError, match=rf"cifar-10-batches-py/{file}: its md5 is not"):
        load(name="cifar10")
    assert not Path("unpickled").exists()
