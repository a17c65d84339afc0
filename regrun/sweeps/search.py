"""Search of a space with Optuna's ask-and-report interface, in batches that fill a stack.

A search is a function of its section, its seed and the results so far. Each batch is proposed only
when all results of the one before are known, and Optuna gets them in the order of proposal; so
neither the order in which cells finish nor an interruption changes what is proposed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from regrun.config.sweeps import Distribution, Sweep
from regrun.errors import ConfigError, Problem, UsageError
from regrun.metrics import Direction
from regrun.results import Status
from regrun.sweeps.optuna_logging import quiet_optuna
from regrun.sweeps.space import PlannedCell, identity

if TYPE_CHECKING:
    from collections.abc import Hashable

    import optuna
    from optuna.distributions import BaseDistribution

BATCH = 12
"""Cells that tpe and cmaes propose at once.

With 60 trials on three synthetic spaces the best cell of TPE is a third to a tenth as far from the
optimum as that of random search at 12; at 30 most of that is lost, at 1 little more is won. One
more than TPE's ten random start-up trials, and one generation of CMA-ES.
"""


@dataclass(frozen=True)
class Result:
    """What became of a proposed cell.

    value: the metric, mean over the seeds; None when there is none. epoch: of a pruned cell, the
    last it reached. A cell that diverged (or whose value is not finite) counts as the worst; a
    failed one is ignored.
    """

    params: Mapping[str, Any]
    value: float | None
    status: Status
    epoch: int = 0


class Search:
    """Proposes ``section.trials`` cells. Equal ones are proposed, and trained, only once.

    Raises ConfigError when the search cannot handle the space.
    """

    def __init__(self, section: Sweep, seed: int, direction: Direction = "minimize") -> None:
        import optuna

        self._section = section
        self._space = {
            key: _distribution(axis, section.search == "qmc") for key, axis in section.space.items()
        }
        self._direction = direction
        with quiet_optuna():
            sampler = _sampler(section, self._space, seed)
            self._study = optuna.create_study(sampler=sampler, direction=self._direction)
        self._proposed = 0
        self._cells: list[PlannedCell] = []
        self._known: dict[Hashable, int] = {}
        self._pending: list[tuple[optuna.Trial, int]] = []
        """Optuna's trials that await the result of a cell, in order."""
        self._results: dict[int, Result] = {}

    @classmethod
    def replay(
        cls,
        section: Sweep,
        seed: int,
        finished: Sequence[Result],
        direction: Direction = "minimize",
    ) -> Search:
        """The search as it was when it had the results of its first cells, in order.

        It proposes what the undisturbed one would have: the same batches are asked for again, and
        each proposal is compared with the stored cell. Should they differ, because another version
        of Optuna proposed them, the results are taken over as they are, and the search goes on
        from those. Raises UsageError for results of another space.
        """
        search = cls(section, seed, direction)
        if not search._retrace(finished):
            search = cls(section, seed, direction)
            search._adopt(finished)
        return search

    def ask(self) -> list[PlannedCell]:
        """The cells to train next: a new batch; none when all trials are spent.

        While results of the last batch are missing, the cells that miss them. random and qmc, which
        learn nothing, propose all at once. Cells are numbered from 0 without gaps.
        """
        missing = {index for _, index in self._pending if index not in self._results}
        if missing:
            return [self._cells[index] for index in sorted(missing)]
        self._hand_over()
        first = len(self._cells)
        while len(self._cells) == first and self._proposed < self._section.trials:
            left = self._section.trials - self._proposed
            learns = self._section.search in ("tpe", "cmaes")
            for _ in range(min(BATCH, left) if learns else left):
                self._propose()
            if len(self._cells) == first:
                self._hand_over()
        return self._cells[first:]

    def tell(self, index: int, value: float | None, status: Status, epoch: int = 0) -> None:
        """Give the result of a proposed cell. Arguments as in `Result`."""
        self._results[index] = Result(self._cells[index].params, value, status, epoch)

    def _propose(self) -> None:
        with quiet_optuna():
            trial = self._study.ask(self._space)
        params = {key: self._value(key, trial.params[key]) for key in self._space}
        index = self._known.setdefault(identity(params), len(self._cells))
        if index == len(self._cells):
            self._cells.append(PlannedCell(index, params))
        self._pending.append((trial, index))
        self._proposed += 1

    def _hand_over(self) -> None:
        from optuna.trial import TrialState

        with quiet_optuna():
            for trial, index in self._pending:
                result = self._results[index]
                state, value = self._verdict(result)
                if state == TrialState.PRUNED:
                    trial.report(value, result.epoch)
                final = value if state == TrialState.COMPLETE else None
                self._study.tell(trial, final, state=state)
        self._pending.clear()

    def _retrace(self, finished: Sequence[Result]) -> bool:
        at = 0
        while at < len(finished):
            cells = self.ask()
            if not cells:
                return False
            for cell, result in zip(cells, finished[at:], strict=False):
                if identity(cell.params) != identity(result.params):
                    return False
                self.tell(cell.index, result.value, result.status, result.epoch)
            at += len(cells)
        return True

    def _adopt(self, finished: Sequence[Result]) -> None:
        from optuna.trial import TrialState, create_trial

        for index, result in enumerate(finished):
            state, value = self._verdict(result)
            with quiet_optuna():
                self._study.add_trial(
                    create_trial(
                        state=state,
                        value=None if state == TrialState.FAIL else value,
                        params=self._stored(result.params),
                        distributions=self._space,
                        intermediate_values={result.epoch: value},
                    )
                )
            self._cells.append(PlannedCell(index, dict(result.params)))
            self._known[identity(result.params)] = index
            self._results[index] = result
        self._proposed = len(finished)

    def _verdict(self, result: Result) -> tuple[optuna.trial.TrialState, float]:
        from optuna.trial import TrialState

        worst = math.inf if self._direction == "minimize" else -math.inf
        if result.status == "failed":
            return TrialState.FAIL, worst
        if result.status == "diverged" or result.value is None or not math.isfinite(result.value):
            return TrialState.COMPLETE, worst
        pruned = result.status == "pruned"
        return TrialState.PRUNED if pruned else TrialState.COMPLETE, result.value

    def _value(self, key: str, drawn: Any) -> Any:
        choice = self._section.space[key].choice
        return drawn if choice is None else choice[drawn]

    def _stored(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters as Optuna knows them: a choice by its position."""
        if params.keys() != self._space.keys():
            raise UsageError(f"{', '.join(params)}: the stored cells are of another search space")
        stored = {}
        for key, value in params.items():
            choice = self._section.space[key].choice
            if choice is not None:
                places = [at for at, each in enumerate(choice) if identity(each) == identity(value)]
                if not places:
                    raise UsageError(f"{key}={value}: a stored cell has it, the space does not")
                value = places[0]
            stored[key] = value
        return stored


def _distribution(axis: Distribution, positions_are_numbers: bool) -> BaseDistribution:
    """positions_are_numbers: for Sobol points, which older Optunas do not draw for categories."""
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if axis.uniform is not None:
        return FloatDistribution(*axis.uniform)
    if axis.log_uniform is not None:
        return FloatDistribution(*axis.log_uniform, log=True)
    if axis.int is not None:
        return IntDistribution(*axis.int)
    # By position: Optuna's own choices can be neither lists nor mappings.
    count = len(axis.choice or ())
    return (
        IntDistribution(0, count - 1)
        if positions_are_numbers
        else CategoricalDistribution(range(count))
    )


def _sampler(
    section: Sweep, space: Mapping[str, BaseDistribution], seed: int
) -> optuna.samplers.BaseSampler:
    from optuna import samplers

    seed %= 2**32  # NumPy's generators take no more
    match section.search:
        case "random":
            return samplers.RandomSampler(seed)
        case "tpe":
            return samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
        case "qmc":
            return _qmc_sampler(space, seed)
        case "cmaes":
            _check_numeric(section)
            return samplers.CmaEsSampler(
                seed=seed,
                popsize=BATCH,
                consider_pruned_trials=True,
                warn_independent_sampling=False,
            )
    raise ValueError("the sweep has no search")


def _qmc_sampler(space: Mapping[str, BaseDistribution], seed: int) -> optuna.samplers.BaseSampler:
    from optuna.samplers import QMCSampler

    class Sobol(QMCSampler):
        """Knows the space from the start, so that no point is drawn at random to find it out."""

        def infer_relative_search_space(self, *_: Any) -> dict[str, BaseDistribution]:
            return dict(space)

    return Sobol(scramble=True, seed=seed, warn_independent_sampling=False)


def _check_numeric(section: Sweep) -> None:
    for key, axis in section.space.items():
        if axis.choice is not None:
            message = "cmaes searches numbers, and this is a choice; use tpe"
            raise ConfigError([Problem(("sweep", "space", key), message)])
    if len(section.space) < 2:
        raise ConfigError.at("sweep.search", "cmaes needs two axes or more; use tpe for one")
