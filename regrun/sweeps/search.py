"""Which cells come next: all of a grid, or by Optuna a search's next batch, which fills a stack.

A search is a function of its section, its seed and the results so far. Each batch is proposed only
when all results of the one before are known, and Optuna gets them in the order of proposal; so
neither the order in which cells finish nor an interruption changes what is proposed.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from regrun.analysis.cells import Cell
from regrun.config.schema import Config
from regrun.config.sweeps import Distribution, Sweep
from regrun.errors import ConfigError, Problem, UsageError
from regrun.metrics import Direction, Metric
from regrun.results import Status
from regrun.sweeps.racing import Race
from regrun.sweeps.space import PlannedCell, Proposal, grid_cells, identity

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


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Log only Optuna's errors inside the block; restores the previous verbosity."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


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
        self._worst = math.inf if direction == "minimize" else -math.inf
        with quiet_optuna():
            sampler = _sampler(section, self._space, seed)
            self._study = optuna.create_study(sampler=sampler, direction=direction)
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
        params = {}
        for key in self._space:
            choice, drawn = self._section.space[key].choice, trial.params[key]
            params[key] = drawn if choice is None else choice[drawn]
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
        """Whether the search, asked again, proposes the cells that have these results."""
        while len(self._results) < len(finished):
            cells = self.ask()
            if not cells:
                return False
            for cell, result in zip(cells, finished[cells[0].index :], strict=False):
                if identity(cell.params) != identity(result.params):
                    return False
                self._results[cell.index] = result
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

        if result.status == "failed":
            return TrialState.FAIL, self._worst
        if result.status == "diverged" or result.value is None or not math.isfinite(result.value):
            return TrialState.COMPLETE, self._worst
        pruned = result.status == "pruned"
        return TrialState.PRUNED if pruned else TrialState.COMPLETE, result.value

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
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if axis.uniform is not None:
        return FloatDistribution(*axis.uniform)
    if axis.log_uniform is not None:
        return FloatDistribution(*axis.log_uniform, log=True)
    if axis.int is not None:
        return IntDistribution(*axis.int)
    if axis.log_int is not None:
        return IntDistribution(*axis.log_int, log=True)
    # By position: Optuna's own choices can be neither lists nor mappings.
    positions = range(len(axis.choice or ()))
    if positions_are_numbers:
        return IntDistribution(0, positions[-1])
    return CategoricalDistribution(positions)


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


class Proposer:
    """The cells of a sweep, round by round: a grid at once, a search batch after batch.

    The stored runs are the truth: it keeps no file.
    """

    def __init__(self, config: Config, metric: Metric) -> None:
        self._section = config.sweep or Sweep()
        self._seed, self._metric = config.seed, metric
        self._search = self._race = None
        if self._section.search == "race":
            self._race = Race(self._racing_cells, metric, self._section.seeds)
        elif self._section.search:
            self._search = Search(self._section, self._seed, metric.direction)
        self._taken: Sequence[Cell] = ()
        self._rounds = 0

    @property
    def learns(self) -> bool:
        """Whether what it proposes depends on the results of earlier cells."""
        return self._race is not None or self._search is not None

    @property
    def total_cells(self) -> int:
        """How many there will be in all (of a search, at most)."""
        return self._section.trials if self._section.space else len(self.fixed_cells())

    def take(self, cells: Sequence[Cell], rounds: int) -> None:
        """Learn from every cell trained so far. rounds: in which they were.

        cells: none are needed by one that does not learn.
        """
        if self._search is not None:
            results = [_result(cell, self._metric.name) for cell in cells]
            if results and not self._taken:
                self._search = Search.replay(
                    self._section, self._seed, results, self._metric.direction
                )
            else:
                for index in range(len(self._taken), len(results)):
                    result = results[index]
                    self._search.tell(index, result.value, result.status, result.epoch)
        self._taken, self._rounds = cells, rounds

    def propose(self) -> Proposal:
        """The next cells; none when there are no more."""
        if self._race is not None:
            return self._race.propose(self._taken, self._rounds)
        if self._search is not None:
            return Proposal(self._search.ask())
        return Proposal([] if self._rounds else self.fixed_cells())

    def fixed_cells(self) -> list[PlannedCell]:
        """Those of a grid, or the cells given one by one; of a space there are none."""
        if self._section.space:
            return []
        if self._section.cells:
            return [PlannedCell(index, params) for index, params in enumerate(self._section.cells)]
        return grid_cells(self._section.grid)

    def _racing_cells(self) -> list[PlannedCell]:
        """The cells that a race begins with; those of a space are drawn at random."""
        if not self._section.space:
            return self.fixed_cells()
        section = self._section.model_copy(update={"search": "random"})
        return Search(section, self._seed, self._metric.direction).ask()


def _result(cell: Cell, metric: str) -> Result:
    """A cell as its search sees it: the mean over its seeds, and the worst of their statuses."""
    ranks: tuple[Status, ...] = ("completed", "pruned", "diverged", "failed")
    worst = max((each for each in ranks if cell.count(each)), key=ranks.index, default=ranks[0])
    mean = cell.interval(metric)
    epochs = [run.summary.epochs if run.summary else 0 for run in cell.runs]
    return Result(cell.params, None if mean is None else mean.mean, worst, max(epochs, default=0))
