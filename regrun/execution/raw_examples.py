"""New examples, read as those that a run was trained on."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regrun.data.files import existing
from regrun.data.preprocessing import ArrayInputs, PictureInputs, Preprocessing, TableInputs
from regrun.data.targets import Array, as_labels, is_one_hot
from regrun.errors import CorruptInputError, DataWarning, UsageError

if TYPE_CHECKING:
    import pandas as pd

    from regrun.data.table import Table

FAR = 1.0
"""Values are noted when they are outside of those in training by more than their whole range."""


@dataclass(frozen=True)
class RawExamples:
    """Examples before they are standardized.

    inputs: (N, …) float64, or uint8 images. frame: the columns or file names to show with the
    predictions. targets: (N,) int64 class indices or (N, T) float64, where the data have them.
    """

    inputs: Tensor
    frame: pd.DataFrame
    targets: NDArray[Any] | None = None


def read_examples(data: Any, preprocessing: Preprocessing) -> RawExamples:
    """Read a path, a list of paths, a DataFrame, an array or a tensor.

    Raises UsageError for other types and for missing files, CorruptInputError.
    """
    import pandas as pd

    inputs = preprocessing.inputs
    if isinstance(data, str | PathLike):
        paths = [existing(str(data))]
    elif isinstance(data, list | tuple) and data and isinstance(data[0], str | PathLike):
        paths = [existing(str(each)) for each in data]
    else:
        paths = []
    if isinstance(inputs, PictureInputs):
        if paths:
            return _pictures(paths, inputs, preprocessing)
        array = _as_array(data)
        last = array.ndim == 4 and array.shape[-1] == 3
        decoded = ArrayInputs(
            shape=[3, *inputs.size], channels="last" if last else "first", dtype="uint8"
        )
        return _examples(array, "the array", decoded)
    if len(paths) > 1:
        read = [read_examples(path, preprocessing) for path in paths]
        return _joined(read)
    if isinstance(inputs, TableInputs):
        return _table(paths[0] if paths else data, inputs, preprocessing)
    if paths and paths[0].suffix.lower() in (".npz", ".npy"):
        return _archive(paths[0], inputs, preprocessing)
    if paths:
        from regrun.data.preprocessing import TableFormat
        from regrun.data.table_file import read_table

        table = read_table(paths[0], TableFormat())
        frame = _shown(table)
        return _examples(_matrix(table, inputs), str(paths[0]), inputs, frame)
    if isinstance(data, pd.DataFrame):
        return _examples(data.to_numpy(), "the data frame", inputs, data)
    return _examples(_as_array(data), "the array", inputs)


def _joined(parts: Sequence[RawExamples]) -> RawExamples:
    """The examples of several files, one after the other."""
    import pandas as pd

    targets = [part.targets for part in parts if part.targets is not None]
    return RawExamples(
        torch.cat([part.inputs for part in parts]),
        pd.concat([part.frame for part in parts], ignore_index=True),
        np.concatenate(targets) if len(targets) == len(parts) else None,
    )


def _as_array(data: Any) -> Array:
    if isinstance(data, Tensor):
        return np.asarray(data.detach().cpu().numpy())
    if isinstance(data, np.ndarray):
        return data
    raise UsageError(
        f"{type(data).__name__}: give a path, a list of paths, a DataFrame, an array or a tensor"
    )


def _pictures(
    paths: Sequence[Path], inputs: PictureInputs, preprocessing: Preprocessing
) -> RawExamples:
    """Pictures, and their classes where they lie in folders of that name."""
    import pandas as pd

    from regrun.data.picture_folder import find_new
    from regrun.data.pictures import read_pictures

    classes = preprocessing.classes
    found = [find_new(path, classes) for path in paths]
    for each in found:
        for text in each.skipped:
            warnings.warn(f"skipped: {text}", DataWarning, stacklevel=2)
    files = [path for each in found for path in each.paths]
    labels = [label for each in found for label in each.labels or ()]
    targets = None
    if len(labels) == len(files):
        targets = np.array([classes.index(label) for label in labels], np.int64)
    # No JSON or UTF-8 text can hold the other bytes that a name may have.
    names = [str(path).encode(errors="backslashreplace").decode() for path in files]
    frame = pd.DataFrame({"file": names})
    return RawExamples(read_pictures(files, inputs), frame, targets)


def _archive(path: Path, inputs: ArrayInputs, preprocessing: Preprocessing) -> RawExamples:
    """An archive with ``x`` and perhaps ``y``, or one array."""
    from regrun.data.npz_file import read_array, read_npz

    if path.suffix.lower() == ".npy":
        return _examples(read_array(path), str(path), inputs)
    arrays, _ = read_npz(path, {"x", "y", "x_test", "y_test"})
    name = "x" if "x" in arrays else "x_test"
    if name not in arrays:
        raise CorruptInputError(f"{path}: holds no array x")
    examples = _examples(arrays[name], f"{path}: {name}", inputs)
    y = arrays.get(name.replace("x", "y"))
    if y is None:
        return examples
    if len(y) != len(examples.inputs):
        raise CorruptInputError(f"{path}: {len(examples.inputs)} examples, but {len(y)} targets")
    targets = _targets(y, f"{path}: y", preprocessing)
    return RawExamples(examples.inputs, examples.frame, targets)


def _examples(
    array: Array, name: str, inputs: ArrayInputs, frame: pd.DataFrame | None = None
) -> RawExamples:
    import pandas as pd

    from regrun.data.arrays import check_finite

    if array.dtype == object:
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise CorruptInputError(f"{name}: not numbers: {error}") from error
    if array.dtype.kind not in "fiub" or array.ndim == 0 or not array.size:
        raise CorruptInputError(f"{name}: {array.dtype} of shape {array.shape}, not examples")
    origin, _, last = name.rpartition(": ")
    check_finite(origin or name, last if origin else "x", array)
    _note_range(array, name, inputs)
    values = torch.from_numpy(inputs.transform(array, name))
    shown = pd.DataFrame(index=pd.RangeIndex(len(array))) if frame is None else frame
    return RawExamples(values, shown)


def _note_range(array: Array, name: str, inputs: ArrayInputs) -> None:
    """Warn of values that are far from those in training, as pixels in 0..1 instead of 0..255."""
    if inputs.low is None or inputs.high is None:
        return
    low, high = float(array.min()), float(array.max())
    width = FAR * (inputs.high - inputs.low)
    faint = inputs.channels is not None and inputs.high > 1 >= high and len(array) > 1
    if faint or low < inputs.low - width or high > inputs.high + width:
        note = (
            f"{name}: values from {low:.6g} to {high:.6g}; "
            f"training saw {inputs.low:.6g} to {inputs.high:.6g}"
        )
        warnings.warn(note, DataWarning, stacklevel=2)


def _targets(y: Array, name: str, preprocessing: Preprocessing) -> NDArray[Any]:
    """Class indices, (N,) int64, or numbers, (N, T) float64."""
    classes = preprocessing.classes
    if not classes:
        if y.dtype.kind not in "fiub":
            raise CorruptInputError(f"{name} holds {y.dtype}; the run predicts numbers")
        return y.astype(np.float64).reshape(len(y), -1)
    if y.ndim == 2 and y.shape[1] == len(classes) and is_one_hot([y]):
        return np.asarray(y.argmax(1), np.int64)
    flat = y.reshape(len(y))
    labels = as_labels(flat, lambda row: f"{name}[{row}] is {flat[row]}")
    return class_positions([str(label) for label in labels.tolist()], classes, name)


def class_positions(labels: Sequence[str], classes: Sequence[str], name: str) -> NDArray[np.int64]:
    """The index of each label. Raises CorruptInputError for a class that training did not have."""
    index = {label: position for position, label in enumerate(classes)}
    for row, label in enumerate(labels):
        if label not in index:
            known = ", ".join(classes[:10]) + (", …" if len(classes) > 10 else "")
            raise CorruptInputError(
                f"{name}: {label!r} (row {row}) is none of the classes of the run: {known}"
            )
    return np.array([index[label] for label in labels], np.int64)


def _table(data: Any, inputs: TableInputs, preprocessing: Preprocessing) -> RawExamples:
    """A table from a file or a data frame, or an array with the columns in their order."""
    import pandas as pd

    from regrun.data.table import table_of
    from regrun.data.table_file import read_table

    if isinstance(data, Path):
        table = read_table(data, inputs.format)
        frame = _shown(table)
    elif isinstance(data, pd.DataFrame):
        table, frame = table_of(data, inputs.format), data.reset_index(drop=True)
    else:
        array = _as_array(data)
        names = [column.name for column in inputs.columns]
        if array.ndim != 2 or array.shape[1] != len(names):
            raise CorruptInputError(
                f"the array has shape {array.shape}; needs (N, {len(names)}), with the columns "
                f"{', '.join(names[:10])}{', …' if len(names) > 10 else ''}, or a DataFrame"
            )
        table = table_of(pd.DataFrame(array, columns=names))
        frame = pd.DataFrame(index=pd.RangeIndex(len(array)))
    values = inputs.transform(table)
    for note in inputs.unknown_categories([(table, None)]):
        warnings.warn(note, DataWarning, stacklevel=2)
    there = [name in table.columns for name in preprocessing.targets]
    targets = _table_targets(table, preprocessing) if there and all(there) else None
    return RawExamples(torch.from_numpy(values), frame, targets)


def _table_targets(table: Table, preprocessing: Preprocessing) -> NDArray[Any] | None:
    """The targets of a table; None where every one of them is empty."""
    names, classes = preprocessing.targets, preprocessing.classes
    missing = np.stack([table.missing(name) for name in names], axis=1)
    if missing.all():
        return None
    if missing.any():
        row, column = np.argwhere(missing)[0].tolist()
        raise CorruptInputError(
            f'{table.place(row)}: the target "{names[column]}" is empty; without that column, '
            "all rows are predicted and none is scored"
        )
    if classes:
        boolean = {*classes} == {"False", "True"}
        texts = [str(text) for text in table.labels(names[0], boolean=boolean).tolist()]
        known = set(classes)
        labels = [text if text in known else _as_integer(text) for text in texts]
        return class_positions(labels, classes, f'{table.origin}: "{names[0]}"')
    return np.stack([table.numbers(name) for name in names], axis=1)


def _as_integer(text: str) -> str:
    """``3`` for ``3.0``, which is another spelling of that class."""
    try:
        value = float(text)
    except ValueError:
        return text
    return str(int(value)) if value.is_integer() else text


def _shown(table: Table) -> pd.DataFrame:
    """The columns of a file as pandas would read them."""
    import pandas as pd

    columns: dict[str, pd.Series[Any]] = {}
    for name, column in table.columns.items():
        if column.numbers is None or column.codes is not None:
            columns[name] = pd.Series(table.texts(name).to_pylist(), dtype="str")
        else:
            columns[name] = _as_integers(pd.Series(column.numbers))
    return pd.DataFrame(columns, index=pd.RangeIndex(table.rows))


def _as_integers(numbers: pd.Series[float]) -> pd.Series[Any]:
    """Integers where all numbers are whole, as pandas reads them; with a missing one Int64."""
    known = numbers.dropna()
    if len(known) and bool((known % 1 == 0).all() and (known.abs() < 2**53).all()):
        return numbers.astype("int64" if len(known) == len(numbers) else "Int64")
    return numbers


def _matrix(table: Table, inputs: ArrayInputs) -> Array:
    """The columns of a table as an array, where a run on arrays is given a table."""
    if len(table.columns) != inputs.shape[0]:
        raise CorruptInputError(
            f"{table.origin}: {len(table.columns)} columns; the run was trained on arrays of "
            f"{inputs.shape[0]} features"
        )
    return np.stack([table.numbers(name) for name in table.columns], axis=1)
