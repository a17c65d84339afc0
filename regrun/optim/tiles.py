"""Cache tiles: an update is applied to one piece of memory after another, all its operations
while the piece is in the core's cache.

An update like Adam's is seven operations; over whole parameters each of them would fetch
everything from main memory again. Results do not depend on the tiles: every operation is
entrywise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

TILE_BYTES = 256 * 1024
"""Of one tensor's piece, per thread: the four or five pieces an update touches fit the cache."""

LARGE = 2**14
"""Entries of a member from which on a kernel may have it by itself."""

PIECE = 2**20
"""Entries that such a kernel gets at a time."""


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
    def of(cls, shape: Sequence[int], limit: int, apart: bool = False) -> Layout:
        """Cut a tensor of this shape, (K, ...), into pieces of about `limit` entries or fewer.

        apart: members that are large get pieces of their own, however large the limit is.
        """
        rows = shape[0]
        length = torch.Size(shape[1:]).numel()
        if apart and length >= LARGE:
            # Always alike, so that a kernel's results, too, do not depend on the tiles.
            cuts = [PIECE] * (length // PIECE) + [length % PIECE] * (length % PIECE > 0)
            return cls._of_one_member_each(rows, cuts)
        if rows * length <= limit:
            return cls(tuple(shape), (rows,), (slice(0, rows),))
        if length <= limit:
            cuts = _even(rows, -(-rows // (limit // length)))
            starts = [sum(cuts[:i]) for i in range(len(cuts))]
            members = [slice(start, start + cut) for start, cut in zip(starts, cuts, strict=True)]
            return cls((rows, length), tuple(cuts), tuple(members))
        return cls._of_one_member_each(rows, _even(length, -(-length // limit)))

    @classmethod
    def _of_one_member_each(cls, rows: int, cuts: list[int]) -> Layout:
        members = [slice(row, row + 1) for row in range(rows) for _ in cuts]
        return cls((rows * sum(cuts),), tuple(cuts * rows), tuple(members))

    def cut(self, tensor: Tensor) -> Sequence[Tensor]:
        """The pieces: views, unless the tensor is not contiguous and must be copied first."""
        if len(self.sizes) == 1:
            return (tensor,)
        return tensor.reshape(self.view).split(self.sizes)  # type: ignore[no-untyped-call,no-any-return]

    def numbers(self, numbers: Tensor) -> list[Tensor]:
        """(K,) → per piece a view that broadcasts against it, member by member."""
        return [numbers[members].view(-1, *[1] * (len(self.view) - 1)) for members in self.members]


def _even(total: int, parts: int) -> list[int]:
    """`total` as a sum of `parts` nearly equal numbers."""
    return [total // parts + (i < total % parts) for i in range(parts)]


def tile_entries(like: Tensor) -> int:
    """Entries of one tile: everything on an accelerator, which has no such cache to fill."""
    if like.device.type != "cpu":
        return 2**62
    return TILE_BYTES // like.element_size() * torch.get_num_threads()


@dataclass
class Tile:
    """One piece of a parameter with everything an update needs, all of one shape or (K,)-like."""

    weight: Tensor
    total: Tensor
    """Scratch that holds the gradient with its additions."""
    scratch: Tensor
    """Scratch of the update."""
    state: Mapping[str, Tensor]
    """Slot → its piece."""
    numbers: Mapping[str, Tensor]
    """Per-member numbers of the update, broadcasting against the piece."""
    member: int | None = None
    """The one member that it belongs to, where the rule wants them apart and it is large."""
    sign: Tensor | None = None
    """Coefficient of sign(w) in the gradient."""
    linear: Tensor | None = None
    """Coefficient of w in the gradient."""
    shrink: Tensor | None = None
    """Factor on the weight before the update: decoupled decay."""


def shared_scratch(like: Tensor, pieces: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Two scratch views per piece, all of the same two buffers: an update leaves nothing there."""
    largest = max((piece.numel() for piece in pieces), default=0)
    first, second = like.new_empty(largest), like.new_empty(largest)
    return [
        (first[: piece.numel()].view(piece.shape), second[: piece.numel()].view(piece.shape))
        for piece in pieces
    ]
