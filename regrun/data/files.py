"""Finding files on disk, and reading class labels: what the loaders of files share."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regrun.errors import ConfigError


def find_path(written: str, key: str, base: Path | None) -> Path:
    """The path that a config means: relative to its folder ``base``, else to the working directory.

    Raises ConfigError at ``dataset.<key>`` where there is nothing.
    """
    path = Path(written).expanduser()
    candidates = [path] if base is None or path.is_absolute() else [base / path, path]
    for candidate in candidates:
        if candidate.exists():
            return candidate
    looked = " nor ".join(str(candidate) for candidate in candidates)
    raise ConfigError.at(f"dataset.{key}", f"{written}: no such file or folder ({looked})")


def find_file(written: str, key: str, base: Path | None) -> Path:
    """As `find_path`, and it is a file that may be read."""
    path = find_path(written, key, base)
    if not path.is_file():
        raise ConfigError.at(f"dataset.{key}", f"{path}: is not a file")
    if not os.access(path, os.R_OK):
        raise ConfigError.at(f"dataset.{key}", f"{path}: no permission to read it")
    return path


def data_folders(root: str | None) -> list[Path]:
    """Where downloaded datasets are looked for: ``root``, ``REGRUN_DATA``, ``data/``."""
    folders = [root, os.environ.get("REGRUN_DATA"), "data"]
    return [Path(folder).expanduser() for folder in folders if folder]


def download_folder(root: str | None) -> Path:
    """Where downloads go: ``root``, else ``data/``; never into the environment's shared folder."""
    return Path(root or "data").expanduser()


def class_indices(
    train: NDArray[np.generic], test: NDArray[np.generic] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64] | None, tuple[str, ...], NDArray[np.intp]]:
    """Labels as indices into the sorted classes of the training labels.

    Returns train indices, test indices, class names, and the positions of those test labels
    that no training example has (their index means nothing).
    """
    classes, indices = np.unique(train, return_inverse=True)
    names = tuple(str(value) for value in classes.tolist())
    if test is None:
        return indices.astype(np.int64), None, names, np.empty(0, dtype=np.intp)
    unseen = np.flatnonzero(~np.isin(test, classes))
    positions = np.searchsorted(classes, test).clip(max=len(classes) - 1)
    return indices.astype(np.int64), positions.astype(np.int64), names, unseen
