"""The driver's side of stacks that are trained on a Ray cluster.

It sends a stack, and writes what comes back into the sweep directory, as if it had been trained
there. Ray decides where and when.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from regrun.config.load import Loaded
from regrun.config.schema import Config
from regrun.execution.prepare import load_data
from regrun.store.atomic import make_directory, read_bytes, write_atomic
from regrun.store.checkpoint import CheckpointStore
from regrun.store.place import Place
from regrun.store.run_dir import RunDir
from regrun.store.sweep_dir import SweepDir
from regrun.sweeps.crew import Crew
from regrun.sweeps.planned_stack import Outcome, PlannedStack, configs_of, stored_configs
from regrun.sweeps.ray_cluster import Node, Pulse
from regrun.sweeps.ray_deaths import NodeDied, deaths
from regrun.sweeps.ray_places import Places
from regrun.sweeps.ray_task import (
    Ended,
    Files,
    Parcel,
    Software,
    Stop,
    Task,
    train_on_node,
)
from regrun.sweeps.shared_progress import SharedProgress, StackSlot
from regrun.sweeps.worker import Worker

if TYPE_CHECKING:
    from ray import ObjectRef

POLL_SECONDS = 0.5
"""How often the driver looks whether nodes are to be asked to stop."""

PARCELS = 4
"""Parcels of one stack that wait for the driver, at most."""


class NodeRefused(Exception):  # noqa: N818 - an event, not an error
    """A stack has failed, and there is a node with other software, where it may have been."""


class Examples:
    """The examples of stacks, in the cluster's object store: each node fetches them once."""

    def __init__(self, stacks: Sequence[PlannedStack], loaded: Loaded) -> None:
        self._loaded = loaded
        self._lock = threading.Lock()
        self._left = Counter(stack.data for stack in stacks)
        self._stored: dict[str, ObjectRef[Any]] = {}

    def of(self, stack: PlannedStack) -> ObjectRef[Any]:
        """A reference to them. Raises what loading them raises."""
        import ray

        with self._lock:
            if stack.data not in self._stored:
                config: Config = next(configs_of(self._loaded, stack.runs[:1]))
                dataset = load_data(config, torch.device("cpu"), allow_large=True)
                with deaths():
                    self._stored[stack.data] = ray.put(dataset)
            return self._stored[stack.data]

    def done(self, stack: PlannedStack) -> None:
        """Forget them where no other stack needs them."""
        with self._lock:
            self._left[stack.data] -= 1
            if not self._left[stack.data]:
                self._stored.pop(stack.data, None)


@dataclass(frozen=True)
class Orders:
    """What all stacks of a round are sent with.

    loaded: the config of the sweep. memory: bytes of each stack, by its number. remote:
    `train_on_node` as a remote function, made once, since the head of the cluster gets it each time
    it is made.
    """

    remote: Any
    loaded: Loaded
    places: Places
    software: Software
    memory: Mapping[int, int]
    examples: Examples
    stop: Any
    pulse: Pulse


@contextmanager
def workers_on(
    places: Places, stacks: Sequence[PlannedStack], memory: Mapping[int, int]
) -> Iterator[Crew]:
    """As many workers as the cluster trains stacks at once, while its machines come and go.

    memory: what each stack takes, in bytes, by its number. Raises UsageError where no node has it.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    cluster, software = places.cluster, places.software
    cluster.check(max(memory.values()))
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    stop: Any = (
        ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Stop)
        .options(scheduling_strategy=here)
        .remote()
    )
    remote = ray.remote(train_on_node)
    loaded = stacks[0].load()  # once, since that of a large grid takes a while
    examples = Examples(stacks, loaded)
    orders = Orders(remote, loaded, places, software, memory, examples, stop, Pulse())
    try:
        yield OfCluster(orders, min(places.count, len(stacks)))
    finally:
        ray.kill(stop)


class OfCluster(Crew):
    """Workers for a cluster, which may grow. workers: how many begin."""

    def __init__(self, orders: Orders, workers: int) -> None:
        super().__init__([OnCluster(orders) for _ in range(max(1, workers))])
        self._orders = orders

    @property
    def places(self) -> int:
        return max(1, self._orders.places.count)

    def hire(self) -> Worker:
        self.workers.append(OnCluster(self._orders))
        return self.workers[-1]

    def news(self) -> list[str]:
        return self._orders.places.news()


class OnCluster(Worker):
    """Sends one stack at a time, and waits in a thread for what comes back."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._thread = ThreadPoolExecutor(1)

    def train(self, stack: PlannedStack, slot: int, progress: SharedProgress) -> Future[Outcome]:
        return self._thread.submit(self._train, stack, slot, progress)

    def close(self) -> None:
        self._thread.shutdown()

    def _train(self, stack: PlannedStack, slot: int, progress: SharedProgress) -> Outcome:
        while True:
            refused = self._orders.places.refused
            try:
                return self._send(stack, progress.slot(slot), progress, refused)
            except NodeRefused:  # it goes elsewhere
                continue

    def _send(
        self,
        stack: PlannedStack,
        slot: StackSlot,
        progress: SharedProgress,
        refused: Sequence[Node],
    ) -> Outcome:
        """Train a stack on any node but those refused."""
        import ray

        orders = self._orders
        task, examples = _task(stack, orders), orders.examples.of(stack)
        with deaths():
            stream = _remote(orders, stack, refused).remote(
                [ray.put(task), examples], orders.software, orders.stop
            )
        received = Received(SweepDir(stack.sweep), stack, slot)
        for parcel in _parcels(stream, lambda: progress.stopped, orders, refused):
            received.take(parcel)
            if parcel.error is not None:
                raise parcel.error
            if parcel.outcome is not None and parcel.outcome.done:
                orders.examples.done(stack)
                received.end()
            if parcel.outcome is not None:
                return parcel.outcome
        if progress.stopped:
            return Outcome(False, ())
        raise NodeDied


