"""A regularization path as a table and as a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

MOST_NAMED = 12
"""Coefficients that the legend names; the others are drawn without a name."""


def path_csv(document: Mapping[str, Any]) -> str:
    """A line per strength: strength, non-zeros, metrics, coefficients by name."""
    metrics = document["metrics"]
    coefficients = [np.asarray(each).reshape(-1) for each in document["coefficients"]]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["strength", "nonzeros", *metrics, *_columns(document)])
    for index, strength in enumerate(document["strengths"]):
        row = [values[index] for values in metrics.values()]
        writer.writerow([strength, document["nonzeros"][index], *row, *coefficients[index]])
    return text.getvalue()


def path_picture(document: Mapping[str, Any], kind: Literal["png", "svg"]) -> bytes:
    """Coefficients, non-zeros and losses over the strength, weak on the right."""
    from matplotlib import style
    from matplotlib.figure import Figure

    strengths = np.asarray(document["strengths"])
    coefficients = np.asarray([np.reshape(each, -1) for each in document["coefficients"]])
    with style.context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(8, 9), layout="constrained")
        top, middle, bottom = figure.subplots(
            3, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1, 2]}
        )
        _draw_coefficients(top, strengths, coefficients, _columns(document))
        middle.step(strengths, document["nonzeros"], where="mid", color="0.3")
        middle.set_ylabel("non-zeros")
        _draw_losses(bottom, strengths, document["metrics"])
        best = document["best"]
        for axes in (top, middle, bottom):
            axes.axvline(best["strength"], color="0.6", linestyle="--", linewidth=1)
            axes.axvline(best["one_standard_error"], color="0.6", linestyle=":", linewidth=1)
        top.set_title("dashed: lowest cross-validated loss; dotted: one standard error", fontsize=9)
        bottom.set_xscale("log")
        bottom.set_xlim(strengths[0], strengths[-1])
        bottom.set_xlabel("strength λ")
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, dpi=150)
    return buffer.getvalue()


def _columns(document: Mapping[str, Any]) -> list[str]:
    """Names of the coefficients; of several outputs, `name[output]`."""
    names: list[str] = list(document["feature_names"])
    outputs = np.size(document["coefficients"][0]) // len(names)
    if outputs == 1:
        return names
    return [f"{name}[{output}]" for output in range(outputs) for name in names]


def _draw_coefficients(
    axes: Any, strengths: np.ndarray, coefficients: np.ndarray, names: Sequence[str]
) -> None:
    from matplotlib import colormaps

    largest = np.argsort(-np.abs(coefficients[-1]))
    colours = colormaps["tab20"].colors  # type: ignore[attr-defined]
    for rank, column in enumerate(largest):
        named = rank < MOST_NAMED
        axes.plot(
            strengths,
            coefficients[:, column],
            label=names[column] if named else None,
            color=colours[rank % len(colours)] if named else "0.8",
            linewidth=1.5 if named else 0.7,
            zorder=2 if named else 1,
        )
    axes.axhline(0, color="0.3", linewidth=0.7)
    axes.set_ylabel("coefficient")
    axes.legend(fontsize=8, ncols=2, frameon=False)


def _draw_losses(axes: Any, strengths: np.ndarray, metrics: Mapping[str, Any]) -> None:
    for tag, colour in (("train/loss", "C0"), ("val/loss", "C2"), ("test/loss", "C1")):
        if tag in metrics:
            axes.plot(strengths, metrics[tag], color=colour, label=tag.replace("/", " "))
    mean, error = np.asarray(metrics["cv/loss"]), np.asarray(metrics["cv/standard_error"])
    axes.plot(strengths, mean, color="0.2", label="cross-validated loss")
    axes.fill_between(strengths, mean - error, mean + error, color="0.2", alpha=0.15, linewidth=0)
    axes.set_ylabel("loss")
    axes.legend(fontsize=8, frameon=False)
