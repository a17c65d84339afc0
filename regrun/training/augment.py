"""The augmented training batches of K members, each with its own levels and random streams."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from regrun.kinds.augmentation import (
    AUGMENTATIONS,
    Augment,
    Crop,
    CutMix,
    Cutout,
    Draws,
    Flip,
    LabelSmoothing,
    ManifoldMixup,
    Mixing,
    Mixup,
)
from regrun.kinds.base import expand_members
from regrun.nn.image_ops import moved
from regrun.stack import Noise
from regrun.stack.layers import expand_groups
from regrun.stack.mixing import HiddenMixing
from regrun.training.losses import Targets


class Augmenter:
    """Augments batches and targets by the members' `augment` sections.

    A batch that several members share stays shared if they have the same seed and section.

    hidden_layers: names of those that manifold mixup may mix. class_weights: those of the loss.
    """

    def __init__(
        self,
        sections: Sequence[Augment],
        seeds: Sequence[int],
        dtype: torch.dtype,
        device: torch.device,
        hidden_layers: Sequence[str] = (),
        class_weights: Tensor | None = None,
    ) -> None:
        self._class_weights = class_weights
        self._hidden_layers = {name: number for number, name in enumerate(hidden_layers, 1)}
        self._members = list(zip(seeds, sections, strict=True))
        self._device = device
        self._rows: dict[int, Tensor] = {}
        self._levels = {
            key: torch.tensor(
                [getattr(section, key) for section in sections],
                dtype=torch.int64 if kind.in_pixels else dtype,
                device=device,
            )
            for key, kind in AUGMENTATIONS.items()
            if any(getattr(section, key) for section in sections)
        }
        self._change_inputs = any(section.changes_inputs for section in sections)
        self._either = any(section.mixup and section.cutmix for section in sections)

    def __call__(
        self, inputs: Tensor, targets: Tensor, noise: Noise
    ) -> tuple[Tensor, Targets, HiddenMixing | None]:
        """Inputs (S, B, …) → (R, B, …), S ≤ R ≤ K; targets: (S, B, …)."""
        if not self._levels:
            return inputs, Targets(targets), None
        rows = self._representatives(inputs.shape[0])

        def draws(purpose: str, shape: Sequence[int]) -> Tensor:
            return noise.uniform(f"augment/{purpose}", shape)[rows]

        levels = {key: level[rows] for key, level in self._levels.items()}
        if self._change_inputs:
            inputs = expand_groups(inputs, len(rows))
        if Flip.key in levels or Crop.key in levels:
            inputs = _cropped_and_flipped(inputs, levels, draws)
        if Cutout.key in levels:
            inputs = Cutout.apply(inputs, draws, levels[Cutout.key])
        second = share = hidden = None
        if any(issubclass(AUGMENTATIONS[key], Mixing) for key in levels):
            order = torch.argsort(draws("order", inputs.shape[1:2]), stable=True)
            share, share_of_pixel = self._shares(inputs, levels, draws)
            if ManifoldMixup.key in levels:
                chosen = ManifoldMixup.layer(draws, len(self._hidden_layers))
                own = levels[ManifoldMixup.key] > 0
                hidden = self._hidden_mixing(chosen.where(own, 0), order, share)
                unmixed = expand_members(own & (chosen > 0), share_of_pixel)
                share_of_pixel = torch.where(unmixed, 1.0, share_of_pixel)
            inputs = torch.lerp(_reordered(inputs, order), inputs, share_of_pixel)
            second = _reordered(expand_groups(targets, len(rows)), order)
            share = share.unsqueeze(1)
        smoothing = levels.get(LabelSmoothing.key)
        smoothing = None if smoothing is None else smoothing.unsqueeze(1)
        mixed = Targets(targets, second, share, smoothing, self._class_weights)
        return inputs, mixed, hidden

    def _hidden_mixing(self, chosen: Tensor, order: Tensor, share: Tensor) -> HiddenMixing:
        """The mixing of all members' hidden layers, from (R,), (R, B) and (R,)."""
        members = len(self._members)
        return HiddenMixing(
            self._hidden_layers,
            *(expand_groups(each, members) for each in (chosen, order, share)),
        )

    def smoothed(self, targets: Tensor) -> Targets:
        """Targets with the members' label smoothing alone, (S, B, …)."""
        levels = self._levels.get(LabelSmoothing.key)
        smoothing = None if levels is None else levels.unsqueeze(1)
        return Targets(targets, smoothing=smoothing, class_weights=self._class_weights)

    def _representatives(self, groups: int) -> Tensor:
        """The rows to draw for: the first of each group whose members are alike, else all."""
        if groups not in self._rows:
            size = len(self._members) // groups
            members = self._members
            alike = all(each == members[row - row % size] for row, each in enumerate(members))
            step = size if alike else 1
            self._rows[groups] = torch.arange(0, len(members), step, device=self._device)
        return self._rows[groups]

    def _shares(
        self, inputs: Tensor, levels: dict[str, Tensor], draws: Draws
    ) -> tuple[Tensor, Tensor]:
        """λ in the loss, (R,), and in each pixel, to broadcast against the inputs."""
        share = inputs.new_ones(inputs.shape[0])
        for kind in (Mixup, ManifoldMixup):  # λ = 1 for those without
            if kind.key in levels:
                share = share * kind.share(draws, levels[kind.key]).to(inputs.dtype)
        share_of_pixel = expand_members(share, inputs)
        if CutMix.key not in levels:
            return share, share_of_pixel
        cut = levels[CutMix.key] > 0
        if self._either:
            heads = draws("either", (1,))[:, 0] < 0.5
            cut = cut & (heads | (levels.get(Mixup.key, torch.zeros_like(share)) == 0))
        inside = CutMix.box(draws, levels[CutMix.key], inputs.shape[-2:])
        outside = (~inside).to(inputs.dtype)
        left = 1 - inside.to(inputs.dtype).mean((1, 2, 3, 4))
        share_of_pixel = torch.where(expand_members(cut, inputs), outside, share_of_pixel)
        return torch.where(cut, left, share), share_of_pixel


def _cropped_and_flipped(images: Tensor, levels: dict[str, Tensor], draws: Draws) -> Tensor:
    """Crop and flip in one pass over the images."""
    rows, batch = images.shape[:2]
    down = right = torch.zeros((rows, batch), dtype=torch.int64, device=images.device)
    mirrored = down.bool()
    if Crop.key in levels:
        down, right = Crop.offsets(draws, levels[Crop.key], batch)
    if Flip.key in levels:
        mirrored = Flip.mirrored(draws, levels[Flip.key], batch)
    return moved(images, down, right, mirrored)


def _reordered(x: Tensor, order: Tensor) -> Tensor:
    """Each row's examples in its own order: (R, B, …), (R, B) → (R, B, …)."""
    return x[torch.arange(x.shape[0], device=x.device).unsqueeze(1), order]
