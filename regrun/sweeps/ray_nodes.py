"""What the machines of a Ray cluster answer before a sweep begins, each by a small task."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from regrun.errors import ClusterLostError, UsageError
from regrun.sweeps.ray_cluster import Cluster, Node
from regrun.sweeps.ray_task import Software, check_node, free_gpu_bytes
from regrun.sweeps.ray_worker import NodeDied, meaning_of

SECONDS_FOR_A_GPU = 60.0
"""How long a GPU may be in use by others until its machine is left out of the planning."""


def check_nodes(cluster: Cluster) -> None:
    """Raise UsageError for nodes that have other software than this process."""
    software = Software.of_this_process()
    _refuse(why for _, why in _answers(cluster.nodes, check_node, software))


def with_gpu_memory(cluster: Cluster) -> Cluster:
    """The cluster with the free memory of its GPUs; a cluster of CPUs as it is.

    Raises UsageError where no GPU of it is to be had, or torch finds none on a node.
    """
    if not cluster.on_gpus:
        return cluster
    able = [node for node in cluster.nodes if cluster.slots(node)]
    asked = _answers(able, free_gpu_bytes, num_gpus=cluster.asks["GPU"], wait=SECONDS_FOR_A_GPU)
    found = {node.identity: answer for node, answer in asked}
    _refuse(str(answer) for answer in found.values() if isinstance(answer, str))
    if not found:
        raise UsageError(
            f"no GPU of the cluster was free within {SECONDS_FOR_A_GPU:.0f} seconds, and the size "
            "of stacks follows from its memory; try again when others have ended"
        )
    least = min(found.values())  # of a GPU that nobody could ask
    nodes = (
        replace(node, gpu_bytes=found.get(node.identity, least)) if node in able else node
        for node in cluster.nodes
    )
    return replace(cluster, nodes=tuple(nodes))


def _answers(
    nodes: Sequence[Node],
    question: Callable[..., Any],
    *arguments: Any,
    num_gpus: float = 0,
    wait: float | None = None,
) -> Iterator[tuple[Node, Any]]:
    """What nodes answer; of one that cannot run regrun, why not, in words.

    Those that have left the cluster meanwhile, or answer too late, are left out.
    """
    import ray
    from ray import exceptions
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    remote = ray.remote(num_cpus=0, num_gpus=num_gpus, max_calls=1, max_retries=0)(question)
    asked = [
        remote.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.identity, soft=False)
        ).remote(*arguments)
        for node in nodes
    ]
    late = ray.wait(asked, num_returns=len(asked), timeout=wait)[1] if wait else []
    for answer in late:
        ray.cancel(answer)
    for node, answer in zip(nodes, asked, strict=True):
        if answer in late:
            continue
        try:
            yield node, ray.get(answer)
        except exceptions.TaskUnschedulableError:
            continue  # the node has left the cluster meanwhile
        except exceptions.RayError as error:
            meaning = meaning_of(error)
            if isinstance(meaning, NodeDied):
                continue
            if isinstance(meaning, ClusterLostError):
                raise meaning from error
            why = str(error).strip().rpartition("\n")[2]
            yield (
                node,
                f"node {node.name} cannot run regrun ({why}); install it there, in the environment "
                "that Ray was started in",
            )


def _refuse(answers: Iterator[str]) -> None:
    said = "; ".join(filter(None, dict.fromkeys(answers)))
    if said:
        raise UsageError(said)
