"""What an engine tells while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from torch import Tensor

Row = dict[str, float | int]
"""One evaluation of one member, as a line of `metrics.jsonl`."""

Status = Literal["completed", "stopped", "diverged", "pruned"]


@dataclass(frozen=True)
class Table:
    """Members that were measured by the same metrics.

    tags: (M,), the metrics' names. values: (members, M) float64.
    """

    members: tuple[int, ...]
    tags: tuple[str, ...]
    values: np.ndarray


@dataclass(frozen=True)
class Evaluation:
    """All members were measured after `epoch` epochs; those that diverged are left out."""

    epoch: int
    step: int
    tables: tuple[Table, ...]

    @cached_property
    def rows(self) -> dict[int, Row]:
        """Member → its measurements."""
        return {
            member: {
                "epoch": self.epoch,
                "step": self.step,
                **dict(zip(table.tags, own, strict=True)),
            }
            for table in self.tables
            for member, own in zip(table.members, table.values.tolist(), strict=True)
        }

    @property
    def layout(self) -> list[tuple[tuple[int, ...], tuple[str, ...]]]:
        """What two evaluations with the same members and metrics have in common."""
        return [(table.members, table.tags) for table in self.tables]


@dataclass(frozen=True)
class MemberEnd:
    """One member's training is over.

    status: `stopped` is early stopping. weights: the member's own `state_dict`; None when it
    diverged. best_row: the evaluation whose weights these are, when one was chosen. averages:
    `ema`, `swa` → the `state_dict` of that average at the same moment.
    """

    member: int
    status: Status
    epoch: int
    step: int
    weights: dict[str, Tensor] | None
    best_row: Row | None = None
    averages: dict[str, dict[str, Tensor]] = field(default_factory=dict)


@dataclass(frozen=True)
class Tick:
    """A step was taken; the caller may save or stop here."""

    step: int


Event = Evaluation | MemberEnd | Tick
