"""How often the claims under tables are wrong, and how often they find what is there.

    python -m tests.benchmarks.claims                 2,000 draws of everything, some ten minutes
    python -m tests.benchmarks.claims --draws 200

Every row is a simulation: intervals of values on several scales, the comparison with the best of
equally good cells, ablations without effects, and the chance to find one worse cell. Nothing is
asserted; `tests/analysis` holds reduced versions as tests.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import stats

from regrun.analysis.best import p_values
from regrun.analysis.effects import Contrast, estimate_contrasts
from regrun.analysis.statistics import mean_interval
from regrun.results import Scale
from tests.support.simulated_cells import SETTINGS, simulated_cells
from tests.support.split_draws import error_rates_of_splits, expected_error_rate

Values = NDArray[np.float64]
Row = tuple[str, str, str, float, str]
"""What, setting, size, share, and what it should be."""


def main() -> None:
    parser = argparse.ArgumentParser(description="How often claims are wrong.")
    parser.add_argument("--draws", type=int, default=2000)
    draws = parser.parse_args().draws
    table = Table("claim", "setting", "size", "share", "should be", title=f"{draws:,} draws each")
    for what, setting, size, share, target in rows(draws):
        table.add_row(what, setting, size, f"{share:.3f}", target)
    Console(width=110).print(table)


def rows(draws: int) -> Iterator[Row]:
    """Every simulation, each from a seed of its own."""
    yield from coverage(draws)
    yield from false_claims(draws)
    yield from false_stars(draws)
    yield from power(draws)


def coverage(draws: int) -> Iterator[Row]:
    """Shares of intervals that hold the truth."""
    for sigma, n in product((0.5, 1.0, 2.0), (3, 5, 10, 20)):
        values = np.exp(np.random.default_rng(n).normal(0, sigma, size=(draws, n)))
        share = _share(_holds(each, 1.0, "log") for each in values)
        yield "interval of losses", f"log-normal, σ = {sigma:g}", f"{n} seeds", share, "0.95"
    for mean, n in product((0.5, 0.9, 0.98), (3, 5, 10, 20)):
        rng = np.random.default_rng(n)
        center = np.log(mean / (1 - mean))
        truth = float((1 / (1 + np.exp(-rng.normal(center, 0.4, 10**6)))).mean())
        odds = rng.normal(center, 0.4, size=(draws, n))
        values = rng.binomial(1000, 1 / (1 + np.exp(-odds))) / 1000
        share = _share(_holds(each, truth, "fraction") for each in values)
        yield "interval of accuracies", f"near {mean:g}", f"{n} seeds", share, "0.95"
    truth = expected_error_rate(np.random.default_rng(0), 2000)
    for splits in (3, 5, 10):
        rng = np.random.default_rng(splits)
        found = [error_rates_of_splits(rng, splits) for _ in range(draws)]
        share = _share(_holds(rates, truth, "fraction", overlap) for rates, overlap in found)
        yield "interval over splits", "digits, new data", f"{splits} splits", share, "≥ 0.90"


def false_claims(draws: int) -> Iterator[Row]:
    """Shares of sweeps in which a cell as good as the best is called worse."""
    for setting, cells, n in product(SETTINGS, (2, 5, 10, 20, 50), (3, 5, 10)):
        share = _falsely_worse(draws, setting, np.zeros(cells), n)
        yield "some equal cell is worse", setting, f"{cells} cells × {n}", share, "≤ 0.05"
    for setting, n in product(SETTINGS, (3, 5, 10)):
        share = _falsely_worse(draws, setting, np.repeat([0.0, 4.0], 5), n)
        yield "the same, half are worse", setting, f"10 cells × {n}", share, "≤ 0.05"


def false_stars(draws: int) -> Iterator[Row]:
    """Shares of ablations without effects that show a star."""
    for setting, ingredients, n in product(SETTINGS, (2, 4, 8), (3, 5, 10)):
        rng = np.random.default_rng(ingredients * n)
        stars = 0
        for _ in range(draws):
            values = simulated_cells(rng, setting, 2 + 2 * ingredients, n)
            stars += any(each.is_certain for each in estimate_contrasts(ablation(values)))
        size = f"{ingredients} ingredients × {n}"
        yield "some star of an ablation", setting, size, stars / draws, "≤ 0.05"


def power(draws: int) -> Iterator[Row]:
    """Shares of sweeps in which the one worse cell is found; Tukey's range test for comparison."""
    for setting, cells, n in product(("equal", "two_variances"), (2, 10, 50), (3, 5, 10)):
        rng = np.random.default_rng(cells * n)
        bound = stats.studentized_range.ppf(0.95, cells, (cells - 1) * (n - 1))
        found = tukey = 0
        for _ in range(draws):
            values = simulated_cells(rng, setting, cells, n)
            values[-1] += 2 * np.sqrt(2)
            found += p_values(values, np.zeros(cells, bool))[-1] <= 0.05
            rest = values - values.mean(0) - values.mean(1, keepdims=True) + values.mean()
            error = np.sqrt((rest**2).sum() / ((cells - 1) * (n - 1)) / n)
            tukey += (values[-1].mean() - values.mean(1).min()) / error > bound
        note = f"Tukey {tukey / draws:.3f}" + ("" if setting == "equal" else ", invalid here")
        yield "the worse cell is found, d = 2", setting, f"{cells} cells × {n}", found / draws, note


def ablation(values: Values) -> list[Contrast[int]]:
    """Two effects and an interaction of each ingredient, from 2 + 2 · ingredients cells."""
    cells = [dict(enumerate(row.tolist())) for row in values]
    whole, none = cells[:2]
    contrasts: list[Contrast[int]] = []
    for without, alone in zip(cells[2::2], cells[3::2], strict=True):
        contrasts += [
            Contrast([whole], [without]),
            Contrast([alone], [none]),
            Contrast([whole, none], [without, alone]),
        ]
    return contrasts


def _falsely_worse(draws: int, setting: str, means: Values, n: int) -> float:
    """The share of sweeps in which a cell of mean 0, the lowest, is called worse."""
    rng = np.random.default_rng(len(means) * n)
    constant = np.zeros(len(means), bool)
    wrong = 0
    for _ in range(draws):
        values = simulated_cells(rng, setting, len(means), n) + means[:, None]
        wrong += bool((p_values(values, constant)[means == 0] <= 0.05).any())
    return wrong / draws


def _share(held: Iterable[bool]) -> float:
    return float(np.mean([*held]))


def _holds(values: Values, truth: float, scale: Scale, overlap: float = 0.0) -> bool:
    interval = mean_interval(values.tolist(), scale, overlap)
    if interval.low is None or interval.high is None:
        return False
    return interval.low <= truth <= interval.high


if __name__ == "__main__":
    main()
