"""Which runs share a stack.

Runs that differ only in per-member numbers can be trained as one stack. The size of a stack is a
matter of speed; results do not depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from regrun.config.schema import Config

CACHE_BYTES = 64_000_000
"""Most bytes of parameters, gradients and optimizer state of a stack on a CPU: a few times the size
of the last-level cache."""

MOST_MEMBERS = 1024
"""Beyond this size the time per member no longer falls."""

Structure = tuple[Any, ...]


def structure(config: Config) -> Structure:
    """All of a config that shapes tensors or control flow: equal for members of one stack."""
    return config.model_copy(update={"name": "", "sweep": None}).structure()


def stack_size(member_bytes: int, shared_bytes: int, free_bytes: int, on_cpu: bool) -> int:
    """Members of one stack, limited by half of the free memory, and on a CPU by the cache."""
    room = (free_bytes // 2 - shared_bytes) // max(member_bytes, 1)
    if on_cpu:
        room = min(room, CACHE_BYTES // max(member_bytes, 1))
    return max(1, min(room, MOST_MEMBERS))


def group_into_stacks(
    cells: Sequence[Sequence[Config]],
    limit: Callable[[Config], int],
    least_stacks: int = 1,
) -> list[list[tuple[int, int]]]:
    """Group runs, as (cell, seed position), into stacks.

    cells: the configs of each cell, one per seed. limit: the most members of a stack of this
    config. The seeds of a cell share a stack if they fit. least_stacks: spread the runs of one
    structure over at least this many stacks, if there are enough cells, so that each core has one.
    """
    alike: dict[Structure, list[int]] = {}
    for index, configs in enumerate(cells):
        alike.setdefault(structure(configs[0]), []).append(index)
    stacks: list[list[tuple[int, int]]] = []
    for indices in alike.values():
        cells_of_kind, seeds = len(indices), len(cells[indices[0]])
        most = limit(cells[indices[0]][0])
        # Equal shares: 100 cells with room for 64 are 50 + 50, not 64 + 36.
        count = -(-cells_of_kind // max(1, most // seeds))
        count = max(count, min(least_stacks, cells_of_kind))
        for part in range(count):
            first, end = part * cells_of_kind // count, (part + 1) * cells_of_kind // count
            runs = [(cell, seed) for cell in indices[first:end] for seed in range(seeds)]
            stacks += [runs[at : at + most] for at in range(0, len(runs), most)]
    return stacks
