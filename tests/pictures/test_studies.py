"""Pictures of ablations, paths, reproductions and confusion matrices."""

from __future__ import annotations

import warnings
from pathlib import Path as FilePath

import numpy as np
import pytest
from matplotlib.axes import Axes

from regrun.analysis.cells import Cell
from regrun.analysis.sweeps import SweptRun
from regrun.pictures.claims import Claims
from regrun.pictures.confusion import Confusion
from regrun.pictures.effects import Effects
from regrun.pictures.files import figure_of, picture_files
from regrun.pictures.path import Path
from regrun.pictures.subject import Subject
from regrun.results import (
    AblationResult,
    CellSummary,
    ClassCount,
    DataCard,
    Difference,
    Effect,
    Estimate,
    InputCard,
    Judgement,
    PathResult,
    ReproductionResult,
    RunSummary,
    Seconds,
)
from regrun.store.run_dir import RunDir
from tests.support.drawn import cut, line_of, overlaps, subject, title, words
from tests.support.paths import a_path

NOWHERE = FilePath("runs/some/directory")


def difference(mean: float, low: float, high: float, p: float) -> Difference:
    return Difference(mean=mean, low=low, high=high, scale="log", p=p, adjusted_p=p, n=5)


def ablation(*effects: Effect) -> Subject:
    result = AblationResult(
        sweep_dir=str(NOWHERE), runs=5, completed=5, diverged=0, failed=0, pruned=0, unfinished=0,
        cells=[CellSummary(params={}, seeds=5, metrics={})], best=None, seconds=Seconds(total=1),
        metric="val/loss", ingredients=[each.ingredient for each in effects], effects=[*effects],
    )  # fmt: skip
    return Subject(NOWHERE, ablation=result)


DROPOUT = Effect(
    ingredient="dropout",
    left_out=difference(0.62, 0.55, 0.7, 0.001),
    alone=difference(0.8, 0.6, 1.1, 0.2),
    interaction=difference(0.78, 0.6, 0.9, 0.01),
    interacts=True,
)
DECAY = DROPOUT.model_copy(
    update={"ingredient": "weight_decay", "left_out": difference(1.02, 0.9, 1.2, 0.7),
            "interacts": False}
)  # fmt: skip


def test_a_forest_has_the_ratio_and_interval_of_every_effect() -> None:
    figure = figure_of(ablation(DROPOUT, DECAY), Effects())
    axes = figure.axes[0]
    rows = [tick.get_text() for tick in axes.get_yticklabels()]
    assert rows == [
        "dropout, in company", "dropout, alone", "dropout, interaction",
        "weight_decay, in company", "weight_decay, alone",
    ]  # fmt: skip
    means = {row: line_of(figure, row)[0].tolist() for row in rows}
    assert means["dropout, in company"] == [0.62]
    assert means["weight_decay, in company"] == [1.02]
    spans = [np.asarray(line.get_xdata()).tolist() for line in axes.lines]
    assert [0.55, 0.7] in spans
    assert [0.9, 1.2] in spans
    assert "0.620 × [0.550, 0.700] *" in words(figure)
    assert title(figure) == (
        "dropout lowers validation loss to 0.620 × [0.550, 0.700]; no certain effect of 1 other"
    )
    assert (overlaps(figure), cut(figure)) == ([], [])


def test_without_a_certain_effect_the_title_says_so() -> None:
    figure = figure_of(ablation(DECAY, DECAY.model_copy(update={"ingredient": "other"})), Effects())
    assert title(figure) == "No ingredient has a certain effect on validation loss"
    alone = figure_of(ablation(DECAY), Effects())
    assert title(alone) == "weight_decay has no certain effect on validation loss"


def test_only_a_certain_difference_is_filled() -> None:
    figure = figure_of(ablation(DROPOUT, DECAY), Effects())
    filled = {
        str(line.get_label()): line.get_markerfacecolor() != "#ffffff"
        for line in figure.axes[0].lines
        if line.get_marker() in ("o", "D")
    }
    assert filled == {
        "dropout, in company": True, "dropout, alone": False, "dropout, interaction": True,
        "weight_decay, in company": False, "weight_decay, alone": False,
    }  # fmt: skip


def reproduction(*claims: Judgement) -> Subject:
    result = ReproductionResult(
        name="made", title="Made up", source="Nobody, 2000", budget="5 seeds", published_budget="1",
        remark="", verdict="agrees", claims=[*claims], methods=[], runs_in=[], seconds=1.0, runs=5,
        completed=5, diverged=0, failed=0,
    )  # fmt: skip
    return Subject(NOWHERE, reproduction=result)


