"""How parameters are cut into tiles."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regrun.stack.tiles import LARGE, PIECE, Layout, tile_entries


@given(
    shape=st.tuples(st.integers(1, 7), st.integers(1, 9), st.integers(1, 5)),
    limit=st.integers(1, 400),
)
def test_pieces_cover_every_entry_once_and_know_their_members(
    shape: tuple[int, ...], limit: int
) -> None:
    layout = Layout.of(shape, limit)
    tensor = torch.zeros(shape)
    numbers = torch.arange(1.0, shape[0] + 1)
    pieces = layout.cut(tensor)
    assert len(pieces) == len(layout.members)
    for piece, number in zip(pieces, layout.numbers(numbers), strict=True):
        assert piece.numel() <= limit
        piece += number
    assert torch.equal(tensor, numbers.view(-1, 1, 1).expand(shape))


def test_a_small_parameter_is_not_cut() -> None:
    tensor = torch.randn(3, 4, 5)
    assert Layout.of(tensor.shape, 60).cut(tensor) == (tensor,)


@pytest.mark.parametrize("length", [LARGE, PIECE, 2 * PIECE + 5])
@pytest.mark.parametrize("limit", [100, 10**7])
def test_large_members_get_the_same_tiles_of_their_own_under_every_limit(
    length: int, limit: int
) -> None:
    layout = Layout.of((2, length), limit, per_member=True)
    assert layout.view == (2 * length,)
    assert [members.start for members in layout.members] == sorted(
        [0, 1] * (len(layout.sizes) // 2)
    )
    assert sum(layout.sizes) == 2 * length
    assert layout.sizes == Layout.of((2, length), 1, per_member=True).sizes
    assert Layout.of((2, 9), limit, per_member=True) == Layout.of((2, 9), limit)


def test_a_gradient_that_is_not_contiguous_is_cut_in_the_order_of_the_parameter() -> None:
    layout = Layout.of((2, 3, 4), 4)
    gradient = torch.randn(2, 4, 3).transpose(1, 2)
    assert torch.equal(torch.cat([*layout.cut(gradient)]), gradient.flatten())


def test_tiles_shrink_with_the_size_of_an_entry() -> None:
    assert tile_entries(torch.zeros(1)) == 2 * tile_entries(torch.zeros(1, dtype=torch.float64))
