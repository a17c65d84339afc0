"""torchvision's classifiers by name, trained from scratch."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from regrun.errors import ConfigError, UsageError
from regrun.kinds.base import PER_MEMBER, Rate
from regrun.kinds.models.base import ModelSection
from regrun.kinds.models.builtin import as_image
from regrun.kinds.noise import StandardDropout

if TYPE_CHECKING:
    from torch import nn

SMALL = 64
"""Images with a shorter side below this many pixels count as small."""

MINIMUM_SIDE: Mapping[str, int] = {"alexnet": 64, "inception_v3": 75}
"""Smaller images are enlarged to this; all other networks, but for ResNets, take 32."""

TorchvisionName = Literal[
    "alexnet", "convnext_base", "convnext_large", "convnext_small", "convnext_tiny",
    "densenet121", "densenet161", "densenet169", "densenet201",
    "efficientnet_b0", "efficientnet_b1", "efficientnet_b2", "efficientnet_b3",
    "efficientnet_b4", "efficientnet_b5", "efficientnet_b6", "efficientnet_b7",
    "efficientnet_v2_l", "efficientnet_v2_m", "efficientnet_v2_s",
    "googlenet", "inception_v3", "maxvit_t",
    "mnasnet0_5", "mnasnet0_75", "mnasnet1_0", "mnasnet1_3",
    "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small",
    "regnet_x_16gf", "regnet_x_1_6gf", "regnet_x_32gf", "regnet_x_3_2gf",
    "regnet_x_400mf", "regnet_x_800mf", "regnet_x_8gf",
    "regnet_y_128gf", "regnet_y_16gf", "regnet_y_1_6gf", "regnet_y_32gf",
    "regnet_y_3_2gf", "regnet_y_400mf", "regnet_y_800mf", "regnet_y_8gf",
    "resnet101", "resnet152", "resnet18", "resnet34", "resnet50",
    "resnext101_32x8d", "resnext101_64x4d", "resnext50_32x4d",
    "shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "shufflenet_v2_x1_5", "shufflenet_v2_x2_0",
    "squeezenet1_0", "squeezenet1_1",
    "swin_b", "swin_s", "swin_t", "swin_v2_b", "swin_v2_s", "swin_v2_t",
    "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn",
    "vit_b_16", "vit_b_32", "vit_h_14", "vit_l_16", "vit_l_32",
    "wide_resnet101_2", "wide_resnet50_2",
]  # fmt: skip


class Torchvision(ModelSection):
    """A torchvision classifier by name, trained from scratch (no weights are downloaded)."""

    grouped_convolutions: ClassVar[bool] = True
    takes_channels_last: ClassVar[bool] = True
    no_hidden_activations: ClassVar[str] = "comes from torchvision and hands over its outputs only"

    name: TorchvisionName
    dropout: Annotated[Rate | None, PER_MEMBER, StandardDropout.described()] = None
    """Probability of the network's own dropout layers; default: as published."""
    small_images: Literal["adapt", "keep"] = "adapt"
    """On images below 64 pixels: adapt replaces a ResNet's stem with a 3×3 convolution of stride 1
    without max-pooling (He et al. 2016, §4.2) and enlarges the images for other networks that need
    it; keep leaves both as published."""

    def build(self, input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
        from torch import nn

        models = _import_models()
        channels, height, width = as_image(input_shape, self.name)
        options: dict[str, Any] = {"num_classes": num_outputs}
        if self.name in ("googlenet", "inception_v3"):
            options |= {"aux_logits": False, "init_weights": True}
        side = self._side(height, width)
        if self.name.startswith("vit_"):
            options["image_size"] = side
        if self.name.startswith("maxvit"):
            options["input_size"] = (side, side)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module: nn.Module = models.get_model(self.name, weights=None, **options)
        if self.dropout is not None:
            dropouts = [layer for layer in module.modules() if isinstance(layer, nn.Dropout)]
            if not dropouts:
                raise ConfigError.at("model.dropout", f"{self.name} has no dropout layers")
            for layer in dropouts:
                layer.p = float(self.dropout)
        if self._adapts_stem(height, width):
            _adapt_stem(module)
        if channels != 3:
            _take_channels(module, channels)
        if side != height or side != width:
            module = nn.Sequential(nn.Upsample((side, side), mode="bilinear"), module)
        return module

    def symbols(self) -> list[str]:
        if not self.dropout:
            return []
        return [StandardDropout.line("h", f"dropout, p = {self.dropout:g}")]

    def notes(self, input_shape: tuple[int, ...]) -> list[str]:
        channels, height, width = as_image(input_shape, self.name)
        notes = []
        if self._adapts_stem(height, width):
            notes.append("stem: 3×3 convolution of stride 1, no max-pooling (He et al. 2016, §4.2)")
        if channels != 3:
            notes.append(f"first convolution takes {channels} channel(s) instead of 3")
        side = self._side(height, width)
        if side != height or side != width:
            notes.append(f"images are enlarged from {height}×{width} to {side}×{side}")
        return notes

    @property
    def _is_resnet(self) -> bool:
        return "resnet" in self.name or "resnext" in self.name

    def _adapts_stem(self, height: int, width: int) -> bool:
        return self.small_images == "adapt" and min(height, width) < SMALL and self._is_resnet

    def _side(self, height: int, width: int) -> int:
        """Side of the square images that the network is given, in pixels."""
        smallest = MINIMUM_SIDE.get(self.name, 32)
        if self.small_images == "keep" or self._is_resnet:
            smallest = 1
        side, step = max(height, width, smallest), 1
        if self.name.startswith("vit_"):
            step = int(self.name.rpartition("_")[2])  # a multiple of its patches,
        elif self.name.startswith("maxvit"):
            step = 224  # or of its windows
        return -(-side // step) * step


def _import_models() -> Any:
    try:
        import torchvision.models
    except (ImportError, RuntimeError, AttributeError, OSError) as error:
        # A torchvision built for another torch release fails with any of these.
        raise UsageError(
            f"torchvision cannot be used here ({error}); install both from the same pair of "
            "releases: pip install --upgrade torch torchvision"
        ) from error
    return torchvision.models


def _adapt_stem(module: nn.Module) -> None:
    from torch import nn
    from torchvision.models import ResNet

    if isinstance(module, ResNet):
        old = module.conv1
        module.conv1 = nn.Conv2d(old.in_channels, old.out_channels, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(module.conv1.weight, mode="fan_out", nonlinearity="relu")
        module.maxpool = nn.Identity()


def _take_channels(module: nn.Module, channels: int) -> None:
    """Replace the first convolution by one that takes `channels`, drawn with torch's default."""
    from torch import nn

    name, old = next(each for each in module.named_modules() if isinstance(each[1], nn.Conv2d))
    same: dict[str, Any] = {
        key: getattr(old, key) for key in ("out_channels", "kernel_size", "stride", "padding")
    }
    parent, _, child = name.rpartition(".")
    first = nn.Conv2d(channels, **same, bias=old.bias is not None)
    setattr(module.get_submodule(parent), child, first)
