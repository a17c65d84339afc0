"""Examples from named arrays: of a NumPy archive (``np.savez``), or of a plug-in."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from regrun.data.dataset import Examples, Provenance, Split
from regrun.data.preprocessing import ArrayInputs
from regrun.data.targets import (
    Array,
    as_labels,
    as_text,
    class_indices,
    infer_task,
    is_one_hot,
)
from regrun.errors import ConfigError, CorruptInputError
from regrun.results import InputCard, Task

WHOLE = {"x", "y"}
PARTS = {"x_train", "y_train", "x_test", "y_test"}
VALIDATION = {"x_val", "y_val"}

Channels = Literal["first", "last"]
Range = tuple[float, float]

MOST_CHANNELS = 4
"""An axis of at most this many numbers may be the channels of a picture."""

SMALLEST_PICTURE, LONGEST_SHAPE = 8, 4
"""Numbers of three axes are grey pictures when both edges have at least so many pixels and one is
at most so many times the other."""

DEPTHS = (1, 8, 10, 12, 14, 16)
"""Usual numbers of bits of a pixel."""

LARGEST_SCALED = 20.0
"""Pixels below 0 are taken as scaled already while none is beyond this."""


@dataclass(frozen=True)
class Options:
    """Keys of the section that say how arrays are to be read; None: the arrays decide."""

    task: Task | None = None
    test: float = 0.2
    """How much of ``x, y`` to hold out as the test set."""
    channels: Channels | None = None
    value_range: Range | None = None
    """What is black and what is white."""
    standardize: bool | None = None


def holds_validation(names: Collection[str]) -> bool:
    """Whether arrays of these names include a validation set (see `decode_arrays`)."""
    return not WHOLE.issubset(names) and (PARTS | VALIDATION).issubset(names)


def holds_test(names: Collection[str]) -> bool:
    """Whether arrays of these names include a test set (see `decode_arrays`)."""
    return not WHOLE.issubset(names) and PARTS.issubset(names)


def decode_arrays(
    arrays: Mapping[str, Array],
    options: Options,
    origin: str,
    key: str,
    files: Sequence[str] = (),
    target_names: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Examples:
    """Take ``x, y``, or ``x_train, y_train, x_test, y_test`` and perhaps ``x_val, y_val``.

    Inputs: see `fit_inputs`; targets: see `infer_task`. All parts are looked at together.

    origin: how messages call the place of the arrays; key: of `dataset`, which chose them. files,
    target_names: for the card; notes: on how the arrays were found. Raises
    ConfigError for other sets of arrays and for what a key must decide, CorruptInputError for
    arrays that do not fit together or are not finite.
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
    raw = {f"x{suffix}": arrays[f"x{suffix}"] for suffix in suffixes}
    for suffix in suffixes:
        x, y = f"x{suffix}", f"y{suffix}"
        _check_numbers(origin, x, arrays[x])
        if arrays[y].shape[:1] != arrays[x].shape[:1]:
            raise CorruptInputError(
                f"{origin}: {x} holds {len(arrays[x])} examples, {y} has shape {arrays[y].shape}"
            )
        first = arrays[f"x{suffixes[0]}"]
        if arrays[x].shape[1:] != first.shape[1:] or (arrays[x].dtype == np.uint8) != (
            first.dtype == np.uint8
        ):
            raise CorruptInputError(
                f"{origin}: {x} holds examples of shape {arrays[x].shape[1:]}, {arrays[x].dtype}; "
                f"x{suffixes[0]} of {first.shape[1:]}, {first.dtype}"
            )
    inputs, found = fit_inputs(raw, options, origin)
    values = [inputs.transform(array, f"{origin}: {name}") for name, array in raw.items()]
    named = {f"y{suffix}": arrays[f"y{suffix}"] for suffix in suffixes}
    targets = decode_targets(named, options.task, origin, key)
    train, *others = [
        Split(torch.from_numpy(x), torch.from_numpy(y))
        for x, y in zip(values, targets.values, strict=True)
    ]
    return Examples(
        targets.task,
        train,
        test=others[0] if others else options.test,
        validation=others[1] if len(others) == 2 else None,
        feature_names=[f"x{i}" for i in range(values[0].shape[1])] if values[0].ndim == 2 else [],
        class_names=targets.class_names,
        notes=[*notes, *found, *targets.notes],
        inputs=inputs,
        provenance=Provenance(
            files=tuple(files),
            task_reason=targets.reason,
            input=InputCard(
                shape=inputs.shape,
                dtype=inputs.dtype,
                low=inputs.low,
                high=inputs.high,
                scaling=inputs.scaling,
            ),
            target_names=tuple(target_names),
        ),
    )


def _check_numbers(origin: str, name: str, array: Array) -> None:
    if array.ndim == 0 or array.size == 0:
        raise CorruptInputError(f"{origin}: {name} is empty, of shape {array.shape}")
    if array.dtype.kind not in "fiub":
        raise CorruptInputError(f"{origin}: {name} holds {array.dtype}, not numbers")


