"""Penalties on weight matrices and filters, whose rows are neurons and whose columns are inputs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, Strict, model_validator

from regrun.errors import ConfigError, Problem
from regrun.kinds.penalties.base import METHODS, Method, WeightPenalty

if TYPE_CHECKING:
    from typing import Self

    import torch
    from torch import Tensor

    from regrun.config.schema import Config
    from regrun.kinds.penalties.inputs import NetworkInputs

_Inputs = tuple[int | Annotated[str, Field(min_length=1)], ...]
InputGroups = Annotated[tuple[Annotated[_Inputs, Strict(False)], ...], Strict(False)]
"""Lists of inputs, by position or name."""


class GroupLasso(WeightPenalty):
    """Norms of groups of weights, which drive whole neurons, filters or inputs to zero."""

    formula: ClassVar[str] = "λ Σ_g √|g| ‖w_g‖₂"
    reference: ClassVar[str] = "Yuan & Lin 2006; Scardapane et al. 2017"
    methods: ClassVar[tuple[str, ...]] = METHODS
    needs: ClassVar[str] = (
        "weights of dense layers and convolutions; filter: convolutions only; columns and lists: "
        "a dense first layer"
    )
    min_axes: ClassVar[int] = 2
    composes: ClassVar[bool] = True  # the sparse group lasso, Simon et al. 2013
    type: Literal["group_lasso"]
    groups: Literal["in", "out", "filter", "columns"] | InputGroups = "in"
    """in: a group is the weights into a neuron, in a convolution a filter. out: the weights out of
    a neuron or channel of the layer before. filter: a filter, for convolutions only. columns: the
    weights out of all inputs that a column of the table became, in the first layer. Or lists of
    inputs, by column, name or position from 0, such as `[[town, street], [age]]`; inputs in no list
    are not penalised."""
    method: Method = "gradient"
    """gradient: λ √|g| w_g / ‖w_g‖, 0 at 0. proximal: w_g · max(0, 1 − η λ √|g| / ‖w_g‖) after the
    step; with sgd and fista."""

    @model_validator(mode="after")
    def _groups_have_inputs(self) -> GroupLasso:
        if not self.groups or not all(self.groups):
            raise ValueError("groups: empty; a group needs at least one input")
        return self

    @property
    def input_key(self) -> str:
        return "groups" if self.groups == "columns" or self._lists() else ""

    def on_inputs(self, inputs: NetworkInputs, path: str) -> Self:
        """Return the penalty with groups of positions, on the weights of the inputs."""
        found: list[tuple[int, ...]] = [*inputs.columns.values()]
        if self.groups == "columns" and not found:
            raise ConfigError.at(
                f"{path}.groups",
                "columns: these data are no table; give lists of inputs, by position from 0",
            )
        if lists := self._lists():
            found = []
            taken: dict[int, int | str] = {}
            for at, group in enumerate(lists):
                found.append(())
                for entry_at, entry in enumerate(group):
                    where = f"{path}.groups.{at}.{entry_at}"
                    for position in inputs.positions(entry, where):
                        if position in taken:
                            raise ConfigError.at(
                                where,
                                f"{entry!r}: input {position} is already in a group, "
                                f"as {taken[position]!r}; groups must not overlap",
                            )
                        taken[position] = entry
                        found[at] += (position,)
        return self.model_copy(update={"groups": tuple(found), "apply_to": (inputs.parameter,)})

    def _lists(self) -> tuple[tuple[int | str, ...], ...]:
        """The lists of inputs, of positions after `on_inputs`; none for a word."""
        return () if isinstance(self.groups, str) else self.groups

    def _axes(self, dim: int) -> tuple[int, ...]:
        """The axes of a group, in a weight of so many axes; for a word."""
        return (1, *range(3, dim)) if self.groups == "out" else tuple(range(2, dim))

    def value(self, weight: Tensor) -> Tensor:
        """Return Σ_g √|g| ‖w_g‖₂, with gradient 0 where a group is 0: (K, out, in, …) → (K,)."""
        if not (lists := self._lists()):
            return _sum_of_norms(weight, self._axes(weight.dim()))
        sums = [
            _sum_of_norms(weight[:, :, columns], (1, 3))
            for columns in _by_size(lists, weight.device)
        ]
        total: Tensor = sum(sums[1:], sums[0])
        return total

    def prox_(self, weight: Tensor, amount: Tensor) -> None:
        """Lower each group's norm by amount · √|g|, at most to 0 (Parikh & Boyd 2014, §6.5.1)."""
        if not (lists := self._lists()):
            _lower_norms_(weight, self._axes(weight.dim()), amount)
        for columns in _by_size(lists, weight.device):
            own = weight[:, :, columns]
            _lower_norms_(own, (1, 3), amount.unsqueeze(-1))
            weight[:, :, columns] = own

    def expressions(self) -> tuple[str, str]:
        strength = f"{self.strength:g}"
        return f"{strength} Σ_g √|g| ‖w_g‖₂", f"{strength} √|g| w_g / ‖w_g‖₂"

    def proximal_symbols(self, name: str) -> list[tuple[int, str]]:
        factor = f"max(0, 1 − η_t {self.strength:g} √|g| / ‖w_g‖₂)"
        line = f"w_g ← w_g · {factor}   (proximal step of {name})"
        return [(1, line)] if self.strength else []

    def place(self) -> str:
        group = {
            "in": "the weights into a neuron, or a filter",
            "out": "the weights out of a neuron or channel",
            "filter": "a filter",
            "columns": "the weights out of the inputs of a column",
        }
        if isinstance(self.groups, str):
            return f"{super().place()}, g: {group[self.groups]}"
        return f"{super().place()}, g: the weights out of the inputs of a group, {self._counted()}"

    def remark(self, shape: Sequence[int]) -> str:
        free = shape[1] - sum(map(len, self._lists()))
        return f", in {self._counted()}; {free} of its {shape[1]} inputs are in none" * (free > 0)

    def _counted(self) -> str:
        return f"{len(self.groups)} group{'s' * (len(self.groups) != 1)}"

    def summary(self) -> dict[str, str | float]:
        groups = self.groups if isinstance(self.groups, str) else self._counted()
        return {**super().summary(), "groups": groups}

    def conflicts(self, config: Config) -> Iterator[Problem]:
        yield from super().conflicts(config)
        if self.groups == "out" and config.model.grouped_convolutions:
            yield Problem(
                ("groups",),
                "out: where convolutions are grouped, weights do not show what they come from; "
                f"with {config.model.kind} use in",
            )

    def shape_conflicts(self, name: str, shape: Sequence[int]) -> Iterator[Problem]:
        yield from super().shape_conflicts(name, shape)
        if self.groups == "filter" and len(shape) < 3:
            yield Problem(
                ("groups",),
                f"filter: {name} is a matrix of {'×'.join(map(str, shape))}, not of filters; "
                "use in, or an apply_to of convolutions only",
            )

    def proximal_conflicts(self, earlier: WeightPenalty, name: str) -> Iterator[Problem]:
        """Yield groups that overlap: only equal or disjoint ones have a prox of their sum."""
        yield from super().proximal_conflicts(earlier, name)
        if not isinstance(earlier, GroupLasso) or self.function_key() == earlier.function_key():
            return
        rows = {"in", "filter"}
        if not {earlier.groups, self.groups} <= rows:
            mine, other = (
                each.groups if isinstance(each.groups, str) else "of inputs"
                for each in (self, earlier)
            )
            yield Problem(
                ("groups",),
                f"{mine}: another proximal {self.kind} has groups {other} on "
                f"{name}, and groups that overlap have no joint proximal step; "
                "use one kind, or method: gradient for one",
            )


