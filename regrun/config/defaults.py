"""What a stored config has only by default."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from regrun.config.schema_tree import MISSING, SectionNode, fields, root, section_of


def without_defaults(config: Mapping[str, Any], section: SectionNode | None = None) -> Any:
    """A resolved config, as plain data, without the keys that have their default.

    What chooses a kind stays, and so does what no known kind has. section: of the schema; default:
    the whole config.
    """
    section = section or root()
    kind = section.kind(config)
    if kind is None:
        return dict(config)
    kept = {}
    for key, value in config.items():
        inner = section_of(fields(kind).get(key))
        default = _defaults(kind).get(key, MISSING)
        if key != section.tag and _written_out(value, inner) == _written_out(default, inner):
            continue
        kept[key] = value if inner is None else _inner(value, inner)
    return kept


def _inner(value: Any, section: SectionNode) -> Any:
    if isinstance(value, Mapping):
        return without_defaults(value, section)
    return [_inner(each, section) for each in value] if isinstance(value, list) else value


def _written_out(value: Any, section: SectionNode | None) -> Any:
    """A value of which a kind's name may be all that is written."""
    if section is None or not section.shorthand or not isinstance(value, str):
        return value
    kind = section.kind(value)
    return value if kind is None else {section.tag: value, **_defaults(kind)}


@functools.cache
def _defaults(kind: type[BaseModel]) -> Mapping[str, Any]:
    """Key → default, as a stored config has it."""
    return {
        name: _plain(info.get_default(call_default_factory=True))
        for name, info in kind.model_fields.items()
        if not info.is_required()
    }


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
