"""What the machines of a Ray cluster answer before a sweep begins, each by a small task."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from regrun.errors import ClusterLostError, UsageError
from regrun.sweeps.ray_cluster import Cluster, Node
from regrun.sweeps.ray_deaths import NodeDied, meaning_of
from regrun.sweeps.ray_task import Software, check_node, free_gpu_bytes

if TYPE_CHECKING:
    from ray import ObjectRef

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

    asked = {ask(node, question, *arguments, num_gpus=num_gpus): node for node in nodes}
    answered, late = ray.wait([*asked], num_returns=len(asked), timeout=wait)
    for each in late:
        ray.cancel(each)
    for each in answered:
        answer = answer_of(asked[each], each)
        if answer is not None:
            yield asked[each], answer


def ask(
    node: Node, question: Callable[..., Any], *arguments: Any, num_gpus: float = 0
) -> ObjectRef[Any]:
    """Let a node answer a question, in a process that stays for a stack.

    One that was asked for a GPU ends, as Ray has it, and with it what it holds of the GPU.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    remote = ray.remote(num_cpus=0, num_gpus=num_gpus, max_retries=0)(question)
    there = NodeAffinitySchedulingStrategy(node.identity, soft=False)
    asked: ObjectRef[Any] = remote.options(scheduling_strategy=there).remote(*arguments)
    return asked


def answer_of(node: Node, asked: ObjectRef[Any]) -> Any:
    """What a node answers; why not, in words, where it cannot run regrun.

    None: it has left the cluster meanwhile. Raises ClusterLostError.
    """
    import ray
    from ray import exceptions

    try:
        return ray.get(asked)
    except exceptions.TaskUnschedulableError:
        return None
    except exceptions.RayError as error:
        meaning = meaning_of(error)
        if isinstance(meaning, NodeDied):
            return None
        if isinstance(meaning, ClusterLostError):
            raise meaning from error
        why = str(error).strip().rpartition("\n")[2]
        return (
            f"node {node.name} cannot run regrun ({why}); install it there, in the environment "
            "that Ray was started in"
        )


def _refuse(answers: Iterator[str]) -> None:
    said = "; ".join(filter(None, dict.fromkeys(answers)))
    if said:
        raise UsageError(said)
