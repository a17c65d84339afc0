"""Plain data → `Config`, or every problem with it, each with its path as written.

A message gives the value first, then the rule that it breaks. Pydantic's error types and their
context say what is wrong; the schema tree knows what could have stood there.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from pydantic import ValidationError

from regrun.config.schema import Config
from regrun.config.schema_tree import (
    AnyOf,
    Choice,
    ListNode,
    Node,
    Place,
    Scalar,
    SectionNode,
    fields,
    paths_by_key,
    trace,
)
from regrun.errors import KeyPath, Problem
from regrun.suggest import SYNONYMS, did_you_mean, nearest

_MOST = 200
"""Problems that are looked at; nobody reads more."""
_LONGEST = 60
"""Characters of a value that a message quotes."""


@dataclass(frozen=True)
class KeyProblem(Problem):
    """The key is wrong, not its value."""

    chosen_by: KeyPath | None = None
    """The `name` or `type` to blame, if another kind of this section has the key."""


@dataclass(frozen=True)
class MissingKey(Problem):
    """The section at ``path`` lacks a key."""

    key: str = ""
    chosen_by: KeyPath | None = None


def validate(tree: Mapping[str, Any]) -> tuple[Config | None, list[Problem]]:
    """The config that plain data mean; or None, and every problem with them."""
    try:
        return Config.model_validate(tree), []
    except ValidationError as error:
        found = _Problems()
        for each in error.errors(include_url=False)[:_MOST]:
            found.add(each, trace(each["loc"], tree, labelled=True))
    problems = found.all()
    if found.meant:  # what else is wrong with sections whose kind is misspelt
        corrected: Any = tree
        for path, kind in found.meant.items():
            corrected = _replaced(corrected, path, kind)
        known = {problem.path for problem in problems}
        problems += [each for each in validate(corrected)[1] if each.path not in known]
    return None, problems


def _replaced(tree: Any, path: KeyPath, value: Any) -> Any:
    """A copy with another value at a path that is there."""
    if not path:
        return value
    copy: Any = dict(tree) if isinstance(tree, Mapping) else list(tree)
    copy[path[0]] = _replaced(copy[path[0]], path[1:], value)
    return copy


@dataclass
class _Problems:
    """Collects pydantic's errors as problems, one for each place and cause."""

    found: dict[Problem, None] = field(default_factory=dict)
    unions: dict[KeyPath, tuple[AnyOf, list[Any]]] = field(default_factory=dict)
    """Where any of several types may stand: pydantic's errors, one or more for each of them."""
    meant: dict[KeyPath, str] = field(default_factory=dict)
    """Paths of misspelt kinds, and the kinds that were probably meant."""
    intended: set[tuple[KeyPath, str]] = field(default_factory=set)
    """Sections with a misspelt key, and the right key, which is then not reported as missing."""

    def all(self) -> list[Problem]:
        """Every problem. Errors of a union's list entries stand for the union's."""
        inside = {problem.path[:-1] for problem in self.found}
        for path, (node, errors) in self.unions.items():
            if path not in inside:
                self.found[Problem(path, _union_message(node, errors))] = None
        return [
            problem
            for problem in self.found
            if not (
                isinstance(problem, MissingKey) and (problem.path, problem.key) in self.intended
            )
        ]

    def add(self, error: Any, places: list[Place]) -> None:
        """Note one error; ``places`` leads from the root to it."""
        here, parent = places[-1], places[-2] if len(places) > 1 else places[-1]
        kind = error["type"]
        if isinstance(here.node, AnyOf):
            self.unions.setdefault(here.path, (here.node, []))[1].append(error)
        else:
            self.found[self._problem(kind, error, here, parent)] = None

    def _problem(self, kind: str, error: Any, here: Place, parent: Place) -> Problem:
        node = here.node
        if kind in ("value_error", "assertion_error"):
            return _raised_by_validator(str(error["ctx"]["error"]), here)
        if isinstance(node, SectionNode) and kind == "union_tag_invalid":
            return self._unknown_kind(node, here)
        if isinstance(node, SectionNode) and kind == "union_tag_not_found":
            return _without_tag(node, here)
        if isinstance(parent.node, SectionNode) and kind == "missing":
            return _missing(parent, str(here.path[-1]))
        if isinstance(parent.node, SectionNode) and kind == "extra_forbidden":
            return self._unknown_key(parent.node, parent, here.path[-1])
        if isinstance(parent.node, ListNode) and kind == "missing":
            return Problem(parent.path, _wrong_length(parent.value, parent.node.length))
        return Problem(here.path, _message(kind, error, node))

    def _unknown_kind(self, node: SectionNode, here: Place) -> Problem:
        path, value = here.path, here.value
        if isinstance(value, Mapping):
            path, value = (*path, node.tag or ""), value[node.tag]
        if isinstance(value, str):
            kind = nearest(value, node.tags())
            if kind is not None:
                self.meant[path] = kind
        return Problem(path, unknown_kind(node, value))

    def _unknown_key(self, node: SectionNode, parent: Place, key: str | int) -> Problem:
        message, intended = unknown_key(node, parent.value, key)
        if intended:
            self.intended.add((parent.path, intended))
        chosen_by = _tag_path(parent) if node.kinds_with(str(key)) else None
        return KeyProblem((*parent.path, key), message, chosen_by)


