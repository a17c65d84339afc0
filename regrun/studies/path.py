"""The regularization path of a linear model: every strength and fold a member of one stack.

The strengths fall from the smallest at which all penalised weights are zero, which follows from the
data (Friedman, Hastie & Tibshirani 2010, §2.5), by equal ratios. The strength is then chosen by
k-fold cross-validation: the one of lowest mean loss, and the largest within one standard error of
it (Hastie, Tibshirani & Friedman 2009, §7.10).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from regrun.analysis.path import path_csv, path_pictures
from regrun.config.dump import dump_config
from regrun.config.load import Loaded
from regrun.config.schema import Config
from regrun.data.dataset import Dataset
from regrun.errors import ConfigError
from regrun.execution.budget import available_bytes
from regrun.execution.observer import Observer
from regrun.execution.prepare import load_data, notes_on, resolve_device, with_notes
from regrun.kinds.base import Section, names_of
from regrun.kinds.models import build_model
from regrun.kinds.penalties import EntrywisePenalty
from regrun.kinds.registry import KINDS
from regrun.nn.roles import roles_of, select
from regrun.results import BestStrength, DataCard, PathResult, json_document
from regrun.seeding import derive
from regrun.store.atomic import write_atomic
from regrun.store.run_dir import claim_run_dir, experiment_dir
from regrun.training.engine import Engine
from regrun.training.events import Evaluation, MemberEnd, Row
from regrun.training.losses import training_loss

MOST_EPOCHS = 20_000
"""Full-batch steps after which the solver gives up waiting for convergence."""

CHECK_EVERY = 20
"""Steps between looks at the members."""

TOLERANCE = 1e-11
"""Relative change between two looks that counts as none."""

WATCHED = ("objective", "weights/l1", "weights/l2")
"""What has to stand still. The norms move with the weights, the objective with their square."""

LEAVING = 8
"""Settled members leave when they are one in so many: shrinking the stack costs a few steps."""

NUMBERS_PER_OUTPUT = 8
"""What a step holds at once for each output of each example and member."""


@dataclass(frozen=True)
class RegularizationPath:
    """strengths: falling. weights: one (outputs, features) tensor per strength."""

    strengths: np.ndarray
    weights: list[Tensor]
    intercepts: list[Tensor]
    rows: list[Row]
    converged: bool


def path_config(loaded: Loaded) -> Config:
    """The config with what a path needs: a linear model from zero, FISTA, full batches, float64.

    Raises ConfigError when the model is not linear or no penalty makes exact zeros.
    """
    config = loaded.config
    if not config.model.is_linear:
        raise ConfigError.at(
            "model.name", f"{config.model.kind}: a regularization path needs the linear model"
        )
    if getattr(config.model, "input_dropout", 0.0):
        raise ConfigError.at("model.input_dropout", "a path has no noise; use 0")
    if len(config.penalty) != 1 or not _has_path(type(config.penalty[0])):
        able = [name for kind in KINDS["penalties"] if _has_path(kind) for name in names_of(kind)]
        raise ConfigError.at("penalty", f"a path needs one penalty, {' or '.join(able)}")
    if _l1_share(config) == 0:
        raise ConfigError.at("penalty.l1_ratio", "0: without an L1 part no weight is ever zero")
    return loaded.member(
        {
            "penalty.method": "proximal",
            "model.init": "zeros",
            "optimizer": {"name": "fista"},
            "schedule": "constant",
            "constraints": [],
            "training": {
                "epochs": MOST_EPOCHS,
                "batch_size": "full",
                "evaluate_every": CHECK_EVERY,
                "evaluate_train": "all",
                "precision": "float64",
            },
        }
    ).config


def largest_strength(config: Config, dataset: Dataset) -> float:
    """The smallest λ at which all penalised weights are zero.

    The largest entry of the data loss's gradient at zero weights, with the parameters that are not
    penalised at their optimum, divided by the L1 part of the penalty. Raises ConfigError when it
    is 0.
    """
    penalty = config.penalty[0]
    assert isinstance(penalty, EntrywisePenalty)  # see `path_config`
    module = build_model(config.model, dataset.input_shape, dataset.num_outputs, seed=0).double()
    chosen = select(penalty.apply_to, roles_of(module), "penalty.apply_to")
    targets = dataset.train.targets.cpu()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.zero_()
            if name not in chosen:
                parameter.copy_(_best_constant(targets, dataset))
    inputs = dataset.features(dataset.train.inputs, torch.float64).cpu()
    losses = training_loss(config, dataset)(module(inputs).unsqueeze(0), targets.unsqueeze(0))
    penalised = [p for name, p in module.named_parameters() if name in chosen]
    gradients = torch.autograd.grad(losses.mean(), penalised)
    steepest = max(float(gradient.abs().max()) for gradient in gradients)
    if not steepest:
        raise ConfigError.at("dataset", "no input goes with the targets: every weight stays zero")
    # A hair above, so that rounding leaves no weight at 1e-17.
    return steepest / _l1_share(config) * (1 + 1e-9)


def _has_path(kind: type[Section]) -> bool:
    """Whether a penalty is λ (a Σ|w| + q Σw²) and takes proximal steps."""
    return issubclass(kind, EntrywisePenalty) and "proximal" in kind.methods


def _l1_share(config: Config) -> float:
    """The a of the one penalty: its L1 part is λ a Σ|w|."""
    (penalty,) = config.penalty
    assert isinstance(penalty, EntrywisePenalty)  # see `path_config`
    return penalty.coefficients().absolute


def _best_constant(targets: Tensor, dataset: Dataset) -> Tensor:
    """The best outputs that do not look at the inputs: means, or log (weighted) frequencies."""
    if targets.is_floating_point():
        return targets.double().mean(0)
    weights = None if dataset.class_weights is None else dataset.class_weights.cpu()[targets]
    counts = torch.bincount(targets, weights, minlength=dataset.num_outputs).double()
    frequency = counts / counts.sum()
    return frequency.clamp(min=1e-12).log()


def solve(
    config: Config, dataset: Dataset, strengths: np.ndarray, parts: Tensor, device: torch.device
) -> list[RegularizationPath]:
    """A path for each part of the training examples, all strengths of all parts in one stack.

    parts: (P, N) bool, the examples to fit; on the others the rows have `held_out/loss`. There are
    more stacks only where one would not fit the device's memory.
    """
    penalty = config.penalty[0]
    each = [
        config.model_copy(
            update={"penalty": (penalty.model_copy(update={"strength": float(strength)}),)}
        )
        for strength in strengths
    ]
    configs = each * len(parts)
    kept = parts.repeat_interleave(len(each), dim=0)
    output_bytes = 8 * NUMBERS_PER_OUTPUT * len(dataset.train) * dataset.num_outputs
    most = max(1, available_bytes(device) // 2 // output_bytes)
    solved: list[tuple[MemberEnd, Row]] = []
    for start in range(0, len(configs), most):
        chunk = slice(start, start + most)
        solved += _solve_stack(Engine(configs[chunk], dataset, device, kept[chunk]))
    return [
        _path(strengths, solved[start : start + len(each)])
        for start in range(0, len(solved), len(each))
    ]


def _solve_stack(engine: Engine) -> list[tuple[MemberEnd, Row]]:
    """Train until every member stands still; each member's end and last measurements."""
    rows: dict[int, Row] = {}
    ends: dict[int, MemberEnd] = {}
    for event in engine.run():
        if isinstance(event, MemberEnd):
            ends[event.member] = event
        elif isinstance(event, Evaluation):
            still = [m for m, row in event.rows.items() if m in rows and _settled(rows[m], row)]
            rows |= event.rows
            if len(still) * LEAVING >= len(engine.live):
                ends |= {end.member: end for end in engine.prune(still)}
    if any(end.status == "diverged" for end in ends.values()):
        raise ConfigError.at("dataset", "a loss overflows: the numbers are too large; scale them")
    return [(ends[member], rows[member]) for member in sorted(ends)]


