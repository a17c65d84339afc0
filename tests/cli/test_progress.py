"""Progress as lines and as a bar."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest
from rich.console import Console

from regrun.cli.progress import Bar, Lines, watching
from regrun.execution.observer import Observer, Start

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
    assert len(reported) == 13  # the clock ticks once a step, and a line comes every 3 s
    assert reported[-1] == "step 39 of 40 (98%)  epoch 9  train/loss 0.125  test/loss 3"
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
