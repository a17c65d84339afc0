"""A regularization path: coefficients, non-zeros and losses over the strength."""

from __future__ import annotations

from typing import TYPE_CHECKING

from regrun.metrics import SPLITS
from regrun.numbers import number
from regrun.pictures.base import Picture
from regrun.pictures.scales import fix_ticks, round_logs, scale_heights
from regrun.pictures.sheet import Sheet
from regrun.pictures.style import LINES, Look, plain, tick_text
from regrun.pictures.subject import Subject
from regrun.results import PathResult

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

MOST_NAMED = 10
"""Coefficients with a colour and a name; the others are drawn grey."""

LONGEST_NAME = 20
"""Characters of a name that a picture shows."""


class Path(Picture):
    """Coefficients, non-zeros and losses over the strength, weak on the right."""

    name = "path"
    summary = "coefficients, non-zeros and losses of a regularization path"

    def problem(self, subject: Subject) -> str | None:
        return None if subject.path is not None else "it needs a path"

    def draw(self, subject: Subject, look: Look) -> Sheet:
        path = subject.path
        assert path is not None
        notes = [
            "Dashed: lowest cross-validated loss; dotted: the largest strength within one standard "
            "error of it. Band: ± one standard error."
        ]
        sheet = Sheet(look, title_of(path), notes, height=8.2)
        top, middle, bottom = sheet.figure.subplots(
            3, 1, sharex=True, gridspec_kw={"height_ratios": [5, 1.4, 3]}
        )
        _draw_coefficients(sheet, top, path, look)
        middle.step(path.strengths, path.nonzeros, where="mid", color=look.ink, label="non-zeros")
        _count(middle, max(path.nonzeros))
        _draw_losses(sheet, bottom, path, look)
        for axes in (top, middle, bottom):
            for strength, style in (
                (path.best.one_standard_error, ":"),
                (path.best.strength, "--"),
            ):
                axes.axvline(strength, color=look.soft, linestyle=style, linewidth=1.2, zorder=0)
        _scale_strengths(bottom, path)
        sheet.figure.align_ylabels()
        return sheet


def title_of(path: PathResult) -> str:
    """The strengths that cross-validation names."""
    lowest, sparser = path.best.strength, path.best.one_standard_error
    at = path.strengths.index(lowest)
    loss, error = path.metrics["cv/loss"][at], path.metrics["cv/standard_error"][at]
    sentence = (
        f"Cross-validated loss is lowest at λ = {number(lowest)}, with {path.nonzeros[at]} "
        f"non-zeros: {number(loss)}, standard error {error:.2g}"
    )
    if sparser == lowest:
        return sentence
    others = path.nonzeros[path.strengths.index(sparser)]
    return f"{sentence}; within one of it {others} suffice, at λ = {number(sparser)}"


def names_of(path: PathResult) -> list[str]:
    """Names of the coefficients; with several outputs `feature[class]`."""
    import numpy as np

    features = path.feature_names
    outputs = np.size(path.coefficients[0]) // len(features)
    if outputs == 1:
        return [plain(name, LONGEST_NAME) for name in features]
    classes = [each.name for each in path.data.classes] if path.data is not None else []
    ends = classes if len(classes) == outputs else [str(index) for index in range(outputs)]
    return [plain(f"{name}[{end}]", LONGEST_NAME) for end in ends for name in features]


def _draw_coefficients(sheet: Sheet, axes: Axes, path: PathResult, look: Look) -> None:
    """A line each; the largest have a colour, and their name where they end."""
    import numpy as np

    coefficients = np.asarray([np.reshape(each, -1) for each in path.coefficients])
    names = names_of(path)
    largest = np.argsort(-np.abs(coefficients).max(0), kind="stable")
    low, high = float(coefficients.min()), float(coefficients.max())
    scale_heights(axes, low, high, log=False)
    axes.axhline(0, color=look.soft, linewidth=0.7)
    axes.plot(
        path.strengths, coefficients[:, largest[MOST_NAMED:]], color=look.faint, linewidth=0.8
    )
    labels = []
    for rank, column in enumerate(largest[:MOST_NAMED]):
        colour = look.series[rank % len(look.series)]
        axes.plot(
            path.strengths,
            _entered(coefficients[:, column]),
            color=colour,
            linestyle="-" if rank < len(look.series) else (0, (4, 1.5)),
            linewidth=1.6,
            label=names[column],
        )
        labels.append((float(coefficients[-1, column]), names[column], colour))
    axes.set_ylabel("coefficient")
    sheet.label_ends(axes, labels)


def _entered(coefficient: np.ndarray) -> np.ndarray:
    """The coefficient with gaps where it stays zero, so that lines do not hide each other there."""
    import numpy as np

    there = np.pad(coefficient != 0, 1)
    return np.where(there[:-2] | there[1:-1] | there[2:], coefficient, np.nan)


def _count(axes: Axes, most: int) -> None:
    """Whole numbers from 0."""
    from matplotlib.ticker import MaxNLocator

    found = MaxNLocator(4, integer=True).tick_values(0, max(most, 1))
    ticks = [float(tick) for tick in found if 0 <= tick <= 1.08 * max(most, 1)]
    axes.set_ylim(0, 1.08 * max(most, 1))
    fix_ticks(axes.yaxis, ticks, [tick_text(tick) for tick in ticks])
    axes.set_ylabel("non-zeros")


def _draw_losses(sheet: Sheet, axes: Axes, path: PathResult, look: Look) -> None:
    """The losses of the path, and the cross-validated one with its standard error."""
    import numpy as np

    metrics = path.metrics
    mean, error = np.asarray(metrics["cv/loss"]), np.asarray(metrics["cv/standard_error"])
    drawn = {split: metrics[f"{split}/loss"] for split in SPLITS if f"{split}/loss" in metrics}
    everything = np.concatenate([*drawn.values(), mean - error, mean + error])
    scale_heights(axes, float(everything.min()), float(everything.max()), log=False)
    labels: list[tuple[float, str, str]] = []
    for split, losses in drawn.items():
        colour = look.splits[split]
        axes.plot(path.strengths, losses, color=colour, linestyle=LINES[split], label=split)
        labels.append((losses[-1], split, colour))
    axes.plot(path.strengths, mean, color=look.ink, label="cross-validated")
    axes.fill_between(
        path.strengths, mean - error, mean + error, color=look.ink, alpha=0.15, linewidth=0
    )
    for strength in (path.best.strength, path.best.one_standard_error):
        at = path.strengths.index(strength)
        axes.plot([strength], [mean[at]], "o", color=look.ink, markersize=5)
    labels.append((float(mean[-1]), "cross-validated", look.ink))
    axes.set_ylabel("loss")
    sheet.label_ends(axes, labels)


def _scale_strengths(axes: Axes, path: PathResult) -> None:
    """The strengths from the strongest to the weakest."""
    axes.set_xscale("log")
    axes.set_xlim(path.strengths[0], path.strengths[-1])
    ticks = round_logs(path.strengths[-1], path.strengths[0], 12)
    fix_ticks(axes.xaxis, ticks, [tick_text(tick) for tick in ticks])
    axes.set_xlabel("strength λ")
