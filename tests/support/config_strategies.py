"""Valid configs, drawn from the tree of the schema itself."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from regrun.config.schema_tree import (
    AnyOf,
    Choice,
    DictNode,
    ListNode,
    Node,
    Scalar,
    SectionNode,
    fields,
)

TRICKY = [
    "yes", "no", "on", "y", "null", "~", "true", "1", "010", "0o17", "0x1F", "1e-3", "1.0e-4",
    "12:30", "2020-01-01", ".inf", "- a", "a: b", "#x", "a #b", "'", '"', "x\ny", "é漢字", " a ",
    "<<", "=", "*a", "&a", "!a", "%a", "@a", "[a", "{a", "a,b",
]  # fmt: skip

texts = st.sampled_from(TRICKY) | st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=8
)


def configs() -> st.SearchStrategy[dict[str, Any]]:
    """Configs as plain data; nearly all are valid (a few break a rule between keys)."""
    from regrun.config.schema import Config

    return section(Config, skip=("name", "sweep"))


def section(kind: Any, skip: tuple[str, ...] = ()) -> st.SearchStrategy[dict[str, Any]]:
    values = {name: value(node) for name, node in fields(kind).items() if name not in skip}
    required = {name for name, field in kind.model_fields.items() if field.is_required()}
    return st.fixed_dictionaries(
        {name: each for name, each in values.items() if name in required},
        optional={name: each for name, each in values.items() if name not in required},
    )


def value(node: Node) -> st.SearchStrategy[Any]:
    match node:
        case Scalar():
            return scalar(node)
        case Choice(words=words):
            return st.sampled_from(words)
        case ListNode(item=item, length=length):
            return st.lists(value(item), min_size=length or 1, max_size=length or 3)
        case DictNode(value=inner):
            return st.dictionaries(texts, value(inner), max_size=2)
        case AnyOf(options=options):
            return st.one_of([value(each) for each in options])
        case SectionNode():
            return st.one_of([section(kind) for kind in node.distinct()])
        case _:
            raise AssertionError(node)


def scalar(node: Scalar) -> st.SearchStrategy[Any]:
    low = node.ge if node.ge is not None else node.gt
    high = node.le if node.le is not None else node.lt
    if node.type is str:
        return texts
    if node.type is bool:
        return st.booleans()
    if node.type is int:
        return st.integers(int(low or 0), int(high) - 1 if high else None)
    return st.floats(
        low,
        high,
        exclude_min=node.gt is not None,
        exclude_max=node.lt is not None,
        allow_nan=False,
        allow_infinity=False,
    )
