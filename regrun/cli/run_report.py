"""What a finished run shows: curves, the numbers that matter, where it lies, what to try next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.text import Text

from regrun.cli.console import plotted
from regrun.cli.data_report import data_line
from regrun.cli.format import NOTHING, number, table
from regrun.cli.plot import loss_plot
from regrun.metrics import SCORES, SPLITS
from regrun.results import RunSummary

if TYPE_CHECKING:
    from regrun.config.schema import Config

DOMINATED = 100.0
"""A penalty larger than this many times the data loss drowns it."""

OVERFIT_RATIO = 1.5
"""A test loss above this many times the train loss is called overfitting."""

_SHRINKAGE = 3.6
"""η·λ·steps of the suggested weight decay: without any gradient, weights shrink to e⁻³·⁶ ≈ 3%."""


def run_report(
    summary: RunSummary, config: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> list[RenderableType]:
    """The report of one run as things that rich can print, top to bottom."""
    return [
        Text(headline(summary, config), "bold"),
        *plotted(loss_plot, rows),
        *_numbers(summary),
        *_confusion(summary),
        *weights_and_penalties(summary),
        *([f"data       {data_line(summary.data)}"] if summary.data else []),
        *(Text(line, "yellow") for line in warnings(summary)),
    ]


def warnings(summary: RunSummary) -> list[str]:
    """What a reader of the numbers must know."""
    lines = []
    if summary.status == "diverged":
        lines.append(
            f"the loss became infinite or not a number at step {summary.diverged_at_step}: "
            "a smaller learning rate or a smaller strength keeps it finite"
        )
    loss = summary.metrics.get("train/loss")
    for name, value in summary.penalty.items():
        if loss is not None and value is not None and value > DOMINATED * loss > 0:
            lines.append(
                f"penalty/{name} is {value / loss:,.0f} times the data loss: the optimizer "
                "hardly sees the data; lower its strength"
            )
    return lines


def headline(summary: RunSummary, config: Mapping[str, Any]) -> str:
    """Name, seed, how the run ended and how long it took."""
    early = " (stopped early)" if summary.stopped_early else ""
    took = f" in {summary.seconds.total:.1f} s" if summary.seconds else ""
    passed = f"after {_counted(summary.epochs, 'epoch')}, {_counted(summary.steps, 'step')}"
    if summary.diverged_at_step is not None:
        passed = f"in epoch {summary.epochs:,}, at step {summary.diverged_at_step:,}"
    return (
        f"{config.get('name', 'run')}, seed {config.get('seed', 0)}: {summary.status}{early} "
        f"{passed}{took} on {summary.device}"
    )


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _numbers(summary: RunSummary) -> list[RenderableType]:
    """Rows loss and accuracy, then those of averaged weights; a column per split, then the gap.

    Nothing where nothing was measured.
    """
    metrics = summary.metrics
    splits = [split for split in SPLITS if any(name.startswith(f"{split}/") for name in metrics)]
    rows = []
    others = [name for name in SCORES if any(each.endswith(f"/{name}") for each in metrics)]
    quantities = dict.fromkeys(("loss", "accuracy", *others))
    for of, quantity in product(("", "ema", "swa"), quantities):
        values = {split: metrics.get(f"{of}/{split}/{quantity}".lstrip("/")) for split in splits}
        if all(value is None for value in values.values()):
            continue
        train, test = values.get("train"), values.get("test")
        gap = NOTHING if train is None or test is None else number(test - train)
        shown = [number(value) for value in values.values()]
        rows.append((f"{of} {quantity}".lstrip(), *shown, gap))
    headers = (*splits, "gap (test − train)")
    return [table(("", *headers), rows, right=headers)] if rows else []


MOST_CONFUSED = 12
"""Classes of the largest confusion matrix that is printed."""


def _confusion(summary: RunSummary) -> list[RenderableType]:
    """Rows are the true classes, columns the predicted ones; of the test set, else of another."""
    matrices = summary.confusion or {}
    part = next((each for each in ("test", "val", "train") if each in matrices), None)
    if part is None or summary.data is None or len(matrices[part]) > MOST_CONFUSED:
        return []
    names = [each.name[:12] for each in summary.data.classes]
    rows = [
        (name, *(f"{count:,}" for count in counts))
        for name, counts in zip(names, matrices[part], strict=True)
    ]
    return [table((f"{part}: true / predicted", *names), rows, right=names)]


def weights_and_penalties(summary: RunSummary) -> list[str]:
    """Lines that begin with a name: norms of the weights, penalties, the best epoch."""
    lines = []
    weights = summary.weights
    if weights.l2 is not None:
        lines.append(
            f"weights    ‖w‖₂ {number(weights.l2)}   ‖w‖₁ {number(weights.l1)}   "
            f"exactly 0: {100 * (weights.sparsity or 0):.3g}%"
        )
    if summary.penalty:
        penalties = "   ".join(f"{name} {number(value)}" for name, value in summary.penalty.items())
        objective = summary.metrics.get("objective")
        after = "" if objective is None else f"   objective {number(objective)}"
        lines.append(f"penalty    {penalties}{after}   (the losses above are without it)")
    best = summary.best
    if best is not None:
        on_test = best.selected_on == "test"
        flatters = " (chosen by the test set, which flatters it)" if on_test else ""
        value = number(best.value)
        lines.append(f"best       {best.metric} {value} at epoch {best.epoch}{flatters}")
    return lines


def after_training(
    summary: RunSummary,
    config: Config,
    config_path: Path,
    directory: Path,
    runs_dir: Path,
) -> list[str]:
    """Return the commands to try next, the most useful one first."""
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
    from regrun.kinds.ingredients import ingredients_of
    from regrun.kinds.models.builtin import HiddenLayers

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
