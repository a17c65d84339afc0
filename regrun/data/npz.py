"""Arrays of the user's own, from a NumPy archive or a plug-in."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from regrun.data.assemble import split_and_assemble
from regrun.data.dataset import Dataset, Split
from regrun.data.files import class_indices, find_file
from regrun.errors import ConfigError, CorruptInputError
from regrun.kinds.datasets import NPZ, DatasetSection, Task

Array = NDArray[Any]

WHOLE = {"x", "y"}
PARTS = {"x_train", "y_train", "x_test", "y_test"}
VALIDATION = {"x_val", "y_val"}

_DAMAGE = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    SyntaxError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What NumPy and zipfile raise on archives that are cut, altered, encrypted or none at all."""


def load_npz(section: NPZ, base: Path | None = None) -> Dataset:
    """The arrays of an archive, as `from_arrays` takes them. Pickled objects are never loaded."""
    path = find_file(section.path, "path", base)
    arrays = read_arrays(path, WHOLE | PARTS | VALIDATION)
    return from_arrays(section, arrays, str(path), "path")


def from_arrays(
    section: DatasetSection, arrays: Mapping[str, Array], origin: str, key: str
) -> Dataset:
    """Takes x of any shape (N, …): uint8 with 3 or 4 axes are images, all else float64 features.

    y (N,) or (N, 1) of integers, booleans or text are classes, anything else is a regression's
    target, (N, T). origin: what to call the arrays' place in errors; key: of `dataset`, that chose
    it. Raises ConfigError for a set of other arrays, CorruptInputError for arrays that do not fit
    together or are not finite.
    """
    names = set(arrays)
    if names >= WHOLE:
        train, others = ("x", "y"), []
    elif names >= PARTS:
        train = ("x_train", "y_train")
        others = [("x_test", "y_test")] + ([("x_val", "y_val")] if holds_validation(names) else [])
    else:
        raise ConfigError.at(
            f"dataset.{key}",
            f"{origin}: holds {', '.join(sorted(names)) or 'none'} of what it needs: "
            "x_train, y_train, x_test and y_test, or x and y",
        )
    pairs = [train, *others]
    inputs = [_inputs(origin, x, arrays[x]) for x, _ in pairs]
    for (x, y), values in zip(pairs, inputs, strict=True):
        if arrays[y].shape[:1] != values.shape[:1]:
            raise CorruptInputError(
                f"{origin}: {x} holds {len(values)} examples, {y} has shape {arrays[y].shape}"
            )
        if values.shape[1:] != inputs[0].shape[1:] or values.dtype != inputs[0].dtype:
            raise CorruptInputError(
                f"{origin}: {x} holds examples of shape {values.shape[1:]}, {values.dtype}; "
                f"{train[0]} of {inputs[0].shape[1:]}, {inputs[0].dtype}"
            )
    task, targets, class_names = _targets(section, origin, key, [(y, arrays[y]) for _, y in pairs])
    splits = [
        Split(torch.from_numpy(x), torch.from_numpy(y))
        for x, y in zip(inputs, targets, strict=True)
    ]
    table = inputs[0].ndim == 2
    return split_and_assemble(
        section,
        section.name,
        task,
        splits[0],
        splits[1] if others else getattr(section, "test", 0.2),
        validation=splits[2] if len(splits) == 3 else None,
        standardize=inputs[0].ndim != 4,
        feature_names=[f"x{i}" for i in range(inputs[0].shape[1])] if table else (),
        class_names=class_names,
    )


