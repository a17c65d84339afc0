"""What acts on each parameter and why, by the same selectors that training uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from regrun.config.schema import Config
from regrun.kinds.base import listed
from regrun.kinds.penalties import WeightPenalty
from regrun.nn.roles import ROLES, Role, chooses, select
from regrun.results import ParameterSummary


def plan_parameters(
    config: Config, roles: Mapping[str, Role], shapes: Mapping[str, Sequence[int]]
) -> list[ParameterSummary]:
    """Say for each parameter, in the model's order, what acts on it.

    roles, shapes: parameter name → its role, and the shape of one member's parameter. Raises
    ConfigError if an entry of a selector chooses nothing.
    """
    optimizer = config.optimizer
    decayed = select(optimizer.decay_on, roles, "optimizer.decay_on")
    penalties = [
        (penalty, select(penalty.apply_to, roles, f"penalty.{i}.apply_to"))
        for i, penalty in enumerate(config.penalty)
        if isinstance(penalty, WeightPenalty)
    ]
    constraints = [
        (constraint, select(constraint.apply_to, roles, f"constraints.{i}.apply_to"))
        for i, constraint in enumerate(config.constraints)
    ]
    plans = []
    for name, role in roles.items():
        on_it = [penalty for penalty, chosen in penalties if name in chosen]
        bounds = [constraint for constraint, chosen in constraints if name in chosen]
        reasons = [_decay_reason(config, name, role, name in decayed)]
        reasons += [f"{p.kind}: {_penalised(p, name, role, shapes[name])}" for p in on_it]
        reasons += [f"{c.kind}: {_because(c.apply_to, name, role)}" for c in bounds]
        if penalties and not on_it:
            reasons.append(f"no penalty: no apply_to chooses role {role} or its name")
        plans.append(
            ParameterSummary(
                name=name,
                shape=tuple(shapes[name]),
                role=role,
                decay=optimizer.weight_decay if name in decayed else 0.0,
                decay_kind=optimizer.resolved_decay,
                penalties=[penalty.summary() for penalty in on_it],
                constraints=[constraint.summary() for constraint in bounds],
                reason="; ".join(reasons),
            )
        )
    return plans


def _decay_reason(config: Config, name: str, role: Role, chosen: bool) -> str:
    optimizer = config.optimizer
    if not chosen:
        return f"no weight decay: role {role} is not in decay_on {listed(optimizer.decay_on)}"
    because = _because(optimizer.decay_on, name, role, "decay_on")
    if optimizer.weight_decay == 0:
        return f"no weight decay: weight_decay is 0 ({because})"
    return f"weight decay {optimizer.weight_decay:g}, {optimizer.resolved_decay}: {because}"


def _penalised(penalty: WeightPenalty, name: str, role: Role, shape: Sequence[int]) -> str:
    if penalty.input_key:
        return f"its columns are the inputs, for {penalty.input_key}{penalty.remark(shape)}"
    return _because(penalty.apply_to, name, role)


def _because(selector: Sequence[str], name: str, role: Role, key: str = "apply_to") -> str:
    entry = next(entry for entry in selector if chooses(entry, name, role))
    if entry == "all":
        return f"{key} is all"
    if entry in ROLES:
        return f"role {role} is in {key} {listed(selector)}"
    return f"name matches {entry!r} in {key}"
