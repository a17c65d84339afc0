"""Operations on stacked images, (R, B, C, H, W)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def random_integers(u: Tensor, count: Tensor | int) -> Tensor:
    """Uniform integers 0 … count−1, int64, from numbers u that are uniform on [0, 1)."""
    return (u.double() * count).long()


def span(centre: Tensor, side: Tensor, size: int) -> Tensor:
    """Which of `size` positions lie in a span of `side` around a centre: (…) → (…, size)."""
    start = (centre - side // 2).unsqueeze(-1)
    position = torch.arange(size, device=centre.device)
    return (position >= start) & (position < start + side.unsqueeze(-1))


def rectangle(u: Tensor, height: Tensor, width: Tensor, size: Sequence[int]) -> Tensor:
    """The pixels of random rectangles, (R, B, 1, H, W), whose centres may be any pixel.

    u: (R, B, 2), uniform on [0, 1). height, width: of the rectangles, to broadcast against (R, B).
    size: H, W of the images, whose edges cut the rectangles off.
    """
    rows = span(random_integers(u[..., 0], size[0]), height, size[0])
    columns = span(random_integers(u[..., 1], size[1]), width, size[1])
    return _crossed(rows, columns)


def moved(images: Tensor, down: Tensor, right: Tensor, mirrored: Tensor) -> Tensor:
    """Read each image at other places, 0 outside of it, and then mirror it left to right.

    down, right: (R, B) integers; mirrored: (R, B) bool. Pixel (i, j) becomes that of
    (i + down, j + right), with W−1−j for j where mirrored.
    """
    height, width = images.shape[-2:]
    row = torch.arange(height, device=images.device) + down.unsqueeze(-1)
    column = torch.arange(width, device=images.device)
    column = torch.where(mirrored.unsqueeze(-1), column.flip(0), column) + right.unsqueeze(-1)
    inside = _crossed((row >= 0) & (row < height), (column >= 0) & (column < width))
    place = row.clamp(0, height - 1).unsqueeze(-1) * width + column.clamp(0, width - 1).unsqueeze(
        -2
    )
    pixels = images.flatten(3)
    taken = pixels.gather(3, place.flatten(2).unsqueeze(2).expand_as(pixels)).view_as(images)
    return taken.masked_fill_(~inside, 0)


def _crossed(rows: Tensor, columns: Tensor) -> Tensor:
    """(R, B, H) and (R, B, W) → (R, B, 1, H, W): where both are true."""
    return (rows.unsqueeze(-1) & columns.unsqueeze(-2)).unsqueeze(2)
