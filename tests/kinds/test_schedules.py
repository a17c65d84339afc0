"""Schedules against torch's schedulers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from regrun.kinds.schedules import (
    Constant,
    Cosine,
    CosineRestarts,
    Memory,
    MultiStep,
    OneCycle,
    Plateau,
    Schedule,
    StepDecay,
)

Array = NDArray[np.float64]
MakeScheduler = Callable[[Optimizer], LRScheduler]
EPOCHS, PER_EPOCH = 7, 4


def multipliers(schedule: Schedule, epochs: int = EPOCHS, per_epoch: int = PER_EPOCH) -> Array:
    """The multiplier of every step of a run."""
    return schedule.multipliers(np.arange(epochs * per_epoch), epochs, per_epoch)


def stepped(make_scheduler: MakeScheduler, count: int = EPOCHS * PER_EPOCH) -> Array:
    """Multipliers of one of torch's schedulers that is stepped once per step."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = make_scheduler(optimizer)
    seen = []
    for _ in range(count):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return np.array(seen)


def with_warmup(steps: int, start: float, rest: MakeScheduler) -> MakeScheduler:
    def make(optimizer: Optimizer) -> LRScheduler:
        rise = lr_scheduler.LinearLR(optimizer, start_factor=start, total_iters=steps)
        return lr_scheduler.SequentialLR(optimizer, [rise, rest(optimizer)], milestones=[steps])

    return make


def test_constant_is_one_everywhere() -> None:
    schedule = Constant(type="constant")
    assert np.array_equal(multipliers(schedule), np.ones(EPOCHS * PER_EPOCH))
    assert schedule.always_one
    assert not Constant(type="constant", warmup_epochs=1.0).always_one


def test_step_equals_torch() -> None:
    schedule = StepDecay(type="step", step_size=2, gamma=0.3)
    theirs = stepped(lambda o: lr_scheduler.StepLR(o, step_size=2 * PER_EPOCH, gamma=0.3))
    np.testing.assert_allclose(multipliers(schedule), theirs, rtol=1e-12)


def test_multistep_equals_torch() -> None:
    schedule = MultiStep(type="multistep", milestones=(2, 3, 6), gamma=0.3)
    steps = [epoch * PER_EPOCH for epoch in schedule.milestones]
    theirs = stepped(lambda o: lr_scheduler.MultiStepLR(o, milestones=steps, gamma=0.3))
    np.testing.assert_allclose(multipliers(schedule), theirs, rtol=1e-12)


@pytest.mark.parametrize("milestones", [(3, 2), (2, 2), ()])
def test_milestones_ascend(milestones: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError, match=r"ascending order|at least 1 item"):
        MultiStep(type="multistep", milestones=milestones)


@pytest.mark.parametrize(("first", "longer"), [(2, 1), (1, 2), (1, 3), (2, 2), (9, 2)])
@pytest.mark.parametrize("least", [0.0, 0.2])
def test_restarts_equal_torch_stepped_by_fractions_of_epochs(
    first: int, longer: int, least: float
) -> None:
    schedule = CosineRestarts(type="cosine_restarts", t_0=first, t_mult=longer, min_factor=least)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    theirs = lr_scheduler.CosineAnnealingWarmRestarts(optimizer, first, longer, eta_min=least)
    expected = []
    for step in range(15 * PER_EPOCH):
        theirs.step(step / PER_EPOCH)
        expected.append(optimizer.param_groups[0]["lr"])
    np.testing.assert_allclose(multipliers(schedule, 15), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("anneal", ["cos", "linear"])
@pytest.mark.parametrize("peak", [0.0, 0.05, 0.3, 0.51, 1.0])
def test_one_cycle_equals_torch(anneal: Literal["cos", "linear"], peak: float) -> None:
    schedule = OneCycle(
        type="one_cycle", pct_start=peak, div_factor=10.0, final_div_factor=200.0, anneal=anneal
    )
    theirs = stepped(
        lambda o: lr_scheduler.OneCycleLR(
            o, max_lr=1.0, total_steps=EPOCHS * PER_EPOCH + 1, pct_start=peak, div_factor=10.0,
            final_div_factor=200.0, anneal_strategy=anneal, cycle_momentum=False,
        ),
    )  # fmt: skip
    longer = schedule.factors(np.arange(EPOCHS * PER_EPOCH), EPOCHS * PER_EPOCH + 1, PER_EPOCH)
    np.testing.assert_allclose(longer, theirs, rtol=1e-12)


def test_one_cycle_ends_at_its_lowest_in_the_last_step_and_peaks_even_at_step_0() -> None:
    ours = multipliers(OneCycle(type="one_cycle", div_factor=4.0, final_div_factor=5.0))
    assert ours[-1] == pytest.approx(1 / 20)
    at_once = OneCycle(type="one_cycle", pct_start=0.25, anneal="linear", final_div_factor=1.0)
    np.testing.assert_allclose(multipliers(at_once, 1, 4), 1 - 0.96 * np.arange(4) / 3)


@pytest.mark.parametrize("least", [0.0, 0.2])
def test_cosine_equals_torch(least: float) -> None:
    schedule = Cosine(type="cosine", min_factor=least)
    total = EPOCHS * PER_EPOCH
    theirs = stepped(lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=total, eta_min=least))
    np.testing.assert_allclose(multipliers(schedule), theirs, rtol=1e-12)