def names_in(path: Path) -> list[str]:
    """The names of an archive's arrays, without reading them. Raises CorruptInputError."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except _DAMAGE as error:
        raise CorruptInputError(f"{path}: is no archive (np.savez) of arrays: {error}") from error


def holds_validation(names: Collection[str]) -> bool:
    """Whether arrays of these names come with a validation set (see `from_arrays`)."""
    return not WHOLE.issubset(names) and (PARTS | VALIDATION).issubset(names)


def read_arrays(path: Path, wanted: Collection[str]) -> dict[str, Array]:
    """Those of the ``wanted`` arrays that an archive holds.

    Raises CorruptInputError for anything that is no archive of plain arrays; objects would have to
    be unpickled, which could execute anything, and never are.
    """
    name = "its list of arrays"
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise CorruptInputError(f"{path}: one array, not an archive (np.savez) of named ones")
        with archive:
            arrays = {}
            for name in archive.files:
                if name in wanted:
                    arrays[name] = archive[name]
    except MemoryError as error:
        raise CorruptInputError(f"{path}: {name} declares more than the memory holds") from error
    except _DAMAGE as error:
        reason = "Python objects (a pickle)" if "allow_pickle" in str(error) else str(error)
        raise CorruptInputError(f"{path}: {name} cannot be read as numbers: {reason}") from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise CorruptInputError(f"{path}: {name} is not an array")
    return arrays


def _inputs(origin: str, name: str, array: Array) -> Array:
    """float64 (N, …), or uint8 images (N, C, H, W)."""
    if array.ndim == 0 or array.size == 0:
        raise CorruptInputError(f"{origin}: {name} is empty, of shape {array.shape}")
    if array.dtype == np.uint8 and array.ndim in (3, 4):
        return np.ascontiguousarray(_channels_first(array))
    if array.dtype.kind not in "fiub":
        raise CorruptInputError(f"{origin}: {name} holds {array.dtype}, not numbers")
    values = array.astype(np.float64)
    _check_finite(origin, name, values)
    return values[:, None] if values.ndim == 1 else values


def _channels_first(images: Array) -> Array:
    if images.ndim == 3:
        return images[:, None]
    channels = (1, 3)
    if images.shape[1] not in channels and images.shape[3] in channels:
        return images.transpose(0, 3, 1, 2)
    return images


def _targets(
    section: DatasetSection, origin: str, key: str, named: list[tuple[str, Array]]
) -> tuple[Task, list[Array], tuple[str, ...]]:
    for name, array in named:
        if array.ndim not in (1, 2) or array.size == 0:
            raise CorruptInputError(
                f"{origin}: {name} has shape {array.shape}; needs (N,) or (N, T)"
            )
        if array.shape[1:] != named[0][1].shape[1:]:
            raise CorruptInputError(
                f"{origin}: {name} has shape {array.shape}, {named[0][0]} {named[0][1].shape}"
            )
    first_name, first = named[0]
    column = first.ndim == 1 or first.shape[1] == 1
    task: Task = getattr(section, "task", None) or (
        "classification" if column and first.dtype.kind in "iubU" else "regression"
    )
    if task == "regression":
        return task, [_numbers(origin, name, array) for name, array in named], ()
    if not column:
        raise ConfigError.at(
            "dataset.task", f"classification: {first_name} has shape {first.shape}, not (N,)"
        )
    labels = [_labels(origin, name, array.reshape(len(array))) for name, array in named]
    train, _, class_names, _ = class_indices(labels[0], None)
    if len(class_names) < 2:
        raise ConfigError.at(
            f"dataset.{key}",
            f"{origin}: {first_name} is {class_names[0]} everywhere; needs two classes",
        )
    indices = [train]
    for (name, _), others in zip(named[1:], labels[1:], strict=True):
        _, found, _, unseen = class_indices(labels[0], others)
        if found is None or len(unseen):
            raise CorruptInputError(
                f"{origin}: {name}[{unseen[0]}] is {others[unseen[0]]}, a class that {first_name} "
                "does not have"
            )
        indices.append(found)
    return task, indices, class_names


def _numbers(origin: str, name: str, array: Array) -> Array:
    if array.dtype.kind not in "fiub":
        raise ConfigError.at("dataset.task", f"regression: {name} holds {array.dtype}, not numbers")
    values = array.astype(np.float64)
    _check_finite(origin, name, values)
    return values[:, None] if values.ndim == 1 else values


def _labels(origin: str, name: str, array: Array) -> Array:
    if array.dtype.kind == "f":
        _check_finite(origin, name, array)
        fractions = np.flatnonzero(array % 1)
        if len(fractions):
            raise ConfigError.at(
                "dataset.task",
                f"classification: {name}[{fractions[0]}] is {array[fractions[0]]}, not a class",
            )
        return array.astype(np.int64)
    if array.dtype.kind not in "iubU":
        raise CorruptInputError(f"{origin}: {name} holds {array.dtype}, neither numbers nor text")
    return array


def _check_finite(origin: str, name: str, values: Array) -> None:
    finite = np.isfinite(values)
    if not finite.all():
        where = tuple(int(axis[0]) for axis in np.nonzero(~finite))
        index = ", ".join(map(str, where))
        raise CorruptInputError(f"{origin}: {name}[{index}] is {values[where]}")
