"""Runs that are stopped or killed, and carried on as if nothing had been."""

from __future__ import annotations

import json
import os
import random
import shlex
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from regrun.execution.interrupt import catching_signals
from regrun.execution.origin import load_stack
from regrun.store.checkpoint import CheckpointStore
from regrun.store.run_dir import RunDir
from tests.support.program import Process, Program, Workspace, wait_until
from tests.support.runs import LINEAR, rows_in
from tests.support.tampering import write_yaml

NOISY: dict[str, Any] = {
    "name": "noisy",
    "dataset": {"name": "digits", "num_train": 200, "num_test": 100, "validation": 100},
    "model": {"name": "mlp", "hidden": [16, 12], "dropout": [0.1, 0.3], "input_dropout": 0.1},
    "penalty": {"type": "elastic_net", "strength": 1e-4},
    "optimizer": {"name": "adam", "lr": 1e-3, "weight_decay": 1e-3},
    "schedule": {"type": "cosine", "warmup_epochs": 3},
    "training": {
        "epochs": 60,
        "batch_size": 16,
        "checkpoint_every": 0.05,
        "early_stopping": {"metric": "val/loss", "patience": 1000},
        "test_examples": True,
        "histograms_every": 2,
    },
}
"""All that has a state: noise, moments, schedule, best weights; about a second of training."""

RESULTS = (
    "metrics.jsonl",
    "histograms.jsonl",
    "weights.safetensors",
    "test_examples.safetensors",
    "data.json",
    "preprocessing.json",
    "summary.json",
)

NEVER = "training.checkpoint_every=1000000"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "a place", NOISY)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The undisturbed run."""
    workspace = Workspace(tmp_path_factory.mktemp("whole"), NOISY)
    assert workspace.train().wait() == 0
    return workspace.only


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was killed when it had two checkpoints."""
    workspace = Workspace(tmp_path_factory.mktemp("killed"), NOISY)
    process = workspace.train()
    process.wait_until(
        lambda: (
            workspace.begun
            and len(checkpoints(workspace.only)) == 2
            and (workspace.only / "metrics.jsonl").exists()
            and (workspace.only / "metrics.jsonl").read_bytes().count(b"\n") > 2
        )
    )
    process.kill()
    assert not (workspace.only / "summary.json").exists()
    return workspace.only


@pytest.fixture
def half(killed: Path, tmp_path: Path) -> Path:
    """A copy of the killed run, of this test's own."""
    directory = tmp_path / "runs" / "noisy" / "half"
    shutil.copytree(killed, directory)
    return directory


def checkpoints(run: Path) -> list[Path]:
    """Newest last."""
    return sorted((run / "checkpoints").glob("*.safetensors"))


def assert_same(run: Path, whole: Path) -> None:
    """Bitwise in all that must not depend on interruptions, with nothing left over."""
    for name in RESULTS[:-1]:
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name
    one, other = (json.loads((path / "summary.json").read_text()) for path in (run, whole))
    for summary in (one, other):
        del summary["run_dir"], summary["seconds"], summary["checksum"]
        del summary["files"]["config.yaml"]  # which says how often checkpoints are written
    assert one == other
    left = {path.name for path in run.iterdir() if not path.name.startswith("events.")}
    assert left <= {"config.yaml", *RESULTS, "train", "test", "val", "checkpoints"}
    assert len(checkpoints(run)) == len(checkpoints(whole)) <= 1  # for more epochs


def stopped_by(number: int, workspace: Workspace, *options: str) -> Process:
    """A training that a signal reaches after some of its epochs."""
    process = workspace.train(NEVER, *options)
    process.wait_until(lambda: "steps on cpu" in process.stderr)
    time.sleep(0.1)
    process.send_signal(number)
    return process


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_saves_the_run_and_the_command_it_prints_finishes_it(
    number: int, code: int, workspace: Workspace, whole: Path
) -> None:
    process = stopped_by(number, workspace)
    assert process.wait() == code
    assert len(checkpoints(workspace.only)) == 1
    assert not (workspace.only / "summary.json").exists()
    command = shlex.split(process.stderr.strip().rpartition("carry on with: ")[2])
    assert command == ["regrun", "resume", str(workspace.only)]
    saved = load_stack(CheckpointStore(RunDir(workspace.only).checkpoints))
    assert saved is not None
    step = saved.state.engine.step
    process = workspace.resume(directory=Path(command[2]))
    assert process.wait() == 0
    assert_same(workspace.only, whole)
    place = f"going on after step {step:,}, in epoch {-(-step // 13)} of 60"
    assert place in process.stderr.splitlines()


