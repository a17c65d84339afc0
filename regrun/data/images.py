"""The image sets of torchvision: how it is imported, and what their files hold."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

from regrun.errors import CorruptInputError, UsageError
from regrun.regular_files import open_file


def torchvision_datasets(name: str) -> Any:
    """Return the module `torchvision.datasets`, for the dataset of that name.

    Raises UsageError where torchvision is missing or was built for another torch: its import
    then fails with one of several errors, "operator torchvision::nms does not exist" most often.
    """
    try:
        import torchvision.datasets as datasets
    except (ImportError, RuntimeError, AttributeError, OSError) as error:
        raise UsageError(
            f"dataset {name} needs torchvision, which cannot be used here ({error}); "
            "install both from the same pair of releases: pip install --upgrade torch torchvision"
        ) from error
    return datasets


def check_idx_pair(images: Path, labels: Path, num_classes: int) -> None:
    """Raise CorruptInputError where a pair of IDX files is damaged or does not fit together."""
    num_images, num_labels = _check_idx(images, 3)[0], _check_idx(labels, 1)[0]
    if num_images != num_labels:
        raise CorruptInputError(f"{labels}: {num_labels:,} labels for {num_images:,} images")
    highest = max(labels.read_bytes()[8:])
    if highest >= num_classes:
        raise CorruptInputError(f"{labels}: label {highest}; there are {num_classes} classes")


def _check_idx(path: Path, dimensions: int) -> tuple[int, ...]:
    """Return the shape that an IDX file of bytes declares, if magic number and size agree with it.

    Torchvision asserts the same, without saying which file it was.
    """
    try:
        with open_file(path) as file:
            size = path.stat().st_size
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
