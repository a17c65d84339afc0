"""The Ray cluster of a sweep: joined or started, and the machines that belong to it."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

from rich.filesize import decimal

from regrun.cores import cores
from regrun.errors import ClusterLostError, UsageError
from regrun.sweeps.executor import OnRay

SECONDS_TO_ANSWER = 10.0
"""How long the machine of a cluster has to take up a connection."""

SECONDS_TO_COME_BACK = 30.0
"""How long the head of a cluster may be away. After 60 seconds Ray ends the driver."""

SECONDS_BETWEEN_CHECKS = 2.0
"""How often it is looked for."""

LOOPBACK = "127.0.0.1"

ON_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""As on those systems, Ray then listens on the loopback interface alone. It reads this when it is
imported, and replaces a loopback address that it is given by that of the machine."""

SILENT = {"RAY_IGNORE_UNHANDLED_ERRORS": "1"}
"""Ray would log what became of tasks that nobody waits for any more."""

TRIES = {"RAY_NUM_REDIS_GET_RETRIES": "1"}
"""Of Ray to reach a cluster, each of 40 seconds; it has twenty by default."""


@dataclass(frozen=True)
class Node:
    """A machine of the cluster, with what it has in all. resources: by name, CPU and GPU too.

    identity: that Ray knows it by, in the label of this name. gpu_bytes: what one of its GPUs has
    free, where that is known.
    """

    name: str
    resources: Mapping[str, float]
    identity: str = ""
    label: str = "ray.io/node-id"
    gpu_bytes: int = 0

    @property
    def memory_bytes(self) -> int:
        """What Ray lets the tasks of this machine use."""
        return int(self.resources.get("memory", 0))


@dataclass(frozen=True)
class Cluster:
    """The machines of a cluster as they are when a sweep is planned.

    on_gpus: whether stacks are trained on GPUs, and on the machines that have any. threads:
    cores of a stack that is trained on a CPU.
    """

    ray: OnRay
    nodes: tuple[Node, ...]
    on_gpus: bool = False
    threads: int = 1

    @property
    def asks(self) -> dict[str, float]:
        """What a stack takes of its node, but for memory."""
        own = {"GPU": self.ray.gpus or 1.0} if self.on_gpus else {"CPU": float(self.threads)}
        return own | dict(self.ray.resources)

    def slots(self, node: Node, stack_bytes: int = 0) -> int:
        """How many stacks a machine trains at once, each with so many bytes of memory."""
        rooms = [node.resources.get(name, 0) / amount for name, amount in self.asks.items()]
        if stack_bytes and not self.on_gpus:
            rooms.append(node.memory_bytes / stack_bytes)
        slots = int(min(rooms) + 1e-9)  # a tenth of a GPU fits in ten times
        return 0 if self.on_gpus and stack_bytes > self._room_of(node, slots) else slots

    @property
    def device(self) -> str:
        """What stacks are trained on, as a node calls it."""
        return "cuda" if self.on_gpus else "cpu"

    @property
    def places(self) -> int:
        """How many stacks are trained at once, as far as their memory allows it."""
        return sum(map(self.slots, self.nodes))

    @property
    def rooms(self) -> list[int]:
        """Memory for each stack that is trained at once, in bytes."""
        slots = [(node, self.slots(node)) for node in self.nodes]
        return [self._room_of(node, count) for node, count in slots for _ in range(count)]

    @property
    def most_bytes(self) -> int:
        """Memory that one stack can have at most."""
        if self.on_gpus:
            return max(self.rooms, default=0)
        return max((node.memory_bytes for node in self.nodes if self.slots(node)), default=0)

    def too_small(self, stack_bytes: int) -> list[Node]:
        """The machines whose GPUs lack the memory for such a stack, which Ray does not count."""
        if not self.on_gpus:
            return []
        able = [node for node in self.nodes if self.slots(node)]
        return [node for node in able if not self.slots(node, stack_bytes)]

    def _room_of(self, node: Node, slots: int) -> int:
        """What each of so many stacks has there."""
        if self.on_gpus:
            return int(node.gpu_bytes * self.asks["GPU"])
        return node.memory_bytes // max(1, slots)

    def holds(self, stack_bytes: int) -> bool:
        """Whether a machine can train such a stack."""
        return any(self.slots(node, stack_bytes) for node in self.nodes)

    def check(self, stack_bytes: int = 0) -> None:
        """Raise UsageError where no machine can train such a stack, with what all of them have."""
        if self.holds(stack_bytes):
            return
        if self.on_gpus and not any(node.resources.get("GPU") for node in self.nodes):
            raise UsageError("--device cuda: no node of the cluster has a GPU; write --device cpu")
        wanted = [f"{name} {amount:g}" for name, amount in self.asks.items()]
        memory = "memory of a GPU" if self.on_gpus else "memory"
        wanted += [f"{memory} {decimal(stack_bytes)}"] if stack_bytes else []
        there = dict.fromkeys(", ".join(_said(node)) or "nothing" for node in self.nodes)
        raise UsageError(
            f"no node of the cluster has what a stack takes ({', '.join(wanted)}); there is: "
            + "; ".join(there)
        )


def _said(node: Node) -> list[str]:
    """What a machine has, without the resources that stand for itself."""
    own = {name: amount for name, amount in node.resources.items() if ":" not in name}
    own.pop("object_store_memory", None)
    memory = own.pop("memory", None)
    said = [f"{name} {amount:g}" for name, amount in own.items()]
    said += [f"memory {decimal(int(memory))}"] if memory else []
    return said + ([f"{decimal(node.gpu_bytes)} free on a GPU"] if node.gpu_bytes else [])


