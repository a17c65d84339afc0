"""Plain data → `Config`, or every problem with it, each with its path as written.

A message gives the value first, then the rule that it breaks. Pydantic's error types and their
context say what is wrong; the schema tree knows what could have stood there.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pydantic import ValidationError

from regrun.config.schema import Config, current_schema
from regrun.config.schema_tree import (
    AnyOf,
    Choice,
    ListNode,
    Node,
    Place,
    Scalar,
    SectionNode,
    dotted_keys,
    fields,
    trace,
)
from regrun.errors import KeyPath, Problem
from regrun.kinds.plain import PlainKind
from regrun.kinds.plugins import refusals
from regrun.suggest import did_you_mean, nearest, synonyms

_MOST = 200
"""Problems that are looked at; nobody reads more."""
_LONGEST = 60
"""Characters of a value that a message quotes."""
OWN_CLASS = "; for a class of your own add --plugin "
"""Begins the advice for a name that nothing is known of."""


@dataclass(frozen=True)
class KeyProblem(Problem):
    """The key is wrong, not its value."""

    key: str | None = None
    """The key of the same section that was meant."""
    chosen_by: KeyPath | None = None
    """The `name` or `type` to blame, if another kind of this section has the key."""


@dataclass(frozen=True)
class MissingKey(KeyProblem):
    """The section at ``path`` lacks the key ``key``."""


@dataclass(frozen=True)
class UnknownKind(Problem):
    """No kind has this `name` or `type`."""

    meant: str | None = None


def validate(tree: Mapping[str, Any]) -> tuple[Config | None, list[Problem]]:
    """The config that plain data mean; or None, and every problem with them."""
    try:
        return current_schema().model_validate(tree), []
    except ValidationError as error:
        problems = _problems(error, tree)
    corrected: Any = tree
    for each in problems:
        if isinstance(each, UnknownKind) and each.meant:
            corrected = replaced(corrected, each.path, each.meant)
    if corrected is not tree:  # what else is wrong with sections whose kind is misspelt
        known = {problem.path for problem in problems}
        problems += [each for each in validate(corrected)[1] if each.path not in known]
    return None, problems


def replaced(tree: Any, path: KeyPath, value: Any) -> Any:
    """A copy with another value at a path that is there."""
    if not path:
        return value
    copy: Any = dict(tree) if isinstance(tree, Mapping) else list(tree)
    copy[path[0]] = replaced(copy[path[0]], path[1:], value)
    return copy


def _problems(error: ValidationError, tree: Mapping[str, Any]) -> list[Problem]:
    """Pydantic's errors as problems, one for each place and cause."""
    found: dict[Problem, None] = {}
    unions: dict[KeyPath, tuple[AnyOf, list[Any]]] = {}
    for each in error.errors(include_url=False)[:_MOST]:
        if each["type"] == "too_short" and each["input"]:
            continue  # a list is short of its faulty entries, which have problems of their own
        place = trace(each["loc"], tree, labelled=True)
        if (
            isinstance(place.node, AnyOf) and each["type"] != "missing"
        ):  # pydantic has an error or more for each of the types
            unions.setdefault(place.path, (place.node, []))[1].append(each)
        else:
            found[_problem(each, place)] = None
    located = [*(problem.path for problem in found), *unions]
    within = {path[:end] for path in located for end in range(len(path))}
    within |= {problem.path for problem in found}
    for path, (node, errors) in unions.items():
        if path not in within:  # errors of lists and their entries stand for the union's
            found[Problem(path, _union_message(node, errors))] = None
    misspelt = {(each.path[:-1], each.key) for each in found if type(each) is KeyProblem}
    return [
        each
        for each in found
        if not (isinstance(each, MissingKey) and (each.path, each.key) in misspelt)
    ]


def _problem(error: Any, here: Place) -> Problem:
    kind, node, parent = error["type"], here.node, here.parent or here
    if kind in ("value_error", "assertion_error"):
        return _raised_by_validator(str(error["ctx"]["error"]), here)
    if isinstance(node, SectionNode) and kind == "union_tag_invalid":
        return _unknown_kind(node, here)
    if isinstance(node, SectionNode) and kind == "union_tag_not_found":
        return _without_tag(node, here)
    if isinstance(parent.node, SectionNode) and kind == "missing":
        return _missing(parent.node, parent, str(here.path[-1]))
    if isinstance(parent.node, SectionNode) and kind == "extra_forbidden":
        key = here.path[-1]
        message, meant = unknown_key(parent.node, parent.value, key)
        has = parent.node.kinds_with(str(key))
        chosen_by = _tag_path(parent.node, parent) if has else None
        return KeyProblem(here.path, message, meant, chosen_by)
    as_list = parent.node.list_or_self() if isinstance(parent.node, AnyOf) else parent.node
    if isinstance(as_list, ListNode) and kind == "missing":
        return Problem(parent.path, _wrong_length(parent.value, as_list.length))
    return Problem(here.path, _message(kind, error, node))