def _sum_of_norms(weight: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Σ_g √|g| ‖w_g‖₂ of each member. axes: those within a group."""
    norms, root = _norms(weight, axes)
    return norms.flatten(1).sum(1) * root


def _lower_norms_(weight: Tensor, axes: tuple[int, ...], amount: Tensor) -> None:
    import torch

    norm, root = _norms(weight, axes)
    bound = (amount * root).to(weight.dtype)
    factor = torch.where(norm > bound, 1 - bound / norm, 0.0)
    weight.mul_(torch.where(bound > 0, factor, 1.0))


def _norms(weight: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, float]:
    """‖w_g‖₂, with axes of length 1 for those within a group, and √|g|."""
    import torch

    norms: Tensor = torch.linalg.vector_norm(weight, dim=axes, keepdim=True)
    return norms, math.sqrt(math.prod(weight.shape[axis] for axis in axes))


@lru_cache(maxsize=256)
def _by_size(groups: tuple[tuple[int, ...], ...], device: torch.device) -> tuple[Tensor, ...]:
    """The positions of all groups of one size, (groups, size), for each size."""
    import torch

    sizes = sorted({len(group) for group in groups})
    return tuple(
        torch.tensor([group for group in groups if len(group) == size], device=device)
        for size in sizes
    )


class Orthogonal(WeightPenalty):
    """Squared cosines between the weight vectors of every two neurons or filters of a layer."""

    formula: ClassVar[str] = "λ Σ_{i≠j} (ŵ_i · ŵ_j)² = λ ‖Ŵ Ŵᵀ − I‖²_F,  ŵ_i = w_i / ‖w_i‖₂"
    reference: ClassVar[str] = (
        "Brock et al. 2019, §3.1; rows normalised as in Keras, which takes mean |cos|"
    )
    needs: ClassVar[str] = "weights of dense layers and convolutions"
    min_axes: ClassVar[int] = 2
    type: Literal["orthogonal"]
    method: Literal["gradient"] = "gradient"
    """gradient: its gradient is added to that of the loss."""

    def value(self, weight: Tensor) -> Tensor:
        """Return Σ_{i≠j} cos²(w_i, w_j); a neuron of zeros is orthogonal to all.

        weight: (K, out, in, …) → (K,).
        """
        import torch

        rows = weight.flatten(2)
        norms = torch.linalg.vector_norm(rows, dim=2, keepdim=True)
        directions = rows / torch.where(norms > 0, norms, 1.0)
        cosines: Tensor = directions @ directions.mT
        return 2 * cosines.square().tril(-1).sum((1, 2))

    def expressions(self) -> tuple[str, str]:
        return f"{self.strength:g} Σ_{{i≠j}} cos²(w_i, w_j)", "by autograd"


class Spectral(WeightPenalty):
    """Squared spectral norm of each weight matrix; filters are its rows."""

    formula: ClassVar[str] = "½ λ Σ_W σ_max(W)²"
    reference: ClassVar[str] = "Yoshida & Miyato 2017"
    needs: ClassVar[str] = "weights of dense layers and convolutions"
    min_axes: ClassVar[int] = 2
    type: Literal["spectral"]
    method: Literal["gradient"] = "gradient"
    """gradient: its gradient is added to that of the loss."""

    def value(self, weight: Tensor) -> Tensor:
        """Return ½ σ_max(W)², W with a row per neuron: (K, out, in, …) → (K,).

        With v the first singular vector it is ½ ‖W v‖², and its gradient σ u vᵀ is that of v held
        fixed (Yoshida & Miyato 2017, eq. 5). v comes from the eigenvectors of the smaller of W Wᵀ
        and Wᵀ W: exact, without a state between steps, and far cheaper than an SVD.
        """
        import torch

        matrix = weight.flatten(2)
        tall = matrix if matrix.shape[1] >= matrix.shape[2] else matrix.mT
        with torch.no_grad():
            first = torch.linalg.eigh(finite_gram(tall)).eigenvectors[:, :, -1:]
        along: Tensor = tall @ first
        return 0.5 * along.square().sum((1, 2))

    def expressions(self) -> tuple[str, str]:
        return f"{self.strength:g} ½ Σ_W σ_max(W)²", f"{self.strength:g} σ_max u vᵀ"


def finite_gram(tall: Tensor) -> Tensor:
    """Aᵀ A of each A: (K, m, n) → (K, n, n), all 0 for one that is not finite.

    A member that diverged would stop an eigenvalue solver for all.
    """
    gram = tall.mT @ tall
    finite = gram.isfinite().all(2, keepdim=True).all(1, keepdim=True)
    return gram.where(finite, 0.0)