@contextmanager
def joined(ray: OnRay | None, *, device: str = "cpu", threads: int = 1) -> Iterator[Cluster | None]:
    """Belong to a cluster for the block, or have a Ray of this machine alone; None: without Ray.

    device: `auto` is the GPUs of the cluster where it has any. In a program that has joined one
    itself, that one is used, and is left as it is. Raises UsageError where there is no cluster at
    the address, or none that could train a stack.
    """
    if ray is None:
        yield None
        return
    address = ray.address or os.environ.get("RAY_ADDRESS") or "local"
    with _environment({**TRIES, **(ON_LOOPBACK if address == "local" else {})}):
        import ray as library

    if library.is_initialized():
        if ray.address is not None:
            raise UsageError(
                f"--ray-address {address}: this program has joined a cluster of its own; leave the "
                "address out, or call ray.shutdown() first"
            )
        yield _cluster(ray, device, threads)
        return
    OnRay.check_address(address)
    _check_answers(address)
    with _environment(SILENT):
        try:
            with _own_handlers():
                _join(address)
            with _silent():
                yield _cluster(ray, device, threads)
        finally:
            library.shutdown()


def _cluster(ray: OnRay, device: str, threads: int) -> Cluster:
    found = Cluster(ray, tuple(nodes()), device != "cpu", threads)
    if device == "auto" and not found.places:
        found = replace(found, on_gpus=False)
    found.check()
    return found


class Pulse:
    """Whether the head of the cluster is there; for several threads."""

    def __init__(self) -> None:
        import ray

        self._address = ray.get_runtime_context().gcs_address
        self._lock = threading.Lock()
        self._checked = self._there = time.monotonic()

    def check(self) -> None:
        """Raise ClusterLostError where it has been away for too long."""
        with self._lock:
            now = time.monotonic()
            if now - self._checked > SECONDS_BETWEEN_CHECKS:
                self._checked = now
                if _silence(self._address) is None:
                    self._there = time.monotonic()
            if time.monotonic() - self._there > SECONDS_TO_COME_BACK:
                raise ClusterLostError(
                    f"the Ray cluster at {self._address} has not answered for "
                    f"{SECONDS_TO_COME_BACK:g} seconds"
                )


def _silence(address: str) -> OSError | None:
    """Why nobody takes up a connection there; None where somebody does."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), SECONDS_TO_ANSWER).close()
    except OSError as error:
        return error
    return None


def nodes() -> list[Node]:
    """The machines of the cluster that are alive, in a fixed order."""
    import ray

    living = (_node(each) for each in ray.nodes() if each["Alive"])  # type: ignore[no-untyped-call]
    return sorted(living, key=lambda node: (node.name, node.identity))


def _node(said: Mapping[str, Any]) -> Node:
    identity = str(said["NodeID"])
    labels = [label for label, value in said.get("Labels", {}).items() if value == identity]
    return Node(str(said["NodeManagerHostname"]), dict(said["Resources"]), identity, *labels[:1])


def _join(address: str) -> None:
    """Raises UsageError with what Ray says where it does not come to terms with the cluster."""
    import ray

    init = partial(ray.init, logging_level=logging.ERROR, log_to_driver=False)
    if address == "local":
        with _environment({"RAY_AUTH_TOKEN": _token()}):
            init("local", num_cpus=cores(), include_dashboard=False)
        (node,) = ray.nodes()  # type: ignore[no-untyped-call]
        if node["NodeManagerAddress"] != LOOPBACK:
            ray.shutdown()
            (name, value), *_ = ON_LOOPBACK.items()
            raise UsageError(
                "--executor ray: Ray was imported before, and would listen on all networks of this "
                f"machine; set {name}={value} in the environment before, or import regrun alone"
            )
        return
    try:
        init(address)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise UsageError(f"--ray-address {address}: {_reason(error)}") from error


@cache
def _token() -> str:
    """What whoever talks to the Ray of this machine alone has to know.

    Ray would leave one in the home directory, and start every later cluster of this machine in need
    of it. It reads the one of a process once.
    """
    return secrets.token_hex(32)


def _reason(error: BaseException) -> str:
    """What Ray says; of a token, what to do about it."""
    if "authentication token" in f"{error}{error.__cause__}".lower():
        return (
            "the cluster asks for a token; set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to what "
            "`ray get-auth-token` prints on the machine of its head"
        )
    return str(error).strip().partition("\n")[0]


def _check_answers(address: str) -> None:
    """Raise UsageError where nothing listens: Ray would try for minutes."""
    error = _silence(address) if ":" in address else None
    if error is not None:
        raise UsageError(
            f"--ray-address {address}: no cluster answers ({error.strerror or error}); is it the "
            "address that `ray start --head` printed, and is Ray still running there?"
        ) from error


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set those variables that are not set for the block."""
    added = [name for name in variables if name not in os.environ]
    os.environ.update({name: variables[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


@contextmanager
def _silent() -> Iterator[None]:
    """Keep Ray from printing to stdout which machines and processes were lost.

    It does so whatever it is asked to log, and would spoil a JSON document. What matters of it is
    said by the sweep.
    """
    from ray._private import worker

    printing = worker.print_to_stdstream
    worker.print_to_stdstream = lambda *_, **__: None
    try:
        yield
    finally:
        worker.print_to_stdstream = printing


@contextmanager
def _own_handlers() -> Iterator[None]:
    """Put back the handler of SIGTERM, which Ray replaces by one that ends the process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    own = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, own)
