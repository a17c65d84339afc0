"""Steps that can be recorded: they read and write the same tensors each time, and wait for none.

A CUDA graph repeats the operations of one step on the same memory, with the same Python numbers.
Here all operations of two steps of a kind are compared on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any, cast

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from regrun.errors import PluginError
from regrun.memory import is_shortage
from regrun.stack import whole
from regrun.stack.noise import CounterNoise
from regrun.training import step as step_module
from regrun.training.engine import Engine
from regrun.training.replay import WARM_UP, Recording, Replay, Work
from tests.support import torchvision_runs
from tests.support.engines import config_of, dataset_of
from tests.support.small_networks import use_small_networks
from tests.support.steps import BASE, CASES

WAITING = ("item", "_local_scalar_dense", "nonzero", "is_nonzero", "equal", "_unique", "masked_se")
"""Parts of names of operations that wait for the device, to give Python a number or a size."""

FROM_PYTHON = ("lift_fresh",)
"""Operations that bring numbers of Python to the device."""


class Trace(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Each operation with its numbers, and where those of its tensors lie that it did not make."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[tuple[Any, ...]] = []
        self._own: dict[int, Tensor] = {}
        """What the step itself has made, kept so that no address is used twice."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = tree_flatten((args, kwargs or {}))[0]
        said = tuple(
            self._place(each) if isinstance(each, Tensor) else each
            for each in given
            if not isinstance(each, torch.Generator)
        )
        result = func(*args, **(kwargs or {}))
        masks = any(isinstance(each, Tensor) and each.dtype == torch.bool for each in given)
        counts = masks and "index" in str(func)  # as many as are true, which Python has to know
        self.operations.append((f"{func}{' nonzero' * counts}", *said))
        for each in tree_flatten(result)[0]:
            if isinstance(each, Tensor) and not self._known(each, given):
                self._own[each.untyped_storage().data_ptr()] = each
        return result

    def _place(self, tensor: Tensor) -> tuple[Any, ...]:
        place = tensor.untyped_storage().data_ptr()
        shape = (tuple(tensor.shape), tensor.stride(), tensor.storage_offset())
        return ("own" if place in self._own else place, *shape)

    def _known(self, tensor: Tensor, given: list[Any]) -> bool:
        places = {t.untyped_storage().data_ptr() for t in given if isinstance(t, Tensor)}
        return tensor.untyped_storage().data_ptr() in places


class Tracing(Replay):
    """Traces the steps instead of recording them."""

    def __init__(self, *_: Any) -> None:
        super().__init__(torch.device("cpu"), list)
        self.traces: dict[Hashable, list[list[tuple[Any, ...]]]] = {}

    def __call__(self, kind: Hashable, work: Callable[[], Tensor]) -> Tensor:
        with Trace() as trace:
            result = work()
        self.traces.setdefault(kind, []).append(trace.operations)
        return result


@pytest.fixture
def tracing(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Tracing]]:
    """The tracings of all engines made from now on, which compute as on an accelerator."""
    made: list[Tracing] = []

    def make(*_: Any) -> Tracing:
        made.append(Tracing())
        return made[-1]

    monkeypatch.setattr(step_module, "Replay", make)
    monkeypatch.setattr(step_module, "make_noise", CounterNoise)
    monkeypatch.delattr(torch, "_fused_adam_")  # its numbers are Python's
    yield made


def differences(traces: list[list[tuple[Any, ...]]]) -> list[str]:
    """What keeps steps of one kind from being recorded."""
    first, *others = traces
    names = [name for name, *_ in first]
    found = [name for name in names for part in (*WAITING, *FROM_PYTHON) if part in name]
    for other in others:
        if len(other) != len(first):
            return [*found, f"{len(first)} operations, then {len(other)}"]
        pairs = zip(first, other, strict=True)
        found += [f"{mine}, then {theirs}" for mine, theirs in pairs if mine != theirs]
    return found


@pytest.mark.parametrize("case", CASES)
def test_steps_of_a_kind_are_the_same_operations_on_the_same_memory(
    case: str, tracing: list[Tracing]
) -> None:
    one = config_of(BASE, CASES[case])
    members = []
    for seed, lr in ((0, 0.01), (0, 0.02), (1, 0.03)):
        optimizer = one.optimizer.model_copy(update={"lr": lr})
        members.append(one.model_copy(update={"seed": seed, "optimizer": optimizer}))
    engine = Engine(members, dataset_of(one), torch.device("cpu"))
    for _ in engine.run():
        pass
    (found,) = tracing
    assert sum(map(len, found.traces.values())) == engine.total_steps
    for traces in found.traces.values():
        assert differences(traces[2:]) == []  # memory may be laid out in the first ones


