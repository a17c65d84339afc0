"""Which device a run trains on."""

from __future__ import annotations

import torch

from regrun.errors import UsageError


def resolve_device(name: str) -> torch.device:
    """`auto` is the first CUDA GPU when there is one, else the CPU.

    Raises UsageError for an unknown or absent device.
    """
    if name == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    if name == "cpu":
        return torch.device("cpu")
    kind, _, number = name.partition(":")
    if kind != "cuda" or (number and not number.isdecimal()):
        raise UsageError(f"--device {name}: not one of auto, cpu, cuda, cuda:N")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    index = int(number or 0)
    if index >= count:
        raise UsageError(f"--device {name}: this machine has {count} CUDA device(s)")
    return torch.device("cuda", index)
