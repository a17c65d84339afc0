"""Datasets that come with, or through, scikit-learn."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from regrun.data.assemble import split_and_assemble
from regrun.data.dataset import Dataset, Split
from regrun.data.downloads import download_into
from regrun.data.files import data_folders, download_folder
from regrun.data.npz import read_arrays
from regrun.errors import CorruptInputError
from regrun.kinds.datasets import (
    BreastCancer,
    BundledDataset,
    CaliforniaHousing,
    Diabetes,
    Digits,
    Wine,
)

CALIFORNIA_FILE = "california_housing.npz"
CALIFORNIA_FEATURES = (
    "MedInc",
    "HouseAge",
    "AveRooms",
    "AveBedrms",
    "Population",
    "AveOccup",
    "Latitude",
    "Longitude",
)


def load_digits(section: Digits) -> Dataset:
    """Images (1, 8, 8), their 17 grey levels divided by 16 into [0, 1], in floating point."""
    from sklearn import datasets

    bunch = datasets.load_digits()
    return split_and_assemble(
        section,
        section.name,
        "classification",
        _classes(bunch.images[:, None] / 16, bunch.target),
        section.test,
        standardize=False,
        class_names=[str(name) for name in bunch.target_names],
    )


def load_diabetes(section: Diabetes) -> Dataset:
    """Ten measurements of each patient; the target, about 150 ± 77, stays in its own unit.

    With ``standardize: false`` the features are as scikit-learn scales them: each column centred
    and of norm 1 over all 442 patients, the scale of its Lasso examples.
    """
    from sklearn import datasets

    bunch = datasets.load_diabetes()
    return _table(section, _numbers(bunch.data, bunch.target), bunch.feature_names)


def load_breast_cancer(section: BreastCancer) -> Dataset:
    """Class 0 is malignant, 1 benign; as regression the label is the target."""
    from sklearn import datasets

    bunch = datasets.load_breast_cancer()
    if section.task == "regression":
        return _table(section, _numbers(bunch.data, bunch.target), bunch.feature_names)
    examples = _classes(bunch.data, bunch.target)
    return _table(section, examples, bunch.feature_names, class_names=bunch.target_names)


def load_wine(section: Wine) -> Dataset:
    """Chemical analyses of wines from three cultivars."""
    from sklearn import datasets

    bunch = datasets.load_wine()
    examples = _classes(bunch.data, bunch.target)
    return _table(section, examples, bunch.feature_names, class_names=bunch.target_names)


def load_california_housing(section: CaliforniaHousing) -> Dataset:
    """Median house value in units of 100,000 dollars.

    Kept as ``california_housing.npz`` (x: (20640, 8), y: (20640,)) in the folder for downloads:
    scikit-learn's own cache is a pickle, which would execute whatever it holds.
    """
    found = [folder / CALIFORNIA_FILE for folder in data_folders(section.root)]
    path = next((file for file in found if file.is_file()), None)
    if path is None:
        folder = download_folder(section.root)
        by_hand = (
            f"run this on a machine with a connection and copy the file {CALIFORNIA_FILE} from its "
            f"{folder}/ into {folder}/ here (looked at: {', '.join(map(str, found))})"
        )
        download_into(folder, _fetch_california, by_hand)
        path = folder / CALIFORNIA_FILE
    arrays = read_arrays(path, ("x", "y"))
    x, y = arrays.get("x"), arrays.get("y")
    if x is None or y is None or x.shape != (len(y), len(CALIFORNIA_FEATURES)):
        raise CorruptInputError(
            f"{path}: needs x (N, 8) and y (N,); delete it to download it again"
        )
    return _table(section, _numbers(x, y), CALIFORNIA_FEATURES)


def _fetch_california(folder: Path) -> None:
    from sklearn import datasets

    cache = folder / "scikit-learn"
    bunch = datasets.fetch_california_housing(data_home=str(cache))
    shutil.rmtree(cache)
    np.savez_compressed(folder / CALIFORNIA_FILE, x=bunch.data, y=bunch.target)


def _table(
    section: BundledDataset,
    examples: Split,
    feature_names: Any,
    class_names: Any = (),
) -> Dataset:
    return split_and_assemble(
        section,
        section.name,
        "regression" if examples.targets.is_floating_point() else "classification",
        examples,
        section.test,
        standardize=True,
        feature_names=[str(name) for name in feature_names],
        class_names=[str(name) for name in class_names],
    )


def _classes(inputs: NDArray[np.float64], labels: NDArray[np.int64]) -> Split:
    return Split(torch.from_numpy(inputs.copy()), torch.from_numpy(labels.astype(np.int64)))


def _numbers(inputs: NDArray[np.float64], targets: NDArray[np.generic]) -> Split:
    column = targets.astype(np.float64).reshape(len(targets), 1)
    return Split(torch.from_numpy(inputs.astype(np.float64)), torch.from_numpy(column))
