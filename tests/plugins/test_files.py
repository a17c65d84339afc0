"""Kinds from single files, by `--plugin` and by the environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from regrun.kinds.plugins import FILES
from tests.support.program import Program

SOURCE = '''\
from typing import ClassVar, Literal

from regrun.plugins import Constraint, WeightPenalty


class _Base(WeightPenalty):
    formula: ClassVar[str] = "λ Σ log(1 + |w|)"
    reference: ClassVar[str] = "a test"

    def value(self, weight):
        return weight.abs().log1p().flatten(1).sum(1)


class Log(_Base):
    """Sum of logarithms."""

    type: Literal["log"]


class Box(Constraint):
    """Every entry is at most 1 away from 0."""

    type: Literal["box"]
    formula: ClassVar[str] = "|w| ≤ 1"
    reference: ClassVar[str] = "a test"

    def project_(self, weight, numbers):
        weight.clamp_(-1, 1)
'''
CONFIG = """\
dataset: {name: synthetic_linear, num_features: 3, num_train: 8, num_test: 4}
model: {name: linear}
penalty: {type: log, strength: 0.1}
constraints: {type: box}
optimizer: {name: sgd, lr: 0.01}
training: {epochs: 2}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with two kinds, next to a config that uses them."""
    (tmp_path / "mine.yaml").write_text(CONFIG)
    path = tmp_path / "own kinds.py"
    path.write_text(SOURCE, encoding="utf-8")
    return path


def test_a_run_says_which_file_it_was_trained_with(program: Program, file: Path) -> None:
    config, runs = file.parent / "mine.yaml", file.parent / "runs"
    trained = program("train", config, "--plugin", file, "--runs-dir", runs, fresh=True)
    assert trained.returncode == 0, trained.stderr
    (run,) = runs.glob("mine/*")
    stored = (run / "config.yaml").read_text()
    assert f"# plug-in regrun.penalties log: the file {file}, sha256 " in stored
    assert f"# plug-in regrun.constraints box: the file {file}, sha256 " in stored

    alone = program("resume", run, "training.epochs=3", fresh=True)
    assert alone.returncode == 2
    assert f"log came from the file {file} when this was stored; add --plugin '{file}'" in (
        alone.stderr
    )
    compared = program("compare", run, fresh=True)
    assert compared.returncode == 0, compared.stderr

    again = program("resume", run, "training.epochs=3", "--plugin", file, fresh=True)
    assert again.returncode == 0, again.stderr
    assert "has changed" not in again.stderr
    file.write_text(SOURCE.replace("Sum of", "The sum of"), encoding="utf-8")
    other = program("resume", run, "training.epochs=4", "--plugin", file, fresh=True)
    assert other.returncode == 0, other.stderr
    assert f"log has changed since this was stored, when it came from the file {file}" in (
        other.stderr
    )
    file.unlink()
    lost = program("resume", run, "training.epochs=5", fresh=True)
    assert f"add --plugin '{file}', which is not there now" in lost.stderr


def test_a_file_reaches_worker_processes(program: Program, file: Path) -> None:
    axes = ["training.batch_size=2,4", "penalty.type=l1,log"]
    swept = program(
        "sweep", file.parent / "mine.yaml", *axes, "--workers", "2", "--runs-dir",
        file.parent / "runs", "--plugin", file, fresh=True,
    )  # fmt: skip
    assert swept.returncode == 0, swept.stderr
    assert "4 completed" in swept.stdout and "2 workers" in swept.stderr
    (stored,) = file.parent.glob("runs/mine/*/sweep.yaml")
    assert f"# plug-in regrun.penalties log: the file {file}" in stored.read_text()


def test_the_environment_names_files_too(program: Program, file: Path) -> None:
    other = file.with_name("other.py")
    other.write_text(SOURCE.replace('"log"', '"log2"').replace('"box"', '"box2"'), encoding="utf-8")
    both = {FILES: os.pathsep.join(map(str, (file, other)))}
    listed = program("list", "penalties", fresh=True, env=both)
    assert listed.returncode == 0, listed.stderr
    assert {"log", "log2"} <= set(listed.stdout.split())
    one = program("list", "penalties", "log2", "--plugin", other, fresh=True)
    assert (one.returncode, "Sum of logarithms." in one.stdout) == (0, True)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import no_such", "own kinds.py: its import failed: ModuleNotFoundError"),
        ("raise SystemExit(7)", "own kinds.py: its import failed: SystemExit: 7"),
        ("x = = 1", "own kinds.py: its import failed: SyntaxError: invalid syntax (own kinds.py"),
        ("x = 1", "defines no class that is derived from one of regrun.plugins"),
        (
            "from torch import nn\nclass Net(nn.Module):\n    def __init__(self, width): pass\n",
            "own kinds.py:2: Net: width has no type; write width: int",
        ),
        (
            "from torch import optim\nclass Lion(optim.Optimizer): pass\n",
            "own kinds.py:2: Lion: steps one model, and regrun's optimizers step all models of a",
        ),
        (SOURCE.replace('"log"', '"l1"'), "own kinds.py:Log: type: l1 is taken by regrun"),
        (SOURCE.replace("def value", "def values"), "own kinds.py:Log: has no method value"),
        (SOURCE + "\nprint('NOISE')\n", ""),
    ],
)
def test_a_file_that_does_not_work_is_named(
    text: str, why: str, program: Program, file: Path
) -> None:
    file.write_text(text, encoding="utf-8")
    ended = program("list", "penalties", "--json", "--plugin", file, fresh=True)
    assert ended.returncode == (2 if why else 0), ended.stderr
    assert "NOISE" not in ended.stdout and ("NOISE" in ended.stderr) == ("NOISE" in text)
    assert why in ended.stderr and "Traceback" not in ended.stderr
    assert not why or f"comes with the file {file}; fix that file" in ended.stderr


@pytest.mark.parametrize("name", ["absent.py", "mine.yaml", "."])
def test_what_is_no_python_file_is_refused(name: str, program: Program, file: Path) -> None:
    ended = program("list", "--plugin", file.parent / name, fresh=True)
    assert ended.returncode == 2
    assert "Invalid value for '--plugin'" in ended.stderr
