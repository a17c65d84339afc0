"""Plain classes and functions of a user's own as kinds: their arguments become keys.

A subclass of `torch.nn.Module` is a model, one of `torch.utils.data.Dataset` a data set, and a
function of a weight and a `strength` a penalty. torch is asked for by the names of its classes,
since a file that has such a class has imported it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from math import prod
from types import FunctionType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import create_model

from regrun.errors import ConfigError, PluginError
from regrun.kinds.base import Section, running, wrong
from regrun.kinds.boundary import Origin, shown
from regrun.kinds.datasets import DatasetSection, Subset
from regrun.kinds.datasets.base import Held
from regrun.kinds.models import ModelSection
from regrun.kinds.penalties import WeightPenalty
from regrun.kinds.signatures import Arguments, UnusableError, arguments_of
from regrun.memory import is_shortage

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

SHAPES = ("input_shape", "in_features", "in_channels")
"""Arguments of a network that regrun gives: the shape of an example, how many numbers it has, and
the channels of an image."""

OUTPUTS = ("num_outputs", "out_features", "num_classes")
"""Arguments of a network that are the number of its outputs."""


class PlainKind(Section):
    """A kind that is a class or a function of the user's own."""

    made_of: ClassVar[Callable[..., Any]]
    """The class or the function."""
    arguments: ClassVar[Arguments]
    """Those that it takes."""

    @property
    def _call_name(self) -> str:
        return "__init__" if isinstance(type(self).made_of, type) else "the call"

    def call(self, *positional: Any, **supplied: Any) -> Any:
        """Call the class or function with the values of the keys."""
        given = {name: supplied[name] for name in self.arguments.supplied}
        with running(self, self._call_name):
            # Looked up in the class: a function would be bound to the section otherwise.
            return type(self).made_of(*positional, **given, **self.arguments.values(self))


