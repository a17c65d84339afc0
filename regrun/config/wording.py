"""What is wrong with a value: the value first, then the rule that its place has."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from regrun.config.outline import (
    Anything,
    Choice,
    Items,
    OneOf,
    Scalar,
    Sections,
    Shape,
    Table,
    fields,
    kinds_with,
    places,
)
from regrun.suggest import SYNONYMS, did_you_mean, nearest

_LONGEST = 60
_KINDS: Mapping[type, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
}


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


def complaint(shape: Shape | None, value: Any) -> str:
    """Why the value cannot stand where ``shape`` is the rule."""
    match shape:
        case Scalar():
            return _scalar(shape, value)
        case Choice():
            return f"{show(value)} is not {_words(shape)}{_hint(shape, value)}"
        case Items():
            return _items(shape, value)
        case OneOf():
            return _one_of(shape, value)
        case Sections():
            return _section(shape, value)
        case Table():
            return f"{show(value)} is not a mapping"
        case _:
            return f"{show(value)} is not possible here"


def unknown_kind(sections: Sections, value: Any) -> str:
    """``"mpl": unknown model, did you mean "mlp"?``."""
    if not isinstance(value, str):
        return f"{show(value)} is not the {sections.tag} of a {sections.noun}"
    tags = sections.tags()
    shown = json.dumps(value[:_LONGEST], ensure_ascii=False)
    hint = did_you_mean(value, tags)
    if not hint:
        hint = (
            f"; one of {', '.join(tags)}"
            if len(tags) <= 20
            else f"; see `regrun list {sections.noun}s`"
        )
    return f"{shown}: unknown {sections.noun}{hint}"


def unknown_key(sections: Sections, raw: Any, key: Any) -> tuple[str, str | None]:
    """Why there is no such key here, and the key of this section that was meant, if any.

    In this order: another kind has it, a near key of this section, the same key elsewhere.
    """
    kind = sections.kind(raw)
    if not isinstance(key, str) or kind is None:
        return "unknown key", None
    own, tag = fields(kind), sections.tag_of(raw)
    having = kinds_with(sections, key)
    if having:
        return no_such_key(tag, having), None
    if ":" in key:
        return 'unknown key; is a space missing after the ":"?', None
    meant = nearest(key, own)
    if meant:
        return f'unknown key, did you mean "{meant}"?', meant
    other = elsewhere(key)
    if other:
        return f"unknown key, did you mean {other}?", None
    return f"unknown key; the keys here are {', '.join(own)}", None


def whole_list(shape: Items, value: Any) -> str:
    """Why a list of the wrong length cannot stand here."""
    if not value:
        return "the list is empty"
    count = "1 entry" if len(value) == 1 else f"{len(value)} entries"
    return f"{show(value)} has {count} instead of {shape.length}"


def no_such_key(tag: Any, having: Sequence[str]) -> str:
    """``adam has no such key; sgd and rmsprop have it``."""
    if len(having) > 4:
        return f"{tag} has no such key"
    have = "has" if len(having) == 1 else "have"
    return f"{tag} has no such key; {' and '.join(having)} {have} it"


def elsewhere(key: str) -> str | None:
    """The dotted path of a key that belongs to another section, or of what it is called there."""
    for word in (key.lower(), *SYNONYMS.get(key.lower(), ())):
        found = places(word)
        if found and word not in ("name", "type"):
            return found[0]
    return None


def _scalar(shape: Scalar, value: Any) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if shape.kind is int and isinstance(value, float):
        if value.is_integer() and abs(value) < 1e18:
            return f"{show(value)} is not a whole number; write {int(value)}"
        return f"{show(value)} is not a whole number"
    if value == "" and shape.kind is str:
        return "the text is empty"
    if shape.kind not in (int, float) or not number:
        return f"{show(value)} is not {_KINDS.get(shape.kind, 'possible here')}"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{show(value)} is not a finite number"
    return f"{show(value)} is {_broken_bound(shape, value)}"


def _broken_bound(shape: Scalar, value: float) -> str:
    low = shape.ge if shape.ge is not None else shape.gt
    high = shape.le if shape.le is not None else shape.lt
    if shape.kind is float and low is not None and high is not None:
        opening = "[" if shape.ge is not None else "("
        closing = "]" if shape.le is not None else ")"
        return f"not in {opening}{low:g}, {high:g}{closing}"
    if low is not None and not value > low:
        return f"below {low:g}" if shape.ge is not None else f"not above {low:g}"
    if high is not None and not value < high:
        return f"above {high}" if shape.le is not None else f"not below {high}"
    return "not possible here"


def _items(shape: Items, value: Any) -> str:
    if isinstance(value, list | tuple):
        return whole_list(shape, value)
    section = shape.item if isinstance(shape.item, Sections) else None
    if section is None:
        other = f"{_noun(shape.item)} or " if shape.normalise else ""
        return f"{show(value)} is not {other}a list"
    return f"{show(value)} is not a {section.noun} or a list of them{_as_section(section, value)}"


def _section(shape: Sections, value: Any) -> str:
    return f"{show(value)} is not a section{_as_section(shape, value)}"


def _as_section(shape: Sections, value: Any) -> str:
    """How to write a section that was given by its tag alone."""
    meant = nearest(value, shape.tags()) if isinstance(value, str) else None
    if meant is None:
        return ""
    required = [
        f"{name}: …" for name, each in shape.kinds[meant].model_fields.items() if each.is_required()
    ]
    rest = [each for each in required if each != f"{shape.tag}: …"]
    return f"; write {{{', '.join([f'{shape.tag}: {meant}', *rest])}}}"


def _one_of(shape: OneOf, value: Any) -> str:
    fitting = [each for each in shape.shapes if _admits(each, value)]
    if fitting and not isinstance(fitting[0], Choice):
        return complaint(fitting[0], value)
    nouns = [_noun(each) for each in shape.shapes]
    hints = [_hint(each, value) for each in shape.shapes if isinstance(each, Choice)]
    return f"{show(value)} is neither {' nor '.join(nouns)}{''.join(hints)}"


def _admits(shape: Shape, value: Any) -> bool:
    """Whether the kind of the value fits, whatever its bounds."""
    match shape:
        case Scalar(kind=kind):
            if isinstance(value, bool):
                return kind is bool
            return isinstance(value, int | float) if kind is float else isinstance(value, kind)
        case Choice():
            return isinstance(value, str)
        case Items():
            return isinstance(value, list | tuple)
        case Sections() | Table():
            return isinstance(value, Mapping)
        case Anything():
            return True
        case _:
            return False


def _noun(shape: Shape) -> str:
    match shape:
        case Scalar(kind=kind):
            return _KINDS.get(kind, "a value")
        case Choice():
            return _words(shape)
        case Items():
            return "a list"
        case _:
            return "a section"


def _words(shape: Choice) -> str:
    if len(shape.words) == 1:
        return json.dumps(shape.words[0])
    return f"one of {', '.join(shape.words)}"


def _hint(shape: Choice, value: Any) -> str:
    meant = nearest(value, shape.words) if isinstance(value, str) else None
    return f'; did you mean "{meant}"?' if meant else ""
