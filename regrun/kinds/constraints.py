"""The kinds of constraints: projections of the weights after every optimizer step.

A neuron's incoming weight vector is one slice of a parameter along its first axis: a row of a
dense layer, a filter of a convolution. A parameter of one axis (a bias) is one vector.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from regrun.kinds.base import WEIGHT_ONLY, Positive, Section, Selector, expand_members, listed
from regrun.kinds.penalties.matrix import finite_gram

if TYPE_CHECKING:
    from torch import Tensor


class Constraint(Section):
    """A set that parameters stay in. A subclass defines `project_`.

    >>> import torch
    >>> from typing import Annotated, ClassVar, Literal
    >>> from regrun.plugins import PER_MEMBER
    >>> class Box(Constraint):
    ...     '''Every entry is at most `bound` away from 0.'''
    ...     type: Literal["box"]
    ...     formula: ClassVar[str] = "w ← min(max(w, −c), c)"
    ...     reference: ClassVar[str] = "Goldstein 1964"
    ...     bound: Annotated[float, PER_MEMBER]
    ...     def project_(self, weight, numbers):
    ...         weight.clamp_(-numbers["bound"], numbers["bound"])
    >>> weight = torch.tensor([[-3.0, 0.5], [-3.0, 0.5]])
    >>> Box(type="box", bound=1.0).project_(weight, {"bound": torch.tensor([[1.0], [2.0]])})
    >>> weight
    tensor([[-1.0000,  0.5000],
            [-2.0000,  0.5000]])
    """

    apply_to: Selector = WEIGHT_ONLY
    """Roles (`weight`, `bias`, `norm`), name patterns, or `all`."""

    @abstractmethod
    def project_(self, weight: Tensor, numbers: Mapping[str, Tensor]) -> None:
        """Replace w by the nearest point of the set, member by member and in place.

        Only members that have the constraint are given, and all agree in the keys that are not
        numbers, so any member's section may project them together.

        Args:
            weight: (K, *shape), one parameter of K members.
            numbers: Key → (K, 1, …, 1), each member's value of it in the dtype of weight, for every
                key that is marked `PER_MEMBER`. Read these instead of the section's own.
        """

    def symbols(self) -> str:
        """Return the line of `regrun inspect`: the formula with the section's numbers."""
        numbers = "".join(f",  {key} = {value:g}" for key, value in self.numbers().items())
        return f"{self.formula}{numbers}   ({self.kind} on {listed(self.apply_to)})"

    def summary(self) -> dict[str, str | float]:
        """Return the keys that `regrun inspect` lists for each parameter with this constraint."""
        return {"type": self.kind, **self.numbers()}


class MaxNorm(Constraint):
    """Scales each neuron's incoming weight vector down to a norm of at most `limit`."""

    formula: ClassVar[str] = "w ← w · min(1, c / ‖w‖₂)"
    reference: ClassVar[str] = "Srivastava et al. 2014, §5.1"
    type: Literal["max_norm"]
    limit: Positive
    """c, the largest ‖w‖₂."""

    def project_(self, weight: Tensor, numbers: Mapping[str, Tensor]) -> None:
        norm, limit = incoming_norms(weight), numbers["limit"]
        weight.mul_((limit / norm).where(norm > limit, 1.0))

    def symbols(self) -> str:
        where = f"{self.kind} on {listed(self.apply_to)}, per neuron"
        return f"{self.formula},  c = {self.limit:g}   ({where})"


class UnitNorm(Constraint):
    """Scales each neuron's incoming weight vector to norm 1; a zero vector stays."""

    formula: ClassVar[str] = "w ← w / ‖w‖₂"
    reference: ClassVar[str] = "Keras, UnitNorm"
    type: Literal["unit_norm"]

    def project_(self, weight: Tensor, numbers: Mapping[str, Tensor]) -> None:
        norm = incoming_norms(weight)
        weight.div_(norm.where(norm > 0, 1.0))


class NonNegative(Constraint):
    """Sets negative entries to 0."""

    formula: ClassVar[str] = "w ← max(w, 0)"
    reference: ClassVar[str] = "Keras, NonNeg"
    type: Literal["non_negative"]

    def project_(self, weight: Tensor, numbers: Mapping[str, Tensor]) -> None:
        weight.clamp_(min=expand_members(weight.new_zeros(len(weight)), weight))


class MaxSpectralNorm(Constraint):
    """Scales each weight matrix down to a largest singular value of at most `limit`.

    The rows of the matrix of a convolution are its filters. A dense layer then stretches distances
    by at most `limit`, a k × k convolution by at most k `limit`. The whole matrix is scaled, as in
    the paper; the nearest matrix of the set would only clip its singular values.
    """

    formula: ClassVar[str] = "W ← W · min(1, c / σ_max(W))"
    reference: ClassVar[str] = "Gouk et al. 2021, §3; Miyato et al. 2018 divide always"
    type: Literal["max_spectral_norm"]
    limit: Positive
    """c, the largest σ_max."""

    def project_(self, weight: Tensor, numbers: Mapping[str, Tensor]) -> None:
        norm, limit = spectral_norms(weight), numbers["limit"]
        weight.mul_((limit / norm).where(norm > limit, 1.0))

    def symbols(self) -> str:
        where = f"{self.kind} on {listed(self.apply_to)}, per matrix"
        return f"{self.formula},  c = {self.limit:g}   ({where})"


def spectral_norms(weight: Tensor) -> Tensor:
    """σ_max of each member's matrix, a vector being one row: (K, out, …) → (K, 1, …, 1).

    The root of the largest eigenvalue of the smaller of W Wᵀ and Wᵀ W: exact, without a state
    between steps, and far cheaper than an SVD. 0 for a matrix that is not finite.
    """
    import torch

    matrix = weight.flatten(2) if weight.dim() > 2 else weight.reshape(len(weight), 1, -1)
    tall = matrix if matrix.shape[1] >= matrix.shape[2] else matrix.mT
    largest = torch.linalg.eigvalsh(finite_gram(tall))[:, -1]
    return expand_members(largest.clamp(min=0).sqrt(), weight)


def incoming_norms(weight: Tensor) -> Tensor:
    """‖w‖₂ of each neuron's incoming weights: (K, out, in, …) → (K, out, 1, …); (K, n) → (K, 1).

    A parameter that is a single number, (K,), is its own.
    """
    import torch

    if weight.dim() == 1:
        return weight.abs()
    axes = tuple(range(2 if weight.dim() > 2 else 1, weight.dim()))
    norms: Tensor = torch.linalg.vector_norm(weight, dim=axes, keepdim=True)
    return norms
