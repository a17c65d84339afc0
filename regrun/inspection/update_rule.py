"""One training step in symbols. Each section writes its own part, in the order of the step."""

from __future__ import annotations

from operator import itemgetter

from regrun.config.schema import Config
from regrun.config.training import WeightAveraging
from regrun.kinds.base import listed
from regrun.kinds.optimizers.base import Optimizer


def update_rule(config: Config, *, drawn: bool = False) -> list[str]:
    """Return a line per assignment, with the config's numbers; `optimizer.lr` is not None.

    drawn: whether a training loss depends on more than the weights; see `follows_from_weights`.
    """
    optimizer = config.optimizer
    names = [f"P{i}" if len(config.penalty) > 1 else "P" for i in range(1, len(config.penalty) + 1)]
    penalties = dict(zip(names, config.penalty, strict=True))
    weighted = config.dataset.class_weights != "none"
    proximal = {name: penalty for name, penalty in penalties.items() if penalty.proximal}
    lines = [
        *config.augment.symbols_before_loss(),
        *config.model.symbols(),
        *_target(config),
        f"L = {config.loss.symbols(weighted=weighted)}   ({config.loss.kind})",
        *config.augment.symbols_in_loss(weighted=weighted),
        *([] if config.training.r_drop is None else [config.training.r_drop.symbols()]),
        " + ".join(["J = L", *names]),
        *(penalty.symbols(name) for name, penalty in penalties.items()),
        *_objective(optimizer, drawn),
        f"g = ∂({' − '.join(['J', *proximal])})/∂w" if proximal else "g = ∂J/∂w",
        *_gradient(config),
        *_decay(optimizer, coupled=True),
        f"η_t = {optimizer.lr:g} · s_t,  s_t = {config.schedule.symbols()}",
        *_swa_rate(config),
        *_decay(optimizer, coupled=False),
        *optimizer.symbols(),
    ]
    if proximal:
        steps = [step for name, each in proximal.items() for step in each.proximal_symbols(name)]
        lines += [line for _, line in sorted(steps, key=itemgetter(0))]
        lines += optimizer.proximal_symbols()
    if optimizer.lookahead is not None:
        lines.append(optimizer.lookahead.symbols())
    lines += [constraint.symbols() for constraint in config.constraints]
    return lines + _averages(config)


def _target(config: Config) -> list[str]:
    """What standardizes the targets, if the config alone says so; a note says so otherwise."""
    if config.dataset.standardize_target is not True:
        return []
    return ["y ← (y − mean) / std of the training targets   (losses are reported without it)"]


def _objective(optimizer: Optimizer, drawn: bool) -> list[str]:
    """The metric `objective`, where it is not simply J at the weights of the evaluation."""
    decay, coupled = optimizer.weight_decay, optimizer.resolved_decay == "coupled"
    if not (decay or drawn):
        return []
    remarks = ["logged"]
    if decay:
        on = listed(optimizer.decay_on)
        remarks.append(f"Σ over {on}" if coupled else "weight decay is no term of it")
    if drawn:
        remarks.append("L: mean over the batches since the last evaluation")
    term = f" + {decay / 2:g} Σw²" if decay and coupled else ""
    return [f"objective = J{term}   ({'; '.join(remarks)})"]


def _gradient(config: Config) -> list[str]:
    """SAM and clipping, which come before weight decay."""
    training, rho = config.training, config.optimizer.sam
    lines = []
    if rho:
        lines.append(f"g ← g at w + {rho:g} g / ‖g‖₂   (SAM; ‖·‖₂ over all parameters)")
    if training.clip_value is not None:
        lines.append(f"g ← min(max(g, −{training.clip_value:g}), {training.clip_value:g})")
    if training.clip_norm is not None:
        lines.append(f"g ← g · min(1, {training.clip_norm:g} / ‖g‖₂)   (‖·‖₂ over all parameters)")
    return lines


def _decay(optimizer: Optimizer, coupled: bool) -> list[str]:
    """Weight decay, if it is coupled or if it is not."""
    decay, kind = optimizer.weight_decay, optimizer.resolved_decay
    if not decay or coupled != (kind == "coupled"):
        return []
    factor = "η_t" if kind == "decoupled" else "s_t"
    step = f"g ← g + {decay:g} w" if coupled else f"w ← w − {factor} · {decay:g} w"
    return [f"{step}   (weight decay, {kind}, on {listed(optimizer.decay_on)})"]


def _swa_rate(config: Config) -> list[str]:
    """SWA's own learning rate."""
    swa = config.training.swa
    if swa is None or swa.lr is None:
        return []
    return [f"η_t = {swa.lr:g} after epoch {swa.first_epoch(config.training.epochs)}   (SWA)"]


def _averages(config: Config) -> list[str]:
    """The averages of the weights, taken after everything that changes the weights."""
    beta, swa = config.training.ema, config.training.swa
    lines = []
    if beta:
        lines.append(
            f"m ← {beta:g} m + {1 - beta:g} w;  m / (1 − {beta:g}ᵗ) is measured next to w   (EMA)"
        )
    if swa is not None:
        epochs = _epochs(swa, config.training.epochs)
        lines.append(f"the mean of w after epochs {epochs} is measured next to w   (SWA)")
    return lines


def _epochs(swa: WeightAveraging, epochs: int) -> str:
    points = range(swa.first_epoch(epochs), epochs + 1, swa.every)
    if len(points) <= 4:
        return ", ".join(map(str, points))
    return f"{points[0]}, {points[1]}, …, {points[-1]}"
