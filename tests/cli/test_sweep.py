"""`regrun sweep`, `resume` and `compare` of one, with real training that takes a moment."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

CONFIG = """\
name: little
dataset: {name: synthetic_linear, num_features: 6, num_train: 10, num_test: 15}
model: {name: linear}
optimizer: {name: sgd, lr: 0.01}
training: {epochs: 3, batch_size: 5}
"""
CLASSES = """\
name: classes
dataset: {name: digits, num_train: 60, num_test: 40, validation: 30}
model: {name: mlp, hidden: [8, 6]}
optimizer: {name: sgd, lr: 0.1}
training: {epochs: 2, batch_size: 16}
"""
DECAYS = "optimizer.weight_decay=0,0.1,1,10"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "little.yaml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    path = tmp_path / "classes.yaml"
    path.write_text(CLASSES)
    return path


@pytest.fixture
def sweep(invoke: Any, tmp_path: Path) -> Any:
    """Call `regrun sweep` below a directory of this test."""

    def call(*arguments: object) -> Any:
        return invoke("sweep", *arguments, "--runs-dir", tmp_path / "runs", "--device", "cpu")

    return call


def only_sweep(tmp_path: Path) -> Path:
    (found,) = (tmp_path / "runs").glob("*/sweep-*")
    return found


def nothing_written(tmp_path: Path) -> bool:
    return not list(tmp_path.glob("runs/*"))


def test_a_sweep_ends_in_a_table_a_plot_what_may_be_said_and_the_next_command(
    sweep: Any, config: Path, tmp_path: Path
) -> None:
    result = sweep(config, DECAYS, "--seeds", 3)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert re.match(r" *weight_decay +train loss +test loss +gap", lines[0])
    assert [line.lstrip("●○ ").split()[0] for line in lines[1:5]] == ["0", "0.1", "1", "10"]
    assert "95% intervals over 3 seeds" in result.stdout
    assert re.search(r"in all rows: .*completed", result.stdout)
    assert re.search(r"\[\d.+, \d.+\]", lines[1])
    ticks = next(line for line in lines if re.fullmatch(r" *0 +0\.1 +1 +10", line))
    gaps = [match.start() for match in re.finditer(r"\S+", ticks)]
    # A log axis: equal factors, equal distances.
    assert abs((gaps[3] - gaps[2]) - (gaps[2] - gaps[1])) <= 2
    assert "optimizer.weight_decay" in lines[lines.index(ticks) + 1]
    assert "lowest test/loss: optimizer.weight_decay=" in result.stdout
    assert "(chosen by the test set, which flatters it)" in result.stdout
    assert re.search(r"not distinguishable from it with 3 seeds|better than every", result.stdout)
    directory = only_sweep(tmp_path)
    assert re.search(r"runs +12 completed in", result.stdout)
    assert f"regrun compare {directory}" in result.stdout
    assert f"regrun view {directory}" in result.stdout
    assert f"{directory}: 12 runs in 3 stacks" in result.stderr


def test_compare_shows_a_sweep_as_it_ended(
    sweep: Any, invoke: Any, config: Path, tmp_path: Path
) -> None:
    ended = sweep(config, DECAYS, "--seeds", 3).stdout
    again = invoke("compare", only_sweep(tmp_path))
    assert again.exit_code == 0
    assert ended.startswith(again.stdout)


def test_json_has_the_contracts_keys_and_is_all_of_stdout(
    sweep: Any, invoke: Any, config: Path, tmp_path: Path
) -> None:
    result = sweep(config, "optimizer.lr=0.01,0.02", "--json", "--seeds", 2)
    document = json.loads(result.stdout)
    assert document.keys() >= {
        "sweep_dir", "runs", "completed", "diverged", "failed", "pruned", "cells", "best",
        "seconds",
    }  # fmt: skip
    assert document["best"].keys() >= {"params", "metric", "selected_on"}
    loss = document["cells"][0]["metrics"]["test/loss"]
    assert loss.keys() == {"mean", "low", "high", "scale", "arithmetic_mean", "values"}
    stored = json.loads((only_sweep(tmp_path) / "summary.json").read_text())
    assert stored.pop("checksum")
    assert document == stored
    compared = json.loads(invoke("compare", only_sweep(tmp_path), "--json").stdout)
    assert all(len(cell.pop("runs")) == 2 for cell in compared)
    assert compared == document["cells"]


def test_csv_has_a_row_per_cell(sweep: Any, invoke: Any, config: Path, tmp_path: Path) -> None:
    result = sweep(config, "optimizer.lr=0.01,0.02", "--csv", "--seeds", 2)
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["optimizer.lr"] for row in rows] == ["0.01", "0.02"]
    assert float(rows[0]["test/loss/low"]) < float(rows[0]["test/loss"])
    assert invoke("compare", only_sweep(tmp_path), "--csv").stdout == result.stdout


def test_json_and_csv_together_are_refused(sweep: Any, config: Path, tmp_path: Path) -> None:
    result = sweep(config, "optimizer.lr=0.01,0.02", "--csv", "--json")
    assert result.exit_code == 2
    assert nothing_written(tmp_path)


def test_a_dry_run_says_what_it_would_do_and_does_not(
    sweep: Any, config: Path, tmp_path: Path
) -> None:
    arguments = (config, DECAYS, "training.batch_size=5,10", "--seeds", 3, "--dry-run")
    text = sweep(*arguments)
    assert text.exit_code == 0
    assert re.search(r"runs +24 \(8 cells\)", text.stdout)
    assert re.search(r"stacks +6, of up to 4 members", text.stdout)
    assert re.search(r"memory +about .* MB", text.stdout)
    assert re.search(r"time +about \d+ s", text.stdout)
    plan = json.loads(sweep(*arguments, "--json").stdout)
    assert plan["runs"] == 24
    assert [stack["members"] for stack in plan["stacks"]] == [4] * 6
    assert not (tmp_path / "runs").exists()


def test_values_in_brackets_are_one_value_of_an_axis(
    sweep: Any, classes: Path, tmp_path: Path
) -> None:
    result = sweep(classes, "model.hidden=[4],[8, 6]", "model.dropout=0,0.5")
    assert result.exit_code == 0
    assert re.findall(r"000\d-\S+", result.stdout) == [
        "0000-hidden=-4-,dropout=0-seed=0",
        "0001-hidden=-4-,dropout=0.5-seed=0",
        "0002-hidden=-8,6-,dropout=0-seed=0",
        "0003-hidden=-8,6-,dropout=0.5-seed=0",
    ]


@pytest.mark.parametrize(
    "axis",
    [
        "model.hidden=[4],[8, 6]",
        "penalty=none,{type: l1, strength: 0.01}",
        "model.activation=relu,tanh",
        "optimizer.nesterov=false,true",
        "model.dropout=[0,0],[0.5,0.1]",
        "training.batch_size=16,full",
    ],
)
def test_axes_of_any_kind_of_value_have_a_table(sweep: Any, classes: Path, axis: str) -> None:
    result = sweep(classes, axis, "optimizer.momentum=0.5")
    assert result.exit_code == 0
    header, first, second = result.stdout.splitlines()[:3]
    assert axis.partition("=")[0].rpartition(".")[2] in header
    assert len({len(header), len(first.rstrip()), len(second.rstrip())}) <= 3


def test_an_accuracy_is_plotted_and_its_highest_is_the_best(sweep: Any, classes: Path) -> None:
    result = sweep(classes, "optimizer.lr=0.01,0.1,1", "--seeds", 2, "sweep.metric=val/accuracy")
    assert result.exit_code == 0
    assert "highest val/accuracy: optimizer.lr=" in result.stdout
    assert "val accuracy" in result.stdout


def test_the_axes_of_the_file_and_of_the_command_line_are_one_grid(
    sweep: Any, config: Path
) -> None:
    config.write_text(CONFIG + "sweep: {grid: {optimizer.lr: [0.01, 0.02]}, seeds: 3}\n")
    plan = sweep(config, "optimizer.momentum=0,0.5", "--dry-run", "--json", "--seeds", 2)
    assert json.loads(plan.stdout)["runs"] == 8


def test_axes_of_the_file_that_stay_are_named_and_can_be_left_out(sweep: Any, config: Path) -> None:
    config.write_text(CONFIG + "sweep: {grid: {optimizer.lr: [0.01, 0.02]}, seeds: 3}\n")
    both = sweep(config, "optimizer.momentum=0,0.5", "--dry-run")
    assert "that stay: optimizer.lr (2); --only leaves them out\n" in both.stderr
    alone = sweep(config, "optimizer.momentum=0,0.5", "--dry-run", "--only", "--json")
    assert json.loads(alone.stdout)["runs"] == 6
    assert "stay" not in alone.stderr
    replaced = sweep(config, "optimizer.lr=1,2,3", "--dry-run", "--json")
    assert json.loads(replaced.stdout)["runs"] == 9
    assert "stay" not in replaced.stderr
    assert "stay" not in sweep(config, "--dry-run").stderr
    assert sweep(config, "--only").exit_code == 2


def test_seeds_alone_are_a_sweep(sweep: Any, config: Path) -> None:
    result = sweep(config, "--seeds", 4, "seed=7", "--json")
    (cell,) = json.loads(result.stdout)["cells"]
    assert cell["params"] == {}
    assert cell["seeds"] == 4


def test_without_a_sweep_there_is_nothing_to_do(sweep: Any, config: Path, tmp_path: Path) -> None:
    result = sweep(config, "optimizer.lr=0.1")
    assert result.exit_code == 2
    assert "has no sweep section; add an axis" in result.stderr
    assert nothing_written(tmp_path)


def test_all_wrong_values_are_reported_at_once_before_anything_is_written(
    sweep: Any, config: Path, tmp_path: Path
) -> None:
    config.write_text(CONFIG + "sweep:\n  grid:\n    optimizer.lr: [0.1, -3]\n")
    result = sweep(config, "optimizer.momentum=0,1.5", "training.epochs=3,soon")
    assert result.exit_code == 2
    assert f"{config}:8:25: optimizer.lr=-3: -3 is not above 0" in result.stderr
    assert "optimizer.momentum=1.5: 1.5 is not in [0, 1)" in result.stderr
    assert "training.epochs=soon: 'soon' is not an integer" in result.stderr
    assert "3 errors" in result.stderr
    assert nothing_written(tmp_path)


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        ("optimizer.learning_rate=1,2", "override 1: .*unknown key; did you mean"),
        ("optimizer.lr=0.1,0.1", "override 1: .*0.1 appears twice on this axis"),
        ("name=a,b", "name cannot be an axis"),
        ("optimizer.lr=0.1,,0.2", "an empty value between commas"),
    ],
)
def test_wrong_axes_are_reported(
    sweep: Any, config: Path, tmp_path: Path, axis: str, message: str
) -> None:
    result = sweep(config, axis)
    assert result.exit_code == 2
    assert re.search(message, result.stderr), result.stderr
    assert nothing_written(tmp_path)


def test_runs_that_diverge_are_reported_when_it_happens_and_end_with_3(
    sweep: Any, config: Path, tmp_path: Path
) -> None:
    result = sweep(config, "optimizer.lr=0.01,1e200", "--seeds", 2)
    assert result.exit_code == 3
    assert len(re.findall(r"lr=1e\+200-seed=\d diverged at step \d", result.stderr)) == 2
    assert result.stderr.endswith("2 diverged of 4 runs\n")
    assert "2 completed, 2 diverged" in result.stdout
    assert re.search(r"1e\+200 +– .*diverged", result.stdout)
    assert "lowest" not in result.stdout  # there is nothing to compare with


def test_a_failed_run_is_reported_and_the_others_go_on(
    sweep: Any, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_batches_of_four(monkeypatch)
    result = sweep(config, "training.batch_size=3,4,5")
    assert result.exit_code == 3
    assert "1 run(s) failed: RuntimeError: out of luck" in result.stderr
    assert "2 completed, 1 failed" in result.stdout
    (log,) = only_sweep(tmp_path).glob("*/log.txt")
    assert "out of luck" in log.read_text()


def test_a_sweep_in_which_all_failed_names_the_log_and_no_comparison(
    sweep: Any, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_batches_of_four(monkeypatch)
    result = sweep(config, "training.batch_size=4", "--seeds", 2)
    assert result.exit_code == 3
    assert "regrun compare" not in result.stdout
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("why")]
    assert "out of luck" in Path(line.split()[1]).read_text()


def break_batches_of_four(monkeypatch: pytest.MonkeyPatch) -> None:
    from regrun.execution.stack_run import StackRun

    real = StackRun.run

    def fails(self: StackRun, *arguments: Any) -> bool:
        if self._members[0].config.training.batch_size == 4:
            raise RuntimeError("out of luck")
        return real(self, *arguments)

    monkeypatch.setattr(StackRun, "run", fails)


def test_fail_fast_leaves_the_rest_to_be_resumed(
    sweep: Any, invoke: Any, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        break_batches_of_four(patched)
        result = sweep(config, "training.batch_size=4,3,5", "--fail-fast")
    assert result.exit_code == 3
    assert "1 failed, 2 unfinished" in result.stdout
    directory = only_sweep(tmp_path)
    assert f"regrun resume {directory}" in result.stdout
    resumed = invoke("resume", directory, "--device", "cpu", "--json")
    assert resumed.exit_code == 3
    document = json.loads(resumed.stdout)
    assert (document["completed"], document["failed"], document["unfinished"]) == (2, 1, 0)


def test_resuming_a_finished_sweep_shows_it_again(
    sweep: Any, invoke: Any, config: Path, tmp_path: Path
) -> None:
    ended = sweep(config, DECAYS).stdout
    again = invoke("resume", only_sweep(tmp_path))
    assert again.exit_code == 0
    assert "had finished before" in again.stderr
    assert again.stdout == ended


def test_an_unfinished_sweep_can_be_compared(
    sweep: Any, invoke: Any, config: Path, tmp_path: Path
) -> None:
    sweep(config, "optimizer.lr=0.01,0.02", "--seeds", 2)
    directory = only_sweep(tmp_path)
    for path in [directory / "summary.json", *directory.glob("0001*/summary.json")]:
        path.unlink()
    result = invoke("compare", directory)
    assert result.exit_code == 0
    assert re.search(r"0\.02 +– .* unfinished", result.stdout)
    assert json.loads(invoke("compare", directory, "--json").stdout)[1]["metrics"] == {}


def test_of_many_cells_the_best_are_shown_and_compare_shows_all(
    sweep: Any, invoke: Any, config: Path, tmp_path: Path
) -> None:
    rates = ",".join(f"{0.0001 * (k + 1):g}" for k in range(60))
    result = sweep(config, f"optimizer.lr={rates}")
    assert "the best 40 of 60 cells by test/loss" in result.stdout
    rows = [line for line in result.stdout.splitlines() if re.search(r" 00\d\d-lr=", line)]
    losses = [float(line.lstrip("● ").split()[3]) for line in rows]
    assert len(losses) == 40
    assert losses == sorted(losses)
    compared = invoke("compare", only_sweep(tmp_path)).stdout
    rows = [line for line in compared.splitlines() if re.search(r" 00\d\d-lr=", line)]
    swept = [float(line.lstrip("● ").split()[0]) for line in rows]
    assert len(swept) == 60
    assert swept == sorted(swept)


def test_hundreds_of_rows_stand_in_columns_too(invoke: Any, make_run: Any, tmp_path: Path) -> None:
    for k in range(201):
        make_run(f"run{k:03d}", decay=k / 7)
    lines = invoke("compare", tmp_path / "runs").stdout.splitlines()[:202]
    assert lines[0].split()[:2] == ["weight_decay", "run"]
    column = lines[0].index("run")
    points = set()
    for k, line in enumerate(lines[1:]):
        assert line[:column].lstrip("● ").rstrip() == f"{k / 7:.6g}"
        assert line[column:].startswith(f"run{k:03d} ")
        points |= {line[:column].index(".")} if k % 7 else set()
    assert len(points) == 1


def test_quiet_leaves_stderr_empty(sweep: Any, config: Path) -> None:
    result = sweep(config, "optimizer.lr=0.01,0.02", "--quiet")
    assert result.stderr == ""
    assert "completed" in result.stdout


def test_a_runs_directory_that_cannot_be_is_reported(
    invoke: Any, config: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    result = invoke("sweep", config, "--seeds", 2, "--runs-dir", tmp_path / "file")
    assert result.exit_code == 4


def test_the_config_of_every_run_trains_that_run_alone(
    sweep: Any, invoke: Any, config: Path, tmp_path: Path
) -> None:
    sweep(config, "optimizer.lr=0.01,0.02", "training.precision=float64", "--seeds", 2)
    for path in only_sweep(tmp_path).glob("*/config.yaml"):
        alone = invoke("train", path, "--runs-dir", tmp_path / "alone", "--json", "--device", "cpu")
        stored = json.loads((path.parent / "summary.json").read_text())
        assert json.loads(alone.stdout)["metrics"] == pytest.approx(stored["metrics"], rel=1e-9)
        assert yaml.safe_load(path.read_text())["sweep"] is None


def test_tensorboard_shows_the_hyper_parameters_of_all_runs_and_no_others(
    sweep: Any, config: Path, tmp_path: Path
) -> None:
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.plugins.hparams import metadata

    sweep(config, "optimizer.weight_decay=0,1,10", "penalty=none,{type: l1, strength: 1}")
    directory = only_sweep(tmp_path)
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(directory)).Reload()
    runs = {path.parent.name for path in directory.glob("*/config.yaml")}
    assert len(runs) == 6
    assert set(multiplexer.Runs()) == runs | {
        f"{run}/{part}" for run in runs for part in ("train", "test")
    }
    sessions = multiplexer.PluginRunToTagToContent(metadata.PLUGIN_NAME)
    assert sessions.keys() == runs
    decays = set()
    for run, tags in sessions.items():
        start = metadata.parse_session_start_info_plugin_data(tags["_hparams_/session_start_info"])
        end = metadata.parse_session_end_info_plugin_data(tags["_hparams_/session_end_info"])
        assert end.status == 1, run  # success
        decays.add(start.hparams["optimizer.weight_decay"].number_value)
        assert ("penalty.0.strength" in start.hparams) == ("l1" in run)
    assert decays == {0, 1, 10}


def test_the_hparams_tab_lists_every_run_of_a_sweep(
    sweep: Any, config: Path, tmp_path: Path
) -> None:
    from tensorboard.backend.event_processing import data_provider as providers
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

    sweep(config, "optimizer.weight_decay=0,1,10", "--seeds", 2)
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(only_sweep(tmp_path))).Reload()

    class Base:
        data_provider = providers.MultiplexerDataProvider(multiplexer, "logs")

    backend = backend_context.Context(Base)
    request = api_pb2.ListSessionGroupsRequest(
        start_index=0, slice_size=100, allowed_statuses=[api_pb2.STATUS_SUCCESS]
    )
    groups = list_session_groups.Handler(RequestContext(), backend, "", request).run()
    assert len(groups.session_groups) == 6
    seen = {
        (
            group.hparams["optimizer.weight_decay"].number_value,
            group.hparams["seed"].number_value,
        )
        for group in groups.session_groups
    }
    assert seen == {(decay, seed) for decay in (0, 1, 10) for seed in (0, 1)}


@pytest.mark.long
def test_view_shows_a_thousand_runs(sweep: Any, config: Path, tmp_path: Path) -> None:
    import time
    import urllib.request

    from regrun.cli.tensorboard_server import serving

    result = sweep(config, "training.epochs=1", "--seeds", 1000, "--json")
    assert json.loads(result.stdout)["completed"] == 1000
    directory = only_sweep(tmp_path)
    with serving(directory, "localhost", None) as server:
        deadline = time.monotonic() + 300
        shown: list[str] = []
        while len(shown) < 2000 and time.monotonic() < deadline:
            with urllib.request.urlopen(f"{server.url}data/runs", timeout=60) as answer:
                shown = json.loads(answer.read())
            time.sleep(1)
    parts = {name for name in shown if name.endswith(("/train", "/test"))}
    assert len(parts) == 2000
