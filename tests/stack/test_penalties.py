"""Entrywise penalties of a stack: values and gradients against NumPy, alone and in company."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from regrun.errors import ConfigError
from regrun.kinds.optimizers.sgd import SGD
from regrun.kinds.penalties import L1, L2, ElasticNet, EntrywisePenalty, Penalty
from regrun.nn.roles import Role
from regrun.stack.optimizer import StackedOptimizer
from regrun.stack.penalties import StackedPenalties, entrywise_values
from regrun.stack.penalty_terms import add_gradient, add_penalty_gradient

ROLES: dict[str, Role] = {
    "hidden.weight": "weight",
    "hidden.bias": "bias",
    "output.weight": "weight",
}
SHAPES = {"hidden.weight": (3, 4), "hidden.bias": (3,), "output.weight": (1, 3)}
Array = NDArray[np.float64]
Parameters = dict[str, torch.Tensor]
EXAMPLES: dict[str, EntrywisePenalty] = {
    "l1": L1(type="l1", strength=0.3),
    "l2": L2(type="l2", strength=0.3),
    "l2 whole": L2(type="l2", strength=0.3, half=False),
    "elastic_net": ElasticNet(type="elastic_net", strength=0.3, l1_ratio=0.7),
    "elastic_net whole": ElasticNet(type="elastic_net", strength=0.3, l1_ratio=0.7, half=False),
}


def formula(penalty: Any, w: Array) -> Any:
    """The table of definitions, once more, in NumPy."""
    lam, w = penalty.strength, np.asarray(w)
    half = 0.5 if getattr(penalty, "half", True) else 1.0
    if penalty.type == "l1":
        return lam * np.abs(w).sum()
    if penalty.type == "l2":
        return lam * half * (w**2).sum()
    rho = penalty.l1_ratio
    return lam * (rho * np.abs(w).sum() + (1 - rho) * half * (w**2).sum())


def gradient_formula(penalty: Any, w: Array) -> Any:
    lam, twice = penalty.strength, 1.0 if getattr(penalty, "half", True) else 2.0
    if penalty.type == "l1":
        return lam * np.sign(w)
    if penalty.type == "l2":
        return lam * twice * w
    rho = penalty.l1_ratio
    return lam * (rho * np.sign(w) + (1 - rho) * twice * w)


def parameters(members: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Parameters:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(members, *shape, generator=generator, dtype=dtype).requires_grad_()
        for name, shape in SHAPES.items()
    }


def gradient_of(penalties: StackedPenalties, parameters: Parameters) -> Parameters:
    """What the optimizer adds to each parameter's gradient of 0."""
    added = {name: torch.zeros_like(p) for name, p in parameters.items()}
    for term in penalties.entrywise:
        w = parameters[term.parameter].detach()
        shape = [-1] + [1] * (w.dim() - 1)
        sign, linear = (n.to(w.dtype).view(shape) for n in (term.sign, term.linear))
        scratch = torch.empty_like(w)
        zero = torch.zeros_like(w)
        added[term.parameter] = add_gradient(w, zero, sign, linear, torch.empty_like(w), scratch)
    columns = {
        term.parameter: term.columns(parameters[term.parameter]) for term in penalties.entrywise
    }
    zeros = [torch.zeros_like(p) for p in parameters.values()]
    whole = add_penalty_gradient(parameters, zeros, columns)
    assert all(torch.equal(a, b) for a, b in zip(whole, added.values(), strict=True))
    assert not any(zero.any() for zero in zeros)
    return added


def total(penalties: StackedPenalties, parameters: Parameters) -> torch.Tensor:
    """The sum of each member's penalties on parameters: (K,)."""
    whole = {n: v for n, v in penalties.values(parameters).items() if "/" not in n}
    return torch.stack(list(whole.values())).sum(0)


@pytest.mark.parametrize(
    ("penalty", "expected"),
    [
        (L1(type="l1", strength=0.01), 0.006),
        (L2(type="l2", strength=0.01, half=False), 0.0014),
        (L2(type="l2", strength=0.01), 0.0007),
        (ElasticNet(type="elastic_net", strength=0.01, l1_ratio=1.0), 0.006),
        (ElasticNet(type="elastic_net", strength=0.01, l1_ratio=0.0, half=False), 0.0014),
    ],
)
def test_the_worked_example_comes_out_right(penalty: EntrywisePenalty, expected: float) -> None:
    w = torch.tensor([[0.1, 0.2, 0.3]], dtype=torch.float64)
    stacked = StackedPenalties([[penalty]], {"w": "weight"})
    assert total(stacked, {"w": w}).item() == pytest.approx(expected, rel=1e-14)