@pytest.mark.parametrize(
    ("schedule", "rest"),
    [
        (
            Constant(type="constant", warmup_epochs=1.5, warmup_start=0.1),
            lambda o: lr_scheduler.ConstantLR(o, factor=1.0),
        ),
        (
            StepDecay(type="step", step_size=2, gamma=0.5, warmup_epochs=1.5, warmup_start=0.1),
            lambda o: lr_scheduler.StepLR(o, step_size=2 * PER_EPOCH, gamma=0.5),
        ),
        (
            Cosine(type="cosine", warmup_epochs=1.5, warmup_start=0.1),
            lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=EPOCHS * PER_EPOCH - 6),
        ),
    ],
)
def test_warm_up_equals_torch(schedule: Schedule, rest: MakeScheduler) -> None:
    theirs = stepped(with_warmup(6, 0.1, rest))
    ours = multipliers(schedule)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_warm_up_starts_at_zero_by_default_and_ends_at_one() -> None:
    ours = multipliers(Constant(type="constant", warmup_epochs=2.0), 3, 2)
    np.testing.assert_allclose(ours, [0, 0.25, 0.5, 0.75, 1, 1])


def test_a_warm_up_longer_than_the_run_is_all_rise() -> None:
    ours = multipliers(Cosine(type="cosine", warmup_epochs=10.0), 2, 2)
    np.testing.assert_allclose(ours, np.arange(4) / 20)


def test_any_piece_of_the_run_has_the_multipliers_of_the_whole() -> None:
    schedule = Cosine(type="cosine", min_factor=0.1, warmup_epochs=2.0)
    piece = schedule.multipliers(np.arange(5, 20), EPOCHS, PER_EPOCH)
    assert np.array_equal(piece, multipliers(schedule)[5:20])


@pytest.mark.parametrize(
    "schedule",
    [
        Constant(type="constant", warmup_epochs=2.0),
        StepDecay(type="step", step_size=2, gamma=0.5, warmup_epochs=1.5),
        MultiStep(type="multistep", milestones=(2, 6), warmup_epochs=1.5),
        Cosine(type="cosine"),
        CosineRestarts(type="cosine_restarts", t_0=2, t_mult=2),
        OneCycle(type="one_cycle"),
        Plateau(type="plateau", warmup_epochs=1.0),
    ],
)
def test_a_schedule_says_whether_a_longer_run_has_the_same_multipliers(schedule: Schedule) -> None:
    steps = np.arange(EPOCHS * PER_EPOCH)
    longer = schedule.multipliers(steps, EPOCHS + 3, PER_EPOCH)
    assert np.array_equal(longer, multipliers(schedule)) == (not schedule.depends_on_end)


CURVE = np.random.default_rng(0).normal(size=60).cumsum() / 10 + 3


@pytest.mark.parametrize("metric", ["val/loss", "val/accuracy"])
@pytest.mark.parametrize("mode", ["rel", "abs"])
@pytest.mark.parametrize(
    ("patience", "cooldown", "least", "threshold"),
    [(0, 0, 0.0, 0.0), (2, 0, 0.0, 0.05), (1, 3, 0.05, 0.02), (4, 1, 0.3, 0.3)],
)
def test_plateau_drops_where_torch_drops(
    metric: str,
    mode: Literal["rel", "abs"],
    patience: int,
    cooldown: int,
    least: float,
    threshold: float,
) -> None:
    schedule = Plateau(
        type="plateau", metric=metric, factor=0.5, patience=patience, threshold=threshold,
        threshold_mode=mode, cooldown=cooldown, min_factor=least,
    )  # fmt: skip
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    direction: Literal["min", "max"] = "min" if metric == "val/loss" else "max"
    theirs = lr_scheduler.ReduceLROnPlateau(
        optimizer, direction, 0.5, patience, threshold, mode, cooldown, least, eps=0
    )
    memory, ours, expected = Memory(), [], []
    for value in CURVE:
        theirs.step(value)
        expected.append(optimizer.param_groups[0]["lr"])
        memory = schedule.after(memory, {metric: value})
        ours.append(memory.factor)
    assert ours == expected
    assert len(set(ours)) > 1


def test_plateau_watches_validation_where_there_is_one_and_waits_for_averages() -> None:
    auto = Plateau(type="plateau", patience=0)
    first = auto.after(Memory(), {"train/loss": 1.0, "val/loss": 2.0})
    assert first.best == 2.0
    assert auto.after(first, {"train/loss": 2.0, "val/loss": 1.0}).factor == 1.0
    assert auto.after(Memory(), {"train/loss": 1.0, "test/loss": 3.0}).best == 1.0
    of_average = Plateau(type="plateau", metric="swa/val/loss", patience=0)
    assert of_average.after(first, {"val/loss": 5.0}) == first


def test_a_schedule_of_a_plug_in_depends_on_the_end_unless_it_says_otherwise() -> None:
    assert Schedule.depends_on_end