def fit_inputs(
    arrays: Mapping[str, Array], options: Options, origin: str
) -> tuple[ArrayInputs, list[str]]:
    """Decide what arrays (N, …) of one shape hold: features, or pictures and how they lie.

    Four axes are pictures. Their channels are the first or the last axis of an example: the one of
    at most `MOST_CHANNELS` if only one is, else the one that leaves square pictures if only one
    does; what is still open is refused. Three axes are grey pictures for uint8, and for numbers
    that look like pixels (see `_looks_grey`). Pixels of other types than uint8 are scaled to
    [0, 1]: integers from the smallest of the usual depths that holds them, floating-point numbers
    within [0, 255] by 255. Returns notes on every decision.

    Raises ConfigError when a key has to decide.
    """
    name, first = next(iter(arrays.items()))
    low, high = _range_of(arrays, origin)
    is_byte = first.dtype == np.uint8
    dtype = str(np.result_type(*arrays.values()))
    channels, notes = _channels(first, options, (low, high), dtype, f"{origin}: {name}")
    if channels is None:
        if options.value_range is not None:
            raise ConfigError.at("dataset.value_range", f"{origin}: {name} holds no pictures")
        shape = [*first.shape[1:]] or [1]
        return ArrayInputs(shape=shape, dtype=dtype, low=low, high=high), notes
    sizes = first.shape[1:] if first.ndim == 4 else (1, *first.shape[1:])
    shape = [sizes[2], *sizes[:2]] if channels == "last" else [*sizes]
    value_range = options.value_range
    if value_range is None and not is_byte:
        value_range, more = _value_range(first, (low, high), options, dtype, f"{origin}: {name}")
        notes += more
    if is_byte and value_range == (0, 255):
        value_range = None  # these are divided on their way to the network
    scaling = "divided by 255" if is_byte and value_range is None else _scaling(value_range)
    if shape[0] == 2 or shape[0] == 4:
        notes.append(f"{shape[0]} channels are kept; an alpha channel is not composed")
    inputs = ArrayInputs(
        shape=shape,
        channels=channels,
        dtype=dtype,
        value_range=value_range,
        low=low,
        high=high,
        scaling=scaling,
    )
    return inputs, notes


def _range_of(arrays: Mapping[str, Array], origin: str) -> Range:
    """The lowest and the highest value. Raises CorruptInputError where one is infinite or NaN."""
    lows, highs = [], []
    for name, array in arrays.items():
        low, high = array.min(), array.max()
        if not (np.isfinite(low) and np.isfinite(high)):
            check_finite(origin, name, array)
        lows.append(float(low))
        highs.append(float(high))
    return min(lows), max(highs)


def _channels(
    array: Array, options: Options, values: Range, dtype: str, name: str
) -> tuple[Channels | None, list[str]]:
    """Where the channels of pictures are; None for features."""
    given = options.channels
    if array.ndim not in (3, 4):
        if given is not None:
            raise ConfigError.at(
                "dataset.channels", f"{given}: {name} has shape {array.shape}, no pictures"
            )
        return None, []
    if array.ndim == 3:
        if given is not None or dtype == "uint8":
            return "first", []
        shape = f"{array.shape[1]}×{array.shape[2]}"
        if _looks_grey(array, values):
            return "first", [f"{name}: {dtype} of shape {shape} are taken for grey pictures"]
        note = (
            f"{name}: {dtype} of shape {shape} are taken for features; channels: first takes them "
            "for grey pictures"
        )
        return None, [note]
    if given is not None:
        return given, []
    first, height, last = array.shape[1:]
    few = [first <= MOST_CHANNELS, last <= MOST_CHANNELS]
    square = [height == last != first, first == height != last]
    for first_is, last_is in (few, square):
        if first_is != last_is:
            if first_is:
                return "first", []
            return "last", [f"{name}: pictures with the channels last, {first}×{height}×{last}"]
    raise ConfigError.at(
        "dataset.channels",
        f"{name} has shape {array.shape}: it is open which axis holds the channels; write "
        "channels: first for (N, C, H, W), or channels: last for (N, H, W, C)",
    )


def _looks_grey(array: Array, values: Range) -> bool:
    """Whether numbers (N, H, W) are pixels: a picture's shape, and uint16 or within a range."""
    short, long = sorted(array.shape[1:])
    if short < SMALLEST_PICTURE or long > LONGEST_SHAPE * short:
        return False
    low, high = values
    if array.dtype == np.uint16:
        return True
    return low >= 0 and (high <= 1 or (high <= 255 and not (array % 1).any()))


