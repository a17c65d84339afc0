"""After every command, the next one to try."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from regrun.kinds.ingredients import ingredients_of
from regrun.kinds.models.builtin import HiddenLayers

if TYPE_CHECKING:
    from regrun.config.schema import Config
    from regrun.results import RunSummary

OVERFIT_RATIO = 1.5
"""A test loss above this many times the train loss is called overfitting."""

_SHRINKAGE = 3.6
"""η·λ·steps of the suggested weight decay: without any gradient, weights shrink to e⁻³·⁶ ≈ 3%."""


def after_training(
    summary: RunSummary,
    config: Config,
    config_path: Path,
    directory: Path,
    runs_dir: Path,
) -> list[str]:
    """Commands, the most useful one first."""
    train = f"regrun train {shlex.quote(str(config_path))}"
    if summary.status == "diverged":
        lr = config.optimizer.lr
        # FISTA's own step cannot be too long; only rounding is left to blame.
        return [
            f"{train} optimizer.lr={lr / 10:g}" if lr else f"{train} training.precision=float64"
        ]
    commands = []
    change = _against_overfitting(summary, config)
    if change is not None:
        commands.append(f"{train} {change}")
    commands.append(f"regrun compare {shlex.quote(str(directory.parent))}")
    commands.append(f"regrun view {shlex.quote(str(runs_dir))}")
    return commands


def _against_overfitting(summary: RunSummary, config: Config) -> str | None:
    train, test = summary.metrics.get("train/loss"), summary.metrics.get("test/loss")
    if train is None or test is None or test <= OVERFIT_RATIO * train or ingredients_of(config):
        return None
    optimizer = config.optimizer
    # Under other optimizers λ is scaled entry by entry, so that no one value fits.
    plain = optimizer.proximal or optimizer.resolved_decay == "decoupled"
    if plain and optimizer.lr and summary.steps:
        decay = _SHRINKAGE / (optimizer.lr * summary.steps)
        return f"optimizer.weight_decay={float(f'{decay:.0e}'):g}"
    if isinstance(config.model, HiddenLayers) and config.model.hidden:
        return "model.dropout=0.5"
    return None
