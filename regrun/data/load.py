"""The table of loaders: from a `dataset` section to tensors in memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regrun.data.bundled import (
    load_breast_cancer,
    load_california_housing,
    load_diabetes,
    load_digits,
    load_wine,
)
from regrun.data.csv_table import load_csv
from regrun.data.dataset import Dataset
from regrun.data.files import find_file
from regrun.data.image_folder import load_image_folder
from regrun.data.npz import from_arrays, holds_validation, load_npz, names_in
from regrun.data.synthetic import load_synthetic_linear
from regrun.data.vision import Progress, load_cifar10, load_mnist_like
from regrun.kinds.base import faults_of
from regrun.kinds.datasets import NPZ, DatasetSection, SyntheticLinear
from regrun.kinds.plugins import GivesArrays

Loader = Callable[[Any, Path | None, Progress | None], Dataset]

LOADERS: dict[str, Loader] = {
    "synthetic_linear": lambda section, base, progress: load_synthetic_linear(section),
    "digits": lambda section, base, progress: load_digits(section),
    "diabetes": lambda section, base, progress: load_diabetes(section),
    "breast_cancer": lambda section, base, progress: load_breast_cancer(section),
    "wine": lambda section, base, progress: load_wine(section),
    "california_housing": lambda section, base, progress: load_california_housing(section),
    "mnist": lambda section, base, progress: load_mnist_like(section, progress),
    "fashion_mnist": lambda section, base, progress: load_mnist_like(section, progress),
    "kmnist": lambda section, base, progress: load_mnist_like(section, progress),
    "cifar10": lambda section, base, progress: load_cifar10(section, progress),
    "csv": lambda section, base, progress: load_csv(section, base),
    "npz": lambda section, base, progress: load_npz(section, base),
    "image_folder": load_image_folder,
}

_FLOAT_TABLES = {
    "digits": (1797, 64),
    "diabetes": (442, 10),
    "breast_cancer": (569, 30),
    "wine": (178, 13),
    "california_housing": (20_640, 8),
}
_BYTE_IMAGES = {
    "mnist": (70_000, 784),
    "fashion_mnist": (70_000, 784),
    "kmnist": (70_000, 784),
    "cifar10": (60_000, 3072),
}


def load_dataset(
    section: DatasetSection,
    *,
    base: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> Dataset:
    """Loads, splits, encodes and standardises.

    base: the config's folder, which the paths in it are relative to; default: the working
    directory. progress: told, in a line, before anything that takes long.

    Raises ConfigError at the key that does not fit the data, UsageError where something has to be
    installed or fetched by hand, CorruptInputError naming the damaged file, StorageError where a
    download cannot be written.
    """
    if isinstance(section, GivesArrays):
        return from_arrays(section, _given(section), f"dataset {section.name}", "name")
    return LOADERS[section.name](section, base, progress)


def has_own_validation(section: DatasetSection, base: Path | None = None) -> bool:
    """Whether the examples come with a validation set, whatever `validation` holds out.

    Of an archive only the list of its arrays is read. Raises what `load_dataset` raises.
    """
    if isinstance(section, NPZ):
        return holds_validation(names_in(find_file(section.path, "path", base)))
    return isinstance(section, GivesArrays) and holds_validation(_given(section))


def _given(section: GivesArrays) -> dict[str, NDArray[Any]]:
    with faults_of(section, "arrays", "dataset.name"):
        return {name: np.asarray(array) for name, array in section.arrays().items()}


def estimate_bytes(section: DatasetSection) -> int | None:
    """Memory of the examples as loaded; None where only the user's own files could tell."""
    if isinstance(section, SyntheticLinear):
        return (section.num_train + section.num_test) * (section.num_features + 1) * 8
    if section.name in _FLOAT_TABLES:
        examples, features = _FLOAT_TABLES[section.name]
        return examples * (features + 1) * 8
    if section.name in _BYTE_IMAGES:
        examples, pixels = _BYTE_IMAGES[section.name]
        return examples * (pixels + 8)
    return None
