"""The document of `inspect`: everything about a config that is known without training."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from regrun.config.load import Loaded
from regrun.config.schema import Config
from regrun.errors import ConfigError
from regrun.execution.device import resolve_device
from regrun.execution.prepare import prepare
from regrun.inspection.parameters import plan_parameters
from regrun.inspection.update_rule import update_rule
from regrun.kinds.models import build_model
from regrun.nn.layer_table import layer_table
from regrun.nn.roles import roles_of
from regrun.training.lipschitz import with_learning_rates
from regrun.training.losses import resolve_loss


def describe(loaded: Loaded, device: str = "cpu", *, allow_large: bool = False) -> dict[str, Any]:
    """Return the document of `inspect --json`, with `model` and `notes`.

    Raises what `train_run` raises before training.
    """
    try:
        return _describe(loaded.config, device, allow_large)
    except ConfigError as error:
        raise loaded.source.locate(error) from error


def _describe(config: Config, device: str, allow_large: bool) -> dict[str, Any]:
    prepared = prepare(config, resolve_device(device), allow_large=allow_large)
    dataset = prepared.dataset
    module = build_model(config.model, dataset.input_shape, dataset.num_outputs, seed=0)
    shapes = {name: tuple(p.shape) for name, p in module.named_parameters()}
    explicit = config.model_copy(update={"loss": resolve_loss(config, dataset)})
    (explicit,) = with_learning_rates([explicit], dataset)
    return {
        "config": config.model_dump(mode="json"),
        "runs": config.runs,
        "model": {
            "layers": [asdict(row) for row in layer_table(module, dataset.input_shape, idle=False)],
            "parameters": prepared.budget.parameters,
        },
        "parameters": [
            {**asdict(plan), "decay": config.optimizer.weight_decay if plan.decay else 0.0}
            for plan in plan_parameters(config, roles_of(module), shapes)
        ],
        "update_rule": "\n".join(update_rule(explicit)),
        "memory_bytes": prepared.budget.total_bytes(config.runs),
        "notes": prepared.notes(config),
    }
