"""The command table of the contract, and what the program really offers."""

from __future__ import annotations

import inspect

import pytest
from typer.main import get_command

from regrun.cli.app import VERBS, Verbs, app, function_of

CONTRACT = {
    "init": ["DATA"],
    "train": ["CONFIG", "KEY=VALUE"],
    "sweep": ["CONFIG", "KEY=VALUE"],
    "resume": ["DIR", "KEY=VALUE"],
    "predict": ["DIR", "DATA..."],
    "export": ["DIR", "FILE"],
    "inspect": ["CONFIG", "KEY=VALUE"],
    "compare": ["DIR"],
    "verify": ["DIR"],
    "path": ["CONFIG", "KEY=VALUE"],
    "ablate": ["CONFIG", "KEY=VALUE"],
    "reproduce": ["NAME"],
    "plot": ["DIR"],
    "report": ["DIR"],
    "view": ["RUNS"],
    "list": ["WHAT", "NAME"],
    "schema": [],
    "guide": ["TOPIC"],
}
TRAINING_OPTIONS = {"--json", "--quiet", "--device", "--threads"}


def parameters(verb: str) -> list[object]:
    group = get_command(app)
    assert isinstance(group, Verbs)
    return list(group.load(verb).params)


def test_the_verbs_are_those_of_the_contract() -> None:
    assert list(VERBS) == list(CONTRACT)


@pytest.mark.parametrize("verb", CONTRACT)
def test_the_arguments_are_those_of_the_contract(verb: str) -> None:
    names = [item.metavar for item in parameters(verb) if item.param_type_name == "argument"]  # type: ignore[attr-defined]
    assert names == CONTRACT[verb]


@pytest.mark.parametrize("verb", ["train", "sweep", "resume", "path", "ablate", "reproduce"])
def test_every_training_verb_has_the_shared_options(verb: str) -> None:
    options = {option for item in parameters(verb) for option in item.opts}  # type: ignore[attr-defined]
    assert options >= TRAINING_OPTIONS
    assert ("--runs-dir" in options) == (verb != "resume")


@pytest.mark.parametrize("verb", CONTRACT)
def test_every_parameter_and_every_verb_has_help(verb: str) -> None:
    assert all(item.help for item in parameters(verb))  # type: ignore[attr-defined]
    line = inspect.getdoc(function_of(verb))
    assert line
    assert line.splitlines()[0] == VERBS[verb]
    assert VERBS[verb].endswith(".")


@pytest.mark.parametrize("verb", sorted(CONTRACT.keys() - {"schema", "guide"}))
def test_every_verb_that_reports_can_do_so_in_json(verb: str) -> None:
    assert "--json" in {option for item in parameters(verb) for option in item.opts}  # type: ignore[attr-defined]
