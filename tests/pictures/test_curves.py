"""Learning curves: means and bands are those of the stored rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import FillBetweenPolyCollection
from scipy import stats

from regrun.analysis.cells import Cell
from regrun.analysis.sweeps import SweptRun
from regrun.pictures.curves import MOST_CELLS, Curves
from regrun.pictures.files import figure_of
from regrun.pictures.weights import Weights
from regrun.results import Norms, RunSummary, WeightNorms, json_line
from regrun.store.checksums import sealed_lines
from regrun.store.run_dir import RunDir
from tests.support.drawn import cut, line_of, notes, overlaps, subject, title, words

LOSSES = {"train/loss": 1.0, "test/loss": 2.0}


def trained(folder: Path, key: float, seeds: int, epochs: int = 6, end: str = "completed") -> Cell:
    """A cell whose losses fall by a factor an epoch, a different one for each seed."""
    runs = []
    for seed in range(seeds):
        path = folder / f"{key:g}-{seed}"
        path.mkdir(parents=True)
        (path / "config.yaml").write_text("name: made\n")
        rows = [
            {
                "epoch": epoch,
                "step": 4 * epoch,
                **{n: v * loss(key, seed, epoch) for n, v in LOSSES.items()},
                "weights/l2": 3.0 / epoch,
                "weights/sparsity": 0.1 * epoch if key else 0.0,
            }
            for epoch in range(1, epochs + 1 + seed)
        ]
        data, _ = sealed_lines(map(json_line, rows))
        (path / "metrics.jsonl").write_bytes(data)
        summary = RunSummary(
            run_dir=str(path),
            status="diverged" if end == "diverged" else "completed",
            seed=seed,
            diverged_at_step=9 if end == "diverged" else None,
            metrics={n: v * loss(key, seed, epochs + seed) for n, v in LOSSES.items()},
            weights=WeightNorms(
                l2=2.0 + key, per_layer={"a.weight": Norms(l2=1.0 + key + seed, sparsity=0.5)}
            ),
        )
        runs.append(SweptRun(RunDir(path), {"k": key, "seed": seed}, summary))
    return Cell({"k": key}, runs)


def loss(key: float, seed: int, epoch: int) -> float:
    return (1 + key) * (0.9 - 0.1 * seed) ** epoch


def test_means_are_geometric_over_the_epochs_that_all_seeds_reached(tmp_path: Path) -> None:
    figure = figure_of(subject([trained(tmp_path, 0.0, 3)]), Curves())
    epochs, means = line_of(figure, "test/loss")
    assert epochs.tolist() == [1, 2, 3, 4, 5, 6]
    every = np.array([[2 * loss(0, seed, e) for e in range(1, 7)] for seed in range(3)])
    np.testing.assert_allclose(means, stats.gmean(every, axis=0))
    assert {"train loss", "test loss"} <= set(words(figure))


def test_bands_are_students_intervals_of_the_logarithms(tmp_path: Path) -> None:
    figure = figure_of(subject([trained(tmp_path, 0.0, 3)]), Curves())
    logs = np.log([[2 * loss(0, seed, e) for e in range(1, 7)] for seed in range(3)])
    half = stats.t.ppf(0.975, 2) * logs.std(0, ddof=1) / np.sqrt(3)
    bands = [b for b in figure.axes[0].collections if isinstance(b, FillBetweenPolyCollection)]
    vertices = np.asarray(bands[1].get_paths()[0].vertices)
    found = [vertices[vertices[:, 0] == epoch][:, 1].max() for epoch in range(1, 7)]
    np.testing.assert_allclose(found, np.exp(logs.mean(0) + half), rtol=1e-6)


def test_of_many_cells_the_ends_and_the_best_have_curves(tmp_path: Path) -> None:
    cells = [trained(tmp_path, float(key), 2) for key in (9, 8, 7, 6, 5, 4, 3, 2, 1)]
    figure = figure_of(subject(cells), Curves())
    ends = [text for text in words(figure) if text.startswith("k = ")]
    assert len(ends) == MOST_CELLS
    assert {"k = 1", "k = 9"} <= set(ends)
    assert f"{MOST_CELLS} of 9 cells" in notes(figure)
    assert (overlaps(figure), cut(figure)) == ([], [])


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ("completed", "Test loss ends at 1.063, its lowest"),
        ("diverged", "The run diverged at step 9"),
    ],
)
def test_the_title_of_a_run_says_how_it_ended(tmp_path: Path, end: str, expected: str) -> None:
    figure = figure_of(subject([trained(tmp_path, 0.0, 1, end=end)]), Curves())
    assert title(figure) == expected
    assert (overlaps(figure), cut(figure)) == ([], [])


def test_a_run_of_one_evaluation_has_no_curves(tmp_path: Path) -> None:
    made = subject([trained(tmp_path, 0.0, 1, epochs=1)])
    assert Curves().problem(made) == "it needs runs with at least two evaluations"


def test_norms_of_a_run_are_drawn_over_its_epochs(tmp_path: Path) -> None:
    figure = figure_of(subject([trained(tmp_path, 1.0, 1)]), Weights())
    norms, shares = (axes.lines[0] for axes in figure.axes)
    np.testing.assert_allclose(np.asarray(norms.get_ydata()), 3 / np.arange(1, 7))
    np.testing.assert_allclose(np.asarray(shares.get_ydata()), 0.1 * np.arange(1, 7))
    assert title(figure) == "‖w‖₂ goes from 3 to 0.5; 60% of the weights end at exactly 0"


def test_norms_of_layers_are_drawn_over_a_strength(tmp_path: Path) -> None:
    cells = [trained(tmp_path, key, 2) for key in (0.0, 1.0, 2.0)]
    figure = figure_of(subject(cells), Weights())
    places, means = line_of(figure, "a.weight l2")
    assert places.tolist() == [0, 1, 2]
    np.testing.assert_allclose(means, [np.sqrt((1 + k) * (2 + k)) for k in (0, 1, 2)])
    assert title(figure) == "‖w‖₂ of all weights goes from 2 at k = 0 to 4 at 2"
    assert (overlaps(figure), cut(figure)) == ([], [])
