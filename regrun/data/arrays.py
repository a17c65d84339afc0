"""Examples from named arrays: of a NumPy archive (``np.savez``), or of a plug-in."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from regrun.data.dataset import Examples, Split
from regrun.data.targets import Array, as_labels, class_indices
from regrun.errors import ConfigError, CorruptInputError

if TYPE_CHECKING:
    from regrun.kinds.datasets.base import Task

WHOLE = {"x", "y"}
PARTS = {"x_train", "y_train", "x_test", "y_test"}
VALIDATION = {"x_val", "y_val"}

_DAMAGE = (
    OSError, ValueError, EOFError, KeyError, SyntaxError, NotImplementedError, RuntimeError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What NumPy and zipfile raise on files that are cut, altered, encrypted or not archives."""


def names_in(path: Path) -> list[str]:
    """Return the names of an archive's arrays, without reading them. Raises CorruptInputError."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except _DAMAGE as error:
        raise CorruptInputError(f"{path}: is no archive (np.savez) of arrays: {error}") from error


def read_npz(path: Path, wanted: Collection[str]) -> dict[str, Array]:
    """Read those of the ``wanted`` arrays that an archive holds.

    Raises CorruptInputError for anything but an archive of plain arrays: unpickling objects could
    execute any code.
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


def holds_validation(names: Collection[str]) -> bool:
    """Whether arrays of these names include a validation set (see `decode_arrays`)."""
    return not WHOLE.issubset(names) and (PARTS | VALIDATION).issubset(names)


def decode_arrays(
    arrays: Mapping[str, Array], task: Task | None, test: float, origin: str, key: str
) -> Examples:
    """Take ``x, y``, or ``x_train, y_train, x_test, y_test`` and perhaps ``x_val, y_val``.

    x (N, …): uint8 with 3 or 4 axes are images, everything else is float64 features. y (N,) or
    (N, 1) of integers, booleans or strings are classes, unless ``task`` says otherwise; anything
    else is numbers to predict, (N, T).
    test: how much of ``x, y`` to hold out as the test set.
    origin: how messages call the place of the arrays; key: of `dataset`, which chose them.
    Raises ConfigError for other sets of arrays, CorruptInputError for arrays that do not fit
    together or are not finite.
    """
    names = set(arrays)
    if names >= WHOLE:
        suffixes = [""]
    elif names >= PARTS:
        suffixes = ["_train", "_test", *(["_val"] if holds_validation(names) else [])]
    else:
        raise ConfigError.at(
            f"dataset.{key}",
            f"{origin}: holds {', '.join(sorted(names)) or 'none'} of what it needs: "
            "x_train, y_train, x_test and y_test, or x and y",
        )
    inputs = [_inputs(origin, f"x{suffix}", arrays[f"x{suffix}"]) for suffix in suffixes]
    for suffix, values in zip(suffixes, inputs, strict=True):
        x, y = f"x{suffix}", f"y{suffix}"
        if arrays[y].shape[:1] != values.shape[:1]:
            raise CorruptInputError(
                f"{origin}: {x} holds {len(values)} examples, {y} has shape {arrays[y].shape}"
            )
        if values.shape[1:] != inputs[0].shape[1:] or values.dtype != inputs[0].dtype:
            raise CorruptInputError(
                f"{origin}: {x} holds examples of shape {values.shape[1:]}, {values.dtype}; "
                f"x{suffixes[0]} of {inputs[0].shape[1:]}, {inputs[0].dtype}"
            )
    named = {f"y{suffix}": arrays[f"y{suffix}"] for suffix in suffixes}
    task, targets, class_names = _targets(named, task, origin, key)
    train, *others = [
        Split(torch.from_numpy(x), torch.from_numpy(y))
        for x, y in zip(inputs, targets, strict=True)
    ]
    feature_names = [f"x{i}" for i in range(inputs[0].shape[1])] if inputs[0].ndim == 2 else []
    return Examples(
        task,
        train,
        test=others[0] if others else test,
        validation=others[1] if len(others) == 2 else None,
        feature_names=feature_names,
        class_names=class_names,
    )


