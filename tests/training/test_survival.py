"""The steps of each member are counted until its loss is not finite, and never again after that."""

from __future__ import annotations

import torch

from regrun.training.survival import Survival

NAN, INF = float("nan"), float("inf")


def test_a_member_is_alive_until_its_first_loss_that_is_not_finite() -> None:
    survival = Survival(4, torch.device("cpu"))
    for losses in ([1.0, NAN, 2.0, 1.0], [1.0, 1.0, INF, 1.0], [1.0, 1.0, 1.0, -INF]):
        survival.record(torch.tensor(losses))
    assert survival.alive.tolist() == [True, False, False, False]
    assert survival.finite_steps.tolist() == [3, 0, 1, 2]
    survival.shrink_to(torch.tensor([3, 0]))
    survival.record(torch.ones(2))
    assert survival.state_dict()["alive"].tolist() == [False, True]
    assert survival.state_dict()["finite_steps"].tolist() == [2, 4]


def test_steps_write_where_the_tensors_are() -> None:
    survival = Survival(2, torch.device("cpu"))
    before = survival.state_dict()
    survival.record(torch.tensor([NAN, 1.0]))
    assert [each.tolist() for each in before.values()] == [[False, True], [0, 1]]
