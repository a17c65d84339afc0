"""Data drawn from a formula."""

from __future__ import annotations

import torch

from regrun.data.assemble import split_and_assemble
from regrun.data.dataset import Dataset, Split
from regrun.kinds.datasets import SyntheticLinear
from regrun.seeding import derive


def load_synthetic_linear(section: SyntheticLinear) -> Dataset:
    """Draws y = bias + Σ weight·xᵢ + ε with x ~ N(0, 1), ε ~ N(0, noise²), in float64.

    The training and test sets have streams of their own: the size of one does not change the
    other. The many-inputs, few-examples experiment of "Dive into Deep Learning", §3.7.
    """
    return split_and_assemble(
        section,
        section.name,
        "regression",
        _draw(section, "train", section.num_train),
        _draw(section, "test", section.num_test),
        standardize=False,
        feature_names=[f"x{i}" for i in range(section.num_features)],
    )


def _draw(section: SyntheticLinear, purpose: str, count: int) -> Split:
    generator = torch.Generator().manual_seed(derive(section.seed, f"synthetic_linear/{purpose}"))
    inputs = torch.randn(count, section.num_features, generator=generator, dtype=torch.float64)
    noise = torch.randn(count, 1, generator=generator, dtype=torch.float64)
    signal = inputs.sum(1, keepdim=True) * section.weight + section.bias
    return Split(inputs, signal + section.noise * noise)
