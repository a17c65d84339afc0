"""From decoded examples to a Dataset: split, standardize, note what was done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

import torch
from torch import Tensor

from regrun.data.dataset import Dataset, Examples, Split
from regrun.data.preprocessing import Scale
from regrun.data.splits import Parts
from regrun.errors import ConfigError
from regrun.suggest import did_you_mean

LEAST, MOST = 0.1, 10.0
"""Targets whose root mean square is outside are far from unit scale."""


@dataclass(frozen=True)
class Scaling:
    """What is done to the numbers of the parts."""

    inputs: bool
    """Whether to standardize them."""
    targets: bool | Literal["auto"] = False
    """Likewise; auto: where one is far from unit scale."""
    class_weights: Literal["none", "balanced"] | Mapping[str, float] = "none"


def assemble(name: str, examples: Examples, parts: Parts, scaling: Scaling) -> Dataset:
    """Take the parts; where asked to, standardize them by the training examples.

    Raises ConfigError where the scaling does not suit the task.
    """
    pool, task = examples.train, examples.task
    train = pool.take(parts.train)
    validation = examples.validation if parts.validation is None else pool.take(parts.validation)
    test = (examples.test if isinstance(examples.test, Split) else pool).take(parts.test)
    pixel_mean = pixel_std = scale = None
    if scaling.inputs and train.inputs.dtype == torch.uint8:
        pixel_mean, pixel_std = pixel_moments(train.inputs)
        scale = Scale.of(pixel_mean, pixel_std)
    elif scaling.inputs:
        scale = Scale.of(*moments(train.inputs))
    target_scale, target_notes = _target_scale(train, examples, scaling.targets)

    def scaled(part: Split) -> Split:
        inputs, targets = part.inputs, part.targets
        if scale is not None and inputs.dtype != torch.uint8:
            inputs = scale.apply(inputs)
        return Split(inputs, targets if target_scale is None else target_scale.apply(targets))

    weights = _class_weights(train, examples, scaling.class_weights)
    nothing_held = [] if len(test) else ["there is no test set (dataset.test is 0)"]
    test_set = _identity(parts.test, test.targets) if len(test) else ""
    train, test = scaled(train), scaled(test)
    validation = None if validation is None else scaled(validation)
    classes = len(examples.class_names)
    return Dataset(
        name=name,
        task=task,
        train=train,
        validation=validation,
        test=test,
        input_shape=tuple(train.inputs.shape[1:]),
        num_outputs=classes if task == "classification" else train.targets.shape[1],
        pixel_mean=pixel_mean,
        pixel_std=pixel_std,
        feature_names=tuple(examples.feature_names),
        class_names=tuple(examples.class_names),
        target_std=None if target_scale is None else target_scale.tensors()[1],
        class_weights=weights,
        notes=(
            *examples.notes,
            *target_notes,
            *nothing_held,
            *_constant_columns(train, examples.feature_names),
        ),
        inputs=examples.inputs,
        input_scale=scale,
        target_scale=target_scale,
        split=parts.description,
        test_set=test_set,
        drawn=parts.drawn,
        pool=parts.pool,
        provenance=examples.provenance,
    )


def _identity(rows: Tensor, targets: Tensor) -> str:
    """Hash which examples these are. targets: before they are scaled.

    Inputs do not count, since categories and imputed numbers are learnt from the training rows.
    """
    digest = blake2b(digest_size=16)
    for tensor in (rows, targets):
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


def _target_scale(
    train: Split, examples: Examples, wanted: bool | Literal["auto"]
) -> tuple[Scale | None, list[str]]:
    """What standardizes the targets, and what a user should know of it."""
    if examples.task == "classification":
        if wanted is True:
            raise ConfigError.at(
                "dataset.standardize_target", "true: these data have classes, not numbers"
            )
        return None, []
    mean, std = moments(train.targets)
    rms = train.targets.square().mean(0).sqrt()
    varies = train.targets.amax(0) > train.targets.amin(0)
    far = bool((((rms < LEAST) | (rms > MOST)) & varies).any())
    shown = ", ".join(
        f"mean {m:.4g} and standard deviation {s:.4g}"
        for m, s in zip(mean[:3].tolist(), std[:3].tolist(), strict=True)
    )
    if wanted is True or (wanted == "auto" and far):
        note = (
            f"targets of {shown} are standardized for training (dataset.standardize_target); "
            "losses and predictions are on the original scale, strengths and objective on that of "
            "training"
        )
        return Scale.of(mean, std), [note]
    return None, []


def _class_weights(
    train: Split, examples: Examples, wanted: Literal["none", "balanced"] | Mapping[str, float]
) -> Tensor | None:
    """(C,) float64. balanced: N / (C · N_c), a class without training examples 1."""
    if wanted == "none":
        return None
    if examples.task == "regression":
        raise ConfigError.at("dataset.class_weights", "these data have numbers to predict")
    names = [*examples.class_names]
    if wanted == "balanced":
        counts = torch.bincount(train.targets, minlength=len(names)).double()
        return torch.where(counts > 0, len(train) / (len(names) * counts.clamp(min=1)), 1.0)
    for name in wanted:
        if name not in names:
            raise ConfigError.at(
                "dataset.class_weights", f"no class {name!r}{did_you_mean(name, names)}"
            )
    return torch.tensor([wanted.get(name, 1.0) for name in names], dtype=torch.float64)


def _constant_columns(train: Split, names: Sequence[str]) -> list[str]:
    """A note on the features that are constant in the training examples, if there are any."""
    if train.inputs.ndim != 2 or not names:
        return []
    constant = (train.inputs == train.inputs[0]).all(0).tolist()
    found = [f'"{name}"' for name, is_constant in zip(names, constant, strict=True) if is_constant]
    if not found:
        return []
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    return [f"constant in the training examples: {', '.join(found[:5])}{more}"]


def moments(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and (population) standard deviation of each feature, or each channel of images.

    inputs: (N, *shape) float64. Both results broadcast against it: (*shape), or (C, 1, 1) for
    images (N, C, H, W). A constant feature gets standard deviation 1, so that it becomes 0 and
    not NaN (as in scikit-learn's StandardScaler).
    """
    over = (0, 2, 3) if inputs.ndim == 4 else (0,)
    if inputs[0].numel() == 1 or (inputs.ndim == 4 and inputs.shape[1] == 1):
        # torch splits a reduction to one number among its threads, so that its last bits depend on
        # their number; a reduction to two numbers is not split.
        mean, std = moments(inputs.expand(-1, 2, *inputs.shape[2:]))
        return mean[:1], std[:1]
    mean = inputs.mean(over, keepdim=True)[0]
    std = inputs.std(over, correction=0, keepdim=True)[0]
    constant = (inputs.amax(over, keepdim=True) == inputs.amin(over, keepdim=True))[0]
    # Rounding can move the mean of equal numbers, which would leave 1e-17 instead of 0.
    mean = torch.where(constant, inputs.amin(over, keepdim=True)[0], mean)
    return mean, std.masked_fill(constant, 1.0)


def pixel_moments(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and (population) standard deviation of each channel, of pixels in [0, 1].

    images: (N, C, H, W) uint8. Both results are (C,) float64. Counts of the 256 values are exact
    and need no floating-point copy of the images.
    """
    values = torch.arange(256, dtype=torch.float64) / 255
    counts = torch.stack(
        [torch.bincount(images[:, c].flatten(), minlength=256) for c in range(images.shape[1])]
    ).double()
    share = counts / counts.sum(1, keepdim=True)
    mean = share @ values
    std = (share * (values - mean[:, None]) ** 2).sum(1).sqrt()
    return mean, std.masked_fill(std == 0, 1.0)
