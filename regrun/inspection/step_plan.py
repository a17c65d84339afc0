"""How `regrun inspect` writes SAM, clipping and averages of the weights."""

from __future__ import annotations

from regrun.config.schema import Config
from regrun.config.training import WeightAveraging


def gradient_lines(config: Config) -> list[str]:
    """What becomes of g before weight decay and the optimizer's own rule."""
    training, rho = config.training, config.optimizer.sam
    lines = []
    if rho:
        lines.append(f"g ← g at w + {rho:g} g / ‖g‖₂   (SAM; ‖·‖₂ over all parameters)")
    if training.clip_value is not None:
        lines.append(f"g ← min(max(g, −{training.clip_value:g}), {training.clip_value:g})")
    if training.clip_norm is not None:
        lines.append(f"g ← g · min(1, {training.clip_norm:g} / ‖g‖₂)   (‖·‖₂ over all parameters)")
    return lines


def rate_lines(config: Config) -> list[str]:
    """What SWA makes of the learning rate."""
    swa = config.training.swa
    if swa is None or swa.lr is None:
        return []
    return [f"η_t = {swa.lr:g} after epoch {swa.first_epoch(config.training.epochs)}   (SWA)"]


def average_lines(config: Config) -> list[str]:
    """The averages beside the weights, after everything that changes these."""
    beta, swa = config.training.ema, config.training.swa
    lines = []
    if beta:
        lines.append(
            f"m ← {beta:g} m + {1 - beta:g} w;  m / (1 − {beta:g}ᵗ) is measured next to w   (EMA)"
        )
    if swa is not None:
        epochs = _epochs(swa, config.training.epochs)
        lines.append(f"the mean of w after epochs {epochs} is measured next to w   (SWA)")
    return lines


def _epochs(swa: WeightAveraging, epochs: int) -> str:
    points = range(swa.first_epoch(epochs), epochs + 1, swa.every)
    if len(points) <= 4:
        return ", ".join(map(str, points))
    return f"{points[0]}, {points[1]}, …, {points[-1]}"
