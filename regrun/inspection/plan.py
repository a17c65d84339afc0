"""What `regrun inspect` says about training: per parameter what acts on it and why, and the
update rule in symbols. Both ask the same functions that the optimizer is built from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

from regrun.config.schema import Config
from regrun.inspection.step_plan import average_lines, gradient_lines, rate_lines
from regrun.kinds.base import listed
from regrun.kinds.penalties import WeightPenalty
from regrun.nn.roles import ROLES, Role, chooses, select
from regrun.training.losses import LOSSES


@dataclass(frozen=True)
class ParameterPlan:
    """What acts on one parameter."""

    name: str
    shape: tuple[int, ...]
    """Of one member."""
    role: Role
    decay: bool
    """Whether it really decays: chosen by `decay_on`, and λ is not 0."""
    decay_kind: str
    penalties: list[dict[str, str | float]]
    """type, strength, method of each penalty on it."""
    constraints: list[dict[str, str | float]]
    """type, and limit where there is one, of each constraint on it."""
    reason: str
    """The same in plain words, with what chose it."""


def plan_parameters(
    config: Config, roles: Mapping[str, Role], shapes: Mapping[str, Sequence[int]]
) -> list[ParameterPlan]:
    """A plan per parameter, in the model's order. shapes: of one member.

    Raises ConfigError when a selector's entry chooses nothing.
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
        reasons += [f"{p.kind}: {_because(p.apply_to, name, role)}" for p in on_it]
        reasons += [f"{c.kind}: {_because(c.apply_to, name, role)}" for c in bounds]
        if penalties and not on_it:
            reasons.append(f"no penalty: no apply_to chooses role {role} or its name")
        plans.append(
            ParameterPlan(
                name=name,
                shape=tuple(shapes[name]),
                role=role,
                decay=name in decayed and optimizer.weight_decay > 0,
                decay_kind=optimizer.resolved_decay,
                penalties=[penalty.summary() for penalty in on_it],
                constraints=[constraint.summary() for constraint in bounds],
                reason="; ".join(reasons),
            )
        )
    return plans


def update_rule(config: Config) -> list[str]:
    """One training step in symbols, with the config's numbers, in the order it is done."""
    optimizer, decay = config.optimizer, config.optimizer.weight_decay
    lines = [*config.augment.symbols_before_loss(), *config.model.symbols()]
    lines.append(f"L = {_loss_symbols(config)}   ({config.loss})")
    lines += config.augment.symbols_in_loss()
    names = [f"P{i}" if len(config.penalty) > 1 else "P" for i in range(1, len(config.penalty) + 1)]
    lines.append(" + ".join(["J = L", *names]))
    named = list(zip(names, config.penalty, strict=True))
    lines += [penalty.symbols(name) for name, penalty in named]
    later = {name: penalty for name, penalty in named if penalty.proximal}
    lines.append(f"g = ∂({' − '.join(['J', *later])})/∂w" if later else "g = ∂J/∂w")
    lines += gradient_lines(config)
    over = listed(optimizer.decay_on)
    kind = optimizer.resolved_decay
    if decay and kind == "coupled":
        lines.append(f"g ← g + {decay:g} w   (weight decay, coupled, on {over})")
    lines.append(f"η_t = {optimizer.lr:g} · s_t,  s_t = {config.schedule.symbols()}")
    lines += rate_lines(config)
    if decay and kind != "coupled":
        factor = "η_t" if kind == "decoupled" else "s_t"
        lines.append(f"w ← w − {factor} · {decay:g} w   (weight decay, {kind}, on {over})")
    lines += optimizer.symbols()
    steps = [step for name, penalty in later.items() for step in penalty.proximal_symbols(name)]
    lines += [line for _, line in sorted(steps, key=itemgetter(0))]
    if later:
        lines += optimizer.proximal_symbols()
    lines += [constraint.symbols() for constraint in config.constraints]
    lines += average_lines(config)
    return lines


def _loss_symbols(config: Config) -> str:
    """The data loss; means are over the batch, and over the outputs."""
    if config.loss != "auto":
        return LOSSES[config.loss].symbols
    classes, numbers = LOSSES["cross_entropy"].symbols, LOSSES["mse"].symbols
    return f"{classes} for classes, {numbers} for numbers"


def _decay_reason(config: Config, name: str, role: Role, chosen: bool) -> str:
    optimizer = config.optimizer
    if not chosen:
        return f"no weight decay: role {role} is not in decay_on {listed(optimizer.decay_on)}"
    because = _because(optimizer.decay_on, name, role, "decay_on")
    if optimizer.weight_decay == 0:
        return f"no weight decay: weight_decay is 0 ({because})"
    return f"weight decay {optimizer.weight_decay:g}, {optimizer.resolved_decay}: {because}"


def _because(selector: Sequence[str], name: str, role: Role, key: str = "apply_to") -> str:
    entry = next(entry for entry in selector if chooses(entry, name, role))
    if entry == "all":
        return f"{key} is all"
    if entry in ROLES:
        return f"role {role} is in {key} {listed(selector)}"
    return f"name matches {entry!r} in {key}"
