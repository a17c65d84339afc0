"""Sweeps on the GPUs of a cluster, from a driver that has none.

Nodes say that they have GPUs, and what is free on them; their stacks are trained on their CPUs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from regrun.config.load import config_from_mapping
from regrun.errors import UsageError
from regrun.results import SweepSummary
from regrun.store.sweep_dir import SweepDir
from regrun.sweeps import ray_cluster, ray_nodes, ray_worker
from regrun.sweeps.executor import OnRay
from regrun.sweeps.ray_cluster import Cluster, Node, joined
from regrun.sweeps.ray_nodes import with_gpu_memory
from regrun.sweeps.ray_task import Task
from regrun.sweeps.run import Options, plan_sweep, run_sweep
from tests.support.runs import LINEAR

ray: Any = pytest.importorskip("ray")

GB = 10**9

SWEEP: dict[str, Any] = {
    **LINEAR,
    "training": {"epochs": 3, "batch_size": 5},
    "sweep": {"grid": {"optimizer.weight_decay": [0, 1]}, "stack_size": 1},
}

LEFT_OUT = ("summary.json", "events.out.tfevents.")
"""Files with times in them."""


@pytest.fixture(scope="module")
def machines() -> Iterator[dict[str, str]]:
    """A head that trains nothing, and two nodes with a GPU each, by their identities."""
    from ray.cluster_utils import Cluster as Machines

    path: dict[str, Any] = {"env_vars": {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}}
    head = {"num_cpus": 0, "num_gpus": 0, "include_dashboard": False, **path}
    cluster = Machines(initialize_head=True, head_node_args=head)
    found = {name: cluster.add_node(num_cpus=1, num_gpus=1, **path) for name in ("big", "small")}
    ray.init(cluster.address, logging_level="ERROR", log_to_driver=False)
    yield {name: node.node_id for name, node in found.items()}
    ray.shutdown()
    cluster.shutdown()  # type: ignore[no-untyped-call]


@pytest.fixture
def fake(machines: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """GPUs of 80 and 16 GB, on which nothing is trained; returns the devices asked for."""
    free: dict[str, int | str] = {machines["big"]: 80 * GB, machines["small"]: 16 * GB}
    monkeypatch.setattr(ray_nodes, "free_gpu_bytes", answering(free))
    asked: list[str] = []

    def task(*arguments: Any) -> Task:
        made = Task(*arguments)
        asked.append(made.device)
        return replace(made, device="cpu")

    monkeypatch.setattr(ray_worker, "Task", task)
    return asked


def answering(free: dict[str, int | str]) -> Callable[[], int | str]:
    """What stands for the question of a node: the answer that is given for it."""

    def answer() -> int | str:
        import ray

        return free[ray.get_runtime_context().get_node_id()]

    return answer


@pytest.fixture
def no_gpu_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process asks nothing of CUDA."""

    def asked(*_: object, **__: object) -> None:
        raise AssertionError("the driver asks for a GPU of its own")

    for name in ("is_available", "device_count", "mem_get_info", "current_device", "_lazy_init"):
        monkeypatch.setattr(torch.cuda, name, asked)


def contents(summary: SweepSummary) -> dict[str, bytes]:
    """All files of the runs but those with times in them."""
    sweep = Path(summary.sweep_dir)
    return {
        file.relative_to(sweep).as_posix(): file.read_bytes()
        for file in sorted(sweep.glob("*-seed=*/**/*"))
        if file.is_file() and not file.name.startswith(LEFT_OUT)
    }


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> SweepSummary:
    options, folder = Options("cpu", workers=0), tmp_path_factory.mktemp("local")
    return run_sweep(config_from_mapping(SWEEP), runs_dir=folder, options=options)


def on_cluster(device: str, runs_dir: Path) -> SweepSummary:
    options = Options(device, ray=OnRay())
    return run_sweep(config_from_mapping(SWEEP), runs_dir=runs_dir, options=options)


