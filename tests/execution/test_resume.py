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
from lives import Life, only_run, run_dirs, wait_for, write_config
from small_runs import LINEAR, rows_in

from regrun.execution.interrupt import catching_signals

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
    },
}
"""All that has a state: noise, moments, schedule, best weights; about a second of training."""

RESULTS = ("metrics.jsonl", "weights.safetensors", "summary.json")

NEVER = "training.checkpoint_every=1000000"


class Place:
    """A runs directory, and processes that work in it."""

    def __init__(self, folder: Path, config: dict[str, Any] = NOISY) -> None:
        self.runs = folder / "runs"
        self.config = write_config(folder, config)
        self._output = folder / "output"

    def train(self, *overrides: str, **options: Any) -> Life:
        place = ("--runs-dir", self.runs, "--device", "cpu")
        return Life(self._output, "train", self.config, *overrides, *place, **options)

    def resume(self, directory: Path | None = None, *arguments: str, **options: Any) -> Life:
        where = directory or self.run
        return Life(self._output, "resume", where, *arguments, **options)

    @property
    def run(self) -> Path:
        return only_run(self.runs)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "a place")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The undisturbed run."""
    place = Place(tmp_path_factory.mktemp("whole"))
    assert place.train().end() == 0
    return place.run


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was killed when it had two checkpoints."""
    place = Place(tmp_path_factory.mktemp("killed"))
    life = place.train()
    life.wait_for(
        lambda: run_dirs(place.runs) and len(checkpoints(place.run)) == 2 and has_rows(place.run)
    )
    life.kill()
    assert not (place.run / "summary.json").exists()
    return place.run


@pytest.fixture
def half(killed: Path, tmp_path: Path) -> Path:
    """A copy of the killed run, of this test's own."""
    directory = tmp_path / "runs" / "noisy" / "half"
    shutil.copytree(killed, directory)
    return directory


def has_rows(run: Path) -> bool:
    return (run / "metrics.jsonl").exists()


def checkpoints(run: Path) -> list[Path]:
    """Newest last."""
    return sorted((run / "checkpoints").glob("*.safetensors"))


def assert_same(run: Path, whole: Path) -> None:
    """Bitwise in all that must not depend on interruptions, with nothing left over."""
    for name in RESULTS[:2]:
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name
    one, other = (json.loads((path / "summary.json").read_text()) for path in (run, whole))
    for summary in (one, other):
        del summary["run_dir"], summary["seconds"]
    assert one == other
    left = {path.name for path in run.iterdir() if not path.name.startswith("events.")}
    assert left <= {"config.yaml", *RESULTS, "train", "test", "val"}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_the_run_and_the_command_it_prints_finishes_it(
    number: int, code: int, start: Any, place: Place, whole: Path
) -> None:
    process = start("train", place.config, NEVER, "--runs-dir", place.runs, "--device", "cpu")
    assert "steps on cpu" in process.stderr.readline()
    time.sleep(0.3)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code
    assert len(checkpoints(place.run)) == 1
    assert not (place.run / "summary.json").exists()
    command = shlex.split(stderr.strip().rpartition("carry on with: ")[2])
    assert command == ["regrun", "resume", str(place.run)]
    life = place.resume(Path(command[2]))
    assert life.end() == 0
    assert_same(place.run, whole)


def test_with_json_a_signal_leaves_one_document(start: Any, place: Place) -> None:
    process = start(
        "train", place.config, NEVER, "--runs-dir", place.runs, "--device", "cpu", "--json"
    )
    assert "steps on cpu" in process.stderr.readline()
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    stdout, _ = process.communicate(timeout=60)
    told = json.loads(stdout)
    last = json.loads((place.run / "metrics.jsonl").read_text().splitlines()[-1])
    assert process.returncode == 130
    assert (told["status"], told["run_dir"]) == ("interrupted", str(place.run))
    assert told["epochs"] >= last["epoch"]
    assert told["metrics"]["train/loss"] == last["train/loss"]


@pytest.mark.parametrize("damage", ["a row", "the file"])
def test_evaluations_that_are_lost_are_noticed(damage: str, half: Path) -> None:
    metrics = half / "metrics.jsonl"
    lines = metrics.read_bytes().splitlines(keepends=True)
    if damage == "a row":
        metrics.write_bytes(b"".join([lines[0], *lines[2:]]))
    else:
        metrics.unlink()
    life = Life(half.parent / "output", "resume", half)
    assert life.end() == 5
    assert f"{metrics}: damaged" in life.stderr
    assert not (half / "summary.json").exists()


def test_a_signal_in_python_stops_like_one_in_the_terminal(tmp_path: Path) -> None:
    with catching_signals() as interrupt:
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for(lambda: interrupt.signal_number)
    assert interrupt.signal_number == signal.SIGTERM


def test_the_second_signal_ends_the_process_at_once(monkeypatch: Any) -> None:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a background job
    with catching_signals() as interrupt:
        os.kill(os.getpid(), signal.SIGINT)
        wait_for(lambda: interrupt.signal_number)
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for(lambda: codes)
    assert codes == [143]
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
    signal.signal(signal.SIGINT, before)


def kill_again_and_again(place: Place, draw: random.Random, times: int, seconds: float) -> None:
    """Kill the training, and then its resumptions, after random times; then let it finish."""
    life = place.train()
    life.wait_for(lambda: run_dirs(place.runs))
    for _ in range(times):
        time.sleep(draw.uniform(0, seconds))
        life.kill()
        life = place.resume()
    assert life.end() == 0, life.stderr


