"""Pictures of the user's own, a folder a class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from regrun.data.assemble import split_and_assemble
from regrun.data.dataset import Dataset, Split
from regrun.data.files import find_path
from regrun.data.vision import Progress, torchvision_datasets
from regrun.errors import ConfigError, CorruptInputError
from regrun.kinds.datasets import ImageFolder


def load_image_folder(
    section: ImageFolder, base: Path | None = None, progress: Progress | None = None
) -> Dataset:
    """uint8 (N, 3, size, size): every picture in RGB, resized (bilinear, antialiased) by Pillow.

    A ``train`` and a ``test`` folder are used as they are; otherwise the class folders of the one
    there is are split. Raises CorruptInputError naming a picture that cannot be decoded.
    """
    datasets = torchvision_datasets(section.name)
    path = find_path(section.path, "path", base)
    train_folder = path / "train" if (path / "train").is_dir() else path
    train, classes = _read(datasets, train_folder, section.size, progress)
    test: Split | int | float = section.test
    if train_folder != path and (path / "test").is_dir():
        test, test_classes = _read(datasets, path / "test", section.size, progress)
        if test_classes != classes:
            raise ConfigError.at(
                "dataset.path",
                f"{path}: classes {', '.join(test_classes)} in test, {', '.join(classes)} in train",
            )
    return split_and_assemble(
        section,
        section.name,
        "classification",
        train,
        test,
        standardize=False,
        class_names=classes,
        notes=[f"pictures resized to {section.size}×{section.size}, in RGB"],
    )


def _read(
    datasets: Any, folder: Path, size: int, progress: Progress | None
) -> tuple[Split, list[str]]:
    try:
        pictures = datasets.ImageFolder(folder)
    except (OSError, ValueError) as error:
        raise ConfigError.at("dataset.path", f"{folder}: {error}") from error
    if len(pictures.classes) < 2:
        raise ConfigError.at(
            "dataset.path", f"{folder}: one class, {pictures.classes[0]!r}; there must be two"
        )
    if progress is not None:
        progress(f"reading {len(pictures.samples):,} pictures from {folder}")
    images = torch.empty(len(pictures.samples), 3, size, size, dtype=torch.uint8)
    for image, (path, _) in zip(images, pictures.samples, strict=True):
        image.copy_(torch.from_numpy(_picture(path, size)))
    return Split(images, torch.tensor(pictures.targets)), pictures.classes


def _picture(path: str, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(3, size, size) uint8."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            rgb = image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
    # What Pillow raises on damaged pictures: UnidentifiedImageError (an OSError), SyntaxError from
    # its PNG reader, ValueError and DecompressionBombError for impossible sizes.
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise CorruptInputError(f"{path}: not a readable picture: {error}") from error
    return np.asarray(rgb).transpose(2, 0, 1).copy()
