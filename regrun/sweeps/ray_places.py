"""Where a Ray cluster can train stacks, as its machines come and go."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from regrun.sweeps.ray_cluster import Cluster, Node, nodes
from regrun.sweeps.ray_nodes import answer_of, ask
from regrun.sweeps.ray_task import Software, check_node

if TYPE_CHECKING:
    from ray import ObjectRef

SECONDS_BETWEEN_LOOKS = 3.0
"""How often machines that have come or gone are looked for."""

SECONDS_TO_ANSWER = 60.0
"""How long a machine has to say what software it has, where a stack failed there."""


class Places:
    """How many stacks a cluster trains at once, all through a sweep; for several threads.

    cluster: as it was when the sweep began, all of whose machines have been checked. Those that
    join count as soon as they have said that they have the same software; others train nothing.
    """

    def __init__(self, cluster: Cluster, software: Software) -> None:
        self.cluster, self.software = cluster, software
        """All machines that were able at any time, and what each must have."""
        self.refused: tuple[Node, ...] = ()
        """Machines that must get no stacks."""
        self.count = cluster.places
        self._lock = threading.Lock()
        self._looked = time.monotonic()
        self._asked: dict[str, tuple[Node, ObjectRef[Any]]] = {}
        self._news: deque[str] = deque()  # not under the lock, which may be held for long

    def news(self) -> list[str]:
        """What a user should know since this was asked last."""
        return [self._news.popleft() for _ in range(len(self._news))]

    def look(self) -> None:
        """Count again, from time to time. Waits for nobody."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            if time.monotonic() - self._looked > SECONDS_BETWEEN_LOOKS:
                self._look(0)
        finally:
            self._lock.release()

    def refuses_more(self, than: Sequence[Node]) -> bool:
        """Whether there are machines that must get no stacks, apart from these; asks new ones."""
        with self._lock:
            if len(self.refused) == len(than):
                self._look(SECONDS_TO_ANSWER)
            return len(self.refused) > len(than)

    def _look(self, seconds: float) -> None:
        """seconds: how long new machines are waited for."""
        import ray

        there = {node.identity: node for node in nodes()}
        known = {node.identity for node in (*self.cluster.nodes, *self.refused)}
        for identity in there.keys() - known - self._asked.keys():
            self._asked[identity] = there[identity], ask(there[identity], check_node, self.software)
        if self._asked:
            asked = [answer for _, answer in self._asked.values()]
            ready, _ = ray.wait(asked, num_returns=len(asked), timeout=seconds)
            self._take({identity for identity, (_, ref) in self._asked.items() if ref in ready})
        able = tuple(node for node in self.cluster.nodes if node.identity in there)
        self._say(replace(self.cluster, nodes=able).places)
        self._looked = time.monotonic()

    def _take(self, answered: Collection[str]) -> None:
        for identity in answered:
            node, answer = self._asked.pop(identity)
            why = answer_of(node, answer)
            if why:
                self.refused += (node,)
                self._news.append(f"{why}; it trains no stacks of this sweep")
            elif why is not None:
                # Of its GPUs, as of those that nobody could ask.
                least = min(
                    (each.gpu_bytes for each in self.cluster.nodes if each.gpu_bytes), default=0
                )
                joined = replace(node, gpu_bytes=least)
                self.cluster = replace(self.cluster, nodes=(*self.cluster.nodes, joined))

    def _say(self, places: int) -> None:
        if places != self.count:
            self.count = places
            stacks = "1 stack" if places == 1 else f"{places:,} stacks"
            self._news.append(f"the cluster now trains {stacks} at once")
