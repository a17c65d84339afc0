"""The base classes of penalties, which add to the objective.

w runs over the entries of the parameters in `apply_to`, W over those parameters, h over the hidden
activations. Derive a penalty on parameters from `WeightPenalty`, or, where it is
a Σ|w| + q Σw², from `EntrywisePenalty`: the optimizer then adds its gradient without autograd.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, get_args

from regrun.errors import Problem
from regrun.kinds.base import WEIGHT_ONLY, NonNegative, Section, Selector, listed, names_of

if TYPE_CHECKING:
    from typing import Self

    from torch import Tensor

    from regrun.config.schema import Config
    from regrun.kinds.penalties.inputs import NetworkInputs

Method = Literal["gradient", "proximal"]
"""gradient: added to the loss's gradient. proximal: exactly, by a step of its own after the
optimizer's (Parikh & Boyd 2014), which makes exact zeros."""

METHODS: tuple[str, ...] = get_args(Method)


class Penalty(Section):
    """Keys that every penalty has, and the methods of its class."""

    methods: ClassVar[tuple[str, ...]] = ("gradient",)
    """What `method` may be; proximal needs an optimizer that says so too."""
    from_start: ClassVar[bool] = False
    """Whether it measures w − w₀ and not w, w₀ being the initial weights of the run."""
    needs: ClassVar[str]
    """What it is computed from, and which models have that."""

    strength: NonNegative
    """λ; 0 is exactly no penalty."""
    method: Method = "gradient"
    """gradient: its gradient is added to that of the loss. proximal: its proximal map follows every
    step, which can make weights exactly 0."""

    @property
    def proximal(self) -> bool:
        """Whether `method` is proximal."""
        return self.method == "proximal"

    @property
    def input_key(self) -> str:
        """The key that names single inputs of the network; empty: none does."""
        return ""

    def on_inputs(self, inputs: NetworkInputs, path: str) -> Self:
        """Return the penalty with positions for names; called where there is an `input_key`.

        Args:
            inputs: Those of the network.
            path: Dotted path of the penalty in the config.

        Raises:
            ConfigError: There is no such input.
        """
        return self

    def function_key(self) -> str:
        """Return a string that is equal for penalties that are one function at strength 1."""
        return self.model_dump_json(exclude={"strength", "method", "apply_to"})

    def curvature(self) -> float | None:
        """Return the largest second derivative that it adds to the objective's smooth part.

        Returns:
            0 for penalties that can be proximal, which are no part of that; None where unknown.
        """
        return 0.0 if "proximal" in self.methods else None

    def on_one_logit(self) -> Penalty | None:
        """Return the penalty on one logit's weights w that this one on two outputs amounts to.

        Of two scores for two classes only the difference counts, with w = w₁ − w₀. A convex and
        symmetric penalty is smallest at w₁ = −w₀ = w/2, where it costs twice that of w/2.

        Returns:
            A penalty of the same kind; None where there is none, or it is unknown.
        """
        return None

    def symbols(self, name: str) -> str:
        """Return its line of `regrun inspect`: ``P = value   (kind on place, gradient …)``.

        Args:
            name: Its name in the objective: ``P``, or ``P1``, ``P2``, … of several.
        """
        value, gradient = self.expressions() if self.strength else ("0", "0")
        how = "by a proximal step" if self.proximal else f"gradient {gradient}"
        return f"{name} = {value}   ({self.kind} on {self.place()}, {how})"

    def proximal_symbols(self, name: str) -> list[tuple[int, str]]:
        """Describe the proximal step for `regrun inspect`.

        Args:
            name: Its name in the objective.

        Returns:
            Pairs of an order and a line. The steps of all penalties are done in this order:
            thresholds (0), then any others (1), then divisions (2).
        """
        if not self.strength:
            return []
        return [(1, f"w ← prox(w, η_t {self.strength:g})   (proximal step of {name})")]

    def expressions(self) -> tuple[str, str]:
        """Return value and gradient in symbols, with the strength; called where it is not 0."""
        return f"{self.formula},  λ = {self.strength:g}", "by autograd"

    @abstractmethod
    def place(self) -> str:
        """Return what it acts on, as `symbols` shows it."""

    def summary(self) -> dict[str, str | float]:
        """Return the keys that `regrun inspect` lists for each parameter with this penalty."""
        return {"type": self.kind, "strength": self.strength, "method": self.method}

    def conflicts(self, config: Config) -> Iterator[Problem]:
        optimizer = config.optimizer
        where = ("method",)
        if self.proximal and "proximal" not in self.methods:
            yield Problem(where, f"proximal: {self.kind} has no proximal step; use gradient")
        elif self.proximal and not optimizer.proximal:
            every = get_args(type(config).model_fields["optimizer"].annotation)
            able = [name for each in every if each.proximal for name in names_of(each)]
            yield Problem(
                where,
                f"proximal needs optimizer {' or '.join(able)}; with {optimizer.kind} use gradient",
            )
        else:
            yield from (Problem(where, why) for why in optimizer.method_conflicts(self))


