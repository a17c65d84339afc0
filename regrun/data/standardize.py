"""Mean 0 and standard deviation 1, as measured on the training examples."""

from __future__ import annotations

import torch
from torch import Tensor


def moments(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and (population) standard deviation of every feature, or of every channel of images.

    inputs: (N, *shape) float64. Returns two tensors that broadcast against ``inputs``:
    (*shape), or (C, 1, 1) for images (N, C, H, W). A constant feature has standard deviation 1
    here, so that it becomes 0 and not NaN (as scikit-learn's StandardScaler).
    """
    over = (0, 2, 3) if inputs.ndim == 4 else (0,)
    if inputs[0].numel() == 1 or (inputs.ndim == 4 and inputs.shape[1] == 1):
        # A reduction to one number is shared out to torch's threads, and its last bits then depend
        # on how many there are; one to two numbers is not.
        mean, std = moments(inputs.expand(-1, 2, *inputs.shape[2:]))
        return mean[:1], std[:1]
    mean = inputs.mean(over, keepdim=True)[0]
    std = inputs.std(over, correction=0, keepdim=True)[0]
    constant = (inputs.amax(over, keepdim=True) == inputs.amin(over, keepdim=True))[0]
    # The mean of equal numbers may be off by a rounding, which would leave 1e-17 instead of 0.
    mean = torch.where(constant, inputs.amin(over, keepdim=True)[0], mean)
    return mean, std.masked_fill(constant, 1.0)


def pixel_moments(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and (population) standard deviation of every channel, of pixels scaled to [0, 1].

    images: (N, C, H, W) uint8. Returns two (C,) float64 tensors. Counts of the 256 values are
    exact and need no floating-point copy of the images.
    """
    values = torch.arange(256, dtype=torch.float64) / 255
    counts = torch.stack(
        [torch.bincount(images[:, c].flatten(), minlength=256) for c in range(images.shape[1])]
    ).double()
    share = counts / counts.sum(1, keepdim=True)
    mean = share @ values
    std = (share * (values - mean[:, None]) ** 2).sum(1).sqrt()
    return mean, std.masked_fill(std == 0, 1.0)
