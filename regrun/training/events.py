"""The events that an engine yields while it trains."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from torch import Tensor

from regrun.histograms import WeightHistograms

Row = dict[str, float | int]
"""One evaluation of one member, as a line of `metrics.jsonl`."""

MemberStatus = Literal["completed", "stopped", "diverged", "pruned"]
"""How a member's training ended; `stopped` is early stopping."""


@dataclass(frozen=True)
class MetricTable:
    """Members that were measured by the same metrics.

    tags: M names. values: (members, M) float64.
    """

    members: tuple[int, ...]
    tags: tuple[str, ...]
    values: np.ndarray


@dataclass(frozen=True)
class Evaluation:
    """The measurements of all live members after `epoch` epochs, without diverged ones.

    There is one table for each set of metrics, so that thousands of members reach the files as
    arrays.
    """

    epoch: int
    step: int
    tables: tuple[MetricTable, ...]

    @cached_property
    def rows(self) -> dict[int, Row]:
        """Member → its measurements."""
        return {
            member: {
                "epoch": self.epoch,
                "step": self.step,
                **dict(zip(table.tags, values, strict=True)),
            }
            for table in self.tables
            for member, values in zip(table.members, table.values.tolist(), strict=True)
        }

    @property
    def layout(self) -> list[tuple[tuple[int, ...], tuple[str, ...]]]:
        """Members and metrics of each table: equal for evaluations that can be concatenated."""
        return [(table.members, table.tags) for table in self.tables]


@dataclass(frozen=True)
class MemberEnd:
    """One member's training has ended.

    weights: the member's `state_dict`; None when it diverged. best_row: the evaluation at which
    the weights were restored, if any. averages: `ema`, `swa` → that average's `state_dict`.
    test_examples: see `Evaluator.test_examples`, (N,) each, by these weights; None: not asked for.
    histograms: of the last weights of this member and others; None where they were yielded before,
    or are not asked for.
    """

    member: int
    status: MemberStatus
    epoch: int
    step: int
    weights: dict[str, Tensor] | None
    best_row: Row | None = None
    averages: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    test_examples: dict[str, Tensor] | None = None
    histograms: WeightHistograms | None = None


@dataclass(frozen=True)
class Tick:
    """A step was taken without an evaluation; the caller may save or stop here."""

    step: int


Event = Evaluation | WeightHistograms | MemberEnd | Tick
"""`WeightHistograms` belong to the event after them: the engine's state must not be saved in
between. They are of all live members, and of those that diverged since the last evaluation."""