class PlainNetwork(PlainKind, ModelSection):
    """A subclass of `torch.nn.Module`."""

    gives: ClassVar[tuple[str, str]] = ("forward", "gives")
    no_hidden_activations: ClassVar[str] = "is your own and hands over its outputs only"

    def build(self, input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
        import torch
        from torch.nn.parameter import is_lazy

        channels = input_shape[0] if len(input_shape) == 3 else None
        if channels is None and "in_channels" in self.arguments.supplied:
            raise ConfigError.at(
                "model.name",
                f"{self.kind} asks for in_channels, and examples of shape {list(input_shape)} are "
                "no images; in_features or input_shape describe them",
            )
        supplied = dict(zip(SHAPES, (input_shape, prod(input_shape), channels), strict=True))
        module: nn.Module = self.call(**supplied, **dict.fromkeys(OUTPUTS, num_outputs))
        if any(map(is_lazy, (*module.parameters(), *module.buffers()))):
            with running(self, "forward"), torch.no_grad():
                module.eval()(torch.zeros(2, *input_shape))
        _freeze(module)
        return module.train()


class PlainPenalty(PlainKind, WeightPenalty):
    """A function of a weight and a `strength`: what it adds to the objective."""

    formula: ClassVar[str]
    reference: ClassVar[str]

    def value(self, weight: Tensor) -> Tensor:
        return self.value_at(weight, weight.new_ones(len(weight)))

    def value_at(self, weight: Tensor, strength: Tensor) -> Tensor:
        import torch

        def one(weight: Tensor, strength: Tensor) -> Tensor:
            result: Tensor = self.call(weight, strength=strength)
            if not (isinstance(result, torch.Tensor) and result.dim() == 0):
                why = f"gave {shown(result)}; it has to give a tensor of one number"
                raise wrong(self, "", why)
            return result / strength

        if not len(weight):  # all members have a strength of 0
            return strength
        if len(weight) > 1:
            # What vmap cannot take is computed one by one, where the function's own errors show.
            try:
                return torch.vmap(one)(weight, strength)
            except (RuntimeError, PluginError) as error:
                if is_shortage(error):
                    raise
        rows = zip(weight.unbind(), strength.unbind(), strict=True)
        return torch.stack([one(*each) for each in rows])


class PlainDataset(PlainKind, Subset, DatasetSection):
    """A subclass of `torch.utils.data.Dataset`."""

    origin: ClassVar[str] = "your file"

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        given = self.arguments.supplied
        if "train" not in given and "split" not in given:
            return self._stacked("", train=None, split=None)
        parts = {"train": True, "test": False}
        return {
            name: array
            for part, trains in parts.items()
            for name, array in self._stacked(f"_{part}", train=trains, split=part).items()
        }

    def draws_data(self) -> bool:
        return "seed" in self.arguments.supplied or super().draws_data()

    def _stacked(self, suffix: str, **part: Any) -> dict[str, NDArray[Any]]:
        import numpy as np

        data = self.call(seed=self.seed, **part)
        with running(self, "its examples"):
            pairs = [data[index] for index in range(len(data))]
            for index, pair in enumerate(pairs):
                if not (isinstance(pair, tuple | list) and len(pair) == 2):
                    raise wrong(
                        self,
                        "__getitem__",
                        f"gave {shown(pair)} for {index}; it has to give a pair (x, y)",
                    )
            x, y = ([np.asarray(pair[place]) for pair in pairs] for place in (0, 1))
            return {f"x{suffix}": np.stack(x), f"y{suffix}": np.stack(y)}


def _freeze(module: nn.Module) -> None:
    """Make buffers of parameters that are not to be trained, under the same names."""
    for owner in module.modules():
        for name, parameter in list(owner.named_parameters(recurse=False)):
            if not parameter.requires_grad:
                delattr(owner, name)
                owner.register_buffer(name, parameter.detach())


def is_network(value: object) -> bool:
    """Whether it is a class derived from `torch.nn.Module`, or an object of one."""
    kind = value if isinstance(value, type) else type(value)
    return _derives(kind, "torch.nn.modules.module", "Module")


def plain_kind(found: Any, origin: Callable[..., Origin]) -> type[Section] | None:
    """The kind that a class or function stands for; None where it is none of these.

    origin: called with the `group` of a family. Raises UnusableError where it is one and its
    arguments cannot be keys.
    """
    if isinstance(found, FunctionType):
        return _penalty(found, origin(group="regrun.penalties")) if _is_penalty(found) else None
    if not isinstance(found, type) or issubclass(found, Section):
        return None
    if _derives(found, "torch.optim.optimizer", "Optimizer"):
        raise UnusableError(
            "steps one model, and regrun's optimizers step all models of a sweep at once: derive "
            "it from regrun.plugins.Optimizer with an UpdateRule, see `regrun guide plugins`"
        )
    if is_network(found):
        return _network(found, origin(group="regrun.models"))
    if _derives(found, "torch.utils.data.dataset", "Dataset"):
        return _dataset(found, origin(group="regrun.datasets"))
    return None


def _network(found: type, origin: Origin) -> type[Section]:
    return _made(PlainNetwork, found, origin, (*SHAPES, *OUTPUTS))


def _dataset(found: type, origin: Origin) -> type[Section]:
    if _derives(found, "torch.utils.data.dataset", "IterableDataset"):
        raise UnusableError(
            "has no length, and regrun draws batches from all examples: derive it from "
            "torch.utils.data.Dataset, with __len__ and __getitem__"
        )
    section = _made(PlainDataset, found, origin, ("train", "split", "seed"), test=(Held, 0.2))
    if "test" in section.arguments.keys:
        raise UnusableError("test is a name that regrun uses itself; choose another")
    if {"train", "split"} & set(section.arguments.supplied):
        return _made(PlainDataset, found, origin, ("train", "split", "seed"))
    return section


def _penalty(found: FunctionType, origin: Origin) -> type[Section]:
    section = _made(PlainPenalty, found, origin, ("strength",))
    names = ", ".join(inspect.signature(found).parameters)
    assert issubclass(section, PlainPenalty)
    section.formula = f"{found.__name__}({names})"
    section.reference = origin.source
    return section


def _made(
    base: type[PlainKind],
    found: Callable[..., Any],
    origin: Origin,
    supplied: tuple[str, ...],
    **more: Any,
) -> type[PlainKind]:
    """A kind of this base with the arguments of a class or a function as keys."""
    is_class = isinstance(found, type)
    initializer, documented = _initializer(found) if isinstance(found, type) else (found, True)
    own = vars(found).get("__doc__") if is_class else found.__doc__  # not that of a base
    text = inspect.cleandoc(own or "")
    arguments = Arguments({}, ())
    if documented:
        both = f"{text}\n{inspect.cleandoc(initializer.__doc__ or '')}"
        arguments = arguments_of(initializer, supplied, base, skipped=1, documentation=both)
    name = found.__name__
    tag = "type" if issubclass(base, WeightPenalty) else "name"
    keys: dict[str, Any] = {tag: (Literal[(name,)], ...), **more, **arguments.keys}
    section = create_model(
        name,
        __base__=base,
        __module__=found.__module__,
        __doc__=text.partition("\n\n")[0] or f"{name} of {origin.source}.",
        **keys,
    )
    section.made_of, section.arguments = staticmethod(found), arguments
    return section


def _initializer(found: type) -> tuple[Any, bool]:
    """The constructor of a class, and whether it is more than that of all modules or data sets."""
    owner = next(each for each in found.__mro__ if "__init__" in vars(each))
    of_all = {
        ("torch.nn.modules.module", "Module"),
        ("torch.utils.data.dataset", "Dataset"),
        ("typing", "Generic"),
        ("builtins", "object"),
    }
    return vars(owner)["__init__"], (owner.__module__, owner.__name__) not in of_all


def _is_penalty(found: FunctionType) -> bool:
    """Whether its first argument is annotated as a tensor, and one is called `strength`."""
    parameters = inspect.signature(found).parameters
    first = next(iter(parameters.values()), None)
    hint = getattr(first, "annotation", None)
    written = hint if isinstance(hint, str) else getattr(hint, "__name__", "")
    return written.rpartition(".")[2] == "Tensor" and "strength" in parameters


def _derives(found: type, module: str, name: str) -> bool:
    """Whether a class is derived from that of this module and name."""
    return any((each.__module__, each.__name__) == (module, name) for each in found.__mro__)
