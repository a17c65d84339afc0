"""The cluster of a sweep: how it is joined, what its machines can train, and how it is planned."""

from __future__ import annotations

import json
import os
import signal
import socket
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.exceptions import RayError

import regrun.sweeps.run
from regrun.errors import UsageError
from regrun.results import StackPlan
from regrun.sweeps.executor import OnRay
from regrun.sweeps.ray_cluster import Cluster, Node, joined
from regrun.sweeps.ray_plan import spread
from tests.support.program import run_python
from tests.support.runs import LINEAR

GB = 10**9
SMALL = Node("small", {"CPU": 2, "memory": 4 * GB, "node:10.0.0.1": 1})
LARGE = Node("large", {"CPU": 8, "memory": 64 * GB, "big": 3})
FAST = Node("fast", {"CPU": 16, "GPU": 2, "memory": 128 * GB, "accelerator_type:A100": 1})


@pytest.mark.parametrize(
    ("cluster", "stack_bytes", "slots"),
    [
        (Cluster(OnRay(), (SMALL, LARGE, FAST)), 0, [2, 8, 16]),
        (Cluster(OnRay(), (SMALL, LARGE, FAST), threads=4), 0, [0, 2, 4]),
        (Cluster(OnRay(), (SMALL, LARGE, FAST)), 3 * GB, [1, 8, 16]),
        (Cluster(OnRay(), (SMALL, LARGE, FAST)), 10 * GB, [0, 6, 12]),
        (Cluster(OnRay(resources={"big": 1}), (SMALL, LARGE, FAST)), 0, [0, 3, 0]),
        (Cluster(OnRay(), (SMALL, LARGE, FAST), on_gpus=True), 0, [0, 0, 2]),
        (Cluster(OnRay(gpus=0.5), (SMALL, LARGE, FAST), on_gpus=True), 0, [0, 0, 4]),
        (Cluster(OnRay(gpus=0.1), (SMALL, LARGE, FAST), on_gpus=True), 0, [0, 0, 20]),
        (Cluster(OnRay(gpus=0.3), (SMALL, LARGE, FAST), on_gpus=True), 0, [0, 0, 6]),
    ],
)
def test_a_machine_trains_as_many_stacks_as_it_has_what_each_takes(
    cluster: Cluster, stack_bytes: int, slots: list[int]
) -> None:
    assert [cluster.slots(node, stack_bytes) for node in cluster.nodes] == slots
    if not stack_bytes:
        assert cluster.places == sum(slots)


def test_each_stack_that_is_trained_at_once_has_its_share_of_the_memory_of_its_machine() -> None:
    assert Cluster(OnRay(), (SMALL, LARGE)).rooms == [2 * GB] * 2 + [8 * GB] * 8
    # One that trains nothing does not count.
    assert Cluster(OnRay(), (SMALL, LARGE), threads=4).rooms == [32 * GB] * 2


def test_a_cluster_that_can_train_nothing_is_refused_with_what_it_has() -> None:
    with pytest.raises(UsageError) as refused:
        Cluster(OnRay(resources={"big": 4}), (SMALL, LARGE)).check()
    assert str(refused.value) == (
        "no node of the cluster has what a stack takes (CPU 1, big 4); there is: "
        "CPU 2, memory 4.0 GB; CPU 8, big 3, memory 64.0 GB"
    )
    with pytest.raises(UsageError, match=r"\(CPU 1, memory 80.0 GB\)"):
        Cluster(OnRay(), (SMALL, LARGE)).check(80 * GB)
    Cluster(OnRay(), (SMALL, LARGE)).check(60 * GB)


def stack(seconds: float, memory: int = 1) -> StackPlan:
    return StackPlan(members=1, steps=1, memory_bytes=memory, seconds=seconds)


def test_stacks_go_to_the_slot_that_is_free_first() -> None:
    plan = spread(Cluster(OnRay(), (SMALL,)), [stack(s) for s in (5, 1, 1, 1, 4)], rest=1.0)
    # 5 + 0 on one of the two cores and 1 + 1 + 1 + 4 on the other
    assert (plan.slots, plan.rounds, plan.seconds) == (2, 4, 7.0)
    assert spread(Cluster(OnRay(), (SMALL,)), [stack(5)], rest=3.0).seconds == 15.0


def test_the_largest_stack_decides_how_many_fit() -> None:
    stacks = [stack(1, GB), stack(1, 3 * GB)]
    plan = spread(Cluster(OnRay(), (SMALL, LARGE)), stacks, rest=1.0)
    assert [(node.name, node.slots) for node in plan.nodes] == [("small", 1), ("large", 8)]
    with pytest.raises(UsageError, match=r"memory 5.0 GB\); there is: CPU 2, memory 4.0 GB"):
        spread(Cluster(OnRay(), (SMALL,)), [stack(1, 5 * GB)], rest=1.0)


