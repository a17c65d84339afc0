"""The noise of one training step in symbols, for `regrun inspect`; evaluation has none of it."""

from __future__ import annotations

from regrun.config.schema import Config
from regrun.kinds.augmentation import Augment


def noise_before_loss(config: Config) -> list[str]:
    """What is done to batches and activations, in the order it is done."""
    return [*_batch(config.augment), *config.model.symbols()]


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


def _beta(alpha: float) -> str:
    return f"Beta({alpha:g}, {alpha:g})"
