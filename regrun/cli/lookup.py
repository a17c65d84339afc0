"""What `regrun list WORD` finds: any topic, section, kind or key of the config."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from regrun.cli.catalog import Entry, Key, entries, override_keys
from regrun.cli.completion import TOPICS
from regrun.config.schema import Config
from regrun.config.schema_tree import fields, root, section_of, walk
from regrun.errors import UsageError
from regrun.kinds.base import names_of
from regrun.kinds.registry import KINDS
from regrun.suggest import did_you_mean

_TAGS = ("name", "type")


@dataclass(frozen=True)
class Found:
    """All that a word names."""

    word: str
    topics: Sequence[str] = ()
    """Topics whose names a section of this name may choose from."""
    entries: Sequence[tuple[str, Entry]] = ()
    """Topic and entry of this name."""
    keys: Sequence[tuple[Key, Sequence[str]]] = ()
    """Keys, and the kinds that have them where not all kinds of their section do."""


def look_up(word: str) -> Found:
    """Everything of this name. Raises UsageError with suggestions when there is nothing."""
    keys = override_keys()
    topics = [topic for topic in TOPICS if word in (topic, _section_of_topic(topic))]
    named = [(topic, entry) for topic in TOPICS for entry in entries(topic) if entry.name == word]
    chosen = [key for key in keys if word in (key, key.rpartition(".")[2]) or _is_below(key, word)]
    if topics and section_of(fields(Config).get(word)):
        chosen = []  # those of every kind: too many, and shown with each kind
    if not (topics or named or chosen):
        chosen = [key for key in keys if word in key]
        named = [(topic, e) for topic in TOPICS for e in entries(topic) if word in e.name]
    if not (topics or named or chosen):
        raise UsageError(f"{word}: no topic, kind or key of the config{_hint(word, keys)}")
    kinds = dict(_kinds_with(chosen))
    return Found(word, topics, named, [(keys[key], kinds.get(key, ())) for key in chosen])


def keys_below(section: str) -> list[Key]:
    """The keys of a section of one kind, and those within it; none of any other."""
    node = section_of(fields(Config).get(section))
    if node is None or len(node.distinct()) > 1:
        return []
    return [key for name, key in override_keys().items() if name.startswith(f"{section}.")]


def report(found: Found) -> list[RenderableType]:
    """The keys and entries, for people."""
    parts: list[RenderableType] = []
    for key, kinds in found.keys:
        parts += ["", *described(key, kinds)]
    for topic, entry in found.entries:
        parts += ["", Text(f"{entry.name} ({topic})", "bold"), f"  {entry.line}"]
        parts += [f"  {label}: {said}" for label, said in entry.about.items()]
        parts.append(f"  its keys: regrun list {topic} {entry.name}")
    return parts[1:]


def document(found: Found) -> dict[str, Any]:
    """The same as plain data."""
    return {
        "word": found.word,
        "topics": list(found.topics),
        "entries": [
            {"topic": topic, "name": entry.name, "description": entry.line}
            for topic, entry in found.entries
        ],
        "keys": [
            {
                "name": key.name,
                "values": key.values,
                "default": key.default,
                "description": key.description,
                "kinds": list(kinds),
            }
            for key, kinds in found.keys
        ],
    }


def described(key: Key, kinds: Sequence[str] = ()) -> list[RenderableType]:
    """A key in three lines: its name, what it may hold, what it does."""
    default = "required" if key.default == "required" else f"default {key.default}"
    part, _, name = key.name.rpartition(".")
    chooses = name in _TAGS and part and not key.description
    text = f"Chooses the kind of {part}." if chooses else key.description
    return [
        Text(key.name, "bold"),
        f"  {key.values}; {default}" if len(key.values) < 200 else f"  {default}",
        *([f"  {text}"] if text else []),
        *([f"  a key of {', '.join(kinds)}"] if kinds else []),
    ]


def _section_of_topic(topic: str) -> str:
    """The section of the config that the kinds of a topic are for: `optimizer`."""
    for part, node in fields(Config).items():
        section = section_of(node)
        if section and KINDS.get(topic) and set(KINDS[topic]) <= set(section.distinct()):
            return part
    return ""


def _is_below(key: str, word: str) -> bool:
    return key.startswith(f"{word}.") or f".{word}." in key


def _kinds_with(keys: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """For keys that not every kind of their section has: those that have them."""
    having: dict[str, list[Any]] = {}
    for path, kind, _ in walk(root()):
        having.setdefault(path, []).append(kind)
    for key in keys:
        section = section_of(fields(Config).get(key.partition(".")[0]))
        if section and len(having[key]) < len(section.distinct()) and key.count(".") == 1:
            yield key, [_label(kind) for kind in having[key]]


def _label(kind: Any) -> str:
    names = names_of(kind)
    return names[0] if len(names) == 1 else kind.__name__.lower()


def _hint(word: str, keys: Any) -> str:
    words = {part for key in keys for part in (key, key.rpartition(".")[2])}
    words |= {entry.name for topic in TOPICS for entry in entries(topic)} | set(TOPICS)
    return did_you_mean(word, sorted(words)) or "; see `regrun list`"
