"""Each kind of penalty by itself: its lines in `inspect`, its value, its curvature."""

from __future__ import annotations

import doctest
import math
from typing import Any

import numpy as np
import pytest
import torch

from regrun.kinds import constraints
from regrun.kinds.constraints import Constraint, MaxNorm, MaxSpectralNorm, NonNegative, UnitNorm
from regrun.kinds.penalties import (
    L1,
    L2,
    MCP,
    SCAD,
    ActivityL1,
    ActivityL2,
    ElasticNet,
    EntrywisePenalty,
    GroupLasso,
    Orthogonal,
    Penalty,
    Spectral,
    base,
)

PROXIMAL: Any = {"method": "proximal"}
HIDDEN = "hidden activations h, summed over units, mean over the batch"
INTO = "g: the weights into a neuron, or a filter"


@pytest.mark.parametrize("module", [base, constraints])
def test_the_examples_of_the_contracts_run(module: Any) -> None:
    found = doctest.testmod(module)
    assert found.attempted > 5 and not found.failed


@pytest.mark.parametrize(
    ("penalty", "line"),
    [
        (L1(type="l1", strength=0.2), "P = 0.2 Σ|w|   (l1 on [weight], gradient 0.2 sign(w))"),
        (L1(type="l1", strength=0), "P = 0   (l1 on [weight], gradient 0)"),
        (
            L1(type="l1", strength=0.2, **PROXIMAL),
            "P = 0.2 Σ|w|   (l1 on [weight], by a proximal step)",
        ),
        (
            L2(type="l2", strength=0.2, apply_to=("weight", "bias")),
            "P = 0.1 Σw²   (l2 on [weight, bias], gradient 0.2 w)",
        ),
        (
            ElasticNet(type="elastic_net", strength=0.4, l1_ratio=0.25),
            "P = 0.1 Σ|w| + 0.15 Σw²   (elastic_net on [weight], gradient 0.1 sign(w) + 0.3 w)",
        ),
        (
            ElasticNet(type="elastic_net", strength=0.4, l1_ratio=1),
            "P = 0.4 Σ|w|   (elastic_net on [weight], gradient 0.4 sign(w))",
        ),
        (
            MCP(type="mcp", strength=0.2),
            "P = Σ (0.2|w| − w²/6 for |w| ≤ 0.6, 0.06 above)   (mcp on [weight], "
            "gradient sign(w) max(0, 0.2 − |w|/3))",
        ),
        (
            SCAD(type="scad", strength=0.2, a=3),
            "P = Σ (0.2|w| for |w| ≤ 0.2, (1.2|w| − w² − 0.04)/4 for |w| ≤ 0.6, 0.08 above)   "
            "(scad on [weight], gradient sign(w) min(0.2, max(0, 0.6 − |w|)/2))",
        ),
        (
            GroupLasso(type="group_lasso", strength=0.2),
            f"P = 0.2 Σ_g √|g| ‖w_g‖₂   (group_lasso on [weight], {INTO}, "
            "gradient 0.2 √|g| w_g / ‖w_g‖₂)",
        ),
        (
            GroupLasso(type="group_lasso", strength=0.2, groups="filter", **PROXIMAL),
            "P = 0.2 Σ_g √|g| ‖w_g‖₂   (group_lasso on [weight], g: a filter, by a proximal step)",
        ),
        (
            Orthogonal(type="orthogonal", strength=2),
            "P = 2 Σ_{i≠j} cos²(w_i, w_j)   (orthogonal on [weight], gradient by autograd)",
        ),
        (
            Spectral(type="spectral", strength=2),
            "P = 2 ½ Σ_W σ_max(W)²   (spectral on [weight], gradient 2 σ_max u vᵀ)",
        ),
        (
            ActivityL1(type="activity_l1", strength=0.2),
            f"P = 0.2 Σ|h|   (activity_l1 on {HIDDEN}, gradient 0.2 sign(h))",
        ),
        (
            ActivityL2(type="activity_l2", strength=0.2),
            f"P = 0.1 Σh²   (activity_l2 on {HIDDEN}, gradient 0.2 h)",
        ),
    ],
    ids=lambda value: value.kind if isinstance(value, Penalty) else "",
)
def test_the_line_of_a_penalty_has_its_numbers(penalty: Penalty, line: str) -> None:
    assert penalty.symbols("P") == line


