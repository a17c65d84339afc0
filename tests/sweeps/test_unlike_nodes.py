"""Sweeps on a cluster whose machines are unlike: each stack has the size of its machine.

The machines are not there; stacks are trained in this process.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
import torch

import regrun.sweeps.run
from regrun.config.load import config_from_mapping
from regrun.errors import UsageError
from regrun.execution.observer import Observer
from regrun.metrics import Metric
from regrun.results import StackPlan
from regrun.store.sweep_dir import SweepDir
from regrun.sweeps.crew import Crew
from regrun.sweeps.executor import OnRay
from regrun.sweeps.planning import Elsewhere, Planner
from regrun.sweeps.ray_cluster import Cluster, Node
from regrun.sweeps.ray_places import Places
from regrun.sweeps.ray_plan import spread
from regrun.sweeps.run import Options, plan_sweep, resume_sweep, run_sweep
from regrun.sweeps.space import grid_cells
from regrun.sweeps.worker import InThisProcess
from tests.support.sweeps import LINEAR, rows_by_setting, stacks, with_keys

GB = 10**9

CONFIG = with_keys(
    LINEAR,
    training={"epochs": 3, "precision": "float64"},
    sweep={
        "grid": {"optimizer.weight_decay": [0, 1, 2, 3, 4, 5]},
        "seeds": 2,
        "vary": ["seed"],
        "stack_size": 8,
    },
)
"""Twelve runs in two stacks of six."""

UNLIMITED = with_keys(CONFIG, sweep={"stack_size": None})


@cache
def _of_one_and_two() -> tuple[int, ...]:
    loaded = (config_from_mapping(with_keys(CONFIG, sweep={"stack_size": size})) for size in (1, 2))
    return tuple(plan_sweep(each, Options("cpu")).stacks[0].memory_bytes for each in loaded)


def bytes_of(members: int) -> int:
    """What a stack of so many runs of the config takes."""
    one, two = _of_one_and_two()
    return one + (members - 1) * (two - one)


def nodes_of(memory: list[int], cpus: int = 1) -> tuple[Node, ...]:
    """Machines with so many bytes."""
    return tuple(
        Node(f"n{number}", {"CPU": cpus, "memory": size}, str(number))
        for number, size in enumerate(memory)
    )


def on_cluster(memory: list[int], monkeypatch: pytest.MonkeyPatch) -> Options:
    """Options with which sweeps are planned for such machines of one core."""

    @contextmanager
    def joined(*_: object, **__: object) -> Iterator[Cluster]:
        yield Cluster(OnRay(), nodes_of(memory))

    @contextmanager
    def workers_on(places: Places, _: object, sizes: dict[int, int]) -> Iterator[Crew]:
        for size in sizes.values():
            places.cluster.check(size)
        yield Crew([InThisProcess("cpu")])

    for name, fake in (("joined", joined), ("workers_on", workers_on)):
        monkeypatch.setattr(regrun.sweeps.run, name, fake)
    monkeypatch.setattr(regrun.sweeps.run, "check_nodes", lambda _: None)
    return Options("cpu", ray=OnRay())


class Messages(Observer):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def on_message(self, text: str) -> None:
        self.said.append(text)


@pytest.mark.parametrize(
    ("members", "worth", "expected"),
    [
        ([8, 2, 2], False, [8, 2, 2]),
        ([10, 2, 2], False, [10, 2]),
        ([8, 2, 2], True, [8, 2, 2]),
        ([2, 8, 2], True, [8, 2, 2]),
        ([6, 6], True, [6, 6]),
        # Four and two of the six cells, whose replicates stay together: 12 · 6/8 would be 9.
        ([12, 4], True, [8, 4]),
        # A machine that cannot hold a single run gets none.
        ([12, 0, 0], False, [12]),
        ([0, 4, 0], False, [4, 4, 4]),
    ],
)
def test_the_runs_are_shared_out_as_the_places_hold_them(
    members: list[int], worth: bool, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regrun.sweeps.planning.WORTH_WORKERS", 0.0 if worth else 1e9)
    loaded = config_from_mapping(UNLIMITED)
    # Half of the memory is used.
    rooms = [2 * bytes_of(count) if count else 1000 for count in members]
    planner = Planner(
        loaded,
        [torch.device("cpu")],
        metric=Metric("test", "loss"),
        allow_large=False,
        places=len(rooms),
        elsewhere=Elsewhere(rooms, max(rooms), on_gpus=False),
    )
    assert loaded.config.sweep is not None
    planned = planner.round(grid_cells(loaded.config.sweep.grid))
    assert [len(each) for each in planned.stacks] == expected


def test_a_large_stack_waits_for_the_machine_that_can_hold_it() -> None:
    cluster = Cluster(OnRay(), nodes_of([8 * GB, 2 * GB, GB // 2]))

    def stack(seconds: float, memory: int) -> StackPlan:
        return StackPlan(members=1, steps=1, memory_bytes=memory, seconds=seconds)

    plan = spread(cluster, [stack(5, 6 * GB), stack(1, GB), stack(5, 3 * GB), stack(2, GB)], 1.0)
    # 5 + 5 on the first, 1 + 2 on the second, nothing on the third
    assert (plan.seconds, plan.rounds, plan.slots) == (10.0, 2, 2)
    assert [node.slots for node in plan.nodes] == [1, 1, 0]


def test_a_stack_that_no_machine_can_hold_is_planned_as_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = config_from_mapping(CONFIG)
    options = on_cluster([bytes_of(4), bytes_of(2)], monkeypatch)
    plan = plan_sweep(loaded, options)
    assert sorted(each.members for each in plan.stacks) == [2, 2, 4, 4]
    assert plan.cluster is not None
    assert plan.cluster.slots == 2
    sweep = Path(run_sweep(loaded, runs_dir=tmp_path, options=options).sweep_dir)
    assert sorted(map(len, stacks(sweep))) == [2, 2, 4, 4]


def begun(folder: Path) -> Path:
    """A sweep without a cluster, of which some runs of each stack are to be trained again."""
    summary = run_sweep(
        config_from_mapping(CONFIG), runs_dir=folder, options=Options("cpu", workers=0)
    )
    sweep = SweepDir(Path(summary.sweep_dir))
    sweep.summary.unlink()
    for file in sweep.path.glob("*-seed=1/summary.json"):
        file.unlink()
    return sweep.path


def test_a_stored_stack_that_no_machine_can_hold_goes_on_in_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = begun(tmp_path)
    whole = rows_by_setting(sweep)
    assert [len(each) for each in stacks(sweep)] == [6, 6]
    said = Messages()
    resume_sweep(sweep, options=on_cluster([bytes_of(4)], monkeypatch), observer=said)
    assert (
        "6 run(s) need more memory than any node of the cluster has; they go on in 4 stack(s)"
        in (said.said)
    )
    assert sorted(map(len, stacks(sweep))) == [1, 1, 2, 2, 3, 3]
    found = rows_by_setting(sweep)
    assert len(found) == 12
    for key, rows in whole.items():
        assert found[key] == [pytest.approx(row, rel=1e-9) for row in rows]


def test_a_single_run_that_no_machine_can_hold_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = begun(tmp_path)
    with pytest.raises(UsageError, match="no node of the cluster has what a stack takes"):
        resume_sweep(sweep, options=on_cluster([bytes_of(1) - 1], monkeypatch))
