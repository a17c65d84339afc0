"""What penalties amount to where two classes have two outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from regrun.config.schema import Config
from regrun.data.dataset import Dataset
from regrun.kinds.penalties.base import Penalty
from regrun.kinds.registry import DEFAULT_LOSS
from regrun.nn.roles import Role, select
from regrun.settings import format_value
from regrun.training.network import network_outputs


def on_one_logit(config: Config, dataset: Dataset, roles: Mapping[str, Role]) -> Iterator[str]:
    """Yield a note for each penalty on two outputs of which only the difference counts.

    roles: of the network's parameters, in its order.
    """
    task, count = dataset.task, dataset.num_outputs
    if task != "classification" or count != 2 or network_outputs(config, dataset) != 2:
        return
    output = [name for name, role in roles.items() if role == "weight"][-1]
    for penalty in config.penalty:
        alike = penalty.on_one_logit()
        if alike is None or not penalty.strength:
            continue
        selector = getattr(penalty, "apply_to", ())
        if output in select(selector, roles, "penalty.apply_to"):
            yield (
                f"two outputs for two classes: on {output} {_numbers(penalty)} acts as "
                f"{_numbers(alike)} on the weights of one logit "
                f"(loss: {DEFAULT_LOSS.chosen_for(task, count).kind})"
            )


def _numbers(penalty: Penalty) -> str:
    """A penalty with its numbers: ``l2 of strength 0.1``."""
    numbers = {key: format_value(value) for key, value in penalty.numbers().items()}
    strength = numbers.pop("strength")
    rest = "".join(f", {key} {value}" for key, value in numbers.items())
    return f"{penalty.kind} of strength {strength}{rest}"
