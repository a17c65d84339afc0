"""The `augment` section: noise in the training batches."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from regrun.config.base import PER_MEMBER, NonNegative, Rate, Section

Pixels = Annotated[int, Field(ge=0, le=2**15), PER_MEMBER]


class Augment(Section):
    """What is done to every training batch, drawn anew each time; evaluation sees none of it.

    Images are moved and mirrored first, then lose a square, then are mixed. New pixels are 0 as
    the network sees it: the mean where images are standardised, else black.
    """

    flip: Rate = 0.0
    """Images only: probability of mirroring an example left to right."""
    crop: Pixels = 0
    """Images only: each example is moved by up to this many pixels along each axis, as a random
    crop of the image padded by so many (He et al. 2016, §4.2)."""
    cutout: Pixels = 0
    """Images only: side of a square of zeros, its centre anywhere in the image, so that it may
    stick out of it (DeVries & Taylor 2017)."""
    mixup: NonNegative = 0.0
    """α: the batch becomes λ x + (1−λ) x′ with x′ the batch in random order and one
    λ ~ Beta(α, α) per batch, and the loss λ ℓ(y) + (1−λ) ℓ(y′) (Zhang et al. 2018); 0 is off."""
    cutmix: NonNegative = 0.0
    """Images only. α: a box of the share 1−λ of the image is taken from x′, λ ~ Beta(α, α); the
    loss is mixed by the areas left in the image (Yun et al. 2019). Beside mixup, each batch gets
    one of the two with equal chances; 0 is off."""
    label_smoothing: Rate = 0.0
    """Classification only. ε: the loss is (1−ε) ℓ(y) + ε times its mean over all classes, as
    torch's `label_smoothing` (Szegedy et al. 2016, §7)."""
