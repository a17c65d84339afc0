"""A look at the data of a config, without training."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice, zip_longest

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regrun.config.load import Loaded
from regrun.data.dataset import Dataset, Split
from regrun.data.preprocessing import CategoryColumn, TableInputs
from regrun.execution.prepare import load_data, notes_on, with_notes
from regrun.results import DataCard

PICTURES = 24
"""At most as many are shown, the classes in turn."""

EXAMPLES, FEATURES = 5, 40
"""At most as many rows of a table are shown, and as many of its columns."""

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Preview:
    """The card of the data, and some training examples as they were before standardizing."""

    card: DataCard
    pictures: list[Picture] = field(default_factory=list)
    """(H, W, 3) each; empty unless the inputs are images."""
    captions: list[str] = field(default_factory=list)
    """The class or the target of each picture."""
    rows: list[tuple[str, list[str]]] = field(default_factory=list)
    """A column of a table, and its values in the first examples; the targets come last."""


def preview(loaded: Loaded, *, allow_large: bool = False) -> Preview:
    """Load a config's data, whatever its model. Raises what `train_run` raises for the data."""
    config = loaded.config
    exact = config.training.model_copy(update={"precision": "float64"})
    config = config.model_copy(update={"training": exact})  # what is shown is what was read
    with loaded.source.locating():
        # Without the model: whether it suits the data is another question.
        dataset = load_data(config, torch.device("cpu"), allow_large=allow_large)
    card = with_notes(dataset.card, [*loaded.notes, *notes_on(config, dataset)])
    if len(dataset.input_shape) == 3 and dataset.input_shape[0] in (1, 3):
        chosen = _classes_in_turn(dataset.train, dataset.num_outputs)
        part = dataset.train.take(chosen)
        pictures = [_picture(image) for image in _unscaled(dataset, part.inputs)]
        return Preview(card, pictures, captions=_targets(dataset, part))
    if len(dataset.input_shape) == 1:
        return Preview(card, rows=_rows(dataset))
    return Preview(card)


def _classes_in_turn(train: Split, classes: int) -> Tensor:
    """The first examples of each class, one of each in turn; of regression the first."""
    if train.targets.is_floating_point():
        return torch.arange(min(PICTURES, len(train)))
    firsts = [(train.targets == label).nonzero()[:PICTURES, 0].tolist() for label in range(classes)]
    turns = (index for turn in zip_longest(*firsts) for index in turn if index is not None)
    return torch.tensor(sorted(islice(turns, PICTURES)))


def _unscaled(dataset: Dataset, inputs: Tensor) -> Tensor:
    """Inputs as they were before they were standardized; uint8 images stay."""
    if inputs.dtype == torch.uint8 or dataset.input_scale is None:
        return inputs
    return dataset.input_scale.invert(inputs)


def _picture(image: Tensor) -> Picture:
    """(C, H, W) → (H, W, 3). Floating-point pixels are spread over the range of their picture."""
    if image.dtype != torch.uint8:
        low, high = image.min(), image.max()
        image = ((image - low) / (high - low).clamp(min=1e-12) * 255).round().to(torch.uint8)
    return image.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()


def _targets(dataset: Dataset, part: Split) -> list[str]:
    """The class of each example, or its number to predict."""
    if dataset.task == "classification":
        names = dataset.class_names or [str(label) for label in range(dataset.num_outputs)]
        return [names[label] for label in part.targets.tolist()]
    return [", ".join(f"{value:.6g}" for value in row) for row in _numbers(dataset, part).tolist()]


def _numbers(dataset: Dataset, part: Split) -> Tensor:
    """The targets as they were before they were standardized, (N, T)."""
    scale = dataset.target_scale
    return part.targets if scale is None else scale.invert(part.targets)


def _rows(dataset: Dataset) -> list[tuple[str, list[str]]]:
    part = dataset.train.take(torch.arange(min(EXAMPLES, len(dataset.train))))
    values = _unscaled(dataset, part.inputs)
    inputs = dataset.preprocessing.inputs
    rows: list[tuple[str, list[str]]] = []
    at = 0
    columns = inputs.columns if isinstance(inputs, TableInputs) else []
    for column in columns[:FEATURES]:
        if isinstance(column, CategoryColumn):
            chosen = values[:, at : at + len(column.categories)].round()
            at += len(column.categories)
            texts = [column.categories[i] if any_ else "–" for i, any_ in _hot(chosen)]
        else:
            texts = [f"{value:.6g}" for value in values[:, at].tolist()]
            at += 1
        rows.append((column.name, texts))
    if not columns:
        named = enumerate(values.T[:FEATURES].tolist())
        rows = [(f"x{index}", [f"{value:.6g}" for value in each]) for index, each in named]
    if dataset.task == "classification":
        return [*rows, (dataset.target_names[0], _targets(dataset, part))]
    numbers = _numbers(dataset, part).T.tolist()
    names = [target.name for target in dataset.card.targets]
    return rows + [
        (name, [f"{value:.6g}" for value in column])
        for name, column in zip(names, numbers, strict=True)
    ]


def _hot(encoded: Tensor) -> list[tuple[int, bool]]:
    """The position of the 1 of each row, and whether there is one."""
    return list(zip(encoded.argmax(1).tolist(), (encoded.amax(1) > 0).tolist(), strict=True))