def _remote(orders: Orders, stack: PlannedStack, refused: Sequence[Node]) -> Any:
    """The task, with what it takes of its node. refused: nodes that it must not go to."""
    cluster, memory = orders.places.cluster, orders.memory[stack.number]
    asks = cluster.asks
    return orders.remote.options(
        num_cpus=asks.pop("CPU", 0),
        num_gpus=asks.pop("GPU", 0),
        resources=asks,
        **_elsewhere([*cluster.too_small(memory), *refused]),
        **({} if cluster.on_gpus else {"memory": memory}),
        max_retries=0,
        num_returns="streaming",
        _generator_backpressure_num_objects=PARCELS,
    )


def _elsewhere(nodes: Sequence[Node]) -> dict[str, Any]:
    """The option of a task that keeps it off these nodes."""
    from ray.util.scheduling_strategies import NodeLabelSchedulingStrategy, NotIn

    if not nodes:
        return {}
    names = NotIn(*(node.identity for node in nodes))  # type: ignore[no-untyped-call]
    return {"scheduling_strategy": NodeLabelSchedulingStrategy({nodes[0].label: names})}


def _task(stack: PlannedStack, orders: Orders) -> Task:
    """A stack as a node gets it, with its last checkpoint."""
    files = SweepDir(stack.sweep)
    checkpoints = files.stack(stack.number)
    saved = [checkpoints / name for name in checkpoints.entries()]
    needed = [files.config, *saved]
    for run in map(files.run, stack.runs):
        if saved or run.finished:  # without a checkpoint, all others begin anew
            needed += [run.metrics, run.histograms, run.summary]
    contents = {_name(files, place): read_bytes(place) for place in needed if place.is_file()}
    configs = tuple(stored_configs(stack, orders.loaded))
    return Task(stack, files.path.resolve(), configs, contents, orders.places.cluster.device)


def _name(folder: SweepDir | RunDir, place: Place) -> str:
    return place.path.relative_to(folder.path).as_posix()


def _parcels(
    stream: Any, should_stop: Callable[[], bool], orders: Orders, refused: Sequence[Node] = ()
) -> Iterator[Parcel]:
    """The parcels of a task, as they come. should_stop: whether it is to save and end.

    refused: nodes that it was kept off. Raises NodeRefused where others were found since,
    WorkerDied, ClusterLostError, and what the task raised.
    """
    import ray
    from ray import exceptions

    asked = begun = cancelled = False
    while True:
        with deaths():
            ready, _ = ray.wait([stream], timeout=POLL_SECONDS)
            if should_stop() and not asked:
                asked, cancelled = True, not begun
                orders.stop.set.remote()
                if cancelled:  # it may wait for a node that never comes
                    ray.cancel(stream)
        orders.pulse.check()
        with deaths():
            orders.places.look()
        if not ready:
            continue
        with deaths():
            try:
                parcel = ray.get(next(stream))
            except StopIteration:
                return
            except exceptions.RayError as error:
                if cancelled:  # where Ray was started with SIGINT ignored, it raises a TypeError
                    return
                if isinstance(error, exceptions.RayTaskError) and orders.places.refuses_more(
                    refused
                ):
                    raise NodeRefused from error
                raise
        begun = True
        yield parcel


class Received:
    """Writes what a node sends of one stack into the sweep directory."""

    def __init__(self, files: SweepDir, stack: PlannedStack, slot: StackSlot) -> None:
        self._files, self._stack, self._slot = files, stack, slot

    def take(self, parcel: Parcel) -> None:
        """Write the files, then note how the stack stands. Raises StorageError."""
        with self._files.place.kept_open():
            for directory, files in parcel.finished.items():
                self._finish(RunDir(self._files.place / directory), files)
            if parcel.saved:
                self._save(parcel.saved)
        self._slot.steps(parcel.steps)
        for report in parcel.reports:
            if isinstance(report, Ended):
                self._slot.ended(report.member, report.value, counts=report.counts)
            else:
                self._slot.measured(report.members, np.array(report.values))

    def end(self) -> None:
        """Remove the checkpoints of the stack, all of whose runs have ended."""
        CheckpointStore(self._files.stack(self._stack.number)).clear()

    def _finish(self, run: RunDir, files: Files) -> None:
        """Write a run that has ended, in place of what there was of it; the summary last."""
        if run.finished:
            return
        make_directory(run.place)
        with run.place.kept_open():
            for place in _below(run.place):
                if _name(run, place) not in files:
                    place.unlink()
            for name, content in files.items():
                if name != run.summary.name:
                    _write(run.place, name, content)
            write_atomic(run.summary, files[run.summary.name], durable=False)

    def _save(self, files: Files) -> None:
        """Write a checkpoint after the files that it needs, and keep the one before it."""
        checkpoints = self._files.stack(self._stack.number)
        own = f"{_name(self._files, checkpoints)}/"
        for name in sorted(files, key=lambda each: each.startswith(own)):
            _write(self._files.place, name, files[name], durable=name.startswith(own))
        for name in checkpoints.entries()[:-2]:
            (checkpoints / name).unlink()


def _write(folder: Place, name: str, content: bytes, *, durable: bool = False) -> None:
    *folders, last = PurePosixPath(name).parts
    place = folder
    for part in folders:
        place = place / part
        make_directory(place)
    write_atomic(place / last, content, durable=durable)


def _below(folder: Place) -> Iterator[Place]:
    """The files of a run."""
    folders = set(folder.folders())
    for name in folder.entries():
        place = folder / name
        yield from (place / each for each in place.entries()) if name in folders else [place]
