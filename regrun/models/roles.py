"""The role of every parameter: weight, bias or norm."""

from __future__ import annotations

from typing import Literal

from torch import nn

Role = Literal["weight", "bias", "norm"]

NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def roles_of(module: nn.Module) -> dict[str, Role]:
    """Parameter name → role, in the order of `named_parameters`.

    Both parameters of a normalisation layer are `norm`; any parameter called `…bias` is `bias`;
    all else is `weight`.
    """
    roles: dict[str, Role] = {}
    for prefix, layer in module.named_modules():
        for name, _ in layer.named_parameters(recurse=False):
            full = f"{prefix}.{name}" if prefix else name
            if isinstance(layer, NORMS):
                roles[full] = "norm"
            else:
                roles[full] = "bias" if name.endswith("bias") else "weight"
    return roles
