"""The regularization path of a linear model: every strength and fold a member of one stack.

The strengths fall from the smallest at which all penalised weights are zero, which follows from the
data (Friedman, Hastie & Tibshirani 2010, §2.5), by equal ratios. The strength is then chosen by
k-fold cross-validation: the one of lowest mean loss, and the largest within one standard error of
it (Hastie, Tibshirani & Friedman 2009, §7.10), both as glmnet computes them. The inputs are
standardized within each fold, by the examples that are trained on, so that those held out have no
part in it.
"""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.functional import hessian

from regrun.analysis.path import path_csv
from regrun.config.changes import PLACES, Reload, asking_for_data, changed_keys
from regrun.config.defaults import without_defaults
from regrun.config.dump import dump_config
from regrun.config.limits import check_count
from regrun.config.load import Loaded, load_config
from regrun.config.schema import Config
from regrun.data.assemble import moments
from regrun.data.dataset import Dataset
from regrun.devices import Devices
from regrun.errors import (
    ConfigError,
    CorruptInputError,
    DataTooLargeError,
    Interrupted,
    OutOfMemoryError,
    UsageError,
)
from regrun.execution.budget import available_bytes, estimate
from regrun.execution.computing import check_threads, computing, notes_on_threads, on_device
from regrun.execution.interrupt import Interrupt, catching_signals
from regrun.execution.observer import Observer, Start
from regrun.execution.prepare import (
    check_unchanged,
    load_data,
    notes_on,
    resolve_device,
    with_notes,
)
from regrun.execution.summary import versions
from regrun.kinds.base import Section, names_of
from regrun.kinds.penalties import EntrywisePenalty
from regrun.kinds.registry import KINDS
from regrun.memory import advising, giving_back
from regrun.nn.roles import roles_of, select
from regrun.pictures.files import picture_files
from regrun.pictures.registry import PICTURES
from regrun.pictures.subject import Subject
from regrun.results import BestStrength, DataCard, PathResult, StudySummary, json_document
from regrun.seeding import derive
from regrun.store.atomic import make_directory, remove_stale_temporaries, write_atomic
from regrun.store.checksums import sealed_document, sealed_yaml, text_of
from regrun.store.lock import exclusive
from regrun.store.place import as_folder
from regrun.store.reading import load_result, read_document
from regrun.store.run_dir import claim_run_dir, experiment_dir, given_back_if_empty
from regrun.store.study import PATH_CONFIG, PathStudy, write_study
from regrun.studies.path_newton import Newton, minimized_loss
from regrun.studies.path_stacks import (
    CHECK_EVERY,
    HELD_OUT,
    TOO_LARGE,
    Solution,
    StackSolver,
    Stopped,
    StoredStackSolver,
)
from regrun.training.batches import InputScales
from regrun.training.engine import Engine
from regrun.training.events import Row
from regrun.training.losses import PerExampleLoss
from regrun.training.network import build_network

MOST_EPOCHS = 20_000
"""Full-batch steps after which the solver gives up waiting for convergence."""

NUMBERS_PER_OUTPUT = 8
"""What a step holds at once for each output of a member, of each example and of each feature."""


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
    for key in ("input_noise", "input_dropout"):
        if getattr(config.model, key, 0.0):
            raise ConfigError.at(f"model.{key}", "a path has no noise; use 0")
    for kind, level in config.augment.active():
        if not kind.in_loss:
            raise ConfigError.at(
                f"augment.{kind.key}", f"{level:g}: a path has no noise in its inputs; use 0"
            )
    if len(config.penalty) != 1 or not _has_path(type(config.penalty[0])):
        able = [name for kind in KINDS["penalties"] if _has_path(kind) for name in names_of(kind)]
        raise ConfigError.at("penalty", f"a path needs one penalty, {' or '.join(able)}")
    if config.penalty[0].input_key:
        key = config.penalty[0].input_key
        raise ConfigError.at(
            f"penalty.{key}", "a path has one strength for all inputs; leave it out"
        )
    if _l1_share(config) == 0:
        raise ConfigError.at("penalty.l1_ratio", "0: without an L1 part no weight is ever zero")
    for key, value, instead in (
        ("optimizer.weight_decay", config.optimizer.weight_decay, "use elastic_net, or 0"),
        ("optimizer.sam", config.optimizer.sam, "use 0"),
        ("constraints", config.constraints, "leave them out"),
        ("training.r_drop", config.training.r_drop, "leave it out"),
    ):
        if value:
            shown = f"{value:g}: " if isinstance(value, float) else ""
            raise ConfigError.at(
                key, f"{shown}a path minimizes the loss and the one penalty alone; {instead}"
            )
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
                "checkpoint_every": config.training.checkpoint_every,
            },
        }
    ).config


