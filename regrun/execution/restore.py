"""A stored run's network as an ordinary module."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from regrun.config.load import load_config
from regrun.config.schema import Config
from regrun.data.preprocessing import Preprocessing
from regrun.errors import CorruptInputError, UsageError
from regrun.kinds.models import build_model
from regrun.results import ModelShape
from regrun.stack.state import check_statistics, check_tensors, naming
from regrun.store.checksums import check_document
from regrun.store.reading import StoredRun, load_stored_run
from regrun.store.weights import parse_weights
from regrun.training.precision import DTYPES


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
    card, preprocessing = stored.summary.data, preprocessing_of(stored)
    if card is not None and card.input.shape != shape.input_shape:
        raise CorruptInputError(
            f"{stored.files.summary}: damaged: model.input_shape: {shape.input_shape}, and the "
            f"data have {card.input.shape}"
        )
    if preprocessing is not None:
        with naming(f"{stored.files.preprocessing}: damaged: "):
            preprocessing.check_shapes(shape)
    with naming(f"{path}: damaged: "):
        module = network_with(config, shape, weights)
    module.preprocessing = preprocessing  # type: ignore[assignment]  # a plain attribute
    return module


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


def network_with(config: Config, shape: ModelShape, weights: Mapping[str, Tensor]) -> nn.Module:
    """The config's network with these weights, in evaluation mode.

    Raises CorruptInputError, with the name of the tensor, when they are another network's, or not
    finite.
    """

    def build(seed: int | None) -> nn.Module:
        outputs = shape.num_outputs
        module = build_model(config.model, tuple(shape.input_shape), outputs, seed)
        _add_earlier_biases(module, weights)
        return module.to(DTYPES[config.training.precision])

    with naming("tensor "):
        # First without memory: what a file says of the shapes may be of any size.
        check_tensors(_tensors(build(None)), weights)
        module = build(0)
        for name, tensor in _tensors(module).items():
            check_statistics(name, weights[name])
            # A buffer of a network of the user's own may hold infinity: the mask of an attention.
            if tensor.isfinite().all() and not weights[name].isfinite().all():
                raise CorruptInputError(f"{name}: NaN or infinity")
            tensor.copy_(weights[name])
    return module.eval()


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """What is stored of a module: a tensor with two names once, and buffers of any kind."""
    named = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {name: tensor.detach() for name, tensor in named.items()}


def _add_earlier_biases(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give layers the biases that the weights hold and the network lacks.

    Versions up to 0.2.0 had them before batch norm, whose running statistics count them in.
    """
    if not any(isinstance(layer, _BatchNorm) for layer in module.modules()):
        return
    for name, layer in module.named_modules():
        bias = weights.get(f"{name}.bias")
        if isinstance(layer, nn.Linear | nn.Conv2d) and layer.bias is None and bias is not None:
            layer.bias = nn.Parameter(layer.weight.new_empty(len(layer.weight)))
