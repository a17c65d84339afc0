"""What workers write is what the main process reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from regrun.sweeps.shared_progress import ENDED, LOST, RUNNING, SharedProgress


def test_everyone_sees_the_steps_and_values_of_each_stack_and_that_all_shall_stop(
    tmp_path: Path,
) -> None:
    mine = SharedProgress.create(tmp_path / "board", [1, 3, 2])
    other = SharedProgress(mine.file)
    other.slot(1).steps(7)
    other.slot(1).measured((0, 2), np.array([0.5, 0.25]))
    other.slot(2).ended(1, 4.0, counts=True)
    assert mine.steps() == [0, 7, 0]
    values = [slot.values.tolist() for slot in mine.slots()]
    np.testing.assert_array_equal(values[1], [0.5, np.nan, 0.25])
    np.testing.assert_array_equal(values[2], [np.nan, 4.0])
    assert not other.stopped
    mine.stop()
    assert other.stopped


def test_what_fails_loses_the_runs_that_had_not_ended(tmp_path: Path) -> None:
    progress = SharedProgress.create(tmp_path / "board", [3, 1])
    progress.slot(0).ended(1, 0.5, counts=True)
    progress.slot(0).ended(2, 0.5, counts=False)
    progress.lose(0)
    assert [slot.states.tolist() for slot in progress.slots()] == [[LOST, ENDED, LOST], [RUNNING]]
