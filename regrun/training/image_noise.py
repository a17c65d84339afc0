"""Random changes of images, each a function of draws that the caller has made.

Draws u are uniform in [0, 1). Images travel as (R, B, C, H, W).
"""

from __future__ import annotations

import torch
from torch import Tensor


def whole_below(u: Tensor, count: Tensor | int) -> Tensor:
    """Uniform whole numbers 0 … count−1, int64, from uniform numbers."""
    return (u.double() * count).long()


def beta(u: Tensor, alpha: Tensor) -> Tensor:
    """Draws from Beta(α, α), (R,) in float64, from u (R, 2); 1 where α is 0.

    T = √(2α (u₁^(−1/α) − 1)) cos 2πu₂ has Student's distribution with 2α degrees of freedom
    (Bailey 1994), and ½ + ½ T / √(2α + T²) is what is wanted (Devroye 1996): exact for every α.
    """
    alpha, (u1, u2) = alpha.double(), u.double().unbind(-1)
    cosine = torch.cos(2 * torch.pi * u2)
    ratio = torch.expm1(-torch.log(u1) / alpha) * cosine.square()  # T² / 2α
    # ½ − ½ |T| / √(2α + T²), without the loss of digits
    least = 0.5 / ((1 + ratio) * (1 + 1 / torch.sqrt(1 + 1 / ratio)))
    return torch.where(alpha > 0, torch.where(cosine < 0, least, 1 - least), 1.0)


def span(centre: Tensor, side: Tensor, size: int) -> Tensor:
    """Which of `size` positions lie in a span of `side` around a centre: (…) → (…, size)."""
    start = (centre - side // 2).unsqueeze(-1)
    position = torch.arange(size, device=centre.device)
    return (position >= start) & (position < start + side.unsqueeze(-1))


def moved(images: Tensor, down: Tensor, right: Tensor, mirrored: Tensor) -> Tensor:
    """Read each image at other places, 0 outside of it, and then mirror it left to right.

    down, right: (R, B) whole numbers; mirrored: (R, B). Pixel (i, j) becomes that of
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


def with_holes(images: Tensor, u: Tensor, side: Tensor) -> Tensor:
    """Cutout: a square of zeros in each image, its centre any pixel. u: (R, B, 2); side: (R,)."""
    height, width = images.shape[-2:]
    side = side.unsqueeze(-1)
    rows = span(whole_below(u[..., 0], height), side, height)
    columns = span(whole_below(u[..., 1], width), side, width)
    return images.masked_fill(_crossed(rows, columns), 0)


def box(u: Tensor, share: Tensor, height: int, width: int) -> Tensor:
    """Cutmix: a box of the share 1−λ of the image, its centre any pixel, cut off at the edges.

    u: (R, 2); share: λ, (R,). Returns (R, 1, 1, H, W), true inside.
    """
    ratio = (1 - share).sqrt()
    rows = span(whole_below(u[:, 0], height), (height * ratio).long(), height)
    columns = span(whole_below(u[:, 1], width), (width * ratio).long(), width)
    return _crossed(rows.unsqueeze(1), columns.unsqueeze(1))


def _crossed(rows: Tensor, columns: Tensor) -> Tensor:
    """(R, B, H) and (R, B, W) → (R, B, 1, H, W): where both are true."""
    return (rows.unsqueeze(-1) & columns.unsqueeze(-2)).unsqueeze(2)
