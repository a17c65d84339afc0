"""A stored sweep as cells, and what is said of the best of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from regrun.analysis.sweeps import (
    StoredSweep,
    best_cells,
    metric_of_cells,
    summarize_sweep,
)
from regrun.cli.conclusions import conclusions
from regrun.errors import CorruptInputError
from regrun.metrics import Metric
from regrun.store.sweep_dir import SweepDir
from tests.support.program import invoke
from tests.support.stored_sweeps import write_stored_sweep

Write = Callable[..., SweepDir]
TEST_LOSS = Metric("test", "loss")
CELLS = [{"optimizer.lr": 0.1}, {"optimizer.lr": 0.2}, {"optimizer.lr": 0.3}]
LOSSES = np.array([[3.0, 3.2, 3.1, 2.9], [1.0, 1.3, 0.9, 1.1], [1.05, 1.2, 1.0, 1.1]])


@pytest.fixture
def stored(tmp_path: Path) -> SweepDir:
    return write_stored_sweep(
        tmp_path / "sweep",
        CELLS,
        4,
        lambda cell, seed: {"train/loss": 0.5, "test/loss": float(LOSSES[cell, seed])},
    )


def change(files: SweepDir, number: int, seed: int, **changes: Any) -> None:
    path = files.path / f"{number:04d}-seed={seed}" / "summary.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_cells_stand_in_the_order_of_the_plan_with_their_runs_by_seed(stored: SweepDir) -> None:
    cells = StoredSweep(stored).cells
    assert [dict(cell.params) for cell in cells] == CELLS
    for cell, losses in zip(cells, LOSSES, strict=True):
        assert cell.values("test/loss") == {(seed, 0): loss for seed, loss in enumerate(losses)}
        assert [run.config["seed"] for run in cell.runs] == [0, 1, 2, 3]


def test_the_document_has_the_contracts_keys_and_students_intervals(stored: SweepDir) -> None:
    document = summarize_sweep(stored, TEST_LOSS, 1.0).to_dict()
    keys = {"sweep_dir", "runs", "completed", "diverged", "failed", "pruned", "cells", "best"}
    assert keys | {"seconds"} <= document.keys()
    assert document["runs"] == document["completed"] == 12
    for cell, losses in zip(document["cells"], LOSSES, strict=True):
        assert cell.keys() == {"params", "seeds", "metrics"}
        metric = cell["metrics"]["test/loss"]
        logs = np.log(losses)
        half = stats.t.ppf(0.975, 3) * logs.std(ddof=1) / 2
        assert metric["values"] == list(losses)
        assert metric["scale"] == "log"
        assert metric["mean"] == pytest.approx(np.exp(logs.mean()), rel=1e-12)
        assert metric["low"] == pytest.approx(np.exp(logs.mean() - half), rel=1e-12)
        assert metric["high"] == pytest.approx(np.exp(logs.mean() + half), rel=1e-12)
        assert metric["arithmetic_mean"] == pytest.approx(losses.mean(), rel=1e-12)


def test_the_best_cell_is_named_with_those_like_it_and_what_it_was_chosen_on(
    stored: SweepDir,
) -> None:
    best = summarize_sweep(stored, TEST_LOSS, 1.0).to_dict()["best"]
    assert best == {
        "params": CELLS[1],
        "metric": "test/loss",
        "selected_on": "test",
        "not_distinguishable": [CELLS[2]],
        "seeds_to_settle": [144],
    }


def test_the_highest_can_be_the_best(stored: SweepDir) -> None:
    for cell in range(3):
        for seed in range(4):
            change(stored, cell, seed, metrics={"test/accuracy": LOSSES[cell, seed] / 10})
    best = best_cells(StoredSweep(stored).cells, Metric("test", "accuracy"))
    assert [dict(cell.params) for cell in best] == CELLS[:1]


def test_every_way_to_end_is_counted(stored: SweepDir) -> None:
    change(stored, 0, 0, status="diverged", metrics={})
    change(stored, 0, 1, status="failed", metrics={})
    change(stored, 1, 0, status="pruned")
    (stored.path / "0002-seed=3" / "summary.json").unlink()
    document = summarize_sweep(stored, TEST_LOSS, 1.0).to_dict()
    counts = {name: document[name] for name in ("completed", "diverged", "failed", "pruned")}
    assert counts == {"completed": 8, "diverged": 1, "failed": 1, "pruned": 1}
    assert document["unfinished"] == 1
    assert document["runs"] == 12
    assert document["cells"][0]["metrics"]["test/loss"]["values"] == [3.1, 2.9]


def test_a_pruned_cell_cannot_be_the_best(stored: SweepDir) -> None:
    for seed in range(4):
        change(stored, 1, seed, status="pruned")
    best = summarize_sweep(stored, TEST_LOSS, 1.0).best
    assert best is not None
    assert best.params == CELLS[2]


def test_without_any_result_there_is_no_best(stored: SweepDir) -> None:
    for cell in range(3):
        for seed in range(4):
            change(stored, cell, seed, status="failed", metrics={}, weights={})
    document = summarize_sweep(stored, TEST_LOSS, 1.0).to_dict()
    assert document["best"] is None
    assert all(cell["metrics"] == {} for cell in document["cells"])


def test_cells_are_ordered_by_validation_where_all_that_ended_have_one(stored: SweepDir) -> None:
    assert metric_of_cells(StoredSweep(stored).cells) == TEST_LOSS
    for cell in range(3):
        for seed in range(4):
            change(stored, cell, seed, metrics={"val/loss": 1.0, "test/loss": 2.0})
    change(stored, 0, 0, status="failed", metrics={}, weights={})
    assert metric_of_cells(StoredSweep(stored).cells) == Metric("val", "loss")


def test_the_metric_that_was_chosen_is_remembered(stored: SweepDir) -> None:
    assert StoredSweep(stored).metric == TEST_LOSS
    stored.config.path.write_text("name: stored\nsweep: {metric: train/accuracy}\n")
    assert StoredSweep(stored).metric == Metric("train", "accuracy")


def test_a_stored_metric_that_does_not_exist_is_named_with_its_file(stored: SweepDir) -> None:
    stored.config.path.write_text("name: stored\nsweep: {metric: train/acuracy}\n")
    with pytest.raises(CorruptInputError, match=r"sweep\.yaml: sweep\.metric: 'train/acuracy'"):
        _ = StoredSweep(stored).metric


@pytest.mark.parametrize("damage", ["{", "[]", '{"epochs": 3}', "\0"])
def test_a_damaged_summary_is_named(stored: SweepDir, damage: str) -> None:
    path = stored.path / "0001-seed=2" / "summary.json"
    path.write_text(damage)
    with pytest.raises(CorruptInputError, match="0001-seed=2"):
        _ = StoredSweep(stored).cells


def test_a_damaged_plan_is_named_with_its_line(stored: SweepDir) -> None:
    stored.plan.path.write_text(stored.plan.path.read_text() + '{"runs": 3}\n')
    with pytest.raises(CorruptInputError, match=r"plan\.jsonl:2"):
        _ = StoredSweep(stored).cells


@pytest.mark.benchmark
def test_comparing_5000_runs_takes_little_more_than_reading_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    cells = [{"optimizer.weight_decay": 10 ** (k / 200 - 3)} for k in range(1000)]
    names = ("train/loss", "test/loss", "train/accuracy", "test/accuracy", "objective")
    files = write_stored_sweep(
        tmp_path / "sweep", cells, 5, lambda *_: dict(zip(names, rng.random(5), strict=True))
    )

    def seconds(act: Callable[[], Any]) -> float:
        started = time.process_time()
        act()
        return time.process_time() - started

    def read() -> None:
        for path in files.path.glob("*/summary.json"):
            json.loads(path.read_bytes())

    def compare() -> None:
        result = invoke("compare", files.path)
        assert result.exit_code == 0
        assert len(result.stdout.splitlines()) > 1000

    compare()  # with its imports
    reading, comparing = (min(seconds(act) for _ in range(3)) for act in (read, compare))
    with capsys.disabled():
        print(
            f"\ncompare of 5,000 runs: {comparing:.2f} s, "
            f"{comparing / reading:.1f} times reading their summaries"
        )


def test_a_cell_whose_runs_diverged_is_never_the_best(stored: SweepDir) -> None:
    """Their last values before the end look better than those of every other cell."""
    for seed in range(4):
        change(stored, 0, seed, status="diverged", metrics={"test/loss": 0.001})
    best = best_cells(StoredSweep(stored).cells, TEST_LOSS)
    assert [dict(cell.params) for cell in best] == [CELLS[1], CELLS[2]]
    document = summarize_sweep(stored, TEST_LOSS, 1.0).to_dict()
    assert document["cells"][0]["metrics"] == {}


def test_of_cells_that_lost_runs_those_that_lost_fewest_are_compared(stored: SweepDir) -> None:
    change(stored, 1, 0, status="diverged", metrics={"test/loss": 0.001})
    best = best_cells(StoredSweep(stored).cells, TEST_LOSS)
    assert [dict(cell.params) for cell in best] == [CELLS[2]]
    change(stored, 0, 0, status="failed", metrics={})
    change(stored, 2, 3, status="diverged", metrics={})
    best = best_cells(StoredSweep(stored).cells, TEST_LOSS)
    # The seeds that all three have are two, too few to exclude the worst.
    assert [dict(cell.params) for cell in best] == [CELLS[1], CELLS[2], CELLS[0]]
    lines = conclusions(StoredSweep(stored).cells, TEST_LOSS)
    assert lines[-1] == "1 of its 4 runs ended without a test/loss"


def test_what_was_not_compared_is_said(stored: SweepDir) -> None:
    change(stored, 1, 0, status="diverged", metrics={"test/loss": 0.001})
    change(stored, 1, 1, status="diverged", metrics={})
    lines = conclusions(StoredSweep(stored).cells, TEST_LOSS)
    assert lines[0].startswith("lowest test/loss: optimizer.lr=0.3")
    assert "not compared, since 2 of their runs diverged or failed: lr=0.2" in lines
