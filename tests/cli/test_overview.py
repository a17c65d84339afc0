"""What `regrun view` shows at first, of sweeps that nobody trained.

The module under test is `regrun.analysis.overview`; stored runs with curves are made here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from regrun.analysis.board import OWN, Board
from regrun.analysis.overview import HIGH, LOW, MOST_LINES, View, every_run, overview
from regrun.store.sweep_dir import SweepDir

Write = Callable[..., SweepDir]


def seen(root: Path) -> View:
    return overview(Board(root), lambda sweep: f"the answer of {sweep.name}")


def names(view: View) -> list[str]:
    return [each.name for each in view.shown]


def test_a_sweep_is_shown_as_its_cells_best_first(write_sweep: Write, tmp_path: Path) -> None:
    write_sweep(4, 3)
    view = seen(tmp_path / "runs")
    # |cell − 2| is 2, 1, 0, 1
    assert names(view) == [f"weight_decay={cell}" for cell in (2, 1, 3, 0)]
    assert view.note == "4 settings are shown, as means of 12 runs"
    assert (view.metric, view.swept) == ("test/loss", ["optimizer.weight_decay"])
    assert [line for line, _ in view.shown[0].lines()] == [
        "weight_decay=2", "weight_decay=2/train", "weight_decay=2/test",
    ]  # fmt: skip


def test_its_curves_are_geometric_means_with_students_intervals(
    write_sweep: Write, tmp_path: Path
) -> None:
    write_sweep(3, 3)
    best = seen(tmp_path / "runs").shown[0]
    epochs, seeds = np.arange(1, 6)[:, None], np.arange(3)
    logs = np.log(10 + 0.1 * seeds + np.exp(-epochs))
    half = stats.t.ppf(0.975, 2) * logs.std(axis=1, ddof=1) / np.sqrt(3)
    curves = best.parts["test"]
    assert curves["loss"].steps.tolist() == [4, 8, 12, 16, 20]
    np.testing.assert_allclose(curves["loss"].values, np.exp(logs.mean(axis=1)), rtol=1e-12)
    for form, sign in ((LOW, -1), (HIGH, 1)):
        bound = curves[form.format("loss")]
        assert bound.steps.tolist() == [4, 8, 12, 16, 20]
        np.testing.assert_allclose(
            bound.values, np.exp(logs.mean(axis=1) + sign * half), rtol=1e-12
        )
    assert curves["loss"].last == curves["loss"].values[-1]
    gap = best.parts[OWN]["loss/gap"]
    np.testing.assert_allclose(gap.values, 10.1, rtol=1e-12)
    # Equal curves of all seeds say nothing of their spread.
    assert len(best.parts["train"][LOW.format("loss")].steps) == 0


def test_a_cell_with_one_run_has_its_curve_and_no_interval(
    write_sweep: Write, tmp_path: Path
) -> None:
    write_sweep(2, 1)
    assert seen(tmp_path / "runs").shown[0].parts["test"].keys() == {"loss"}


def test_lost_runs_are_in_no_mean_and_others_count_to_the_end_of_the_shortest(
    write_sweep: Write, tmp_path: Path
) -> None:
    write_sweep(
        1,
        3,
        status=lambda cell, seed: "diverged" if seed == 1 else "completed",
        epochs=lambda cell, seed: 5 - seed,
    )
    (cell,) = seen(tmp_path / "runs").shown
    curve = cell.parts["test"]["loss"]
    assert curve.steps.tolist() == [4, 8, 12]
    expected = np.sqrt((12 + np.exp(-np.arange(1, 4))) * (12.2 + np.exp(-np.arange(1, 4))))
    np.testing.assert_allclose(curve.values, expected, rtol=1e-12)
    assert cell.status == "completed"


@pytest.mark.parametrize(("cells", "shown"), [(1, 1), (13, 13), (14, 13), (67, 13)])
def test_no_more_lines_are_shown_than_tensorboard_ticks(
    write_sweep: Write, tmp_path: Path, cells: int, shown: int
) -> None:
    write_sweep(cells, 1)
    view = seen(tmp_path / "runs")
    lines = sum(len(list(each.lines())) for each in view.shown)
    assert len(view.shown) == shown
    assert lines <= MOST_LINES
    assert len(view.all) == cells
    if shown < cells:
        assert view.note == f"the 13 best of {cells} settings by test/loss are shown"
        assert names(view)[0] == "weight_decay=2"


def test_runs_that_are_alone_are_shown_as_they_are(make_run: Any, tmp_path: Path) -> None:
    for number in range(2):
        make_run(f"run{number}", seed=number)
    view = seen(tmp_path / "runs")
    assert sorted(names(view)) == ["toy/run0", "toy/run1"]
    assert view.note == ""


def test_of_many_runs_the_newest_are_shown(make_run: Any, tmp_path: Path) -> None:
    for number in range(15):
        make_run(f"run{number:02d}")
    view = seen(tmp_path / "runs")
    assert names(view) == [f"toy/run{number:02d}" for number in range(14, 1, -1)]
    assert view.note == "13 of 15 runs are shown, the newest first"


def test_several_sweeps_keep_their_directories_apart(write_sweep: Write, tmp_path: Path) -> None:
    for name in ("sweep-a", "sweep-b"):
        write_sweep(2, 2, name)
    view = seen(tmp_path / "runs")
    assert names(view) == [
        f"toy/sweep-{each}/weight_decay={cell}" for each in "ba" for cell in (1, 0)
    ]
    assert [each.cards.keys() for each in view.shown[:2]] == [{"answer", "config"}, set()]
    assert view.shown[0].cards["answer"]() == "the answer of sweep-b"


def test_the_sweep_itself_and_one_of_its_runs_can_be_looked_at(
    write_sweep: Write, tmp_path: Path
) -> None:
    files = write_sweep(2, 2)
    assert names(seen(files.path)) == ["weight_decay=1", "weight_decay=0"]
    (run,) = seen(files.path / "0001-seed=0").shown
    assert [line for line, _ in run.lines()] == [".", "train", "test"]


def test_a_confirmation_is_shown_apart_from_what_it_confirms(
    write_sweep: Write, tmp_path: Path
) -> None:
    write_sweep(1, 2, purposes=("cells", "confirmation"))
    assert names(seen(tmp_path / "runs")) == ["weight_decay=0", "weight_decay=0 confirmed"]


def test_everything_is_each_single_run(write_sweep: Write, tmp_path: Path) -> None:
    write_sweep(30, 2)
    view = every_run(Board(tmp_path / "runs"))
    assert len(view.shown) == 60
    assert view.shown[0].name == "toy/sweep-a/0000-seed=0"


def test_a_damaged_run_is_left_out_and_the_others_are_shown(
    write_sweep: Write, tmp_path: Path
) -> None:
    files = write_sweep(2, 2)
    (files.path / "0000-seed=1" / "metrics.jsonl").write_text("{\n")
    board = Board(tmp_path / "runs")
    assert len(board.runs()) == 3
    assert [path.name for path in board.damaged] == ["0000-seed=1"]
    assert names(overview(board, str)) == ["weight_decay=1", "weight_decay=0"]
