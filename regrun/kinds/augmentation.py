"""The `augment` section: each augmentation of training batches is one class.

The arithmetic is for R rows of a stack, each with its own level and draws.
`regrun.training.augment` applies it to the batches of a stack.
"""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from regrun.errors import ConfigError, Problem
from regrun.kinds.base import PER_MEMBER, Described, NonNegative, Rate, Section

if TYPE_CHECKING:
    from torch import Tensor

    from regrun.config.schema import Config
    from regrun.data.dataset import Dataset

Draws = Callable[[str, Sequence[int]], "Tensor"]
"""(purpose, shape) → (R, *shape), uniform on [0, 1), each row from its own stream."""


class Augmentation(ABC):
    """One augmentation, used as a class without instances. Level 0 is off."""

    key: ClassVar[str]
    """Its key in the `augment` section, and the name of its stream of draws."""
    formula: ClassVar[str]
    reference: ClassVar[str]
    symbols: ClassVar[str]
    """The line of `inspect`: `{level}` is its number, `{rest}` 1 − level."""
    needs: ClassVar[str] = ""
    """``images``, ``classification`` or nothing."""
    in_pixels: ClassVar[bool] = False
    """Whether the level is a number of pixels."""
    in_loss: ClassVar[bool] = False
    """Whether it changes the loss only, not the inputs."""
    working_memory: ClassVar[tuple[int, int]] = (1, 0)
    """What it holds per example: copies of the inputs, and bytes for each pixel besides."""

    @classmethod
    def described(cls) -> Described:
        """Return the mark of its key."""
        return Described(
            "augmentation",
            formula=cls.formula,
            reference=cls.reference,
            needs=cls.needs,
            off=0 if cls.in_pixels else 0.0,
        )

    @classmethod
    def check(cls, level: float, dataset: Dataset) -> None:
        """Raise ConfigError when this dataset cannot be augmented like this."""
        where, shape = f"augment.{cls.key}", dataset.input_shape
        if cls.needs == "classification" and dataset.task != cls.needs:
            raise ConfigError.at(where, f"{level:g} needs classes; {dataset.name} is regression")
        if cls.needs == "images" and len(shape) != 3:
            raise ConfigError.at(
                where,
                f"{level:g} needs images (channels, height, width), but the inputs of "
                f"{dataset.name} have shape {list(shape)}; use 0",
            )
        if cls.in_pixels and level >= min(shape[1:]):
            raise ConfigError.at(
                where,
                f"{level} leaves nothing of some images of {shape[1]}×{shape[2]} pixels; "
                f"use less than {min(shape[1:])}",
            )


class Crop(Augmentation):
    """Random crops of the padded image."""

    key = "crop"
    formula = "x ← x moved by (i, j), 0 outside;  i, j uniform on −n … n"
    reference = "He et al. 2016, §4.2"
    symbols = "x ← x moved by up to ±{level} pixels, 0 outside   (crop)"
    needs = "images"
    in_pixels = True
    working_memory = (2, 12)  # the source of each pixel (int64), and masks

    @classmethod
    def offsets(cls, draws: Draws, padding: Tensor, batch: int) -> Sequence[Tensor]:
        """Rows down and columns right to move each image, two (R, B). padding: (R,)."""
        from regrun.nn.image_ops import random_integers

        most = padding.view(-1, 1, 1)
        return (random_integers(draws(cls.key, (batch, 2)), 2 * most + 1) - most).unbind(-1)


class Flip(Augmentation):
    """Random mirroring."""

    key = "flip"
    formula = "x ← x mirrored left to right, with probability p"
    reference = "Krizhevsky et al. 2012, §4.1"
    symbols = "x ← x mirrored left to right with probability {level:g}   (flip)"
    needs = "images"
    working_memory = Crop.working_memory  # one pass over the images does both

    @classmethod
    def mirrored(cls, draws: Draws, rate: Tensor, batch: int) -> Tensor:
        """Which images to mirror, (R, B). rate: (R,)."""
        return draws(cls.key, (batch,)) < rate.unsqueeze(1)


class Cutout(Augmentation):
    """A square of zeros."""

    key = "cutout"
    formula = "x ← 0 in a square of n × n pixels"
    reference = "DeVries & Taylor 2017"
    symbols = "x ← 0 in a square of {level}×{level} pixels anywhere   (cutout)"
    needs = "images"
    in_pixels = True
    working_memory = (2, 1)

    @classmethod
    def apply(cls, images: Tensor, draws: Draws, side: Tensor) -> Tensor:
        """Return images (R, B, C, H, W) with a square each, its centre any pixel. side: (R,)."""
        from regrun.nn.image_ops import rectangle

        centres = draws(cls.key, (images.shape[1], 2))
        side = side.unsqueeze(-1)
        return images.masked_fill(rectangle(centres, side, side, images.shape[-2:]), 0)


