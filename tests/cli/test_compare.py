"""`regrun compare`: rows, intervals, JSON, CSV, and what may be said about the best row."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def program_config(tmp_path: Path) -> Path:
    """A config that trains in a moment."""
    path = tmp_path / "little.yaml"
    path.write_text(
        "dataset: {name: synthetic_linear, num_features: 6, num_train: 10, num_test: 15}\n"
        "model: {name: linear}\n"
        "optimizer: {name: sgd, lr: 0.01}\n"
        "training: {epochs: 2, batch_size: 5}\n"
    )
    return path


@pytest.fixture
def seeded(make_run: Any, tmp_path: Any) -> Any:
    """Decay 0, 1 and 3 over four seeds; 1 and 3 overlap, 0 is far off."""
    bumps = [0.0, 0.004, -0.003, 0.001]
    for decay, loss in ((0.0, 170.0), (1.0, 0.020), (3.0, 0.021)):
        for seed, bump in enumerate(bumps):
            sign = -1 if decay == 3.0 else 1
            make_run(f"d{decay}s{seed}", seed=seed, decay=decay, test=loss + sign * bump)
    return tmp_path / "runs"


def test_single_runs_are_rows_with_what_differs(invoke: Any, make_run: Any, tmp_path: Any) -> None:
    make_run("plain", decay=0.0, test=170.0)
    make_run("decayed", decay=3.0, test=0.125)
    result = invoke("compare", tmp_path / "runs")
    header, *rows = result.stdout.splitlines()
    assert header.split() == ["weight_decay", "run", "test", "loss", "gap"]
    assert [row.split() for row in rows[:2]] == [
        ["0", "plain", "170", "169.5"],
        ["●", "3", "decayed", "0.125", "-0.375"],
    ]
    assert "in all rows: train loss 0.5, ‖w‖₂ 13.25, sparsity 0, completed" in rows
    assert "one seed cannot distinguish a difference from chance" in result.stdout


def test_runs_may_be_named_one_by_one(invoke: Any, make_run: Any) -> None:
    first, second = make_run("a"), make_run("b", decay=1.0)
    make_run("c", decay=2.0)
    cells = json.loads(invoke("compare", first, second, "--json").stdout)
    assert [[run["run_dir"] for run in cell["runs"]] for cell in cells] == [
        [str(first)],
        [str(second)],
    ]


def test_a_cell_as_json_holds_the_summaries_of_its_runs(
    invoke: Any, make_run: Any, tmp_path: Any
) -> None:
    directory = make_run("a")
    (cell,) = json.loads(invoke("compare", tmp_path / "runs", "--json").stdout)
    assert cell.keys() == {"params", "seeds", "metrics", "runs"}
    stored = json.loads((directory / "summary.json").read_text())
    stored.pop("checksum")
    assert cell["runs"] == [stored]


def test_json_has_one_shape_for_runs_seeds_and_sweeps(
    invoke: Any, program_config: Path, tmp_path: Path
) -> None:
    """From real runs: two of one setting, then a sweep of the same two."""
    runs = tmp_path / "runs"
    for seed in (0, 1):
        invoke("train", program_config, f"seed={seed}", "--runs-dir", runs / "alone")
    invoke("sweep", program_config, "sweep.vary=[seed]", "--seeds", 2, "--runs-dir", runs / "swept")
    (sweep,) = (runs / "swept").glob("*/sweep-*")
    alone = json.loads(invoke("compare", runs / "alone", "--json").stdout)
    one = json.loads(invoke("compare", *(runs / "alone").glob("*/seed=0*"), "--json").stdout)
    swept = json.loads(invoke("compare", sweep, "--json").stdout)
    for cells, seeds in ((alone, 2), (one, 1), (swept, 2)):
        (cell,) = cells
        assert cell.keys() == {"params", "seeds", "metrics", "runs"}
        assert cell["seeds"] == len(cell["runs"]) == seeds
        loss = cell["metrics"]["test/loss"]
        assert loss["values"] == [run["metrics"]["test/loss"] for run in cell["runs"]]
        assert cell["runs"][0]["weights"]["per_layer"].keys() == {"output.weight"}
    assert alone[0]["metrics"]["test/loss"]["values"] == pytest.approx(
        swept[0]["metrics"]["test/loss"]["values"]
    )


def test_seeds_become_one_row_with_an_interval(invoke: Any, seeded: Any) -> None:
    result = invoke("compare", seeded)
    header, *rows = result.stdout.splitlines()
    assert header.split()[0] == "weight_decay"
    assert rows[0].split()[0] == "0"
    assert "95% intervals over 4 seeds" in result.stdout
    assert "170.0005 [169.9959, 170.0051]" in rows[0]


def test_seeds_as_json_are_the_cells_of_the_contract(invoke: Any, seeded: Any) -> None:
    from scipy import stats

    cells = json.loads(invoke("compare", seeded, "--json").stdout)
    assert [cell["params"] for cell in cells] == [
        {"optimizer.weight_decay": decay} for decay in (0.0, 1.0, 3.0)
    ]
    loss = cells[1]["metrics"]["test/loss"]
    assert cells[1]["seeds"] == len(loss["values"]) == 4
    logs = np.log(loss["values"])
    low, high = np.exp(stats.t.interval(0.95, 3, loc=logs.mean(), scale=stats.sem(logs)))
    assert (loss["low"], loss["high"]) == pytest.approx((low, high))


def test_cells_that_are_not_distinguishable_are_named(invoke: Any, seeded: Any) -> None:
    text = invoke("compare", seeded).stdout
    assert "lowest test/loss: optimizer.weight_decay=1 (chosen by the test set" in text
    assert "not distinguishable from it with 4 seeds: weight_decay=3\n" in text


def test_a_difference_that_holds_is_said_too(invoke: Any, make_run: Any, tmp_path: Any) -> None:
    for decay, loss in ((0.0, 9.0), (1.0, 1.0)):
        for seed in range(3):
            make_run(f"{decay}{seed}", seed=seed, decay=decay, test=loss + 0.01 * decay * seed)
    text = invoke("compare", tmp_path / "runs").stdout
    assert "better than every other row" in text


def test_losses_of_different_things_have_no_lowest(invoke: Any, make_run: Any) -> None:
    first, second = make_run("a"), make_run("b", loss="half_mse")
    shown = invoke("compare", first, second).stdout
    assert "test/loss means something else for each loss: none is the lowest" in shown
    assert "lowest test/loss" not in shown
    third = make_run("c", loss={"type": "huber", "delta": 1.0})
    shown = invoke("compare", first, third).stdout
    assert "test/loss means something else for each loss: none is the lowest" in shown


@pytest.mark.parametrize(
    ("axis", "key"),
    [
        ("loss=half_mse,{type: huber, delta: 20}", "loss"),
        ("loss.delta=1,20", "loss.delta"),
    ],
)
def test_losses_with_other_settings_are_not_compared(
    invoke: Any, program_config: Path, tmp_path: Path, axis: str, key: str
) -> None:
    sweep = invoke("sweep", program_config, "loss=huber", axis, "--runs-dir", tmp_path / "runs")
    assert sweep.exit_code == 0, sweep.output
    assert f"test/loss means something else for each {key}: none is the lowest" in sweep.stdout


def test_a_best_row_with_lost_runs_says_so(invoke: Any, make_run: Any, tmp_path: Any) -> None:
    for seed in range(3):
        make_run(f"a{seed}", seed=seed, decay=0.0, test=9.0)
        make_run(f"b{seed}", seed=seed, decay=1.0, test=1.0)
    make_run("b3", seed=3, decay=1.0, test=None, status="diverged")
    text = invoke("compare", tmp_path / "runs").stdout
    assert "3 completed, 1 diverged" in text
    assert "not compared, since 1 of their runs diverged or failed" in text
    make_run("a3", seed=3, decay=0.0, test=0.001, status="diverged")
    text = invoke("compare", tmp_path / "runs").stdout
    assert "lowest test/loss: optimizer.weight_decay=1" in text
    assert "1 of its 4 runs ended without a test/loss" in text


def test_with_a_validation_split_it_is_chosen_by_that(
    invoke: Any, make_run: Any, tmp_path: Any
) -> None:
    for name, decay, val, test in (("a", 0.0, 1.0, 5.0), ("b", 1.0, 2.0, 0.5)):
        metrics = {"train/loss": 0.1, "val/loss": val, "test/loss": test}
        make_run(name, decay=decay, metrics=metrics)
    text = invoke("compare", tmp_path / "runs").stdout
    assert "lowest val/loss: optimizer.weight_decay=0\n" in text


def test_csv_of_seeds_has_mean_and_bounds(invoke: Any, seeded: Any) -> None:
    rows = list(csv.DictReader(io.StringIO(invoke("compare", seeded, "--csv").stdout)))
    assert [float(row["optimizer.weight_decay"]) for row in rows] == [0.0, 1.0, 3.0]
    assert rows[1]["seeds"] == "4"
    low, mean, high = (float(rows[1][f"test/loss{part}"]) for part in ("/low", "", "/high"))
    assert low < mean < high


def test_csv_of_single_runs(invoke: Any, make_run: Any, tmp_path: Any) -> None:
    make_run("a", decay=0.0, test=1.5)
    make_run("b", decay=1.0, test=None, status="diverged")
    text = invoke("compare", tmp_path / "runs", "--csv").stdout
    first, second = csv.DictReader(io.StringIO(text))
    assert (first["test/loss"], first["status"]) == ("1.5", "completed")
    assert (second["test/loss"], second["status"]) == ("", "diverged")


def test_unfinished_runs_are_left_out_aloud(invoke: Any, make_run: Any, tmp_path: Any) -> None:
    make_run("a")
    opened = make_run("b", finished=False)
    result = invoke("compare", tmp_path / "runs", "--json")
    assert len(json.loads(result.stdout)) == 1
    assert f"regrun resume {opened}" in result.stderr


@pytest.mark.parametrize("place", ["nowhere", "."])
def test_no_finished_run_ends_with_2(invoke: Any, tmp_path: Any, place: str) -> None:
    result = invoke("compare", tmp_path / place)
    assert result.exit_code == 2
    assert result.stdout == ""


def test_a_damaged_summary_ends_with_5_and_its_name(
    invoke: Any, make_run: Any, tmp_path: Any
) -> None:
    directory = make_run("a")
    (directory / "summary.json").write_text("{")
    result = invoke("compare", tmp_path / "runs")
    assert result.exit_code == 5
    assert str(directory / "summary.json") in result.stderr


def test_json_and_csv_together_are_refused(invoke: Any, seeded: Any) -> None:
    assert invoke("compare", seeded, "--json", "--csv").exit_code == 2


@pytest.mark.parametrize("columns", ["20", "45", "300"])
def test_any_width_works(invoke: Any, seeded: Any, columns: str) -> None:
    result = invoke("compare", seeded, env={"COLUMNS": columns})
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout


def test_comparing_reads_no_curves(
    invoke: Any, make_run: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Summaries and configs are enough: the curves of thousands of runs stay unread."""
    make_run("a")
    opened: list[str] = []

    def note(path: Any) -> list[Any]:
        opened.append(str(path))
        return []

    monkeypatch.setattr("regrun.store.reading.parse_metrics", note)
    assert invoke("compare", tmp_path / "runs").exit_code == 0
    assert opened == []


