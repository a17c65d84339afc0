"""Pairs of penalty, optimizer and model that have no meaning, refused by what each declares."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from regrun.config.schema import Config
from regrun.errors import Path, Problem
from regrun.kinds.augmentation import Augment
from regrun.kinds.base import Section
from regrun.kinds.optimizers import SGD, Fista, Optimizer
from regrun.kinds.penalties import L2, ActivityPenalty, GroupLasso, Penalty
from regrun.kinds.registry import KINDS


def undefined_pairs(config: Config) -> Iterator[Problem]:
    """What the sections of a valid config ask of each other and cannot have."""
    for index, penalty in enumerate(config.penalty):
        yield from _method(config.optimizer, penalty, ("penalty", index, "method"))
        yield from _model(config, penalty, ("penalty", index))
    if isinstance(config.optimizer, Fista):
        yield from _fista(config, config.optimizer)


def kind_of(section: Penalty | Optimizer) -> str:
    """The section's `type` or `name`, which every subclass declares as a literal of its own."""
    key = "type" if isinstance(section, Penalty) else "name"
    return str(getattr(section, key))


def _method(optimizer: Optimizer, penalty: Penalty, where: Path) -> Iterator[Problem]:
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
    elif proximal and isinstance(optimizer, SGD) and optimizer.momentum > 0:
        for key in ("nesterov", "dampening"):
            if getattr(optimizer, key):
                yield Problem(
                    where,
                    f"proximal with {key} would not end at the minimum; "
                    "use momentum alone, or optimizer fista",
                )
    elif not proximal and "proximal" in penalty.methods and isinstance(optimizer, Fista):
        yield Problem(
            where,
            f"gradient: fista needs one everywhere, and {kind_of(penalty)} has none at 0; "
            "use proximal",
        )


def _name(kind: type[Section]) -> str:
    return str(get_args(kind.model_fields["name"].annotation)[0])


def _model(config: Config, penalty: Penalty, where: Path) -> Iterator[Problem]:
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


def _fista(config: Config, optimizer: Fista) -> Iterator[Problem]:
    size = config.training.batch_size
    if size != "full":
        yield Problem(
            ("training", "batch_size"),
            f"{size}: fista needs full; its momentum must not carry the noise of batches",
        )
    if optimizer.lr is None:
        for why in _unknown_curvature(config, optimizer):
            yield Problem(("optimizer", "lr"), f"missing: fista only knows 1/L {why}; give an lr")
            break


def _unknown_curvature(config: Config, optimizer: Fista) -> Iterator[str]:
    """For what else than this config the largest curvature L is known."""
    model, training, augment = config.model, config.training, config.augment
    if not model.is_linear:
        yield f"for linear models, not for {model.kind}"
        return
    smoothed = augment.model_copy(update={"label_smoothing": 0.0})
    if model.symbols() or smoothed != Augment():
        yield "without noise in the inputs"
    if optimizer.sam or training.clip_value or training.clip_norm:
        yield "of the plain gradient, without sam and clipping"
    if optimizer.weight_decay and optimizer.resolved_decay == "decoupled_schedule":
        yield "of an objective, which decoupled_schedule does not belong to"
    for penalty in config.penalty:
        if "proximal" not in penalty.methods and not isinstance(penalty, L2):
            yield f"of proximal penalties and l2, not of {kind_of(penalty)}"
