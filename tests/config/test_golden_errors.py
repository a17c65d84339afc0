"""Exact messages: `golden_errors.txt` holds a config, its overrides (>>>) and the message."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from regrun.config.load import load_config
from regrun.errors import ConfigError


def _cases() -> dict[str, tuple[str, list[str], str]]:
    cases = {}
    text = (Path(__file__).parent / "golden_errors.txt").read_text(encoding="utf-8")
    for block in text.split("=== ")[1:]:
        title, _, rest = block.partition("\n")
        given, _, message = rest.partition("-----\n")
        lines = given.splitlines(keepends=True)
        config = "".join(line for line in lines if not line.startswith(">>> "))
        overrides = [line[4:].rstrip("\n") for line in lines if line.startswith(">>> ")]
        cases[title] = (config, overrides, message.strip("\n"))
    return cases


CASES = _cases()


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 40


@pytest.mark.parametrize("title", CASES)
def test_the_message_is_exactly(
    title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, overrides, message = CASES[title]
    monkeypatch.chdir(tmp_path)
    Path("case.yaml").write_text(config, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config("case.yaml", overrides)
    assert str(caught.value) == message
    assert len(caught.value.diagnostics) == len(caught.value.problems)
    copied = pickle.loads(pickle.dumps(caught.value))
    assert (str(copied), copied.diagnostics) == (message, caught.value.diagnostics)
