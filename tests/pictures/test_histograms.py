"""Histograms and sparsity of weights over training: what is drawn is what runs stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch

from regrun.analysis.cells import Cell
from regrun.analysis.sweeps import SweptRun
from regrun.histograms import BINS, Histogram, Histograms
from regrun.pictures.files import figure_of
from regrun.pictures.histograms import HEIGHT, MOST_PANELS, MOST_TIMES, WeightHistograms
from regrun.pictures.layers import NONE_COUNTED
from regrun.pictures.sparsity import Sparsity
from regrun.pictures.style import LOOKS
from regrun.results import RunSummary
from regrun.store.lines import LinesWriter
from regrun.store.run_dir import RunDir
from tests.support.drawn import cut, line_of, notes, overlaps, subject, title, words
from tests.support.histograms import histogram_of

Entries = Callable[[int, int], np.ndarray]
"""(seed, epoch) → the entries of a layer."""

LOST = Histogram("weight", 0, 400, None, None, None, None, [0] * BINS)


def growing(seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).normal(size=400) * (1 + epoch)


def sparse(seed: int, epoch: int) -> np.ndarray:
    """A share of `epoch` / 20, and 5% for each seed."""
    entries = np.linspace(-1, 1, 100)
    entries[: 5 * epoch + 5 * seed] = 0
    return entries


def tiny(seed: int, epoch: int) -> np.ndarray:
    """Numbers that take much room: 12.3% zeros, and a standard deviation of many digits."""
    entries = np.linspace(-1, 1, 1000) * 1.2345e-7
    entries[:123] = 0
    return entries


def run_in(path: Path, counted: Sequence[Histograms], status: str = "completed") -> SweptRun:
    path.mkdir(parents=True)
    (path / "config.yaml").write_text("name: made\n")
    writer = LinesWriter(path / "histograms.jsonl")
    writer.add(*counted)
    writer.flush()
    metrics = {} if status == "diverged" else {"test/loss": 1.0}
    summary = RunSummary(run_dir=str(path), status=status, metrics=metrics)  # type: ignore[arg-type]
    return SweptRun(RunDir(path), {}, summary)


def cell_in(
    folder: Path,
    layers: Mapping[str, Entries],
    epochs: Sequence[int] = (0, 2, 4),
    seeds: int = 1,
    params: Mapping[str, float] | None = None,
) -> Cell:
    runs = []
    for seed in range(seeds):
        counted = [
            Histograms(
                epoch,
                3 * epoch,
                {
                    **{name: histogram_of(draw(seed, epoch)) for name, draw in layers.items()},
                    "output.bias": histogram_of(np.zeros(2), "bias"),
                },
            )
            for epoch in epochs
        ]
        runs.append(run_in(folder / f"seed{seed}", counted))
    return Cell(params or {}, runs)


def steps(figure: Figure, panel: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Edges and heights above its own line of each histogram in a panel."""
    found = []
    for patch in figure.axes[panel].patches:
        assert isinstance(patch, StepPatch)
        values, edges, baseline = patch.get_data()
        found.append((np.asarray(edges), np.asarray(values) - np.asarray(baseline)))
    return found


def test_histograms_are_those_of_the_weights(tmp_path: Path) -> None:
    figure = figure_of(subject([cell_in(tmp_path, {"a.weight": growing})]), WeightHistograms())
    assert len(figure.axes) == 1
    drawn = steps(figure)
    assert len(drawn) == 3
    for (edges, heights), epoch in zip(drawn, (0, 2, 4), strict=True):
        density, expected = np.histogram(growing(0, epoch), BINS, density=True)
        np.testing.assert_allclose(edges, expected)
        np.testing.assert_allclose(heights, HEIGHT * density / density.max())
    labels = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert labels == ["0", "2", "4"]
    first, last = growing(0, 0).std(), growing(0, 4).std()
    assert (
        title(figure) == f"The standard deviation of a.weight goes from {first:.4g} to {last:.4g}"
    )
    assert "output.bias" not in " ".join(words(figure))
    assert (overlaps(figure), cut(figure)) == ([], [])


def test_exact_zeros_are_left_out_and_said(tmp_path: Path) -> None:
    figure = figure_of(subject([cell_in(tmp_path, {"a.weight": sparse})]), WeightHistograms())
    edges, heights = steps(figure)[-1]
    entries = sparse(0, 4)
    expected = np.histogram(entries[entries != 0], edges)[0]
    np.testing.assert_allclose(heights, HEIGHT * expected / expected.max())
    assert any("20% exactly 0" in text for text in words(figure))


def test_seeds_are_drawn_together(tmp_path: Path) -> None:
    cell = cell_in(tmp_path, {"a.weight": growing}, seeds=3)
    figure = figure_of(subject([cell]), WeightHistograms())
    edges, heights = steps(figure)[1]
    everything = np.concatenate([growing(seed, 2) for seed in range(3)])
    assert (edges[0], edges[-1]) == (everything.min(), everything.max())
    mean = (heights * np.diff(edges) * (edges[:-1] + edges[1:]) / 2).sum()
    mean /= (heights * np.diff(edges)).sum()
    assert mean == pytest.approx(everything.mean(), abs=0.05 * everything.std())
    assert "The weights of 3 seeds together." in notes(figure)


