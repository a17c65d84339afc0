"""How long steps take is measured on real stacks, and what is timed are steps alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from regrun.config.load import config_from_mapping
from regrun.training import timing
from regrun.training.engine import Engine
from regrun.training.timing import ROUNDS, STEPS, WARM_UP, seconds_per_step
from tests.support.sweeps import DIGITS, with_keys

CPU = torch.device("cpu")


@pytest.mark.parametrize("batch_size", [7, "full"])
def test_the_fastest_round_counts_and_nothing_is_evaluated(
    batch_size: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_from_mapping(
        with_keys(DIGITS, training={"epochs": 500, "batch_size": batch_size, "compile": "always"})
    ).config
    taken: list[int] = []
    take_step = Engine._take_step

    def counting(engine: Engine) -> None:
        assert not engine._step.compiles
        taken.append(engine.step)
        take_step(engine)

    def refusing(engine: Engine, epoch: int) -> None:
        raise AssertionError("evaluated")

    monkeypatch.setattr(Engine, "_take_step", counting)
    monkeypatch.setattr(Engine, "_evaluate", refusing)
    times: Iterator[float] = iter([0.0, 3.0, 10.0, 10.8, 20.0, 25.0])
    found = seconds_per_step([config] * 3, config.dataset.load(), CPU, lambda: next(times))
    assert found == pytest.approx(0.1)
    assert taken == list(range(WARM_UP + ROUNDS * STEPS))


def test_no_step_beyond_the_last_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_from_mapping(
        with_keys(DIGITS, training={"epochs": 2, "batch_size": "full"})
    ).config
    engine = Engine([config], config.dataset.load(), CPU)
    engine.take_steps(5)
    assert engine.step == engine.total_steps == 2


def test_a_stack_that_was_timed_leaves_nothing_behind() -> None:
    config = config_from_mapping(with_keys(DIGITS, training={"epochs": 500})).config
    dataset = config.dataset.load()
    before = torch.random.get_rng_state()
    assert timing.seconds_per_step([config], dataset, CPU) > 0
    assert torch.equal(before, torch.random.get_rng_state())