EXPECTED = frozenset(
    ("name", "lr", "epochs", "batch_size", "evaluate_every", "evaluate_train", "precision")
)
"""Keys of `optimizer` and `training` that every config has: nobody expects a path to use them."""


def unused_keys(config: Config, path: Config) -> list[str]:
    """The keys that a config sets and `path_config` replaced, but for the expected ones."""
    written = without_defaults(config.model_dump(mode="json"))
    found = ["schedule"] if config.schedule != path.schedule else []
    for section in ("optimizer", "training"):
        before, now = getattr(config, section), getattr(path, section)
        found += [
            f"{section}.{key}"
            for key in written.get(section, ())
            if key not in EXPECTED and getattr(before, key) != getattr(now, key, None)
        ]
    return found


def unused_notes(config: Config, path: Config) -> list[str]:
    """That some keys of a config have no effect on its path; none where all have."""
    unused = unused_keys(config, path)
    does = "does" if len(unused) == 1 else "do"
    named = f"{', '.join(unused)} {does} nothing here: a path solves each strength exactly"
    return [named] if unused else []


def largest_strength(config: Config, dataset: Dataset) -> float:
    """The smallest λ at which all penalised weights are zero.

    The largest entry of the data loss's gradient at zero weights, with the parameters that are not
    penalised at their optimum, divided by the L1 part of the penalty. Raises ConfigError when it
    is 0, and for weights that are not penalised.
    """
    penalty = config.penalty[0]
    assert isinstance(penalty, EntrywisePenalty)  # see `path_config`
    data = dataset.to("cpu", torch.float64)
    module = build_network(config, data, seed=0).double()
    roles = roles_of(module)
    chosen = select(penalty.apply_to, roles, "penalty.apply_to")
    if any(role == "weight" and name not in chosen for name, role in roles.items()):
        raise ConfigError.at("penalty.apply_to", "a path needs the penalty on all weights")
    per_example = minimized_loss(config, data)
    for name, parameter in module.named_parameters():
        parameter.data.zero_()
        if name not in chosen:  # with zero weights, the bias is the outputs
            best = best_constant(per_example, data.train.targets, len(parameter))
            parameter.data.copy_(best)
    outputs = module(data.features(data.train.inputs, torch.float64))
    losses = per_example(outputs.unsqueeze(0), data.train.targets.unsqueeze(0))
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


def best_constant(per_example: PerExampleLoss, targets: Tensor, outputs: int) -> Tensor:
    """The outputs of lowest mean loss that do not look at the inputs, (outputs,) float64.

    By Newton's method in a trust region, as some losses are flat in places, or in a direction.
    Raises ConfigError when they are too large to be squared.
    """
    from scipy.optimize import minimize

    def mean_loss(constant: Tensor) -> Tensor:
        return per_example(constant.expand(1, len(targets), -1), targets.unsqueeze(0)).mean()

    def gradient(at: np.ndarray) -> np.ndarray:
        constant = torch.from_numpy(at).requires_grad_()
        found: np.ndarray = torch.autograd.grad(mean_loss(constant), constant)[0].numpy()
        return found

    def curvature(at: np.ndarray) -> np.ndarray:
        second = hessian(mean_loss, torch.from_numpy(at))  # type: ignore[no-untyped-call]
        found: np.ndarray = second.numpy()
        return found

    start = torch.zeros(outputs, dtype=torch.float64)
    if targets.is_floating_point():
        start = targets.double().mean(0)
    if not mean_loss(start).isfinite():
        raise ConfigError.at("dataset", TOO_LARGE)
    found = minimize(
        lambda at: float(mean_loss(torch.from_numpy(at))),
        start.numpy(),
        jac=gradient,
        hess=curvature,
        method="trust-exact",
        options={"gtol": 1e-6 * np.abs(gradient(start.numpy() + 1)).max()},
    ).x
    # Losses are compared up to their rounding, gradients are not.
    for _ in range(4):
        found = found - np.linalg.pinv(curvature(found), hermitian=True) @ gradient(found)
    return torch.from_numpy(found)


