"""Group lasso, orthogonal, spectral: against NumPy, gradcheck, and next to diverged members."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from regrun.errors import ConfigError
from regrun.kinds.penalties import GroupLasso, Orthogonal, Spectral, WeightPenalty
from regrun.nn.roles import Role
from regrun.stack.penalties import StackedPenalties

SECTIONS: dict[str, WeightPenalty] = {
    "in": GroupLasso(type="group_lasso", strength=0.3, groups="in"),
    "out": GroupLasso(type="group_lasso", strength=0.3, groups="out"),
    "filter": GroupLasso(type="group_lasso", strength=0.3, groups="filter"),
    "orthogonal": Orthogonal(type="orthogonal", strength=0.3),
    "spectral": Spectral(type="spectral", strength=0.3),
}
SHAPES = [(4, 7), (7, 4), (5, 2, 3, 3), (1, 6), (6, 1)]
CASES = [
    (kind, shape) for kind in SECTIONS for shape in SHAPES if kind != "filter" or len(shape) > 2
]


group_lasso, orthogonal, spectral = (
    SECTIONS[kind].value for kind in ("in", "orthogonal", "spectral")
)


def weights(shape: tuple[int, ...], members: int = 2, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(members, *shape, generator=generator, dtype=torch.float64)


def formula(kind: str, w: NDArray[np.float64]) -> Any:
    """The table of definitions, once more, in NumPy, of one member's parameter."""
    rows = w.reshape(len(w), -1)
    if kind == "spectral":
        return 0.5 * np.linalg.svd(rows, compute_uv=False)[0] ** 2
    if kind == "orthogonal":
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return np.linalg.norm(unit @ unit.T - np.eye(len(w))) ** 2
    groups = rows if kind != "out" else [w[:, j].ravel() for j in range(w.shape[1])]
    return sum(np.sqrt(group.size) * np.linalg.norm(group) for group in groups)


def penalty_of(section: WeightPenalty, weight: torch.Tensor) -> torch.Tensor:
    return differentiable(StackedPenalties([[section]] * len(weight), {"w": "weight"}), weight)


def differentiable(penalties: StackedPenalties, weight: torch.Tensor) -> torch.Tensor:
    amount = penalties.differentiable({"w": weight})
    assert amount is not None
    return amount


@pytest.mark.parametrize(("kind", "shape"), CASES)
def test_the_value_is_that_of_the_definition(kind: str, shape: tuple[int, ...]) -> None:
    weight = weights(shape)
    expected = [0.3 * formula(kind, own.numpy()) for own in weight]
    np.testing.assert_allclose(penalty_of(SECTIONS[kind], weight), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("kind", "shape"), CASES)
def test_the_gradient_passes_gradcheck(kind: str, shape: tuple[int, ...]) -> None:
    weight = weights(shape).requires_grad_()
    assert torch.autograd.gradcheck(lambda w: penalty_of(SECTIONS[kind], w), weight)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_spectral_penalty_is_that_of_a_singular_value_decomposition(
    shape: tuple[int, ...],
) -> None:
    weight = weights(shape, members=3, seed=1).requires_grad_()
    (gradient,) = torch.autograd.grad(spectral(weight).sum(), weight)
    u, sigma, vh = torch.linalg.svd(weight.detach().flatten(2), full_matrices=False)
    torch.testing.assert_close(spectral(weight), sigma[:, 0] ** 2 / 2, rtol=1e-12, atol=0)
    largest = torch.linalg.svdvals(weight.detach().flatten(2))[:, 0]
    torch.testing.assert_close((2 * spectral(weight)).sqrt(), largest, rtol=1e-12, atol=0)
    expected = sigma[:, :1, None] * u[:, :, :1] @ vh[:, :1]
    torch.testing.assert_close(gradient.flatten(2), expected, rtol=1e-9, atol=1e-12)


def test_orthogonal_rows_cost_nothing_whatever_their_length() -> None:
    rows = torch.linalg.qr(weights((6, 6))).Q[:, :4] * torch.tensor([1.0, 2.0, 0.1, 50.0])[:, None]
    torch.testing.assert_close(orthogonal(rows), torch.zeros(2).double(), rtol=0, atol=1e-25)
    parallel = torch.ones(1, 3, 5).double()
    assert orthogonal(parallel).item() == pytest.approx(3 * 2)