@given(
    w=arrays(np.float64, (2, 5), elements=st.floats(-1e3, 1e3)),
    strength=st.floats(0, 1e3),
    ratio=st.floats(0, 1),
    half=st.booleans(),
)
def test_values_and_gradients_are_those_of_the_definitions(
    w: Array, strength: float, ratio: float, half: bool
) -> None:
    for penalty in (
        L1(type="l1", strength=strength),
        L2(type="l2", strength=strength, half=half),
        ElasticNet(type="elastic_net", strength=strength, l1_ratio=ratio, half=half),
    ):
        stacked = StackedPenalties([[penalty], []], {"w": "weight"})
        values = total(stacked, {"w": torch.tensor(w)})
        np.testing.assert_allclose(values, [formula(penalty, w[0]), 0.0], rtol=1e-12, atol=1e-300)
        added = gradient_of(stacked, {"w": torch.tensor(w)})["w"]
        np.testing.assert_allclose(
            added[0], gradient_formula(penalty, w[0]), rtol=1e-12, atol=1e-300
        )
        assert not added[1].any()


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_value_passes_gradcheck(example: str) -> None:
    pairs = [EXAMPLES[example].scaled_coefficients] * 2
    weights = tuple(parameters(2).values())
    assert torch.autograd.gradcheck(
        lambda *w: torch.stack(entrywise_values(pairs, w)).sum(0), weights
    )


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_gradient_in_the_update_is_autograds_gradient_of_the_value(example: str) -> None:
    stack = parameters(2)
    penalties = StackedPenalties([[EXAMPLES[example]], [EXAMPLES["l2"]]], ROLES)
    chosen = ["hidden.weight", "output.weight"]
    expected = torch.autograd.grad(total(penalties, stack).sum(), [stack[n] for n in chosen])
    added = gradient_of(penalties, stack)
    for name, gradient in zip(chosen, expected, strict=True):
        torch.testing.assert_close(added[name], gradient, rtol=1e-13, atol=1e-13)


def test_the_gradient_of_l1_at_zero_is_zero() -> None:
    stacked = StackedPenalties([[EXAMPLES["l1"]]], {"w": "weight"})
    assert not gradient_of(stacked, {"w": torch.zeros(1, 3).double()})["w"].any()


def test_members_with_different_penalties_each_have_their_own() -> None:
    lists: list[list[Penalty]] = [
        [],
        [EXAMPLES["l1"]],
        [EXAMPLES["elastic_net"], L2(type="l2", strength=2.0, apply_to=("bias",))],
        [L1(type="l1", strength=5.0, apply_to=("output.*",))],
        [EXAMPLES["l1"], L1(type="l1", strength=0.1, apply_to=("all",))],
    ]
    stack = parameters(len(lists))
    together = StackedPenalties(lists, ROLES)
    added, values = gradient_of(together, stack), together.values(stack)
    for k, penalties in enumerate(lists):
        own = {name: p[k : k + 1] for name, p in stack.items()}
        alone = StackedPenalties([penalties], ROLES)
        assert set(alone.values(own)) == set(together.labels[k]) == set(alone.labels[0])
        for label, amount in values.items():
            expected = alone.values(own).get(label, torch.zeros(1).double())
            torch.testing.assert_close(amount[k : k + 1], expected)
        for name, gradient in gradient_of(alone, own).items():
            torch.testing.assert_close(added[name][k : k + 1], gradient, rtol=1e-13, atol=1e-15)


def test_values_have_a_label_per_type_and_add_up() -> None:
    penalties = [
        EXAMPLES["l1"],
        EXAMPLES["elastic_net"],
        L1(type="l1", strength=1.0, apply_to=("bias",)),
    ]
    stack = parameters(1)
    stacked = StackedPenalties([penalties], ROLES)
    values = {label: amount.item() for label, amount in stacked.values(stack).items()}
    weights = np.concatenate(
        [stack[n].detach().numpy().ravel() for n in ("hidden.weight", "output.weight")]
    )
    bias = stack["hidden.bias"].detach().numpy()
    expected = {
        "l1": formula(penalties[0], weights),
        "elastic_net": formula(penalties[1], weights),
        "elastic_net/l1": 0.3 * 0.7 * np.abs(weights).sum(),
        "elastic_net/l2": 0.3 * 0.3 * 0.5 * (weights**2).sum(),
        "l1_2": np.abs(bias).sum(),
    }
    assert values == pytest.approx(expected, rel=1e-12)
    whole = expected["l1"] + expected["elastic_net"] + expected["l1_2"]
    assert total(stacked, stack).item() == pytest.approx(whole, rel=1e-12)


