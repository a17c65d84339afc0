"""What `regrun inspect` says about training: per parameter what acts on it and why, and the
update rule in symbols. Both ask the same functions that the optimizer is built from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from regrun.config.schema import Config
from regrun.inspection.step_plan import average_lines, gradient_lines, rate_lines
from regrun.kinds.constraints import Constraint, MaxNorm
from regrun.kinds.penalties import ActivityPenalty, GroupLasso, Penalty, WeightPenalty
from regrun.nn.roles import ROLES, Role, chooses, select
from regrun.regularizers.constraints import constraint_type
from regrun.regularizers.entrywise import (
    ACTIVITY,
    ENTRYWISE,
    coefficients,
    is_proximal,
    penalty_type,
)
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
    lines = [*config.augment.symbols_before_loss(), *config.model.symbols()]
    lines.append(f"L = {_loss_symbols(config)}   ({config.loss})")
    lines += config.augment.symbols_in_loss()
    names = [f"P{i}" if len(config.penalty) > 1 else "P" for i in range(1, len(config.penalty) + 1)]
    lines.append(" + ".join(["J = L", *names]))
    lines += [_penalty_line(n, p) for n, p in zip(names, config.penalty, strict=True)]
    later = [n for n, p in zip(names, config.penalty, strict=True) if is_proximal(p)]
    lines.append(f"g = ∂({' − '.join(['J', *later])})/∂w" if later else "g = ∂J/∂w")
    lines += gradient_lines(config)
    over = _listed(optimizer.decay_on)
    kind = optimizer.resolved_decay
    if decay and kind == "coupled":
        lines.append(f"g ← g + {decay:g} w   (weight decay, coupled, on {over})")
    lines.append(f"η_t = {optimizer.lr:g} · s_t,  s_t = {config.schedule.symbols()}")
    lines += rate_lines(config)
    if decay and kind != "coupled":
        factor = "η_t" if kind == "decoupled" else "s_t"
        lines.append(f"w ← w − {factor} · {decay:g} w   (weight decay, {kind}, on {over})")
    lines += optimizer.symbols()
    lines += _proximal_lines(config.penalty, names)
    if later:
        lines += optimizer.proximal_symbols()
    lines += [_constraint_line(constraint) for constraint in config.constraints]
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


def _penalty_entry(penalty: Penalty) -> dict[str, str | float]:
    return {
        "type": penalty_type(penalty),
        "strength": penalty.strength,
        "method": penalty.method,
        **({"groups": penalty.groups} if isinstance(penalty, GroupLasso) else {}),
    }


def _constraint_entry(constraint: Constraint) -> dict[str, str | float]:
    limit = {"limit": constraint.limit} if isinstance(constraint, MaxNorm) else {}
    return {"type": constraint_type(constraint), **limit}


_STRUCTURED = {
    "group_lasso": ("Σ_g √|g| ‖w_g‖₂", "√|g| w_g / ‖w_g‖₂"),
    "orthogonal": ("Σ_{i≠j} cos²(w_i, w_j)", "by autograd"),
    "spectral": ("½ Σ_W σ_max(W)²", "σ_max u vᵀ"),
}
"""Penalty `type` → its value and gradient at strength 1, in symbols; plug-ins bring a formula."""

_GROUPS = {
    "in": "the weights into a neuron, or a filter",
    "out": "the weights out of a neuron or channel",
    "filter": "a filter",
}


def _penalty_line(name: str, penalty: Penalty) -> str:
    kind, strength = penalty_type(penalty), f"{penalty.strength:g}"
    if kind in ENTRYWISE or kind in ACTIVITY:
        a, q = coefficients(penalty)
        w = "h" if kind in ACTIVITY else "w"
        value = [f"{a:g} Σ|{w}|"] * (a > 0) + [f"{q:g} Σ{w}²"] * (q > 0)
        gradient = [f"{a:g} sign({w})"] * (a > 0) + [f"{2 * q:g} {w}"] * (q > 0)
    else:
        symbol, slope = _STRUCTURED.get(kind, ("", "by autograd"))
        shown = f"{strength} {symbol}" if symbol else f"{penalty.formula},  λ = {strength}"
        value = [shown] * (penalty.strength > 0)
        gradient = [slope if slope == "by autograd" else f"{strength} {slope}"] * bool(value)
    slopes = " + ".join(gradient) or "0"
    how = "by a proximal step" if is_proximal(penalty) else f"gradient {slopes}"
    return f"{name} = {' + '.join(value) or '0'}   ({kind} on {_place(penalty)}, {how})"


def _place(penalty: Penalty) -> str:
    if isinstance(penalty, ActivityPenalty):
        return "hidden activations h, summed over units, mean over the batch"
    chosen = _listed(penalty.apply_to) if isinstance(penalty, WeightPenalty) else ""
    if isinstance(penalty, GroupLasso):
        return f"{chosen}, g: {_GROUPS[penalty.groups]}"
    return chosen


def _proximal_lines(penalties: Sequence[Penalty], names: Sequence[str]) -> Iterator[str]:
    """What follows the optimizer's step: thresholds, then groups, then divisions."""
    later = [(p, n) for p, n in zip(penalties, names, strict=True) if is_proximal(p) and p.strength]
    sums = [(*coefficients(p), n) for p, n in later if penalty_type(p) in ENTRYWISE]
    for a, _, name in sums:
        if a:
            yield f"w ← sign(w) · max(0, |w| − η_t {a:g})   (proximal step of {name})"
    for penalty, name in later:
        if isinstance(penalty, GroupLasso):
            factor = f"max(0, 1 − η_t {penalty.strength:g} √|g| / ‖w_g‖₂)"
            yield f"w_g ← w_g · {factor}   (proximal step of {name})"
    for _, q, name in sums:
        if q:
            yield f"w ← w / (1 + η_t {2 * q:g})   (proximal step of {name})"


def _constraint_line(constraint: Constraint) -> str:
    where = f"{constraint_type(constraint)} on {_listed(constraint.apply_to)}"
    if isinstance(constraint, MaxNorm):
        return f"{constraint.formula},  c = {constraint.limit:g}   ({where}, per neuron)"
    return f"{constraint.formula}   ({where})"
