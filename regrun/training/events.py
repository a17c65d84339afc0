"""What an engine tells while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

Row = dict[str, float | int]
"""One evaluation of one member, as a line of `metrics.jsonl`."""

Status = Literal["completed", "stopped", "diverged", "pruned"]


@dataclass(frozen=True)
class Evaluation:
    """All members were measured after `epoch` epochs. rows: member → its measurements."""

    epoch: int
    step: int
    rows: dict[int, Row]


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
