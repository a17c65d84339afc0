"""What `regrun inspect` says about training: per parameter what acts on it and why, and the
update rule in symbols. Both ask the same functions that the optimizer is built from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from regrun.config.constraints import ConstraintSection, MaxNorm
from regrun.config.optimizers import Constant, Cosine, ScheduleSection, StepDecay
from regrun.config.penalties import PenaltySection
from regrun.config.schema import Config
from regrun.models.groups import ROLES, chooses, decayed_parameters, select
from regrun.models.roles import Role
from regrun.optim.noise_plan import noise_before_loss, noise_in_loss
from regrun.optim.rules import rule_of
from regrun.regularizers.constraints import constraint_type
from regrun.regularizers.penalties import coefficients, penalty_type

LOSSES = {
    "mse": "mean((ŷ − y)²)",
    "half_mse": "½ mean((ŷ − y)²)",
    "cross_entropy": "mean(−log p(y))",
    "auto": "mean(−log p(y)) for classes, mean((ŷ − y)²) for numbers",
}
"""`loss` → in symbols; means are over the batch (and the outputs)."""


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
    decayed = decayed_parameters(optimizer, roles)
    penalties = [
        (penalty, select(penalty.apply_to, roles, f"penalty.{i}.apply_to"))
        for i, penalty in enumerate(config.penalty)
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
        reasons += [f"{penalty_type(p)}: {_because(p.apply_to, name, role)}" for p in on_it]
        reasons += [f"{constraint_type(c)}: {_because(c.apply_to, name, role)}" for c in bounds]
        if penalties and not on_it:
            reasons.append(f"no penalty: no apply_to chooses role {role} or its name")
        plans.append(
            ParameterPlan(
                name=name,
                shape=tuple(shapes[name]),
                role=role,
                decay=name in decayed and optimizer.weight_decay > 0,
                decay_kind=optimizer.resolved_decay,
                penalties=[_penalty_entry(penalty) for penalty in on_it],
                constraints=[_constraint_entry(constraint) for constraint in bounds],
                reason="; ".join(reasons),
            )
        )
    return plans


def update_rule(config: Config) -> list[str]:
    """One training step in symbols, with the config's numbers, in the order it is done."""
    optimizer, decay = config.optimizer, config.optimizer.weight_decay
    lines = noise_before_loss(config)
    lines.append(f"L = {LOSSES[config.loss]}   ({config.loss})")
    lines += noise_in_loss(config.augment)
    names = [f"P{i}" if len(config.penalty) > 1 else "P" for i in range(1, len(config.penalty) + 1)]
    lines.append(" + ".join(["J = L", *names]))
    lines += [_penalty_line(n, p) for n, p in zip(names, config.penalty, strict=True)]
    lines.append("g = ∂J/∂w")
    over = _listed(optimizer.decay_on)
    kind = optimizer.resolved_decay
    if decay and kind == "coupled":
        lines.append(f"g ← g + {decay:g} w   (weight decay, coupled, on {over})")
    lines.append(f"η_t = {optimizer.lr:g} · s_t,  s_t = {_schedule_text(config.schedule)}")
    if decay and kind != "coupled":
        factor = "η_t" if kind == "decoupled" else "s_t"
        lines.append(f"w ← w − {factor} · {decay:g} w   (weight decay, {kind}, on {over})")
    lines += rule_of(optimizer).symbols(optimizer)
    lines += [_constraint_line(constraint) for constraint in config.constraints]
    return lines


def _decay_reason(config: Config, name: str, role: Role, chosen: bool) -> str:
    optimizer = config.optimizer
    if not chosen:
        return f"no weight decay: role {role} is not in decay_on {_listed(optimizer.decay_on)}"
    because = _because(optimizer.decay_on, name, role, "decay_on")
    if optimizer.weight_decay == 0:
        return f"no weight decay: weight_decay is 0 ({because})"
    return f"weight decay {optimizer.weight_decay:g}, {optimizer.resolved_decay}: {because}"


def _because(selector: Sequence[str], name: str, role: Role, key: str = "apply_to") -> str:
    entry = next(entry for entry in selector if chooses(entry, name, role))
    if entry == "all":
        return f"{key} is all"
    if entry in ROLES:
        return f"role {role} is in {key} {_listed(selector)}"
    return f"name matches {entry!r} in {key}"


def _listed(selector: Sequence[str]) -> str:
    return f"[{', '.join(selector)}]"


def _penalty_entry(penalty: PenaltySection) -> dict[str, str | float]:
    method = str(getattr(penalty, "method", "gradient"))
    return {"type": penalty_type(penalty), "strength": penalty.strength, "method": method}


def _constraint_entry(constraint: ConstraintSection) -> dict[str, str | float]:
    limit = {"limit": constraint.limit} if isinstance(constraint, MaxNorm) else {}
    return {"type": constraint_type(constraint), **limit}


def _penalty_line(name: str, penalty: PenaltySection) -> str:
    a, q = coefficients(penalty)
    value = [f"{a:g} Σ|w|"] * (a > 0) + [f"{q:g} Σw²"] * (q > 0)
    gradient = [f"{a:g} sign(w)"] * (a > 0) + [f"{2 * q:g} w"] * (q > 0)
    return (
        f"{name} = {' + '.join(value) or '0'}   ({penalty_type(penalty)} on "
        f"{_listed(penalty.apply_to)}, gradient {' + '.join(gradient) or '0'})"
    )


def _constraint_line(constraint: ConstraintSection) -> str:
    where = f"{constraint_type(constraint)} on {_listed(constraint.apply_to)}"
    if isinstance(constraint, MaxNorm):
        return f"{constraint.formula},  c = {constraint.limit:g}   ({where}, per neuron)"
    return f"{constraint.formula}   ({where})"


def _schedule_text(schedule: ScheduleSection) -> str:
    match schedule:
        case StepDecay():
            text = f"{schedule.gamma:g}^⌊epoch / {schedule.step_size}⌋"
        case Cosine():
            least = schedule.min_factor
            low = f"{least:g} + {1 - least:g} · " if least else ""
            text = f"{low}½ (1 + cos(π t/T))"
        case Constant():
            text = "1"
        case _:
            raise TypeError(f"no schedule {type(schedule).__name__}")
    if not schedule.warmup_epochs:
        return text
    return (
        f"{text}, after a linear rise from {schedule.warmup_start:g} to 1 over "
        f"{schedule.warmup_epochs:g} epochs"
    )
