"""Changes of images against plain NumPy loops, and Beta draws against SciPy's distribution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from regrun.training.image_noise import beta, box, moved, span, whole_below, with_holes

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


@settings(max_examples=40)
@given(
    u=st.lists(st.floats(0, 1, exclude_max=True), min_size=8, max_size=8),
    sides=st.tuples(st.integers(0, 9), st.integers(0, 9)),
)
def test_holes_are_those_of_a_loop(u: list[float], sides: tuple[int, int]) -> None:
    x = images(2, 2)
    centres = np.array(u).reshape(2, 2, 2)
    expected = x.numpy().copy()
    for r, b, c, i, j in np.ndindex(*x.shape):
        top = int(centres[r, b, 0] * HEIGHT) - sides[r] // 2
        left = int(centres[r, b, 1] * WIDTH) - sides[r] // 2
        if top <= i < top + sides[r] and left <= j < left + sides[r]:
            expected[r, b, c, i, j] = 0
    result = with_holes(x, torch.from_numpy(centres), torch.tensor(sides))
    assert np.array_equal(result.numpy(), expected)


@given(u=st.tuples(*[st.floats(0, 1, exclude_max=True)] * 2), share=st.floats(0, 1))
def test_the_box_of_cutmix_is_the_papers(u: tuple[float, float], share: float) -> None:
    """Yun et al. 2019, appendix A: sides of √(1−λ) of the image's, cut off at its edges."""
    ratio = (1 - share) ** 0.5
    expected = np.zeros((HEIGHT, WIDTH), dtype=bool)
    tall, wide = int(HEIGHT * ratio), int(WIDTH * ratio)
    top, left = int(u[0] * HEIGHT) - tall // 2, int(u[1] * WIDTH) - wide // 2
    expected[max(top, 0) : max(top + tall, 0), max(left, 0) : max(left + wide, 0)] = True
    shares = torch.tensor([share], dtype=torch.float64)
    inside = box(torch.tensor([u], dtype=torch.float64), shares, HEIGHT, WIDTH)
    assert np.array_equal(inside.numpy(), expected[None, None, None])


def test_an_even_side_spans_equally_many_pixels_around_its_centre() -> None:
    assert span(torch.tensor(4), torch.tensor(4), 9).nonzero().flatten().tolist() == [2, 3, 4, 5]
    assert span(torch.tensor(4), torch.tensor(3), 9).nonzero().flatten().tolist() == [3, 4, 5]
    assert span(torch.tensor(0), torch.tensor(4), 9).nonzero().flatten().tolist() == [0, 1]


@pytest.mark.parametrize("count", [1, 9, 2**15])
def test_whole_numbers_stay_below_their_bound(count: int) -> None:
    most = torch.tensor([1 - 2**-24, 0.0])  # the largest float32 below 1
    assert whole_below(most, count).tolist() == [count - 1, 0]


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5, 1.0, 2.0, 30.0])
def test_mixing_shares_are_beta_distributed(alpha: float) -> None:
    """Kolmogorov-Smirnov against SciPy; a right sampler fails once in a million seeds.

    On the half below ½, where float64 can tell the smallest apart; ½ ± are mirror images.
    """
    from scipy import stats

    u = torch.rand(50_000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    draws = beta(u, torch.full((50_000,), alpha, dtype=torch.float64)).numpy()
    below = draws[draws <= 0.5]
    law = stats.beta(alpha, alpha)
    assert stats.kstest(below, lambda x: 2 * law.cdf(x)).pvalue > 1e-6
    assert abs(len(below) / 50_000 - 0.5) <= 6 * 0.5 / 50_000**0.5
    assert abs(draws.mean() - 0.5) <= 6 * law.std() / 50_000**0.5


@given(
    u1=st.floats(0, 1, exclude_max=True, width=32),
    u2=st.floats(0, 1, exclude_max=True, width=32),
    alpha=st.floats(0, 1e6),
)
def test_a_share_is_never_nan_and_is_one_without_mixing(u1: float, u2: float, alpha: float) -> None:
    draw = beta(torch.tensor([[u1, u2]]), torch.tensor([alpha], dtype=torch.float64)).item()
    assert 0 <= draw <= 1
    assert beta(torch.tensor([[u1, u2]]), torch.zeros(1)).item() == 1
