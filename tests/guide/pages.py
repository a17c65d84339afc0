"""README and the guide as documents to run: their blocks, and what happens when they are obeyed.

How a page is written:

* In a ``console`` block, lines that begin with ``$ `` are commands and the others their output, in
  which ``...`` stands for anything. A block without ``$ `` holds commands alone.
* A ``yaml``, ``toml`` or ``python`` block whose first line is a comment with a file name is a file
  of that name. Other Python blocks are executed, and other YAML blocks are parts of a config.
* A comment in front of a block says how it differs: ``<!-- check: parse -->`` for commands that
  take long, start a server or install something, ``<!-- check: exit 2 -->`` for commands that end
  with another exit code than 0.
"""

from __future__ import annotations

import doctest
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from typer.main import get_command

from regrun.cli.app import Verbs, app
from regrun.cli.sweep import load_sweep
from regrun.config.load import config_from_mapping, load_config
from regrun.guide import TOPICS
from tests.support.program import invoke

ROOT = Path(__file__).parents[2]
PAGES = {
    "README": ROOT / "README.md",
    "CONTRIBUTING": ROOT / ".github" / "CONTRIBUTING.md",
    **{topic: ROOT / "regrun" / "guide" / f"{topic}.md" for topic in TOPICS},
}

OTHER_PROGRAMS = {
    ".",
    "cd",
    "git",
    "mlflow",
    "pytest",
    "python",
    "ray",
    "sbatch",
    "scripts/check",
    "wandb",
}
"""Programs of commands that are not run."""

BASE = {
    "dataset": {"name": "digits"},
    "model": {"name": "mlp"},
    "optimizer": {"name": "sgd", "lr": 0.1},
}
"""The sections that a config cannot do without; a page may show a part of a config."""

_BLOCK = re.compile(
    r"(?:^<!-- check: (?P<check>[a-z]+)(?: (?P<code>\d+))?.*?-->\n)?"
    r"^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_FILE = re.compile(r"# (?P<name>[\w./-]+\.(?:yaml|toml|py))\n")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        language: The word after the opening fence.
        text: Everything between the fences.
        line: Line of the opening fence in the page, counted from 1.
        is_run: False if the commands are only parsed.
        exit_code: The exit code that the commands end with.
    """

    language: str
    text: str
    line: int
    is_run: bool = True
    exit_code: int = 0

    @property
    def file(self) -> str | None:
        """The name of the file that this block is, or None."""
        named = _FILE.match(self.text)
        return named["name"] if named and self.language in ("yaml", "toml", "python") else None

    def commands(self) -> Iterator[tuple[str, str]]:
        """Yield every command of a console block with the output that the page shows."""
        lines = re.sub(r"\\\n\s*", "", self.text).splitlines()
        if not any(line.startswith("$ ") for line in lines):
            lines = [f"$ {line}" for line in lines]
        command, output = "", list[str]()
        for line in lines:
            if line.startswith("$ "):
                if command:
                    yield command, "\n".join(output)
                command, output = line.removeprefix("$ ").partition("  #")[0].strip(), []
            else:
                output.append(line)
        yield command, "\n".join(output)


def blocks(page: str) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    text = PAGES[page].read_text(encoding="utf-8")
    return [
        Block(
            language=found["language"],
            text=found["text"],
            line=text.count("\n", 0, found.start("language")) + 1,
            is_run=found["check"] != "parse",
            exit_code=int(found["code"] or 0),
        )
        for found in _BLOCK.finditer(text)
    ]


def obey(page: str) -> None:
    """Do in the working directory what a page says: write its files, run its blocks in order."""
    names: dict[str, object] = {}
    for block in blocks(page):
        place = f"{PAGES[page].relative_to(ROOT)}:{block.line}"
        if block.file is not None:
            Path(block.file).parent.mkdir(parents=True, exist_ok=True)
            Path(block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            exec(compile(block.text, place, "exec"), names)
        elif block.language == "yaml":
            config_from_mapping({**BASE, **(yaml.safe_load(block.text) or {})}, {})
        elif block.language == "console":
            for command, output in block.commands():
                if block.is_run:
                    _run(command, output, block.exit_code, place)
                else:
                    _parse(command, place)


def _run(command: str, output: str, exit_code: int, place: str) -> None:
    """Run a command in this process, and compare what it prints with what the page shows."""
    program, *arguments = _words(command)
    assert program == "regrun", f"{place}: mark `{command}` as parsed only"
    result = invoke(*arguments)
    assert result.exit_code == exit_code, f"{place}: {command}\n{result.output}"
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    as_shown = doctest.OutputChecker().check_output(output, result.output, flags)
    assert not output or as_shown, f"{place}: {command}\n{result.output}"


def _parse(command: str, place: str) -> None:
    """Parse a command and load its config; `A && B` is two commands."""
    for part in command.split(" && "):
        program, *arguments = _words(part)
        if program != "regrun":
            assert program in OTHER_PROGRAMS, f"{place}: {part}"
            continue
        verb, *arguments = arguments
        given = program_verbs().load(verb).make_context(verb, arguments).params
        config, overrides = given.get("config"), given.get("overrides") or []
        if verb == "sweep":
            load_sweep(given["config"], overrides, given["seeds"])
        elif config is not None:
            load_config(config, overrides)


def program_verbs() -> Verbs:
    """Return the commands of the program."""
    group = get_command(app)
    assert isinstance(group, Verbs)
    return group


def _words(command: str) -> list[str]:
    """Split a command into words and expand patterns of paths, as a shell does it."""
    found = []
    for word in shlex.split(command):
        is_pattern = "*" in word and "=" not in word.split("/")[0]
        found += sorted(map(str, Path().glob(word))) or [word] if is_pattern else [word]
    return found