def _value_range(
    array: Array, values: Range, options: Options, dtype: str, name: str
) -> tuple[Range | None, list[str]]:
    """What is black and what is white in pictures of other types than uint8; None: they stay."""
    low, high = values
    if options.standardize or (low >= 0 and high <= 1):
        return None, []
    if low >= 0 and (array.dtype.kind in "iu" or high > 255) and not (array % 1).any():
        for bits in DEPTHS:
            if high <= 2**bits - 1:
                white = 2.0**bits - 1
                note = f"{name}: {dtype} up to {high:.6g}, {bits} bits: divided by {white:.0f}"
                return (0.0, white), [note]
    if low >= 0 and high <= 255:
        return (0.0, 255.0), [f"{name}: {dtype} from {low:.6g} to {high:.6g}: divided by 255"]
    if low < 0 and -low <= LARGEST_SCALED and high <= LARGEST_SCALED:
        note = f"{name}: {dtype} from {low:.6g} to {high:.6g} are taken as they are"
        return None, [note]
    raise ConfigError.at(
        "dataset.value_range",
        f"{name} holds pictures of {dtype} from {low:.6g} to {high:.6g}, no usual range; write "
        f"what is black and what is white, e.g. value_range: [{low:.6g}, {high:.6g}], or "
        "standardize: true",
    )


def _scaling(value_range: Range | None) -> str:
    if value_range is None:
        return "as it is"
    black, white = value_range
    if black == 0:
        return f"divided by {white:g}"
    return f"scaled from {black:g}..{white:g} to 0..1"


@dataclass(frozen=True)
class Targets:
    """Decoded targets of all parts. values: (N,) int64 classes or (N, T) float64 each."""

    task: Task
    reason: str
    values: list[Array]
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def decode_targets(named: Mapping[str, Array], task: Task | None, origin: str, key: str) -> Targets:
    """Targets as the task needs them. task: None to infer it (see `infer_task`).

    Raises ConfigError for targets that do not suit the task, CorruptInputError.
    """
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
        if array.dtype.kind not in "fiubUS":
            raise CorruptInputError(
                f"{origin}: {name} holds {array.dtype}, neither numbers nor text"
            )
        if array.dtype.kind == "f":
            check_finite(origin, name, array)
    named = {
        name: as_text(array.reshape(-1), partial(_cell, origin, name, array)).reshape(array.shape)
        for name, array in named.items()
    }
    inferred = infer_task([*named.values()], first_name)
    if task is None:
        task, reason, notes = inferred.task, inferred.reason, inferred.notes
    else:
        reason, notes = "", []  # the section knows where it comes from
    if task == "regression":
        numbers: list[Array] = [_numbers(name, array) for name, array in named.items()]
        return Targets(task, reason, numbers, notes=tuple(notes))
    if first.ndim == 2 and first.shape[1] > 1:
        if not is_one_hot([*named.values()]):
            raise ConfigError.at(
                "dataset.task", f"classification: {first_name} has shape {first.shape}, not (N,)"
            )
        columns = [array.argmax(1).astype(np.int64) for array in named.values()]
        labels = dict(zip(named, columns, strict=True))
    else:
        labels = {name: _labels(name, array.reshape(len(array))) for name, array in named.items()}
    if len({array.dtype.kind in "US" for array in labels.values()}) > 1:
        labels = {name: array.astype(str) for name, array in labels.items()}
    indices, class_names = class_indices(*labels.values())
    if len(class_names) < 2:
        raise ConfigError.at(
            f"dataset.{key}",
            f"{origin}: {first_name} is {class_names[0]} everywhere; needs two classes",
        )
    for (name, values), found in zip(labels.items(), indices, strict=True):
        unseen = np.flatnonzero(found < 0)
        if len(unseen):
            raise CorruptInputError(
                f"{origin}: {name}[{unseen[0]}] is {values[unseen[0]]}, a class that {first_name} "
                "does not have"
            )
    return Targets(task, reason, list(indices), class_names, tuple(notes))


def _cell(origin: str, name: str, array: Array, row: int) -> str:
    return f"{origin}: {name}[{row}] is {array.reshape(-1)[row]!r}"


def _numbers(name: str, array: Array) -> NDArray[np.float64]:
    """Return (N, T) float64."""
    if array.dtype.kind not in "fiub":
        raise ConfigError.at("dataset.task", f"regression: {name} holds {array.dtype}, not numbers")
    return array.astype(np.float64).reshape(len(array), -1)


def _labels(name: str, array: Array) -> Array:
    """Return (N,) labels."""
    return as_labels(array, lambda row: f"{name}[{row}] is {array[row]}")


def check_finite(origin: str, name: str, array: Array) -> None:
    """Raise CorruptInputError where a number is infinite or NaN."""
    wrong = np.argwhere(~np.isfinite(array))
    if len(wrong):
        index = tuple(wrong[0].tolist())
        raise CorruptInputError(f"{origin}: {name}[{', '.join(map(str, index))}] is {array[index]}")
