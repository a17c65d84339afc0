"""How many runs a config asks for, whatever their number."""

from __future__ import annotations

import pytest

from regrun.config.limits import MOST_RUNS, check_runs
from regrun.config.load import Loaded, config_from_mapping
from regrun.errors import ConfigError
from tests.support.runs import LINEAR


def sweeping(axes: int, values: str, seeds: int = 1) -> Loaded:
    """A grid over the strengths of so many penalties."""
    grid = {f"penalty.{index}.strength": values for index in range(axes)}
    penalties = [{"type": "l2", "strength": 1}] * axes
    return config_from_mapping(
        {**LINEAR, "penalty": penalties, "sweep": {"grid": grid, "seeds": seeds}}
    )


def test_as_many_runs_as_are_allowed_are_allowed() -> None:
    check_runs(sweeping(1, "1..1000", 100), allow_large=False)
    with pytest.raises(ConfigError, match=r"100,100 runs \(1,001 cells, 100 seeds each\)"):
        check_runs(sweeping(1, "1..1001", 100), allow_large=False)
    check_runs(sweeping(1, "1..1001", 100), allow_large=True)
    assert MOST_RUNS == 100_000


@pytest.mark.parametrize(("axes", "values", "power"), [(500, "1..4", 301), (500, "1..99", 997)])
def test_a_grid_beyond_all_counting_is_never_allowed(axes: int, values: str, power: int) -> None:
    with pytest.raises(ConfigError) as caught:
        check_runs(sweeping(axes, values), allow_large=True)
    message = caught.value.problems[0].message
    assert f"more than 10^{power} runs (more than 10^{power} cells, 1 seed each)" in message
    assert message.endswith("use fewer values")
