"""What `--help` shows, and that its examples are commands of the program."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from regrun.cli.app import VERBS, Verbs, program
from regrun.cli.help import EXAMPLES
from regrun.config.load import load_config
from regrun.config.schema import Config

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def loaded(verb: str) -> Any:
    group = program()
    assert isinstance(group, Verbs)
    return group.load(verb)


@pytest.mark.parametrize("verb", VERBS)
def test_flags_take_no_value_and_other_options_name_theirs(
    verb: str, invoke: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = invoke(verb, "--help").stdout
    for option in (each for each in loaded(verb).params if each.param_type_name == "option"):
        starts = (f"  {option.opts[0]} ", f"  {option.opts[0]},")
        (line,) = [line for line in text.splitlines() if line.startswith(starts)]
        names = f"  {', '.join(option.opts)}"
        assert option.is_flag == (option.metavar is None)
        assert line.startswith(f"{names}  " if option.is_flag else f"{names} {option.metavar}  ")


@pytest.mark.parametrize("columns", [30, 60, 80, 140])
@pytest.mark.parametrize("verb", VERBS)
def test_everything_but_an_example_fits(
    verb: str, columns: int, invoke: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text, _, examples = invoke(verb, "--help").stdout.partition("\nExamples\n")
    assert max(map(len, text.splitlines())) <= columns
    assert max(map(len, examples.splitlines())) <= 100
    assert examples.splitlines() == [f"  regrun {verb} {each}".rstrip() for each in EXAMPLES[verb]]


@pytest.mark.parametrize(
    ("verb", "example"), [(verb, each) for verb in VERBS for each in EXAMPLES[verb]]
)
def test_an_example_is_a_command(verb: str, example: str) -> None:
    words = shlex.split(example.partition(">")[0])
    given = loaded(verb).make_context(verb, words).params
    if "config" in given:
        sweeps = verb == "sweep"
        config = load_config(given["config"], given.get("overrides") or [], axes=sweeps).config
        assert isinstance(config, Config)
        assert not sweeps or config.sweep is not None


def test_the_help_of_sweep_says_what_its_own_values_are(invoke: Any) -> None:
    text = " ".join(invoke("sweep", "--help").stdout.split())
    assert "An axis, such as optimizer.lr=0.01,0.1" in text
    assert "An axis" not in invoke("train", "--help").stdout
