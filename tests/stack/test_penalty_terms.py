"""Proximal steps: against a grid, as non-expansive maps, and under the optimizer."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
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
from regrun.kinds.penalties import L1, L2, ElasticNet, GroupLasso, WeightPenalty
from regrun.nn.roles import Role
from regrun.stack.optimizer import StackedOptimizer
from regrun.stack.penalties import StackedPenalties

PROXIMAL: Any = {"method": "proximal"}
L1_ = L1(type="l1", strength=0.4, **PROXIMAL)
NET = ElasticNet(type="elastic_net", strength=0.5, l1_ratio=0.3, **PROXIMAL)
WHOLE_NET = ElasticNet(type="elastic_net", strength=0.5, l1_ratio=0.3, half=False, **PROXIMAL)
GROUPS_IN = GroupLasso(type="group_lasso", strength=0.3, groups="in", **PROXIMAL)
GROUPS_OUT = GroupLasso(type="group_lasso", strength=0.3, groups="out", **PROXIMAL)
FILTERS = GroupLasso(type="group_lasso", strength=0.3, groups="filter", **PROXIMAL)

Array = NDArray[np.float64]
Penalties = Sequence[WeightPenalty]
# Per case: the penalties, and the shape of a member's weight; two free entries each.
CASES: dict[str, tuple[list[WeightPenalty], tuple[int, ...]]] = {
    "l1": ([L1_], (1, 2)),
    "l1 twice": ([L1_, L1(type="l1", strength=0.1, **PROXIMAL)], (1, 2)),
    "elastic net": ([NET], (1, 2)),
    "elastic net without half": ([WHOLE_NET], (1, 2)),
    "group lasso, in": ([GROUPS_IN], (1, 2)),
    "group lasso, out": ([GROUPS_OUT], (2, 1)),
    "group lasso, filter": ([FILTERS], (1, 1, 1, 2)),
    "group lasso, groups of one": ([GROUPS_OUT], (1, 2)),
    "sparse group lasso": ([L1_, GROUPS_IN], (1, 2)),
    "elastic net and groups": ([GROUPS_IN, NET], (1, 2)),
    "two of the same groups": ([GROUPS_IN, GROUPS_IN], (1, 2)),
}

finite = st.floats(-3, 3, allow_subnormal=False)


def prox(penalties: Penalties, weight: Array, rate: float = 1.0) -> Array:
    """The proximal step of one member's penalties on its weight."""
    stacked = StackedPenalties([penalties], {"w": "weight"})
    (term,) = stacked.proximal
    result = torch.tensor(weight)[None]
    term.step_(result, torch.tensor([rate], dtype=torch.float64))
    return result[0].numpy()


def objective(penalties: Sequence[Any], w: Array, v: Array, rate: float) -> Any:
    """½‖w − v‖² + rate · penalties, from their formulas. w: (..., 2) stands for the two entries."""
    total = 0.5 * ((w - v) ** 2).sum(-1)
    for p in penalties:
        if p.type == "l1":
            total = total + rate * p.strength * np.abs(w).sum(-1)
        elif p.type == "elastic_net":
            half = 0.5 if p.half else 1.0
            l1, l2 = np.abs(w).sum(-1), half * (w**2).sum(-1)
            total = total + rate * p.strength * (p.l1_ratio * l1 + (1 - p.l1_ratio) * l2)
        elif p is GROUPS_OUT:
            total = total + rate * p.strength * grouped_out(w)
        else:
            total = total + rate * p.strength * np.sqrt(2) * np.linalg.norm(w, axis=-1)
    return total


grouped_out: Any = None  # chosen by the shape: one column of two, or two columns of one


@pytest.mark.parametrize("rate", [1.0, 0.37])
@pytest.mark.parametrize("case", CASES)
def test_no_point_of_a_fine_grid_is_better_than_the_prox(
    case: str, rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    penalties, shape = CASES[case]
    column = shape == (2, 1)
    monkeypatch.setitem(
        globals(),
        "grouped_out",
        (lambda w: np.sqrt(2) * np.linalg.norm(w, axis=-1)) if column else lambda w: abs(w).sum(-1),
    )
    steps = np.linspace(-1.5, 1.5, 1201)
    grid = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1)
    for v in ([1.1, -0.7], [0.2, 0.9], [0.05, -0.1], [0.0, 1.3]):
        found = prox(penalties, np.reshape(v, shape), rate).ravel()
        values = objective(penalties, grid, np.array(v), rate)
        assert objective(penalties, found, np.array(v), rate) <= values.min() + 1e-15
        nearest = grid[np.unravel_index(values.argmin(), values.shape)]
        np.testing.assert_allclose(found, nearest, atol=0.0025)