def _settled(before: Row, now: Row) -> bool:
    return all(abs(now[tag] - before[tag]) <= TOLERANCE * abs(now[tag]) for tag in WATCHED)


def _path(strengths: np.ndarray, solved: Sequence[tuple[MemberEnd, Row]]) -> RegularizationPath:
    weights = [end.weights or {} for end, _ in solved]
    return RegularizationPath(
        strengths,
        [each["output.weight"] for each in weights],
        [each["output.bias"] for each in weights],
        [row for _, row in solved],
        converged=all(end.status == "pruned" for end, _ in solved),
    )


def fold_parts(config: Config, count: int, folds: int) -> Tensor:
    """All training examples, then those outside of each fold: (1 + folds, count), bool.

    Raises ConfigError when there are fewer examples than folds.
    """
    if folds > count:
        raise ConfigError.at("dataset", f"{folds} folds of {count} training examples; use fewer")
    order = np.random.default_rng(derive(config.dataset.seed, "folds")).permutation(count)
    parts = torch.ones(1 + folds, count, dtype=torch.bool)
    for part, held in zip(parts[1:], np.array_split(order, folds), strict=True):
        part[torch.from_numpy(held)] = False
    return parts


def choose(strengths: np.ndarray, mean: np.ndarray, error: np.ndarray) -> BestStrength:
    """The strength of lowest mean loss, and the largest within one standard error of it."""
    best = int(mean.argmin())
    within = np.flatnonzero(mean <= mean[best] + error[best])
    return BestStrength(
        strength=float(strengths[best]), one_standard_error=float(strengths[within[0]])
    )


