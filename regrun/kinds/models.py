"""The kinds of models: built-in families, and torchvision's classifiers by name."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Strict, model_validator

from regrun.kinds.base import (
    PER_MEMBER,
    Choices,
    Count,
    Described,
    NonNegative,
    Positive,
    Rate,
    Section,
)

Activation = Literal["relu", "leaky_relu", "elu", "selu", "gelu", "silu", "tanh", "sigmoid"]
DropoutType = Literal["standard", "spatial", "gaussian", "alpha"]
Init = Annotated[Literal["default", "normal", "zeros", "xavier", "kaiming"], PER_MEMBER]
Rates = Annotated[Rate | Annotated[tuple[Rate, ...], Strict(False)], PER_MEMBER]
Widths = Annotated[tuple[Count, ...], Strict(False)]

_INVERTED = "h ← h m / (1−p),  m ~ Bernoulli(1−p)"
_SRIVASTAVA = "Hinton et al. 2012; Srivastava et al. 2014"
DROPOUT = Described("noise", formula=_INVERTED, reference=_SRIVASTAVA)
DROPOUT_TYPES = Choices(
    standard=Described(
        "noise",
        "Units, or entries of a channel, become 0 at rate p, and are else divided by 1−p.",
        formula=_INVERTED,
        reference=_SRIVASTAVA,
    ),
    spatial=Described(
        "noise",
        "Whole channels become 0 at once; a dense unit is a channel.",
        formula=f"{_INVERTED} per channel",
        reference="Tompson et al. 2015",
    ),
    gaussian=Described(
        "noise",
        "Multiplied by noise of the mean and variance that standard dropout has.",
        formula="h ← h z,  z ~ N(1, p/(1−p))",
        reference="Srivastava et al. 2014, §10",
    ),
    alpha=Described(
        "noise",
        "Units go to SELU's lower limit, so that mean 0 and variance 1 stay.",
        formula="h ← a (h m − α′ (1−m)) + b,  m ~ Bernoulli(1−p),  "
        "a = ((1−p)(1 + p α′²))^−½,  b = a p α′",
        reference="Klambauer et al. 2017, §3",
        needs="activation: selu",
    ),
)
NORMS = Choices(
    batch=Described(
        "norms",
        "Mean and variance of each unit or channel over the batch; running ones in evaluation.",
        formula="h ← γ (h − mean) / √(var + ε) + β",
        reference="Ioffe & Szegedy 2015",
    ),
    layer=Described(
        "norms",
        "Mean and variance of each example over its units, or over all channels and pixels.",
        formula="h ← γ (h − mean) / √(var + ε) + β",
        reference="Ba et al. 2016; of images Wu & He 2018, one group",
    ),
)


class ModelSection(Section):
    """Keys that every model has."""

    init: Init = "default"
    """Of weights: torch's own default, N(0, init_std²), zeros, Xavier uniform or Kaiming normal;
    all but `default` set biases to 0."""
    init_std: Positive = 1.0
    """Standard deviation of `init: normal`."""


class BuiltinModel(ModelSection):
    """Keys of the models built here."""

    input_dropout: Annotated[
        Rate,
        Described(
            "noise",
            formula="x ← x m / (1−p),  m ~ Bernoulli(1−p)",
            reference="Srivastava et al. 2014, §4; Vincent et al. 2008",
        ),
    ] = 0.0
    """Rate of standard dropout on the inputs."""
    input_noise: Annotated[
        NonNegative,
        Described("noise", formula="x ← x + σ z,  z ~ N(0, 1)", reference="Bishop 1995"),
    ] = 0.0
    """σ, standard deviation of Gaussian noise added to the inputs in training."""


class Linear(BuiltinModel):
    """One affine map: linear regression, or logistic regression under cross-entropy."""

    name: Literal["linear"]


class HiddenLayers(BuiltinModel):
    """Keys of models with dense hidden layers."""

    activation: Activation = "relu"
    dropout: Annotated[Rates, DROPOUT] = 0.0
    """Dropout after the activation of the hidden layers: one rate, or one per hidden layer."""
    dropout_type: Annotated[DropoutType, DROPOUT_TYPES] = "standard"
    """Of `dropout`; input dropout is always standard."""
    drop_connect: Annotated[
        Rate,
        Described(
            "noise",
            formula="w ← w m / (1−p),  m ~ Bernoulli(1−p)",
            reference="Wan et al. 2013, who draw a mask per example",
        ),
    ] = 0.0
    """DropConnect: rate of zeros among the weights of the dense hidden layers, not the biases; one
    mask per step, shared by its batch."""

    @property
    def widths(self) -> tuple[int, ...]:
        """Units of each dense hidden layer."""
        return self.hidden  # type: ignore[attr-defined,no-any-return]  # declared by each subclass

    @property
    def dropout_rates(self) -> tuple[float, ...]:
        """One rate per dense hidden layer."""
        return _each(self.dropout, len(self.widths))

    @model_validator(mode="after")
    def _rates_fit(self) -> HiddenLayers:
        _check_rates("dropout", self.dropout, len(self.widths), "hidden layer", self.dropout_type)
        if self.dropout_type == "alpha" and self.activation != "selu":
            raise ValueError(
                f"dropout_type: alpha keeps the mean and variance that SELU gives, not those of "
                f"{self.activation}; use activation: selu, or another dropout_type"
            )
        return self


class MLP(HiddenLayers):
    """Fully connected layers, each hidden one with norm, activation and dropout."""

    name: Literal["mlp"]
    hidden: Widths = (256, 256)
    """Units of each hidden layer."""
    dropout_type: Annotated[Literal["standard", "gaussian", "alpha"], DROPOUT_TYPES] = "standard"
    """Of `dropout`; input dropout is always standard."""
    norm: Annotated[Literal["none", "batch", "layer"], NORMS] = "none"
    """Between each hidden linear map and its activation."""
    residual: bool = False
    """Hidden layers after the first compute x + layer(x) (He et al. 2016); all equally wide."""
    stochastic_depth: Annotated[
        Rate,
        Described(
            "noise",
            formula="h ← h + f(h) m / (1 − p l/L),  m ~ Bernoulli(1 − p l/L),  layer l of L",
            reference="Huang et al. 2016, who draw per batch and scale in evaluation",
            needs="residual: true",
        ),
    ] = 0.0
    """Rate p at which the last residual layer is left out, per example, and earlier ones less."""

    @model_validator(mode="after")
    def _residual_fits(self) -> MLP:
        if self.residual and (len(self.hidden) < 2 or len(set(self.hidden)) > 1):
            raise ValueError(
                f"residual: needs two or more hidden layers of one width, not {list(self.hidden)}"
            )
        if self.stochastic_depth and not self.residual:
            raise ValueError(
                f"stochastic_depth: {self.stochastic_depth:g} leaves out residual layers; "
                "use residual: true"
            )
        return self


class CNN(HiddenLayers):
    """Convolution blocks (convolution, norm, activation, pooling), then dense layers."""

    name: Literal["cnn"]
    channels: Annotated[Widths, Field(min_length=1)] = (32, 64)
    """Filters of each convolution block."""
    kernel_size: Annotated[Count, Field(le=31)] = 3
    norm: Annotated[Literal["none", "batch", "layer"], NORMS] = "none"
    """Between convolution and activation."""
    pool: Literal["max", "avg", "none"] = "max"
    """2×2 pooling at the end of each block."""
    conv_dropout: Annotated[Rates, DROPOUT] = 0.0
    """Dropout at the end of the convolution blocks: one rate, or one per block."""
    hidden: Widths = (128,)
    """Units of each dense hidden layer after the blocks."""

    @property
    def conv_dropout_rates(self) -> tuple[float, ...]:
        """One rate per convolution block."""
        return _each(self.conv_dropout, len(self.channels))

    @model_validator(mode="after")
    def _conv_rates_fit(self) -> CNN:
        _check_rates(
            "conv_dropout", self.conv_dropout, len(self.channels), "block", self.dropout_type
        )
        return self


def _each(rates: float | tuple[float, ...], count: int) -> tuple[float, ...]:
    return rates if isinstance(rates, tuple) else (rates,) * count


def _check_rates(
    key: str, rates: float | tuple[float, ...], count: int, layer: str, kind: DropoutType
) -> None:
    if isinstance(rates, tuple) and len(rates) != count:
        raise ValueError(
            f"{key}: {len(rates)} rates for {count} {layer}s; give one rate, or one per {layer}"
        )
    if kind == "gaussian" and 1.0 in _each(rates, count):
        raise ValueError(
            f"{key}: 1 under dropout_type: gaussian is noise of infinite variance p/(1−p); "
            "use a rate below 1"
        )


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

    name: TorchvisionName
    dropout: Annotated[Rate | None, PER_MEMBER, DROPOUT] = None
    """Rate of all the network's own dropout layers; default: the rates it was published with."""
    small_images: Literal["adapt", "keep"] = "adapt"
    """On images below 64 pixels: adapt replaces a ResNet's stem by a 3×3 convolution of stride 1
    without max-pooling (He et al. 2016, §4.2) and enlarges the images for other networks that need
    it; keep leaves both as published."""
