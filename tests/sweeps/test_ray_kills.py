"""Sweeps on a cluster whose nodes or whose driver are killed again and again."""

from __future__ import annotations

import json
import random
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from regrun.errors import ClusterLostError
from tests.support.program import Process, Program
from tests.support.sweeps import DIGITS, planned, results, with_keys

pytest.importorskip("ray")
pytestmark = pytest.mark.long

KILLS = 10

CONFIG = with_keys(
    DIGITS,
    model={"hidden": [16, 12]},
    training={
        "epochs": 120,
        "precision": "float32",
        "checkpoint_every": 0.1,
        "test_examples": True,
        "histograms_every": 30,
    },
    sweep={
        "grid": {"optimizer.lr": [1e-3, 3e-3], "model.activation": ["relu", "tanh"]},
        "seeds": 6,
        "vary": ["seed"],
        "stack_size": 2,
    },
)
"""Twelve stacks of two runs."""


class Machines:
    """A head that trains nothing, and two machines of one core."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "include_dashboard": False}
        self._cluster: Any = Cluster(initialize_head=True, head_node_args=head)
        self.nodes = [self._cluster.add_node(num_cpus=1) for _ in range(2)]

    @property
    def words(self) -> list[str]:
        """The options that train on it."""
        return ["--executor", "ray", "--ray-address", self._cluster.address]

    def kill_one(self, drawn: random.Random) -> None:
        """Kill a machine, and let another one join."""
        node = self.nodes.pop(drawn.randrange(len(self.nodes)))
        self._cluster.remove_node(node, allow_graceful=False)
        self.nodes.append(self._cluster.add_node(num_cpus=1))

    def kill_ray_of_the_driver(self) -> None:
        """Kill what connects the driver, which is on the machine of the head, to the cluster."""
        (raylet,) = self._cluster.head_node.all_processes["raylet"]
        raylet.process.kill()

    def end(self) -> None:
        self._cluster.shutdown()


@pytest.fixture
def machines() -> Iterator[Machines]:
    machines = Machines()
    yield machines
    machines.end()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(json.dumps(CONFIG))
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The results of the undisturbed sweep on this machine."""
    folder = tmp_path_factory.mktemp("whole")
    config = folder / "small.yaml"
    config.write_text(json.dumps(CONFIG))
    ended = Process(folder, "sweep", config, "--workers", 2, "--runs-dir", folder, fresh=True)
    assert ended.wait() == 0, ended.stderr
    return results(only(folder))


def only(runs: Path) -> Path:
    (sweep,) = runs.glob("small/*")
    return sweep


def finished(runs: Path) -> dict[str, int]:
    """The runs that have ended, with the times at which they did."""
    summaries = runs.glob("small/*/*-seed=*/summary.json")
    return {file.parent.name: file.stat().st_mtime_ns for file in summaries}


def saved(runs: Path) -> set[Path]:
    """The checkpoints that there are."""
    return set(runs.glob("small/*/stacks/*/*.safetensors"))


def assert_each_run_once(runs: Path, ended: dict[str, int], whole: dict[str, Any]) -> None:
    found = finished(runs)
    assert {name: found[name] for name in ended} == ended, "a run that had ended was written again"
    assert set(found) == {run.directory for run in planned(only(runs))}
    assert results(only(runs)) == whole


def test_ten_nodes_are_killed(
    machines: Machines, config: Path, tmp_path: Path, whole: dict[str, Any], program: Program
) -> None:
    runs, drawn = tmp_path / "runs", random.Random(0)
    sweep = program.start("sweep", config, "--runs-dir", runs, *machines.words, fresh=True)
    sweep.wait_until(lambda: saved(runs))
    ended: dict[str, int] = {}
    for _ in range(KILLS):
        assert sweep.is_alive(), sweep.stderr
        machines.kill_one(drawn)
        assert {name: at for name, at in finished(runs).items() if name in ended} == ended
        ended = finished(runs)
        time.sleep(drawn.uniform(0, 2))
    assert sweep.wait() == 0, sweep.stderr
    assert_each_run_once(runs, ended, whole)


def test_a_sweep_whose_own_machine_loses_ray_says_how_it_goes_on(
    machines: Machines, config: Path, tmp_path: Path, whole: dict[str, Any], program: Program
) -> None:
    runs = tmp_path / "runs"
    sweep = program.start("sweep", config, "--runs-dir", runs, *machines.words, fresh=True)
    sweep.wait_until(lambda: saved(runs) and finished(runs))
    machines.kill_ray_of_the_driver()
    assert sweep.wait() == ClusterLostError.exit_code, sweep.stderr
    said = sweep.stderr.strip().rpartition("\n")[2]
    assert said.startswith("the Ray cluster was lost: ")
    command = shlex.split(said.rpartition("; carry on with: ")[2])
    assert command == ["regrun", "resume", str(only(runs)), *machines.words]
    assert "failed" not in sweep.stderr
    ended = finished(runs)
    assert program(*command[1:3], fresh=True).returncode == 0
    assert_each_run_once(runs, ended, whole)


def test_the_driver_is_killed_ten_times(
    machines: Machines, config: Path, tmp_path: Path, whole: dict[str, Any], program: Program
) -> None:
    runs, drawn = tmp_path / "runs", random.Random(1)
    words: list[Any] = ["sweep", config, "--runs-dir", runs]
    ended: dict[str, int] = {}
    for number in range(KILLS):
        where = [] if number % 4 == 3 else machines.words  # every fourth on this machine
        driver = program.start(*words, *where, fresh=True)
        there = saved(runs)
        driver.wait_until(lambda there=there: saved(runs) - there)  # type: ignore[misc]
        time.sleep(drawn.uniform(0, 0.5))
        assert driver.is_alive(), f"{shlex.join(map(str, words))}: {driver.stderr}"
        driver.kill()
        assert {name: at for name, at in finished(runs).items() if name in ended} == ended
        ended = finished(runs)
        words = ["resume", only(runs)]
    last = program(*words, *machines.words, fresh=True)
    assert last.returncode == 0, last.stderr
    assert_each_run_once(runs, ended, whole)
