"""How heavy a start is: what `import regrun`, help, lists and the guide load."""

from __future__ import annotations

import json

import pytest

from tests.architecture.source import FILES, module_of
from tests.support.program import run_python

HEAVY = {
    "torch", "numpy", "pandas", "scipy", "sklearn", "optuna", "matplotlib", "tensorboardX",
    "tensorboard", "torchvision", "plotext", "pydantic", "yaml", "psutil", "ray",
}  # fmt: skip
HELP = ["--version", "--help", "guide", "guide words", "train --help"]
LISTS = ["list", "schema", "list models mlp"]

STAGES = """
import json, os, sys
from contextlib import redirect_stderr, redirect_stdout

def note(stage):
    found[stage] = sorted({name.split(".")[0] for name in sys.modules})

found = {}
commands, modules = json.loads(sys.argv[1])
import regrun
note("import")
from regrun.cli.app import run
for command in commands:
    sys.argv = ["regrun", *command.split()]
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        try:
            run()
        except SystemExit:
            pass
    note(command)
for module in modules:
    __import__(module)
sys.__stdout__.write(json.dumps(found))
"""
"""One interpreter goes through all of them: what a stage loads is not more than what is there."""


@pytest.fixture(scope="module")
def loaded() -> dict[str, set[str]]:
    """Stage → the packages that are loaded after it, and after those before it."""
    modules = [module_of(path) for path in FILES if path.stem != "__main__"]
    ended = run_python(STAGES, json.dumps([HELP + LISTS, modules]))
    assert (ended.returncode, ended.stderr) == (0, ""), "importing a module has an effect"
    return {stage: set(names) for stage, names in json.loads(ended.stdout).items()}


def test_importing_regrun_loads_nothing_heavy(loaded: dict[str, set[str]]) -> None:
    assert loaded["import"] & (HEAVY | {"typer", "rich"}) == set()


@pytest.mark.parametrize("command", HELP)
def test_help_and_the_guide_load_nothing_heavy(command: str, loaded: dict[str, set[str]]) -> None:
    assert "typer" in loaded[command]
    # Newer versions of typer read the arguments of a verb with pydantic.
    allowed = set() if command in ("--version", "--help") else {"pydantic"}
    assert loaded[command] & HEAVY <= allowed


@pytest.mark.parametrize("command", LISTS)
def test_lists_come_from_the_schema_without_torch(
    command: str, loaded: dict[str, set[str]]
) -> None:
    assert "pydantic" in loaded[command]
    heavy = {"torch", "numpy", "pandas", "scipy", "sklearn", "torchvision"}
    assert loaded[command] & heavy == set()
