"""How the stacks of a sweep would be spread over a Ray cluster: what `--dry-run` says."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from heapq import heapreplace
from operator import itemgetter

from regrun.results import ClusterPlan, NodePlan, StackPlan
from regrun.sweeps.ray_cluster import Cluster


def spread(cluster: Cluster, stacks: Sequence[StackPlan], rest: float) -> ClusterPlan:
    """Each stack goes to the slot that is free first, of those that have the memory for it.

    So does Ray place tasks, in their order. On each machine the largest stack that it can train
    decides how many fit. rest: how many times the work of these stacks a search has in all. Raises
    UsageError where no machine has the memory for the largest of them.
    """
    sizes = sorted({stack.memory_bytes for stack in stacks}, reverse=True)
    cluster.check(sizes[0])
    held = [next(filter(partial(cluster.slots, node), sizes), None) for node in cluster.nodes]
    """Of each node: the largest stack that it can train."""
    nodes = [
        NodePlan(
            name=node.name,
            cpus=node.resources.get("CPU", 0),
            gpus=node.resources.get("GPU", 0),
            memory_bytes=node.memory_bytes,
            slots=cluster.slots(node, size) if size else 0,
        )
        for node, size in zip(cluster.nodes, held, strict=True)
    ]
    busy = [(size, [(0.0, 0)] * node.slots) for node, size in zip(nodes, held, strict=True) if size]
    """Of each slot of such nodes: when it is free, and how many stacks it has trained by then."""
    for stack in stacks:
        able = [slots for size, slots in busy if stack.memory_bytes <= size]
        slots = min(able, key=itemgetter(0))
        until, trained = slots[0]
        heapreplace(slots, (until + stack.seconds, trained + 1))
    ended = [slot for _, slots in busy for slot in slots]
    return ClusterPlan(
        nodes=nodes,
        slots=len(ended),
        rounds=max(trained for _, trained in ended),
        seconds=max(until for until, _ in ended) * rest,
    )
