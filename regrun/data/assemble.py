"""From whole arrays to a Dataset: split, standardise, note what was done."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from regrun.data.dataset import Dataset, Split
from regrun.data.splits import split
from regrun.data.standardize import moments, pixel_moments
from regrun.kinds.datasets import DatasetSection, Task


def split_and_assemble(
    section: DatasetSection,
    name: str,
    task: Task,
    train: Split,
    test: Split | int | float,
    *,
    validation: Split | None = None,
    standardize: bool,
    feature_names: Sequence[str] = (),
    class_names: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Dataset:
    """Draws the parts of ``train`` (and ``test``, where that is not a share of it), then assembles.

    ``validation`` is a set of the dataset's own, used when the config holds out none.
    """
    held = test.targets if isinstance(test, Split) else test
    parts = split(section, train.targets, held, tuple(class_names))
    return assemble(
        section,
        name,
        task,
        train.take(parts.train),
        validation if parts.validation is None else train.take(parts.validation),
        (test if isinstance(test, Split) else train).take(parts.test),
        standardize=standardize,
        feature_names=feature_names,
        class_names=class_names,
        notes=notes,
    )


def assemble(
    section: DatasetSection,
    name: str,
    task: Task,
    train: Split,
    validation: Split | None,
    test: Split,
    *,
    standardize: bool,
    feature_names: Sequence[str] = (),
    class_names: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Dataset:
    """Standardises by the training examples and puts everything together.

    ``standardize`` is what `dataset.standardize` is when the config leaves it open.
    """
    if section.standardize is not None:
        standardize = section.standardize
    pixel_mean = pixel_std = None
    if standardize and train.inputs.dtype == torch.uint8:
        pixel_mean, pixel_std = pixel_moments(train.inputs)
    elif standardize:
        mean, std = moments(train.inputs)

        def scaled(part: Split) -> Split:
            return Split((part.inputs - mean) / std, part.targets)

        train, test = scaled(train), scaled(test)
        validation = None if validation is None else scaled(validation)

    return Dataset(
        name=name,
        task=task,
        train=train,
        validation=validation,
        test=test,
        input_shape=tuple(train.inputs.shape[1:]),
        num_outputs=len(class_names) if task == "classification" else train.targets.shape[1],
        pixel_mean=pixel_mean,
        pixel_std=pixel_std,
        feature_names=tuple(feature_names),
        class_names=tuple(class_names) if task == "classification" else (),
        notes=(*notes, *_constant_columns(train, feature_names)),
    )


def _constant_columns(train: Split, names: Sequence[str]) -> list[str]:
    if train.inputs.ndim != 2 or not names:
        return []
    constant = (train.inputs == train.inputs[0]).all(0).tolist()
    found = [f'"{name}"' for name, is_constant in zip(names, constant, strict=True) if is_constant]
    if not found:
        return []
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    return [f"constant in the training examples: {', '.join(found[:5])}{more}"]
