"""A kind of each family, each method of which fails in the way that its keys say."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import model_validator

from regrun.plugins import (
    Constraint,
    DatasetSection,
    Loss,
    ModelSection,
    Optimizer,
    Schedule,
    Tile,
    UpdateRule,
    WeightPenalty,
)

if TYPE_CHECKING:
    from torch import Tensor


def _quit() -> None:
    sys.exit(7)


def _recurse() -> None:
    _recurse()


def _interrupt() -> None:
    raise KeyboardInterrupt


def _raise() -> None:
    raise KeyError("oops")


def _array() -> Any:
    import numpy as np

    return np.zeros(3)


def _tensor() -> Any:
    import torch

    return torch.zeros(5, 7)


WAYS: Mapping[str, Callable[[], Any]] = {
    "raises": _raise,
    "quits": _quit,
    "recurses": _recurse,
    "interrupts": _interrupt,
    "gives None": lambda: None,
    "gives NaN": lambda: float("nan"),
    "gives a number": lambda: 3.5,
    "gives text": lambda: "text",
    "gives an array": _array,
    "gives a tensor": _tensor,
}
"""Way to fail → what a method then does."""


def _breaks(name: str) -> Callable[[], Any] | None:
    """How a method fails, if it is the one that REGRUN_BREAKS names: ``method way``."""
    wanted, _, way = os.environ.get("REGRUN_BREAKS", "").partition(" ")
    return WAYS[way] if wanted == name else None


def _breaking(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def broken(*args: Any, **kwargs: Any) -> Any:
        fails = _breaks(name)
        if fails is None:
            return function(*args, **kwargs)
        print("NOISE")
        return fails()

    return broken


def breakable(kind: Any) -> Any:
    """Let each method fail that a base class of regrun declares."""
    bases = [base for base in kind.__mro__ if base.__module__.startswith("regrun.")]
    for name in {name for base in bases for name in vars(base) if not name.startswith("_")}:
        found = inspect.getattr_static(kind, name)
        label = f"Rule.{name}" if issubclass(kind, UpdateRule) else name
        if isinstance(found, classmethod | staticmethod):
            setattr(kind, name, type(found)(_breaking(label, found.__func__)))
        elif isinstance(found, property):
            assert found.fget is not None
            setattr(kind, name, property(_breaking(label, found.fget)))
        elif callable(found) and not isinstance(found, type):
            setattr(kind, name, _breaking(label, found))
    return kind


class Keys:
    """What all of them check of their keys."""

    @model_validator(mode="after")
    def check(self) -> Any:
        """Fail, if that is wanted."""
        fails = _breaks("check")
        if fails is not None:
            print("NOISE")
            fails()
        return self


@breakable
class Penalty(Keys, WeightPenalty):
    """Sum of absolute values."""

    type: Literal["breaking"]
    formula: ClassVar[str] = "λ Σ |w|"
    reference: ClassVar[str] = "a test"
    methods: ClassVar[tuple[str, ...]] = ("gradient", "proximal")

    def value(self, weight: Tensor) -> Tensor:
        return weight.abs().flatten(1).sum(1)

    def prox_(self, weight: Tensor, amount: Tensor) -> None:
        weight.mul_(0.9)


@breakable
class Limit(Keys, Constraint):
    """Every weight stays between −1 and 1."""

    type: Literal["breaking"]
    formula: ClassVar[str] = "|w| ≤ 1"
    reference: ClassVar[str] = "a test"

    def project_(self, weight: Tensor, numbers: Mapping[str, Tensor]) -> None:
        weight.clamp_(-1, 1)


@breakable
class Descent(Keys, Optimizer):
    """Gradient descent."""

    name: Literal["breaking"]
    formula: ClassVar[str] = "w ← w − η g"
    reference: ClassVar[str] = "a test"

    @classmethod
    def slots(cls, members: Any) -> tuple[str, ...]:
        return ("unused",)

    @breakable
    class Rule(UpdateRule[Any]):
        def update(self, tile: Tile, g: Tensor) -> None:
            tile.weight.addcmul_(g, tile.numbers["minus_lr"])


@breakable
class Errors(Keys, Loss):
    """Absolute errors."""

    type: Literal["breaking"]
    formula: ClassVar[str] = "mean(|ŷ − y|)"
    reference: ClassVar[str] = "a test"
    needs: ClassVar[str] = "numbers to predict"
    task: ClassVar[Any] = "regression"

    def per_example(self, outputs: Tensor, targets: Tensor, unit: Any = None) -> Tensor:
        return (outputs - targets).abs().mean(-1)


@breakable
class Fall(Keys, Schedule):
    """Falls to 0."""

    type: Literal["breaking"]
    formula: ClassVar[str] = "s = 1 − t/T"
    reference: ClassVar[str] = "a test"

    def factors(self, steps: Any, total_steps: int, steps_per_epoch: int) -> Any:
        return 1 - steps / total_steps


@breakable
class Network(Keys, ModelSection):
    """A linear layer, called by a module of its own."""

    name: Literal["breaking"]

    def build(self, input_shape: tuple[int, ...], num_outputs: int) -> Any:
        from torch import nn

        class Module(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Linear(input_shape[0], num_outputs)

            def forward(self, x: Tensor) -> Any:
                fails = _breaks("forward_in_training" if self.training else "forward")
                if fails is not None:
                    print("NOISE")
                    return fails()
                return self.layer(x)

        return Module()


@breakable
class Data(Keys, DatasetSection):
    """Points on a line."""

    name: Literal["breaking"]

    def arrays(self) -> Any:
        import numpy as np

        x = np.linspace(0, 1, 80).reshape(40, 2)
        return {"x": x, "y": 2 * x[:, 0]}
