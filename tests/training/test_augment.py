"""Augmented batches: reference formulas on the same draws, and shared work.

Statistical bounds are six standard deviations: each fails by chance once in 5e8. Seeds are fixed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from regrun.kinds.augmentation import Augment, Mixing
from regrun.stack import StreamNoise
from regrun.training.augment import Augmenter

CPU = torch.device("cpu")
B, HEIGHT, WIDTH = 8, 9, 7


def augmenter(seeds: list[int], *sections: dict[str, Any]) -> Augmenter:
    sets = [Augment.model_validate(section) for section in sections]
    return Augmenter(sets * (len(seeds) // len(sets)), seeds, torch.float64, CPU)


def images(groups: int, batch: int = B) -> Tensor:
    source = torch.Generator().manual_seed(0)
    shape = (groups, batch, 2, HEIGHT, WIDTH)
    return torch.rand(shape, dtype=torch.float64, generator=source) + 0.1


def labels(groups: int, batch: int = B) -> Tensor:
    return torch.randint(5, (groups, batch), generator=torch.Generator().manual_seed(1))


ALL = {
    "flip": 0.5, "crop": 2, "cutout": 3, "mixup": 0.4, "cutmix": 1.0, "label_smoothing": 0.1,
}  # fmt: skip


def test_without_any_augmentation_the_batch_passes_untouched() -> None:
    x, y, noise = images(1), labels(1), StreamNoise([0, 1], CPU)
    inputs, targets, _ = augmenter([0, 1], {})(x, y, noise)
    assert inputs is x and targets.first is y
    assert targets.second is None and targets.smoothing is None and noise.state_dict() == {}


def test_label_smoothing_leaves_the_inputs_shared() -> None:
    x = images(1)
    sections = ({"label_smoothing": 0.1}, {"label_smoothing": 0.0})
    inputs, targets, _ = augmenter([0, 1], *sections)(x, labels(1), StreamNoise([0, 1], CPU))
    assert inputs is x
    assert targets.smoothing is not None
    assert targets.smoothing.tolist() == [[0.1], [0.0]]


def test_mixup_is_the_papers_formula_on_the_same_draws() -> None:
    x, y = images(2), labels(2)
    alphas = (0.2, 0.0)
    inputs, targets, _ = augmenter([3, 4], *({"mixup": a} for a in alphas))(
        x, y, StreamNoise([3, 4], CPU)
    )
    for row, alpha in enumerate(alphas):
        noise = StreamNoise([3 + row], CPU)
        order = noise.uniform("augment/order", (B,))[0].numpy().argsort()
        share = Mixing.beta(
            noise.uniform("augment/mixup", (2,)), torch.tensor([alpha], dtype=torch.float64)
        ).item()
        expected = share * x[row] + (1 - share) * x[row][order]
        torch.testing.assert_close(inputs[row], expected, rtol=1e-12, atol=1e-12)
        assert targets.second is not None and targets.share is not None
        assert torch.equal(targets.second[row], y[row][order])
        assert targets.share[row].item() == pytest.approx(share)
    assert torch.equal(inputs[1], x[1])
    assert targets.share is not None and targets.share[1].item() == 1


def test_mixup_works_on_tables_and_numbers() -> None:
    x, y = torch.randn(1, B, 3, dtype=torch.float64), torch.randn(1, B, 2, dtype=torch.float64)
    inputs, targets, _ = augmenter([0], {"mixup": 1.0})(x, y, StreamNoise([0], CPU))
    assert targets.second is not None and targets.share is not None
    w = targets.share[0].item()
    torch.testing.assert_close(
        w * y[0] + (1 - w) * targets.second[0], (w * y + (1 - w) * targets.second)[0]
    )
    order = StreamNoise([0], CPU).uniform("augment/order", (B,))[0].argsort()
    torch.testing.assert_close(inputs[0], w * x[0] + (1 - w) * x[0][order])


def test_cutmix_is_the_papers_algorithm_on_the_same_draws() -> None:
    x, y = images(2), labels(2)
    inputs, targets, _ = augmenter([3, 4], {"cutmix": 1.0})(x, y, StreamNoise([3, 4], CPU))
    for row in range(2):
        noise = StreamNoise([3 + row], CPU)
        order = noise.uniform("augment/order", (B,))[0].numpy().argsort()
        u = noise.uniform("augment/cutmix", (4,))[0]
        ratio = (1 - Mixing.beta(u[:2].unsqueeze(0), torch.ones(1)).item()) ** 0.5
        expected = x[row].numpy().copy()
        top, left = int(u[2] * HEIGHT), int(u[3] * WIDTH)
        tall, wide = int(HEIGHT * ratio), int(WIDTH * ratio)
        rows = slice(max(top - tall // 2, 0), max(top - tall // 2 + tall, 0))
        columns = slice(max(left - wide // 2, 0), max(left - wide // 2 + wide, 0))
        expected[:, :, rows, columns] = x[row].numpy()[order][:, :, rows, columns]
        assert np.array_equal(inputs[row].numpy(), expected)
        changed = np.zeros((HEIGHT, WIDTH))
        changed[rows, columns] = 1
        assert targets.share is not None and targets.second is not None
        assert targets.share[row].item() == pytest.approx(1 - changed.mean())
        assert torch.equal(targets.second[row], y[row][order])


def test_with_both_mixings_each_batch_gets_one_of_them_equally_often() -> None:
    seeds = list(range(400))
    x, y = images(400), labels(400)

    def batches(section: dict[str, Any]) -> Tensor:
        return augmenter(seeds, section)(x, y, StreamNoise(seeds, CPU))[0]

    both = batches({"mixup": 1.0, "cutmix": 1.0})
    is_mixup = (both == batches({"mixup": 1.0})).flatten(1).all(1)
    is_cutmix = (both == batches({"cutmix": 1.0})).flatten(1).all(1)
    assert (is_mixup ^ is_cutmix).all()
    assert abs(is_mixup.double().mean().item() - 0.5) <= 6 * 0.5 / 400**0.5


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_images_are_mirrored_at_their_members_rate(p: float) -> None:
    x = images(2, 4000)
    inputs, *_ = augmenter([0, 1], {"flip": p}, {"flip": 0.5})(
        x, labels(2, 4000), StreamNoise([0, 1], CPU)
    )
    for row, rate in enumerate((p, 0.5)):
        same = (inputs[row] == x[row]).flatten(1).all(1)
        flipped = (inputs[row] == x[row].flip(-1)).flatten(1).all(1)
        assert torch.equal(same, ~flipped)
        bound = 6 * (rate * (1 - rate) / 4000) ** 0.5
        assert abs(flipped.double().mean().item() - rate) <= bound


def test_crops_take_every_offset_of_their_members_padding_equally_often() -> None:
    count, x = 9000, torch.zeros(1, 9000, 1, HEIGHT, WIDTH, dtype=torch.float64)
    x[..., 4, 3] = 1
    inputs, *_ = augmenter([0, 1], {"crop": 1}, {"crop": 0})(
        x, labels(1, count), StreamNoise([0, 1], CPU)
    )
    assert torch.equal(inputs[1], x[0])
    places = inputs[0].flatten(1).argmax(1)
    expected = {row * WIDTH + column for row in (3, 4, 5) for column in (2, 3, 4)}
    values, counts = torch.unique(places, return_counts=True)
    assert set(values.tolist()) == expected
    bound = 6 * (count * (1 / 9) * (8 / 9)) ** 0.5
    assert (counts - count / 9).abs().max().item() <= bound


def test_cutout_centres_are_uniform_over_the_pixels() -> None:
    count = 9 * 7 * 300
    x = torch.ones(1, count, 1, HEIGHT, WIDTH, dtype=torch.float64)
    inputs, *_ = augmenter([0], {"cutout": 1})(x, labels(1, count), StreamNoise([0], CPU))
    assert torch.equal((inputs[0] == 0).sum((1, 2, 3)), torch.ones(count, dtype=torch.int64))
    dropped = (inputs[0] == 0).sum(0).flatten()
    assert (dropped - 300).abs().max().item() <= 6 * 300**0.5


def assert_row_equal(mine: Any, other: Any, row: int) -> None:
    (x, t, *_), (alone_x, alone_t, *_) = mine, other
    assert torch.equal(x[row], alone_x[0])
    for part in ("second", "share", "smoothing"):
        assert torch.equal(getattr(t, part)[row], getattr(alone_t, part)[0]), part


def test_a_member_gets_the_same_batches_in_any_company() -> None:
    sections: list[dict[str, Any]] = [
        ALL,
        {**ALL, "crop": 1, "flip": 1.0, "mixup": 0.0},
        {},
        {"cutout": 5},
    ]
    x, y, noise = images(4), labels(4), StreamNoise([5, 6, 7, 8], CPU)
    together = augmenter([5, 6, 7, 8], *sections)
    results = [together(x, y, noise) for _ in range(3)]
    assert torch.equal(results[0][0][2], x[2])
    for row in (0, 1):
        alone, own = augmenter([5 + row], sections[row]), StreamNoise([5 + row], CPU)
        for result in results:
            assert_row_equal(result, alone(x[row : row + 1], y[row : row + 1], own), row)


def test_members_that_would_make_the_same_of_a_shared_batch_share_it() -> None:
    x, y = images(2), labels(2)
    inputs, targets, _ = augmenter([1, 1, 2, 2], ALL)(x, y, StreamNoise([1, 1, 2, 2], CPU))
    assert inputs.shape[0] == 2 and targets.share is not None and targets.share.shape == (2, 1)
    for row, seed in enumerate((1, 2)):
        alone = augmenter([seed], ALL)(x[row : row + 1], y[row : row + 1], StreamNoise([seed], CPU))
        assert_row_equal((inputs, targets), alone, row)


@pytest.mark.parametrize(
    ("seeds", "sections"),
    [([1, 1], [ALL, {**ALL, "crop": 1}]), ([1, 2], [ALL, ALL])],
    ids=["other numbers", "other seeds"],
)
def test_a_shared_batch_is_spread_where_members_differ(seeds: Any, sections: Any) -> None:
    x, y = images(1), labels(1)
    together = augmenter(seeds, *sections)(x, y, StreamNoise(seeds, CPU))
    assert together[0].shape[0] == 2
    for row in range(2):
        alone = augmenter(seeds[row : row + 1], sections[row])(x, y, StreamNoise([seeds[row]], CPU))
        assert_row_equal(together, alone, row)
