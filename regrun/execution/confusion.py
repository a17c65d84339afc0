"""Which classes are taken for which, by the weights that were kept."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from regrun.config.schema import Config
from regrun.data.dataset import Dataset
from regrun.execution.restore import network_with
from regrun.nn.class_scores import class_scores
from regrun.results import ModelShape
from regrun.training.evaluation import EVALUATION_ELEMENTS


@torch.no_grad()
def confusion_matrices(
    config: Config, shape: ModelShape, weights: Mapping[str, Tensor], dataset: Dataset
) -> dict[str, list[list[int]]]:
    """Counts of examples by class (rows) and predicted class (columns), for each part held out.

    dataset: on its device. Of data without a part held out, the training part is counted.
    """
    from sklearn.metrics import confusion_matrix

    network = network_with(config, shape, weights)
    network.to(dataset.train.inputs.device)
    dtype = next(network.parameters()).dtype
    parts = {"val": dataset.validation, "test": dataset.test if len(dataset.test) else None}
    held_out = {name: part for name, part in parts.items() if part is not None}
    found = {}
    for name, part in (held_out or {"train": dataset.train}).items():
        chunk = max(1, EVALUATION_ELEMENTS // max(1, dataset.train.inputs[0].numel()) // 16)
        predicted = [
            class_scores(network(dataset.features(inputs, dtype))).argmax(-1)
            for inputs in torch.split(part.inputs, chunk)
        ]
        counts = confusion_matrix(
            part.targets.cpu().numpy(),
            torch.cat(predicted).cpu().numpy(),
            labels=range(dataset.num_outputs),
        )
        found[name] = counts.tolist()
    return found