@pytest.mark.parametrize("seed", range(3))
def test_a_run_killed_several_times_at_random_is_the_undisturbed_run(
    seed: int, place: Place, whole: Path
) -> None:
    kill_again_and_again(place, random.Random(seed), times=3, seconds=0.4)
    assert_same(place.run, whole)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 200))
def test_a_run_killed_ten_times_at_random_is_the_undisturbed_run(
    seed: int, place: Place, whole: Path
) -> None:
    kill_again_and_again(place, random.Random(seed), times=10, seconds=0.4)
    assert_same(place.run, whole)


TINY: dict[str, Any] = {
    **LINEAR,
    "name": "tiny",
    "training": {"epochs": 3, "batch_size": 5, "checkpoint_every": 0},
}


def operations_of_a_tiny_run(folder: Path) -> tuple[Path, int]:
    """The undisturbed tiny run, and how many file operations `regrun train` makes for it."""
    place = Place(folder, TINY)
    assert place.train("--quiet").end() == 0
    low, high = 1, 2
    while Place(folder / f"{high}", TINY).train("--quiet", dies_at=high).end() != 0:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        died = Place(folder / f"{middle}", TINY).train("--quiet", dies_at=middle).end() != 0
        low, high = (middle, high) if died else (low, middle)
    return place.run, low


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    return operations_of_a_tiny_run(tmp_path_factory.mktemp("tiny"))


def die_and_resume(tiny: tuple[Path, int], folder: Path, numbers: range) -> None:
    expected, _ = tiny
    for number in numbers:
        place = Place(folder / str(number), TINY)
        assert place.train("--quiet", dies_at=number).end() == -signal.SIGKILL
        if not run_dirs(place.runs):  # killed before there was a run
            continue
        life = place.resume(None, "--quiet")
        assert life.end() == 0, (number, life.stderr)
        assert_same(place.run, expected)


def test_a_run_killed_at_a_file_operation_is_the_undisturbed_run(
    tiny: tuple[Path, int], tmp_path: Path
) -> None:
    assert tiny[1] > 50
    die_and_resume(tiny, tmp_path, range(1, tiny[1] + 1, 9))


@pytest.mark.long
def test_a_run_killed_at_any_file_operation_is_the_undisturbed_run(
    tiny: tuple[Path, int], tmp_path: Path
) -> None:
    die_and_resume(tiny, tmp_path, range(1, tiny[1] + 1))


def test_the_curves_of_a_resumed_run_are_whole(place: Place, half: Path) -> None:
    from tensorboard.backend.event_processing import event_accumulator

    assert place.resume(half).end() == 0
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


def test_resuming_a_finished_run_says_so_and_changes_nothing(place: Place, whole: Path) -> None:
    before = snapshot(whole)
    life = place.resume(whole, "--json")
    assert life.end() == 0
    assert "had finished before" in life.stderr
    assert json.loads(life.stdout) == json.loads((whole / "summary.json").read_text())
    assert snapshot(whole) == before


def spoil(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [spoil, cut])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    damage: Callable[[Path], None], place: Place, half: Path, whole: Path
) -> None:
    newest = checkpoints(half)[-1]
    damage(newest)
    life = place.resume(half)
    assert life.end() == 0
    assert f"{newest}: damaged" in life.stderr
    assert "using the checkpoint before it" in life.stderr
    assert_same(half, whole)


def test_damaged_checkpoints_alone_are_never_a_silent_restart(place: Place, half: Path) -> None:
    for path in checkpoints(half):
        spoil(path)
    before = snapshot(half)
    life = place.resume(half)
    assert life.end() == 5
    assert "all 2 checkpoints are damaged" in life.stderr
    assert snapshot(half) == before


def test_without_a_checkpoint_the_run_starts_over(place: Place, half: Path, whole: Path) -> None:
    shutil.rmtree(half / "checkpoints")
    life = place.resume(half)
    assert life.end() == 0
    assert "there is no checkpoint" in life.stderr
    assert_same(half, whole)


def test_of_three_resumers_one_goes_on(place: Place, half: Path, whole: Path) -> None:
    lives = [place.resume(half) for _ in range(3)]
    for life in lives:
        life.end()
    (winner,) = (life for life in lives if life.end() == 0 and "nothing to do" not in life.stderr)
    for life in lives:
        if life.end() == 2:  # one that the machine starts very late finds the run finished
            assert f"{half} is in use by process {winner.process.pid} on " in life.stderr
    assert_same(half, whole)


def test_a_run_that_is_being_trained_cannot_be_resumed(place: Place) -> None:
    life = place.train(NEVER)
    life.wait_for(lambda: run_dirs(place.runs) and (place.run / ".lock").exists())
    other = place.resume()
    assert other.end() == 2
    assert f"in use by process {life.process.pid} on " in other.stderr
    assert life.end() == 0


def test_a_config_that_was_changed_is_not_resumed(place: Place, half: Path) -> None:
    config = half / "config.yaml"
    config.write_text(config.read_text().replace("hidden: [16, 12]", "hidden: [16, 13]"))
    life = place.resume(half)
    assert life.end() == 2
    assert "the config was changed after the checkpoint was written" in life.stderr


def test_what_is_no_run_cannot_be_resumed(place: Place, tmp_path: Path) -> None:
    life = place.resume(tmp_path)
    assert life.end() == 2
    assert f"{tmp_path}: no run here" in life.stderr