@pytest.mark.parametrize("case", CASES)
@given(data=st.data())
def test_a_prox_never_moves_two_points_apart(case: str, data: st.DataObject) -> None:
    penalties, shape = CASES[case]
    u, v = (data.draw(arrays(np.float64, shape, elements=finite)) for _ in range(2))
    apart = np.linalg.norm((prox(penalties, u) - prox(penalties, v)).ravel())
    assert apart <= np.linalg.norm((u - v).ravel()) * (1 + 1e-12) + 1e-15


@pytest.mark.parametrize("case", CASES)
@given(data=st.data())
def test_at_a_rate_or_strength_of_zero_a_prox_changes_no_bit(
    case: str, data: st.DataObject
) -> None:
    penalties, shape = CASES[case]
    v = data.draw(arrays(np.float64, shape, elements=st.floats(width=64)))
    np.testing.assert_array_equal(prox(penalties, v, rate=0.0), v)
    nothing = [p.model_copy(update={"strength": 0.0}) for p in penalties]
    assert StackedPenalties([nothing], {"w": "weight"}).proximal == []


@given(v=arrays(np.float64, (3, 4), elements=finite), amount=st.floats(0.01, 3))
def test_entries_and_groups_below_the_threshold_become_exactly_zero(
    v: Array, amount: float
) -> None:
    weight = torch.tensor(v)[None]
    entries, groups = weight.clone(), weight.clone()
    L1_.prox_(entries, torch.full((1, 1, 1), amount, dtype=torch.float64))
    assert torch.equal(entries == 0, weight.abs() <= amount)
    GROUPS_IN.prox_(groups, torch.full((1, 1, 1), amount, dtype=torch.float64))
    small = torch.linalg.vector_norm(weight, dim=2) <= amount * 4**0.5
    assert torch.equal((groups == 0).all(2), small)


@pytest.mark.parametrize("penalty", [L1_, NET, WHOLE_NET, GROUPS_IN, GROUPS_OUT])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_step_of_a_stack_is_the_prox_of_its_class(
    penalty: WeightPenalty, dtype: torch.dtype
) -> None:
    weight = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(2)).to(dtype)
    strengths, rate = [0.3, 1.7], torch.tensor([0.1, 0.2], dtype=torch.float64)
    members = [[penalty.model_copy(update={"strength": each})] for each in strengths]
    expected, found = weight.clone(), weight.clone()
    penalty.prox_(expected, (rate * torch.tensor(strengths)).view(2, 1, 1))
    StackedPenalties(members, {"w": "weight"}).proximal[0].step_(found, rate)
    torch.testing.assert_close(found, expected)


def test_members_that_leave_take_their_numbers_along() -> None:
    lists: list[Penalties] = [[L1_], [GROUPS_IN, NET], [], [GROUPS_OUT]]
    (term,) = StackedPenalties(lists, {"w": "weight"}).proximal
    term.shrink_to(torch.tensor([1, 3]))
    assert term.active.tolist() == [True, True]
    weight = torch.randn(2, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    after = weight.clone()
    term.step_(after, torch.full((2,), 0.3, dtype=torch.float64))
    for row, penalties in enumerate([lists[1], lists[3]]):
        np.testing.assert_array_equal(after[row], prox(penalties, weight[row].numpy(), 0.3))


def test_a_neighbour_without_the_penalty_keeps_its_bits_even_infinite_ones() -> None:
    lists: list[Penalties] = [[L1_, GROUPS_IN, NET], [], [L2(type="l2", strength=1.0)], [L1_]]
    stacked = StackedPenalties(lists, {"w": "weight"})
    weight = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0))
    weight[1, 0, 0], weight[2, 1, 1] = torch.inf, torch.nan
    after = weight.clone()
    for term in stacked.proximal:
        term.step_(after, torch.full((4,), 0.1).double())
    torch.testing.assert_close(after[1:3], weight[1:3], rtol=0, atol=0, equal_nan=True)
    assert not torch.equal(after[0], weight[0]) and not torch.equal(after[3], weight[3])


