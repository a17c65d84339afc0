"""Initial weights: drawn from a seed, or parameters without numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generator, and restore its state at the end.

    Not with `torch.manual_seed`: it also prepares every accelerator, and takes longer than
    building a network.
    """
    before = torch.default_generator.get_state()
    try:
        torch.default_generator.manual_seed(seed)
        yield
    finally:
        torch.default_generator.set_state(before)


class OnMeta(TorchFunctionMode):
    """Puts parameters and buffers on the meta device, and nothing else.

    `torch.device("meta")` would also take the tensors from which RegNet computes its widths.
    """

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        if function in (torch.empty, torch.zeros, torch.ones) and options.get("device") is None:
            options["device"] = "meta"
        return function(*args, **options)


def initialize(module: nn.Module, init: str, std: float) -> None:
    """Redraw the weights of linear and convolution layers; biases become 0.

    init: as `ModelSection.init`; `default` keeps what torch drew at construction. std: of
    `normal`. Draws from torch's global generator, which the caller has seeded.
    """
    if init == "default":
        return
    for layer in module.modules():
        if not isinstance(layer, nn.Linear | nn.Conv2d):
            continue
        match init:
            case "normal":
                nn.init.normal_(layer.weight, std=std)
            case "zeros":
                nn.init.zeros_(layer.weight)
            case "xavier":
                nn.init.xavier_uniform_(layer.weight)
            case "kaiming":
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
