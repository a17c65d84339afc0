"""Pairs of penalty, optimizer and model that have no meaning, refused by what each declares."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from regrun.config.schema import Config
from regrun.errors import KeyPath, Problem
from regrun.kinds.base import Section
from regrun.kinds.optimizers.base import Optimizer
from regrun.kinds.penalties import ActivityPenalty, GroupLasso, Penalty
from regrun.kinds.registry import KINDS


def undefined_pairs(config: Config) -> Iterator[Problem]:
    """What the sections of a valid config ask of each other and cannot have."""
    for index, penalty in enumerate(config.penalty):
        yield from _method(config.optimizer, penalty, ("penalty", index, "method"))
        yield from _model(config, penalty, ("penalty", index))


def kind_of(section: Penalty | Optimizer) -> str:
    """The section's `type` or `name`, which every subclass declares as a literal of its own."""
    key = "type" if isinstance(section, Penalty) else "name"
    return str(getattr(section, key))


def _method(optimizer: Optimizer, penalty: Penalty, where: KeyPath) -> Iterator[Problem]:
    proximal = penalty.method == "proximal"
    if proximal and "proximal" not in penalty.methods:
        yield Problem(where, f"proximal: {kind_of(penalty)} has no proximal step; use gradient")
        return
    if proximal and not optimizer.proximal:
        able = [_name(kind) for kind in KINDS["optimizers"] if getattr(kind, "proximal", False)]
        yield Problem(
            where,
            f"proximal needs optimizer {' or '.join(able)}; with {kind_of(optimizer)} use gradient",
        )
    else:
        yield from (Problem(where, why) for why in optimizer.method_conflicts(penalty))


def _name(kind: type[Section]) -> str:
    return str(get_args(kind.model_fields["name"].annotation)[0])


def _model(config: Config, penalty: Penalty, where: KeyPath) -> Iterator[Problem]:
    model = config.model
    if isinstance(penalty, ActivityPenalty):
        why = model.no_hidden_activations
        if why:
            yield Problem(
                (*where, "type"),
                f"{kind_of(penalty)} needs hidden activations; {model.kind} {why}",
            )
    if isinstance(penalty, GroupLasso) and penalty.groups == "out" and model.grouped_convolutions:
        yield Problem(
            (*where, "groups"),
            f"out: where convolutions are grouped, weights do not tell what they come from; "
            f"with {model.kind} use in",
        )