def sgd_run(
    lists: Sequence[Sequence[Penalty]],
    weight_decay: float = 0.0,
    dtype: torch.dtype = torch.float64,
    steps: int = 20,
) -> Parameters:
    stack = parameters(len(lists), dtype=dtype)
    sections = [SGD(name="sgd", lr=0.1, weight_decay=weight_decay)] * len(lists)
    decayed = [name for name, role in ROLES.items() if role == "weight"]
    terms = StackedPenalties(lists, ROLES).entrywise
    optimizer = StackedOptimizer(sections, stack, decayed, terms)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        optimizer.step(
            [torch.randn(p.shape, generator=generator, dtype=dtype) for p in stack.values()]
        )
    return stack


def test_l2_is_weight_decay_under_sgd_bit_for_bit() -> None:
    half = sgd_run([[L2(type="l2", strength=0.3)]])
    whole = sgd_run([[L2(type="l2", strength=0.15, half=False)]])
    decay = sgd_run([[]], weight_decay=0.3)
    for name in SHAPES:
        assert torch.equal(half[name], decay[name])
        assert torch.equal(whole[name], decay[name])


@pytest.mark.parametrize("example", EXAMPLES)
def test_strength_zero_changes_nothing(example: str) -> None:
    nothing = EXAMPLES[example].model_copy(update={"strength": 0.0})
    none = sgd_run([[], []], dtype=torch.float32)
    alone = sgd_run([[nothing], [nothing]], dtype=torch.float32)
    together = sgd_run([[nothing], [EXAMPLES[example]]], dtype=torch.float32)
    assert StackedPenalties([[nothing]], ROLES).entrywise == []
    for name in SHAPES:
        assert torch.equal(none[name], alone[name])
        assert torch.equal(none[name][0], together[name][0])
    assert not torch.equal(none["hidden.weight"][1], together["hidden.weight"][1])


def test_the_order_of_penalties_does_not_matter() -> None:
    penalties = [
        L2(type="l2", strength=0.1),
        L2(type="l2", strength=0.2, apply_to=("all",)),
        EXAMPLES["l2"],  # 0.1 + 0.2 + 0.3 rounds differently in another order
        EXAMPLES["elastic_net"],
    ]
    runs = [sgd_run([order]) for order in itertools.permutations(penalties)]
    for other in runs[1:]:
        assert all(torch.equal(runs[0][name], other[name]) for name in SHAPES)


@pytest.mark.parametrize("example", EXAMPLES)
@pytest.mark.parametrize("name", SHAPES)
def test_a_penalty_never_touches_a_parameter_outside_apply_to(example: str, name: str) -> None:
    penalty = EXAMPLES[example].model_copy(update={"apply_to": (name,)})
    none, one = sgd_run([[]]), sgd_run([[penalty]])
    for other in SHAPES:
        assert torch.equal(none[other], one[other]) == (other != name)


def test_a_diverged_member_does_not_spoil_the_values_of_its_neighbours() -> None:
    stack = {"w": torch.tensor([[1.0, 2.0], [torch.inf, torch.nan]])}
    lists: list[list[Penalty]] = [[EXAMPLES["l1"]], [L1(type="l1", strength=0.0)]]
    values = total(StackedPenalties(lists, {"w": "weight"}), stack)
    torch.testing.assert_close(values, torch.tensor([0.9, 0.0]))


def test_nothing_here_needs_autograd() -> None:
    assert StackedPenalties([[EXAMPLES["l1"]]], ROLES).differentiable(parameters(1)) is None


def test_an_apply_to_that_chooses_nothing_is_an_error_at_its_place() -> None:
    lists = [[EXAMPLES["l1"], L1(type="l1", strength=1.0, apply_to=("hiden.*",))]]
    with pytest.raises(ConfigError, match=r"penalty\.1\.apply_to: 'hiden\.\*' is neither a role"):
        StackedPenalties(lists, ROLES)