def test_the_lines_of_proximal_steps_say_when_they_are_done() -> None:
    net = ElasticNet(type="elastic_net", strength=0.4, l1_ratio=0.25, half=False)
    assert net.proximal_symbols("P2") == [
        (0, "w ← sign(w) · max(0, |w| − η_t 0.1)   (proximal step of P2)"),
        (2, "w ← w / (1 + η_t 0.6)   (proximal step of P2)"),
    ]
    groups = GroupLasso(type="group_lasso", strength=0.4)
    assert groups.proximal_symbols("P") == [
        (1, "w_g ← w_g · max(0, 1 − η_t 0.4 √|g| / ‖w_g‖₂)   (proximal step of P)")
    ]
    firm = MCP(type="mcp", strength=0.4)
    assert firm.proximal_symbols("P") == [
        (
            1,
            "w ← sign(w) · max(0, |w| − η_t 0.4) / (1 − η_t/3) for |w| ≤ 1.2   "
            "(proximal step of P)",
        )
    ]
    scad = SCAD(type="scad", strength=0.4, a=3)
    assert scad.proximal_symbols("P") == [
        (
            1,
            "w ← sign(w) · max(0, |w| − η_t 0.4) for |w| ≤ (1 + η_t) 0.4, "
            "else (2 w − sign(w) η_t 1.2) / (2 − η_t) for |w| ≤ 1.2   (proximal step of P)",
        )
    ]
    for penalty in (net, groups, firm, scad):
        assert penalty.model_copy(update={"strength": 0.0}).proximal_symbols("P") == []


@pytest.mark.parametrize(
    ("constraint", "line"),
    [
        (
            MaxNorm(type="max_norm", limit=3),
            "w ← w · min(1, c / ‖w‖₂),  c = 3   (max_norm on [weight], per neuron)",
        ),
        (UnitNorm(type="unit_norm"), "w ← w / ‖w‖₂   (unit_norm on [weight])"),
        (
            MaxSpectralNorm(type="max_spectral_norm", limit=0.5),
            "W ← W · min(1, c / σ_max(W)),  c = 0.5   (max_spectral_norm on [weight], per matrix)",
        ),
        (
            NonNegative(type="non_negative", apply_to=("all",)),
            "w ← max(w, 0)   (non_negative on [all])",
        ),
    ],
)
def test_the_line_of_a_constraint_has_its_numbers(constraint: Constraint, line: str) -> None:
    assert constraint.symbols() == line


@pytest.mark.parametrize("ratio", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("half", [True, False])
def test_the_value_of_an_entrywise_penalty_is_that_of_its_formula_without_strength(
    ratio: float, half: bool
) -> None:
    w = np.random.default_rng(0).normal(size=(2, 3, 4))
    sums, factor = (1, 2), 0.5 if half else 1.0
    absolute, square = np.abs(w).sum(sums), factor * (w**2).sum(sums)
    net = ElasticNet(type="elastic_net", strength=7.0, l1_ratio=ratio, half=half)
    expected = ratio * absolute + (1 - ratio) * square
    np.testing.assert_allclose(net.value(torch.tensor(w)), expected, rtol=1e-13)
    lasso, ridge = L1(type="l1", strength=7.0), L2(type="l2", strength=7.0, half=half)
    np.testing.assert_allclose(lasso.value(torch.tensor(w)), absolute, rtol=1e-13)
    np.testing.assert_allclose(ridge.value(torch.tensor(w)), square, rtol=1e-13)


def test_the_curvature_is_the_second_derivative_where_there_is_one() -> None:
    assert L2(type="l2", strength=0.3).curvature() == 0.3
    assert L2(type="l2", strength=0.3, half=False).curvature() == 0.6
    for kink in (L1(type="l1", strength=1.0), GroupLasso(type="group_lasso", strength=1.0)):
        assert kink.curvature() == 0.0, "under FISTA they are proximal"
    assert Spectral(type="spectral", strength=1.0).curvature() is None
    assert ActivityL2(type="activity_l2", strength=1.0).curvature() is None


@pytest.mark.parametrize("strength", [0.1, 0.7, 1e-3, 3.0])
def test_scaled_coefficients_are_those_of_the_definition_to_the_last_bit(strength: float) -> None:
    cases: list[tuple[EntrywisePenalty, tuple[float, float]]] = [
        (L1(type="l1", strength=strength), (strength, 0.0)),
        (L2(type="l2", strength=strength), (0.0, strength * 0.5)),
        (
            ElasticNet(type="elastic_net", strength=strength, l1_ratio=0.3),
            (strength * 0.3, strength * (1 - 0.3) * 0.5),
        ),
    ]
    for penalty, expected in cases:
        assert penalty.scaled_coefficients == expected


def test_one_function_has_one_key_whatever_its_strength_method_and_place() -> None:
    groups = GroupLasso(type="group_lasso", strength=1.0)
    for alike in ({"strength": 2.0}, {"method": "proximal"}, {"apply_to": ("all",)}):
        assert groups.model_copy(update=alike).function_key() == groups.function_key()
    other = groups.model_copy(update={"groups": "out"})
    assert other.function_key() != groups.function_key()


def test_a_group_is_what_the_key_says() -> None:
    weight = torch.arange(2 * 3 * 2 * 2 * 2, dtype=torch.float64).view(2, 3, 2, 2, 2)
    for groups, parts in (
        ("in", [weight[:, i] for i in range(3)]),
        ("filter", [weight[:, i] for i in range(3)]),
        ("out", [weight[:, :, i] for i in range(2)]),
    ):
        penalty = GroupLasso(type="group_lasso", strength=1.0, groups=groups)  # type: ignore[arg-type]
        size = parts[0][0].numel()
        expected = sum(math.sqrt(size) * part.flatten(1).norm(dim=1) for part in parts)
        torch.testing.assert_close(penalty.value(weight), expected)