def _without_tag(node: SectionNode, here: Place) -> Problem:
    """The key that chooses the kind is missing, or misspelt."""
    tag = str(node.tag)
    known = {name for kind in node.distinct() for name in fields(kind)}
    for key in islice(here.value, 20):
        if key not in known and nearest(str(key), known) == tag:
            return KeyProblem((*here.path, key), f'unknown key, did you mean "{tag}"?')
    return _missing(here, tag)


def _missing(section: Place, key: str) -> MissingKey:
    return MissingKey(section.path, f'missing key "{key}"', key, _tag_path(section))


def _tag_path(place: Place) -> KeyPath | None:
    tag = place.node.tag if isinstance(place.node, SectionNode) else None
    return (*place.path, tag) if tag else None


def _raised_by_validator(text: str, here: Place) -> Problem:
    """A rule between keys: its text may begin with the key that is to blame."""
    named = re.match(r"(\w+): (?s:(.*))", text)
    kind = here.node.kind(here.value) if isinstance(here.node, SectionNode) else None
    if named and kind and named[1] in fields(kind):
        return Problem((*here.path, named[1]), named[2])
    return Problem(here.path, text)


_NOUNS: Mapping[type, str] = {
    int: "an integer",
    float: "a number",
    bool: "true or false",
    str: "a string",
}

_MESSAGES: Mapping[str, str] = {
    "bool_type": "{value} is not true or false",
    "dict_type": "{value} is not a mapping",
    "finite_number": "{value} is not a finite number",
    "float_type": "{value} is not a number",
    "greater_than": "{value} is not above {gt:g}",
    "greater_than_equal": "{value} is below {ge:g}",
    "int_type": "{value} is not an integer",
    "less_than": "{value} is not below {lt}",
    "less_than_equal": "{value} is above {le}",
    "model_type": "{value} is not a section",
    "string_too_long": "{value} has more than {max_length} characters",
    "string_too_short": "the string is empty",
    "string_type": "{value} is not a string",
}
"""Pydantic's error type → message, with the fields of pydantic's context."""

_BOUNDS = {"greater_than": "gt", "greater_than_equal": "ge", "less_than": "lt",
           "less_than_equal": "le"}  # fmt: skip


def _message(kind: str, error: Any, node: Node | None) -> str:
    """Why a value cannot stand where ``node`` is the rule."""
    value, context = error["input"], error.get("ctx", {})
    if kind in _BOUNDS:
        interval = _interval(node, _BOUNDS[kind], context)
        if interval:
            return f"{show(value)} is not in {interval}"
    if kind == "int_type" and isinstance(value, float):
        if not math.isfinite(value):
            kind = "finite_number"
        elif value.is_integer() and abs(value) < 1e18:
            return f"{show(value)} is not an integer; write {int(value)}"
    if isinstance(node, Choice):
        return f"{show(value)} is not {_words(node)}{_hint(node, value)}"
    if isinstance(node, SectionNode) and kind == "model_attributes_type":
        return f"{show(value)} is not a section{_as_section(node, value)}"
    if isinstance(node, ListNode):
        return _list_message(node, value)
    if kind in _MESSAGES:
        return _MESSAGES[kind].format(value=show(value), **context)
    return f"{show(value)}: {error['msg']}"


def _interval(node: Node | None, bound: str, context: Mapping[str, Any]) -> str:
    """Both bounds of the number that pydantic says one bound of, empty if it has only one."""
    options = node.options if isinstance(node, AnyOf) else (node,)
    for each in options if isinstance(context[bound], float) else ():
        if isinstance(each, Scalar) and getattr(each, bound) == context[bound]:
            low = each.gt if each.ge is None else each.ge
            high = each.lt if each.le is None else each.le
            if low is not None and high is not None:
                opening = "[" if each.gt is None else "("
                closing = "]" if each.lt is None else ")"
                return f"{opening}{low:g}, {high:g}{closing}"
    return ""


