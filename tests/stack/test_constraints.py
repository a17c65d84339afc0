"""Constraints of a stack: projections against NumPy and random search; members without them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from regrun.errors import ConfigError
from regrun.kinds.constraints import Constraint, MaxNorm, MaxSpectralNorm, NonNegative, UnitNorm
from regrun.nn.roles import Role
from regrun.stack.constraints import StackedConstraints

ROLES: dict[str, Role] = {"conv.weight": "weight", "output.weight": "weight", "output.bias": "bias"}
SHAPES = {"conv.weight": (4, 2, 3, 3), "output.weight": (5, 7), "output.bias": (5,)}
Array = NDArray[np.float64]
Parameters = dict[str, torch.Tensor]
EXAMPLES: dict[str, Constraint] = {
    "max_norm": MaxNorm(type="max_norm", limit=2.0),
    "unit_norm": UnitNorm(type="unit_norm"),
    "non_negative": NonNegative(type="non_negative"),
    "max_spectral_norm": MaxSpectralNorm(type="max_spectral_norm", limit=2.0),
}


def parameters(members: int, dtype: torch.dtype = torch.float64) -> Parameters:
    generator = torch.Generator().manual_seed(3)
    return {
        name: torch.randn(members, *shape, generator=generator, dtype=dtype).requires_grad_()
        for name, shape in SHAPES.items()
    }


def copy_of(stack: Parameters) -> Parameters:
    return {name: p.detach().clone() for name, p in stack.items()}


def neuron_norms(weight: torch.Tensor) -> Array:
    """The norm of each row or filter of one member's weight, in NumPy."""
    norms: Array = np.linalg.norm(weight.detach().numpy().reshape(len(weight), -1), axis=1)
    return norms


def test_max_norm_scales_back_what_is_outside_and_leaves_the_rest_alone() -> None:
    limit = 2.0
    w = torch.tensor([[[0.6, 0.8], [0.0, 2.0], [3.0, 4.0], [0.0, 0.0]]], dtype=torch.float64)
    StackedConstraints([[MaxNorm(type="max_norm", limit=limit)]], {"w": "weight"}).project_(
        {"w": w}
    )
    expected = torch.tensor([[[0.6, 0.8], [0.0, 2.0], [1.2, 1.6], [0.0, 0.0]]], dtype=torch.float64)
    assert torch.equal(w[0, [0, 1, 3]], expected[0, [0, 1, 3]])
    torch.testing.assert_close(w[0, 2], expected[0, 2], rtol=1e-15, atol=0)


def test_max_norm_keeps_each_neurons_direction_with_each_members_own_limit() -> None:
    stack, limits = parameters(3), [0.5, 1.5, 3.0]
    before = copy_of(stack)
    lists = [[MaxNorm(type="max_norm", limit=limit)] for limit in limits]
    StackedConstraints(lists, ROLES).project_(stack)
    for name in ("conv.weight", "output.weight"):
        for k, limit in enumerate(limits):
            old, new = neuron_norms(before[name][k]), neuron_norms(stack[name][k])
            np.testing.assert_allclose(new, np.minimum(old, limit), rtol=1e-14)
            scale = torch.tensor(new / old).view(-1, *[1] * (before[name].dim() - 2))
            torch.testing.assert_close(stack[name][k].detach(), before[name][k] * scale)
    assert torch.equal(stack["output.bias"], before["output.bias"])


def test_max_spectral_norm_is_that_of_numpys_singular_values() -> None:
    stack, limits = parameters(3), [0.5, 3.0, 100.0]
    before = copy_of(stack)
    lists = [
        [MaxSpectralNorm(type="max_spectral_norm", limit=limit, apply_to=("weight", "bias"))]
        for limit in limits
    ]
    StackedConstraints(lists, ROLES).project_(stack)
    for name, old in before.items():
        for k, limit in enumerate(limits):
            matrix = old[k].numpy().reshape(len(old[k]) if old[k].dim() > 1 else 1, -1)
            largest = np.linalg.svd(matrix, compute_uv=False)[0]
            expected = old[k] * min(1.0, limit / largest)
            torch.testing.assert_close(stack[name][k].detach(), expected, rtol=1e-12, atol=0)
            if largest <= limit:
                assert torch.equal(stack[name][k], old[k])


def test_a_diverged_member_does_not_stop_the_spectral_norms_of_others() -> None:
    weight = torch.stack([torch.full((3, 4), np.nan), 10 * torch.eye(3, 4)])
    constraint = MaxSpectralNorm(type="max_spectral_norm", limit=2.0)
    constraint.project_(weight, {"limit": torch.full((2, 1, 1), 2.0)})
    assert weight[0].isnan().all()
    torch.testing.assert_close(weight[1], 2 * torch.eye(3, 4))


def test_unit_norm_gives_every_neuron_norm_one_and_leaves_zero_alone() -> None:
    stack = parameters(2)
    with torch.no_grad():
        stack["output.weight"][1, 2] = 0.0
    StackedConstraints([[UnitNorm(type="unit_norm")]] * 2, ROLES).project_(stack)
    norms = np.stack([neuron_norms(stack["output.weight"][k]) for k in range(2)])
    expected = np.ones((2, 5))
    expected[1, 2] = 0
    np.testing.assert_allclose(norms, expected, rtol=1e-14)
    np.testing.assert_allclose(neuron_norms(stack["conv.weight"][0]), np.ones(4), rtol=1e-14)