class WeightPenalty(Penalty):
    """A penalty on parameters. A subclass defines `value`.

    Autograd differentiates the value together with the loss. A class that also offers the proximal
    method has ``methods = ("gradient", "proximal")`` and defines `prox_`.

    >>> import torch
    >>> from typing import ClassVar, Literal
    >>> class Log(WeightPenalty):
    ...     '''Sum of logarithms, which lets large weights grow.'''
    ...     type: Literal["log"]
    ...     formula: ClassVar[str] = "λ Σ log(1 + |w|)"
    ...     reference: ClassVar[str] = "Candès, Wakin & Boyd 2008"
    ...     def value(self, weight):
    ...         return weight.abs().log1p().flatten(1).sum(1)
    >>> Log(type="log", strength=0.1).value(torch.tensor([[0.0, 0.0], [1.0, -1.0]]))
    tensor([0.0000, 1.3863])
    """

    needs: ClassVar[str] = "parameters of any shape"
    min_axes: ClassVar[int] = 1
    """How many axes a member's parameter must have: 2 for matrices and filters."""
    composes: ClassVar[bool] = False
    """Whether `prox_` may come after soft thresholds and before divisions, as for norms of groups
    that do not overlap. If not, no other kind can be proximal on the same parameter."""

    apply_to: Selector = WEIGHT_ONLY
    """Roles (`weight`, `bias`, `norm`), name patterns, or `all`."""

    @property
    def composable(self) -> bool:
        """`composes`, of this very section."""
        return self.composes

    @abstractmethod
    def value(self, weight: Tensor) -> Tensor:
        """Measure one parameter of some members at strength 1.

        A member's value depends on its own weights alone.

        Args:
            weight: (K, *shape), K members.

        Returns:
            (K,), differentiable.
        """

    def prox_(self, weight: Tensor, amount: Tensor) -> None:
        """Replace v by argmin_w ½‖w − v‖² + amount · value(w), member by member and in place.

        Args:
            weight: (K, *shape), v.
            amount: (K, 1, …, 1), float64, ≥ 0: η λ. A member whose amount is 0 keeps every bit.
        """
        raise NotImplementedError

    def value_at(self, weight: Tensor, strength: Tensor) -> Tensor:
        """Measure one parameter at any strength. Override it where λ is more than a factor.

        Args:
            weight: As in `value`.
            strength: (K,), λ > 0 of each member, in the dtype of weight.

        Returns:
            (K,), what is added to the objective divided by λ; by default `value`.
        """
        return self.value(weight)

    def prox_at_(self, weight: Tensor, rate: Tensor, strength: Tensor) -> None:
        """Replace v by argmin_w ½‖w − v‖² + η λ · value_at(w, λ); by default by `prox_`.

        Args:
            weight: As in `prox_`.
            rate: (K, 1, …, 1), float64, η ≥ 0. A member whose rate is 0 keeps every bit.
            strength: (K, 1, …, 1), float64, λ > 0.
        """
        self.prox_(weight, rate * strength)

    @classmethod
    def undefined(cls) -> list[str]:
        lacks_prox = "proximal" in cls.methods and cls.prox_ is WeightPenalty.prox_
        return super().undefined() + ["prox_"] * lacks_prox

    def place(self) -> str:
        return listed(self.apply_to)

    def remark(self, shape: Sequence[int]) -> str:
        """Return what it spares of a parameter that it acts on, for `regrun inspect`.

        Args:
            shape: Shape of one member's parameter.
        """
        return ""

    def conflicts(self, config: Config) -> Iterator[Problem]:
        yield from super().conflicts(config)
        key, weight = self.input_key, config.model.input_weight
        if key and not weight:
            yield Problem(
                (key,),
                f"{config.model.kind} has no weights for single inputs; use a model whose first "
                "layer is dense",
            )
        elif key and self.apply_to not in (WEIGHT_ONLY, (weight,)):
            yield Problem(
                ("apply_to",),
                f"{listed(self.apply_to)}: {key} names inputs, whose weights are {weight}; "
                "leave apply_to out",
            )

    def shape_conflicts(self, name: str, shape: Sequence[int]) -> Iterator[Problem]:
        """Yield why the penalty has no meaning for a parameter of this name and shape.

        Args:
            name: Name of the parameter.
            shape: Shape of one member's parameter.
        """
        if len(shape) < self.min_axes:
            form = f"a vector of {shape[0]:,}" if shape else "a single number"
            needed = "vectors, matrices" if self.min_axes == 1 else "matrices"
            yield Problem(
                ("apply_to",),
                f"{name} is {form}: {self.kind} needs {needed} or filters; choose weights only",
            )

    def proximal_conflicts(self, earlier: WeightPenalty, name: str) -> Iterator[Problem]:
        """Yield why two proximal penalties on one parameter have no joint step.

        Args:
            earlier: The other one, which comes before this one in the config.
            name: Name of the parameter.
        """
        alike = self.function_key() == earlier.function_key()
        if not alike and not (self.composable and earlier.composable):
            yield Problem(
                ("method",),
                f"proximal: {self.kind} and {earlier.kind}, both on {name}, have no known joint "
                "proximal step; use method: gradient for one",
            )