def solve(
    config: Config,
    dataset: Dataset,
    strengths: np.ndarray,
    parts: Tensor,
    device: torch.device,
    *,
    stack_size: int | None = None,
    solver: StackSolver | None = None,
) -> list[RegularizationPath]:
    """A path for each part of the training examples, all strengths of all parts in one stack.

    parts: (P, N) bool, the examples to fit; on the others the rows have `held_out/loss`. Where the
    dataset standardizes its inputs, the examples of each part do. stack_size: default: as many as
    fit the device's memory. solver: of each stack.
    """
    solver = solver or StackSolver()
    penalty = config.penalty[0]
    each = [
        config.model_copy(
            update={"penalty": (penalty.model_copy(update={"strength": float(strength)}),)}
        )
        for strength in strengths
    ]
    configs = each * len(parts)
    which = torch.arange(len(parts)).repeat_interleave(len(each))
    scales = None if dataset.input_scale is None else input_scales(dataset, parts)
    newton = Newton(config, dataset, parts, scales)
    members = [(part, float(strength)) for part in range(len(parts)) for strength in strengths]
    most = stack_size or largest_stack(dataset, device)
    solved: list[Solution] = []
    for number, start in enumerate(range(0, len(configs), most)):
        chunk = slice(start, start + most)
        own = None if scales is None else InputScales(*(each[which[chunk]] for each in scales))
        engine = Engine(configs[chunk], dataset, device, parts[which[chunk]], own)
        solved += solver.solve(number, engine, configs[chunk], newton, members[chunk])
    return [
        _path(strengths, solved[part * len(each) :][: len(each)], newton, part)
        for part in range(len(parts))
    ]