def _union_message(node: AnyOf, errors: Sequence[Any]) -> str:
    """Why none of several types fits: the broken bound of the one whose type fits, if any."""
    for error in errors:
        kind = error["type"]
        if not kind.endswith("_type") and kind != "literal_error":
            return _message(kind, error, node)
    value = errors[0]["input"]
    if all(isinstance(each, Choice) for each in node.options):
        words = [word for each in node.options if isinstance(each, Choice) for word in each.words]
        return _message("literal_error", errors[0], Choice(tuple(words)))
    nouns = " nor ".join(_noun(each) for each in node.options)
    hints = [_hint(each, value) for each in node.options if isinstance(each, Choice)]
    return f"{show(value)} is neither {nouns}{''.join(hints)}"


def _list_message(node: ListNode, value: Any) -> str:
    if isinstance(value, list | tuple):
        return _wrong_length(value, node.length)
    if not isinstance(node.item, SectionNode):
        other = f"{_noun(node.item)} or " if node.before else ""
        return f"{show(value)} is not {other}a list"
    hint = _as_section(node.item, value)
    return f"{show(value)} is not a {node.item.noun} or a list of them{hint}"


def _wrong_length(value: Any, length: int | None) -> str:
    if not value:
        return "the list is empty"
    count = "1 entry" if len(value) == 1 else f"{len(value)} entries"
    return f"{show(value)} has {count} instead of {length}"


def _as_section(node: SectionNode, value: Any) -> str:
    """How to write a section that was given by its tag alone."""
    meant = nearest(value, node.tags()) if isinstance(value, str) else None
    if meant is None:
        return ""
    required = [name for name, key in node.kinds[meant].model_fields.items() if key.is_required()]
    rest = [f"{name}: …" for name in required if name != node.tag]
    return f"; write {{{', '.join([f'{node.tag}: {meant}', *rest])}}}"


def _noun(node: Node) -> str:
    match node:
        case Scalar(type=kind):
            return _NOUNS.get(kind, "a value")
        case Choice():
            return _words(node)
        case ListNode():
            return "a list"
        case _:
            return "a section"


def _words(node: Choice) -> str:
    if len(node.words) == 1:
        return json.dumps(node.words[0])
    return f"one of {', '.join(node.words)}"


def _hint(node: Choice, value: Any) -> str:
    meant = nearest(value, node.words) if isinstance(value, str) else None
    return f'; did you mean "{meant}"?' if meant else ""


def show(value: Any) -> str:
    """A value as a message quotes it, shortened."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = repr(value[: _LONGEST + 1])
    elif isinstance(value, Mapping | Sequence):
        text = json.dumps(value, default=str, ensure_ascii=False)
    elif isinstance(value, int) and abs(value) >= 10**_LONGEST:
        return f"a number of {math.floor(math.log10(abs(value))) + 1} digits"
    else:
        text = repr(value)
    return text if len(text) <= _LONGEST + 2 else text[:_LONGEST] + "…"


def unknown_kind(node: SectionNode, value: Any) -> str:
    """``"mpl": unknown model, did you mean "mlp"?``."""
    if not isinstance(value, str):
        return f"{show(value)} is not the {node.tag} of a {node.noun}"
    tags = node.tags()
    if len(tags) <= 20:
        listed = f"; one of {', '.join(tags)}"
    else:
        listed = f"; see `regrun list {node.noun}s`"
    shown = json.dumps(value[:_LONGEST], ensure_ascii=False)
    return f"{shown}: unknown {node.noun}{did_you_mean(value, tags) or listed}"


def unknown_key(node: SectionNode, raw: Any, key: Any) -> tuple[str, str | None]:
    """Why there is no such key here, and the key of this section that was meant, if any.

    In this order: another kind has it, a near key of this section, the same key elsewhere.
    """
    kind = node.kind(raw)
    if not isinstance(key, str) or kind is None:
        return "unknown key", None
    having = node.kinds_with(key)
    if having:
        return no_such_key(node.tag_of(raw), having), None
    if ":" in key:
        return 'unknown key; is a space missing after the ":"?', None
    own = fields(kind)
    meant = nearest(key, own)
    if meant:
        return f'unknown key, did you mean "{meant}"?', meant
    other = path_in_other_section(key)
    if other:
        return f"unknown key, did you mean {other}?", None
    return f"unknown key; the keys here are {', '.join(own)}", None


def no_such_key(tag: Any, having: Sequence[str]) -> str:
    """``adam has no such key; sgd and rmsprop have it``."""
    if len(having) > 4:
        return f"{tag} has no such key"
    have = "has" if len(having) == 1 else "have"
    return f"{tag} has no such key; {' and '.join(having)} {have} it"


def path_in_other_section(key: str) -> str | None:
    """The dotted path of a key that belongs to another section, or of a synonym there."""
    for word in (key.lower(), *SYNONYMS.get(key.lower(), ())):
        if word in paths_by_key() and word not in ("name", "type"):
            return paths_by_key()[word][0]
    return None
