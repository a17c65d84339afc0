"""The order of examples: a permutation per epoch and seed, drawn from streams of its own."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from regrun.training.batches import epoch_order

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
