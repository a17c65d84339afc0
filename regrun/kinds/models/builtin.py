"""The models built here: linear, mlp, cnn."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from math import prod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, Strict, model_validator

from regrun.errors import ConfigError, Problem
from regrun.kinds.base import PER_MEMBER, Choices, Count, Described, NonNegative, Rate
from regrun.kinds.models.base import ModelSection
from regrun.kinds.noise import (
    DROPOUT_TYPES,
    DROPOUTS,
    DenseDropoutType,
    DropBlock,
    DropConnect,
    Dropout,
    DropoutType,
    GaussianNoise,
    StandardDropout,
    StochasticDepth,
)

if TYPE_CHECKING:
    from torch import nn

    from regrun.config.schema import Config

    Layer = tuple[str, nn.Module]

Activation = Literal["relu", "leaky_relu", "elu", "selu", "gelu", "silu", "tanh", "sigmoid"]
Rates = Annotated[Rate | Annotated[tuple[Rate, ...], Strict(False)], PER_MEMBER]
Widths = Annotated[tuple[Count, ...], Strict(False)]

NORMS = Choices(
    batch=Described(
        "norms",
        "Normalises each unit or channel over the batch, in evaluation with running statistics; "
        "the layer before has no bias, which it would subtract.",
        formula="h ← γ (h − mean) / √(var + ε) + β",
        reference="Ioffe & Szegedy 2015",
        off="none",
    ),
    layer=Described(
        "norms",
        "Normalises each example over its units, or over all channels and pixels.",
        formula="h ← γ (h − mean) / √(var + ε) + β",
        reference="Ba et al. 2016; of images Wu & He 2018, one group",
        off="none",
    ),
)
Norm = Annotated[Literal["none", "batch", "layer"], NORMS]


class BuiltinModel(ModelSection):
    """Keys of the models built here. Noise layers of level 0 are built too: members may differ."""

    input_dropout: Annotated[
        Rate,
        StandardDropout.described("x", reference="Srivastava et al. 2014, §4; Vincent et al. 2008"),
    ] = 0.0
    """Probability of standard dropout on the inputs."""
    input_noise: Annotated[NonNegative, GaussianNoise.described("x")] = 0.0
    """σ, standard deviation of Gaussian noise added to the inputs in training."""

    def symbols(self) -> list[str]:
        lines = []
        if self.input_noise:
            lines.append(GaussianNoise.line("x", "input noise", self.input_noise))
        if self.input_dropout:
            lines.append(StandardDropout.line("x", f"input dropout, p = {self.input_dropout:g}"))
        return lines

    def _input_layers(self) -> list[Layer]:
        return [
            ("input_noise", GaussianNoise.layer(self.input_noise)),
            ("input_dropout", StandardDropout.layer(self.input_dropout)),
        ]


class Linear(BuiltinModel):
    """One affine map: linear regression, or logistic regression under cross-entropy."""

    name: Literal["linear"]

    is_linear: ClassVar[bool] = True
    no_hidden_activations: ClassVar[str] = "has no hidden layer"
    input_weight: ClassVar[str] = "output.weight"

    def build(self, input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
        from torch import nn

        output = nn.Linear(prod(input_shape), num_outputs)
        return _chain(("flatten", nn.Flatten()), *self._input_layers(), ("output", output))


class HiddenLayers(BuiltinModel):
    """Keys of models with dense hidden layers."""

    if TYPE_CHECKING:  # each subclass has it among its own keys, in their order
        hidden: Widths

    activation: Activation = "relu"
    """Nonlinearity after each hidden layer."""
    dropout: Annotated[Rates, StandardDropout.described()] = 0.0
    """Dropout after the activations of the hidden layers: one rate, or one per hidden layer."""
    dropout_type: Annotated[DropoutType, DROPOUT_TYPES] = StandardDropout.name
    """Kind of `dropout`; input dropout is always standard."""
    drop_connect: Annotated[Rate, DropConnect.described("w")] = 0.0
    """DropConnect: probability of setting each weight of the dense hidden layers to 0; biases stay.
    The examples of a batch share one mask."""
    weight_standardization: Annotated[
        bool,
        Described(
            "norms",
            formula="ŵ = (w − mean) / √(var + 1e-6),  over the weights w of a neuron or filter",
            reference="Qiao et al. 2019",
            off=False,
        ),
    ] = False
    """Whether convolutions and dense hidden layers work with standardized weights; the output layer
    does not. Penalties, constraints and decay act on w, whose length then has no effect."""

    @property
    def dropout_rates(self) -> tuple[float, ...]:
        """One rate per dense hidden layer."""
        return _each(self.dropout, len(self.hidden))

    @property
    def hidden_layers(self) -> tuple[str, ...]:
        return tuple(f"hidden.{index}" for index in range(len(self.hidden)))

    @property
    def _dropout_kind(self) -> type[Dropout]:
        return DROPOUTS[self.dropout_type]

    def symbols(self) -> list[str]:
        lines = super().symbols() + self._image_dropout_symbols()
        if self.weight_standardization:
            of = "of each neuron or filter, hidden layers"
            lines.append(f"ŵ = (w − mean) / √(var + 1e-6)   (weight standardization, {of})")
        if self.drop_connect:
            what = f"DropConnect, p = {self.drop_connect:g}, hidden layers"
            lines.append(DropConnect.line("W", what))
        kind = self._dropout_kind.on_units()
        return lines + _dropout_symbols("dropout", kind, self.dropout_rates)

    def idle(self, config: Config, steps_per_epoch: int) -> Iterator[Problem]:
        if self.dropout_type != StandardDropout.name and not any(self._all_rates):
            yield Problem(("dropout_type",), f"{self.dropout_type}: every dropout rate is 0")

    @property
    def _all_rates(self) -> tuple[float, ...]:
        """The rates of all layers that `dropout_type` is about."""
        return self.dropout_rates

    def _image_dropout_symbols(self) -> list[str]:
        """The line of dropout before the dense layers."""
        return []

    def _hidden_layers(self, width: int) -> tuple[int, nn.Sequential]:
        """Return the width of the last dense layer, and the layers after `width` features."""
        from torch import nn

        layers: list[nn.Module] = []
        for index, (units, rate) in enumerate(zip(self.hidden, self.dropout_rates, strict=True)):
            layers.append(self._hidden_layer(index, width, units, rate))
            width = units
        return width, nn.Sequential(*layers)

    def _hidden_layer(self, index: int, width: int, units: int, rate: float) -> nn.Module:
        return _chain(*self._dense(width, units, rate))

    def _dense(self, width: int, units: int, rate: float, norm: Norm = "none") -> list[Layer]:
        from torch import nn

        from regrun.nn.modules import DropConnectLinear, WSLinear

        bias = _has_bias(norm)
        if self.weight_standardization:
            _check_spread(width)
            linear: nn.Linear = WSLinear(width, units, bias=bias)
        elif self.drop_connect:
            level = self.drop_connect
            linear = DropConnectLinear(width, units, DropConnect, level, bias=bias)
        else:
            linear = nn.Linear(width, units, bias=bias)
        layers: list[Layer] = [("linear", linear)]
        if norm != "none":
            layer = nn.BatchNorm1d(units) if norm == "batch" else nn.LayerNorm(units)
            layers.append(("norm", layer))
        dropout = self._dropout_kind.on_units().layer(rate)
        return [*layers, ("activation", self._activation()), ("dropout", dropout)]

    def _activation(self) -> nn.Module:
        from regrun.nn.modules import ACTIVATIONS

        return ACTIVATIONS[self.activation]()

    def _check_rates(
        self, key: str, rates: float | tuple[float, ...], count: int, layer: str
    ) -> None:
        if isinstance(rates, tuple) and len(rates) != count:
            raise ValueError(
                f"{key}: {len(rates)} rates for {count} {layer}s; give one rate, or one per {layer}"
            )
        self._dropout_kind.check_rates(key, _each(rates, count))

    @model_validator(mode="after")
    def _rates_fit(self) -> HiddenLayers:
        self._check_rates("dropout", self.dropout, len(self.hidden), "hidden layer")
        self._dropout_kind.check_activation(self.activation)
        if self.weight_standardization and self.drop_connect:
            raise ValueError(
                f"drop_connect: {self.drop_connect:g} with weight_standardization: noise on "
                "standardized weights is not defined; use one of them"
            )
        return self


class MLP(HiddenLayers):
    """Fully connected layers, each hidden one with norm, activation and dropout."""

    name: Literal["mlp"]
    hidden: Widths = (256, 256)
    """Units of each hidden layer."""
    dropout_type: Annotated[DenseDropoutType, DROPOUT_TYPES] = StandardDropout.name
    """Kind of `dropout`; input dropout is always standard."""
    norm: Norm = "none"
    """Normalisation between each hidden linear map and its activation."""
    residual: bool = False
    """Hidden layers after the first compute x + layer(x) (He et al. 2016); all equally wide."""
    stochastic_depth: Annotated[Rate, StochasticDepth.described()] = 0.0
    """Probability p of skipping the last residual layer, per example; it falls linearly towards the
    first."""

    @property
    def no_hidden_activations(self) -> str:
        return "" if self.hidden else Linear.no_hidden_activations

    @property
    def input_weight(self) -> str:
        return "hidden.0.linear.weight" if self.hidden else Linear.input_weight

    def build(self, input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
        from torch import nn

        inputs = self._input_layers()
        width, hidden = self._hidden_layers(prod(input_shape))
        output = nn.Linear(width, num_outputs)
        return _chain(("flatten", nn.Flatten()), *inputs, ("hidden", hidden), ("output", output))

    def _hidden_layer(self, index: int, width: int, units: int, rate: float) -> nn.Module:
        from regrun.nn.modules import Residual

        layers = self._dense(width, units, rate, self.norm)
        if not (self.residual and index):
            return _chain(*layers)
        # Huang et al. 2016, eq. 4: the deeper, the less likely to stay.
        level = self.stochastic_depth * index / (len(self.hidden) - 1)
        layers.append(("stochastic_depth", StochasticDepth.layer(level)))
        return Residual(OrderedDict(layers))

    def symbols(self) -> list[str]:
        lines = super().symbols()
        if self.stochastic_depth:
            depth = f"p = {self.stochastic_depth:g} · l / {len(self.hidden) - 1}"
            lines.append(StochasticDepth.line("h", f"stochastic depth, {depth}"))
        return lines

    @model_validator(mode="after")
    def _residual_fits(self) -> MLP:
        if self.residual and (len(self.hidden) < 2 or len(set(self.hidden)) > 1):
            raise ValueError(
                f"residual: needs two or more hidden layers of one width, not {list(self.hidden)}"
            )
        if self.stochastic_depth and not self.residual:
            raise ValueError(
                f"stochastic_depth: {self.stochastic_depth:g} leaves out residual layers; "
                f"use {StochasticDepth.needs}"
            )
        return self


class CNN(HiddenLayers):
    """Convolution blocks (convolution, norm, activation, pooling), then dense layers."""

    no_hidden_activations: ClassVar[str] = ""

    name: Literal["cnn"]
    channels: Annotated[Widths, Field(min_length=1)] = (32, 64)
    """Filters of each convolution block."""
    kernel_size: Annotated[Count, Field(le=31)] = 3
    """Width and height of the kernels."""
    norm: Norm = "none"
    """Normalisation between each convolution and its activation."""
    pool: Literal["max", "avg", "none"] = "max"
    """2×2 pooling at the end of each block."""
    conv_dropout: Annotated[Rates, StandardDropout.described()] = 0.0
    """Dropout at the end of the convolution blocks: one rate, or one per block."""
    block_size: Count = 7
    """k, side of the squares of `dropout_type: drop_block`; at most that of the image."""
    hidden: Widths = (128,)
    """Units of each dense hidden layer after the blocks."""

    @property
    def conv_dropout_rates(self) -> tuple[float, ...]:
        """One rate per convolution block."""
        return _each(self.conv_dropout, len(self.channels))

    @property
    def _all_rates(self) -> tuple[float, ...]:
        return self.conv_dropout_rates + super()._all_rates

    def idle(self, config: Config, steps_per_epoch: int) -> Iterator[Problem]:
        yield from super().idle(config, steps_per_epoch)
        if self.block_size == type(self).model_fields["block_size"].default:
            return
        if self._dropout_kind is not DropBlock:
            needs = f"dropout_type: {DropBlock.name}"
        elif not any(self.conv_dropout_rates):
            needs = "a rate at conv_dropout"
        else:
            return
        yield Problem(("block_size",), f"{self.block_size}: has no effect without {needs}")

    @property
    def hidden_layers(self) -> tuple[str, ...]:
        blocks = tuple(f"blocks.{index}" for index in range(len(self.channels)))
        return blocks + super().hidden_layers

    @property
    def mixes_examples(self) -> bool:
        return self._dropout_kind.mixes_examples and any(self.conv_dropout_rates)

    def _image_dropout_symbols(self) -> list[str]:
        kind = self._dropout_kind
        return _dropout_symbols(
            "conv_dropout", kind, self.conv_dropout_rates, kind.settings(self.block_size)
        )

    def build(self, input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
        from torch import nn

        channels, height, width = as_image(input_shape, self.name)
        inputs = self._input_layers()
        blocks = []
        for index, filters in enumerate(self.channels):
            if self.pool != "none" and min(height, width) < 2:
                raise ConfigError.at(
                    "model.channels",
                    f"{len(self.channels)} blocks: block {index + 1} is left with "
                    f"{height}×{width} pixels, too few to pool; use fewer blocks or pool: none",
                )
            blocks.append(self._block(channels, filters, self.conv_dropout_rates[index]))
            channels = filters
            if self.pool != "none":
                height, width = height // 2, width // 2
        features, hidden = self._hidden_layers(channels * height * width)
        return _chain(
            *inputs,
            ("blocks", nn.Sequential(*blocks)),
            ("flatten", nn.Flatten()),
            ("hidden", hidden),
            ("output", nn.Linear(features, num_outputs)),
        )

    def _block(self, channels: int, filters: int, rate: float) -> nn.Sequential:
        from torch import nn

        from regrun.nn.modules import WSConv2d

        bias = _has_bias(self.norm)
        if self.weight_standardization:
            _check_spread(channels * self.kernel_size**2)
        convolution = WSConv2d if self.weight_standardization else nn.Conv2d
        conv = convolution(channels, filters, self.kernel_size, padding="same", bias=bias)
        layers: list[Layer] = [("conv", conv)]
        if self.norm != "none":
            norm = nn.BatchNorm2d(filters) if self.norm == "batch" else nn.GroupNorm(1, filters)
            layers.append(("norm", norm))
        layers.append(("activation", self._activation()))
        if self.pool != "none":
            layers.append(("pool", nn.MaxPool2d(2) if self.pool == "max" else nn.AvgPool2d(2)))
        dropout = self._dropout_kind.layer(rate, images=True, block=self.block_size)
        layers.append(("dropout", dropout))
        return _chain(*layers)

    @model_validator(mode="after")
    def _conv_rates_fit(self) -> CNN:
        self._check_rates("conv_dropout", self.conv_dropout, len(self.channels), "block")
        return self


def _check_spread(weights: int) -> None:
    """Raise ConfigError for neurons or filters of a single weight, which have no variance."""
    if weights == 1:
        raise ConfigError.at(
            "model.weight_standardization",
            "true: a layer has neurons or filters of a single weight, which would become 0; "
            "use wider layers, or false",
        )


def as_image(input_shape: tuple[int, ...], model: str) -> tuple[int, int, int]:
    """(channels, height, width). Raises ConfigError for inputs that are no images."""
    if len(input_shape) != 3:
        raise ConfigError.at(
            "model.name",
            f"{model} needs images (channels, height, width), but this dataset's inputs have shape "
            f"{list(input_shape)}; use mlp or linear",
        )
    channels, height, width = input_shape
    return channels, height, width


def _dropout_symbols(
    key: str, kind: type[Dropout], rates: Sequence[float], settings: str = ""
) -> list[str]:
    """The line of a key's dropout, none without any."""
    if not any(rates):
        return []
    shown = ", ".join(f"{rate:g}" for rate in (rates if len(set(rates)) > 1 else rates[:1]))
    return [kind.line("h", f"{key}, {kind.name}, p = {shown}{settings}")]


def _has_bias(norm: Norm) -> bool:
    """Whether the layer before this norm has a bias.

    Batch norm subtracts it again. Its gradient is rounding noise, which Adam would scale up to
    steps of full length.
    """
    return norm != "batch"


def _each(rates: float | tuple[float, ...], count: int) -> tuple[float, ...]:
    return rates if isinstance(rates, tuple) else (rates,) * count


def _chain(*layers: Layer) -> nn.Sequential:
    from torch import nn

    return nn.Sequential(OrderedDict(layers))
