"""Whatever data are called, a terminal gets visible characters."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from rich.text import Text

from regrun.cli.console import notices, notify, print_csv, print_json, say
from regrun.cli.format import name_table, table
from regrun.cli.progress import Bar, Lines
from regrun.execution.observer import Start
from tests.support.program import Program, invoke

NAMES: Mapping[str, str] = {
    "a\x1b[31mb": r"a\x1b[31mb",
    "a\x1b]0;title\x07b": r"a\x1b]0;title\x07b",
    "a\x9b31mb": r"a\x9b31mb",
    "a\rb": r"a\rb",
    "a\x08b": r"a\x08b",
    "a\x7fb": r"a\x7fb",
    "a\u202eb": r"a\u202eb",
    "a\u2066b": r"a\u2066b",
    "a\u2028b": r"a\u2028b",
    "a\udcffb": r"a\udcffb",
    "[red]a": "[red]a",
    "[/]a": "[/]a",
    ":smile:": ":smile:",
}
"""Names of columns, classes or files → how they are shown."""


def _bar(name: str) -> None:
    bar = Bar(notices())
    bar.on_start(Start(name, "cpu", 4, [name], epochs=1))
    bar.on_message(name)
    bar.stop()


def _lines(name: str) -> None:
    Lines().on_start(Start(name, "cpu", 4, [name], epochs=1))


PRINTERS: Mapping[str, Callable[[str], object]] = {
    "a line": say,
    "a coloured line": lambda name: say(Text.assemble(("x", "bold"), (name, "red"))),
    "the cells of a table": lambda name: say(table(["x"], [[name]])),
    "coloured cells of a table": lambda name: say(table(["x"], [[Text(name, "red")]])),
    "the headers of a table": lambda name: say(table([name], [["x"]])),
    "the title of a table": lambda name: say(name_table([["x", "y"]], name)),
    "names and what they are": lambda name: say(name_table([[name, name]])),
    "a message": notify,
    "lines of progress": _lines,
    "a bar": _bar,
    "CSV": lambda name: print_csv([[name, 1]]),
}
"""Everything that prints."""


class Terminal(io.StringIO):
    """A stream that says it is one."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """What stdout and stderr print to from now on; pytest sets its own after each fixture."""
    stream = Terminal()
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, stream)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm-256color")
    return stream


@pytest.mark.parametrize("name", NAMES, ids=ascii)
@pytest.mark.parametrize("printer", PRINTERS)
def test_names_are_shown_in_visible_characters(
    monkeypatch: pytest.MonkeyPatch, printer: str, name: str
) -> None:
    screen = terminal(monkeypatch)
    PRINTERS[printer](name)
    shown = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", screen.getvalue())  # rich's own
    if "coloured" not in printer:  # rich drops some of these of its own texts
        assert NAMES[name] in shown
    assert [char for char in shown if not char.isprintable() and char not in "\n\r"] == []
    assert "a\rb" not in shown


def test_rich_keeps_its_own_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    say(Text("bold\x1b", "bold"))
    assert screen.getvalue() == "\x1b[1mbold\\x1b\x1b[0m\n"


@pytest.mark.parametrize("name", sorted(NAMES.keys() - {"a\udcffb"}), ids=ascii)
def test_json_has_no_control_characters_and_is_the_same_document(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    screen = terminal(monkeypatch)
    print_json({name: [name]})
    assert json.loads(screen.getvalue()) == {name: [name]}
    assert [char for char in screen.getvalue() if not char.isprintable()] in ([], ["\n"] * 5)


def test_csv_to_a_pipe_is_as_the_data_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_csv([["a\x1b[31mb", "c\nd"]])
    assert capsys.readouterr().out == 'a\x1b[31mb,"c\nd"\n'


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "{}"],
        ["train", "configs/digits.yaml", "{}"],
        ["train", "configs/digits.yaml", "{}=1"],
        ["train", "configs/digits.yaml", "dataset.path={}"],
        ["list", "{}"],
        ["list", "--{}"],
        ["--{}"],
        ["{}"],
        ["guide", "{}"],
        ["compare", "{}"],
        ["resume", "{}"],
        ["predict", "{}", "x.csv"],
        ["reproduce", "{}"],
        ["train", "configs/digits.yaml", "--device", "{}"],
    ],
    ids=" ".join,
)
def test_errors_quote_arguments_in_visible_characters(arguments: list[str]) -> None:
    result = invoke(*(word.format("a\x1b[31m\x9b\u202eb") for word in arguments))
    assert result.exit_code in (2, 5)
    assert "\x1b" not in result.output
    assert [char for char in result.output if not char.isprintable() and char != "\n"] == []


def test_the_report_of_a_bug_is_in_visible_characters(program: Program, tmp_path: Path) -> None:
    from tests.support.program import run_python

    code = (
        "import sys; from regrun.cli import app\n"
        "@app.app.command('verb')\n"
        "def verb(): raise TypeError('a\\x1b[31mb')\n"
        "sys.argv = ['regrun', 'verb']; app.main()"
    )
    ended = run_python(code)
    assert ended.returncode == 1
    assert r"TypeError: a\x1b[31mb" in ended.stderr
    assert "\x1b" not in ended.stderr