class Coefficients(NamedTuple):
    """A penalty a Σ|w| + q Σw²."""

    absolute: float
    """a"""
    square: float
    """q"""


class EntrywisePenalty(WeightPenalty):
    """A penalty λ (a Σ|w| + q Σw²), whose gradient is λ (a sign(w) + 2q w), with sign(0) = 0.

    All such penalties of a stack cost one pass over the weights, within the optimizer's step. A
    subclass defines `coefficients`.

    >>> import torch
    >>> from regrun.kinds.penalties import ElasticNet
    >>> mixed = ElasticNet(type="elastic_net", strength=0.1, l1_ratio=0.75)
    >>> mixed.coefficients()
    Coefficients(absolute=0.75, square=0.125)
    >>> mixed.value(torch.tensor([[1.0, -2.0]]))
    tensor([2.8750])
    """

    composes: ClassVar[bool] = True
    parts: ClassVar[tuple[str, str] | None] = None
    """Labels under which the log has a Σ|w| and q Σw² apart; None: it has their sum only."""

    @property
    def uniform(self) -> bool:
        """Whether `coefficients` are those of every entry."""
        return True

    @abstractmethod
    def coefficients(self) -> Coefficients:
        """Return a and q at strength 1."""

    @property
    def scaled_coefficients(self) -> Coefficients:
        """λ a and λ q."""
        absolute, square = self.coefficients()
        return Coefficients(self.strength * absolute, self.strength * square)

    def value(self, weight: Tensor) -> Tensor:
        absolute, square = self.coefficients()
        flat = weight.flatten(1)
        return absolute * flat.abs().sum(1) + square * flat.square().sum(1)

    def prox_(self, weight: Tensor, amount: Tensor) -> None:
        absolute, square = self.coefficients()
        soft_threshold_(weight, (amount * absolute).to(weight.dtype))
        weight.div_((1 + 2 * amount * square).to(weight.dtype))

    def curvature(self) -> float | None:
        absolute, square = self.scaled_coefficients
        known = super().curvature()
        # |w| has no second derivative at 0.
        return 2 * square if known is None and not absolute else known

    def expressions(self) -> tuple[str, str]:
        return sum_expressions(*self.scaled_coefficients, "w")

    def proximal_symbols(self, name: str) -> list[tuple[int, str]]:
        a, q = self.scaled_coefficients
        step = f"(proximal step of {name})"
        return [
            *([(0, f"w ← sign(w) · max(0, |w| − η_t {a:g})   {step}")] if a else []),
            *([(2, f"w ← w / (1 + η_t {2 * q:g})   {step}")] if q else []),
        ]


def sum_expressions(absolute: float, square: float, w: str, f: str = "") -> tuple[str, str]:
    """Value and gradient of a Σ f|w| + q Σ f w² in symbols, without the parts that are 0."""
    each, every = (f"{f} ", f" {f} ") if f else ("", "")
    value = [f"{absolute:g} Σ{every}|{w}|"] * (absolute > 0)
    value += [f"{square:g} Σ{every}{w}²"] * (square > 0)
    gradient = [f"{absolute:g} {each}sign({w})"] * (absolute > 0)
    gradient += [f"{2 * square:g} {each}{w}"] * (square > 0)
    return " + ".join(value), " + ".join(gradient)


def soft_threshold_(weight: Tensor, bound: Tensor) -> None:
    """argmin_w ½‖w − v‖² + bound Σ|w|: moves weights towards 0 by bound, at most to 0, in place.

    bound: (K, 1, …, 1), ≥ 0; 0 leaves a member alone. Parikh & Boyd 2014, §6.5.2.
    """
    weight.sub_(weight.clamp(-bound, bound))
