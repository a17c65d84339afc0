"""Shell completion: config files, override keys, run directories, names. Loads no torch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from regrun.errors import PluginError
from regrun.escapes import escaped_name

if TYPE_CHECKING:
    from regrun.cli.catalog import Key

TOPICS = (
    "datasets", "models", "losses", "penalties", "constraints", "noise", "norms", "augmentation",
    "decay", "training", "optimizers", "schedules",
)  # fmt: skip
"""Topics of `regrun list` whose names are those of the schema, from data to schedule."""

LONGEST = 72
"""Characters of a description: the menus of shells have no room for more."""

_DEVICES = ("auto", "cpu", "cuda", "cuda:0")

LISTABLE = (*TOPICS, "reproductions", "runs")


def complete_config(incomplete: str) -> list[str]:
    """YAML files, and the folders on the way to them."""
    entries = _entries(incomplete)
    return [text for path, text in entries if path.is_dir() or path.suffix in (".yaml", ".yml")]


def complete_run_directory(incomplete: str) -> list[str]:
    """Folders."""
    return [text for path, text in _entries(incomplete) if path.is_dir()]


def complete_override(incomplete: str) -> list[tuple[str, str]]:
    """``optim`` → ``optimizer.lr=`` with its help; ``optimizer.name=a`` → the names with an a."""
    try:
        from regrun.cli.catalog import override_keys

        keys = override_keys()
    except PluginError:  # a broken plug-in: every command reports it, completion stays silent
        return []
    broken_off = _word_before_equals()
    name, equals, value = incomplete.partition("=")
    if broken_off is not None:
        return [(each, "") for each in _values(broken_off, keys, incomplete)]
    if equals:
        return [(f"{name}={each}", "") for each in _values(name, keys, value)]
    starting = sorted(key for key in keys if key.startswith(name))
    return [(f"{key}=", _in_brief(keys[key].description)) for key in starting]


def _values(key: str, keys: Mapping[str, Key], begun: str) -> list[str]:
    """What the value of a key can be, of those that go on after what is typed of it.

    In ``optimizer.name=sgd,ad`` that is the last of the values of an axis.
    """
    from regrun.config.changes import PLACES

    if key in PLACES:
        return [text for _, text in _entries(begun)]
    first, comma, last = begun.rpartition(",")
    choices = keys[key].choices if key in keys else ()
    taken = set(first.split(","))
    left = [each for each in choices if each.startswith(last) and each not in taken]
    return [f"{first}{comma}{choice}" for choice in left]


def _in_brief(text: str) -> str:
    """The first sentence of a description, in a line, as typer can show it."""
    from rich.markup import escape

    sentence = " ".join(text.split()).partition(". ")[0].removesuffix(".")
    return escape(sentence if len(sentence) <= LONGEST else f"{sentence[: LONGEST - 1].rstrip()}…")


def prepare_completion() -> None:
    """Let typer take the words of the line as they are meant, and give each of its answers a line.

    For bash `=` is a word; what is completed then is the word that follows it.
    """
    os.environ["TERMINAL_WIDTH"] = "10000"
    words, at = _words_of_bash()
    if at < len(words) and words[at] == "=":
        os.environ["COMP_CWORD"] = str(at + 1)


def _word_before_equals() -> str | None:
    """The key whose value bash completes as a word of its own."""
    words, at = _words_of_bash()
    return words[at - 2] if 2 <= at <= len(words) and words[at - 1] == "=" else None


def _words_of_bash() -> tuple[list[str], int]:
    """The words of the line that bash completes, and which of them; none of another shell."""
    variables = os.environ
    if variables.get("_REGRUN_COMPLETE") != "complete_bash":
        return [], 0
    words, at = variables.get("COMP_WORDS", ""), variables.get("COMP_CWORD", "")
    return words.split("\n"), int(at) if at.isdecimal() else 0


def complete_device(incomplete: str) -> list[str]:
    """Devices by name."""
    return [name for name in _DEVICES if name.startswith(incomplete)]


def complete_devices(incomplete: str) -> list[str]:
    """Those of a sweep, too."""
    return [name for name in (*_DEVICES, "cuda:0,1") if name.startswith(incomplete)]


def complete_executor(incomplete: str) -> list[str]:
    """Executors by name."""
    return [name for name in ("local", "ray") if name.startswith(incomplete)]


def complete_topic(incomplete: str) -> list[str]:
    """What `regrun list` can list."""
    return [topic for topic in LISTABLE if topic.startswith(incomplete)]


def complete_name(ctx: object, incomplete: str) -> list[str]:
    """Names within the topic that stands before."""
    topic = getattr(ctx, "params", {}).get("what")
    if topic == "reproductions":
        return complete_reproduction(incomplete)
    try:
        from regrun.cli.catalog import entries

        return [entry.name for entry in entries(topic) if entry.name.startswith(incomplete)]
    except PluginError:
        return []


def complete_reproduction(incomplete: str) -> list[str]:
    """Published results that `regrun reproduce` knows."""
    from regrun.studies.reproductions.registry import REPRODUCTIONS

    return [name for name in REPRODUCTIONS if name.startswith(incomplete)]


def complete_picture(incomplete: str) -> list[tuple[str, str]]:
    """Kinds of pictures with what they show."""
    from regrun.pictures.registry import PICTURES

    kinds = PICTURES.values()
    return [(kind.name, kind.summary) for kind in kinds if kind.name.startswith(incomplete)]


def complete_guide_topic(incomplete: str) -> list[str]:
    """Pages of the guide."""
    from regrun.guide import TOPICS

    return [topic for topic in TOPICS if topic.startswith(incomplete)]


def _entries(incomplete: str) -> Iterator[tuple[Path, str]]:
    """Paths that begin like this, each with the text that completes it."""
    head, slash, tail = incomplete.rpartition("/")
    try:
        folder = Path(head + slash or ".").expanduser()
        paths = sorted(folder.iterdir()) if folder.is_dir() else []
    except (OSError, RuntimeError):  # no permission, an impossible name, no such home folder
        return
    for path in paths:
        hidden = path.name.startswith(".") and not tail.startswith(".")
        # A shell that lists what can follow would print control characters as they are.
        plain = escaped_name(path.name) == path.name
        if path.name.startswith(tail) and not hidden and plain:
            yield path, f"{head}{slash}{path.name}" + ("/" if path.is_dir() else "")