def _unknown_kind(node: SectionNode, here: Place) -> Problem:
    path, value, tags = here.path, here.value, node.tags()
    if isinstance(value, Mapping):
        path, value = (*path, node.tag or ""), value[node.tag]
    if not isinstance(value, str):
        return Problem(path, f"{show(value)} is not the {node.tag} of a {node.noun}")
    known = f"one of {', '.join(tags)}" if len(tags) <= 20 else f"see `regrun list {node.noun}s`"
    hint = _own_class(value) or did_you_mean(value, tags) or f"; {known}"
    shown = json.dumps(value[:_LONGEST], ensure_ascii=False)
    return UnknownKind(path, f"{shown}: unknown {node.noun}{hint}", nearest(value, tags))


def _own_class(value: str) -> str:
    """What to do about the name of what may be a class of the user's own; empty for other names."""
    refused = refusals().get(value)
    if refused:
        return f"; {refused}"
    module, separator, name = value.replace(":", ".").rpartition(".")
    if not name.isidentifier() or not (separator or name[0].isupper()):
        return ""
    file = f"{module.replace('.', '/')}.py" if separator else "FILE.py"
    return f"{OWN_CLASS}{file}" + f" and write {name}" * bool(separator)


def _without_tag(node: SectionNode, here: Place) -> Problem:
    """The key that chooses the kind is missing or misspelt."""
    tag = str(node.tag)
    known = {name for kind in node.distinct() for name in fields(kind)}
    for key in islice(here.value, 20):
        if key not in known and nearest(key, known) == tag:
            return KeyProblem((*here.path, key), f'unknown key; did you mean "{tag}"?', tag)
    return _missing(node, here, tag)


def _missing(node: SectionNode, section: Place, key: str) -> MissingKey:
    return MissingKey(section.path, f'missing key "{key}"', key, _tag_path(node, section))


def _tag_path(node: SectionNode, section: Place) -> KeyPath | None:
    return (*section.path, node.tag) if node.tag else None


def _raised_by_validator(text: str, here: Place) -> Problem:
    """A rule between keys: its text may begin with the key that is to blame."""
    named = re.match(r"(\w+): (?s:(.*))", text)
    kind = here.node.kind(here.value) if isinstance(here.node, SectionNode) else None
    if named and kind and named[1] in fields(kind):
        return Problem((*here.path, named[1]), named[2])
    return Problem(here.path, text)


_NOUNS = {int: "an integer", float: "a number", bool: "true or false", str: "a string"}

