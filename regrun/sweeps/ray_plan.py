"""How the stacks of a sweep would be spread over a Ray cluster: what `--dry-run` says."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heapreplace

from regrun.results import ClusterPlan, NodePlan, StackPlan
from regrun.sweeps.ray_cluster import Cluster


def spread(cluster: Cluster, stacks: Sequence[StackPlan], rest: float) -> ClusterPlan:
    """Each stack goes to the slot that is free first, as Ray places tasks, in their order.

    rest: how many times the work of these stacks a search has in all. Raises UsageError where no
    machine has the memory for the largest of them.
    """
    largest = max(stack.memory_bytes for stack in stacks)
    cluster.check(largest)
    nodes = [
        NodePlan(
            name=node.name,
            cpus=node.resources.get("CPU", 0),
            gpus=node.resources.get("GPU", 0),
            memory_bytes=node.memory_bytes,
            slots=cluster.slots(node, largest),
        )
        for node in cluster.nodes
    ]
    slots = sum(node.slots for node in nodes)
    busy = [(0.0, 0)] * slots
    """Of each slot: when it is free, and how many stacks it has trained by then."""
    heapify(busy)
    for stack in stacks:
        until, trained = busy[0]
        heapreplace(busy, (until + stack.seconds, trained + 1))
    return ClusterPlan(
        nodes=nodes,
        slots=slots,
        rounds=max(trained for _, trained in busy),
        seconds=max(until for until, _ in busy) * rest,
    )
