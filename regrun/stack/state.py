"""Tensors read from a checkpoint are compared with those that they are to replace."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from regrun.errors import CorruptInputError

BATCHES = "num_batches_tracked"
"""How batch norm calls the count of the batches that it has seen."""


def check_tensors(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Compare names, shapes and types. Raises CorruptInputError that begins with the name."""
    check_names(expected, found)
    for name, tensor in expected.items():
        mine, other = _described(tensor), _described(found[name])
        if mine != other:
            raise CorruptInputError(f"{name}: {other}, expected {mine}")


def check_names(expected: Collection[str], found: Collection[str]) -> None:
    """Raise CorruptInputError for the first name that is missing or of nothing known."""
    for name in sorted({*expected} ^ {*found}):
        raise CorruptInputError(f"{name}: {'missing' if name in expected else 'unexpected'}")


def check_not_negative(name: str, tensor: Tensor) -> None:
    """Raise CorruptInputError for a number below 0; NaN is none."""
    if (tensor < 0).any():
        raise CorruptInputError(f"{name}: a number below 0")


def check_statistics(name: str, tensor: Tensor) -> None:
    """Raise CorruptInputError for a running variance, or a count of batches, below 0."""
    if name.endswith(("running_var", BATCHES)):
        check_not_negative(name, tensor)


@contextmanager
def naming(part: str) -> Iterator[None]:
    """Put ``part`` before the names in a CorruptInputError of the block."""
    try:
        yield
    except CorruptInputError as error:
        raise CorruptInputError(f"{part}{error}") from error


def finite_rows(tensor: Tensor) -> Tensor:
    """Whether all entries of a row are finite, (K,) bool, for (K, …)."""
    rows = tensor.flatten(1) if tensor.ndim > 1 else tensor.unsqueeze(1)
    # A sum is several times as fast. It may overflow, so only a finite one is an answer.
    found = rows.sum(1).isfinite()
    if not found.all():
        found = torch.where(found, found, rows.isfinite().all(1))
    return found


def _described(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
