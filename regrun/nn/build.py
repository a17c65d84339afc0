"""From a model section to an ordinary `torch.nn.Module`: the definition that a stack is made of.

Parameter names are those of the module's `state_dict`; they stand in `inspect`, in
`weights.safetensors` and in name patterns.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from regrun.errors import ConfigError
from regrun.kinds.base import faults_of
from regrun.kinds.models import (
    CNN,
    MLP,
    Activation,
    BuiltinModel,
    DropoutType,
    HiddenLayers,
    Linear,
    ModelSection,
    Torchvision,
)
from regrun.kinds.plugins import BuildsModel
from regrun.nn.initialize import initialize
from regrun.nn.modules import (
    DropConnectLinear,
    GaussianDropout,
    GaussianNoise,
    Residual,
    StochasticDepth,
)
from regrun.nn.shapes import as_image
from regrun.nn.torchvision import build_torchvision

ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
MLP_NORMS: dict[str, Callable[[int], nn.Module] | None] = {
    "none": None,
    "batch": nn.BatchNorm1d,
    "layer": nn.LayerNorm,
}
CNN_NORMS: dict[str, Callable[[int], nn.Module] | None] = {
    "none": None,
    "batch": nn.BatchNorm2d,
    "layer": lambda channels: nn.GroupNorm(1, channels),
}
DENSE_DROPOUTS: dict[DropoutType, Callable[[float], nn.Module]] = {
    "standard": nn.Dropout,
    "spatial": nn.Dropout,  # a unit is a channel of its own
    "gaussian": GaussianDropout,
    "alpha": nn.AlphaDropout,
}
CONV_DROPOUTS = {**DENSE_DROPOUTS, "spatial": nn.Dropout2d}
"""Layers are built at rate 0 too, as members of one stack may differ in it."""

Layer = tuple[str, nn.Module]


def build_model(
    section: ModelSection, input_shape: tuple[int, ...], num_outputs: int, seed: int | None = None
) -> nn.Module:
    """The module of one member: input (B, *input_shape) → output (B, num_outputs).

    seed: draws the initial weights; None builds on the meta device, without memory or numbers.
    Raises ConfigError when the model cannot take this input.
    """
    if seed is None:
        with _WithoutMemory():
            return _build(section, input_shape, num_outputs)
    # Not `torch.manual_seed`: it also prepares every accelerator, and takes longer than the build.
    before = torch.default_generator.get_state()
    try:
        torch.default_generator.manual_seed(seed)
        module = _build(section, input_shape, num_outputs)
        initialize(module, section)
    finally:
        torch.default_generator.set_state(before)
    return module


def _build(section: ModelSection, input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
    match section:
        case Linear():
            return _named(
                ("flatten", nn.Flatten()),
                *_input_noise(section),
                ("output", nn.Linear(prod(input_shape), num_outputs)),
            )
        case MLP():
            width, hidden = _hidden_layers(section, prod(input_shape))
            return _named(
                ("flatten", nn.Flatten()),
                *_input_noise(section),
                ("hidden", hidden),
                ("output", nn.Linear(width, num_outputs)),
            )
        case CNN():
            return _cnn(section, input_shape, num_outputs)
        case Torchvision():
            return build_torchvision(section, input_shape, num_outputs)
        case BuildsModel():
            return _plugged(section, input_shape, num_outputs)
    raise TypeError(f"no builder for {type(section).__name__}")


def _plugged(section: BuildsModel, input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
    with faults_of(section, "build", "model.name"):
        module = section.build(input_shape, num_outputs)
    if not isinstance(module, nn.Module):
        kind = type(section)
        raise ConfigError.at(
            "model.name",
            f"{kind.__module__}.{kind.__qualname__}.build gave a {type(module).__name__}; "
            "it has to give a torch.nn.Module",
        )
    return module


def _input_noise(section: BuiltinModel) -> list[Layer]:
    return [
        ("input_noise", GaussianNoise(section.input_noise)),
        ("input_dropout", nn.Dropout(section.input_dropout)),
    ]


def _hidden_layers(section: HiddenLayers, width: int) -> tuple[int, nn.Sequential]:
    layers: list[nn.Module] = []
    for units, rate in zip(section.widths, section.dropout_rates, strict=True):
        block: list[Layer] = [("linear", _linear(width, units, section.drop_connect))]
        norm = MLP_NORMS[section.norm] if isinstance(section, MLP) else None
        if norm is not None:
            block.append(("norm", norm(units)))
        block.append(("activation", ACTIVATIONS[section.activation]()))
        block.append(("dropout", DENSE_DROPOUTS[section.dropout_type](rate)))
        if isinstance(section, MLP) and section.residual and layers:
            # Huang et al. 2016, eq. 4: the deeper, the less likely to stay.
            depth = section.stochastic_depth * len(layers) / (len(section.widths) - 1)
            block.append(("stochastic_depth", StochasticDepth(depth)))
            layers.append(Residual(OrderedDict(block)))
        else:
            layers.append(_named(*block))
        width = units
    return width, nn.Sequential(*layers)


def _linear(width: int, units: int, drop_connect: float) -> nn.Linear:
    if drop_connect:
        return DropConnectLinear(width, units, drop_connect)
    return nn.Linear(width, units)


def _cnn(section: CNN, input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
    channels, height, width = as_image(input_shape, section.name)
    blocks = []
    for index, filters in enumerate(section.channels):
        layers: list[Layer] = [
            ("conv", nn.Conv2d(channels, filters, section.kernel_size, padding="same"))
        ]
        norm = CNN_NORMS[section.norm]
        if norm is not None:
            layers.append(("norm", norm(filters)))
        layers.append(("activation", ACTIVATIONS[section.activation]()))
        if section.pool != "none":
            if min(height, width) < 2:
                raise ConfigError.at(
                    "model.channels",
                    f"{len(section.channels)} blocks: block {index + 1} is left with "
                    f"{height}×{width} pixels, too few to pool; use fewer blocks or pool: none",
                )
            layers.append(("pool", nn.MaxPool2d(2) if section.pool == "max" else nn.AvgPool2d(2)))
            height, width = height // 2, width // 2
        rate = section.conv_dropout_rates[index]
        layers.append(("dropout", CONV_DROPOUTS[section.dropout_type](rate)))
        blocks.append(_named(*layers))
        channels = filters
    features, hidden = _hidden_layers(section, channels * height * width)
    return _named(
        *_input_noise(section),
        ("blocks", nn.Sequential(*blocks)),
        ("flatten", nn.Flatten()),
        ("hidden", hidden),
        ("output", nn.Linear(features, num_outputs)),
    )


class _WithoutMemory(TorchFunctionMode):
    """Puts parameters and buffers on the meta device, and nothing else.

    `torch.device("meta")` would take the tensors too from which RegNet works out its widths.
    """

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        if function in (torch.empty, torch.zeros, torch.ones) and options.get("device") is None:
            options["device"] = "meta"
        return function(*args, **options)


def _named(*layers: Layer) -> nn.Sequential:
    return nn.Sequential(OrderedDict(layers))