def test_an_ablation_of_runs_that_the_test_set_stopped_says_so(
    invoke: Any, program_config: Path, tmp_path: Path
) -> None:
    words = ("optimizer.weight_decay=0.1", "--seeds", 2, "--runs-dir", tmp_path / "runs")
    stopped = invoke("ablate", program_config, "training.early_stopping.metric=test/loss", *words)
    assert "early stopping chose the epochs of 4 of 8 runs by test/loss" in stopped.stdout
    assert "early stopping chose" not in invoke("ablate", program_config, *words).stdout


def test_a_sweep_over_runs_that_the_test_set_stopped_says_so(
    invoke: Any, program_config: Path, tmp_path: Path
) -> None:
    """The best cell is chosen by val/loss, its test/loss is still a chosen minimum."""
    words = ("dataset.validation=0.2", "optimizer.lr=0.01,0.02", "--runs-dir", tmp_path / "runs")
    stopping = "training.early_stopping.metric="
    said = "early stopping chose the epochs of {} runs by test/loss, which flatters the test set"
    swept = invoke("sweep", program_config, f"{stopping}test/loss", *words).stdout
    assert "lowest val/loss: " in swept and said.format("2 of 2") in swept
    (directory,) = (tmp_path / "runs").glob("*/sweep-*")
    assert said.format("2 of 2") in invoke("compare", directory).stdout
    assert said.format("2 of 2") in invoke("compare", *directory.glob("*lr=*")).stdout
    (cell, _) = json.loads(invoke("compare", directory, "--json").stdout)
    assert [run["early_stopping"] for run in cell["runs"]] == ["test/loss"]
    swept = invoke("sweep", program_config, f"{stopping}test/loss,val/loss", *words).stdout
    assert said.format("2 of 4") in swept
    swept = invoke("sweep", program_config, f"{stopping}val/loss", *words).stdout
    assert "flatters" not in swept


def test_keys_that_only_some_have_and_all_by_default_are_not_shown(
    invoke: Any, make_run: Any
) -> None:
    """Momentum is a key of sgd alone, and 0; betas of adam were chosen."""
    adam = {"name": "adam", "lr": 0.003, "betas": [0.5, 0.9]}
    first, second = make_run("a"), make_run("b", optimizer=adam)
    header = invoke("compare", first, second).stdout.splitlines()[0]
    assert "betas" in header and "optimizer.name" in header
    assert "momentum" not in header
    assert "momentum" in invoke("compare", first, second, "--wide").stdout
