"""What a finished run shows: curves, the numbers that matter, where it lies, what to try next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

from regrun.cli.numbers import NOTHING, number

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

DOMINATED = 100.0
"""A penalty larger than this many times the data loss drowns it."""


def run_report(
    summary: Mapping[str, Any], config: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> list[RenderableType]:
    """The report of one run as things that rich can print, top to bottom."""
    from rich.text import Text

    from regrun.cli.console import plot_width, wants_colour
    from regrun.cli.plot import loss_plot

    plot = loss_plot(rows, plot_width(), colour=wants_colour())
    parts: list[RenderableType] = [Text(_headline(summary, config), "bold")]
    if plot is not None:
        parts.append(Text.from_ansi(plot, no_wrap=True))
    parts += [_numbers(summary), *(Text(line) for line in _weights_and_penalties(summary))]
    parts += [Text(line, "yellow") for line in warnings(summary)]
    return parts


def warnings(summary: Mapping[str, Any]) -> list[str]:
    """What a reader of the numbers must know."""
    lines = []
    if summary.get("status") == "diverged":
        lines.append(
            f"the loss became infinite or not a number at step {summary.get('diverged_at_step')}: "
            "a smaller learning rate or a smaller strength keeps it finite"
        )
    loss = (summary.get("metrics") or {}).get("train/loss")
    for name, value in (summary.get("penalty") or {}).items():
        if loss is not None and value is not None and value > DOMINATED * loss > 0:
            lines.append(
                f"penalty/{name} is {value / loss:,.0f} times the data loss: the optimizer "
                "hardly sees the data; lower its strength"
            )
    return lines


def _headline(summary: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    epochs, steps = summary.get("epochs", 0), summary.get("steps", 0)
    early = " (stopped early)" if summary.get("ended_early") else ""
    seconds = (summary.get("seconds") or {}).get("total")
    took = f" in {seconds:.1f} s" if seconds is not None else ""
    return (
        f"{config.get('name', 'run')}, seed {config.get('seed', 0)}: {summary['status']}{early} "
        f"after {epochs:,} epochs, {steps:,} steps{took} on {summary.get('device', 'cpu')}"
    )


def _numbers(summary: Mapping[str, Any]) -> Table:
    """Rows loss and accuracy, then those of averaged weights; a column per split, then the gap."""
    from rich.table import Table

    metrics = summary.get("metrics") or {}
    splits = [
        split
        for split in ("train", "val", "test")
        if any(name.startswith(f"{split}/") for name in metrics)
    ]
    table = Table("", *splits, "gap (test − train)", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for of, quantity in product(("", "ema", "swa"), ("loss", "accuracy")):
        values = {split: metrics.get(f"{of}/{split}/{quantity}".lstrip("/")) for split in splits}
        if all(value is None for value in values.values()):
            continue
        train, test = values.get("train"), values.get("test")
        gap = NOTHING if train is None or test is None else number(test - train)
        shown = [number(value) for value in values.values()]
        table.add_row(f"{of} {quantity}".lstrip(), *shown, gap)
    return table


def _weights_and_penalties(summary: Mapping[str, Any]) -> list[str]:
    lines = []
    weights = summary.get("weights") or {}
    if weights.get("l2") is not None:
        lines.append(
            f"weights    ‖w‖₂ {number(weights['l2'])}   ‖w‖₁ {number(weights.get('l1'))}   "
            f"exactly 0: {100 * weights.get('sparsity', 0):.3g}%"
        )
    if summary.get("penalty"):
        penalties = "   ".join(
            f"{name} {number(value)}" for name, value in summary["penalty"].items()
        )
        objective = (summary.get("metrics") or {}).get("objective")
        beside = "" if objective is None else f"   objective {number(objective)}"
        lines.append(f"penalty    {penalties}{beside}   (the losses above are without it)")
    best = summary.get("best")
    if best:
        value = number(best.get("value"))
        lines.append(f"best       {best['metric']} {value} at epoch {best['epoch']}")
    return lines