def test_with_json_a_signal_leaves_one_document(workspace: Workspace) -> None:
    process = stopped_by(signal.SIGINT, workspace, "--json")
    assert process.wait() == 130
    document = json.loads(process.stdout)
    assert (document["status"], document["run_dir"]) == ("interrupted", str(workspace.only))
    if document["epochs"]:  # on a slow machine the signal may come before the first evaluation
        last = json.loads((workspace.only / "metrics.jsonl").read_text().splitlines()[-1])
        assert document["epochs"] >= last["epoch"]
        assert document["metrics"]["train/loss"] == last["train/loss"]


@pytest.mark.parametrize("damage", ["a row", "the file"])
@pytest.mark.parametrize("name", ["metrics.jsonl", "histograms.jsonl"])
def test_lines_that_are_lost_are_noticed(
    program: Program, name: str, damage: str, half: Path
) -> None:
    metrics = half / name
    lines = metrics.read_bytes().splitlines(keepends=True)
    if damage == "a row":
        metrics.write_bytes(b"".join(lines[1:]))
    else:
        metrics.unlink()
    process = program.start("resume", half)
    assert process.wait() == 5
    place = f"{metrics}:1" if damage == "a row" else f"{metrics}"
    assert f"{place}: damaged" in process.stderr
    assert not (half / "summary.json").exists()


def test_a_signal_in_python_stops_like_one_in_the_terminal(tmp_path: Path) -> None:
    with catching_signals() as interrupt:
        os.kill(os.getpid(), signal.SIGTERM)
        wait_until(lambda: interrupt.signal_number)
    assert interrupt.signal_number == signal.SIGTERM


def test_the_second_signal_ends_the_process_at_once(monkeypatch: Any) -> None:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a background job
    with catching_signals() as interrupt:
        os.kill(os.getpid(), signal.SIGINT)
        wait_until(lambda: interrupt.signal_number)
        os.kill(os.getpid(), signal.SIGTERM)
        wait_until(lambda: codes)
    assert codes == [143]
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
    signal.signal(signal.SIGINT, before)


def kill_again_and_again(
    workspace: Workspace, draw: random.Random, times: int, seconds: float
) -> None:
    """Kill the training, and then its resumptions, after random times; then let it finish."""
    process = workspace.train()
    process.wait_until(lambda: workspace.begun)
    for _ in range(times):
        time.sleep(draw.uniform(0, seconds))
        process.kill()
        process = workspace.resume()
    assert process.wait() == 0, process.stderr


@pytest.mark.parametrize("seed", range(3))
def test_a_run_killed_several_times_at_random_is_the_undisturbed_run(
    seed: int, workspace: Workspace, whole: Path
) -> None:
    kill_again_and_again(workspace, random.Random(seed), times=3, seconds=0.4)
    assert_same(workspace.only, whole)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 200))
def test_a_run_killed_ten_times_at_random_is_the_undisturbed_run(
    seed: int, workspace: Workspace, whole: Path
) -> None:
    kill_again_and_again(workspace, random.Random(seed), times=10, seconds=0.4)
    assert_same(workspace.only, whole)


TINY: dict[str, Any] = {
    **LINEAR,
    "name": "tiny",
    "training": {
        "epochs": 3,
        "batch_size": 5,
        "checkpoint_every": 0,
        "test_examples": True,
        "histograms_every": 2,
    },
}


def operations_of_a_tiny_run(folder: Path) -> tuple[Path, int]:
    """The undisturbed tiny run, and how many file operations `regrun train` makes for it."""
    workspace = Workspace(folder, TINY)
    assert workspace.train("--quiet").wait() == 0
    low, high = 1, 2
    while Workspace(folder / f"{high}", TINY).train("--quiet", dies_at=high).wait() != 0:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        died = Workspace(folder / f"{middle}", TINY).train("--quiet", dies_at=middle).wait() != 0
        low, high = (middle, high) if died else (low, middle)
    return workspace.only, low


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    return operations_of_a_tiny_run(tmp_path_factory.mktemp("tiny"))


def die_and_resume(tiny: tuple[Path, int], folder: Path, numbers: range) -> None:
    expected, _ = tiny
    for number in numbers:
        workspace = Workspace(folder / str(number), TINY)
        assert workspace.train("--quiet", dies_at=number).wait() == -signal.SIGKILL
        if not workspace.begun:  # killed before there was a run
            continue
        process = workspace.resume("--quiet")
        assert process.wait() == 0, (number, process.stderr)
        assert_same(workspace.only, expected)


def test_a_run_killed_at_a_file_operation_is_the_undisturbed_run(
    tiny: tuple[Path, int], tmp_path: Path
) -> None:
    assert tiny[1] > 50
    die_and_resume(tiny, tmp_path, range(1, tiny[1] + 1, 12))