@pytest.mark.parametrize("measure", [group_lasso, orthogonal, spectral])
def test_the_gradient_at_zero_is_zero(measure: Callable[[torch.Tensor], torch.Tensor]) -> None:
    weight = weights((3, 4), members=1)
    weight[0, 1] = 0
    for start in (weight, torch.zeros_like(weight)):
        start = start.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(measure(start).sum(), start)
        assert torch.isfinite(gradient).all()
        assert not gradient[(start == 0).all(2)].any()


@pytest.mark.parametrize("kind", ["in", "orthogonal", "spectral"])
def test_a_diverged_member_or_one_without_the_penalty_enters_nothing(kind: str) -> None:
    section = SECTIONS[kind]
    weight = weights((3, 4), members=4)
    weight[1, 0, 0], weight[3, 2, 1] = torch.inf, torch.nan
    weight.requires_grad_()
    none = section.model_copy(update={"strength": 0.0})
    stacked = StackedPenalties([[section], [none], [section], []], {"w": "weight"})
    total = differentiable(stacked, weight)
    (gradient,) = torch.autograd.grad(total.sum(), weight)
    assert total[1] == 0 and total[3] == 0 and not gradient[1].any() and not gradient[3].any()
    sound = weight.detach()[[0, 2]].requires_grad_()
    alone = penalty_of(section, sound)
    torch.testing.assert_close(total[[0, 2]], alone, rtol=1e-14, atol=0)
    (own,) = torch.autograd.grad(alone.sum(), sound)
    torch.testing.assert_close(gradient[[0, 2]], own, rtol=1e-12, atol=1e-14)
    spoiled = penalty_of(section, weight)  # now the diverged ones have the penalty too
    assert torch.isfinite(spoiled[[0, 2]]).all() and not torch.isfinite(spoiled[[1, 3]]).any()


@pytest.mark.parametrize("kind", SECTIONS)
def test_the_log_has_the_value_by_either_method_and_the_objective_only_by_gradient(
    kind: str,
) -> None:
    weight, section = weights((5, 2, 3, 3)), SECTIONS[kind]
    members = [[section], []]
    if "proximal" in section.methods:
        members[1] = [section.model_copy(update={"method": "proximal"})]
    stacked = StackedPenalties(members, {"w": "weight"})
    (label,) = stacked.labels[0]
    logged, objective = stacked.values({"w": weight})[label], differentiable(stacked, weight)
    expected = 0.3 * formula(kind, weight[1].numpy()) if members[1] else 0
    assert logged[1].item() == pytest.approx(expected, rel=1e-12)
    assert objective[1] == 0 and objective[0] == logged[0]


def test_nothing_is_differentiated_at_strength_zero() -> None:
    nothing = [section.model_copy(update={"strength": 0.0}) for section in SECTIONS.values()]
    assert (
        StackedPenalties([nothing], {"w": "weight"}).differentiable({"w": weights((3, 4))}) is None
    )


@pytest.mark.parametrize(
    ("section", "place"),
    [
        (SECTIONS["in"].model_copy(update={"apply_to": ("all",)}), r"penalty\.0\.apply_to: .*64"),
        (SECTIONS["spectral"].model_copy(update={"apply_to": ("bias",)}), r"penalty\.0\.apply_to"),
        (SECTIONS["filter"], r"penalty\.0\.groups: filter: w is a matrix of 64×10"),
    ],
)
def test_shapes_that_a_penalty_has_no_meaning_for_are_refused_at_its_place(
    section: WeightPenalty, place: str
) -> None:
    roles: dict[str, Role] = {"w": "weight", "b": "bias"}
    shapes = {"w": (64, 10), "b": (64,)}
    with pytest.raises(ConfigError, match=place):
        StackedPenalties([[section]], roles, shapes)


@pytest.mark.parametrize(
    "shape, form", [((64,), "a vector of 64"), ((), "a single number")], ids=["vector", "number"]
)
def test_a_refused_parameter_is_named_with_its_form(shape: tuple[int, ...], form: str) -> None:
    section = SECTIONS["spectral"].model_copy(update={"apply_to": ("scale",)})
    message = f"scale is {form}: spectral needs matrices or filters; choose weights only"
    with pytest.raises(ConfigError, match=re.escape(message)):
        StackedPenalties([[section]], {"scale": "weight"}, {"scale": shape})