def test_members_with_different_groups_stand_in_one_stack() -> None:
    lists: list[Penalties] = [[GROUPS_IN], [GROUPS_OUT], [GROUPS_OUT, L1_]]
    stacked = StackedPenalties(lists, {"w": "weight"})
    weight = torch.randn(3, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    after = weight.clone()
    stacked.proximal[0].step_(after, torch.full((3,), 0.5).double())
    for k, penalties in enumerate(lists):
        np.testing.assert_array_equal(after[k], prox(penalties, weight[k].numpy(), 0.5))


def test_groups_that_overlap_have_no_joint_prox() -> None:
    with pytest.raises(ConfigError, match=r"penalty\.1\.groups: out: .* overlap"):
        StackedPenalties([[GROUPS_IN, GROUPS_OUT]], {"w": "weight"})
    apart = GROUPS_OUT.model_copy(update={"apply_to": ("v",)})
    roles: dict[str, Role] = {"w": "weight", "v": "norm"}
    assert len(StackedPenalties([[GROUPS_IN, apart]], roles).proximal) == 2
    assert StackedPenalties([[GROUPS_IN, FILTERS]], {"w": "weight"}).proximal


def test_the_order_of_proximal_penalties_does_not_matter() -> None:
    penalties = [L1_, GROUPS_IN, NET]
    weight = np.random.default_rng(0).normal(size=(3, 4))
    results = [prox(list(p), weight) for p in itertools.permutations(penalties)]
    for other in results:
        np.testing.assert_array_equal(other, results[0])


# --- under the optimizer ------------------------------------------------------------------------


def quadratic(seed: int = 0) -> Callable[[torch.Tensor], torch.Tensor]:
    """½‖A w − b‖²/n for a (2, 3) weight: its gradient, as a function of (K, 2, 3)."""
    rng = np.random.default_rng(seed)
    a, b = torch.tensor(rng.normal(size=(20, 6))), torch.tensor(rng.normal(size=20))

    def gradient(w: torch.Tensor) -> torch.Tensor:
        """Member by member, so that it has the same bits in any company."""
        return torch.stack([(a.T @ (a @ own.flatten() - b) / 20).view_as(own) for own in w])

    return gradient


def train(
    sections: Sequence[SGD],
    lists: Sequence[Penalties],
    steps: int,
    multiplier: Callable[[int], float] = lambda t: 1.0,
) -> torch.Tensor:
    weight = torch.tensor(np.random.default_rng(1).normal(size=(1, 2, 3)))
    parameters = {"w": weight.repeat(len(lists), 1, 1)}
    penalties = StackedPenalties(lists, {"w": "weight"})
    optimizer = StackedOptimizer(
        sections, parameters, ["w"], penalties.entrywise, proximal=penalties.proximal
    )
    gradient = quadratic()
    path = [parameters["w"].clone()]
    for t in range(steps):
        optimizer.step([gradient(parameters["w"])], multiplier(t))
        path.append(parameters["w"].clone())
    return torch.stack(path, dim=1)


def sgd(**keys: Any) -> SGD:
    return SGD(name="sgd", **{"lr": 0.1, **keys})


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("penalties", [[L1_], [NET], [GROUPS_IN, L1_], [GROUPS_OUT]])
def test_sgd_takes_the_proximal_step_of_the_whole_movement(
    penalties: Penalties, momentum: float
) -> None:
    """Ochs et al. 2014 (iPiano): w ← prox(w − η ∇f(w) + μ (w − w_previous))."""
    got = train([sgd(momentum=momentum)], [penalties], 60)[0]
    gradient, w = quadratic(), got[:1].clone()
    before = w.clone()
    for t in range(60):
        forward = w - 0.1 * gradient(w) + momentum * (w - before)
        before, w = w, torch.tensor(prox(penalties, forward[0].numpy(), 0.1))[None]
        torch.testing.assert_close(got[t + 1 : t + 2], w, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("penalties", [[L1_], [NET], [GROUPS_IN, L1_]])
def test_momentum_changes_the_way_but_not_the_minimum(penalties: Penalties) -> None:
    ends = train([sgd(momentum=m) for m in (0.0, 0.5, 0.9)], [penalties] * 3, 1500)[:, -1]
    for end in ends:
        torch.testing.assert_close(end, ends[0], rtol=1e-10, atol=1e-12)
        stationary = prox(penalties, (end - quadratic()(end[None])[0]).numpy())
        np.testing.assert_allclose(end, stationary, rtol=1e-10, atol=1e-12)
    assert (ends[0] == 0).any() or penalties == [NET]


def test_the_threshold_follows_the_schedule_and_a_rate_of_zero_changes_nothing() -> None:
    free = train([sgd()], [[]], 1, lambda t: 0.25)[0]
    thresholded = train([sgd()], [[L1_]], 1, lambda t: 0.25)[0]
    expected = free[1].sign() * (free[1].abs() - 0.25 * 0.1 * 0.4).clamp(min=0)
    torch.testing.assert_close(thresholded[1], expected)
    paused = train([sgd(momentum=0.9)], [[L1_]], 6, lambda t: float(t not in (0, 2)))[0]
    assert torch.equal(paused[1], paused[0]) and torch.equal(paused[3], paused[2])
    assert torch.isfinite(paused).all()


def test_a_member_without_proximal_penalty_is_what_it_is_alone() -> None:
    sections = [sgd(momentum=0.9)] * 3
    mixed = train(sections, [[], [L1_], [L1(type="l1", strength=0.4)]], 30)
    alone = train(sections[:1], [[]], 30)
    gradient_method = train(sections[:1], [[L1(type="l1", strength=0.4)]], 30)
    torch.testing.assert_close(mixed[0], alone[0], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(mixed[2], gradient_method[0], rtol=1e-12, atol=1e-14)
    assert (mixed[1, -1] == 0).any() and not (mixed[2, -1] == 0).any()
