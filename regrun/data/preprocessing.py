"""From raw inputs to what a network sees: fitted on the training examples, stored with each run.

Training and prediction go through the same classes. `preprocessing.json` is the JSON form of
`Preprocessing`; nothing in it can execute code.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, FiniteFloat, model_validator
from torch import Tensor

from regrun.errors import CorruptInputError
from regrun.results import Count, ModelShape, Result, Size, Task
from regrun.suggest import did_you_mean

if TYPE_CHECKING:
    from regrun.data.table import Table

Array = NDArray[np.float64]


def _apart(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] == ends[1]:
        raise ValueError(f"black and white at {ends[0]:g}")
    return ends


Range = Annotated[tuple[FiniteFloat, FiniteFloat], AfterValidator(_apart)]

_ROWS = 4096
"""Rows that are laid out at once: few enough for the cache of a processor."""

FORMAT: Literal[1] = 1
"""Raised when `preprocessing.json` changes in a way that an earlier version cannot read."""


def _broadcasts(shape: Sequence[int], values: Sequence[int]) -> bool:
    """Whether numbers of this shape apply to values of that shape without changing it."""
    aligned = zip(reversed(shape), reversed(values), strict=False)
    return len(shape) <= len(values) and all(n in (1, size) for n, size in aligned)


def _is_missing(table: Table, name: str, row: int) -> CorruptInputError:
    return CorruptInputError(
        f'{table.place(row)}: column "{name}" is empty, and the training data had no missing cells '
        "there to learn a value from (dataset.missing)"
    )


class NumberColumn(Result):
    """A column of numbers."""

    type: Literal["number"] = "number"
    name: str
    fill: FiniteFloat | None = None
    """Replaces missing cells; None: they are refused."""
    marked: bool = False
    """Whether a sign such as % may stand at a number."""

    def values(self, table: Table) -> Array:
        """Its feature, (N,)."""
        numbers = table.numbers(self.name, marked=self.marked)
        missing = np.isnan(numbers)
        if not missing.any():
            return numbers
        if self.fill is None:
            raise _is_missing(table, self.name, int(missing.argmax()))
        return np.where(missing, self.fill, numbers)


class CategoryColumn(Result):
    """A one-hot encoded column."""

    type: Literal["category"] = "category"
    name: str
    fill: str | None = None
    """Replaces missing cells; None: they are refused."""
    categories: list[str]
    """In the order of the features; a text that is none of them becomes all zeros."""
    boolean: bool = False
    """Whether the texts are true and false, however they are written."""

    @model_validator(mode="after")
    def _consistent(self) -> CategoryColumn:
        if len(set(self.categories)) < len(self.categories):
            raise ValueError("a category twice")
        if self.fill is not None and self.fill not in self.categories:
            raise ValueError(f"fills missing cells with {self.fill!r}, which is no category")
        return self

    def write(self, table: Table, features: Array) -> None:
        """Write its features, (N, categories): a one, or none for an unknown text."""
        codes = table.codes(self.name, self.categories, boolean=self.boolean)
        missing = table.missing(self.name)
        if missing.any():
            if self.fill is None:
                raise _is_missing(table, self.name, int(missing.argmax()))
            codes[missing] = self.categories.index(self.fill)
        rows = np.flatnonzero(codes >= 0)
        features[:] = 0
        features[rows, codes[rows]] = 1

    def unknown(self, table: Table, rows: NDArray[np.int64] | None = None) -> list[str]:
        """The texts of the rows that have none of the categories. rows: which to look at."""
        codes = table.codes(self.name, self.categories, boolean=self.boolean)
        found = (codes < 0) & ~table.missing(self.name)
        places = np.flatnonzero(found) if rows is None else rows[found[rows]]
        return [str(table.texts(self.name)[int(row)]) for row in places]


Column = Annotated[NumberColumn | CategoryColumn, Field(discriminator="type")]


class TableFormat(Result):
    """How a table is read from a file."""

    separator: Annotated[str, Field(pattern=r'^[^"\r\n]$')] | None = None
    """None: a comma, or a tab in a file that ends in .tsv."""
    decimal: Literal[".", ","] = "."
    thousands: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    encoding: str | None = None
    """None: UTF-8, or UTF-16 where the file begins with its mark."""
    header: bool = True
    comment: Annotated[str, Field(min_length=1)] | None = None
    skip_rows: Count = 0
    missing_values: list[str] = Field(default_factory=list)
    """What stands for a missing cell, besides an empty one."""


class TableInputs(Result):
    """Columns of a table, in the order of the features."""

    kind: Literal["table"] = "table"
    columns: Annotated[list[Column], Field(min_length=1)]
    format: TableFormat = TableFormat()

    @model_validator(mode="after")
    def _each_column_once(self) -> TableInputs:
        if len({column.name for column in self.columns}) < len(self.columns):
            raise ValueError("a column twice")
        return self

    @property
    def feature_names(self) -> list[str]:
        """A name for each feature: ``town=Rome`` for a category."""
        names = []
        for column in self.columns:
            if isinstance(column, NumberColumn):
                names.append(column.name)
            else:
                names += [f"{column.name}={category}" for category in column.categories]
        return names

    def transform(self, table: Table) -> Array:
        """The features of each row, (N, features) float64.

        Raises CorruptInputError, with the place, for a column that is not there, for a missing cell
        where none was filled in training, and for text where training had numbers.
        """
        for column in self.columns:
            if column.name not in table.columns:
                shown = ", ".join(table.names[:20]) + (", …" if len(table.names) > 20 else "")
                raise CorruptInputError(
                    f'{table.origin}: no column "{column.name}", which the training data have'
                    f"{did_you_mean(column.name, table.names)}; columns: {shown}"
                )
        features = np.empty((table.rows, len(self.feature_names)))
        numbers = [each.values(table) for each in self.columns if isinstance(each, NumberColumn)]
        for begin in range(0, table.rows if numbers else 0, _ROWS):
            rows = slice(begin, begin + _ROWS)
            features[rows, : len(numbers)] = np.array([values[rows] for values in numbers]).T
        at = len(numbers)
        for column in self.columns:
            if isinstance(column, CategoryColumn):
                column.write(table, features[:, at : at + len(column.categories)])
                at += len(column.categories)
        return features

    def unknown_categories(
        self, parts: Sequence[tuple[Table, NDArray[np.int64] | None]], noun: str = "rows"
    ) -> list[str]:
        """A note on each column that holds texts which no training row has.

        parts: tables, each with the rows to look at; None: all of them.
        """
        notes = []
        for column in self.columns:
            if isinstance(column, CategoryColumn):
                found = [text for table, rows in parts for text in column.unknown(table, rows)]
                if found:
                    notes.append(
                        f'column "{column.name}": {len(found)} {noun} with a text that no training '
                        f'row has, such as "{found[0]}"; all zeros there'
                    )
        return notes


class ArrayInputs(Result):
    """Arrays of numbers, (N, *shape)."""

    kind: Literal["array"] = "array"
    shape: Annotated[list[Size], Field(min_length=1)]
    """Of one example, as the network sees it."""
    channels: Literal["first", "last"] | None = None
    """Which axis of the arrays holds the channels; None: they are no images."""
    dtype: str
    """As read in training."""
    value_range: Range | None = None
    """What is black and what is white: scaled to 0 and 1. None: the values stay."""
    low: float | None = None
    """The lowest value as read in training."""
    high: float | None = None
    scaling: str = "as it is"
    """The same in words."""

    @model_validator(mode="after")
    def _of_images(self) -> ArrayInputs:
        if self.channels is not None and len(self.shape) != 3:
            raise ValueError(f"channels of inputs of shape {self.shape}")
        return self

    @property
    def is_byte(self) -> bool:
        """Whether the network is given uint8 pictures, which it divides by 255."""
        return self.dtype == "uint8" and self.channels is not None and self.value_range is None

    def transform(self, array: NDArray[Any], name: str) -> NDArray[Any]:
        """Turn raw arrays into inputs, before they are standardized.

        array: (N, …) finite numbers, each example laid out as in training or as the network sees
        it. Returns uint8 (N, C, H, W), or float64 (N, *shape). name: what messages call the array.
        Raises CorruptInputError for other shapes and types.
        """
        laid_out = self._laid_out(array, name)
        if self.is_byte:
            if array.dtype == np.uint8:
                return np.ascontiguousarray(laid_out)
            if array.size and (array.min() < 0 or array.max() > 255 or (array % 1).any()):
                raise CorruptInputError(
                    f"{name} holds {array.dtype} from {array.min():.6g} to {array.max():.6g}; "
                    "training saw integers from 0 to 255"
                )
            return np.ascontiguousarray(laid_out.astype(np.uint8))
        values = laid_out.astype(np.float64)
        if self.value_range is not None:
            black, white = self.value_range
            values = (values - black) / (white - black)
        return np.ascontiguousarray(values)

    def _laid_out(self, array: NDArray[Any], name: str) -> NDArray[Any]:
        """As (N, *shape)."""
        shape, count = tuple(self.shape), len(array) if array.ndim else 0
        given = array.shape[1:]
        in_file = (*shape[1:], shape[0]) if self.channels == "last" else shape
        if given == in_file:
            return array.transpose(0, 3, 1, 2) if self.channels == "last" else array
        if given == shape:
            return array
        # Without the axis of one channel or feature, or flat, the order is the same.
        flat = self.channels != "last" and given == (prod(shape),)
        if flat or (given == shape[1:] and shape[0] == 1):
            return array.reshape(count, *shape)
        raise CorruptInputError(
            f"{name} has shape {array.shape}; each example must have shape {in_file}"
        )


class PictureInputs(Result):
    """Picture files."""

    kind: Literal["pictures"] = "pictures"
    size: tuple[Size, Size]
    """Height and width, in pixels."""
    background: str = "white"
    """What transparent pictures are composed on."""
    integers: Range | None = None
    """What is black and what is white in pictures of integers deeper than 8 bits, of one channel;
    None: there were none."""
    floats: Range | None = None
    """Likewise in pictures of floating-point numbers."""

    def range_of(self, dtype: str) -> tuple[float, float] | None:
        """What is black and what is white in deep pictures of this type."""
        return self.floats if dtype == "float32" else self.integers


Inputs = Annotated[TableInputs | ArrayInputs | PictureInputs, Field(discriminator="kind")]


class Scale(Result):
    """(x − mean) / std, broadcast against a batch.

    >>> scale = Scale.of(torch.tensor([10.0]), torch.tensor([2.0]))
    >>> scale.apply(torch.tensor([[14.0]])), scale.invert(torch.tensor([[2.0]]))
    (tensor([[2.]], dtype=torch.float64), tensor([[14.]], dtype=torch.float64))
    """

    shape: list[Size]
    mean: list[FiniteFloat]
    """Flat, in C order."""
    std: list[Annotated[FiniteFloat, Field(gt=0)]]

    @model_validator(mode="after")
    def _of_this_shape(self) -> Scale:
        if not prod(self.shape) == len(self.mean) == len(self.std):
            raise ValueError(
                f"{len(self.mean):,} means and {len(self.std):,} stds for shape {self.shape}"
            )
        return self

    @classmethod
    def of(cls, mean: Tensor, std: Tensor) -> Scale:
        """The scale with these tensors, of one shape."""
        return cls(shape=[*mean.shape], mean=mean.flatten().tolist(), std=std.flatten().tolist())

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, float64 on the CPU."""
        mean, std = (torch.tensor(each, dtype=torch.float64) for each in (self.mean, self.std))
        return mean.view(self.shape), std.view(self.shape)

    def apply(self, values: Tensor) -> Tensor:
        """(values − mean) / std."""
        mean, std = self.tensors()
        return (values - mean).div_(std)

    def invert(self, values: Tensor) -> Tensor:
        """values · std + mean."""
        mean, std = self.tensors()
        return values * std + mean


