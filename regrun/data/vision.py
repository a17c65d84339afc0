"""Image sets through torchvision, as whole uint8 tensors: no picture is ever decoded alone."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regrun.data.assemble import split_and_assemble
from regrun.data.dataset import Dataset, Split
from regrun.data.downloads import download_into
from regrun.data.files import data_folders, download_folder
from regrun.errors import CorruptInputError, UsageError
from regrun.kinds.datasets import CIFAR10, KMNIST, MNIST, FashionMNIST, VisionDataset

Progress = Callable[[str], None]

IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
CIFAR_FILES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta")


def torchvision_datasets(name: str) -> Any:
    """The module `torchvision.datasets`.

    Raises UsageError where torchvision is missing, or is none of the installed torch's: its import
    then fails with one of several errors, "operator torchvision::nms does not exist" the commonest.
    """
    try:
        import torchvision.datasets as datasets
    except (ImportError, RuntimeError, AttributeError, OSError) as error:
        raise UsageError(
            f"dataset {name} needs torchvision, which cannot be used here ({error}); "
            "install both from the same pair of releases: pip install --upgrade torch torchvision"
        ) from error
    return datasets


def load_mnist_like(
    section: MNIST | FashionMNIST | KMNIST, progress: Progress | None = None
) -> Dataset:
    """MNIST and the sets that took its format: uint8 (N, 1, 28, 28), 10 classes."""
    datasets = torchvision_datasets(section.name)
    kind = {"mnist": datasets.MNIST, "fashion_mnist": datasets.FashionMNIST}.get(
        section.name, datasets.KMNIST
    )
    files = [f"{kind.__name__}/raw/{file}" for file in IDX_FILES]
    root = _find_or_download(section, kind, files, progress)
    for images, labels in (files[:2], files[2:]):
        _check_pair(root / images, root / labels, len(kind.classes))

    def read(train: bool) -> Split:
        part = kind(root, train=train)
        return Split(part.data[:, None], part.targets)

    return _assemble(section, read(True), read(False), kind.classes)


def load_cifar10(section: CIFAR10, progress: Progress | None = None) -> Dataset:
    """CIFAR-10: uint8 (N, 3, 32, 32). Its files are pickles; torchvision checks their md5 first."""
    datasets = torchvision_datasets(section.name)
    kind = datasets.CIFAR10
    root = _find_or_download(
        section, kind, [f"{kind.base_folder}/{file}" for file in CIFAR_FILES], progress
    )

    def read(train: bool) -> tuple[Split, list[str]]:
        part = kind(root, train=train)
        images = torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous()
        return Split(images, torch.tensor(part.targets)), part.classes

    try:
        (train, classes), (test, _) = read(True), read(False)
    except RuntimeError as error:
        listed = [*kind.train_list, *kind.test_list, [kind.meta["filename"], kind.meta["md5"]]]
        for file, md5 in listed:
            path = root / kind.base_folder / file
            if not datasets.utils.check_integrity(path, md5):
                raise CorruptInputError(
                    f"{path}: its md5 is not {md5}; delete it to download it again"
                ) from error
        raise
    return _assemble(section, train, test, classes)


def _assemble(section: VisionDataset, train: Split, test: Split, classes: list[str]) -> Dataset:
    return split_and_assemble(
        section, section.name, "classification", train, test, standardize=False, class_names=classes
    )


def _find_or_download(
    section: VisionDataset, kind: Any, files: list[str], progress: Progress | None
) -> Path:
    """The first folder that holds all files, else the one they were downloaded to."""
    looked = data_folders(section.root)
    for folder in looked:
        if all((folder / file).is_file() for file in files):
            return folder
    folder = download_folder(section.root)
    if progress is not None:
        progress(f"downloading {section.name} to {folder}/")
    places = ", ".join(f"{place}/" for place in dict.fromkeys(looked))
    listed = "\n".join(f"  {folder / file}" for file in files)
    by_hand = (
        f"{section.name} is not in {places}; put these files there, or name their folder by "
        f"dataset.root or REGRUN_DATA:\n{listed}"
    )
    download_into(folder, lambda scratch: kind(scratch, download=True), by_hand)
    return folder


def _check_pair(images: Path, labels: Path, num_classes: int) -> None:
    pictures, named = _check_idx(images, 3), _check_idx(labels, 1)
    if pictures[0] != named[0]:
        raise CorruptInputError(f"{labels}: {named[0]:,} labels for {pictures[0]:,} images")
    highest = int(_labels(labels).max())
    if highest >= num_classes:
        raise CorruptInputError(f"{labels}: label {highest}; there are {num_classes} classes")


def _labels(path: Path) -> Tensor:
    return torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8, offset=8)


def _check_idx(path: Path, dimensions: int) -> tuple[int, ...]:
    """The shape that an IDX file of bytes declares, once its magic number and size agree with it.

    Torchvision asserts the same, without saying which file it was.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            header = file.read(4 + 4 * dimensions)
    except OSError as error:
        raise CorruptInputError(f"{path}: cannot be read: {error.strerror}") from error
    if len(header) < 4 + 4 * dimensions:
        raise CorruptInputError(f"{path}: {size} bytes, too short for its header")
    magic, *shape = struct.unpack(f">{1 + dimensions}I", header)
    if magic != 0x0800 + dimensions:
        raise CorruptInputError(
            f"{path}: starts with {magic:#010x}, an IDX file of this kind with "
            f"{0x0800 + dimensions:#010x}"
        )
    promised = len(header) + math.prod(shape)
    if size != promised or not shape[0]:
        raise CorruptInputError(
            f"{path}: {size:,} bytes, but its header promises {promised:,}; delete it to download "
            "it again"
        )
    return tuple(shape)
