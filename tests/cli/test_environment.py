"""Odd environments: no home, no width, no locale, closed or full streams. Never a traceback."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from tests.support.program import COMMAND, PATIENCE, ROOT, run_python

VARIABLES: Mapping[str, Mapping[str, str | None]] = {
    "no home": {"HOME": None},
    "a home that is not there": {"HOME": "/nonexistent"},
    "a home that is a file": {"HOME": "/etc/passwd"},
    "an empty home": {"HOME": ""},
    "no folder for temporary files": {"TMPDIR": "/nonexistent"},
    "a file for temporary files": {"TMPDIR": "/etc/passwd"},
    "a width of 0": {"COLUMNS": "0", "LINES": "0"},
    "a width of 1": {"COLUMNS": "1", "LINES": "1"},
    "a width that is no number": {"COLUMNS": "abc", "TERMINAL_WIDTH": "abc"},
    "a negative width": {"COLUMNS": "-5"},
    "no width": {"COLUMNS": "", "LINES": "", "TERMINAL_WIDTH": ""},
    "an endless width": {"COLUMNS": "9" * 20, "TERMINAL_WIDTH": "9" * 20},
    "a dumb terminal": {"TERM": "dumb"},
    "no terminal": {"TERM": None},
    "an unknown terminal": {"TERM": "nonsense"},
    "the locale C": {"LC_ALL": "C"},
    "an unknown locale": {"LC_ALL": "xx_YY"},
    "ASCII": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "ASCII, and streams too": {
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONIOENCODING": "ascii",
    },
}
"""Environment variables, None: not set."""

STREAMS = ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", "2>/dev/full"]
"""Streams that are closed, or where nothing can be written."""

VERBS: Mapping[str, tuple[list[str], int]] = {
    "help": (["--help"], 0),
    "list": (["list", "norms"], 0),
    "json": (["list", "norms", "--json"], 0),
    "guide": (["guide", "words"], 0),
    "wrong usage": (["train", "none.yaml"], 2),
}
"""Commands and their exit codes."""


def run(
    folder: Path, words: list[str], changes: Mapping[str, str | None] | None = None, to: str = ""
) -> subprocess.CompletedProcess[bytes]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), **(changes or {})}
    return subprocess.run(
        ["sh", "-c", f"{shlex.join([*COMMAND, *words])} {to}"],
        cwd=folder,
        env={name: value for name, value in env.items() if value is not None},
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.parametrize("changes", VARIABLES)
@pytest.mark.parametrize("verb", ["list", "wrong usage"])
def test_any_variables_do(tmp_path: Path, verb: str, changes: str) -> None:
    words, code = VERBS[verb]
    ended = run(tmp_path, words, VARIABLES[changes])
    assert ended.returncode == code, ended.stderr
    assert b"Traceback" not in ended.stderr
    assert b"norms" in ended.stdout or b"none.yaml" in ended.stderr


@pytest.mark.long
@pytest.mark.parametrize("changes", VARIABLES)
@pytest.mark.parametrize("verb", ["help", "json", "guide"])
def test_any_variables_do_for_other_verbs(tmp_path: Path, verb: str, changes: str) -> None:
    words, code = VERBS[verb]
    ended = run(tmp_path, words, VARIABLES[changes])
    assert (ended.returncode, ended.stderr) == (code, b"")
    assert len(ended.stdout) > 100


@pytest.mark.parametrize("to", STREAMS)
@pytest.mark.parametrize("verb", ["list", "json", "wrong usage"])
def test_any_streams_do(tmp_path: Path, verb: str, to: str) -> None:
    words, code = VERBS[verb]
    ended = run(tmp_path, words, to=to)
    assert ended.returncode == code, ended.stderr
    assert b"Traceback" not in ended.stderr


@pytest.mark.long
@pytest.mark.parametrize("case", [*VARIABLES, *STREAMS])
def test_a_run_is_trained_anywhere(tmp_path: Path, case: str) -> None:
    config = {
        "dataset": {"name": "synthetic_linear", "num_features": 3},
        "model": {"name": "linear"},
        "optimizer": {"lr": 0.1},
        "training": {"epochs": 2},
    }
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    ended = run(tmp_path, ["train", "c.yaml"], VARIABLES.get(case), case if case in STREAMS else "")
    assert ended.returncode == 0, ended.stderr
    assert b"Traceback" not in ended.stderr
    assert len(list(tmp_path.glob("runs/c/*/summary.json"))) == 1


@pytest.mark.parametrize(
    "name", ["new\nline.yaml", "\x1b[31m.yaml", "ünï.yaml", " .yaml", "-.yaml"]
)
def test_a_config_may_have_any_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("dataset: {name: digits}")
    ended = run(tmp_path, ["train", "--", name])
    assert ended.returncode == 2
    assert b"model" in ended.stderr
    assert b"\x1b" not in ended.stderr


def test_no_folder_for_temporary_files_at_all_is_a_fault_of_storage() -> None:
    code = (
        "import sys, tempfile; from regrun.cli import app\n"
        "tempfile._candidate_tempdir_list = lambda: ['/nonexistent']\n"
        "@app.app.command('verb')\n"
        "def verb(): tempfile.TemporaryDirectory()\n"
        "sys.argv = ['regrun', 'verb']; app.main()"
    )
    ended = run_python(code)
    assert ended.returncode == 4
    assert "temporary files" in ended.stderr
    assert "No usable temporary directory found in ['/nonexistent']" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_config_may_come_through_the_shell(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("model: 3")
    config = tmp_path / "c.yaml"
    program = shlex.join([*COMMAND, "train"])
    for command in (
        f"cat {config} | {program} /dev/stdin",
        f"{program} /dev/stdin < {config}",
        f"{program} <(cat {config})",
    ):
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        ended = subprocess.run(
            ["bash", "-c", command], env=env, capture_output=True, timeout=PATIENCE, check=False
        )
        assert ended.returncode == 2
        assert b":1:8: model: 3 is not a section" in ended.stderr


def test_formulas_are_spelled_out_for_streams_of_ascii(tmp_path: Path) -> None:
    config = "dataset: {name: wine}\nmodel: {name: linear}\noptimizer: {name: adam, lr: 0.1}\n"
    (tmp_path / "adam.yaml").write_text(config)
    text = run(tmp_path, ["inspect", "adam.yaml"], VARIABLES["ASCII, and streams too"]).stdout
    assert b"/ (sqrt(v / (1 - 0.999^t)) + 1e-08)" in text