class Preprocessing(Result):
    """All that turns raw examples into tensors, and outputs into predictions."""

    format: Literal[1] = FORMAT
    dataset: str
    """`dataset.name` of the config."""
    inputs: Inputs
    input_scale: Scale | None = None
    """Of features; of uint8 images by channel, with pixels in [0, 1]. None: they stay."""
    classes: list[str] = Field(default_factory=list)
    """In the order of the network's outputs; empty for regression."""
    targets: list[str] = Field(default_factory=list)
    """The names of the targets: of classes one, of numbers one for each output."""
    target_scale: Scale | None = None
    """The network predicts (target − mean) / std; None: the target itself."""

    @property
    def task(self) -> Task:
        """What the network was trained for."""
        return "classification" if self.classes else "regression"

    def check_shapes(self, shape: ModelShape) -> None:
        """Raise CorruptInputError where a network of these shapes cannot take or give this."""
        given = tuple(shape.input_shape)
        match self.inputs:
            case TableInputs():
                fits = given == (len(self.inputs.feature_names),)
            case ArrayInputs():
                fits = given == tuple(self.inputs.shape)
            case PictureInputs():
                fits = len(given) == 3 and given[1:] == self.inputs.size
        if not fits:
            raise CorruptInputError(f"inputs: not of shape {given}, which the network takes")
        classes, outputs = len(self.classes), shape.num_outputs
        if classes and outputs not in ((1, 2) if classes == 2 else (classes,)):
            raise CorruptInputError(f"classes: {classes:,} for {outputs:,} outputs")
        if not classes and len(self.targets) != outputs:
            raise CorruptInputError(f"targets: {len(self.targets):,} for {outputs:,} outputs")
        array = isinstance(self.inputs, ArrayInputs) and not self.inputs.is_byte
        by_channel = len(given) == 3 and not array
        for key, scale, wanted in (
            ("input_scale", self.input_scale, given[:1] if by_channel else given),
            ("target_scale", self.target_scale, (outputs,)),
        ):
            if scale is not None and not _broadcasts(scale.shape, wanted):
                raise CorruptInputError(f"{key}.shape: {scale.shape} for values of shape {wanted}")

    def to_dict(self) -> dict[str, Any]:
        """All keys, also those that have their default: the marks of the kinds are among them."""
        return self.model_dump()
