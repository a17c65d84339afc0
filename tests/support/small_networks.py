"""torchvision's classes with few layers: quickly trained, and rounding stays rounding in them."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from torch import nn
from torchvision import models

AS_THEY_ARE = ("resnet18", "squeezenet1_1")


def small_network(name: str, num_classes: int) -> nn.Module:
    """A network of the class that torchvision has under this name."""
    module: nn.Module
    if name == "densenet121":
        module = models.DenseNet(4, (2, 2), 8, num_classes=num_classes)
    elif name == "efficientnet_b0":
        block = partial(models.efficientnet.MBConvConfig, width_mult=1.0, depth_mult=1.0)
        blocks = [block(2, 3, 2, 8, 8, 2), block(2, 3, 1, 8, 8, 2)]
        module = models.EfficientNet(blocks, 0.2, 0.5, num_classes)
    else:
        assert name == "vit_b_16"
        module = models.VisionTransformer(32, 16, 2, 2, 8, 16, 0.2, num_classes=num_classes)
        # as made, it lets no gradient through
        nn.init.normal_(module.get_parameter("heads.head.weight"))
    return module


def use_small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the model section build these, until the test ends."""
    get_model = models.get_model

    def small(name: str, weights: None, num_classes: int, **options: Any) -> nn.Module:
        if name not in AS_THEY_ARE:
            return small_network(name, num_classes)
        module: nn.Module = get_model(name, num_classes=num_classes)
        return module

    monkeypatch.setattr(models, "get_model", small)
