"""The `augment` section: noise in the training batches."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from regrun.kinds.base import PER_MEMBER, Described, NonNegative, Rate, Section

Pixels = Annotated[int, Field(ge=0, le=2**15), PER_MEMBER]


class Augment(Section):
    """What is done to every training batch, drawn anew each time; evaluation sees none of it.

    Images are moved and mirrored first, then lose a square, then are mixed. New pixels are 0 as
    the network sees it: the mean where images are standardised, else black.
    """

    flip: Annotated[
        Rate,
        Described(
            "augmentation",
            formula="x ← x mirrored left to right, with probability p",
            reference="Krizhevsky et al. 2012, §4.1",
            needs="images",
        ),
    ] = 0.0
    """Images only: probability of mirroring an example left to right."""
    crop: Annotated[
        Pixels,
        Described(
            "augmentation",
            formula="x ← x moved by (i, j), 0 outside;  i, j uniform on −n … n",
            reference="He et al. 2016, §4.2",
            needs="images",
        ),
    ] = 0
    """Images only: n, each example is moved by up to this many pixels along each axis, as a random
    crop of the image padded by so many."""
    cutout: Annotated[
        Pixels,
        Described(
            "augmentation",
            formula="x ← 0 in a square of n × n pixels",
            reference="DeVries & Taylor 2017",
            needs="images",
        ),
    ] = 0
    """Images only: n, side of a square of zeros, its centre anywhere in the image, so that it may
    stick out of it."""
    mixup: Annotated[
        NonNegative,
        Described(
            "augmentation",
            formula="x ← λ x + (1−λ) x′,  L ← λ L(y) + (1−λ) L(y′),  λ ~ Beta(α, α)",
            reference="Zhang et al. 2018",
        ),
    ] = 0.0
    """α: examples are mixed with x′, the batch in random order, by one λ per batch; 0 is off."""
    cutmix: Annotated[
        NonNegative,
        Described(
            "augmentation",
            formula="x ← x′ in a box of the share 1−λ,  L ← λ L(y) + (1−λ) L(y′),  λ ~ Beta(α, α)",
            reference="Yun et al. 2019",
            needs="images",
        ),
    ] = 0.0
    """Images only. α: a box is taken from x′, the batch in random order; the loss is mixed by the
    areas left in the image. Beside mixup, each batch gets one of the two with equal chances; 0 is
    off."""
    label_smoothing: Annotated[
        Rate,
        Described(
            "augmentation",
            formula="L ← (1−ε) L(y) + ε mean over classes of L",
            reference="Szegedy et al. 2016, §7; torch's label_smoothing",
            needs="classification",
        ),
    ] = 0.0
    """Classification only. ε, the share of the loss that belongs to all classes alike."""
