"""A metric over one swept number: what is drawn is what was measured."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from scipy import stats

from regrun.pictures.axis import Axis
from regrun.pictures.files import figure_of
from regrun.pictures.sentences import finding
from tests.support.drawn import cell, cut, line_of, notes, overlaps, subject, title, words

STRENGTHS = (0.0, 0.1, 1.0, 10.0)
TEST = np.array([[9.0, 11.0, 10.0], [5.0, 6.0, 5.5], [1.0, 1.2, 1.1], [1.05, 1.15, 1.3]])
TRAIN = 0.1 * TEST
CELLS = [
    cell({"optimizer.weight_decay": strength}, {"test/loss": [*test], "train/loss": [*train]})
    for strength, test, train in zip(STRENGTHS, TEST, TRAIN, strict=True)
]


def test_curves_are_geometric_means_with_zero_a_step_before_the_smallest() -> None:
    figure = figure_of(subject(CELLS), Axis())
    places, means = line_of(figure, "test")
    np.testing.assert_allclose(places, [0.01, 0.1, 1, 10])
    np.testing.assert_allclose(means, stats.gmean(TEST, axis=1))
    np.testing.assert_allclose(line_of(figure, "train")[1], stats.gmean(TRAIN, axis=1))
    ticks = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    assert ticks == ["0", "0.1", "1", "10"]


def test_bars_are_students_intervals_of_the_logarithms() -> None:
    figure = figure_of(subject(CELLS), Axis())
    logs = np.log(TEST)
    half = stats.t.ppf(0.975, 2) * logs.std(1, ddof=1) / np.sqrt(3)
    bars = [each for each in figure.axes[0].collections if isinstance(each, LineCollection)]
    (found,) = (
        segments
        for each in bars
        for segments in [np.array([line[:, 1] for line in each.get_segments()])]
        if segments[0, 0] > 1
    )
    expected = np.exp(np.stack([logs.mean(1) - half, logs.mean(1) + half], 1))
    np.testing.assert_allclose(found, expected)


def test_cells_like_the_best_are_shaded_and_named() -> None:
    made = subject(CELLS)
    figure = figure_of(made, Axis())
    assert [each.params["optimizer.weight_decay"] for each in made.alike] == [10.0]
    shades = [patch.get_extents().transformed(figure.axes[0].transData.inverted())
              for patch in figure.axes[0].patches]  # fmt: skip
    assert [(box.x0, box.x1) for box in shades] == [
        pytest.approx((np.sqrt(0.1), np.sqrt(10))),
        pytest.approx((np.sqrt(10), 10 * np.sqrt(10))),
    ]
    assert title(figure) == (
        "Test loss is lowest at weight_decay = 1: 1.10 [0.87, 1.38], not distinguishable from 10"
    )


@pytest.mark.parametrize(
    ("values", "end"),
    [
        ([[1.0], [2.0]], "1, with one seed"),
        ([[1.0, 1.0], [2.0, 2.0]], "1, but no other can be distinguished from it"),
        ([[1.0, 1.01, 1.02], [2.0, 2.02, 2.01]], "1.010 [0.985, 1.035], better than every other"),
    ],
)
def test_the_title_says_no_more_than_the_seeds_allow(values: list[list[float]], end: str) -> None:
    cells = [cell({"model.dropout": 0.5 * at}, {"test/loss": v}) for at, v in enumerate(values)]
    found = title(figure_of(subject(cells), Axis()))
    assert found == f"Test loss is lowest at dropout = 0: {end}"


def test_a_cell_whose_runs_are_lost_is_marked_where_it_stands() -> None:
    cells = [*CELLS, cell({"optimizer.weight_decay": 100.0}, {}, lost=3)]
    figure = figure_of(subject(cells), Axis())
    assert "3 of 3\nlost" in words(figure)
    crosses = [line for line in figure.axes[0].lines if line.get_marker() == "x"]
    assert [float(np.asarray(line.get_xdata())[0]) for line in crosses] == [100.0]
    assert notes(figure).endswith("3 of 15 runs diverged.")


def test_a_vanishing_training_loss_leaves_room_for_the_others() -> None:
    cells = [
        cell({"k": s}, {"test/loss": [t], "train/loss": [1e-11 if s < 1 else t / 2]})
        for s, t in zip(STRENGTHS, (100.0, 50.0, 1.0, 0.5), strict=True)
    ]
    figure = figure_of(subject(cells), Axis())
    assert 0.5 / 200 < figure.axes[0].get_ylim()[0] < 0.5
    arrows = [line for line in figure.axes[0].lines if line.get_marker() == "v"]
    assert np.asarray(arrows[0].get_xdata()).tolist() == pytest.approx([0.01, 0.1])
    assert notes(figure).endswith("train loss below the axis, down to 10⁻¹¹.")


SETS = {
    "four": CELLS,
    "linear": [cell({"model.dropout": s}, {"test/loss": [1 + s]}) for s in (0, 0.25, 0.5)],
    "long": [cell({"penalty.0." + 80 * "k": s}, {"test/loss": [1 + s]}) for s in (1, 2)],
    "many": [cell({"k": 1.01**s}, {"test/loss": [1 + s, 2 + s]}) for s in range(300)],
    "crowded": [cell({"k": s}, {"test/loss": [1.0 + s]}) for s in (0.5, 0.501, 0.502, 0.503, 9.0)],
    "negative": [cell({"k": s}, {"test/r2": [0.1 * s]}) for s in (-1, 0, 1)],
    "equal": [cell({"k": s}, {"test/loss": [1.0]}) for s in (1, 2)],
    "huge": [cell({"k": s}, {"test/loss": [10.0**s]}) for s in (-300, 1, 300)],
    "unicode": [cell({"λ$_\x1b[31m$": s}, {"test/loss": [1.0]}) for s in (1, 2)],
}


@pytest.mark.parametrize("name", SETS)
def test_no_text_overlaps_another_or_leaves_the_sheet(name: str) -> None:
    metric = "test/r2" if name == "negative" else "test/loss"
    figure = figure_of(subject(SETS[name], metric), Axis())
    assert overlaps(figure) == []
    assert cut(figure) == []


def test_losses_of_different_kinds_have_no_lowest() -> None:
    cells = [cell({"loss": loss}, {"test/loss": [1.0, 1.1]}) for loss in ("mse", "half_mse")]
    sentence = finding(subject(cells))
    assert sentence == "Test loss means something else for each loss: none is the lowest"
