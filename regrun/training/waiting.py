"""Waiting for a device, which works on while Python goes on."""

from __future__ import annotations

import torch


def wait_for(device: torch.device) -> None:
    """Return when all that was asked of the device is done; at once for a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
