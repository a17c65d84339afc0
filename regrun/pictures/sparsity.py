"""The share of weights that are exactly 0, layer by layer over training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from regrun.analysis.statistics import mean_interval
from regrun.pictures.base import Picture
from regrun.pictures.curves import tick_epochs
from regrun.pictures.layers import (
    NONE_COUNTED,
    counted_cell,
    counted_runs,
    notes_of,
    spread_out,
    weights_of,
)
from regrun.pictures.scales import scale_heights
from regrun.pictures.sheet import Sheet
from regrun.pictures.style import Look, plain
from regrun.pictures.subject import Subject

if TYPE_CHECKING:
    from regrun.histograms import Histograms

MOST_LAYERS = 8
"""Weight tensors with a line each."""


class Sparsity(Picture):
    """A line a layer."""

    name = "sparsity"
    summary = "the share of weights of each layer that are exactly 0, over training"

    def problem(self, subject: Subject) -> str | None:
        found = _shares(counted_runs(counted_cell(subject)))
        if not found:
            return NONE_COUNTED
        if all(len(each) < 2 for each in found.values()):
            return "it needs histograms of at least two epochs"
        if not any(any(shares) for each in found.values() for shares in each.values()):
            whose = " of the best cell; name a run of another" if subject.keys else ""
            return f"no weight is ever exactly 0{whose}"
        return None

    def draw(self, subject: Subject, look: Look) -> Sheet:
        cell = counted_cell(subject)
        assert cell is not None
        runs = counted_runs(cell)
        layers = _shares(runs)
        names = spread_out([*layers], MOST_LAYERS)
        notes = [notes_of(subject, cell, 1, len(names), len(layers))]
        if len(runs) > 1:
            notes.append(f"Means with 95% bands over {len(runs)} seeds.")
        sheet = Sheet(look, _title(layers, runs), [" ".join(filter(None, notes))])
        axes = sheet.figure.subplots()
        epochs = [*next(iter(layers.values()))]
        axes.set_xlim(epochs[0], epochs[-1])
        tick_epochs(axes)
        estimates = {
            name: [mean_interval(values, "fraction") for values in layers[name].values()]
            for name in names
        }
        means = {name: [each.mean for each in own] for name, own in estimates.items()}
        scale_heights(axes, 0.0, max(0.05, *map(max, means.values())), log=False)
        axes.set_ylim(bottom=0)
        labels = []
        for rank, (name, own) in enumerate(estimates.items()):
            colour = look.series[rank % len(look.series)]
            line = "-" if rank < len(look.series) else "--"
            axes.plot(epochs, means[name], color=colour, linestyle=line, label=name)
            if len(runs) > 1:
                lows = [each.mean if each.low is None else each.low for each in own]
                highs = [each.mean if each.high is None else each.high for each in own]
                axes.fill_between(epochs, lows, highs, color=colour, alpha=0.15, linewidth=0)
            labels.append((means[name][-1], plain(name, 28), colour))
        axes.set_ylabel("share exactly 0")
        sheet.label_ends(axes, labels)
        return sheet


Shares = Mapping[str, Mapping[int, Sequence[float]]]
"""Layer → epoch → the share of each run."""


def _shares(runs: Sequence[Sequence[Histograms]]) -> Shares:
    from regrun.analysis.weight_histograms import over_training

    by_epoch = [{each.epoch: each.parameters for each in run} for run in runs]
    return {
        name: {epoch: [run[epoch][name].sparsity for run in by_epoch] for epoch in times.epochs}
        for name, times in weights_of(over_training(runs)).items()
    }


def _title(layers: Shares, runs: Sequence[Sequence[Histograms]]) -> str:
    """How many weights end at 0, and where most of them are."""
    last = max(max(epochs) for epochs in layers.values())
    ends = [
        run.parameters[name] for own in runs for run in own if run.epoch == last for name in layers
    ]
    zeros, size = sum(each.zeros for each in ends), sum(each.size for each in ends)
    if not zeros:
        return "No weight ends at exactly 0"
    title = f"{100 * zeros / size:.3g}% of the weights end at exactly 0"
    if len(layers) == 1:
        return title
    shares = {name: sum(each[last]) / len(each[last]) for name, each in layers.items()}
    most = max(shares, key=lambda name: shares[name])
    return f"{title}, most in {plain(most, 30)} ({100 * shares[most]:.3g}%)"
