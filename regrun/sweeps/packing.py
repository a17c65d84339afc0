"""Which runs share a stack.

Runs that agree in everything but per-member numbers can be trained as one. How many at once is a
matter of speed alone: their results do not depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from regrun.config.schema import Config

CACHE_BYTES = 64_000_000
"""Parameters, gradients and optimizer state of a stack on a CPU: a few times its last cache."""

MOST_MEMBERS = 1024
"""More bring nothing: the time per member has long been flat."""

Structure = tuple[Any, ...]


def structure(config: Config) -> Structure:
    """All of a config that shapes tensors or control flow: equal for members of one stack."""
    return config.model_copy(update={"name": "", "sweep": None}).structure()


def stack_size(member_bytes: int, shared_bytes: int, free_bytes: int, on_cpu: bool) -> int:
    """Members of one stack: on a CPU for the cache, on a GPU for half of its free memory."""
    room = (free_bytes // 2 - shared_bytes) // max(member_bytes, 1)
    if on_cpu:
        room = min(room, CACHE_BYTES // max(member_bytes, 1))
    return max(1, min(room, MOST_MEMBERS))


def pack(
    cells: Sequence[Sequence[Config]],
    limit: Callable[[Config], int],
    least_packs: int = 1,
) -> list[list[tuple[int, int]]]:
    """Packs of (cell, seed position).

    cells: the configs of each cell, one per seed. limit: the most members of a stack like this
    config's. A cell's seeds stay together where they fit. least_packs: a structure's runs are
    spread over this many packs at least, when there are enough cells, so that every core has one.
    """
    alike: dict[Structure, list[int]] = {}
    for index, configs in enumerate(cells):
        alike.setdefault(structure(configs[0]), []).append(index)
    packs: list[list[tuple[int, int]]] = []
    for indices in alike.values():
        cells_of_kind, seeds = len(indices), len(cells[indices[0]])
        most = limit(cells[indices[0]][0])
        # Equal shares: 100 cells with room for 64 are 50 + 50, not 64 + 36.
        count = -(-cells_of_kind // max(1, most // seeds))
        count = max(count, min(least_packs, cells_of_kind))
        for part in range(count):
            first, end = part * cells_of_kind // count, (part + 1) * cells_of_kind // count
            runs = [(cell, seed) for cell in indices[first:end] for seed in range(seeds)]
            packs += [runs[at : at + most] for at in range(0, len(runs), most)]
    return packs
