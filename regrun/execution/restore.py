"""A stored run's network as an ordinary module."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from regrun.config.load import load_config
from regrun.config.schema import Config
from regrun.data.preprocessing import Preprocessing
from regrun.errors import CorruptInputError, UsageError
from regrun.kinds.models import build_model
from regrun.results import ModelShape
from regrun.store.checksums import check_document
from regrun.store.reading import StoredRun, load_stored_run
from regrun.store.weights import parse_weights


def restore_model(directory: Path, average: str | None = None) -> nn.Module:
    """The module with the stored weights, in evaluation mode, on the CPU.

    Its attribute `preprocessing` is the run's `Preprocessing`; None for runs of versions before it
    was stored.

    average: `ema` or `swa` for those weights. Raises UsageError when the run is unfinished,
    diverged or without that average, CorruptInputError.
    """
    stored = load_stored_run(directory)
    path = stored.files.average(average) if average else stored.files.weights
    if stored.summary is None or not stored.has(stored.files.weights):
        raise UsageError(f"{directory}: no trained weights here (status: {stored.status})")
    if average and not stored.has(path):
        raise UsageError(f"{directory}: no {path.name} here; set training.{average} to have it")
    config = load_config(stored.document).config
    shape = stored.summary.model
    if shape is None:
        raise CorruptInputError(f"{stored.files.summary}: damaged: model: field required")
    weights, _ = parse_weights(path, stored.read(path))
    module = network_with(config, shape, weights)
    if module is None:
        raise CorruptInputError(
            f"{path}: holds other tensors than the network of {stored.files.config}"
        )
    module.preprocessing = preprocessing_of(stored)  # type: ignore[assignment]  # a plain attribute
    return module.eval()


def preprocessing_of(stored: StoredRun) -> Preprocessing | None:
    """What turns raw examples into a run's inputs; None for runs of versions before it was stored.

    Raises CorruptInputError, StorageError.
    """
    place = stored.files.preprocessing
    if not stored.has(place):
        return None
    data = stored.read(place)
    check_document(place, data)
    return Preprocessing.from_json(data, place)


def network_with(
    config: Config, shape: ModelShape, weights: Mapping[str, Tensor]
) -> nn.Module | None:
    """The config's network with these weights, in evaluation mode; None if they are another's."""
    module = build_model(config.model, tuple(shape.input_shape), shape.num_outputs, seed=0)
    _add_earlier_biases(module, weights)
    module.to(next(tensor.dtype for tensor in weights.values() if tensor.is_floating_point()))
    state = module.state_dict()  # with the versions of its layers, which some insist on
    if {name: t.shape for name, t in state.items()} != {n: t.shape for n, t in weights.items()}:
        return None
    state.update(weights)
    module.load_state_dict(state)
    return module.eval()


def _add_earlier_biases(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give layers the biases that the weights hold and the network lacks.

    Versions up to 0.2.0 had them before batch norm, whose running statistics count them in.
    """
    for name, layer in module.named_modules():
        bias = weights.get(f"{name}.bias")
        if isinstance(layer, nn.Linear | nn.Conv2d) and layer.bias is None and bias is not None:
            layer.bias = nn.Parameter(torch.empty_like(bias))
