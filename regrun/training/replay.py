"""Steps that are recorded once and replayed, where the device can do that.

A step of a small network is some two hundred kernels. Python takes 2 ms to launch them one by one,
whatever the size of the stack. A CUDA graph launches all of them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from regrun.errors import PluginError
from regrun.memory import is_shortage
from regrun.training.differences import AGREEMENT, copy, largest_difference

WARM_UP = 2
"""Steps of a kind that are taken as they are before one is recorded: libraries set themselves up
in the first, and allocate what they keep."""

Work = Callable[[], Tensor]


@dataclass
class Recording:
    """steps: of this kind, so far."""

    steps: int = 0
    graph: torch.cuda.CUDAGraph | None = None
    result: Tensor | None = None
    checked: bool = False


class Replay:
    """Takes steps, each of some kind; on CUDA each kind is recorded as a graph.

    What a recorded step reads has to lie where it lay when it was recorded, and Python does not run
    again. The first replay is compared with the step taken as it is. What cannot be recorded, or
    does not agree, is taken as it is from then on; `refusal` says why.

    device: where the work is done. tensors: all that a step changes.
    """

    def __init__(self, device: torch.device, tensors: Callable[[], Sequence[Tensor]]) -> None:
        self.refusal = ""
        self._tensors = tensors
        self._kinds: dict[Hashable, Recording] = {}
        self._device = device
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def __call__(self, kind: Hashable, work: Work) -> Tensor:
        """Take a step; returns what the work returns, which the next step of its kind overwrites.

        kind: all that decides which operations the work is made of.
        """
        if self._stream is None or self.refusal:
            return work()
        recording = self._kinds.setdefault(kind, Recording())
        recording.steps += 1
        if recording.steps <= WARM_UP:
            return self._as_it_is(work)
        try:
            if recording.graph is None:
                self._record(recording, work)
            elif not recording.checked:
                return self._check(recording, work)
        except (RuntimeError, PluginError) as error:
            if is_shortage(error):
                raise
            # If the work itself is to blame, it says so once more.
            self._refuse(str(error).strip().splitlines()[0] if str(error) else repr(error))
            return work()
        return self._replayed(recording)

    def forget(self) -> None:
        """Drop all recordings, since the tensors are others from now on."""
        self._kinds.clear()

    def _as_it_is(self, work: Work) -> Tensor:
        """On the stream of the recording, as libraries keep memory for each stream."""
        assert self._stream is not None
        outer = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(outer)
        with torch.cuda.stream(self._stream):
            result = work()
        outer.wait_stream(self._stream)
        return result

    def _record(self, recording: Recording, work: Work) -> None:
        """Record the work without doing it."""
        graph = torch.cuda.CUDAGraph()
        mode = "thread_local"  # other threads may use the device meanwhile
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode=mode):
            recording.result = work()
        recording.graph = graph

    def _replayed(self, recording: Recording) -> Tensor:
        assert recording.graph is not None and recording.result is not None
        recording.graph.replay()
        return recording.result

    def _check(self, recording: Recording, work: Work) -> Tensor:
        """Take the step in both ways, and compare what each of them changes.

        It is not the step that was recorded, whose numbers would agree even if they were frozen.
        """
        tensors = self._tensors()
        before = [tensor.clone() for tensor in tensors]
        losses = self._as_it_is(work).clone()
        expected = [tensor.clone() for tensor in tensors]
        copy(before, tensors)
        replayed = self._replayed(recording)
        differ = largest_difference(
            [*tensors, replayed], [*expected, losses], [*before, losses * 0]
        )
        recording.checked = True
        if differ <= AGREEMENT:
            return replayed
        copy(expected, tensors)
        self._refuse(f"a replayed step differs by {differ:.0%} of what a step changes")
        return losses

    def _refuse(self, why: str) -> None:
        self.refusal = f"steps are launched operation by operation, not as a CUDA graph: {why}"
        self._kinds.clear()
