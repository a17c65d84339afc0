"""Valid configs, drawn from the outline of the schema itself."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from regrun.config.outline import Choice, Items, OneOf, Scalar, Sections, Shape, fields

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
    shapes = {name: value(shape) for name, shape in fields(kind).items() if name not in skip}
    required = {name for name, field in kind.model_fields.items() if field.is_required()}
    return st.fixed_dictionaries(
        {name: each for name, each in shapes.items() if name in required},
        optional={name: each for name, each in shapes.items() if name not in required},
    )


def value(shape: Shape) -> st.SearchStrategy[Any]:
    match shape:
        case Scalar():
            return scalar(shape)
        case Choice(words=words):
            return st.sampled_from(words)
        case Items(item=item, length=length):
            return st.lists(value(item), min_size=length or 1, max_size=length or 3)
        case OneOf(shapes=shapes):
            return st.one_of([value(each) for each in shapes])
        case Sections():
            return st.one_of([section(kind) for kind in shape.distinct()])
        case _:
            raise AssertionError(shape)


def scalar(shape: Scalar) -> st.SearchStrategy[Any]:
    low = shape.ge if shape.ge is not None else shape.gt
    high = shape.le if shape.le is not None else shape.lt
    if shape.kind is str:
        return texts
    if shape.kind is bool:
        return st.booleans()
    if shape.kind is int:
        return st.integers(int(low or 0), int(high) - 1 if high else None)
    return st.floats(
        low,
        high,
        exclude_min=shape.gt is not None,
        exclude_max=shape.lt is not None,
        allow_nan=False,
        allow_infinity=False,
    )
