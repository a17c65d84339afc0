"""A stored run's network as an ordinary module."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from regrun.config.load import load_config
from regrun.errors import UsageError
from regrun.models.build import build_model
from regrun.store.reading import load_stored_run
from regrun.store.weights import load_weights


def restore_model(directory: Path) -> nn.Module:
    """The module with the stored weights, in evaluation mode, on the CPU.

    Raises UsageError when the run is unfinished or diverged, CorruptInputError.
    """
    stored = load_stored_run(directory)
    if stored.summary is None or not stored.files.weights.is_file():
        raise UsageError(f"{directory}: no trained weights here (status: {stored.status})")
    config = load_config(stored.files.config).config
    shape = stored.summary["model"]
    module = build_model(config.model, tuple(shape["input_shape"]), shape["num_outputs"], seed=0)
    weights, _ = load_weights(stored.files.weights)
    module.to(next(iter(weights.values())).dtype)
    module.load_state_dict(weights)
    return module.eval()