def summarize_path(
    directory: Path,
    path: RegularizationPath,
    losses: np.ndarray,
    feature_names: Sequence[str],
    card: DataCard,
) -> PathResult:
    """The result of a path and its cross-validation. losses: (folds, strengths), held out."""
    mean = losses.mean(0)
    error = losses.std(0, ddof=1) / np.sqrt(len(losses))
    tags = [tag for tag in path.rows[0] if tag.partition("/")[2] in ("loss", "accuracy")]
    return PathResult(
        path_dir=str(directory),
        strengths=path.strengths.tolist(),
        coefficients=[_plain(weight) for weight in path.weights],
        intercepts=[_plain(bias) for bias in path.intercepts],
        nonzeros=[int(weight.count_nonzero()) for weight in path.weights],
        feature_names=list(feature_names),
        metrics={
            **{tag: [row[tag] for row in path.rows] for tag in tags},
            "cv/loss": mean.tolist(),
            "cv/standard_error": error.tolist(),
        },
        best=choose(path.strengths, mean, error),
        converged=path.converged,
        data=card,
    )


def _plain(tensor: Tensor) -> Any:
    """Without the axis of outputs when there is one output."""
    return (tensor[0] if len(tensor) == 1 else tensor).tolist()


def run_path(
    loaded: Loaded,
    *,
    runs_dir: Path,
    number: int = 100,
    ratio: float = 1e-3,
    folds: int = 5,
    device: str = "auto",
    observer: Observer | None = None,
) -> PathResult:
    """Work out a path and store it in a directory of its own.

    Raises ConfigError (located), StorageError.
    """
    watcher = observer or Observer()
    chosen = resolve_device(device)
    with loaded.source.locating():
        config = path_config(loaded)
        dataset = load_data(config, chosen, progress=watcher.on_message)
        notes = notes_on(config, dataset)
        for note in notes:
            watcher.on_message(f"note: {note}")
        largest = largest_strength(config, dataset)
        strengths = np.geomspace(largest, largest * ratio, number)
        parts = fold_parts(config, len(dataset.train), folds)
        path, *on_folds = solve(config, dataset, strengths, parts, chosen)
    losses = np.asarray([[row["held_out/loss"] for row in fold.rows] for fold in on_folds])
    if not all(each.converged for each in (path, *on_folds)):
        watcher.on_message(f"not every strength converged within {MOST_EPOCHS:,} steps")
    directory = claim_run_dir(experiment_dir(runs_dir, config.name), "path")
    names = dataset.feature_names or [f"x{index}" for index in range(prod(dataset.input_shape))]
    result = summarize_path(directory, path, losses, names, with_notes(dataset.card, notes))
    write_atomic(directory / "path.yaml", dump_config(config, directory, loaded.source.projects))
    write_atomic(directory / "path.csv", path_csv(result))
    for kind, picture in path_pictures(result).items():
        write_atomic(directory / f"path.{kind}", picture)
    write_atomic(directory / "summary.json", json_document(result))
    return result
