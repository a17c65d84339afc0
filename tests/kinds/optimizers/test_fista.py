"""FISTA against the paper's iteration, its rate of convergence and the optimality conditions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from regrun.kinds.optimizers.fista import Fista
from regrun.kinds.penalties import L1, ElasticNet, Penalty
from regrun.nn.roles import Role
from regrun.stack.optimizer import StackedOptimizer
from regrun.stack.penalties import StackedPenalties

Array = NDArray[np.float64]
STRENGTHS = (0.0, 0.02, 0.1)
RATES = (0.3, 0.2, 0.1)


def problem(seed: int = 0) -> Callable[[Array], Array]:
    """Least squares with 12 unknowns in two parameters, badly conditioned; and its gradient."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(40, 12)) * np.geomspace(1, 0.1, 12)
    b = a @ np.where(np.arange(12) % 3, 0.0, 2.0) + 0.1 * rng.normal(size=40)
    a /= np.linalg.norm(a, 2) / np.sqrt(40)

    def gradient(w: Array) -> Array:
        return a.T @ (a @ w - b) / 40

    return gradient


def soft(v: Array, amount: float) -> Array:
    return np.sign(v) * np.maximum(np.abs(v) - amount, 0)


def reference(
    gradient: Callable[[Array], Array], lam: float, rate: float, steps: int, restart: bool
) -> Array:
    """Beck & Teboulle 2009, eq. 4.1–4.3, as printed, with the restart of O'Donoghue & Candès."""
    x = y = np.zeros(12)
    t, path = 1.0, []
    for _ in range(steps):
        new = soft(y - rate * gradient(y), rate * lam)
        if restart and (y - new) @ (new - x) > 0:
            t, y = 1.0, new
        else:
            following = (1 + np.sqrt(1 + 4 * t**2)) / 2
            y, t = new + (t - 1) / following * (new - x), following
        x = new
        path.append(x)
    return np.array(path)


def penalty(lam: float) -> list[Penalty]:
    return [L1(type="l1", strength=lam, method="proximal")]


class Run:
    """Three members on the same problem, with strengths and rates of their own."""

    def __init__(
        self,
        restart: bool,
        lists: Sequence[Sequence[Penalty]] | None = None,
        members: Sequence[int] = (0, 1, 2),
    ) -> None:
        self.gradient = problem()
        lists = lists or [penalty(STRENGTHS[k]) for k in members]
        sections = [Fista(name="fista", lr=RATES[k], restart=restart) for k in members]
        roles: dict[str, Role] = {"u": "weight", "v": "weight"}
        self.parameters = {
            "u": torch.zeros(len(lists), 2, 4, dtype=torch.float64),
            "v": torch.zeros(len(lists), 4, dtype=torch.float64),
        }
        penalties = StackedPenalties(lists, roles)
        self.optimizer = StackedOptimizer(
            sections, self.parameters, roles, penalties.entrywise, proximal=penalties.proximal
        )

    def flat(self) -> Array:
        return np.concatenate([p.flatten(1).numpy() for p in self.parameters.values()], axis=1)

    def steps(self, count: int) -> Array:
        path = []
        for _ in range(count):
            self.optimizer.look_ahead()
            g = torch.tensor(np.stack([self.gradient(w) for w in self.flat()]))
            self.optimizer.step([g[:, :8].reshape(-1, 2, 4), g[:, 8:]])
            path.append(self.flat().copy())
        return np.stack(path, axis=1)


@pytest.mark.parametrize("restart", [False, True])
def test_each_member_takes_the_steps_of_the_paper(restart: bool) -> None:
    path = Run(restart).steps(200)
    for k in range(3):
        expected = reference(problem(), STRENGTHS[k], RATES[k], 200, restart)
        np.testing.assert_allclose(path[k], expected, rtol=1e-9, atol=1e-12)


def test_a_restart_happens_and_shortens_the_way() -> None:
    with_it, without = Run(True).steps(400)[0], Run(False).steps(400)[0]
    end = np.linalg.lstsq(*least_squares(), rcond=None)[0]
    assert not np.allclose(with_it[-1], without[-1], rtol=1e-12, atol=0)
    assert np.linalg.norm(with_it[-1] - end) < 1e-2 * np.linalg.norm(without[-1] - end)


def least_squares() -> tuple[Array, Array]:
    gradient = problem()
    constant = gradient(np.zeros(12))
    return np.stack([gradient(e) - constant for e in np.eye(12)], axis=1), -constant


def test_it_stops_where_the_optimality_conditions_hold() -> None:
    path = Run(True).steps(1500)
    for k in range(1, 3):
        w, g = path[k, -1], problem()(path[k, -1])
        np.testing.assert_allclose(g[w != 0], -STRENGTHS[k] * np.sign(w[w != 0]), atol=1e-13)
        assert (np.abs(g[w == 0]) <= STRENGTHS[k]).all() and (w == 0).any()


def test_it_is_faster_than_proximal_gradient_descent_by_the_promised_order() -> None:
    """F(x_k) − F* ≤ 2 ‖x_0 − x*‖² / (η (k+1)²), Beck & Teboulle 2009, Theorem 4.4."""
    a, b = least_squares()
    run = Run(False, members=(1,))
    end = Run(True, members=(1,)).steps(1500)[0, -1]

    def objective(w: Array) -> float:
        return float(0.5 * w @ a @ w - b @ w + STRENGTHS[1] * np.abs(w).sum())

    for k, w in enumerate(run.steps(300)[0], start=1):
        assert objective(w) - objective(end) <= 2 * end @ end / (RATES[1] * (k + 1) ** 2) + 1e-14


@pytest.mark.parametrize("restart", [False, True])
def test_going_on_from_a_state_is_bitwise_going_on(restart: bool) -> None:
    whole, first = Run(restart), Run(restart)
    path = whole.steps(40)
    first.steps(17)
    second = Run(restart)
    for name, parameter in first.parameters.items():
        second.parameters[name].copy_(parameter)
    second.optimizer.load_state_dict(
        {n: t.clone() for n, t in first.optimizer.state_dict().items()}
    )
    np.testing.assert_array_equal(second.steps(23), path[:, 17:])


def test_members_that_leave_change_nothing_for_those_that_stay() -> None:
    whole, shrunk = Run(True), Run(True)
    path = whole.steps(60)
    shrunk.steps(25)
    shrunk.parameters = {name: p[[0, 2]].clone() for name, p in shrunk.parameters.items()}
    shrunk.optimizer.shrink_to(torch.tensor([0, 2]), shrunk.parameters)
    np.testing.assert_array_equal(shrunk.steps(35), path[[0, 2], 25:])


def test_a_member_alone_is_the_member_in_company() -> None:
    together = Run(True).steps(150)
    for k in range(3):
        np.testing.assert_array_equal(Run(True, members=(k,)).steps(150)[0], together[k])


def test_the_l2_part_of_an_elastic_net_is_in_the_proximal_step() -> None:
    net = ElasticNet(type="elastic_net", strength=0.1, l1_ratio=0.5, method="proximal")
    w = Run(True, lists=[[net]], members=(0,)).steps(1500)[0, -1]
    g = problem()(w) + 0.05 * w
    np.testing.assert_allclose(g[w != 0], -0.05 * np.sign(w[w != 0]), atol=1e-13)
    assert (np.abs(g[w == 0]) <= 0.05).all()


def test_without_a_learning_rate_there_is_no_optimizer() -> None:
    with pytest.raises(ValueError, match=r"optimizer\.lr"):
        StackedOptimizer([Fista(name="fista")], {"w": torch.zeros(1, 2)}, [])