def test_a_driver_without_a_gpu_trains_on_those_of_the_cluster(
    fake: list[str], local: SweepSummary, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    request.getfixturevalue("no_gpu_here")
    found = on_cluster("auto", tmp_path)
    assert fake == ["cuda"] * 2
    (planned,) = SweepDir(Path(found.sweep_dir)).read_rounds()
    assert planned.device == "cuda"
    assert found.cells == local.cells
    assert contents(found) == contents(local)


def test_a_node_whose_torch_finds_no_gpu_is_named(machines: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Ray counts a GPU there, but torch finds none; install"):
        on_cluster("cuda", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("fake")
def test_gpus_that_others_use_do_not_hold_up_a_plan(
    machines: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def use() -> Iterator[None]:
        yield
        time.sleep(600)

    monkeypatch.setattr(ray_nodes, "SECONDS_FOR_A_GPU", 3.0)
    using = ray.remote(num_gpus=1, max_retries=0, num_returns="streaming")(use)
    one = using.remote()
    ray.get(next(one))
    with joined(OnRay(), device="auto") as cluster:
        assert cluster is not None
        found = {node.identity: node.gpu_bytes for node in with_gpu_memory(cluster).nodes}
        free = {found[each] for each in machines.values()}
        assert len(free) == 1, "what is known of one is assumed of the other"
        other = using.remote()
        ray.get(next(other))
        with pytest.raises(UsageError, match="no GPU of the cluster was free within 3 seconds"):
            with_gpu_memory(cluster)
    for each in (one, other):
        ray.cancel(each, force=True)


CPUS = Node("cpus", {"CPU": 2, "memory": 4 * GB})
GPUS = Node("gpus", {"CPU": 2, "GPU": 2, "memory": 4 * GB}, gpu_bytes=80 * GB)


@pytest.mark.parametrize(
    ("device", "ray", "nodes", "expected"),
    [
        ("auto", OnRay(), [CPUS], "cpu"),
        ("auto", OnRay(), [CPUS, GPUS], "cuda"),
        ("auto", OnRay(resources={"big": 1}), [Node("a", {"CPU": 1, "big": 1}), GPUS], "cpu"),
        ("cuda", OnRay(), [CPUS, GPUS], "cuda"),
        ("cpu", OnRay(), [CPUS, GPUS], "cpu"),
    ],
)
def test_the_device_is_that_of_the_nodes(
    device: str, ray: OnRay, nodes: list[Node], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_cluster, "nodes", lambda: nodes)
    assert ray_cluster._cluster(ray, device, 1).device == expected


@pytest.mark.parametrize(
    ("options", "here"),
    [
        (Options("cuda", ray=OnRay()), "auto"),
        (Options("auto", ray=OnRay()), "auto"),
        (Options("cpu", ray=OnRay()), "cpu"),
        (Options("cuda"), "cuda"),
        (Options("cuda:1,0"), "cuda:1"),
    ],
)
def test_what_is_trained_in_the_driver_needs_no_gpu_there(options: Options, here: str) -> None:
    assert options.device_here == here


def test_gpus_that_are_asked_for_have_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "nodes", lambda: [CPUS])
    with pytest.raises(UsageError, match="no node of the cluster has a GPU; write --device cpu"):
        ray_cluster._cluster(OnRay(), "cuda", 1)


def test_stacks_on_gpus_have_the_memory_of_their_gpu() -> None:
    cluster = Cluster(OnRay(), (CPUS, GPUS), on_gpus=True)
    assert (cluster.rooms, cluster.most_bytes) == ([80 * GB] * 2, 80 * GB)
    halves = Cluster(OnRay(gpus=0.5), (CPUS, GPUS), on_gpus=True)
    assert (halves.rooms, halves.most_bytes) == ([40 * GB] * 4, 40 * GB)
    assert [halves.slots(GPUS, size * GB) for size in (30, 41)] == [4, 0]
    with pytest.raises(UsageError, match=r"memory of a GPU 90.0 GB\); .*80.0 GB free on a GPU"):
        cluster.check(90 * GB)
    # Ray counts the memory of the machine, and not that of its GPUs.
    small = Node("small", {"GPU": 1}, gpu_bytes=16 * GB)
    both = Cluster(OnRay(), (CPUS, GPUS, small), on_gpus=True)
    assert [both.too_small(size * GB) for size in (10, 20)] == [[], [small]]
    assert Cluster(OnRay(), (CPUS, GPUS)).too_small(20 * GB) == []


@pytest.mark.usefixtures("fake", "no_gpu_here")
def test_a_dry_run_is_planned_for_the_gpus(machines: dict[str, str]) -> None:
    plan = plan_sweep(config_from_mapping(SWEEP), Options("cuda", ray=OnRay())).cluster
    assert plan is not None
    assert (plan.slots, sorted(node.slots for node in plan.nodes)) == (2, [0, 1, 1])