def largest_stack(dataset: Dataset, device: torch.device) -> int:
    """How many members fit the device's memory."""
    features = prod(dataset.input_shape)
    output_bytes = 8 * NUMBERS_PER_OUTPUT * (len(dataset.train) + features) * dataset.num_outputs
    return max(1, available_bytes(device) // 2 // output_bytes)


def input_scales(dataset: Dataset, parts: Tensor) -> InputScales:
    """What standardizes the inputs by the examples of each part, as loading does by all of them."""
    means, stds = [], []
    for part in parts:
        inputs = dataset.train.take(part.nonzero().flatten()).inputs
        mean, std = moments(dataset.features(inputs, torch.float64).double().cpu())
        means.append(mean.expand(dataset.input_shape).flatten())
        stds.append(std.expand(dataset.input_shape).flatten())
    return InputScales(torch.stack(means), torch.stack(stds))


def _path(
    strengths: np.ndarray, solved: Sequence[Solution], newton: Newton, part: int
) -> RegularizationPath:
    weights = [end.weights or {} for end, _ in solved]
    return RegularizationPath(
        strengths,
        [each["output.weight"] for each in weights],
        [each["output.bias"] for each in weights],
        [row for _, row in solved],
        converged=all(
            end.status == "pruned" and newton.is_minimum(part, float(strength), end.weights or {})
            for strength, (end, _) in zip(strengths, solved, strict=True)
        ),
    )


def fold_parts(config: Config, dataset: Dataset, folds: int) -> Tensor:
    """All N training examples, then those outside of each fold: (1 + folds, N), bool.

    Each class is spread over the folds evenly. Raises ConfigError when there are fewer examples
    than folds, or fewer of every class, and for a class with a single example.
    """
    from sklearn.model_selection import KFold, StratifiedKFold

    targets = dataset.train.targets.cpu()
    count = len(targets)
    if folds > count:
        raise ConfigError.at("dataset", f"{folds} folds of {count} training examples; use fewer")
    by_class = dataset.task == "classification"
    if by_class:
        _check_classes(targets, dataset.class_names, folds)
    draw = StratifiedKFold if by_class else KFold
    splitter = draw(folds, shuffle=True, random_state=derive(config.dataset.seed, "folds") % 2**32)
    parts = torch.ones(1 + folds, count, dtype=torch.bool)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of rare classes, see `fold_notes`
        held_out = [held for _, held in splitter.split(targets, targets if by_class else None)]
    for part, held in zip(parts[1:], held_out, strict=True):
        part[torch.from_numpy(held)] = False
    return parts


def _check_classes(targets: Tensor, names: Sequence[str], folds: int) -> None:
    counts = torch.bincount(targets)
    most = int(counts.max())
    if most < folds:
        raise ConfigError.at(
            "dataset", f"{folds} folds, but no class has more than {most} examples; use fewer"
        )
    if (counts == 1).any():
        name = names[int((counts == 1).nonzero()[0])]
        raise ConfigError.at(
            "dataset", f"class {name!r} has 1 training example; cross-validation needs 2 of each"
        )


def fold_notes(config: Config, dataset: Dataset, folds: int) -> list[str]:
    """What a user should know about how the folds are drawn."""
    notes = [
        f"the folds of the cross-validation are drawn without regard to dataset.{key}"
        for key in ("group", "time")
        if getattr(config.dataset, key, None) is not None
    ]
    if dataset.task == "classification":
        counts = torch.bincount(dataset.train.targets.cpu()).tolist()
        notes += [
            f"class {name!r} has {count} training examples, fewer than the {folds} folds: some "
            "folds hold out none of it"
            for name, count in zip(dataset.class_names, counts, strict=False)
            if 0 < count < folds
        ]
    return notes


def cross_validated(losses: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean loss at each strength and its standard error, as glmnet's `cvm` and `cvsd`.

    Folds weigh by their sizes, so that the mean is that over all examples.
    """
    mean = np.average(losses, axis=0, weights=sizes)
    variance = np.average((losses - mean) ** 2, axis=0, weights=sizes)
    return mean, np.sqrt(variance / (len(losses) - 1))


def choose(strengths: np.ndarray, mean: np.ndarray, error: np.ndarray) -> BestStrength:
    """The strength of lowest mean loss, and the largest within one standard error of it."""
    best = int(mean.argmin())
    within = np.flatnonzero(mean <= mean[best] + error[best])
    return BestStrength(
        strength=float(strengths[best]), one_standard_error=float(strengths[within[0]])
    )


def end_notes(strengths: np.ndarray, mean: np.ndarray) -> list[str]:
    """A note where the lowest mean loss is at an end of the strengths."""
    best = int(mean.argmin())
    if best == len(strengths) - 1:
        ratio = float(strengths[-1] / strengths[0])
        return [
            f"the cv loss is lowest at the smallest strength, {strengths[-1]:.4g}: it may be lower "
            f"still below; go further down with --ratio {ratio / 100:.3g}"
        ]
    if best == 0:
        return ["the cv loss is lowest at the largest strength, where all weights are zero"]
    return []


def summarize_path(
    directory: Path,
    path: RegularizationPath,
    losses: np.ndarray,
    sizes: np.ndarray,
    feature_names: Sequence[str],
    card: DataCard,
) -> PathResult:
    """The result of a path and its cross-validation.

    losses: (folds, strengths), mean loss of the examples held out. sizes: (folds,), how many.
    """
    mean, error = cross_validated(losses, sizes)
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
        notes=end_notes(path.strengths, mean),
        converged=path.converged,
        data=card,
        versions=versions(),
    )


def _plain(tensor: Tensor) -> Any:
    """Without the axis of outputs when there is one output."""
    return (tensor[0] if len(tensor) == 1 else tensor).tolist()


class PathDir:
    """Where things lie in the directory of one regularization path."""

    def __init__(self, directory: Path) -> None:
        self.place = as_folder(directory)
        self.config = self.place / PATH_CONFIG
        """The resolved config, which `path_config` gives."""
        self.table = self.place / "path.csv"
        self.summary = self.place / "summary.json"
        """What `--json` prints; written last."""
        self.stacks = self.place / "stacks"
        """The checkpoints of all stacks, a folder each; removed at the end."""

    @property
    def path(self) -> Path:
        """The directory."""
        return self.place.path


def run_path(
    loaded: Loaded,
    *,
    runs_dir: Path,
    number: int = 100,
    ratio: float = 1e-3,
    folds: int = 5,
    device: str = "auto",
    threads: int | None = None,
    observer: Observer | None = None,
    allow_large: bool = False,
    directory: Path | None = None,
) -> PathResult:
    """Work out a path and store it in a directory of its own.

    directory: which one; default: a new one in ``runs_dir``. Raises UsageError for too many
    strengths and folds, ConfigError (located, before anything is written), StorageError,
    Interrupted.
    """
    check_count(
        number * (1 + folds),
        f"--number {number} --folds {folds}: {number * (1 + folds):,} models to fit",
        "use fewer strengths or folds",
        allow_large=allow_large,
    )
    check_threads(threads)
    watcher = observer or Observer()
    problem = _Problem.prepare(
        loaded, number, ratio, folds, device, watcher, allow_large=allow_large
    )
    for note in unused_notes(loaded.config, problem.config):
        watcher.on_message(f"note: {note}")
    study = PathStudy(
        verb="path",
        number=number,
        ratio=ratio,
        folds=folds,
        device=Devices.named(device).as_found(problem.device.type),
        stack_size=largest_stack(problem.dataset, problem.device),
        data=problem.dataset.fingerprint(),
        threads=threads,
    )
    parent = experiment_dir(runs_dir, loaded.config.name)
    with catching_signals() as interrupt:
        files = PathDir(directory or claim_run_dir(parent, "path"))
        make_directory(files.path)
        with given_back_if_empty(files.path), exclusive(files.path):
            write_study(files.path, study)
            projects = loaded.source.projects
            text = dump_config(problem.config, files.path, projects)
            write_atomic(files.config, sealed_yaml(text))
            return _work_out(problem, study, files, watcher, interrupt)


def resume_path(
    directory: Path,
    study: PathStudy,
    *,
    reload: Reload | None = None,
    device: str | None = None,
    threads: int | None = None,
    observer: Observer | None = None,
) -> PathResult:
    """Carry on an interrupted path; of a finished one the stored result is returned.

    reload: loads the config with new places of its data. device, threads: default: those it was on.
    Raises UsageError when another process is at it or it was stopped before it began, and what
    `run_path` raises.
    """
    check_threads(threads)
    if device is not None:
        resolve_device(device)
    asked = study.model_copy(update={"threads": threads or study.threads})
    watcher = observer or Observer()
    files = PathDir(directory)
    if not files.config.is_file():
        raise UsageError(f"{directory}: stopped before it began; start it again: regrun path …")
    with catching_signals() as interrupt, exclusive(directory):
        remove_stale_temporaries(directory)
        done = load_result(files.summary, PathResult)
        document = read_document(files.config, sealed=True)
        loaded = (reload or load_config)(document)
        changed = changed_keys(load_config(document).config, loaded.config)
        for key in changed:
            if key not in PLACES:
                raise loaded.source.locate(
                    ConfigError.at(key, "cannot change in a path that has begun; start a new one")
                )
        if done is None or changed:
            with asking_for_data(loaded, directory):
                problem = _Problem.prepare(
                    loaded,
                    study.number,
                    study.ratio,
                    study.folds,
                    device or study.device,
                    watcher,
                    allow_large=True,  # it was allowed, or fits
                )
            check_unchanged(problem.config.dataset, study.data, problem.dataset.fingerprint())
        if changed:
            text = dump_config(problem.config, directory, loaded.source.projects)
            write_atomic(files.config, sealed_yaml(text))
        if done is None:
            if asked != study:
                write_study(directory, asked)
            return _work_out(problem, asked, files, watcher, interrupt)
        files.stacks.remove_tree()
        watcher.on_message(f"{directory} had finished before; nothing to do")
        return done.model_copy(update={"path_dir": str(directory)})


@dataclass(frozen=True)
class _Problem:
    """What is to be solved. parts: all training examples, then those outside of each fold."""

    config: Config
    dataset: Dataset
    device: torch.device
    strengths: np.ndarray
    parts: Tensor
    notes: Sequence[str]

    @classmethod
    def prepare(
        cls,
        loaded: Loaded,
        number: int,
        ratio: float,
        folds: int,
        device: str,
        observer: Observer,
        *,
        allow_large: bool,
    ) -> _Problem:
        """Load the data and work out the strengths. Raises ConfigError, located."""
        chosen = resolve_device(device)
        with loaded.source.locating():
            config = path_config(loaded)
            dataset = load_data(
                config, chosen, allow_large=allow_large, progress=observer.on_message
            )
            notes = [*notes_on(config, dataset), *fold_notes(config, dataset, folds)]
            largest = largest_strength(config, dataset)
            strengths = np.geomspace(largest, largest * ratio, number)
            return cls(
                config, dataset, chosen, strengths, fold_parts(config, dataset, folds), notes
            )


def _solved(
    problem: _Problem, study: PathStudy, files: PathDir, observer: Observer, interrupt: Interrupt
) -> list[RegularizationPath]:
    """The paths of all parts, in smaller stacks where they do not fit into memory.

    All of them begin again then, as a stack is known by its size and number.
    """
    members = len(problem.strengths) * len(problem.parts)
    budget = estimate([problem.config], problem.dataset, problem.device, allow_large=True)
    elsewhere = "" if problem.device.type == "cpu" else ", or --device cpu"
    advice = (
        f"use fewer examples or inputs{elsewhere}; or, once more memory is free: "
        f"regrun resume {shlex.quote(str(files.path))}"
    )

    def work() -> list[RegularizationPath]:
        with (
            advising(advice),
            on_device(problem.device),
            computing(problem.config.training, budget, together, study.threads),
        ):
            return solve(
                problem.config,
                problem.dataset,
                problem.strengths,
                problem.parts,
                problem.device,
                stack_size=study.stack_size,
                solver=StoredStackSolver(files.stacks, study.data, members, observer, interrupt),
            )

    while True:
        together = min(members, study.stack_size)
        try:
            return giving_back(work)
        except OutOfMemoryError as error:
            if together == 1 or isinstance(error, DataTooLargeError):
                raise
        half = (together + 1) // 2
        observer.on_message(
            f"{together:,} fits need more memory than there is; all begin again in stacks of "
            f"{half:,}"
        )
        files.stacks.remove_tree()  # first: nothing of it goes on in stacks of another size
        study = study.model_copy(update={"stack_size": half})
        write_study(files.path, study)


def _work_out(
    problem: _Problem, study: PathStudy, files: PathDir, observer: Observer, interrupt: Interrupt
) -> PathResult:
    """Solve what is not solved yet, and store the result."""
    dataset, parts = problem.dataset, problem.parts
    card = with_notes(dataset.card, problem.notes)
    members = len(problem.strengths) * len(parts)
    observer.on_start(
        Start(
            str(files.path),
            str(problem.device),
            members,
            problem.notes,
            members=members,
            stacks=-(-members // study.stack_size),
            unit="fit",
            data=card,
        )
    )
    for note in notes_on_threads(study.threads):
        observer.on_message(note)
    try:
        path, *on_folds = _solved(problem, study, files, observer, interrupt)
    except Stopped as stopped:
        raise Interrupted(
            f"saved; carry on with: regrun resume {shlex.quote(str(files.path))}",
            stopped.signal_number,
            StudySummary(study_dir=str(files.path), study="path", status="interrupted"),
        ) from None
    if not all(each.converged for each in (path, *on_folds)):
        observer.on_message(f"not every strength converged within {MOST_EPOCHS:,} steps")
    if any(HELD_OUT not in row for fold in on_folds for row in fold.rows):
        raise CorruptInputError(f"{files.stacks}: damaged: a fold without {HELD_OUT}")
    losses = np.asarray([[row[HELD_OUT] for row in fold.rows] for fold in on_folds])
    names = dataset.feature_names or [f"x{index}" for index in range(prod(dataset.input_shape))]
    sizes = (~parts[1:]).sum(1).numpy()
    result = summarize_path(files.path, path, losses, sizes, names, card)
    pictures = picture_files(Subject(files.path, path=result), PICTURES["path"])
    contents = {
        files.table: path_csv(result).encode(),
        **{files.place / name: data for name, data in pictures.items()},
    }
    for place, data in contents.items():
        write_atomic(place, data)
    listed = {place.name: text_of(data) for place, data in contents.items()}
    result = result.model_copy(update={"files": listed})
    write_atomic(files.summary, sealed_document(json_document(result)))
    files.stacks.remove_tree()
    return result
