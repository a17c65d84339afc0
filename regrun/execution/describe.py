"""Everything about a config that is known without training."""

from __future__ import annotations

from dataclasses import asdict, replace

from regrun.config.limits import check_runs
from regrun.config.load import Loaded
from regrun.execution.prepare import idle_notes, prepare, resolve_device
from regrun.inspection.parameters import plan_parameters
from regrun.inspection.two_outputs import on_one_logit
from regrun.inspection.update_rule import update_rule
from regrun.nn.roles import roles_of
from regrun.results import Inspection, LayerSummary, ModelTable
from regrun.training.compiled import compile_notes
from regrun.training.lipschitz import with_learning_rates
from regrun.training.losses import resolve_loss
from regrun.training.network import build_network, layers_of
from regrun.training.network_inputs import with_input_positions
from regrun.training.objective import follows_from_weights


def describe(loaded: Loaded, device: str = "cpu", *, allow_large: bool = False) -> Inspection:
    """Inspect a config. Raises what `train_run` raises before training."""
    config = loaded.config
    check_runs(loaded, allow_large=allow_large)
    with loaded.source.locating():
        prepared = prepare(config, resolve_device(device), allow_large=allow_large)
        prepared = replace(prepared, config_notes=loaded.notes)
        dataset = prepared.dataset
        module = build_network(config, dataset, seed=0)
        roles = roles_of(module)
        shapes = {name: tuple(p.shape) for name, p in module.named_parameters()}
        explicit = config.model_copy(update={"loss": resolve_loss(config, dataset)})
        (explicit,) = with_learning_rates(with_input_positions([explicit], dataset), dataset)
        trial = prepared.budget.trial
        drawn = trial.draws or not follows_from_weights(config, module)
        layers = layers_of(module, config, dataset, idle=False)
        return Inspection(
            config=config.model_dump(mode="json"),
            runs=config.runs,
            model=ModelTable(
                layers=[LayerSummary(**asdict(layer)) for layer in layers],
                parameters=prepared.budget.parameters,
            ),
            parameters=plan_parameters(explicit, roles, shapes),
            update_rule="\n".join(update_rule(explicit, drawn=drawn)),
            memory_bytes=prepared.budget.total_bytes(config.runs),
            data=prepared.card(config),
            notes=[
                *prepared.notes(config),
                *prepared.budget.notes,
                *idle_notes(config, prepared),
                *on_one_logit(config, dataset, roles),
                *compile_notes(
                    config.training.compile,
                    prepared.budget.parameters,
                    prepared.budget.steps,
                    prepared.device,
                ),
            ],
        )
