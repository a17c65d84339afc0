"""Heat maps, parallel coordinates, rows of cells, and gaps."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from matplotlib.collections import LineCollection, QuadMesh

from regrun.analysis.cells import Cell
from regrun.pictures.base import Picture
from regrun.pictures.cells import MOST_ROWS, Cells
from regrun.pictures.files import figure_of, pictures_of
from regrun.pictures.gap import Gap
from regrun.pictures.heatmap import Heatmap
from regrun.pictures.parallel import Parallel
from tests.support.drawn import cell, cut, notes, overlaps, subject, texts, title, words

GRID = [
    cell({"model.dropout": d, "optimizer.name": n}, {"test/loss": [v, v + 0.1]})
    for (d, n), v in zip(product((0.5, 0.0), ("sgd", "adam")), (1.5, 2.5, 3.5, 4.5), strict=True)
]


def test_fields_stand_in_rising_order_and_show_the_means() -> None:
    figure = figure_of(subject(GRID), Heatmap())
    (mesh,) = (each for each in figure.axes[0].collections if isinstance(each, QuadMesh))
    means = {v: float(np.sqrt(v * (v + 0.1))) for v in (1.5, 2.5, 3.5, 4.5)}
    expected = [[means[3.5], means[1.5]], [means[4.5], means[2.5]]]
    np.testing.assert_allclose(np.asarray(mesh.get_array()).reshape(2, 2), expected)
    axes = figure.axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0", "0.5"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["sgd", "adam"]
    numbers = {text.get_text(): text.get_position() for text in texts(figure)}
    assert numbers["1.55"] == (1.5, 0.5)
    assert numbers["4.55"] == (0.5, 1.5)


def test_a_lost_field_says_so_and_a_missing_one_stays_empty() -> None:
    cells = [*GRID[:2], cell(GRID[2].params, {}, lost=2)]
    figure = figure_of(subject(cells), Heatmap())
    assert words(figure).count("lost") == 1
    (mesh,) = (each for each in figure.axes[0].collections if isinstance(each, QuadMesh))
    assert np.isnan(np.ma.MaskedArray(mesh.get_array()).filled(np.nan)).sum() == 2


def test_scattered_cells_are_dots_where_they_stand() -> None:
    draw = np.random.default_rng(0).uniform(0, 1, (40, 2))
    cells = [cell({"a": x, "b": y}, {"test/loss": [1 + x + y]}) for x, y in draw.tolist()]
    figure = figure_of(subject(cells), Heatmap())
    offsets = np.asarray(figure.axes[0].collections[0].get_offsets())
    assert sorted(map(tuple, offsets)) == sorted(map(tuple, draw))


def test_a_key_that_a_cell_does_not_have_is_left_to_the_config() -> None:
    cells = [
        cell(params, {"test/loss": [2.0 + at]})
        for at, params in enumerate(({}, {"a": 0}, {"b": 0}, {"a": 0, "b": 0}))
    ]
    axes = figure_of(subject(cells), Heatmap()).axes[0]
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [label.get_text() for label in labels] == ["0", "as in the config"]


SEARCH = [
    cell(
        {"optimizer.lr": 10.0**-at, "model.activation": ("relu", "tanh")[at % 2], "b": at},
        {"val/loss": [1.0 + at, 1.1 + at]},
    )
    for at in range(5)
]


def test_a_line_goes_through_the_values_of_its_cell() -> None:
    figure = figure_of(subject(SEARCH, "val/loss"), Parallel())
    (best,) = (line for line in figure.axes[0].lines if line.get_label() == "best")
    np.testing.assert_allclose(np.asarray(best.get_ydata()), [1, 0.25, 0, 0])
    lines = [each for each in figure.axes[0].collections if isinstance(each, LineCollection)]
    ends = sorted(float(line.get_segments()[0][-1, 1]) for line in lines)
    means = np.sqrt([(1 + at) * (1.1 + at) for at in range(5)])
    np.testing.assert_allclose(ends, ((means - means[0]) / (means[-1] - means[0]))[1:])
    names = {"lr", "activation", "b", "validation loss"}
    assert names <= set(words(figure))


def test_rows_are_the_cells_best_first() -> None:
    figure = figure_of(subject(SEARCH[::-1], "val/loss"), Cells())
    rows = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert rows[0] == "lr = 1, activation = relu, b = 0"
    assert rows[-1] == "lr = 10⁻⁴, activation = relu, b = 4"
    (line,) = (each for each in figure.axes[0].lines if each.get_label() == "validation loss")
    means = np.sqrt([(1 + at) * (1.1 + at) for at in range(5)])
    np.testing.assert_allclose(np.asarray(line.get_xdata()), means)


def test_of_many_cells_the_best_have_rows() -> None:
    cells = [cell({"a": n, "b": -n}, {"test/loss": [1.0 + n]}) for n in range(MOST_ROWS + 5)]
    figure = figure_of(subject(cells), Cells())
    assert len(figure.axes[0].get_yticklabels()) == MOST_ROWS
    assert f"The best {MOST_ROWS} of {MOST_ROWS + 5} cells" in notes(figure)


def test_the_gap_is_test_minus_train() -> None:
    cells = [
        cell({"k": k}, {"test/loss": [3.0 - k, 3.2 - k], "train/loss": [1.0, 1.1]})
        for k in (0.0, 1.0)
    ]
    figure = figure_of(subject(cells), Gap())
    (line,) = (each for each in figure.axes[0].lines if each.get_label() == "gap")
    np.testing.assert_allclose(np.asarray(line.get_ydata()), [2.05, 1.05])
    assert (
        title(figure) == "Test minus train loss goes from 2.05 ± 0.64 at k = 0 to 1.05 ± 0.64 at 1"
    )


LONG = "penalty.0." + "strength_" * 12


def cells_of(keys: int, count: int, *, long: bool = False, lost: int = 0) -> list[Cell]:
    """Cells of a search over so many keys, the last half of them no numbers."""
    draw = np.random.default_rng(keys)
    found = []
    for index in range(count):
        numbers = draw.uniform(1e-4, 1, keys).tolist()
        params = {
            f"{LONG if long else 'k'}{at}": value if at % 2 == 0 else f"choice {int(4 * value)}"
            for at, value in enumerate(numbers)
        }
        losses = (1 + draw.uniform(0, 9, 2)).tolist()
        metrics = {"train/loss": losses, "val/loss": losses, "test/loss": losses}
        found.append(cell(params, {} if index < lost else metrics, lost=2 if index < lost else 0))
    return found


SUBJECTS = {
    "two": cells_of(2, 8),
    "three": cells_of(3, 60),
    "eight": cells_of(8, 30),
    "long": cells_of(3, 12, long=True),
    "lost": cells_of(3, 6, lost=3),
    "many": cells_of(4, 200),
    "grid": [
        cell({"a": a, "b": b}, {"test/loss": [1.0 + a * b], "val/loss": [1.0 + a * b]})
        for a, b in product((0, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 1), range(12))
    ],
    "equal": [cell({"a": a, "b": 1 - a}, {"val/loss": [1.0]}) for a in range(3)],
}


@pytest.mark.parametrize("name", SUBJECTS)
def test_no_text_overlaps_another_or_leaves_the_sheet(name: str) -> None:
    made = subject(SUBJECTS[name], "val/loss")
    drawn: list[Picture] = pictures_of(made)
    assert len(drawn) >= 2
    for picture in drawn:
        figure = figure_of(made, picture, "dark")
        assert (picture.name, overlaps(figure), cut(figure)) == (picture.name, [], [])
