"""torchvision's classifiers by name, trained from scratch."""

from __future__ import annotations

import warnings
from typing import Any

from torch import nn

from regrun.errors import ConfigError, UsageError
from regrun.kinds.models import Torchvision
from regrun.nn.shapes import as_image

SMALL = 64
"""Images with a shorter side below this many pixels count as small."""

MINIMUM_SIDE = {"alexnet": 64, "inception_v3": 75}
"""Smaller images are enlarged to this; all other networks, but for ResNets, take 32."""


def build_torchvision(
    section: Torchvision, input_shape: tuple[int, ...], num_outputs: int
) -> nn.Module:
    """The named classifier for these images, its output layer resized to `num_outputs`.

    Raises ConfigError for inputs that are no images, UsageError without a working torchvision.
    """
    models = _import_models()
    channels, height, width = as_image(input_shape, section.name)
    options: dict[str, Any] = {"num_classes": num_outputs}
    if section.name in ("googlenet", "inception_v3"):
        options |= {"aux_logits": False, "init_weights": True}
    side = _enlarged_side(section, height, width)
    if section.name.startswith("vit_"):
        options["image_size"] = side
    if section.name.startswith("maxvit"):
        options["input_size"] = (side, side)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module: nn.Module = models.get_model(section.name, weights=None, **options)
    if section.dropout is not None:
        _set_dropout(module, section)
    if section.small_images == "adapt" and min(height, width) < SMALL:
        _adapt_stem(module)
    if channels != 3:
        _take_channels(module, channels)
    if side != height or side != width:
        module = nn.Sequential(nn.Upsample((side, side), mode="bilinear"), module)
    return module


def adaptations(section: Torchvision, input_shape: tuple[int, ...]) -> list[str]:
    """What was changed for these images, in words."""
    channels, height, width = as_image(input_shape, section.name)
    notes = []
    side = _enlarged_side(section, height, width)
    if section.small_images == "adapt" and min(height, width) < SMALL and _has_stem(section.name):
        notes.append("stem: 3×3 convolution of stride 1, no max-pooling (He et al. 2016, §4.2)")
    if channels != 3:
        notes.append(f"first convolution takes {channels} channel(s) instead of 3")
    if side != height or side != width:
        notes.append(f"images are enlarged from {height}×{width} to {side}×{side}")
    return notes


def _import_models() -> Any:
    try:
        import torchvision.models
    except (ImportError, RuntimeError, AttributeError, OSError) as error:
        # A torchvision that is none of the installed torch's fails with any of these.
        raise UsageError(
            f"torchvision cannot be used here ({error}); install both from the same pair of "
            "releases: pip install --upgrade torch torchvision"
        ) from error
    return torchvision.models


def _has_stem(name: str) -> bool:
    return "resnet" in name or "resnext" in name


def _enlarged_side(section: Torchvision, height: int, width: int) -> int:
    smallest = MINIMUM_SIDE.get(section.name, 32)
    if section.small_images == "keep" or _has_stem(section.name):
        smallest = 1
    side = max(height, width, smallest)
    step = _side_step(section.name)
    return -(-side // step) * step


def _side_step(name: str) -> int:
    """Sides that a network takes are multiples of this: of its patches, or of its windows."""
    if name.startswith("vit_"):
        return int(name.rpartition("_")[2])
    return 224 if name.startswith("maxvit") else 1


def _set_dropout(module: nn.Module, section: Torchvision) -> None:
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Dropout)]
    if not layers:
        raise ConfigError.at("model.dropout", f"{section.name} has no dropout layers")
    for layer in layers:
        layer.p = float(section.dropout or 0.0)


def _adapt_stem(module: nn.Module) -> None:
    from torchvision.models import ResNet

    if isinstance(module, ResNet):
        old = module.conv1
        module.conv1 = nn.Conv2d(old.in_channels, old.out_channels, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(module.conv1.weight, mode="fan_out", nonlinearity="relu")
        module.maxpool = nn.Identity()


def _take_channels(module: nn.Module, channels: int) -> None:
    """Replace the first convolution by one that takes `channels`, drawn with torch's default."""
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Conv2d):
            replacement = nn.Conv2d(
                channels,
                layer.out_channels,
                layer.kernel_size,  # type: ignore[arg-type]  # typed as tuple[int, ...]
                layer.stride,  # type: ignore[arg-type]
                layer.padding,  # type: ignore[arg-type]
                bias=layer.bias is not None,
            )
            parent = module.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], replacement)
            return
