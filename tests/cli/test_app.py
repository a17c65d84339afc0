"""How the program ends: codes, streams, pipes. Real processes where it matters."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import regrun
from regrun.cli import app as app_module
from regrun.cli.console import complain, wrapped
from tests.support.program import COMMAND as PROGRAM
from tests.support.program import PATIENCE, ROOT, Program, run_python


def run_verb(body: str) -> subprocess.CompletedProcess[str]:
    """Run the program with one more verb, whose body is given, and call it."""
    lines = [
        "import sys",
        "from regrun.cli import app",
        "from regrun import errors",
        "@app.app.command('verb')",
        "def verb():",
        *(f"    {line}" for line in body.splitlines()),
        "sys.argv = ['regrun', 'verb']",
        "app.main()",
    ]
    return run_python("\n".join(lines))


def run(command: list[str], stdout: Any = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        stdout=stdout,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )


def test_version_is_the_packages_own(invoke: Any) -> None:
    result = invoke("--version")
    assert (result.exit_code, result.stdout) == (0, f"regrun {regrun.__version__}\n")


def test_python_m_regrun_is_regrun() -> None:
    for arguments in (["--version"], ["list", "norms"], ["--help"], ["nonsense"]):
        as_module = run([sys.executable, "-m", "regrun", *arguments])
        as_program = run([*PROGRAM, *arguments])
        assert (as_module.returncode, as_module.stdout, as_module.stderr) == (
            as_program.returncode, as_program.stdout, as_program.stderr
        )  # fmt: skip
    assert as_module.returncode == 2


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_stream_is_no_bug(closed: str) -> None:
    command = f"{shlex.join([*PROGRAM, 'list', 'norms'])} {closed}"
    done = run(["sh", "-c", command])
    assert done.returncode == 0
    assert done.stderr == ""


def test_quiet_is_quiet_to_the_end_also_with_torchvision(
    program: Program, configs: Path, real_data: Path, tmp_path: Path
) -> None:
    small = ["training.epochs=1", "dataset.num_train=20", "dataset.num_test=10"]
    place = ["--quiet", "--runs-dir", tmp_path]
    done = program("train", configs / "l1_mnist.yaml", *small, *place, fresh=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_help_names_every_verb_in_the_order_of_a_days_work(invoke: Any) -> None:
    text = invoke("--help").stdout
    places = [text.index(f" {verb} ") for verb in app_module.VERBS]
    assert places == sorted(places)


@pytest.mark.parametrize("verb", app_module.VERBS)
def test_every_verb_explains_itself(invoke: Any, verb: str) -> None:
    result = invoke(verb, "--help")
    assert result.exit_code == 0
    assert " ".join(app_module.VERBS[verb].split()[:4]) in " ".join(result.stdout.split())


@pytest.mark.parametrize("verb", ["predict", "export", "resume"])
def test_verbs_that_take_a_run_or_a_sweep_say_so(invoke: Any, verb: str) -> None:
    assert "A run or a sweep." in invoke(verb, "--help").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["list", "--nonsense"],
        ["compare"],
        ["train"],
        ["train", "x.yaml", "--device", "tpu"],
        ["view", "--port", "70000"],
    ],
)
def test_wrong_usage_ends_with_2_and_says_so_on_stderr(invoke: Any, arguments: list[str]) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr != ""


def test_a_gpu_that_is_not_supported_is_refused_in_a_line(invoke: Any) -> None:
    result = invoke("train", "x.yaml", "--device", "mps")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "--device mps: regrun does not train on Apple GPUs; use cpu\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("errors.UsageError('reported')", 2),
        ("errors.ConfigError.at('model.name', 'reported')", 2),
        ("errors.DivergedError('reported')", 3),
        ("errors.StorageError('reported')", 4),
        ("errors.CorruptInputError('reported')", 5),
        ("errors.Interrupted('reported', 2)", 130),
        ("errors.Interrupted('reported', 15)", 143),
    ],
)
def test_every_error_ends_with_its_code_and_only_its_message(error: str, code: int) -> None:
    ended = run_verb(f"raise {error}")
    assert ended.returncode == code
    assert ended.stderr.endswith("reported\n")
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


def test_a_bug_ends_with_1_and_can_be_reported() -> None:
    ended = run_verb("raise TypeError('oh')")
    assert ended.returncode == 1
    assert "TypeError: oh" in ended.stderr
    assert "This is a bug in regrun" in ended.stderr
    assert "regrun verb" in ended.stderr


def test_control_c_ends_with_130_without_a_traceback() -> None:
    ended = run_verb("raise KeyboardInterrupt")
    assert ended.returncode == 130
    assert "Traceback" not in ended.stderr
    assert "bug" not in ended.stderr


@pytest.mark.parametrize("arguments", [["list"], ["schema"], ["--help"], ["list", "--json"]])
def test_a_reader_that_goes_away_is_no_error_to_talk_about(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = run([*PROGRAM, *arguments], stdout=writing)
    finally:
        os.close(writing)
    assert ended.returncode == 128 + signal.SIGPIPE
    assert ended.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["schema"], ["list", "penalties"]])
def test_output_to_a_full_disk_ends_with_4(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        ended = run([*PROGRAM, *arguments], stdout=full)
    assert ended.returncode == 4
    assert "No space left" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_ascii_terminal_gets_spelt_out_symbols_not_an_error(program: Any) -> None:
    ended = program("list", "penalties", fresh=True, env={"PYTHONIOENCODING": "ascii"})
    assert ended.returncode == 0
    assert ended.stdout.isascii()
    assert "lambda" in ended.stdout
    assert "?" not in ended.stdout


def test_json_on_an_ascii_terminal_is_still_the_same_json(program: Any) -> None:
    import json

    there = program("list", "penalties", "--json", fresh=True, env={"PYTHONIOENCODING": "ascii"})
    here = program("list", "penalties", "--json")
    assert there.stdout.isascii()
    assert json.loads(there.stdout) == json.loads(here.stdout)
    assert "λ" in here.stdout


@pytest.mark.parametrize(
    "arguments", [["list"], ["train", "c.yaml"], ["compare", "runs"], ["resume", "/runs/x"]]
)
def test_a_deleted_working_directory_is_wrong_usage(tmp_path: Path, arguments: list[str]) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    command = f"cd {gone} && rmdir {gone} && {shlex.join([*PROGRAM, *arguments])}"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(["sh", "-c", command], env=env, capture_output=True, check=False)
    message = b"the working directory is gone; change into one that is there\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, b"", message)


@pytest.mark.parametrize(
    "arguments",
    [["train", "c\udcff.yaml"], ["list", "--runs-dir", "\udcff"], ["compare", "\udcff/a"]],
)
def test_a_name_that_is_not_utf_8_is_wrong_usage(invoke: Any, arguments: list[str]) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert r"\udcff" in result.stderr
    assert "this name is not UTF-8, and results could not hold it; rename it" in result.stderr


@pytest.mark.parametrize("columns", ["20", "60", "200"])
def test_help_fits_any_terminal(program: Any, columns: str) -> None:
    ended = program("--help", env={"COLUMNS": columns, "TERMINAL_WIDTH": columns}, fresh=True)
    assert ended.returncode == 0
    assert max(len(line) for line in ended.stdout.splitlines()) <= int(columns)


def test_no_escape_codes_without_a_terminal(program: Any) -> None:
    for arguments in (["--help"], ["list"], ["nonsense"]):
        ended = program(*arguments)
        assert "\x1b" not in ended.stdout + ended.stderr


def test_a_command_within_prose_is_not_broken() -> None:
    text = "it is flattered by the choice: regrun resume DIR --confirm 5 trains it again"
    assert wrapped(text, 48).splitlines() == [
        "it is flattered by the choice:",
        "  regrun resume DIR --confirm 5 trains it again",
    ]


ERROR = """c.yaml:1:1: the momentum must not carry the noise of batches
    5 | penalty: {type: l1, strength: 0.01, and: a, long: line}
      | ^^^^^^^
stopped; carry on with: regrun resume runs/digits/sweep-a1b2c3 --seeds 5"""


def test_prose_of_errors_is_broken_between_words_and_nothing_else_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("FORCE_COLOR", "1")
    complain(ERROR)
    rest = ERROR.splitlines()[1:]
    assert capsys.readouterr().err.splitlines() == [
        "c.yaml:1:1: the momentum must not carry",
        "  the noise of batches",
        *rest,
    ]
    monkeypatch.delenv("FORCE_COLOR")
    complain(ERROR)
    assert capsys.readouterr().err == f"{ERROR}\n"
