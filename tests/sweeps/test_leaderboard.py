"""The best cell so far, against the summary of the sweep that it is seen in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp, log, nan
from typing import Any

import numpy as np
import pytest

from regrun.cli.request import with_overrides
from regrun.config.load import config_from_mapping
from regrun.execution.observer import Observer, Standing
from regrun.metrics import Metric
from regrun.results import Scale
from regrun.store.sweep_dir import PlannedRun
from regrun.sweeps.leaderboard import Leaderboard
from regrun.sweeps.run import Options, resume_sweep, run_sweep
from regrun.sweeps.shared_progress import ENDED, LOST, RUNNING
from tests.support.sweeps import DIGITS, with_keys


def board(metric: str, scale: Scale, runs: Sequence[PlannedRun]) -> Leaderboard:
    found = Leaderboard(Metric.from_name(metric), scale)
    found.add(runs)
    return found


RUNS = [
    PlannedRun(cell, {"lr": cell}, seed, f"{cell}-{seed}") for cell in (0, 1) for seed in (0, 1)
]


@pytest.mark.parametrize(
    ("metric", "scale", "values", "states", "best", "value"),
    [
        ("test/loss", "log", [1, 4, 3, 3], [ENDED] * 4, 0, 2.0),
        ("test/loss", "linear", [1, 6, 3, 3], [ENDED] * 4, 1, 3.0),
        ("test/loss", "log", [0, 6, 2, 2], [ENDED] * 4, 1, 2.0),  # no logarithm of 0
        ("test/accuracy", "fraction", [0.5, 0.7, 0.8, 0.8], [ENDED] * 4, 1, 0.8),
        ("test/loss", "log", [1, 1, 3, 3], [ENDED, LOST, ENDED, ENDED], 1, 3.0),
        ("test/loss", "log", [nan, 5, 3, nan], [RUNNING] * 4, 1, 3.0),
    ],
)
def test_the_best_cell_has_the_best_mean_and_has_lost_no_run(
    metric: str, scale: Scale, values: list[float], states: list[int], best: int, value: float
) -> None:
    found = board(metric, scale, RUNS)
    found.take(RUNS, np.array(values, float), np.array(states))
    standing = found.standing()
    assert standing.best == {"lr": best}
    assert standing.value == pytest.approx(value)
    assert standing.ended == sum(state != RUNNING for state in states)


def test_nothing_is_the_best_before_anything_is_measured() -> None:
    assert board("test/loss", "log", RUNS).standing() == Standing(0, 4, "test/loss")


def test_runs_of_a_confirmation_count_and_are_not_compared() -> None:
    found = board("test/loss", "log", RUNS)
    found.take(RUNS, np.array([2.0, 2, 3, 3]), np.full(4, ENDED))
    again = [PlannedRun(0, {"lr": 0}, 9, "0-9")]
    found.add(again, compared=False)
    found.take(again, np.array([9.0]), np.array([ENDED]))
    standing = found.standing()
    assert (standing.ended, standing.runs, standing.cells) == (5, 5, 2)
    assert standing.value == pytest.approx(2.0)


class Last(Observer):
    """Keeps how the sweep stood when it was last said."""

    def __init__(self) -> None:
        self.standings: list[Standing] = []

    def on_standing(self, standing: Callable[[], Standing]) -> None:
        self.standings.append(standing())


@pytest.mark.parametrize(
    "sweep",
    [
        {"grid": {"optimizer.lr": [0.01, 0.1]}, "seeds": 2, "metric": "test/accuracy"},
        {"grid": {"optimizer.lr": [0.01, 0.1]}, "seeds": 2},
        {
            "search": "random",
            "trials": 5,
            "space": {"optimizer.lr": {"log_uniform": [0.01, 0.1]}},
            "select_on_test": True,
        },
    ],
)
def test_in_the_end_it_is_the_best_cell_of_the_summary(tmp_path: Any, sweep: Any) -> None:
    config = config_from_mapping(with_keys(DIGITS, sweep=sweep))
    watcher = Last()
    options = Options("cpu", workers=0)
    summary = run_sweep(config, runs_dir=tmp_path, options=options, observer=watcher)
    last = watcher.standings[-1]
    assert summary.best is not None
    assert (last.ended, last.runs, last.metric) == (summary.runs,) * 2 + (summary.best.metric,)
    assert last.best == summary.best.params
    (cell,) = [each for each in summary.cells if each.params == last.best]
    assert last.value == pytest.approx(cell.metrics[last.metric].mean)


def test_a_resumed_sweep_knows_what_ended_before(tmp_path: Any) -> None:
    sweep = {"grid": {"optimizer.lr": [0.01, 0.1]}, "seeds": 2}
    config = config_from_mapping(with_keys(DIGITS, sweep=sweep))
    first = run_sweep(config, runs_dir=tmp_path, options=Options("cpu", workers=0))
    (directory,) = (tmp_path / "small").glob("sweep-*")
    watcher = Last()
    reload = with_overrides(["sweep.seeds=3"], axes=True)
    again = resume_sweep(directory, reload=reload, seeds=3, observer=watcher)
    assert (first.runs, again.runs) == (4, 6)
    values = [each.metrics["val/loss"].values for each in again.cells]
    means = [exp(sum(map(log, each)) / 3) for each in values]
    assert watcher.standings[-1].ended == 6
    assert watcher.standings[-1].value == pytest.approx(min(means))