def test_of_a_sweep_the_best_cell_is_drawn(tmp_path: Path) -> None:
    cells = [
        cell_in(tmp_path / str(k), {"a.weight": growing}, params={"k": float(k)}) for k in (1, 2)
    ]
    figure = figure_of(subject(cells), WeightHistograms())
    assert "The best cell: k = 1." in notes(figure)


def test_weights_that_are_all_zero_are_a_column(tmp_path: Path) -> None:
    layers: dict[str, Entries] = {"a.weight": lambda seed, epoch: growing(0, 0) * (epoch < 4)}
    figure = figure_of(subject([cell_in(tmp_path, layers)]), WeightHistograms())
    edges, heights = steps(figure)[-1]
    assert edges[0] < 0 < edges[1]
    assert heights.tolist() == [HEIGHT]
    assert title(figure).endswith(" to 0")
    only: dict[str, Entries] = {"a.weight": lambda seed, epoch: np.zeros(50)}
    figure = figure_of(subject([cell_in(tmp_path / "b", only)]), WeightHistograms())
    assert len(steps(figure)) == 3


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 9])
def test_every_number_of_layers_fits(tmp_path: Path, count: int) -> None:
    layers = {f"features.{number}.weight_$x_long_name": tiny for number in range(count)}
    cell = cell_in(tmp_path, layers, epochs=range(30))
    for look in LOOKS:
        figure = figure_of(subject([cell]), WeightHistograms(), look)
        shown = [axes for axes in figure.axes if axes.get_visible()]
        assert len(shown) == min(count, MOST_PANELS)
        assert all(len(axes.patches) == MOST_TIMES for axes in shown)
        assert (overlaps(figure), cut(figure)) == ([], [])
    assert ("6 of 9 weight tensors" in notes(figure)) == (count == 9)


def test_what_explodes_or_is_not_finite_is_left_out(tmp_path: Path) -> None:
    fine, huge = growing(0, 0), growing(0, 0) * 1e12
    found = [histogram_of(fine), histogram_of(fine * 2), histogram_of(huge), LOST]
    counted = [
        Histograms(n, 2 * n, {"a.weight": each, "b.weight": histogram_of(fine)})
        for n, each in enumerate(found)
    ]
    made = subject([Cell({}, [run_in(tmp_path / "run", counted, "diverged")])])
    figure = figure_of(made, WeightHistograms())
    assert [len(axes.patches) for axes in figure.axes] == [2, 4]
    assert "After epoch 1 weights are too large to be drawn." in notes(figure)
    nothing = subject([Cell({}, [run_in(tmp_path / "lost", [Histograms(0, 0, {"w": LOST})])])])
    assert WeightHistograms().problem(nothing) == NONE_COUNTED


def test_shares_of_zeros_are_those_of_the_weights(tmp_path: Path) -> None:
    layers = {"a.weight": sparse, "b.weight": growing}
    figure = figure_of(subject([cell_in(tmp_path, layers, epochs=range(6))]), Sparsity())
    epochs, shares = line_of(figure, "a.weight")
    assert epochs.tolist() == [*range(6)]
    np.testing.assert_allclose(shares, np.arange(6) / 20)
    np.testing.assert_array_equal(line_of(figure, "b.weight")[1], np.zeros(6))
    # 25 of 100 and 0 of 400
    assert title(figure) == "5% of the weights end at exactly 0, most in a.weight (25%)"
    assert (overlaps(figure), cut(figure)) == ([], [])


def test_shares_of_seeds_are_means_with_bands(tmp_path: Path) -> None:
    cell = cell_in(tmp_path, {"a.weight": sparse}, epochs=range(6), seeds=3)
    figure = figure_of(subject([cell]), Sparsity())
    _, shares = line_of(figure, "a.weight")
    np.testing.assert_allclose(shares, np.arange(6) / 20 + 0.05)
    assert "Means with 95% bands over 3 seeds." in notes(figure)
    assert title(figure) == "30% of the weights end at exactly 0"


def test_pictures_say_what_they_need(tmp_path: Path) -> None:
    none = subject([Cell({}, [run_in(tmp_path / "none", [])])])
    once = subject([cell_in(tmp_path / "once", {"a.weight": sparse}, epochs=[1])])
    dense = cell_in(tmp_path / "dense", {"a.weight": growing})
    for picture in (WeightHistograms(), Sparsity()):
        assert picture.problem(none) == picture.problem(subject([])) == NONE_COUNTED
    assert WeightHistograms().problem(once) is None
    assert Sparsity().problem(once) == "it needs histograms of at least two epochs"
    assert Sparsity().problem(subject([dense])) == "no weight is ever exactly 0"
    other = cell_in(tmp_path / "other", {"a.weight": sparse}, params={"k": 1.0})
    swept = subject([Cell({"k": 0.0}, dense.runs), other])
    assert Sparsity().problem(swept) == (
        "no weight is ever exactly 0 of the best cell; name a run of another"
    )
