"""Each augmentation against its definition, and what it refuses.

Images against plain NumPy loops, Beta draws against SciPy's distribution.
"""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from regrun.data.dataset import Dataset, Split
from regrun.errors import ConfigError
from regrun.kinds.augmentation import AUGMENTATIONS, Augment, CutMix, Cutout, Mixing

HEIGHT, WIDTH = 5, 7


def images(rows: int, batch: int, channels: int = 2) -> Tensor:
    count = rows * batch * channels * HEIGHT * WIDTH
    return 1 + torch.arange(count, dtype=torch.float64).view(rows, batch, channels, HEIGHT, WIDTH)


def test_every_key_of_the_section_is_an_augmentation() -> None:
    assert set(AUGMENTATIONS) == set(Augment.model_fields)
    assert list(Augment().active()) == []


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
    result = Cutout.apply(x, lambda *_: torch.from_numpy(centres), torch.tensor(sides))
    assert np.array_equal(result.numpy(), expected)


@given(u=st.tuples(*[st.floats(0, 1, exclude_max=True)] * 2), share=st.floats(0, 1))
def test_the_box_of_cutmix_is_the_papers(u: tuple[float, float], share: float) -> None:
    """Yun et al. 2019, appendix A: sides of √(1−λ) of the image's, cut off at its edges."""
    with patch.object(CutMix, "beta", lambda u, alpha: torch.tensor([share], dtype=torch.float64)):
        inside = CutMix.box(
            lambda *_: torch.tensor([[0.0, 0.0, *u]], dtype=torch.float64),
            torch.ones(1),
            (HEIGHT, WIDTH),
        )
    ratio = (1 - share) ** 0.5
    expected = np.zeros((HEIGHT, WIDTH), dtype=bool)
    tall, wide = int(HEIGHT * ratio), int(WIDTH * ratio)
    top, left = int(u[0] * HEIGHT) - tall // 2, int(u[1] * WIDTH) - wide // 2
    expected[max(top, 0) : max(top + tall, 0), max(left, 0) : max(left + wide, 0)] = True
    assert np.array_equal(inside.numpy(), expected[None, None, None])


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5, 1.0, 2.0, 30.0])
def test_mixing_shares_are_beta_distributed(alpha: float) -> None:
    """Kolmogorov-Smirnov against SciPy; a right sampler fails once in a million seeds.

    On the half below ½, where float64 resolves the smallest; the other half mirrors it.
    """
    from scipy import stats

    u = torch.rand(50_000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    draws = Mixing.beta(u, torch.full((50_000,), alpha, dtype=torch.float64)).numpy()
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
    draw = Mixing.beta(torch.tensor([[u1, u2]]), torch.tensor([alpha], dtype=torch.float64)).item()
    assert 0 <= draw <= 1
    assert Mixing.beta(torch.tensor([[u1, u2]]), torch.zeros(1)).item() == 1


def dataset(shape: tuple[int, ...], task: Any = "classification") -> Dataset:
    empty = Split(torch.zeros(1, *shape), torch.zeros(1, dtype=torch.int64))
    return Dataset("mine", task, empty, None, empty, shape, 2)


@pytest.mark.parametrize(
    ("section", "where", "said"),
    [
        ({"flip": 0.5}, "augment.flip", "0.5 needs images"),
        ({"crop": 1}, "augment.crop", "1 needs images"),
        ({"cutout": 1}, "augment.cutout", "have shape [4]"),
        ({"cutmix": 1.0}, "augment.cutmix", "needs images"),
    ],
)
def test_what_only_images_can_be_given_is_refused_for_tables(
    section: dict[str, Any], where: str, said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Augment.model_validate(section).check(dataset((4,)))
    (problem,) = caught.value.problems
    assert ".".join(map(str, problem.path)) == where and said in problem.message
    Augment.model_validate(section).check(dataset((1, 8, 9)))


def test_label_smoothing_is_refused_for_numbers() -> None:
    section = Augment(label_smoothing=0.1)
    with pytest.raises(ConfigError, match=r"augment\.label_smoothing: 0\.1 needs classes"):
        section.check(dataset((4,), "regression"))
    section.check(dataset((4,)))


@pytest.mark.parametrize("key", ["crop", "cutout"])
def test_what_would_leave_nothing_of_an_image_is_refused(key: str) -> None:
    Augment.model_validate({key: 7}).check(dataset((1, 8, 9)))
    with pytest.raises(ConfigError, match="use less than 8"):
        Augment.model_validate({key: 8}).check(dataset((1, 8, 9)))


@pytest.mark.parametrize("key", AUGMENTATIONS)
def test_the_off_value_of_a_key_is_its_default_and_does_nothing(key: str) -> None:
    off = AUGMENTATIONS[key].described().off
    assert off == Augment.model_fields[key].default
    quiet, loud = Augment.model_validate({key: off}), Augment.model_validate({key: 1})
    assert quiet == Augment() and not quiet.changes_inputs and not quiet.mixes_examples
    assert quiet.symbols_before_loss() == quiet.symbols_in_loss() == []
    assert loud.changes_inputs == (key != "label_smoothing")
    assert loud.mixes_examples == (key in ("mixup", "cutmix", "manifold_mixup"))


def test_memory_grows_with_what_an_augmentation_holds_at_once() -> None:
    shape, example, pixels = (3, 8, 9), 8 * 3 * 72, 72
    assert {
        key: Augment.model_validate({key: 1}).working_bytes(shape, 8) - example
        for key in AUGMENTATIONS
    } == {
        "crop": example + 12 * pixels, "flip": example + 12 * pixels, "cutout": example + pixels,
        "mixup": 2 * example, "cutmix": 2 * example, "manifold_mixup": 2 * example,
        "label_smoothing": 0,
    }  # fmt: skip
    assert Augment(flip=0.5, mixup=1.0).working_bytes(shape, 8) == 3 * example
