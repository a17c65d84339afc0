"""Standardizing by the training examples."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from regrun.data.assemble import moments, pixel_moments
from regrun.data.targets import Array

TABLE = arrays(
    np.float64,
    st.tuples(st.integers(1, 9), st.integers(1, 4)),
    elements=st.floats(-1e3, 1e3, width=32),
)


@given(TABLE)
def test_features_are_scaled_as_by_scikit_learn(table: Array) -> None:
    from sklearn.preprocessing import StandardScaler

    mean, std = moments(torch.from_numpy(table))
    scaled = (torch.from_numpy(table) - mean) / std
    constant = np.ptp(table, axis=0) == 0
    expected = StandardScaler().fit_transform(table)
    spread = np.abs(table).max(0) / np.where(constant, 1, table.std(0))
    close = np.abs(scaled.numpy() - expected) <= 1e-13 * (10 + spread)
    # Columns that differ in the last bits only: scikit-learn takes them for constant.
    nearly = ~constant & (table.std(0) <= 1e-7 * (1 + np.abs(table).max(0)))
    assert (close | nearly).all()


def test_a_constant_feature_becomes_exactly_zero() -> None:
    table = torch.full((7, 1), 0.1, dtype=torch.float64)
    mean, std = moments(table)
    assert ((table - mean) / std == 0).all()


def test_channels_of_images_are_scaled_as_a_whole() -> None:
    images = torch.from_numpy(np.random.default_rng(0).normal(3, 2, (5, 2, 4, 3)))
    mean, std = moments(images)
    assert mean.shape == std.shape == (2, 1, 1)
    np.testing.assert_allclose(mean[:, 0, 0], images.numpy().mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std[:, 0, 0], images.numpy().std((0, 2, 3)), rtol=1e-12)


def test_pixel_moments_are_those_of_the_scaled_pixels() -> None:
    images = np.random.default_rng(0).integers(0, 256, (11, 3, 5, 4), dtype=np.uint8)
    mean, std = pixel_moments(torch.from_numpy(images))
    np.testing.assert_allclose(mean, (images / 255).mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, (images / 255).std((0, 2, 3)), rtol=1e-12)


def test_a_black_channel_does_not_divide_by_zero() -> None:
    mean, std = pixel_moments(torch.zeros(3, 1, 2, 2, dtype=torch.uint8))
    assert (mean.item(), std.item()) == (0, 1)
