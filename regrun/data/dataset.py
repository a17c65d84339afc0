"""What every loader returns: three splits of tensors in memory, and what is known about them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import blake2b

import torch
from torch import Tensor

from regrun.kinds.datasets import Task


@dataclass(frozen=True)
class Split:
    """The examples of one of train, validation, test.

    inputs: (N, *input_shape), floating point for tables, uint8 (N, C, H, W) for images.
    targets: (N,) int64 class indices, or (N, T) floating point for regression.
    """

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, indices: Tensor) -> Split:
        """The examples at ``indices``, ascending; without a copy when it is all of them."""
        if len(indices) == len(self):
            return self
        return Split(self.inputs[indices], self.targets[indices])

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Split:
        """Moved to ``device``; floating-point tensors cast to ``dtype``."""
        return Split(_moved(self.inputs, device, dtype), _moved(self.targets, device, dtype))


@dataclass(frozen=True)
class Dataset:
    """A dataset ready to train on. Loaders give float64 (tables) and uint8 (images) on the CPU."""

    name: str
    task: Task
    train: Split
    validation: Split | None
    test: Split
    input_shape: tuple[int, ...]
    num_outputs: int
    """Classes, or target columns."""
    pixel_mean: Tensor | None = None
    """(C,), of pixels in [0, 1]; given when uint8 images are standardised, by `features`."""
    pixel_std: Tensor | None = None
    feature_names: tuple[str, ...] = ()
    """Of tables, in the order of the input columns."""
    class_names: tuple[str, ...] = ()
    """Of classification, in the order of the class indices."""
    notes: tuple[str, ...] = ()
    """What was done to the data that its user should know."""

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Dataset:
        """Everything on ``device``; floating-point tensors cast to ``dtype``, uint8 kept."""
        mean, std = self.pixel_mean, self.pixel_std
        return replace(
            self,
            train=self.train.to(device, dtype),
            validation=None if self.validation is None else self.validation.to(device, dtype),
            test=self.test.to(device, dtype),
            pixel_mean=None if mean is None else _moved(mean, device, dtype),
            pixel_std=None if std is None else _moved(std, device, dtype),
        )

    def features(self, inputs: Tensor, dtype: torch.dtype) -> Tensor:
        """What the model sees of ``inputs``.

        uint8 (..., C, H, W) becomes ``dtype`` in [0, 1], and standardised per channel where the
        dataset says so. Floating-point inputs are returned as they are.
        """
        if inputs.dtype != torch.uint8:
            return inputs
        pixels = inputs.to(dtype)
        if self.pixel_mean is None or self.pixel_std is None:
            return pixels.div_(255)
        # (p / 255 - mean) / std in two passes over the pixels rather than three
        mean, std = self.pixel_mean.to(dtype), self.pixel_std.to(dtype)
        scale, shift = 1 / (255 * std), mean / std
        return pixels.mul_(scale[:, None, None]).sub_(shift[:, None, None])

    def fingerprint(self) -> str:
        """A hash of all examples, to notice that data changed between a run and its resumption.

        Equal in every process and on every device, for equal dtypes.
        """
        digest = blake2b(f"{self.task} {self.num_outputs}".encode(), digest_size=16)
        splits = (self.train, self.validation, self.test)
        for split in splits:
            for tensor in () if split is None else (split.inputs, split.targets):
                digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
                digest.update(tensor.contiguous().cpu().numpy().data)
            digest.update(b"|")
        return digest.hexdigest()


def _moved(tensor: Tensor, device: torch.device | str, dtype: torch.dtype) -> Tensor:
    return tensor.to(device, dtype if tensor.is_floating_point() else tensor.dtype)