_MESSAGES: Mapping[str, str] = {
    "bool_type": "{value} is neither true nor false",
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


def _message(kind: str, error: Any, node: Node | None) -> str:
    """Why a value cannot stand where ``node`` is the rule."""
    value, context = error["input"], error.get("ctx", {})
    interval = _interval(node, context)
    if interval:
        return f"{show(value)} is not in {interval}"
    if kind == "int_type" and isinstance(value, float):
        if not math.isfinite(value):
            kind = "finite_number"
        elif value.is_integer() and abs(value) < 1e18:
            return f"{show(value)} is not an integer; write {int(value)}"
    if isinstance(node, Choice):
        return f"{show(value)} is not {_words(node)}{did_you_mean(value, node.words)}"
    if isinstance(node, SectionNode) and kind == "model_attributes_type":
        return f"{show(value)} is not a section{_as_section(node, value)}"
    if isinstance(node, ListNode):
        return _list_message(node, value)
    if kind in _MESSAGES:
        share = _as_share(value) if kind == "float_type" else ""
        return _MESSAGES[kind].format(value=show(value), **context) + share
    return f"{show(value)}: {error['msg']}"


def _interval(node: Node | None, context: Mapping[str, Any]) -> str:
    """Both bounds of the number that pydantic names one bound of; empty if it has only one."""
    options = node.options if isinstance(node, AnyOf) else (node,)
    for bound, limit in context.items():
        for each in options if isinstance(limit, float) else ():  # an integer's bound is an int
            if isinstance(each, Scalar) and getattr(each, bound, None) == limit:
                return each.interval
    return ""


def _union_message(node: AnyOf, errors: Sequence[Any]) -> str:
    """Why none of several types fits: the broken bound of the one whose type fits, if any."""
    as_list = node.list_or_self()
    for error in errors:
        kind = error["type"]
        if kind == "too_long" and isinstance(as_list, ListNode):
            return _list_message(as_list, error["input"])
        if not kind.endswith("_type") and kind != "literal_error":
            return _message(kind, error, node)
    value = errors[0]["input"]
    if all(isinstance(each, Choice) for each in node.options):
        words = [word for each in node.options if isinstance(each, Choice) for word in each.words]
        return _message("literal_error", errors[0], Choice(tuple(words)))
    nouns = " nor ".join(_noun(each) for each in node.options)
    hints = [did_you_mean(value, each.words) for each in node.options if isinstance(each, Choice)]
    if any(isinstance(each, Scalar) and each.type is float for each in node.options):
        hints.append(_as_share(value))
    return f"{show(value)} is neither {nouns}{''.join(hints)}"


def _as_share(value: Any) -> str:
    """How a percentage is written."""
    given = re.fullmatch(r"(\d+(?:\.\d+)?) ?%", value) if isinstance(value, str) else None
    return f"; write {float(given[1]) / 100:g}" if given else ""


def _list_message(node: ListNode, value: Any) -> str:
    if isinstance(value, list | tuple):
        return _wrong_length(value, node.length)
    if not isinstance(node.item, SectionNode):
        other = f"{_noun(node.item)} or " if node.before and type(node.item) is not Node else ""
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
    meant = nearest(value, node.tags())
    if meant is None:
        named = node.tag is not None and isinstance(value, str)
        return (
            f"; write {{{node.tag}: …}}, and --plugin FILE.py for one of your own" if named else ""
        )
    required = [name for name, key in node.kinds[meant].model_fields.items() if key.is_required()]
    rest = [f"{name}: …" for name in required if name != node.tag]
    return f"; write {{{', '.join([f'{node.tag}: {meant}', *rest])}}}"


def _noun(node: Node) -> str:
    if isinstance(node, Choice):
        return _words(node)
    if isinstance(node, Scalar):
        return _NOUNS.get(node.type, "a value")
    return "a list" if isinstance(node, ListNode) else "a section"


def _words(node: Choice) -> str:
    if len(node.words) == 1:
        return json.dumps(node.words[0])
    return f"one of {', '.join(node.words)}"


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


def unknown_key(node: SectionNode, raw: Any, key: Any) -> tuple[str, str | None]:
    """Why there is no such key here, and the key of this section that was meant, if any.

    In this order: another kind has it, a near key of this section, the same key elsewhere.
    """
    kind = node.kind(raw)
    if not isinstance(key, str) or kind is None:
        return "unknown key", None
    if issubclass(kind, PlainKind) and key in kind.arguments.supplied:
        return f"regrun gives {key} from the data; leave it out", None
    having = node.kinds_with(key)
    if having:
        return no_such_key(node.tag_of(raw), having), None
    if ":" in key:
        return 'unknown key; is a space missing after the ":"?', None
    own = fields(kind)
    meant = nearest(key, own)
    if meant:
        return f'unknown key; did you mean "{meant}"?', meant
    other = path_in_other_section(key)
    if other:
        return f"unknown key; did you mean {other}?", None
    return f"unknown key; the keys here are {', '.join(own)}", None


def no_such_key(tag: Any, having: Sequence[str]) -> str:
    """``adam has no such key; sgd and rmsprop have it``."""
    named = having if len(having) <= 4 else [", ".join(having[:2]), f"{len(having) - 2} more"]
    have = "has" if len(having) == 1 else "have"
    return f"{tag} has no such key; {' and '.join(named)} {have} it"


def path_in_other_section(key: str) -> str | None:
    """The dotted path of a key that belongs to another section, or of a synonym there."""
    for word in (key.lower(), *synonyms(key.lower())):
        paths = [path for path in dotted_keys() if path.rpartition(".")[2] == word]
        if paths and word not in ("name", "type"):
            return paths[0]
    return None