class Mixing(Augmentation):
    """Mixes a batch, and its losses, with the same batch in another order; λ is its own share."""

    loss_symbols: ClassVar[str] = "L ← λ L(y) + (1−λ) L(y′)   (targets mixed as the inputs)"
    working_memory = (3, 0)

    @staticmethod
    def mixed_loss(loss: Tensor, other: Tensor, share: Tensor) -> Tensor:
        """Return λ L(y) + (1−λ) L(y′); for λ = 1 exactly L(y)."""
        return other.lerp(loss, share)

    @staticmethod
    def beta(u: Tensor, alpha: Tensor) -> Tensor:
        """Draws from Beta(α, α), (R,) in float64, from uniform u (R, 2); 1 where α is 0.

        T = √(2α (u₁^(−1/α) − 1)) cos 2πu₂ has Student's distribution with 2α degrees of freedom
        (Bailey 1994), so that ½ + ½ T / √(2α + T²) is Beta(α, α) (Devroye 1996), for every α.
        """
        alpha, (u1, u2) = alpha.double(), u.double().unbind(-1)
        cosine = (2 * math.pi * u2).cos()
        ratio = (-u1.log() / alpha).expm1() * cosine.square()  # T² / 2α
        # ½ − ½ |T| / √(2α + T²), without cancellation
        least = 0.5 / ((1 + ratio) * (1 + 1 / (1 + 1 / ratio).sqrt()))
        return least.where(cosine < 0, 1 - least).where(alpha > 0, 1.0)


class Mixup(Mixing):
    """Weighted means of two examples."""

    key = "mixup"
    formula = "x ← λ x + (1−λ) x′,  L ← λ L(y) + (1−λ) L(y′),  λ ~ Beta(α, α)"
    reference = "Zhang et al. 2018"
    symbols = "x ← λ x + (1−λ) x′,  λ ~ Beta({level:g}, {level:g})   (mixup{either})"

    @classmethod
    def share(cls, draws: Draws, alpha: Tensor) -> Tensor:
        """λ of each row, (R,) in float64. alpha: (R,)."""
        return cls.beta(draws(cls.key, (2,)), alpha)


class CutMix(Mixing):
    """A box of another example."""

    key = "cutmix"
    formula = "x ← x′ in a box of the share 1−λ,  L ← λ L(y) + (1−λ) L(y′),  λ ~ Beta(α, α)"
    reference = "Yun et al. 2019"
    symbols = "x ← x′ in a box of the share 1−λ,  λ ~ Beta({level:g}, {level:g})   (cutmix{either})"
    needs = "images"

    @classmethod
    def box(cls, draws: Draws, alpha: Tensor, size: Sequence[int]) -> Tensor:
        """The pixels taken from the other example, (R, 1, 1, H, W). alpha: (R,); size: H, W.

        The box has the share 1−λ of the image and any pixel as its centre; the edges cut it off.
        """
        from regrun.nn.image_ops import rectangle

        u = draws(cls.key, (4,))
        ratio = (1 - cls.beta(u[:, :2], alpha)).sqrt()
        height, width = ((length * ratio).long().unsqueeze(1) for length in size)
        return rectangle(u[:, None, 2:], height, width, size)


class ManifoldMixup(Mixing):
    """Weighted means of two examples, or of what a hidden layer makes of them."""

    key = "manifold_mixup"
    formula = (
        "h_l ← λ h_l + (1−λ) h_l′,  L ← λ L(y) + (1−λ) L(y′),  λ ~ Beta(α, α),  h_0 = x,  "
        "l one of all layers but the last"
    )
    reference = "Verma et al. 2019, §2"
    symbols = (
        "h_l ← λ h_l + (1−λ) h_l′,  λ ~ Beta({level:g}, {level:g}),  l uniform on the input, 0, "
        "and the hidden layers   (manifold mixup)"
    )

    @classmethod
    def share(cls, draws: Draws, alpha: Tensor) -> Tensor:
        """λ of each row, (R,) in float64. alpha: (R,)."""
        return cls.beta(draws(cls.key, (2,)), alpha)

    @classmethod
    def layer(cls, draws: Draws, hidden: int) -> Tensor:
        """The layer that each row mixes, (R,) int64: 0 for the input, 1 … hidden."""
        from regrun.nn.image_ops import random_integers

        return random_integers(draws(f"{cls.key}/layer", (1,))[:, 0], hidden + 1)


class LabelSmoothing(Augmentation):
    """A share of the loss for all classes alike."""

    key = "label_smoothing"
    formula = "L ← (1−ε) L(y) + ε mean over classes c of L(c)"
    reference = "Szegedy et al. 2016, §7; torch's label_smoothing"
    symbols = "L ← {rest:g} L + {level:g} mean over classes of {each}   (label smoothing)"
    needs = "classification"
    in_loss = True

    @staticmethod
    def smoothed_loss(
        loss: Tensor, outputs: Tensor, level: Tensor, class_weights: Tensor | None = None
    ) -> Tensor:
        """Return (1−ε) L + ε mean −c log p, (K, B), for outputs (K, B, C); for ε = 0 exactly L.

        class_weights: c, (C,), which L has as well; None: 1 for all.
        """
        logarithms = outputs.log_softmax(-1)
        if class_weights is not None:
            logarithms = logarithms * class_weights
        return loss.lerp(-logarithms.mean(-1), level)


