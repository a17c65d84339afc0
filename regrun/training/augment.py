"""Noise in the training batches of K members: their own numbers, their own streams."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from regrun.data.dataset import Dataset
from regrun.errors import ConfigError
from regrun.kinds.augmentation import Augment
from regrun.stack import Noise
from regrun.stack.members import expand_groups
from regrun.training.image_noise import beta, box, moved, whole_below, with_holes
from regrun.training.losses import Targets

IMAGES_ONLY = ("flip", "crop", "cutout", "cutmix")


def check_augment(section: Augment, dataset: Dataset) -> None:
    """Raise ConfigError for what this dataset cannot be given."""
    if section.label_smoothing and dataset.task != "classification":
        raise ConfigError.at(
            "augment.label_smoothing",
            f"{section.label_smoothing:g} needs classes; {dataset.name} is regression",
        )
    for key in IMAGES_ONLY:
        value = getattr(section, key)
        if value and len(dataset.input_shape) != 3:
            raise ConfigError.at(
                f"augment.{key}",
                f"{value:g} needs images (channels, height, width), but the inputs of "
                f"{dataset.name} have shape {list(dataset.input_shape)}; use 0",
            )
        if key in ("crop", "cutout") and value and value >= min(dataset.input_shape[1:]):
            height, width = dataset.input_shape[1:]
            raise ConfigError.at(
                f"augment.{key}",
                f"{value} leaves nothing of some images of {height}×{width} pixels; "
                f"use less than {min(height, width)}",
            )


def augmenting_bytes(
    sections: Sequence[Augment], input_shape: Sequence[int], number_bytes: int
) -> int:
    """What an example of a member's batch takes at most while `Augmenter` is at it.

    sections: of one stack. number_bytes: of one floating-point number.
    """
    one = number_bytes * prod(input_shape)
    pixels = prod(input_shape[-2:])
    needs = [one]
    if any(section.cutout for section in sections):
        needs.append(2 * one + pixels)  # and the holes
    if any(section.mixup or section.cutmix for section in sections):
        needs.append(3 * one)  # the other example, and the mixture
    if any(section.flip or section.crop for section in sections):
        needs.append(2 * one + 12 * pixels)  # where each pixel comes from, int64, and masks
    return max(needs)


class Augmenter:
    """Does what the `augment` sections say to batches and targets.

    sections, seeds: a row per member. A batch that several members share stays shared where they
    would make the same of it: same seed, same section.
    """

    def __init__(
        self,
        sections: Sequence[Augment],
        seeds: Sequence[int],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self._members = list(zip(seeds, sections, strict=True))
        self._device = device
        self._rows: dict[int, Tensor] = {}
        self._levels = {
            key: torch.tensor(
                [getattr(section, key) for section in sections],
                dtype=torch.int64 if key in ("crop", "cutout") else dtype,
                device=device,
            )
            for key in Augment.model_fields
            if any(getattr(section, key) for section in sections)
        }
        self._either = any(section.mixup and section.cutmix for section in sections)

    def __call__(self, inputs: Tensor, targets: Tensor, noise: Noise) -> tuple[Tensor, Targets]:
        """Inputs (S, B, …) → (R, B, …), S ≤ R ≤ K; targets: (S, B, …)."""
        if not self._levels:
            return inputs, Targets(targets)
        rows = self._representatives(inputs.shape[0])
        draws = _Draws(noise, rows)
        levels = {key: level[rows] for key, level in self._levels.items()}
        if levels.keys() - {"label_smoothing"}:
            inputs = expand_groups(inputs, len(rows))
        if "flip" in levels or "crop" in levels:
            inputs = _move(inputs, levels, draws)
        if "cutout" in levels:
            u = draws("cutout", (inputs.shape[1], 2))
            inputs = with_holes(inputs, u, levels["cutout"])
        second = share = None
        if "mixup" in levels or "cutmix" in levels:
            order = torch.argsort(draws("order", inputs.shape[1:2]), stable=True)
            share, share_of_pixel = self._shares(inputs, levels, draws)
            inputs = torch.lerp(_taken(inputs, order), inputs, share_of_pixel)
            second, share = _taken(expand_groups(targets, len(rows)), order), share.unsqueeze(1)
        smoothing = levels.get("label_smoothing")
        return inputs, Targets(
            targets, second, share, None if smoothing is None else smoothing.unsqueeze(1)
        )

    def _representatives(self, groups: int) -> Tensor:
        """The rows to draw for: one of each group where its members are alike, else all."""
        if groups not in self._rows:
            size = len(self._members) // groups
            alike = all(
                self._members[row] == self._members[row - row % size]
                for row in range(len(self._members))
            )
            step = size if alike else 1
            self._rows[groups] = torch.arange(0, len(self._members), step, device=self._device)
        return self._rows[groups]

    def _shares(
        self, inputs: Tensor, levels: dict[str, Tensor], draws: _Draws
    ) -> tuple[Tensor, Tensor]:
        """Of the batch itself in the mixture: in the loss, (R,), and in each pixel."""
        share = inputs.new_ones(inputs.shape[0])
        if "mixup" in levels:
            share = beta(draws("mixup", (2,)), levels["mixup"]).to(inputs.dtype)
        share_of_pixel = _beside(share, inputs)
        if "cutmix" not in levels:
            return share, share_of_pixel
        chosen = levels["cutmix"] > 0
        if self._either:
            heads = draws("either", (1,))[:, 0] < 0.5
            chosen = chosen & (heads | (levels.get("mixup", torch.zeros_like(share)) == 0))
        u = draws("cutmix", (4,))
        inside = box(u[:, 2:], beta(u[:, :2], levels["cutmix"]), *inputs.shape[-2:])
        left = 1 - inside.to(inputs.dtype).mean((1, 2, 3, 4))
        share_of_pixel = torch.where(
            _beside(chosen, inputs), (~inside).to(inputs.dtype), share_of_pixel
        )
        return torch.where(chosen, left, share), share_of_pixel


class _Draws:
    """Uniform numbers of some rows, from streams of the batches' own."""

    def __init__(self, noise: Noise, rows: Tensor) -> None:
        self._noise, self._rows = noise, rows

    def __call__(self, purpose: str, shape: Sequence[int]) -> Tensor:
        """(R, *shape)."""
        return self._noise.uniform(f"augment/{purpose}", shape)[self._rows]


def _move(images: Tensor, levels: dict[str, Tensor], draws: _Draws) -> Tensor:
    rows, batch = images.shape[:2]
    down = right = torch.zeros((rows, batch), dtype=torch.int64, device=images.device)
    mirrored = down.bool()
    if "crop" in levels:
        padding = levels["crop"].view(-1, 1, 1)
        offsets = whole_below(draws("crop", (batch, 2)), 2 * padding + 1) - padding
        down, right = offsets.unbind(-1)
    if "flip" in levels:
        mirrored = draws("flip", (batch,)) < levels["flip"].unsqueeze(1)
    return moved(images, down, right, mirrored)


def _taken(x: Tensor, order: Tensor) -> Tensor:
    """Each row's examples in its own order: (R, B, …), (R, B) → (R, B, …)."""
    return x[torch.arange(x.shape[0], device=x.device).unsqueeze(1), order]


def _beside(levels: Tensor, x: Tensor) -> Tensor:
    """(R,) → (R, 1, …) against x."""
    return levels.view(-1, *[1] * (x.dim() - 1))
