"""Real sweeps whose processes are killed or stopped, and carried on as if nothing had been."""

from __future__ import annotations

import json
import os
import random
import shlex
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from lives import Life, wait_for, write_config
from small_sweeps import DIGITS, ended, packs, planned, results, with_keys

CONFIG: dict[str, Any] = with_keys(
    DIGITS,
    model={"hidden": [16, 12]},
    training={"epochs": 60, "precision": "float32", "checkpoint_every": 0.05},
    sweep={
        "grid": {"optimizer.lr": [1e-3, 3e-3], "model.activation": ["relu", "tanh"]},
        "seeds": 4,
        "stack_size": 4,
    },
)
"""Four packs of four runs, half a second each."""


class Place:
    """A runs directory, and sweeps in it."""

    def __init__(self, folder: Path) -> None:
        self.runs = folder / "runs"
        self.config = write_config(folder, CONFIG)
        self._output = folder / "output"

    def start(self, *options: str) -> Life:
        place = ("--runs-dir", self.runs, "--device", "cpu")
        return Life(self._output, "sweep", self.config, *options, *place)

    def resume(self, *options: str) -> Life:
        return Life(self._output, "resume", self.sweep, *options)

    @property
    def sweep(self) -> Path:
        (found,) = self.runs.glob("small/*")
        return found

    @property
    def is_planned(self) -> bool:
        return any(self.runs.glob("small/*/plan.jsonl"))

    def workers(self) -> list[int]:
        """Living processes that hold a pack just now."""
        found = []
        for lock in self.runs.glob("small/*/packs/*/.lock"):
            try:
                found.append(int(json.loads(lock.read_bytes())["pid"]))
            except (OSError, ValueError):  # it has let go, or is just writing
                continue
        return [pid for pid in found if not is_gone(pid)]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "a place")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The results of the undisturbed sweep."""
    place = Place(tmp_path_factory.mktemp("whole"))
    assert place.start().end() == 0
    assert [len(pack) for pack in packs(place.sweep)] == [4, 4, 4, 4]
    return results(place.sweep)


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def assert_carried_on(place: Place, whole: dict[str, Any]) -> None:
    before = ended(place.sweep)
    life = place.resume("--json")
    assert life.end() == 0, life.stderr
    after = ended(place.sweep)
    assert {name: after[name] for name in before} == before  # what was finished was left alone
    assert after.keys() == whole.keys() == {run.directory for run in planned(place.sweep)}
    assert results(place.sweep) == whole
    assert json.loads(life.stdout)["completed"] == len(whole)
    assert not (place.sweep / "packs").exists()
    assert not list(place.sweep.rglob("*.tmp"))


def kill_main(place: Place, draw: random.Random, *options: str) -> None:
    life = place.start("--quiet", *options)
    life.wait_for(lambda: place.is_planned)
    time.sleep(draw.uniform(0, 2))
    workers = place.workers()
    life.kill()
    wait_for(lambda: all(is_gone(pid) for pid in workers))


@pytest.mark.parametrize("seed", [1, 2])
def test_a_sweep_killed_at_random_is_carried_on(
    seed: int, place: Place, whole: dict[str, Any]
) -> None:
    kill_main(place, random.Random(seed))
    assert_carried_on(place, whole)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 110))
def test_a_sweep_with_workers_killed_at_random_is_carried_on(
    seed: int, place: Place, whole: dict[str, Any]
) -> None:
    kill_main(place, random.Random(seed), "--workers", "2")
    assert_carried_on(place, whole)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(200, 210))
def test_a_sweep_killed_several_times_is_carried_on(
    seed: int, place: Place, whole: dict[str, Any]
) -> None:
    draw = random.Random(seed)
    kill_main(place, draw)
    for _ in range(3):
        life = place.resume("--quiet")
        time.sleep(draw.uniform(0.2, 1))
        life.kill()
    assert_carried_on(place, whole)


def kill_workers(place: Place, draw: random.Random, times: int) -> Life:
    life = place.start("--workers", "2")
    for _ in range(times):
        life.wait_for(place.workers)
        time.sleep(draw.uniform(0, 0.4))
        for pid in place.workers()[:1]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            wait_for(lambda pid=pid: is_gone(pid))  # type: ignore[misc]
    return life


@pytest.mark.parametrize("seed", [1])
def test_a_workers_death_is_made_good_in_the_same_command(
    seed: int, place: Place, whole: dict[str, Any]
) -> None:
    life = kill_workers(place, random.Random(seed), times=2)
    assert life.end() == 0, life.stderr
    assert "worker of 4 run(s) died; starting them again" in life.stderr
    assert results(place.sweep) == whole


@pytest.mark.long
@pytest.mark.parametrize("seed", range(300, 310))
def test_a_workers_death_at_any_moment_is_made_good(
    seed: int, place: Place, whole: dict[str, Any]
) -> None:
    life = kill_workers(place, random.Random(seed), times=2)
    assert life.end() == 0, life.stderr
    assert results(place.sweep) == whole


@pytest.mark.parametrize(
    ("number", "code", "workers"), [(signal.SIGINT, 130, "0"), (signal.SIGTERM, 143, "2")]
)
def test_a_signal_saves_the_sweep_and_the_command_it_prints_finishes_it(
    number: int, code: int, workers: str, place: Place, whole: dict[str, Any]
) -> None:
    life = place.start("--workers", workers)
    life.wait_for(lambda: any(place.runs.glob("small/*/packs/*/*.safetensors")))
    busy = place.workers()
    for pid in {*busy, life.process.pid}:  # as a terminal or a service manager does
        assert pid is not None
        os.kill(pid, number)
    assert life.end() == code, life.stderr
    assert all(is_gone(pid) for pid in busy)
    assert not (place.sweep / "summary.json").exists()
    assert any(place.runs.glob("small/*/packs/*/*.safetensors"))
    assert life.stdout == ""
    assert "Traceback" not in life.stderr
    command = shlex.split(life.stderr.strip().rpartition("carry on with: ")[2])
    assert command == ["regrun", "resume", str(place.sweep)]
    assert_carried_on(place, whole)


def test_a_sweep_that_is_being_trained_cannot_be_resumed(place: Place) -> None:
    life = place.start()
    life.wait_for(lambda: place.is_planned and (place.sweep / ".lock").exists())
    other = place.resume()
    assert other.end() == 2
    assert f"in use by process {life.process.pid} on " in other.stderr
    life.kill()
