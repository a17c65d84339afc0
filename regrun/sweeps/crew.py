"""The workers of some stacks."""

from __future__ import annotations

from collections.abc import Sequence

from regrun.sweeps.worker import Worker


class Crew:
    """As many workers as there were at the beginning. workers: the first one begins."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self.workers = [*workers]

    @property
    def places(self) -> int:
        """How many stacks may be trained at once now, at least one."""
        return len(self.workers)

    def hire(self) -> Worker:
        """One more worker, where there are more places than workers."""
        raise NotImplementedError

    def news(self) -> list[str]:
        """What a user should know of the workers since this was asked last."""
        return []

    def close(self) -> None:
        """Wait for the end of all of them."""
        for worker in self.workers:
            worker.close()
