"""Plots of losses in the terminal."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regrun.cli.plot import HEIGHT, _linear_ticks, _log_ticks, axis_plot, loss_plot


def rows(train: list[float | None], test: list[float | None]) -> list[dict[str, Any]]:
    return [
        {"epoch": epoch, "train/loss": a, "test/loss": b}
        for epoch, (a, b) in enumerate(zip(train, test, strict=True), 1)
    ]


FALLING = rows([math.exp(-epoch) for epoch in range(20)], [2.0] * 20)
FLAT = rows([1.0 - 0.01 * epoch for epoch in range(20)], [1.1] * 20)


def test_a_wide_range_has_powers_of_ten_and_a_narrow_one_has_not() -> None:
    assert "1e-7" in str(loss_plot(FALLING, 80, colour=False))
    assert "1e-" not in str(loss_plot(FLAT, 80, colour=False))


def test_the_axis_is_linear_when_a_loss_is_0_or_negative() -> None:
    plot = loss_plot(rows([1.0, 1e-9, 0.0], [1.0, 1.0, 1.0]), 80, colour=False)
    assert plot is not None
    assert "1e-9" not in plot
    assert "0.8" in plot


def test_without_colour_the_curves_differ_by_character_and_there_are_no_codes() -> None:
    plot = loss_plot(FALLING, 80, colour=False)
    assert plot is not None
    assert "\x1b" not in plot
    assert plot.splitlines()[0] == ".. train loss   oo test loss"
    body = "".join(plot.splitlines()[1:-3])
    assert body.count(".") > 10
    assert body.count("o") > 10


def test_with_colour_the_curves_differ_by_colour() -> None:
    plot = loss_plot(FALLING, 80, colour=True)
    assert plot is not None
    assert "\x1b[38;5;4m" in plot
    assert "\x1b[38;5;3m" in plot


def test_the_last_epoch_stands_on_the_axis() -> None:
    plot = loss_plot(FALLING, 80, colour=False)
    assert plot is not None
    assert plot.splitlines()[-2].split()[-1] == "20"
    assert plot.splitlines()[-1].strip() == "epoch"


@pytest.mark.parametrize("width", [40, 57, 80, 300])
def test_a_plot_fits_its_width(width: int) -> None:
    plot = loss_plot(FALLING, width, colour=False)
    assert plot is not None
    assert max(len(line) for line in plot.splitlines()) <= min(width, 90)
    assert len(plot.splitlines()) == HEIGHT + 1


def test_a_narrow_terminal_or_a_single_evaluation_has_no_plot() -> None:
    assert loss_plot(FALLING, 39, colour=False) is None
    assert loss_plot(FALLING[:1], 80, colour=False) is None
    assert loss_plot([], 80, colour=False) is None


def test_a_run_that_diverged_shows_what_was_finite() -> None:
    plot = loss_plot(rows([1.0, 10.0, None], [2.0, 20.0, math.inf]), 80, colour=False)
    assert plot is not None
    assert "20" in plot


def test_a_hundred_thousand_evaluations_are_drawn_too() -> None:
    many = rows([float(epoch) for epoch in range(100_000)], [0.0] * 100_000)
    plot = loss_plot(many, 80, colour=False)
    assert plot is not None
    assert plot.splitlines()[-2].split()[-1] == "100000"


losses = st.floats(allow_nan=True, allow_infinity=True) | st.none()


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(losses, losses), max_size=8), st.booleans())
def test_no_losses_break_the_plot(pairs: list[tuple[Any, Any]], colour: bool) -> None:
    content = rows([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    plot = loss_plot(content, 60, colour=colour)
    assert plot is None or "epoch" in plot


def test_curves_that_meet_are_both_visible() -> None:
    together = rows(
        [1.0 / epoch for epoch in range(1, 30)], [1.0 / epoch for epoch in range(1, 30)]
    )
    plot = loss_plot(together, 80, colour=False)
    assert plot is not None
    last = [line for line in plot.splitlines() if "." in line.partition("┤")[2] and "o" in line]
    assert last  # rows in which the curves take turns


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (1.72358, 2.31, ["1.6", "1.8", "2", "2.2", "2.4"]),
        (0.0, 1.0, ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (-3.0, 11.0, ["-5", "0", "5", "10", "15"]),
        (0.0301, 0.0322, ["0.03", "0.0305", "0.031", "0.0315", "0.032", "0.0325"]),
    ],
)
def test_ticks_are_round_and_around_all_values(low: float, high: float, labels: list[str]) -> None:
    ticks, shown = _linear_ticks([low, high])
    assert shown == labels
    assert ticks[0] <= low < high <= ticks[-1]
    assert ticks == pytest.approx([float(label) for label in labels])


def test_the_axis_reaches_beyond_the_largest_value() -> None:
    ticks, labels = _log_ticks([1e-11, 189.0])
    assert ticks[0] <= -11
    assert ticks[-1] >= math.log10(189)
    assert labels[0].startswith("1e-")


def test_intervals_are_drawn_as_bars() -> None:
    curves = {"test/loss": ([0.0, 1.0, 2.0], [1.0, 5.0, 9.0])}
    bars = {"test/loss": [(1.0, 1.0, 9.0)]}
    plain = axis_plot(curves, "decay", 60, colour=False, bars=bars)
    assert plain is not None
    assert sum("|" in line for line in plain.splitlines()) >= 6
    assert "|" not in str(axis_plot(curves, "decay", 60, colour=False))


def test_intervals_of_several_curves_stand_next_to_each_other() -> None:
    xs = [0.0, 1.0, 2.0]
    curves = {"train/loss": (xs, [1.0, 1.0, 1.0]), "test/loss": (xs, [2.0, 2.0, 2.0])}
    bars = {name: [(x, 0.0, 3.0) for x in xs] for name in curves}
    drawn = axis_plot(curves, "model.dropout", 80, colour=False, bars=bars)
    assert drawn is not None
    columns = {at for line in drawn.splitlines() for at, sign in enumerate(line) if sign == "|"}
    assert len(columns) == len(xs) * len(curves)


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([10 ** (-4 + 0.13 * at) for at in range(31)], ["0.0001", "0.001", "0.01", "0.1"]),
        ([0.0, *(10 ** (-3 + 0.2 * at) for at in range(16))], ["0", "0.001", "0.01", "0.1", "1"]),
        ([0.13 + 0.031 * at for at in range(30)], ["0.2", "0.4", "0.6", "0.8", "1"]),
        ([2.1 * 1.3**at for at in range(10)], ["5", "10", "20"]),
        ([0.1, 0.25, 0.7], ["0.1", "0.25", "0.7"]),
        ([0.0457798, 0.329471, 2.37115, 45.7798], ["0.1", "1", "10"]),
        ([0.0457798, 45.7798], ["0.0457798", "45.7798"]),
    ],
)
def test_an_axis_of_many_values_has_round_ticks_and_one_of_few_its_values(
    values: list[float], labels: list[str]
) -> None:
    drawn = axis_plot({"test/loss": (values, values)}, "strength", 100, colour=False)
    assert drawn is not None
    assert drawn.splitlines()[-2].split() == labels
