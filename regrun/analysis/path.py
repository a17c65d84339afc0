"""A regularization path as a table and as a picture."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from regrun.results import PathResult

MOST_NAMED = 10
"""Coefficients with a colour and a name; the others are drawn grey."""

LONGEST_NAME = 20
"""Characters of a name that a picture shows."""

STYLE = {
    "font.size": 9,
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "regrun",
}


def path_csv(path: PathResult) -> str:
    """A line per strength: strength, non-zeros, metrics, coefficients by name."""
    import pandas

    coefficients = [np.ravel(each) for each in path.coefficients]
    measured = {"strength": path.strengths, "nonzeros": path.nonzeros, **path.metrics}
    tables = [pandas.DataFrame(measured), pandas.DataFrame(coefficients, columns=_columns(path))]
    return pandas.concat(tables, axis=1).to_csv(index=False, lineterminator="\n")


def path_pictures(path: PathResult) -> dict[Literal["png", "svg"], bytes]:
    """Coefficients, non-zeros and losses over the strength, weak on the right, in both formats.

    Equal paths give equal bytes.
    """
    from matplotlib import style
    from matplotlib.figure import Figure

    strengths = np.asarray(path.strengths)
    coefficients = np.asarray([np.reshape(each, -1) for each in path.coefficients])
    names = [_short(name) for name in _columns(path)]
    with style.context(STYLE):
        figure = Figure(figsize=(9, 9))
        top, middle, bottom = figure.subplots(
            3, 1, sharex=True, gridspec_kw={"height_ratios": [5, 1.4, 3], "hspace": 0.1}
        )
        # A layout that is worked out would draw everything twice.
        room = 0.035 + 0.0095 * max(map(len, names))
        figure.subplots_adjust(left=0.1, right=1 - room, top=0.955, bottom=0.06)
        _draw_coefficients(top, strengths, coefficients, names)
        middle.step(strengths, path.nonzeros, where="mid", color="0.3")
        middle.set_ylim(bottom=0)
        middle.set_ylabel("non-zeros")
        _draw_losses(bottom, strengths, path.metrics)
        _mark_chosen(figure, (top, middle, bottom), path)
        _scale_strengths(bottom, strengths)
        figure.align_ylabels()
        return {"png": _saved(figure, "png"), "svg": _saved(figure, "svg")}


def _saved(figure: Figure, kind: Literal["png", "svg"]) -> bytes:
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else None
    figure.savefig(buffer, format=kind, dpi=150, metadata=metadata)
    return buffer.getvalue()


def _columns(path: PathResult) -> list[str]:
    """Names of the coefficients; of several outputs, `name[output]`."""
    names = path.feature_names
    outputs = np.size(path.coefficients[0]) // len(names)
    if outputs == 1:
        return names
    return [f"{name}[{output}]" for output in range(outputs) for name in names]


def _short(name: str) -> str:
    """Cut in the middle, as the end may be the output."""
    if len(name) <= LONGEST_NAME:
        return name
    end = LONGEST_NAME // 3
    return f"{name[: LONGEST_NAME - end - 1]}…{name[-end:]}"


def _draw_coefficients(
    axes: Axes, strengths: np.ndarray, coefficients: np.ndarray, names: Sequence[str]
) -> None:
    """A line each; the largest have a colour, and their name where they end."""
    largest = np.argsort(-np.abs(coefficients).max(0), kind="stable")
    axes.axhline(0, color="0.3", linewidth=0.7)
    axes.plot(strengths, coefficients[:, largest[MOST_NAMED:]], color="0.8", linewidth=0.7)
    low, high = coefficients.min(), coefficients.max()
    margin = 0.05 * (high - low) or 1.0
    axes.set_ylim(low - margin, high + margin)
    named = largest[:MOST_NAMED]
    heights = apart(coefficients[-1, named], 0.037 * (high - low + 2 * margin))
    for rank, (column, height) in enumerate(zip(named, heights, strict=True)):
        axes.plot(strengths, _entered(coefficients[:, column]), color=f"C{rank}", linewidth=1.6)
        axes.annotate(
            names[column],
            (1, coefficients[-1, column]),
            xycoords=axes.get_yaxis_transform(),
            xytext=(1.02, height),
            textcoords=axes.get_yaxis_transform(),
            color=f"C{rank}",
            verticalalignment="center",
            arrowprops={"arrowstyle": "-", "color": f"C{rank}", "linewidth": 0.6, "shrinkB": 0},
        )
    axes.set_ylabel("coefficient")


def _entered(coefficient: np.ndarray) -> np.ndarray:
    """The coefficient with gaps where it stays zero, so that lines do not hide each other there."""
    there = np.pad(coefficient != 0, 1)
    return np.where(there[:-2] | there[1:-1] | there[2:], coefficient, np.nan)


def apart(wanted: np.ndarray, gap: float) -> np.ndarray:
    """Heights at least `gap` apart, in the order of those wanted, and near them: (n,).

    The least-squares answer: after subtracting the gaps, the heights must only be sorted.
    """
    from scipy.optimize import isotonic_regression

    order = np.argsort(wanted, kind="stable")
    gaps = gap * np.arange(len(wanted))
    heights = np.empty_like(wanted)
    heights[order] = isotonic_regression(wanted[order] - gaps).x + gaps
    return heights


def _draw_losses(axes: Axes, strengths: np.ndarray, metrics: Mapping[str, list[float]]) -> None:
    for tag, colour in (("train/loss", "C0"), ("val/loss", "C2"), ("test/loss", "C1")):
        if tag in metrics:
            axes.plot(strengths, metrics[tag], color=colour, label=tag.partition("/")[0])
    mean, error = np.asarray(metrics["cv/loss"]), np.asarray(metrics["cv/standard_error"])
    axes.plot(strengths, mean, color="0.2", label="cross-validated, ± one standard error")
    axes.fill_between(strengths, mean - error, mean + error, color="0.2", alpha=0.15, linewidth=0)
    axes.set_ylabel("loss")
    axes.legend(loc="upper right", edgecolor="none", framealpha=0.9)


def _mark_chosen(figure: Figure, panels: Sequence[Axes], path: PathResult) -> None:
    """The two strengths that cross-validation names, through all panels."""
    lines = []
    for strength, words, style in (
        (path.best.one_standard_error, "largest within one standard error", ":"),
        (path.best.strength, "lowest cross-validated loss", "--"),
    ):
        index = path.strengths.index(strength)
        label = f"{words}: λ = {strength:.3g}, {path.nonzeros[index]} non-zeros"
        for axes in panels:
            line = axes.axvline(
                strength, color="0.5", linestyle=style, linewidth=1.2, label=f"_{label}", zorder=0
            )
        panels[-1].plot(
            [strength], [path.metrics["cv/loss"][index]], "o", color="0.2", markersize=5
        )
        lines.append((line, label))
    handles, labels = zip(*reversed(lines), strict=True)
    figure.legend(handles, labels, loc="upper center", ncols=2, frameon=False)


def _scale_strengths(axes: Axes, strengths: np.ndarray) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    decades = np.log10(strengths[0] / strengths[-1])
    axes.set_xscale("log")
    axes.set_xlim(strengths[0], strengths[-1])
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 4 else (1,)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("strength λ")
