"""The size of a stack that trains fastest, where that is measured.

On a GPU, a step of a small stack takes as long as it takes to start its kernels, and that of a
large one as long as its arithmetic; where one turns into the other depends on the network and on
the GPU. Up to there, more members cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

SHARES = (1, 4, 16)
"""The sizes that are tried: parts of what memory and the number of runs allow."""

WORTH_STEPS = 2_000
"""Steps of a run below which nothing is measured: building a stack and taking some thirty steps
would take as long as the training."""

WORTH_SECONDS = 20.0
"""Seconds of training below which the other sizes are not tried: they cost several seconds."""

MARGIN = 1.05
"""How many times as fast a smaller stack has to be. It costs more evaluations, and timings vary."""


@dataclass(frozen=True)
class StackSpeed:
    """How fast stacks of one size are trained. rate: steps a second, summed over the members."""

    members: int
    rate: float

    def __str__(self) -> str:
        return f"{self.rate:,.0f} with {self.members:,}"


@dataclass(frozen=True)
class Measured:
    """What was found for runs that can share a stack.

    most: members of a stack from now on. tried: the largest first; empty where it was found when
    the sweep began.
    """

    most: int
    tried: tuple[StackSpeed, ...] = ()

    @property
    def notes(self) -> list[str]:
        """What a user should know of the choice."""
        if len(self.tried) < 2:
            return []
        speeds = ", ".join(map(str, self.tried))
        return [f"stacks of up to {self.most:,} members: steps a second, measured: {speeds}"]


def fastest(
    limit: int, runs: int, steps: int, seconds_of: Callable[[int], float | None]
) -> Measured | None:
    """Time stacks of a few sizes, the largest first; None where it is not worth it, or fails.

    Args:
        limit: The most members that memory allows.
        runs: How many there are.
        steps: Of each run.
        seconds_of: Members of a stack → seconds of one of its steps; None where it does not fit, or
            cannot be trained at all.
    """
    sizes = [min(limit, runs) // share for share in SHARES]
    sizes = [size for size in sizes if size]
    if len(sizes) < 2 or steps < WORTH_STEPS:
        return None
    tried: list[StackSpeed] = []
    for size in sizes:
        seconds = seconds_of(size)
        if seconds is None:
            continue
        tried.append(StackSpeed(size, size / seconds))
        if runs * steps / tried[-1].rate < WORTH_SECONDS:
            break
    if not tried:
        return None  # training says what is wrong, and halves what does not fit
    best = tried[0]
    for other in tried[1:]:
        if other.rate > best.rate * MARGIN:
            best = other
    # What was tried first may be small because there are few runs.
    return Measured(limit if best.members == sizes[0] else best.members, tuple(tried))