@pytest.mark.parametrize("case", torchvision_runs.CASES)
def test_steps_of_a_network_of_torchvision_are_alike_when_it_is_trained_alone(
    case: str, tracing: list[Tracing], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_small_networks(monkeypatch)
    monkeypatch.setattr(whole, "channels_last_pays", lambda _: True)
    one = torchvision_runs.config(case)
    for _ in Engine([one], torchvision_runs.pictures(), torch.device("cpu")).run():
        pass
    (found,) = tracing
    (traces,) = found.traces.values()
    assert differences(traces[2:]) == []


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (lambda x, step: x * 2, 0),
        (lambda x, step: x * step, 1),
        (lambda x, step: x.clone() + x.sum().item(), 1),
        (lambda x, step: x[x > 0], 1),
        (lambda x, step: x * torch.tensor(2.0), 1),
        (lambda x, step: x[step:], 1),
        (lambda x, step: x + torch.ones(3) if step else x, 1),
    ],
)
def test_the_tracing_sees_what_cannot_be_recorded(
    work: Callable[[Tensor, int], Tensor], expected: int
) -> None:
    x = torch.arange(3.0)
    tracing = Tracing()
    for step in (0, 1):
        tracing("kind", lambda step=step: work(x, step))  # type: ignore[misc]
    assert (len(differences(tracing.traces["kind"])) > 0) == bool(expected)


class Pretended(Replay):
    """Replays by doing the work again, with the numbers of the step that was recorded."""

    def __init__(self, tensors: list[Tensor]) -> None:
        super().__init__(torch.device("cpu"), lambda: tensors)
        self._stream = cast("torch.cuda.Stream", object())
        self.replays = 0

    def _as_it_is(self, work: Work) -> Tensor:
        return work()

    def _record(self, recording: Recording, work: Work) -> None:
        recording.graph = cast("torch.cuda.CUDAGraph", self)
        self._work = work

    def _replayed(self, recording: Recording) -> Tensor:
        self.replays += 1
        return self._work()


class Counting:
    """A step that adds a number to a tensor: one of Python, or one that lies in a tensor."""

    def __init__(self, *, frozen: bool) -> None:
        self.total, self.number = torch.zeros(3), torch.zeros(())
        self.replay = Pretended([self.total])
        self._frozen = frozen

    def __call__(self, step: int, kind: str = "kind") -> Tensor:
        self.number.fill_(step)
        number = float(step) if self._frozen else self.number

        def work() -> Tensor:
            self.total += number
            return self.total.clone()

        return self.replay(kind, work)


def test_a_kind_of_step_is_replayed_after_it_was_recorded_and_checked() -> None:
    counting = Counting(frozen=False)
    totals = [counting(step)[0].item() for step in range(1, 9)]
    assert totals == [1, 3, 6, 10, 15, 21, 28, 36]
    assert counting.replay.replays == 8 - WARM_UP
    assert counting.replay.refusal == ""


def test_a_number_that_was_frozen_is_noticed_before_it_does_harm() -> None:
    counting = Counting(frozen=True)
    totals = [counting(step)[0].item() for step in range(1, 9)]
    assert totals == [1, 3, 6, 10, 15, 21, 28, 36]
    assert "not as a CUDA graph: a replayed step differs by" in counting.replay.refusal


def test_each_kind_is_recorded_by_itself_and_forgotten_with_the_others() -> None:
    counting = Counting(frozen=False)
    for step in range(1, 13):
        counting(step, "last" if step % 3 == 0 else "other")
    assert counting.total[0] == sum(range(1, 13))
    assert counting.replay.replays == 12 - 2 * WARM_UP
    counting.replay.forget()
    counting(13)
    assert counting.replay.replays == 12 - 2 * WARM_UP


@pytest.mark.parametrize("error", [RuntimeError("capturing\nmore"), PluginError("capturing")])
def test_what_cannot_be_recorded_is_done_as_it_is(error: Exception) -> None:
    class Refusing(Pretended):
        def _record(self, recording: Recording, work: Work) -> None:
            raise error

    counting = Counting(frozen=False)
    counting.replay = Refusing([counting.total])
    assert [counting(step)[0].item() for step in (1, 2, 3, 4)] == [1, 3, 6, 10]
    assert counting.replay.refusal.endswith("CUDA graph: capturing")


def short() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory.")


def short_while_recording() -> None:
    """As the end of a capture has it, which fails as well."""
    try:
        short()
    finally:
        raise RuntimeError("operation failed due to a previous error during capture")


@pytest.mark.parametrize("record", [short, short_while_recording])
def test_a_lack_of_memory_is_no_reason_to_launch_operations_one_by_one(
    record: Callable[[], None],
) -> None:
    class Short(Pretended):
        def _record(self, recording: Recording, work: Work) -> None:
            record()

    counting = Counting(frozen=False)
    counting.replay = Short([counting.total])
    counting(1), counting(2)
    with pytest.raises(RuntimeError) as caught:
        counting(3)
    assert is_shortage(caught.value)
    assert counting.total[0] == 3
    assert counting.replay.refusal == ""


def test_numbers_that_are_not_finite_agree_where_they_are_the_same() -> None:
    total = torch.zeros(2)
    replay = Pretended([total])
    for step in range(6):

        def work(step: int = step) -> Tensor:
            total[0] = torch.inf
            total[1] += 1
            return total.clone()

        replay("kind", work)
    assert total.tolist() == [torch.inf, 6.0]
    assert replay.refusal == ""
