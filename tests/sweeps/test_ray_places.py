"""Machines that join a Ray cluster while a sweep runs, and those that leave it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from regrun.config.load import config_from_mapping
from regrun.execution.observer import Observer
from regrun.results import SweepSummary
from regrun.sweeps import ray_places, ray_worker
from regrun.sweeps.executor import OnRay
from regrun.sweeps.ray_cluster import Cluster, Node
from regrun.sweeps.ray_places import Places
from regrun.sweeps.ray_task import Software, train_on_node
from regrun.sweeps.run import Options, run_sweep
from tests.support.runs import LINEAR

ray: Any = pytest.importorskip("ray")

SWEEP: dict[str, Any] = {
    **LINEAR,
    "training": {"epochs": 2, "batch_size": 5, "checkpoint_every": 0},
    "sweep": {"grid": {"optimizer.weight_decay": [0, 1, 2]}, "stack_size": 1},
}

A, B = (Node(name, {"CPU": 2, "memory": 10**9}, name) for name in "ab")


class Answers:
    """Machines that are there, and what each says of its software when it is asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.there = [A]
        self.says: dict[str, str | None] = {}
        self.asked: list[str] = []
        monkeypatch.setattr(ray_places, "SECONDS_BETWEEN_LOOKS", -1.0)
        monkeypatch.setattr(ray_places, "nodes", lambda: list(self.there))
        monkeypatch.setattr(ray_places, "ask", self._ask)
        monkeypatch.setattr(ray_places, "answer_of", lambda _, name: self.says[name])
        monkeypatch.setattr(ray, "wait", self._wait)

    def _ask(self, node: Node, *_: object) -> str:
        self.asked.append(node.name)
        return node.name

    def _wait(self, asked: list[str], **_: object) -> tuple[list[str], list[str]]:
        return [name for name in asked if name in self.says], []


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    return Answers(monkeypatch)


@pytest.fixture
def places() -> Places:
    return Places(Cluster(OnRay(), (A,)), Software((), "", (), ()))


def test_a_machine_that_joins_counts_when_it_has_answered(answers: Answers, places: Places) -> None:
    answers.there = [A, B]
    for _ in range(2):
        places.look()
        assert (places.count, places.news()) == (2, [])
    answers.says = {"b": ""}
    places.look()
    assert (places.count, places.news()) == (4, ["the cluster now trains 4 stacks at once"])
    places.look()
    assert (answers.asked, places.news()) == (["b"], [])


def test_machines_that_leave_no_longer_count_until_they_are_back(
    answers: Answers, places: Places
) -> None:
    for there, count in (([], 0), ([A], 2)):
        answers.there = there
        places.look()
        assert places.count == count
        assert places.news() == [f"the cluster now trains {count} stacks at once"]
    assert answers.asked == []


def test_a_machine_with_other_software_is_refused_once(answers: Answers, places: Places) -> None:
    answers.there, answers.says = [A, B], {"b": "node b has torch 1.0"}
    assert places.refuses_more(than=())
    assert not places.refuses_more(than=places.refused)
    assert (places.refused, places.count) == ((B,), 2)
    assert places.news() == ["node b has torch 1.0; it trains no stacks of this sweep"]
    places.look()
    assert (answers.asked, places.news()) == (["b"], [])


def test_one_that_left_before_it_answered_is_neither(answers: Answers, places: Places) -> None:
    answers.there, answers.says = [A, B], {"b": None}
    places.look()
    assert (places.refused, places.count, places.news()) == ((), 2, [])


class Recorder(Observer):
    def __init__(self) -> None:
        self.messages: list[str] = []

    def on_message(self, text: str) -> None:
        self.messages.append(text)


class Gate:
    """An actor that stacks are held by until it is opened. It knows where they were begun."""

    def __init__(self) -> None:
        self._begun: list[str] = []
        self._open = False

    def begin(self, node: str) -> None:
        self._begun.append(node)

    def begun(self) -> list[str]:
        return self._begun

    def open(self) -> None:
        self._open = True

    def is_open(self) -> bool:
        return self._open


