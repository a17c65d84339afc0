"""The data of the charts: the numbers of the cells, and no more of them than a page holds."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from regrun.cli.reports.charts import (
    MOST_NUMBERS,
    Chart,
    cells_chart,
    curves_chart,
    effects_chart,
    path_chart,
)
from regrun.errors import CorruptInputError
from regrun.pictures.curves import chosen_cells
from regrun.pictures.subject import Subject, load_subject
from regrun.results import AblationResult, BestStrength, Difference, Effect, PathResult, Seconds
from tests.cli.conftest import WriteSweep
from tests.support.drawn import cell, subject


def data_of(chart: Chart | None) -> dict[str, Any]:
    assert chart is not None
    found: dict[str, Any] = json.loads(chart.to_json())
    return found


def swept(*values: float, metric: str = "test/loss") -> Subject:
    return subject(
        [
            cell(
                {"optimizer.lr": value}, {"train/loss": [value, 2 * value], metric: [1, 1 + value]}
            )
            for value in values
        ],
        metric,
    )


def test_every_cell_has_its_mean_interval_and_single_seeds() -> None:
    made = swept(0.1, 0.2, 0.4)
    found = data_of(cells_chart(made))
    assert found["names"] == ["lr = 0.1", "lr = 0.2", "lr = 0.4"]
    assert found["across"][0]["scale"]["label"] == "optimizer.lr"
    assert found["across"][0]["places"] == [0.1, 0.2, 0.4]
    loss = found["up"][0]
    assert (loss["scale"]["label"], [each["name"] for each in loss["groups"]]) == (
        "loss", ["train", "test"],
    )  # fmt: skip
    (line,) = loss["groups"][1]["lines"]
    for at, each in enumerate(made.cells):
        interval = each.interval("test/loss")
        assert interval is not None
        expected = (interval.mean, interval.low, interval.high)
        assert (line["y"][at], line["low"][at], line["high"][at]) == pytest.approx(expected, 1e-4)
    assert loss["groups"][1]["dots"][:2] == [[0, 1, "seed 0"], [0, 1.1, "seed 1"]]
    assert loss["scale"]["low"] <= min(line["low"])


def test_a_lost_cell_is_marked_and_has_no_mean() -> None:
    cells = [cell({"k": 1}, {"test/loss": [1.0, 1.1]}), cell({"k": 2}, {}, lost=2)]
    found = data_of(cells_chart(subject(cells)))
    assert found["lost"] == [[1, "2 of 2 runs diverged or failed"]]
    assert found["up"][0]["groups"][0]["lines"][0]["m"] == [0]


@pytest.mark.parametrize("count", [12, 13])
def test_of_many_cells_those_of_the_picture_of_curves_are_ticked(count: int) -> None:
    made = swept(*(0.1 * (1 + at) for at in range(count)))
    expected = [*range(count)]
    if count > 12:
        expected = sorted(list(made.cells).index(each) for each in chosen_cells(made))
        assert len(expected) < count
    assert data_of(cells_chart(made))["ticked"] == expected


@pytest.mark.parametrize(
    ("values", "places", "labels"),
    [
        ([0, 0.01, 1], None, ["0", "0.01", "1"]),
        (["relu", "tanh", "relu"], [0, 1, 0], ["relu", "tanh"]),
        ([1, 2, 3], [1, 2, 3], ["1", "2", "3"]),
    ],
)
def test_marks_stand_at_their_values(values: Any, places: Any, labels: list[str]) -> None:
    cells = [cell({"a": v, "b": at}, {"test/loss": [1.0]}) for at, v in enumerate(values)]
    across = data_of(cells_chart(subject(cells)))["across"][0]
    assert [text for _, text in across["scale"]["ticks"]] == labels
    assert places is None or across["places"] == places
    low, high = across["scale"]["low"], across["scale"]["high"]
    assert all(low < place < high for place in across["places"])
    if places is None:  # 0 has a place of its own on a logarithmic axis
        assert 0 < across["places"][0] < across["places"][1] == 0.01


def test_the_better_a_cell_the_stronger_its_colour() -> None:
    losses = swept(0.1, 0.2, 0.4)
    scores = subject(
        [cell({"k": v}, {"test/accuracy": [v]}) for v in (0.5, 0.7, 0.9)], "test/accuracy"
    )
    assert data_of(cells_chart(losses))["shares"] == sorted(
        data_of(cells_chart(losses))["shares"], reverse=True
    )
    assert data_of(cells_chart(scores))["shares"] == [0, 0.5, 1]


def test_curves_are_those_of_the_stored_metrics(write_sweep: WriteSweep) -> None:
    files = write_sweep(3, 2)
    found = data_of(curves_chart(load_subject(files.path), lambda damage: None))
    groups = {each["name"]: each["lines"] for each in found["up"][0]["groups"]}
    assert [len(lines) for lines in groups.values()] == [6, 6]
    assert [line["m"] for line in groups["test"]] == [0, 0, 1, 1, 2, 2]
    assert {line["name"] for line in groups["test"]} == {"seed 0", "seed 1"}
    assert found["xs"] == [[1, 2, 3, 4, 5]]
    stored = [json.loads(line) for line in
              (files.path / "0002-seed=1" / "metrics.jsonl").read_text().splitlines()]  # fmt: skip
    assert groups["test"][-1]["y"] == pytest.approx([row["test/loss"] for row in stored], 1e-4)


def test_a_run_with_damaged_metrics_is_named_and_left_out(write_sweep: WriteSweep) -> None:
    files = write_sweep(3, 2)
    (files.path / "0001-seed=1" / "metrics.jsonl").write_bytes(b"{")
    damaged: list[CorruptInputError] = []
    found = data_of(curves_chart(load_subject(files.path), damaged.append))
    assert [len(each["lines"]) for each in found["up"][0]["groups"]] == [5, 5]
    assert ["0001-seed=1" in str(each) for each in damaged] == [True]


def test_the_more_curves_the_fewer_points(
    write_sweep: WriteSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = write_sweep(2, 2, epochs=lambda cell, seed: 100)
    made = load_subject(files.path)
    monkeypatch.setattr("regrun.cli.reports.charts.MOST_NUMBERS", 2 * 8 * 11)
    found = data_of(curves_chart(made, lambda damage: None))
    (xs,) = found["xs"]
    assert (len(xs), xs[0], xs[-1]) == (11, 1, 100)


@pytest.mark.long
def test_curves_of_a_thousand_runs_fit_into_a_page(write_sweep: WriteSweep) -> None:
    files = write_sweep(200, 5, epochs=lambda cell, seed: 200)
    chart = curves_chart(load_subject(files.path), lambda damage: None)
    assert chart is not None
    assert sum(len(line.ys) for group in chart.up[0].groups for line in group.lines) < MOST_NUMBERS
    assert len(chart.to_json()) < 2_500_000


def test_a_path_has_all_losses_and_its_largest_coefficients() -> None:
    weights = np.outer([0, 1, 2], np.arange(70)).tolist()
    path = PathResult(
        path_dir="", strengths=[4.0, 2.0, 1.0], intercepts=[0.0] * 3, coefficients=weights,
        nonzeros=[0, 69, 69], feature_names=[f"x{at}" for at in range(70)], converged=True,
        metrics={"train/loss": [9.0, 4.0, 1.0], "cv/loss": [9.5, 5.0, 2.5],
                 "cv/standard_error": [1.0, 1.0, 0.5]},
        best=BestStrength(strength=1.0, one_standard_error=2.0),
    )  # fmt: skip
    found = data_of(path_chart(path))
    loss, coefficient, count = found["up"]
    assert loss["groups"][1]["lines"][0]["low"] == [8.5, 4, 2]
    assert [each["name"] for each in coefficient["groups"]] == [f"x{at}" for at in range(69, 9, -1)]
    assert coefficient["groups"][0]["lines"][0]["y"] == [0, 69, 138]
    assert count["groups"][0]["lines"][0]["y"] == [0, 69, 69]
    assert (found["best"], found["names"][0]) == ([2, 1], "λ = 4")


def test_an_effect_has_its_ratio_and_interval() -> None:
    ratio = Difference(mean=0.5, low=0.4, high=0.7, scale="log", p=0.01, adjusted_p=0.01, n=3)
    unknown = ratio.model_copy(update={"n": 0})
    effects = [
        Effect(ingredient=name, left_out=ratio, alone=ratio, interaction=unknown, interacts=False)
        for name in ("dropout", "decay")
    ]
    result = AblationResult(
        sweep_dir="", runs=9, completed=9, diverged=0, failed=0, pruned=0, unfinished=0, cells=[],
        best=None, seconds=Seconds(total=1), metric="test/loss", ingredients=["dropout", "decay"],
        effects=effects,
    )  # fmt: skip
    (up,) = data_of(effects_chart(result))["up"]
    assert (up["scale"]["label"], up["scale"]["rule"]) == ("factor on test loss", 1)
    assert [each["name"] for each in up["groups"]] == ["in company", "alone"]
    line = up["groups"][0]["lines"][0]
    assert (line["y"], line["low"], line["high"]) == ([0.5] * 2, [0.4] * 2, [0.7] * 2)


def test_no_text_can_end_the_element_that_holds_the_data() -> None:
    hostile = "</script><!--&\x1b\u202e"
    made = subject([cell({hostile: at, "b": hostile}, {"test/loss": [1.0]}) for at in range(2)])
    chart = cells_chart(made)
    assert chart is not None
    text = chart.to_json()
    assert not set("<>&\x1b\u202e") & set(text)
    assert r"\x1b\u202e" in str(json.loads(text)["names"][0]).replace("\\\\", "\\")


def test_a_single_cell_needs_no_chart_of_cells() -> None:
    assert cells_chart(swept(0.1)) is None
    assert curves_chart(swept(0.1), lambda damage: None) is None
