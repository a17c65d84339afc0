"""What every optimizer that a config can name promises, built in or plugged in."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from regrun.kinds.base import names_of
from regrun.kinds.optimizers.base import Optimizer
from regrun.kinds.registry import KINDS
from regrun.stack.optimizer import StackedOptimizer

OPTIMIZERS = [kind for kind in KINDS["optimizers"] if issubclass(kind, Optimizer)]
SHAPES = {"weight": (5, 3), "bias": (5,)}


def section(kind: type[Optimizer], shift: float = 0.0) -> Optimizer:
    """A section whose own numbers are its defaults, each moved by a shift."""
    keys: dict[str, Any] = {"name": names_of(kind)[0], "lr": 0.05 + shift}
    own = kind(**keys).numbers().keys() - Optimizer.model_fields.keys()
    return kind(**keys, **{k: kind.model_fields[k].default * (1 - shift) + shift / 2 for k in own})


def weights(members: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(4, *shape, generator=generator, dtype=torch.float64)[:members].clone()
        for name, shape in SHAPES.items()
    }


def gradients(step: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(step + 1)
    return [
        torch.randn(4, *shape, generator=generator, dtype=torch.float64)
        for shape in SHAPES.values()
    ]


def run(optimizer: StackedOptimizer, members: slice, steps: range = range(6)) -> None:
    for step in steps:
        optimizer.look_ahead()
        optimizer.step([gradient[members] for gradient in gradients(step)], 0.5 + 0.1 * step)


@pytest.mark.parametrize("kind", OPTIMIZERS, ids=lambda kind: kind.__name__)
def test_a_member_in_a_stack_is_the_member_alone(kind: type[Optimizer]) -> None:
    members = [section(kind, shift) for shift in (0.0, 0.2, 0.0, 0.4)]
    together = weights(4)
    run(StackedOptimizer(members, together, ()), slice(0, 4))
    for row, member in enumerate(members):
        alone = {name: tensor[row : row + 1].clone() for name, tensor in weights(4).items()}
        run(StackedOptimizer([member], alone, ()), slice(row, row + 1))
        for name, tensor in alone.items():
            torch.testing.assert_close(together[name][row], tensor[0], rtol=1e-12, atol=1e-13)
            assert not torch.equal(tensor[0], weights(4)[name][row])


@pytest.mark.parametrize("kind", OPTIMIZERS, ids=lambda kind: kind.__name__)
def test_the_state_is_what_the_class_says_and_all_there_is(kind: type[Optimizer]) -> None:
    members = [section(kind), section(kind, 0.2)]
    straight, resumed = weights(2), weights(2)
    first = StackedOptimizer(members, straight, ())
    run(first, slice(0, 2), range(3))
    state = {key: tensor.clone() for key, tensor in first.state_dict().items()}
    of_parameters = {f"{slot}/{name}" for slot in kind.slots(members) for name in SHAPES}
    assert set(state) == of_parameters | {"step", *kind.Rule.counters}

    for name, tensor in resumed.items():
        tensor.copy_(straight[name])
    second = StackedOptimizer(members, resumed, ())
    second.load_state_dict(state)
    run(first, slice(0, 2), range(3, 6))
    run(second, slice(0, 2), range(3, 6))
    assert all(torch.equal(straight[name], resumed[name]) for name in SHAPES)


@pytest.mark.parametrize("kind", OPTIMIZERS, ids=lambda kind: kind.__name__)
def test_the_update_is_shown_in_symbols(kind: type[Optimizer]) -> None:
    lines = section(kind).symbols()
    assert "w ←" in lines[-1] and "η" in lines[-1]
    assert kind.Rule.proximal_slot in ("", *kind.slots([section(kind, 0.2)]))
