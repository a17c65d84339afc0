"""What the replicates of a cell differ in: the run's seed, the draw of the data, or both.

Replicate r has `seed` + r, `dataset.seed` + r, or both, so that replicates are paired: those of one
number have the same seeds in every cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from regrun.config.schema import Config
from regrun.config.sweeps import Sweep
from regrun.errors import ConfigError, Problem
from regrun.kinds.datasets import DatasetSection
from regrun.results import Varied


class Replication:
    """What varies between the replicates of the cells of a sweep.

    Looks at the files of each dataset once at most.
    """

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._drawn: dict[str, bool] = {}

    def varied(self, cell: Config) -> tuple[Varied, ...]:
        """`sweep.vary`, or its default for this cell.

        Raises ConfigError where it cannot vary, or is an axis as well.
        """
        varied = self._sweep.vary or self._default(cell.dataset)
        if self._sweep.vary is not None and "data" in varied:
            self._check_data(cell.dataset)
        self._check_axes(varied)
        return varied

    def _default(self, dataset: DatasetSection) -> tuple[Varied, ...]:
        # A pruner compares the members of a stack, which share their data.
        draws = self._sweep.pruner is None and self._draws(dataset)
        return ("seed", "data") if draws else ("seed",)

    def _draws(self, dataset: DatasetSection) -> bool:
        key = dataset.model_dump_json()
        if key not in self._drawn:
            self._drawn[key] = dataset.draws_data()
        return self._drawn[key]

    def _check_data(self, dataset: DatasetSection) -> None:
        if self._sweep.pruner is not None:
            raise ConfigError.at(
                "sweep.vary",
                f"data: {self._sweep.pruner} compares cells that train together, on the same data; "
                "write sweep.vary: [seed], or leave out the pruner",
            )
        if not self._draws(dataset):
            raise ConfigError.at(
                "sweep.vary",
                f"data: all parts of {dataset.kind} are given, so dataset.seed draws nothing; "
                "write sweep.vary: [seed], or let a part be drawn, e.g. dataset.validation: 0.2",
            )

    def _check_axes(self, varied: Sequence[Varied]) -> None:
        sweep = self._sweep
        for each, key, remedy in (
            ("seed", "seed", "sweep.seeds: 1"),
            ("data", "dataset.seed", "sweep.vary: [seed]"),
        ):
            section = next((name for name in ("grid", "space") if key in getattr(sweep, name)), "")
            varies = each in varied and (sweep.seeds > 1 or each == "data")
            if section and varies:
                message = (
                    f"varies between the replicates of a cell (sweep.vary: [{', '.join(varied)}]); "
                    "for N replicates write sweep.seeds: N without this axis, for a cell of each "
                    f"value {remedy} with it"
                )
                raise ConfigError([Problem(("sweep", section, key), message)])


def replicates(
    cell: Config, varied: Sequence[Varied], numbers: Sequence[int]
) -> Iterator[tuple[Config, int | None]]:
    """The config of each replicate of a cell, and its `data_seed` in the plan."""
    for number in numbers:
        seed, data_seed = cell.seed, None
        if "seed" in varied:
            seed += number
        if "data" in varied:
            data_seed = cell.dataset.seed + number
        yield with_seeds(cell, seed, data_seed), data_seed


def with_seeds(cell: Config, seed: int, data_seed: int | None) -> Config:
    """The config of a replicate. data_seed: None where the data do not vary."""
    dataset = cell.dataset
    if data_seed is not None and data_seed != dataset.seed:
        dataset = dataset.model_copy(update={"seed": data_seed})
    return cell.model_copy(update={"seed": seed, "dataset": dataset})
