"""The multipliers of a stack, an epoch at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from regrun.config.schema import Config
from regrun.errors import PluginError
from regrun.kinds.schedules import Constant, Schedule
from regrun.stack.schedule import StackedSchedule

EPOCHS, PER_EPOCH = 6, 4
STEP = {"type": "step", "step_size": 2, "gamma": 0.5}


def config(schedule: str | dict[str, Any], **training: Any) -> Config:
    return Config.model_validate(
        {
            "dataset": {"name": "digits"},
            "model": {"name": "linear"},
            "optimizer": {"name": "sgd", "lr": 0.5},
            "schedule": schedule,
            "training": {"epochs": EPOCHS, **training},
        }
    )


def stacked(*configs: Config) -> StackedSchedule:
    return StackedSchedule(configs, PER_EPOCH, torch.device("cpu"))


def of_run(schedule: Schedule) -> list[float]:
    steps = np.arange(EPOCHS * PER_EPOCH)
    return [float(each) for each in schedule.multipliers(steps, EPOCHS, PER_EPOCH)]


@pytest.mark.parametrize("schedule", ["cosine", STEP, {"type": "constant", "warmup_epochs": 2.0}])
def test_members_with_one_schedule_share_one_number(schedule: str | dict[str, Any]) -> None:
    one = config(schedule)
    of_stack = stacked(one, one)
    found = [float(of_stack(step)) for step in range(EPOCHS * PER_EPOCH)]
    assert found == of_run(one.schedule)


def test_each_member_has_its_own_multiplier() -> None:
    configs = [config(each) for each in ("cosine", STEP, "constant", "cosine")]
    of_stack, expected = stacked(*configs), [of_run(each.schedule) for each in configs]
    for step in (0, 1, 9, 23, 4):  # in any order, as a resumed run starts anywhere
        row = of_stack(step)
        assert isinstance(row, Tensor)
        assert row.dtype == torch.float64
        assert row.tolist() == [each[step] for each in expected]


@pytest.mark.parametrize("others", [["cosine"], ["constant"]])
def test_multipliers_stay_in_one_place(others: list[str]) -> None:
    of_stack = stacked(config("cosine"), *map(config, others))
    places = [of_stack(step) for step in range(EPOCHS * PER_EPOCH)]
    assert isinstance(places[0], Tensor)
    assert all(each is places[0] for each in places)


def test_a_constant_schedule_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Constant, "factors", None)
    assert stacked(config("constant"), config("constant"))(3) == 1.0


def test_a_learning_rate_of_swa_holds_the_multiplier() -> None:
    held = config("cosine", swa={"start": 3, "lr": 0.2})
    expected = of_run(held.schedule)
    alone, mixed = stacked(held), stacked(held, config("constant"))
    for step in range(EPOCHS * PER_EPOCH):
        mine = expected[step] if step < 3 * PER_EPOCH else 0.2 / 0.5
        assert alone(step) == mine
        row = mixed(step)
        assert isinstance(row, Tensor)
        assert row.tolist() == [mine, 1.0]


def test_a_measured_schedule_changes_the_multiplier_of_its_own_member() -> None:
    plateau = {"type": "plateau", "patience": 0, "factor": 0.5, "warmup_epochs": 1.0}
    held = config(plateau, swa={"start": 4, "lr": 0.2})
    of_stack = stacked(config(plateau), config("cosine"), config(plateau), held)
    cosine = of_run(config("cosine").schedule)
    assert of_stack.follows_metrics
    of_stack.respond([{"train/loss": 1.0}] * 4)
    of_stack.respond([{"train/loss": 2.0}, {"train/loss": 2.0}, {"train/loss": 0.5}, None])
    of_stack.respond([{"train/loss": 2.0}, {"train/loss": 2.0}, None, {"train/loss": 2.0}])
    for step, expected in {1: [0.0625, 0.25, 0.125], 9: [0.25, 1, 0.5], 17: [0.25, 1, 0.4]}.items():
        row = of_stack(step)
        assert isinstance(row, Tensor)
        assert row.tolist() == [expected[0], cosine[step], *expected[1:]]
    again = stacked(config(plateau), config("cosine"), config(plateau), held)
    again.load_state_dict(of_stack.state_dict())
    kept = [config(plateau), held]
    for each in (of_stack, again):
        each.shrink_to([0, 3], kept)
        row = each(9)
        assert isinstance(row, Tensor)
        assert row.tolist() == [0.25, 0.5]


class Endless(Constant):
    """Forgets that steps are many."""

    constant = False

    def factors(self, steps: Any, total_steps: int, steps_per_epoch: int) -> Any:
        return np.ones(3)


def test_factors_that_are_not_one_per_step_are_refused() -> None:
    wrong = config("constant").model_copy(update={"schedule": Endless(type="constant")})
    with pytest.raises(PluginError, match=r"Endless\.factors gave shape \[3\] for 4 steps"):
        stacked(wrong)(0)
