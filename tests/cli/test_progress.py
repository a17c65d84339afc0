"""Progress as lines and as a bar."""

from __future__ import annotations

import io
import re
import time
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from regrun.cli.progress import Bar, Lines, State, watching
from regrun.execution.observer import Observer, Standing, Start

START = Start("runs/toy/[x]", "cpu", 400, ["train loss is measured on 10"], epochs=100)


def train(observer: Any, steps: int = 400) -> None:
    observer.on_start(START)
    for step in range(1, steps + 1):
        observer.on_progress(step, steps)
        if step % 4 == 0:
            observer.on_evaluation(
                {"epoch": step // 4, "step": step, "train/loss": 0.125, "test/loss": 3.0}
            )
    observer.on_message("saved")


def console(**options: Any) -> Console:
    return Console(file=io.StringIO(), width=100, **options)


def text_of(target: Console) -> str:
    return target.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_lines_come_now_and_then_and_have_no_codes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(10_000))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    train(Lines(), steps=40)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert lines[0] == "runs/toy/[x]: 100 epochs, 400 steps on cpu"
    assert lines[1] == "note: train loss is measured on 10"
    assert lines[-1] == "saved"
    reported = [line for line in lines if line.startswith("step ")]
    assert len(reported) > 10  # the clock ticks at each look, and a line comes every 3 s
    state = "epoch 10 of 100  train/loss 0.125  test/loss 3"
    assert re.fullmatch(rf"step (39|40) of 40 \(\d+%\)  {state}  0\.\d steps/s", reported[-1])
    assert "\x1b" not in err
    assert out == ""


def test_nobody_reading_does_not_stop_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr("sys.stderr", Gone())
    train(Lines())


def test_the_bar_shows_the_losses_and_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    target = console(force_terminal=True)
    bar = Bar(target)
    train(bar)
    bar.stop()
    text = text_of(target)
    assert "epoch 100" in text
    assert "test/loss 3" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # the cursor comes back
    assert text.endswith("\x1b[2K")  # the last line is wiped


def test_no_color_has_no_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    target = console(force_terminal=True)
    bar = Bar(target)
    train(bar)
    bar.stop()
    assert "\x1b[38" not in text_of(target)
    assert "\x1b[3" not in text_of(target)


def test_quiet_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with watching(quiet=True) as observer:
        assert type(observer) is Observer
        train(observer)
    assert capsys.readouterr() == ("", "")


def test_without_a_terminal_there_are_lines_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with watching(quiet=False) as observer:
        assert isinstance(observer, Lines)
        train(observer)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("runs/toy/[x]")


def test_a_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("FORCE_COLOR", "1")
    with watching(quiet=False) as observer:
        assert isinstance(observer, Lines)


def test_the_bar_goes_away_when_training_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    target = console(force_terminal=True)
    monkeypatch.setattr("regrun.cli.console.notices", lambda: target)
    with pytest.raises(ZeroDivisionError), watching(quiet=False) as observer:
        observer.on_start(START)
        raise ZeroDivisionError
    assert text_of(target).count("\x1b[?25h") == 1


def sweep_round(members: int) -> Start:
    return Start("runs/toy/sweep-a", "cpu", 100 * members, [], members=members, stacks=1)


def test_a_search_has_one_bar_and_says_how_many_runs_there_are_in_all() -> None:
    target = console(force_terminal=True, highlight=False)
    bar = Bar(target)
    for members in (36, 12):
        bar.on_start(sweep_round(members))
        bar.on_progress(100 * members, 100 * members)
    bar.stop()
    text = text_of(target)
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1
    assert text.count("runs/toy/sweep-a: 36 runs in 1 stack") == 1
    assert "round 2: 12 runs more, 48 in all" in text
    assert "0 of 48 runs" in text


@pytest.mark.parametrize("again", [4, 12])
def test_runs_that_begin_again_are_counted_once(again: int) -> None:
    state = State()
    state.begin(sweep_round(36))
    state.advance(3600 - 100 * again)
    assert state.begin(replace(sweep_round(again), again=True)) == []
    assert (state.done, state.total) == (3600 - 100 * again, 3600)
    assert (state.members, state.rounds) == (36, 1)
    state.advance(100 * again)
    assert state.begin(sweep_round(12)) == ["round 2: 12 runs more, 48 in all"]
    assert (state.done, state.total) == (3600, 4800)


def standing(ended: int, best: dict[str, Any], cells: int = 3) -> Standing:
    return Standing(ended, 48, "val/accuracy", cells, best, 0.93)


@pytest.mark.parametrize(
    ("width", "best", "cells", "shown"),
    [
        (10_000, {"optimizer.lr": 0.2}, 3, "4 of 48 runs  best val/accuracy 0.93 lr=0.2"),
        (10_000, {}, 1, "4 of 48 runs  val/accuracy 0.93"),
        (49, {"optimizer.lr": 0.2, "model.dropout": 0.5}, 3,
            "4 of 48 runs  best val/accuracy 0.93 lr=0.2 …"),
        (62, {"optimizer.lr": 0.200041, "model.dropout": 0.5}, 3,
            "4 of 48 runs  best val/accuracy 0.93 lr=0.2 dropout=0.5"),
    ],
)  # fmt: skip
def test_a_sweep_says_how_many_runs_ended_and_which_cell_is_best(
    width: int, best: dict[str, Any], cells: int, shown: str
) -> None:
    state = State()
    state.begin(sweep_round(48))
    assert state.words(width) == "0 of 48 runs"
    state.standing = lambda: standing(4, best, cells)
    assert state.words(width) == shown


def test_the_loss_so_far_is_the_mean_of_what_was_seen_within_the_epoch() -> None:
    state = State()
    state.begin(START)
    losses = iter([4.0, 2.0, 8.0, 8.0])
    state.loss = lambda: next(losses)
    seen = []
    for step in (1, 2, 5):  # an epoch has four steps
        state.advance(step)
        seen.append(state.words(40))
    assert seen == [
        "epoch 1 of 100  loss so far 4",
        "epoch 1 of 100  loss so far 3",
        "epoch 2 of 100  loss so far 8",
    ]
    state.row = {"train/loss": 0.5, "test/loss": 0.25}
    assert state.words(40) == "epoch 2 of 100  test/loss 0.25"


def test_a_path_says_how_many_fits_are_done() -> None:
    state = State()
    state.begin(Start("runs/toy/path-a", "cpu", 120, [], members=120, stacks=1, unit="fit"))
    state.advance(45)
    assert state.words(40) == "45 of 120 fits"


def test_something_is_said_before_training_begins() -> None:
    target = console(force_terminal=True)
    bar = Bar(target)
    bar.stop()
    assert "loading torch and data" in text_of(target)


@pytest.mark.parametrize("width", [60, 80, 100])
def test_the_bar_fits_and_keeps_its_numbers_whole(width: int) -> None:
    target = Console(file=io.StringIO(), width=width, force_terminal=True)
    bar = Bar(target)
    train(bar)
    bar.stop()
    lines = [Text.from_ansi(line).plain for line in re.split(r"[\r\n]", text_of(target))]
    shown = [line for line in lines if "%" in line]
    assert shown
    assert all(len(line) <= width for line in shown)
    assert all(re.search(r"━{10,20} +\d+% +(\d+:\d\d|--:--) ", line) for line in shown)