def test_non_negative_cuts_off_below_zero() -> None:
    stack = parameters(1)
    before = copy_of(stack)
    constraint = NonNegative(type="non_negative", apply_to=("all",))
    StackedConstraints([[constraint]], ROLES).project_(stack)
    for name, old in before.items():
        np.testing.assert_array_equal(stack[name].detach(), np.maximum(old.numpy(), 0))


def test_a_parameter_of_one_axis_is_one_vector() -> None:
    w = torch.tensor([[3.0, 4.0], [0.3, 0.4]], dtype=torch.float64)
    constraint = MaxNorm(type="max_norm", limit=1.0, apply_to=("bias",))
    StackedConstraints([[constraint]] * 2, {"b": "bias"}).project_({"b": w})
    torch.testing.assert_close(w, torch.tensor([[0.6, 0.8], [0.3, 0.4]], dtype=torch.float64))


@pytest.mark.parametrize("example", EXAMPLES)
def test_no_point_of_the_set_is_nearer_than_the_projection(example: str) -> None:
    """The argmin of the docstrings, by random search over the set."""
    generator = np.random.default_rng(0)
    w = generator.normal(size=(1, 1, 2)) * 3
    projected = torch.tensor(w)
    StackedConstraints([[EXAMPLES[example]]], {"w": "weight"}).project_({"w": projected})
    angle, radius = generator.uniform(0, 2 * np.pi, 20_000), generator.uniform(0, 2, 20_000)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points = {
        "max_norm": circle * radius[:, None],
        "max_spectral_norm": circle * radius[:, None],  # of a matrix with one row
        "unit_norm": circle,
        "non_negative": np.abs(generator.normal(size=(20_000, 2)) * 3),
    }[example]
    nearest = np.linalg.norm(points - w[0, 0], axis=1).min()
    ours = np.linalg.norm(projected.numpy() - w)
    assert ours <= nearest + 1e-12
    assert ours == pytest.approx(nearest, abs=0.1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("example", EXAMPLES)
def test_projecting_twice_is_projecting_once(example: str, dtype: torch.dtype) -> None:
    stack = parameters(3, dtype)
    constraints = StackedConstraints([[EXAMPLES[example]]] * 3, ROLES)
    constraints.project_(stack)
    once = copy_of(stack)
    constraints.project_(stack)
    rounding = torch.finfo(dtype).eps * 4
    for name, p in stack.items():
        torch.testing.assert_close(p.detach(), once[name], rtol=rounding, atol=0)


@pytest.mark.parametrize("example", EXAMPLES)
def test_members_without_a_constraint_keep_every_bit(example: str) -> None:
    stack = parameters(3, torch.float32)
    with torch.no_grad():
        stack["output.weight"][2, 0, 0] = torch.inf
    before = copy_of(stack)
    StackedConstraints([[], [EXAMPLES[example]], []], ROLES).project_(stack)
    for name, p in stack.items():
        assert torch.equal(p[[0, 2]], before[name][[0, 2]])
        assert torch.equal(p[1], before[name][1]) == (ROLES[name] == "bias")


def test_each_member_has_its_constraints_in_the_order_of_its_own_list() -> None:
    first, second = EXAMPLES["non_negative"], EXAMPLES["unit_norm"]
    lists = [[first, second], [second, first], [EXAMPLES["max_norm"], second]]
    stack = parameters(3)
    before = copy_of(stack)
    StackedConstraints(lists, ROLES).project_(stack)
    for k, constraints in enumerate(lists):
        own = {name: p[k : k + 1].clone() for name, p in before.items()}
        for constraint in constraints:
            StackedConstraints([[constraint]], ROLES).project_(own)
        for name in SHAPES:
            torch.testing.assert_close(stack[name][k : k + 1].detach(), own[name])


def test_a_nan_member_never_changes_its_neighbours() -> None:
    clean, poisoned = parameters(2), parameters(2)
    with torch.no_grad():
        poisoned["output.weight"][1] = torch.nan
    for stack in (clean, poisoned):
        StackedConstraints([list(EXAMPLES.values())] * 2, ROLES).project_(stack)
    for name in SHAPES:
        assert torch.equal(clean[name][0], poisoned[name][0])


def test_no_constraints_are_nothing_to_do() -> None:
    assert not StackedConstraints([[], []], ROLES)
    assert StackedConstraints([[EXAMPLES["unit_norm"]], []], ROLES)


def test_an_apply_to_that_chooses_nothing_is_an_error_at_its_place() -> None:
    constraint = UnitNorm(type="unit_norm", apply_to=("norm",))
    with pytest.raises(ConfigError, match=r"constraints\.0\.apply_to: 'norm': this model has no"):
        StackedConstraints([[constraint]], ROLES)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("max_norm", [2, -2, 0.5]),
        ("unit_norm", [1, -1, 1]),
        ("non_negative", [3, 0, 0.5]),
        ("max_spectral_norm", [2, -2, 0.5]),
    ],
)
def test_single_numbers_are_projected_member_by_member(kind: str, expected: list[float]) -> None:
    scale = torch.tensor([3, -4, 0.5], dtype=torch.float64)
    StackedConstraints([[EXAMPLES[kind]]] * 3, {"scale": "weight"}).project_({"scale": scale})
    torch.testing.assert_close(scale, torch.tensor(expected, dtype=torch.float64))