@pytest.mark.long
def test_a_run_killed_at_any_file_operation_is_the_undisturbed_run(
    tiny: tuple[Path, int], tmp_path: Path
) -> None:
    die_and_resume(tiny, tmp_path, range(1, tiny[1] + 1))


def test_the_curves_of_a_resumed_run_are_whole(workspace: Workspace, half: Path) -> None:
    from tensorboard.backend.event_processing import event_accumulator

    assert workspace.resume(directory=half).wait() == 0
    rows = rows_in(half)
    for split in ("train", "test", "val"):
        events = event_accumulator.EventAccumulator(str(half / split), {"scalars": 0}).Reload()
        points = [(point.step, point.value) for point in events.Scalars("loss")]
        assert [step for step, _ in points] == [row["step"] for row in rows]
        assert [value for _, value in points] == pytest.approx(
            [row[f"{split}/loss"] for row in rows], rel=1e-6
        )


def snapshot(directory: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes())
        for path in directory.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def test_resuming_a_finished_run_says_so_and_changes_nothing(
    workspace: Workspace, whole: Path
) -> None:
    before = snapshot(whole)
    process = workspace.resume("--json", directory=whole)
    assert process.wait() == 0
    assert "had finished before" in process.stderr
    stored = json.loads((whole / "summary.json").read_text())
    stored.pop("checksum")
    assert json.loads(process.stdout) == stored
    assert snapshot(whole) == before


def spoil(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [spoil, cut])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    damage: Callable[[Path], None], workspace: Workspace, half: Path, whole: Path
) -> None:
    newest = checkpoints(half)[-1]
    damage(newest)
    process = workspace.resume(directory=half)
    assert process.wait() == 0
    assert f"{newest}: damaged" in process.stderr
    assert "using the checkpoint before it" in process.stderr
    assert_same(half, whole)


def test_damaged_checkpoints_alone_are_never_a_silent_restart(
    workspace: Workspace, half: Path
) -> None:
    for path in checkpoints(half):
        spoil(path)
    before = snapshot(half)
    process = workspace.resume(directory=half)
    assert process.wait() == 5
    assert "all 2 checkpoints are damaged" in process.stderr
    assert snapshot(half) == before


def test_without_a_checkpoint_the_run_starts_over(
    workspace: Workspace, half: Path, whole: Path
) -> None:
    shutil.rmtree(half / "checkpoints")
    process = workspace.resume(directory=half)
    assert process.wait() == 0
    assert "there is no checkpoint" in process.stderr
    assert_same(half, whole)


def test_of_three_resumers_one_goes_on(workspace: Workspace, half: Path, whole: Path) -> None:
    processes = [workspace.resume(directory=half) for _ in range(3)]
    for process in processes:
        process.wait()
    (winner,) = (
        process
        for process in processes
        if process.wait() == 0 and "nothing to do" not in process.stderr
    )
    for process in processes:
        if process.wait() == 2:  # one that the machine starts very late finds the run finished
            assert f"{half} is in use by process {winner.pid} on " in process.stderr
    assert_same(half, whole)


def test_a_run_that_is_being_trained_cannot_be_resumed(workspace: Workspace) -> None:
    process = workspace.train(NEVER)
    process.wait_until(lambda: workspace.begun and (workspace.only / ".lock").exists())
    other = workspace.resume()
    assert other.wait() == 2
    assert f"in use by process {process.pid} on " in other.stderr
    assert process.wait() == 0


def test_a_config_that_was_changed_is_not_resumed(workspace: Workspace, half: Path) -> None:
    config = half / "config.yaml"
    text = config.read_text().replace("hidden: [16, 12]", "hidden: [16, 13]")
    config.write_text(text)
    process = workspace.resume(directory=half)
    assert process.wait() == 5
    assert f"{config}: damaged" in process.stderr
    write_yaml(config, text)
    process = workspace.resume(directory=half)
    assert process.wait() == 2
    assert "the config was changed after the checkpoint was written" in process.stderr


def test_a_checkpoint_of_another_version_is_not_resumed(workspace: Workspace, half: Path) -> None:
    """regrun 0.1 wrote no format."""
    store = CheckpointStore(half / "checkpoints")
    checkpoint = store.load()
    assert checkpoint is not None
    state = {key: value for key, value in checkpoint.state.items() if key != "format"}
    store.save(checkpoint.tensors, state)
    process = workspace.resume(directory=half)
    assert process.wait() == 2
    assert "the checkpoint was written by another version of regrun" in process.stderr


def test_what_is_no_run_cannot_be_resumed(workspace: Workspace, tmp_path: Path) -> None:
    process = workspace.resume(directory=tmp_path)
    assert process.wait() == 2
    assert f"{tmp_path}: no run here" in process.stderr
