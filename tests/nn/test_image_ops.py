"""Operations on images against plain NumPy loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from regrun.nn.image_ops import moved, random_integers, span

HEIGHT, WIDTH = 5, 7


def images(rows: int, batch: int, channels: int = 2) -> Tensor:
    count = rows * batch * channels * HEIGHT * WIDTH
    return 1 + torch.arange(count, dtype=torch.float64).view(rows, batch, channels, HEIGHT, WIDTH)


@settings(max_examples=40)
@given(data=st.data())
def test_moved_images_are_those_of_a_loop(data: st.DataObject) -> None:
    rows, batch = data.draw(st.integers(1, 2)), data.draw(st.integers(1, 3))
    offsets = st.lists(st.integers(-9, 9), min_size=rows * batch, max_size=rows * batch)
    down = np.array(data.draw(offsets)).reshape(rows, batch)
    right = np.array(data.draw(offsets)).reshape(rows, batch)
    mirrored = np.array(data.draw(offsets)).reshape(rows, batch) > 0
    x = images(rows, batch)
    expected = np.zeros(x.shape)
    for r, b, c, i, j in np.ndindex(*x.shape):
        k = i + down[r, b]
        l = (WIDTH - 1 - j if mirrored[r, b] else j) + right[r, b]  # noqa: E741
        if 0 <= k < HEIGHT and 0 <= l < WIDTH:
            expected[r, b, c, i, j] = x[r, b, c, k, l]
    result = moved(x, *(torch.from_numpy(a) for a in (down, right, mirrored)))
    assert np.array_equal(result.numpy(), expected)


def test_a_move_is_a_crop_of_the_padded_image_and_a_mirror_is_torchs_flip() -> None:
    x = images(1, 1)
    padded = torch.nn.functional.pad(x, (3, 3, 3, 3))
    here, none = torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, 1, dtype=torch.bool)
    crop = padded[..., 3 + 2 : 3 + 2 + HEIGHT, 3 - 3 : WIDTH]
    assert torch.equal(moved(x, here + 2, here - 3, none), crop)
    assert torch.equal(moved(x, here + 2, here - 3, ~none), crop.flip(-1))
    assert torch.equal(moved(x, here, here, none), x)


def test_an_even_side_spans_equally_many_pixels_around_its_centre() -> None:
    assert span(torch.tensor(4), torch.tensor(4), 9).nonzero().flatten().tolist() == [2, 3, 4, 5]
    assert span(torch.tensor(4), torch.tensor(3), 9).nonzero().flatten().tolist() == [3, 4, 5]
    assert span(torch.tensor(0), torch.tensor(4), 9).nonzero().flatten().tolist() == [0, 1]


@pytest.mark.parametrize("count", [1, 9, 2**15])
def test_integers_stay_below_their_bound(count: int) -> None:
    most = torch.tensor([1 - 2**-24, 0.0])  # the largest float32 below 1
    assert random_integers(most, count).tolist() == [count - 1, 0]
