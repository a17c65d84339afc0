"""A dataset in memory: pixels, devices, fingerprints."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from regrun.data.dataset import Dataset, Split


@pytest.fixture
def images() -> Dataset:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (12, 3, 4, 5), generator=generator, dtype=torch.uint8)
    split = Split(pixels, torch.arange(12) % 2)
    return Dataset(
        name="images",
        task="classification",
        train=split,
        validation=None,
        test=split.take(torch.arange(3)),
        input_shape=(3, 4, 5),
        num_outputs=2,
        pixel_mean=torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64),
        pixel_std=torch.tensor([0.5, 0.6, 0.7], dtype=torch.float64),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pixels_are_scaled_and_standardised_as_by_torchvision(
    images: Dataset, dtype: torch.dtype
) -> None:
    from torchvision.transforms.v2.functional import normalize, to_dtype

    expected = normalize(
        to_dtype(images.train.inputs, dtype, scale=True), [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]
    )
    found = images.features(images.train.inputs, dtype)
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected)


def test_leading_axes_of_a_stack_pass_through(images: Dataset) -> None:
    batch = images.train.inputs.reshape(3, 4, 3, 4, 5)
    assert images.features(batch, torch.float32).shape == (3, 4, 3, 4, 5)
    torch.testing.assert_close(
        images.features(batch, torch.float32).flatten(0, 1),
        images.features(images.train.inputs, torch.float32),
    )


def test_the_stored_pixels_are_not_touched(images: Dataset) -> None:
    before = images.train.inputs.clone()
    images.features(images.train.inputs, torch.float32)
    assert torch.equal(images.train.inputs, before)


def test_without_moments_pixels_lie_between_0_and_1(images: Dataset) -> None:
    plain = dataclasses.replace(images, pixel_mean=None, pixel_std=None)
    pixels = plain.features(
        torch.tensor([0, 51, 255], dtype=torch.uint8)[:, None, None], torch.float64
    )
    assert pixels.flatten().tolist() == [0, 0.2, 1]


def test_floating_point_inputs_pass_untouched(images: Dataset) -> None:
    inputs = torch.randn(4, 3)
    assert images.features(inputs, torch.float32) is inputs


def test_moving_casts_numbers_but_neither_pixels_nor_classes(images: Dataset) -> None:
    moved = images.to("cpu", torch.float32)
    assert moved.train.inputs.dtype == torch.uint8
    assert moved.train.targets.dtype == torch.int64
    assert moved.pixel_mean is not None
    assert moved.pixel_std is not None
    assert moved.pixel_mean.dtype == moved.pixel_std.dtype == torch.float32
    table = Split(torch.zeros(2, 3, dtype=torch.float64), torch.zeros(2, 1, dtype=torch.float64))
    assert table.to("cpu", torch.float32).inputs.dtype == torch.float32
    assert table.to("cpu", torch.float32).targets.dtype == torch.float32


def test_the_fingerprint_notices_one_changed_pixel_and_one_changed_split(images: Dataset) -> None:
    changed = images.train.inputs.clone()
    changed[3, 1, 2, 2] += 1
    other = dataclasses.replace(images, train=Split(changed, images.train.targets))
    moved = dataclasses.replace(images, validation=images.test, test=images.train)
    same = dataclasses.replace(images, train=images.train.take(torch.arange(12)))
    prints = [each.fingerprint() for each in (images, other, moved)]
    assert len(set(prints)) == 3
    assert same.fingerprint() == prints[0]