def test_claims_show_the_published_range_and_our_interval() -> None:
    ours = Estimate(mean=13.1, low=12.6, high=13.7, n=8)
    made = reproduction(
        Judgement(claim="norm", published="13", ours=ours, verdict="agrees", agreeing=[11.5, 14.5]),
        Judgement(claim="order", published="lower", ours=ours, verdict="differs",
                  agreeing=[None, 0.0]),
        Judgement(claim="names", published="a, b", ours="a, b", verdict="agrees"),
        Judgement(claim="shown", published="", ours=None, verdict=None),
    )  # fmt: skip
    figure = figure_of(made, Claims())
    first, second, *_ = figure.axes
    assert line_of(figure, "norm")[0].tolist() == [13.1]
    assert [12.6, 13.7] in [np.asarray(line.get_xdata()).tolist() for line in first.lines]
    (box,) = (
        patch.get_extents().transformed(first.transData.inverted()) for patch in first.patches
    )
    assert (box.x0, box.x1) == pytest.approx((11.5, 14.5))
    (box,) = (
        patch.get_extents().transformed(second.transData.inverted()) for patch in second.patches
    )
    assert (box.x0, box.x1) == pytest.approx((second.get_xlim()[0], 0))
    assert title(figure) == "Made up: 2 of 3 claims agree, 1 differs"
    assert {"agrees", "differs", "not judged"} <= set(words(figure))
    assert (overlaps(figure), cut(figure)) == ([], [])


def shaded(axes: Axes) -> tuple[float, float]:
    """The ends of the one shaded range."""
    (patch,) = axes.patches
    box = patch.get_extents().transformed(axes.transData.inverted())
    return box.x0, box.x1


MATRIX = [[8, 2, 0], [1, 9, 0], [0, 4, 6]]


def classified(names: list[str], seeds: int = 1) -> Subject:
    size = len(names)
    matrix = MATRIX if size == 3 else np.eye(size, dtype=int).tolist()
    card = DataCard(
        dataset="made", task="classification", sizes={"test": 30},
        classes=[ClassCount(name=name, train=1) for name in names],
        input=InputCard(shape=[1], dtype="text"),
    )  # fmt: skip
    runs = [
        SweptRun(
            RunDir(NOWHERE),
            {"seed": seed},
            RunSummary(
                run_dir="", status="completed", metrics={"test/loss": 1.0},
                confusion={"test": matrix}, data=card,
            ),
        )
        for seed in range(seeds)
    ]  # fmt: skip
    return subject([Cell({}, runs)])


def test_the_matrix_has_counts_and_shares_of_all_seeds() -> None:
    figure = figure_of(classified(["cat", "dog", "owl"], seeds=2), Confusion())
    numbers = {text for text in words(figure) if text.isdigit()}
    assert numbers == {str(2 * count) for row in MATRIX for count in row if count}
    shares = np.asarray(figure.axes[0].collections[0].get_array()).reshape(3, 3)
    np.testing.assert_allclose(shares, np.array(MATRIX) / 10)
    assert title(figure) == (
        "76.7% of test examples are classified right; most often owl is taken for dog (40% of it)"
    )


@pytest.mark.parametrize("count", [2, 10, 20, 60])
def test_names_of_classes_do_not_overlap(count: int) -> None:
    figure = figure_of(classified([f"class number {index}" for index in range(count)]), Confusion())
    assert title(figure) == "Every test example is classified right"
    assert (overlaps(figure), cut(figure)) == ([], [])


@pytest.mark.parametrize(
    "made",
    [
        a_path(),
        a_path(features=25),
        a_path(features=4, outputs=3),
        a_path(number=3, ratio=0.9),
        a_path(ratio=1e-9),
        a_path().model_copy(update={"coefficients": [[0.0, 0.0, 0.0]] * 5, "nonzeros": [0] * 5}),
    ],
)
def test_a_path_is_drawn_without_a_warning_or_overlap_and_always_alike(made: PathResult) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = figure_of(Subject(NOWHERE, path=made), Path())
        pictures = picture_files(Subject(NOWHERE, path=made), Path())
    assert (overlaps(figure), cut(figure)) == ([], [])
    assert [*pictures] == ["path.png", "path.svg", "path-dark.png", "path-dark.svg"]
    assert picture_files(Subject(NOWHERE, path=made), Path()) == pictures


def test_a_path_shows_its_coefficients_and_chosen_strengths() -> None:
    made = a_path()
    figure = figure_of(Subject(NOWHERE, path=made), Path())
    coefficients = np.asarray(made.coefficients)
    for column, name in enumerate(("feature 0 of …g name", "feature 1 of …g name")):
        strengths, drawn = line_of(figure, name)
        np.testing.assert_allclose(strengths, made.strengths)
        np.testing.assert_allclose(drawn, coefficients[:, column])
    for axes in figure.axes:
        upright = [np.asarray(line.get_xdata()) for line in axes.lines]
        at = [x[0] for x in upright if len(x) == 2 and x[0] == x[1]]
        assert {made.best.strength, made.best.one_standard_error} <= set(at)
    assert title(figure).startswith("Cross-validated loss is lowest at λ = 0.3, with 3 non-zeros")


def test_coefficients_of_classes_have_their_names() -> None:
    card = DataCard(
        dataset="made", task="classification", sizes={},
        classes=[ClassCount(name=name, train=1) for name in ("cat", "dog", "owl")],
        input=InputCard(shape=[1], dtype="text"),
    )  # fmt: skip
    made = a_path(features=2, outputs=3).model_copy(
        update={"feature_names": ["a", "b"], "data": card}
    )
    figure = figure_of(Subject(NOWHERE, path=made), Path())
    assert {"a[cat]", "b[cat]", "a[owl]", "b[owl]"} <= set(words(figure))
