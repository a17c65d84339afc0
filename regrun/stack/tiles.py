"""Tiles: pieces of parameters that fit the core's cache.

An update like Adam's is seven operations, and each would fetch whole parameters from main memory
again. All operations therefore finish one tile before the next; being entrywise, they do not
depend on the tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from regrun.kinds.optimizers.base import Tile

TILE_BYTES = 256 * 1024
"""Size of one tensor's piece, per thread: the four or five that an update touches fit the cache."""

LARGE = 2**14
"""Entries from which on a member may get tiles of its own."""

PIECE = 2**20
"""Entries of such a tile, at most."""


@dataclass(frozen=True)
class Layout:
    """How a (K, *shape) tensor is cut: viewed as `view`, then split along its first axis.

    A piece is either some whole members, (rows, n), or a part of one member, (length,).
    `members[i]` is the slice of the stack that piece i belongs to. One piece: not cut at all.
    """

    view: tuple[int, ...]
    sizes: tuple[int, ...]
    members: tuple[slice, ...]

    @classmethod
    def of(cls, shape: Sequence[int], limit: int, per_member: bool = False) -> Layout:
        """Cut a tensor of this shape, (K, ...), into pieces of about `limit` entries or fewer.

        per_member: large members get pieces of their own, whatever the limit is.
        """
        rows = shape[0]
        length = torch.Size(shape[1:]).numel()
        if per_member and length >= LARGE:
            # The same whatever the limit, as a fused kernel's results may depend on its tile.
            cuts = [PIECE] * (length // PIECE) + [length % PIECE] * (length % PIECE > 0)
            return cls._one_member_each(rows, cuts)
        if rows * length <= limit:
            return cls(tuple(shape), (rows,), (slice(0, rows),))
        if length <= limit:
            cuts = _even(rows, -(-rows // (limit // length)))
            starts = [sum(cuts[:i]) for i in range(len(cuts))]
            members = [slice(start, start + cut) for start, cut in zip(starts, cuts, strict=True)]
            return cls((rows, length), tuple(cuts), tuple(members))
        return cls._one_member_each(rows, _even(length, -(-length // limit)))

    @classmethod
    def _one_member_each(cls, rows: int, cuts: list[int]) -> Layout:
        members = [slice(row, row + 1) for row in range(rows) for _ in cuts]
        return cls((rows * sum(cuts),), tuple(cuts * rows), tuple(members))

    @property
    def largest(self) -> int:
        """Entries of the largest piece."""
        return max(self.sizes) * torch.Size(self.view[1:]).numel()

    def cut(self, tensor: Tensor) -> Sequence[Tensor]:
        """Return the pieces: views, or copies of a tensor that is not contiguous."""
        if len(self.sizes) == 1:
            return (tensor,)
        return tensor.reshape(self.view).split(self.sizes)  # type: ignore[no-untyped-call,no-any-return]

    def numbers(self, numbers: Tensor) -> list[Tensor]:
        """View (K,) numbers so that they broadcast against the pieces: one view per piece."""
        return [numbers[members].view(-1, *[1] * (len(self.view) - 1)) for members in self.members]


def _even(total: int, parts: int) -> list[int]:
    """Split `total` into `parts` nearly equal integers."""
    return [total // parts + (i < total % parts) for i in range(parts)]


def tile_entries(like: Tensor) -> int:
    """Entries of one tile; no limit on an accelerator, which has no such cache to fill."""
    if like.device.type != "cpu":
        return 2**62
    return TILE_BYTES // like.element_size() * torch.get_num_threads()


@dataclass
class StackTile(Tile):
    """A tile with what acts on it before the update rule: None where nothing does.

    Each is a number per member that broadcasts against the weight.
    """

    sign: Tensor | None = None
    """Coefficient of sign(w) in the gradient."""
    linear: Tensor | None = None
    """Coefficient of w in the gradient."""
    shrink: Tensor | None = None
    """Factor on the weight: decoupled decay."""