AUGMENTATIONS: Mapping[str, type[Augmentation]] = {
    kind.key: kind for kind in (Crop, Flip, Cutout, Mixup, CutMix, ManifoldMixup, LabelSmoothing)
}
"""Key → its augmentation, in the order in which they are applied."""

Pixels = Annotated[int, Field(ge=0, le=2**15), PER_MEMBER]


class Augment(Section):
    """Random changes of every training batch; evaluation uses the data unchanged.

    Images are first cropped and flipped, then cut out, then mixed. New pixels are 0 in the
    network's input: the mean where images are standardised, otherwise black.
    """

    flip: Annotated[Rate, Flip.described()] = 0.0
    """Images only: probability of mirroring an image left to right."""
    crop: Annotated[Pixels, Crop.described()] = 0
    """Images only: n, number of pixels by which each image is padded before a random crop of its
    original size."""
    cutout: Annotated[Pixels, Cutout.described()] = 0
    """Images only: n, side of a square of zeros. Its centre may be any pixel; the edges clip it."""
    mixup: Annotated[NonNegative, Mixup.described()] = 0.0
    """α: mixes each example with one of x′, the batch in random order, by one λ per batch; 0 is
    off."""
    cutmix: Annotated[NonNegative, CutMix.described()] = 0.0
    """Images only. α: replaces a box of each image by that of x′, the batch in random order, and
    mixes the losses by area. With mixup too, each batch gets one of the two with equal
    probability; 0 is off."""
    manifold_mixup: Annotated[NonNegative, ManifoldMixup.described()] = 0.0
    """α: as mixup, but at a layer drawn for each batch, which is the input or a hidden layer with
    its dropout; not with mixup or cutmix; 0 is off."""
    label_smoothing: Annotated[Rate, LabelSmoothing.described()] = 0.0
    """Classification only. ε: weight of the uniform distribution over classes in the targets."""

    def conflicts(self, config: Config) -> Iterator[Problem]:
        """Yield that there is no hidden layer to mix, or that batches are mixed twice."""
        if not self.manifold_mixup:
            return
        if why := config.model.no_hidden_activations:
            message = f"{self.manifold_mixup:g} needs hidden layers; {config.model.kind} {why}"
            yield Problem((ManifoldMixup.key,), message)
        if self.mixup or self.cutmix:
            message = (
                f"{self.manifold_mixup:g} mixes each batch at one layer, which may be the input; "
                "set mixup and cutmix to 0"
            )
            yield Problem((ManifoldMixup.key,), message)

    def active(self) -> Iterator[tuple[type[Augmentation], float]]:
        """Each augmentation that is on, with its level."""
        for key, kind in AUGMENTATIONS.items():
            level = getattr(self, key)
            if level:
                yield kind, level

    @property
    def changes_inputs(self) -> bool:
        """Whether the network sees other inputs than those of the dataset."""
        return any(not kind.in_loss for kind, _ in self.active())

    @property
    def mixes_examples(self) -> bool:
        """Whether an example's loss depends on other examples of its batch."""
        return any(issubclass(kind, Mixing) for kind, _ in self.active())

    def check(self, dataset: Dataset) -> None:
        """Raise ConfigError when this dataset cannot be augmented like this."""
        for kind, level in self.active():
            kind.check(level, dataset)

    def working_bytes(self, input_shape: Sequence[int], number_bytes: int) -> int:
        """Bytes per example, at most, while a batch is augmented.

        input_shape: without the batch axis. number_bytes: of one floating-point number.
        """
        example, pixels = number_bytes * math.prod(input_shape), math.prod(input_shape[-2:])
        memory = [Augmentation.working_memory, *(kind.working_memory for kind, _ in self.active())]
        return max(copies * example + extra * pixels for copies, extra in memory)

    def symbols_before_loss(self) -> list[str]:
        """Lines of `inspect` on the inputs."""
        on = [(kind, level) for kind, level in self.active() if not kind.in_loss]
        both = self.mixup and self.cutmix
        either = ", one of the two per batch" if both else ""
        return [kind.symbols.format(level=level, either=either) for kind, level in on]

    def symbols_in_loss(self, *, weighted: bool = False) -> list[str]:
        """Lines of `inspect` on the loss."""
        mixed = [Mixing.loss_symbols] if self.mixes_examples else []
        on = [(kind, level) for kind, level in self.active() if kind.in_loss]
        each = "−c log p" if weighted else "−log p"
        return mixed + [
            kind.symbols.format(level=level, rest=1 - level, each=each) for kind, level in on
        ]
