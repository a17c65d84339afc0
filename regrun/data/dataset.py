"""What loading a dataset gives: three splits of tensors in memory, and what is known about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from typing import Literal

import torch
from torch import Tensor

from regrun.data.preprocessing import (
    ArrayInputs,
    Inputs,
    NumberColumn,
    Preprocessing,
    Scale,
    TableInputs,
)
from regrun.results import ClassCount, ColumnCard, DataCard, InputCard, Part, TargetCard, Task


@dataclass(frozen=True)
class Split:
    """The examples of one of train, validation, test."""

    inputs: Tensor
    """(N, *input_shape): floating point for tables, uint8 (N, C, H, W) for images."""
    targets: Tensor
    """(N,) int64 class indices, or (N, T) floating point for regression."""

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, indices: Tensor) -> Split:
        """Select examples.

        Args:
            indices: Ascending positions, (M,) int64.

        Returns:
            The M examples at these positions; this very split when they are all of its examples.
        """
        if len(indices) == len(self):
            return self
        return Split(self.inputs[indices], self.targets[indices])

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Split:
        """Move the examples to ``device`` and cast floating-point tensors to ``dtype``.

        Class indices stay int64, images uint8.
        """
        return Split(_to(self.inputs, device, dtype), _to(self.targets, device, dtype))


@dataclass(frozen=True)
class Provenance:
    """Where examples come from and what they were taken for; parts of a `DataCard`."""

    files: tuple[str, ...] = ()
    task_reason: str = ""
    input: InputCard | None = None
    """None: what the tensors show."""
    columns: tuple[ColumnCard, ...] = ()
    skipped: tuple[str, ...] = ()
    target_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Examples:
    """Decoded examples, not split yet."""

    task: Task
    train: Split
    test: Split | float
    """The test examples, or how many of ``train`` to hold out: a count, or a fraction below 1."""
    validation: Split | None = None
    """A validation set that comes with the examples, used when the config holds out none."""
    feature_names: Sequence[str] = ()
    class_names: Sequence[str] = ()
    notes: Sequence[str] = ()
    inputs: Inputs | None = None
    """How the inputs were made from raw ones; None: they are the raw ones."""
    provenance: Provenance = Provenance()


@dataclass(frozen=True)
class Dataset:
    """A dataset ready to train on.

    Datasets load as float64 (tables) or uint8 (images) tensors on the CPU; `to` brings them to the
    device and precision of a run.
    """

    name: str
    """Which dataset, as `dataset.name` in a config."""
    task: Task
    """``classification`` or ``regression``."""
    train: Split
    """The examples to train on."""
    validation: Split | None
    """The examples to select by; None: there are none."""
    test: Split
    """The examples to report on; empty: there are none."""
    input_shape: tuple[int, ...]
    """Shape of one example: (features,) or (channels, height, width)."""
    num_outputs: int
    """The number of classes, or of target columns. A network for two classes may have one."""
    pixel_mean: Tensor | None = None
    """(C,), of pixels in [0, 1]; `features` standardizes uint8 images by it. None: it does not."""
    pixel_std: Tensor | None = None
    """(C,), likewise."""
    target_std: Tensor | None = None
    """(T,), what turns losses of standardized targets into those of the original ones."""
    class_weights: Tensor | None = None
    """(C,), of each class in the training loss; None: 1."""
    feature_names: tuple[str, ...] = ()
    """One for each input column of a table; else empty."""
    class_names: tuple[str, ...] = ()
    """One for each class index; empty for regression."""
    notes: tuple[str, ...] = ()
    """What was done to the data that its user should know."""
    inputs: Inputs | None = None
    """How the inputs were made from raw ones; None: they are the raw ones."""
    input_scale: Scale | None = None
    """What standardized the inputs; None: nothing did."""
    target_scale: Scale | None = None
    """What standardized the targets; None: nothing did."""
    split: str = ""
    """How the examples were divided."""
    test_set: str = ""
    """Equal for datasets with the same test examples, however their numbers are scaled; empty
    without any."""
    drawn: tuple[Part, ...] = ()
    """The parts that another `dataset.seed` makes anew."""
    pool: int = 0
    """The examples that these parts are drawn from."""
    generated: bool = False
    """Whether the examples are drawn from a distribution by `dataset.seed`."""
    provenance: Provenance = field(default=Provenance(), repr=False)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Dataset:
        """Move everything to ``device`` and cast floating-point tensors to ``dtype``.

        Class indices stay int64, images uint8.
        """

        def moved(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else _to(tensor, device, dtype)

        return replace(
            self,
            train=self.train.to(device, dtype),
            validation=None if self.validation is None else self.validation.to(device, dtype),
            test=self.test.to(device, dtype),
            pixel_mean=moved(self.pixel_mean),
            pixel_std=moved(self.pixel_std),
            target_std=moved(self.target_std),
            class_weights=moved(self.class_weights),
        )

    def features(self, inputs: Tensor, dtype: torch.dtype) -> Tensor:
        """Turn stored inputs into what the model sees.

        Args:
            inputs: Stored inputs, with any leading axes: uint8 images (..., C, H, W), or floating
                point, which is returned as it is.
            dtype: The floating-point type that images become.

        Returns:
            Images in [0, 1], standardized by channel where the dataset has `pixel_mean`.
        """
        if inputs.dtype != torch.uint8:
            return inputs
        return scaled_pixels(inputs, dtype, self.pixel_mean, self.pixel_std)

    @property
    def preprocessing(self) -> Preprocessing:
        """What turns raw inputs into those of the network, and its outputs into predictions."""
        inputs = self.inputs
        if inputs is None and self.feature_names:
            inputs = TableInputs(columns=[NumberColumn(name=each) for each in self.feature_names])
        if inputs is None:
            channels: Literal["first"] | None = "first" if len(self.input_shape) == 3 else None
            dtype = "uint8" if self.train.inputs.dtype == torch.uint8 else "float64"
            inputs = ArrayInputs(shape=[*self.input_shape], channels=channels, dtype=dtype)
        return Preprocessing(
            dataset=self.name,
            inputs=inputs,
            input_scale=self.input_scale,
            classes=[*self.class_names],
            targets=self.target_names,
            target_scale=self.target_scale,
        )

    @property
    def target_names(self) -> list[str]:
        """The names of the targets: of classes one, of numbers one for each output."""
        if self.provenance.target_names:
            return [*self.provenance.target_names]
        if self.task == "classification" or self.num_outputs == 1:
            return ["y"]
        return [f"y{i}" for i in range(self.num_outputs)]

    @cached_property
    def card(self) -> DataCard:
        """What the examples were taken for, and what was done to them."""
        came = self.provenance
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        there = {name: part for name, part in parts.items() if part is not None and len(part)}
        return DataCard(
            dataset=self.name,
            files=[*came.files],
            task=self.task,
            task_reason=came.task_reason,
            classes=self._classes(there) if self.task == "classification" else [],
            targets=self._targets() if self.task == "regression" else [],
            sizes={name: len(part) for name, part in there.items()},
            split=self.split,
            test_set=self.test_set,
            drawn=[*self.drawn],
            pool=self.pool,
            generated=self.generated,
            input=self._input(there.values()),
            columns=[*came.columns],
            skipped=[*came.skipped],
            notes=[*self.notes],
        )

    def _classes(self, parts: Mapping[str, Split]) -> list[ClassCount]:
        counts = {
            name: part.targets.bincount(minlength=self.num_outputs).tolist()
            for name, part in parts.items()
        }
        names = self.class_names or [str(index) for index in range(self.num_outputs)]
        return [
            ClassCount(name=name, **{part: each[index] for part, each in counts.items()})
            for index, name in enumerate(names)
        ]

    def _targets(self) -> list[TargetCard]:
        targets = self.train.targets.double().cpu()
        if self.target_scale is not None:
            targets = self.target_scale.invert(targets)
        return [
            TargetCard(
                name=name,
                mean=values.mean().item(),
                std=values.std(correction=0).item(),
                standardized=self.target_scale is not None,
            )
            for name, values in zip(self.target_names, targets.T, strict=True)
        ]

    def _input(self, parts: Iterable[Split]) -> InputCard:
        """What was read, or what the tensors show; no range where they are standardized."""
        is_image = self.train.inputs.dtype == torch.uint8
        read = self.provenance.input
        if read is not None:
            steps = [read.scaling, *self._standardized()]
            kept = [step for step in steps if step != "as it is" or len(steps) == 1]
            return read.model_copy(update={"scaling": ", ".join(kept)})
        low = high = None
        if is_image or self.input_scale is None:
            low = min(part.inputs.min().item() for part in parts)
            high = max(part.inputs.max().item() for part in parts)
        steps = [*(["divided by 255"] if is_image else []), *self._standardized()]
        return InputCard(
            shape=[*self.input_shape],
            dtype="uint8" if is_image else "float64",
            low=low,
            high=high,
            scaling=", ".join(steps) or "as it is",
        )

    def _standardized(self) -> list[str]:
        if self.input_scale is None:
            return []
        return [
            "standardized by channel" if len(self.input_shape) == 3 else "standardized by column"
        ]

    def fingerprint(self) -> str:
        """Hash all examples, to notice data that changed between a run and its resumption.

        Returns:
            32 hexadecimal digits, the same in every process and on every device for equal dtypes.
        """
        digest = blake2b(f"{self.task} {self.num_outputs}".encode(), digest_size=16)
        for split in (self.train, self.validation, self.test):
            for tensor in () if split is None else (split.inputs, split.targets):
                digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
                digest.update(tensor.contiguous().cpu().numpy().data)
            digest.update(b"|")
        return digest.hexdigest()


def scaled_pixels(
    images: Tensor, dtype: torch.dtype, mean: Tensor | None, std: Tensor | None
) -> Tensor:
    """Turn uint8 (..., C, H, W) into pixels in [0, 1], standardized where there is a mean.

    mean, std: (C,), of pixels in [0, 1].
    """
    pixels = images.to(dtype)
    if mean is None or std is None:
        return pixels.div_(255)
    # (p / 255 - mean) / std in two passes over the pixels rather than three
    mean, std = mean.to(dtype), std.to(dtype)
    scale, offset = 1 / (255 * std), mean / std
    return pixels.mul_(scale[:, None, None]).sub_(offset[:, None, None])


def _to(tensor: Tensor, device: torch.device | str, dtype: torch.dtype) -> Tensor:
    return tensor.to(device, dtype if tensor.is_floating_point() else tensor.dtype)
