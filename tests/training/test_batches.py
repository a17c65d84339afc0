"""The order of examples: a permutation per epoch and seed, drawn from streams of its own."""

from __future__ import annotations

import gc
import threading
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regrun.training import batches
from regrun.training.batches import Orders, epoch_order
from regrun.training.engine import Engine
from tests.support.engines import collect, config_of, dataset_of
from tests.support.steps import BASE

SEEDS = st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=5)


@given(SEEDS, st.integers(0, 10**6), st.integers(1, 60))
def test_every_row_is_a_permutation(seeds: list[int], epoch: int, size: int) -> None:
    order = epoch_order(seeds, epoch, size)
    assert order.dtype == torch.int64
    assert torch.equal(order.sort(dim=1).values, torch.arange(size).expand(len(seeds), size))


@given(SEEDS, st.integers(0, 10**6), st.integers(1, 60))
def test_a_row_depends_on_its_own_seed_alone(seeds: list[int], epoch: int, size: int) -> None:
    together = epoch_order(seeds, epoch, size)
    for row, seed in zip(together, seeds, strict=True):
        assert torch.equal(row, epoch_order([seed], epoch, size)[0])


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = torch.cat([epoch_order(range(10), epoch, 50) for epoch in range(10)])
    assert len({tuple(row) for row in orders.tolist()}) == 100


def test_the_global_generator_neither_matters_nor_moves() -> None:
    torch.manual_seed(1)
    first, state = epoch_order([3], 2, 30), torch.get_rng_state()
    torch.manual_seed(2)
    assert torch.equal(first, epoch_order([3], 2, 30))
    torch.manual_seed(1)
    assert torch.equal(state, torch.get_rng_state())


def test_every_example_comes_first_equally_often() -> None:
    firsts = torch.stack([epoch_order([0], epoch, 10)[0, 0] for epoch in range(5000)])
    counts = torch.bincount(firsts, minlength=10).double()
    # Chi-squared with 9 degrees of freedom exceeds 33.7 with probability 1e-4.
    assert float(((counts - 500) ** 2 / 500).sum()) < 33.7


CPU = torch.device("cpu")


def threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name.startswith("orders")]


@given(
    st.integers(1, 6),
    st.lists(
        st.one_of(st.integers(0, 7), st.lists(st.integers(0, 99), min_size=1, max_size=4)),
        max_size=12,
    ),
)
def test_orders_made_ahead_are_those_that_would_be_made(
    epochs: int, asked: list[int | list[int]]
) -> None:
    orders = Orders(10, CPU, epochs)
    seeds: tuple[int, ...] = (1, 2)
    orders.set_seeds(seeds)
    for each in asked:
        if isinstance(each, list):
            seeds = tuple(each)
            orders.set_seeds(seeds)
        else:
            assert torch.equal(orders.of(each), epoch_order(seeds, each, 10))


def made_by(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The thread that makes the orders of each epoch from now on."""
    found: list[tuple[str, int]] = []

    def noting(seeds: Sequence[int], epoch: int, count: int) -> torch.Tensor:
        found.append((threading.current_thread().name.split("_")[0], epoch))
        return epoch_order(seeds, epoch, count)

    monkeypatch.setattr(batches, "epoch_order", noting)
    return found


def test_the_orders_of_an_epoch_are_made_while_the_one_before_is_trained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = made_by(monkeypatch)
    orders = Orders(10, CPU, 4)
    orders.set_seeds((1,))
    for epoch in range(4):
        orders.of(epoch)
    assert found == [("MainThread", 0), ("orders", 1), ("orders", 2), ("orders", 3)]


def test_a_look_at_the_first_epoch_in_between_costs_no_order_that_was_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = made_by(monkeypatch)
    orders = Orders(10, CPU, 7)
    orders.set_seeds((1,))
    for epoch in (4, 0, 4, 5, 6):
        orders.of(epoch)
    assert sorted(found) == [
        ("MainThread", 0), ("MainThread", 4), ("MainThread", 4), ("orders", 5), ("orders", 6)
    ]  # fmt: skip


def test_after_a_jump_orders_are_made_ahead_again(monkeypatch: pytest.MonkeyPatch) -> None:
    found = made_by(monkeypatch)
    orders = Orders(10, CPU, 7)
    orders.set_seeds((1,))
    for epoch in (0, 5, 6):
        orders.of(epoch)
    assert sorted(found) == [("MainThread", 0), ("MainThread", 5), ("orders", 1), ("orders", 6)]


def test_on_a_cpu_orders_are_made_when_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    found, before = made_by(monkeypatch), threads()
    one = config_of(BASE, {})
    collect(Engine([one], dataset_of(one), CPU))
    assert found == [("MainThread", epoch) for epoch in range(one.training.epochs)]
    assert set(threads()) <= set(before)


def test_what_fails_ahead_is_raised_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    orders = Orders(10, CPU, 3)
    orders.set_seeds((1,))

    def no_memory(seeds: Sequence[int], epoch: int, count: int) -> torch.Tensor:
        if epoch:
            raise MemoryError("orders")
        return epoch_order(seeds, epoch, count)

    monkeypatch.setattr(batches, "epoch_order", no_memory)
    orders.of(0)
    with pytest.raises(MemoryError, match="orders"):
        orders.of(1)


def test_the_thread_ends_with_what_it_was_made_for() -> None:
    before = threads()
    orders = Orders(10, CPU, 3)
    orders.set_seeds((1,))
    orders.of(0)
    (thread,) = set(threads()) - set(before)
    del orders
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()
