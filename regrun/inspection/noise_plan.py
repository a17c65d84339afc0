"""The noise of one training step in symbols, for `regrun inspect`; evaluation has none of it."""

from __future__ import annotations

from collections.abc import Sequence

from regrun.config.schema import Config
from regrun.kinds.augmentation import Augment
from regrun.kinds.models import CNN, MLP, BuiltinModel, HiddenLayers, ModelSection, Torchvision


def noise_before_loss(config: Config) -> list[str]:
    """What is done to batches and activations, in the order it is done."""
    return [*_batch(config.augment), *_network(config.model)]


def noise_in_loss(augment: Augment) -> list[str]:
    """What is done to the loss."""
    lines = []
    if augment.mixup or augment.cutmix:
        lines.append("L ← λ L(y) + (1−λ) L(y′)   (targets mixed as the inputs)")
    if augment.label_smoothing:
        e = augment.label_smoothing
        lines.append(f"L ← {1 - e:g} L + {e:g} mean over classes of −log p   (label smoothing)")
    return lines


def _batch(augment: Augment) -> list[str]:
    lines = []
    if augment.crop:
        lines.append(f"x ← x moved by up to ±{augment.crop} pixels, 0 outside   (crop)")
    if augment.flip:
        lines.append(f"x ← x mirrored left to right with probability {augment.flip:g}   (flip)")
    if augment.cutout:
        side = augment.cutout
        lines.append(f"x ← 0 in a square of {side}×{side} pixels anywhere   (cutout)")
    either = ", one of the two per batch" if augment.mixup and augment.cutmix else ""
    if augment.mixup:
        lines.append(f"x ← λ x + (1−λ) x′,  λ ~ {_beta(augment.mixup)}   (mixup{either})")
    if augment.cutmix:
        lines.append(
            f"x ← x′ in a box of the share 1−λ,  λ ~ {_beta(augment.cutmix)}   (cutmix{either})"
        )
    return lines


def _network(model: ModelSection) -> list[str]:
    lines = []
    if isinstance(model, BuiltinModel):
        if model.input_noise:
            lines.append(f"x ← x + N(0, {model.input_noise:g}²)   (input noise)")
        if model.input_dropout:
            p = model.input_dropout
            lines.append(f"x ← {_dropped('x', 'standard')}   (input dropout, p = {p:g})")
    if isinstance(model, CNN) and any(model.conv_dropout_rates):
        lines.append(_dropout_line("conv_dropout", model, model.conv_dropout_rates))
    if isinstance(model, HiddenLayers):
        if model.drop_connect:
            p = model.drop_connect
            lines.append(
                f"W ← W · m / (1−p),  m ~ Bernoulli(1−p), one per step   (DropConnect, p = {p:g}, "
                "hidden layers)"
            )
        if any(model.dropout_rates):
            lines.append(_dropout_line("dropout", model, model.dropout_rates))
    if isinstance(model, MLP) and model.stochastic_depth:
        lines.append(
            "h ← h + layer(h) · m / (1−p),  m ~ Bernoulli(1−p) per example   (stochastic depth, "
            f"p = {model.stochastic_depth:g} · l / {len(model.hidden) - 1})"
        )
    if isinstance(model, Torchvision) and model.dropout:
        lines.append(f"h ← {_dropped('h', 'standard')}   (dropout, p = {model.dropout:g})")
    return lines


def _dropout_line(key: str, model: HiddenLayers, rates: Sequence[float]) -> str:
    shown = ", ".join(f"{rate:g}" for rate in (rates if len(set(rates)) > 1 else rates[:1]))
    return f"h ← {_dropped('h', model.dropout_type)}   ({key}, {model.dropout_type}, p = {shown})"


def _dropped(x: str, kind: str) -> str:
    match kind:
        case "gaussian":
            return f"{x} · N(1, p/(1−p))"
        case "alpha":
            return f"a ({x} where m, else −1.7581) + b,  m ~ Bernoulli(1−p)"
        case "spatial":
            return f"{x} · m / (1−p),  m ~ Bernoulli(1−p) per channel"
        case _:
            return f"{x} · m / (1−p),  m ~ Bernoulli(1−p)"


def _beta(alpha: float) -> str:
    return f"Beta({alpha:g}, {alpha:g})"
