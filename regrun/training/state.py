"""The state of an engine, as a checkpoint holds it: tensors by name, and typed plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat
from torch import Tensor

from regrun.stack.state import naming
from regrun.training.events import MemberStatus

Count = Annotated[int, Field(ge=0)]


class State(BaseModel):
    """Part of a checkpoint: every key is there, of its type, and there is no other."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Ending(State):
    """A member that ends at this step, without its `MemberEnd` having been yielded."""

    member: Count
    status: MemberStatus
    step: Count


class StopperState(State):
    """What early stopping has seen of one member: the best evaluation, and how many since."""

    best_row: dict[str, FiniteFloat | int] | None
    waited: Count


class EngineState(State):
    """All of an engine's state that is no tensor.

    members: by row of the stack. ended: those whose `MemberEnd` has been yielded, ascending.
    stopped: those that are to leave the stack. not_finite: those with a NaN or an infinity among
    their tensors, as divergence leaves them. early_stopping: by member. compiled: whether the
    coming steps are.
    """

    step: Count
    members: list[Count]
    ended: list[Count]
    pending: list[Ending]
    stopped: list[Count]
    not_finite: list[Count]
    early_stopping: dict[str, StopperState]
    compiled: bool


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``name`` → ``prefix/name``."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def strip_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The entries under ``prefix/``, without the prefix."""
    start = f"{prefix}/"
    return {name.removeprefix(start): t for name, t in tensors.items() if name.startswith(start)}


@contextmanager
def part(prefix: str, tensors: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """`strip_prefix`; a CorruptInputError of the block gets the prefix before the name."""
    with naming(f"{prefix}/"):
        yield strip_prefix(prefix, tensors)
