"""The `sweep` section: axes, search, seeds, selection, pruning."""

from __future__ import annotations

from math import prod
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, Strict, model_validator

from regrun.config.ranges import expand_range
from regrun.kinds.base import Count, Section
from regrun.results import Varied

Bounds = Annotated[tuple[float, float], Strict(False)]


def _expanded(value: Any) -> Any:
    several = expand_range(value)
    return value if several is None else several


Axis = Annotated[tuple[Any, ...], Strict(False), Field(min_length=1)]
RangeOrAxis = Annotated[Axis, BeforeValidator(_expanded, json_schema_input_type=str | list[Any])]
"""A list of values, or a range such as ``1e-5..1e-1:log:9``."""
IntBounds = Annotated[tuple[int, int], Strict(False)]


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _once_each(given: tuple[Varied, ...]) -> tuple[Varied, ...]:
    if len(set(given)) < len(given):
        raise ValueError(f"{list(given)} names one of them twice")
    return given


VariedList = Annotated[
    tuple[Varied, ...],
    Strict(False),
    Field(min_length=1),
    AfterValidator(_once_each),
    BeforeValidator(_listed, json_schema_input_type=Varied | list[Varied]),
]


def _distribution_hint(value: Any) -> str | None:
    """How regrun writes a distribution in the words of W&B, Optuna or Ray; None for others."""
    if not isinstance(value, dict) or set(value) & set(Distribution.model_fields):
        return None
    for key in ("values", "choices", "grid_search"):
        if isinstance(value.get(key), list):
            return f"choice: {value[key]}"
    low = next((value[key] for key in ("min", "low", "lower") if key in value), None)
    high = next((value[key] for key in ("max", "high", "upper") if key in value), None)
    if low is None or high is None:
        return None
    named = str(value.get("distribution") or value.get("type") or "").lower()
    logarithmic = bool(value.get("log")) or "log" in named
    whole = "int" in named or (isinstance(low, int) and isinstance(high, int))
    kind = ("log_" if logarithmic else "") + ("int" if whole else "uniform")
    other = "" if logarithmic else f", or log_{kind}: [{low}, {high}]"
    return f"{kind}: [{low}, {high}]{other}"


class Distribution(Section):
    """One axis of a search space: exactly one of the keys."""

    uniform: Bounds | None = None
    log_uniform: Bounds | None = None
    int: IntBounds | None = None
    log_int: IntBounds | None = None
    choice: Axis | None = None

    @model_validator(mode="before")
    @classmethod
    def _in_words_of_other_tools(cls, value: Any) -> Any:
        hint = _distribution_hint(value)
        if hint is not None:
            raise ValueError(f"write {hint}")
        return value

    @model_validator(mode="after")
    def _exactly_one(self) -> Distribution:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of uniform, log_uniform, int, log_int, choice")
        for bounds in (self.uniform, self.log_uniform, self.int, self.log_int):
            if bounds is not None and not bounds[0] < bounds[1]:
                low, high = bounds
                raise ValueError(f"[{low}, {high}]: the first bound must be below the second")
        for bounds in (self.log_uniform, self.log_int):
            if bounds is not None and bounds[0] <= 0:
                raise ValueError(f"{bounds[0]}: a bound on a log scale must be above 0")
        return self


LEAST_OF_RACE = 4
"""Fewest replicates with which a race can save any."""


class Sweep(Section):
    """A grid, cells or a search; read by `regrun sweep` only."""

    grid: dict[str, RangeOrAxis] = Field(default_factory=dict)
    """Dotted key → values, or a range of them: `0..4`, `0..1:5`, `1e-5..1e-1:log:9`. Every
    combination of values is trained."""
    cells: Annotated[tuple[dict[str, Any], ...], Strict(False)] = ()
    """The cells to train, each a mapping of dotted keys to values, instead of a grid."""
    search: Literal["random", "tpe", "qmc", "cmaes", "race"] | None = None
    """What proposes cells of the space. race: those of the grid, the cells or a random search of
    the space, whose replicates are trained in rounds; cells that are out get no more of them."""
    trials: Count = 50
    """Number of cells that a search proposes; each is trained with every seed."""
    space: dict[str, Distribution] = Field(default_factory=dict)
    """Dotted key → distribution from which a search draws."""
    seeds: Count = 1
    """Number of replicates of each cell: it is trained with `seed`, `seed` + 1, …, or what `vary`
    says."""
    vary: VariedList | None = None
    """What differs between the replicates of a cell, the same in every cell: `seed` (initial
    weights, batch order, noise), `data` (`dataset.seed`, `dataset.seed` + 1, …: the splits, and
    synthetic data), or both. Default: both where regrun draws the data or a part of them, else
    `seed`; with a pruner `seed`."""
    confirm: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Train the finalists again, with so many fresh replicates each, and report these alone: the
    best cell of many is too good on the replicates that chose it. Finalists are the best cell and
    those not distinguishable from it, at most 10. 0: no confirmation."""
    metric: str | None = None
    """The metric that a search optimises and that selects the best cell: losses are minimised,
    accuracies maximised. Default: `val/loss` if there is a validation split; without one, a grid is
    ordered by `test/loss`, and its report says so. `ema/val/loss` and `swa/val/loss` are metrics of
    the weights averaged by `training.ema` and `training.swa`."""
    scale: Literal["auto", "linear"] = "auto"
    """How replicates are averaged. auto: losses, errors and norms by their geometric mean, compared
    as ratios; the rest by the arithmetic mean. linear: everything by the arithmetic mean."""
    select_on_test: bool = False
    """Allow a search or a pruner to select on the test set."""
    pruner: Literal["median", "asha", "hyperband"] | None = None
    """Stops runs early whose metric falls behind that of the others: behind their median, or in
    rungs of successive halving."""
    stack_size: Count | None = None
    """Number of members trained as one stack; chosen to suit the machine by default."""

    @property
    def runs(self) -> int:
        """Runs in all; of a search, at most."""
        if self.space:
            return self.trials * self.seeds
        return (len(self.cells) or prod(map(len, self.grid.values()))) * self.seeds

    @model_validator(mode="after")
    def _search_has_space(self) -> Sweep:
        if self.search == "race":
            return self._raced()
        if self.search is not None and not self.space:
            raise ValueError(f"search: {self.search} needs a space")
        if self.space and self.search is None:
            raise ValueError("space is given but search is not")
        given = [self.search is not None, bool(self.grid), bool(self.cells)]
        if sum(given) > 1:
            raise ValueError("give one of a grid, cells or a search, not several")
        return self

    def _raced(self) -> Sweep:
        if sum(map(bool, (self.space, self.grid, self.cells))) != 1:
            raise ValueError("search: race needs a grid, cells or a space; give one of them")
        if self.seeds < LEAST_OF_RACE:
            raise ValueError(
                f"seeds: {self.seeds}: a race looks at its cells after 3 replicates first; give "
                f"{LEAST_OF_RACE} or more"
            )
        if self.pruner is not None:
            raise ValueError(
                f"pruner: {self.pruner} stops runs, a race stops cells between runs; give one of "
                "them"
            )
        return self
