"""Initial weights."""

from __future__ import annotations

from torch import nn

from regrun.kinds.models import ModelSection


def initialize(module: nn.Module, section: ModelSection) -> None:
    """Redraw the weights of linear and convolution layers as `init` says; biases become 0.

    `default` keeps what torch drew at construction. Draws from torch's global generator, which the
    caller has seeded.
    """
    if section.init == "default":
        return
    for layer in module.modules():
        if not isinstance(layer, nn.Linear | nn.Conv2d):
            continue
        match section.init:
            case "normal":
                nn.init.normal_(layer.weight, std=section.init_std)
            case "zeros":
                nn.init.zeros_(layer.weight)
            case "xavier":
                nn.init.xavier_uniform_(layer.weight)
            case "kaiming":
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