def _inputs(origin: str, name: str, array: Array) -> Array:
    """Return float64 (N, …), or uint8 images (N, C, H, W)."""
    if array.ndim == 0 or array.size == 0:
        raise CorruptInputError(f"{origin}: {name} is empty, of shape {array.shape}")
    if array.dtype == np.uint8 and array.ndim in (3, 4):
        return np.ascontiguousarray(_channels_first(array))
    if array.dtype.kind not in "fiub":
        raise CorruptInputError(f"{origin}: {name} holds {array.dtype}, not numbers")
    values = _finite(origin, name, array)
    return values[:, None] if values.ndim == 1 else values


def _channels_first(images: Array) -> Array:
    if images.ndim == 3:
        return images[:, None]
    last = images.shape[1] not in (1, 3) and images.shape[3] in (1, 3)
    return images.transpose(0, 3, 1, 2) if last else images


def _targets(
    named: Mapping[str, Array], task: Task | None, origin: str, key: str
) -> tuple[Task, list[Array], tuple[str, ...]]:
    first_name, first = next(iter(named.items()))
    for name, array in named.items():
        if array.ndim not in (1, 2) or array.size == 0:
            raise CorruptInputError(
                f"{origin}: {name} has shape {array.shape}; needs (N,) or (N, T)"
            )
        if array.shape[1:] != first.shape[1:]:
            raise CorruptInputError(
                f"{origin}: {name} has shape {array.shape}, {first_name} {first.shape}"
            )
    column = first.ndim == 1 or first.shape[1] == 1
    if task is None:
        classes = column and first.dtype.kind in "iubU"
        task = "classification" if classes else "regression"
    if task == "regression":
        return task, [_numbers(origin, *each) for each in named.items()], ()
    if not column:
        raise ConfigError.at(
            "dataset.task", f"classification: {first_name} has shape {first.shape}, not (N,)"
        )
    labels = [_labels(origin, name, array.reshape(len(array))) for name, array in named.items()]
    indices, class_names = class_indices(*labels)
    if len(class_names) < 2:
        raise ConfigError.at(
            f"dataset.{key}",
            f"{origin}: {first_name} is {class_names[0]} everywhere; needs two classes",
        )
    for name, values, found in zip(named, labels, indices, strict=True):
        unseen = np.flatnonzero(found < 0)
        if len(unseen):
            raise CorruptInputError(
                f"{origin}: {name}[{unseen[0]}] is {values[unseen[0]]}, a class that {first_name} "
                "does not have"
            )
    return task, list(indices), class_names


def _numbers(origin: str, name: str, array: Array) -> NDArray[np.float64]:
    """Return (N, T) float64."""
    if array.dtype.kind not in "fiub":
        raise ConfigError.at("dataset.task", f"regression: {name} holds {array.dtype}, not numbers")
    return _finite(origin, name, array).reshape(len(array), -1)


def _labels(origin: str, name: str, array: Array) -> Array:
    """Return (N,) labels."""
    if array.dtype.kind not in "fiubU":
        raise CorruptInputError(f"{origin}: {name} holds {array.dtype}, neither numbers nor text")
    if array.dtype.kind == "f":
        _finite(origin, name, array)
    return as_labels(array, lambda row: f"{name}[{row}] is {array[row]}")


def _finite(origin: str, name: str, array: Array) -> NDArray[np.float64]:
    """Return the numbers in float64. Raises CorruptInputError where one is infinite or NaN."""
    values = array.astype(np.float64)
    wrong = np.argwhere(~np.isfinite(values))
    if len(wrong):
        index = tuple(wrong[0].tolist())
        raise CorruptInputError(f"{origin}: {name}[{', '.join(map(str, index))}] is {array[index]}")
    return values
