"""The root of a config: one frozen, strict model."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Strict, create_model

from regrun.config.sweeps import Sweep
from regrun.config.training import Training, missing_for_metric
from regrun.errors import Problem
from regrun.kinds.augmentation import Augment
from regrun.kinds.base import PER_MEMBER, Section, Seed, wrong
from regrun.kinds.given import given
from regrun.kinds.models import ModelSection
from regrun.kinds.registry import (
    DEFAULT_LOSS,
    DEFAULT_SCHEDULE,
    KINDS,
    AnyDataset,
    AnyModel,
    AnyOptimizer,
    Constraints,
    LossOrName,
    Penalties,
    ScheduleOrName,
    union,
)
from regrun.metrics import CONFUSION, METRICS, SCORES

RESERVED_NAME = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")


def _safe_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", name) or name.endswith("."):
        raise ValueError(
            f"{name[:100]!r}: a name has 1 to 80 letters, digits, '.', '_' and '-', "
            "starts with a letter or digit and does not end with '.'"
        )
    if RESERVED_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is a reserved file name on some systems")
    return name


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


if TYPE_CHECKING:
    ScoreName = str
else:
    ScoreName = Literal[(*SCORES, CONFUSION)]

Name = Annotated[str, AfterValidator(_safe_name)]


class Config(Section):
    """One experiment: dataset, model, penalty, optimizer, and how to train."""

    name: Name = "run"
    """Name of the run's directory; the name of the config file by default."""
    seed: Annotated[Seed, PER_MEMBER] = 0
    """Seed of the initial weights, the batch order and the noise."""
    dataset: AnyDataset
    model: AnyModel
    loss: LossOrName = DEFAULT_LOSS
    """A name, or a section with its settings. auto: mse for numbers, binary_cross_entropy for two
    classes, cross_entropy for more."""
    penalty: Annotated[Penalties, PER_MEMBER] = ()
    """Added to the objective: none, one, or a list."""
    constraints: Annotated[Constraints, PER_MEMBER] = ()
    """Projections after every step: none, one, or a list."""
    optimizer: AnyOptimizer
    schedule: Annotated[ScheduleOrName, PER_MEMBER] = DEFAULT_SCHEDULE
    """Multiplier of the learning rate: a name, or a section with its settings."""
    augment: Augment = Augment()
    training: Training = Training()
    metrics: Annotated[tuple[ScoreName, ...], Strict(False), BeforeValidator(_listed)] = ()
    """Measured on every part of the data at every evaluation, besides loss and accuracy:
    `f1, precision, recall, balanced_accuracy, auroc` of classes (macro means), `mae, rmse, r2` of
    numbers, on the original scale. `confusion_matrix` is counted for the summary only."""
    sweep: Sweep | None = None

    def conflicts(self, config: Config) -> Iterator[Problem]:
        """Yield what scores and schedule need and the config lacks."""
        known = self.dataset.known_task
        for name in self.metrics:
            task = "classification" if name == CONFUSION else SCORES[name].task
            if known not in (None, task):
                needs = "classes" if task == "classification" else "numbers to predict"
                message = f"{name} needs {needs}; {self.dataset.kind} is {known}"
                yield Problem(("metrics",), message)
        watched = self.schedule.watched
        if watched is not None:
            if watched not in METRICS:
                raise wrong(self.schedule, "watched", f"gave {watched!r}; it has to give a metric")
            for message in missing_for_metric(config, watched):
                yield Problem(("schedule", "metric"), message)

    def ties_to_end(self) -> Iterator[str]:
        """Yield what makes the first epochs depend on how many there will be."""
        if self.schedule.depends_on_end:
            yield f"schedule: {self.schedule.kind} is spread over all epochs"
        swa = self.training.swa
        if swa is not None and not isinstance(swa.start, int):
            yield f"training.swa.start: {swa.start:g} is a fraction of them"

    @property
    def runs(self) -> int:
        """Runs in all: one, or those of the sweep (of a search, at most)."""
        return 1 if self.sweep is None else self.sweep.runs


def current_schema() -> type[Config]:
    """`Config`, with the model that the present call was given, if it was."""
    model = given()
    return Config if model is None else _with_model(model)


@functools.cache
def _with_model(model: type[ModelSection]) -> type[Config]:
    every: Any = union((*KINDS["models"], model))
    return create_model("Config", __base__=Config, __module__=__name__, model=(every, ...))