def held(references: Sequence[Any], software: Software, stop: Any) -> Iterator[Any]:
    """Train a stack as soon as the gate is open."""
    gate = ray.get_actor("gate", namespace="gate")
    ray.get(gate.begin.remote(ray.get_runtime_context().get_node_id()))
    while not ray.get(gate.is_open.remote()):
        time.sleep(0.1)
    yield from train_on_node(references, software, stop)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that trains nothing."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    ray.init(cluster.address, logging_level="ERROR", log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()  # type: ignore[no-untyped-call]


@pytest.fixture
def gate(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    del cluster
    made = ray.remote(num_cpus=0)(Gate).options(name="gate", namespace="gate").remote()
    monkeypatch.setattr(ray_worker, "train_on_node", held)
    monkeypatch.setattr(ray_places, "SECONDS_BETWEEN_LOOKS", 0.2)
    yield made
    ray.kill(made)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> SweepSummary:
    return train(tmp_path_factory.mktemp("local"), workers=0)


def train(runs_dir: Path, observer: Observer | None = None, **options: Any) -> SweepSummary:
    return run_sweep(
        config_from_mapping(SWEEP),
        runs_dir=runs_dir,
        options=Options("cpu", **options),
        observer=observer,
    )


TRAINS = OnRay(resources={"trains": 1})


def add(cluster: Any, **more: Any) -> Any:
    return cluster.add_node(num_cpus=1, resources={"trains": 1}, **more)


class Acting(Recorder):
    """Does something at each look of the main loop, one after the other, as each says it did."""

    def __init__(self, *steps: Any) -> None:
        super().__init__()
        self._steps = [*steps]
        self._until = time.monotonic() + 120

    def on_progress(self, step: int, total_steps: int) -> None:
        assert time.monotonic() < self._until, (
            f"only {self.messages}, {len(self._steps)} steps left"
        )
        if self._steps and self._steps[0](self):
            del self._steps[0]


def test_a_node_that_joins_trains_stacks_of_the_sweep(
    cluster: Any, gate: Any, local: SweepSummary, tmp_path: Path
) -> None:
    first = add(cluster)
    nodes = [first]

    def join(_: Recorder) -> bool:
        if ray.get(gate.begun.remote()):
            nodes.append(add(cluster))
        return len(nodes) == 2

    def release(_: Recorder) -> bool:
        # The first stack is held: whatever begins now does so on the other node.
        if len(ray.get(gate.begun.remote())) < 2:
            return False
        ray.get(gate.open.remote())
        return True

    acting = Acting(join, release)
    try:
        found = train(tmp_path, acting, ray=TRAINS)
        begun = ray.get(gate.begun.remote())
    finally:
        for node in nodes:
            cluster.remove_node(node)
    assert begun[:2] == [node.node_id for node in nodes]
    assert found.cells == local.cells
    assert acting.messages.count("the cluster now trains 2 stacks at once") == 1


@pytest.mark.long
def test_stacks_of_a_node_that_died_go_on_past_one_with_other_software(
    cluster: Any, gate: Any, local: SweepSummary, tmp_path: Path
) -> None:
    nodes = [add(cluster)]
    first = nodes[0].node_id
    with TemporaryDirectory() as folder:
        other = Path(folder, "torch-1.0.dist-info")
        other.mkdir()
        (other / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 1.0\n")

        def replace(_: Recorder) -> bool:
            if not ray.get(gate.begun.remote()):
                return False
            cluster.remove_node(nodes.pop(), allow_graceful=False)
            ray.get(gate.open.remote())
            nodes.append(add(cluster, env_vars={"PYTHONPATH": f"{folder}:{Path.cwd()}"}))
            return True

        def refused(recorder: Recorder) -> bool:
            return any("has torch 1.0" in message for message in recorder.messages)

        def join(_: Recorder) -> bool:
            nodes.append(add(cluster))
            return True

        acting = Acting(replace, refused, join)
        try:
            found = train(tmp_path, acting, ray=TRAINS)
            begun = ray.get(gate.begun.remote())
        finally:
            for node in nodes:
                cluster.remove_node(node)
    assert found.cells == local.cells
    # The first stack was held until its node died, and may have been sent to the other one next.
    assert [node for node in begun if node != nodes[0].node_id] == [first, *[nodes[1].node_id] * 3]
    (said,) = [message for message in acting.messages if "torch 1.0" in message]
    assert said.endswith("it trains no stacks of this sweep")