def test_without_ray_there_is_no_cluster() -> None:
    with joined(None) as cluster:
        assert cluster is None


def test_an_address_where_nothing_listens_is_refused_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    refused = pytest.raises(UsageError, match=f"--ray-address 127.0.0.1:{port}: no cluster answers")
    with refused, joined(OnRay(f"127.0.0.1:{port}")):
        pass


def test_the_address_in_the_environment_is_checked_as_one_on_the_command_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://10.0.0.1:10001")
    with pytest.raises(UsageError, match="run it on a node of the cluster"), joined(OnRay()):
        pass


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (ConnectionError("Failed to connect to Ray cluster at 10.0.0.1:6379"), "Failed to connect"),
        (RuntimeError("Version mismatch\nRay: 2.40"), "Version mismatch"),
        (RayError("no authentication token was found. Ensure that"), "RAY_AUTH_TOKEN to"),
    ],
)
def test_what_ray_says_of_a_cluster_is_a_wrong_address(
    said: Exception, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise said

    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(UsageError) as refused, joined(OnRay("auto")):
        pass
    assert str(refused.value).startswith("--ray-address auto: ")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_token_that_is_wrong_is_found_behind_what_ray_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        cause = RuntimeError("Traceback …\nInvalidAuthToken: Authentication token is missing")
        raise ConnectionError("Failed to connect") from cause

    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(UsageError, match="asks for a token"), joined(OnRay("auto")):
        pass


LOCAL = """
import json, os, signal, sys
import psutil
from regrun.sweeps.executor import OnRay
from regrun.sweeps.ray_cluster import joined

signal.signal(signal.SIGTERM, signal.SIG_IGN)
with joined(OnRay()):
    pass
with joined(OnRay()) as cluster:
    children = psutil.Process().children(recursive=True)
    listening = {
        connection.laddr.ip.removeprefix("::ffff:")
        for child in children
        for connection in child.net_connections()
        if connection.status == psutil.CONN_LISTEN
    }
    found = {
        "listening": sorted(listening),
        "names": sorted({child.name() for child in children}),
        "places": cluster.places,
        "handler": int(signal.getsignal(signal.SIGTERM)),
        "environment": os.environ.get("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"),
    }
_, alive = psutil.wait_procs(children, 20)
print(json.dumps({**found, "left": [child.name() for child in alive]}))
"""


def test_a_ray_of_this_machine_alone_listens_to_nobody_else_and_ends_with_the_sweep(
    tmp_path: Path,
) -> None:
    ended = run_python(LOCAL, env={"HOME": str(tmp_path)})
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found["listening"] == ["127.0.0.1"]
    assert "raylet" in found["names"], "nothing was started"
    assert not any("dashboard.py" in name for name in found["names"])
    assert found["places"] == len(os.sched_getaffinity(0))
    assert found["handler"] == int(signal.SIG_IGN), "Ray's handler of SIGTERM stayed"
    assert found["environment"] is None
    assert found["left"] == []
    # With a token in the home directory, later clusters of this machine would ask for it.
    assert list(tmp_path.rglob("*token*")) == []


def test_a_dry_run_says_how_the_stacks_would_be_spread(
    invoke: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def three(ray: OnRay | None, **_: object) -> Any:
        assert ray == OnRay("10.0.0.1:6379", resources={"big": 1.0})
        big = Node("b", {"CPU": 2, "GPU": 1, "memory": 8 * GB, "big": 2})
        yield Cluster(ray, (big, Node("c", big.resources), SMALL))

    monkeypatch.setattr(regrun.sweeps.run, "joined", three)
    path = tmp_path / "c.yaml"
    path.write_text(json.dumps({**LINEAR, "sweep": {"stack_size": 1, "seeds": 10}}))
    words = ["sweep", path, "--dry-run", "--device", "cpu", "--executor", "ray"]
    words += ["--ray-address", "10.0.0.1:6379", "--ray-resource", "big=1"]
    said = invoke(*words).stdout
    assert "cluster    4 stacks at once, 3 rounds, about " in said
    assert "2 nodes    CPU 2, GPU 1, 8.0 GB: 2 stacks at once\n" in said
    assert "1 node     CPU 2, 4.0 GB: 0 stacks at once\n" in said
    plan = json.loads(invoke(*words, "--json").stdout)["cluster"]
    assert (plan["slots"], plan["rounds"]) == (4, 3)
    assert [node["slots"] for node in plan["nodes"]] == [2, 2, 0]
    monkeypatch.undo()
    assert "cluster" not in invoke("sweep", path, "--dry-run").stdout
    assert json.loads(invoke("sweep", path, "--dry-run", "--json").stdout)["cluster"] is None
