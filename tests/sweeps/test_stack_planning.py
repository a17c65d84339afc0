"""Which configs share a stack, and that those which do are trained as if alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from regrun.config.schema import Config
from regrun.config.schema_tree import (
    AnyOf,
    Choice,
    DictNode,
    ListNode,
    Node,
    Scalar,
    SectionNode,
    fields,
    root,
)
from regrun.errors import ConfigError
from regrun.kinds.base import PerMember
from regrun.sweeps.planning import (
    CACHE_BYTES,
    MOST_MEMBERS,
    group_into_stacks,
    stack_size,
    structure,
)
from regrun.training.engine import Engine
from regrun.training.events import Evaluation
from regrun.training.precision import DTYPES

CPU = torch.device("cpu")
Path = tuple[str | int, ...]
Plain = dict[str, Any]

NUMBERS: tuple[Any, ...] = (0.25, 0.5, 2, 3, 0.75, 1.5, 40, 0.0, 1)
BASES: tuple[Plain, ...] = (
    {
        "dataset": {"name": "digits", "num_train": 24, "num_test": 20, "validation": 20},
        "model": {"name": "mlp", "hidden": [6, 6], "residual": True, "dropout": 0.1},
        "optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.5},
        "training": {"epochs": 2, "batch_size": 8, "precision": "float64"},
    },
    {
        "dataset": {"name": "digits", "num_train": 16, "num_test": 10, "validation": 10},
        "model": {"name": "cnn", "channels": [2], "hidden": [4], "dropout": 0.1},
        "optimizer": {"name": "sgd", "lr": 0.05},
        "training": {"epochs": 1, "batch_size": 8, "precision": "float64"},
    },
    {
        "dataset": {"name": "diabetes", "num_train": 40, "num_test": 20},
        "model": {"name": "linear", "init": "normal"},
        "optimizer": {"name": "sgd", "lr": 0.01},
        "training": {"epochs": 3, "batch_size": "full", "precision": "float64"},
    },
)
"""Every kind of section is tried on these, one after the other, until it can be trained on one."""

NOT_TRAINED = ("name", "sweep")
"""Fields that neither node a tensor nor change a number."""


def is_marked(kind: type[BaseModel], name: str) -> bool:
    return any(isinstance(mark, PerMember) for mark in kind.model_fields[name].metadata)


def places(
    kind: type[BaseModel], path: Path, base: Plain, marked: bool = False
) -> Iterator[tuple[Path, Plain, bool]]:
    """(path of a field, a plain config that has it, whether it is a member's own)."""
    tags = ("name", "type") if path else NOT_TRAINED
    for name, node in fields(kind).items():
        if name in tags:
            continue
        own = marked or is_marked(kind, name)
        if has_values(node):
            yield (*path, name), base, own
        for section, inner_path in sections_in(node, (*path, name)):
            for tag, inner in one_tag_each(section):
                written = minimal(section.tag, tag, inner)
                placed = put(base, inner_path, written)
                if placed is not None:
                    yield from places(inner, inner_path, placed, own)


def has_values(node: Node) -> bool:
    """Whether it can differ in more than its fields do."""
    if isinstance(node, Choice):
        return len(node.words) > 1
    return not isinstance(node, SectionNode) or node.tag is not None


def sections_in(node: Node, path: Path) -> Iterator[tuple[SectionNode, Path]]:
    if isinstance(node, SectionNode):
        yield node, path
    elif isinstance(node, ListNode):
        yield from sections_in(node.item, (*path, 0))
    elif isinstance(node, AnyOf):
        for each in node.options:
            yield from sections_in(each, path)


def minimal(tag_key: str | None, tag: str | None, kind: type[BaseModel]) -> Plain:
    """A section with its tag and the keys it cannot do without."""
    section: Plain = {tag_key: tag} if tag_key else {}
    for name, info in kind.model_fields.items():
        if info.is_required() and name not in section:
            section[name] = next(iter(candidates(fields(kind)[name])))
    return section


def candidates(node: Node) -> Iterator[Any]:
    if isinstance(node, Choice):
        yield from node.words
    elif isinstance(node, Scalar):
        yield from ((True, False) if node.type is bool else ())
        yield from (("weight", "bias", ";", "|", "red") if node.type is str else ())
        yield from (number for number in NUMBERS if node.type in (type(number), float))
    elif isinstance(node, ListNode):
        for each in candidates(node.item):
            for length in (1, 2) if node.length is None else (node.length,):
                yield [each] * length
        if node.length is not None and isinstance(node.item, Scalar):
            yield list(range(node.length))
    elif isinstance(node, DictNode):
        for key in ("weight", "bmi"):  # an input of diabetes
            yield from ({key: each} for each in candidates(node.value))
    elif isinstance(node, AnyOf):
        for inner in node.options:
            yield from candidates(inner)
    elif isinstance(node, SectionNode):
        for tag, kind in one_tag_each(node):
            yield minimal(node.tag, tag, kind)
    yield None


def one_tag_each(section: SectionNode) -> list[tuple[str | None, type[BaseModel]]]:
    """A small one of torchvision's many networks."""
    tags = {kind: tag for tag, kind in section.kinds.items()}
    if "squeezenet1_1" in section.kinds:
        tags[section.kinds["squeezenet1_1"]] = "squeezenet1_1"
    return [(tag, kind) for kind, tag in tags.items()]


def put(tree: Any, path: Path, value: Any) -> Any:
    """A copy of plain data with one place set; a section of another kind is replaced whole."""
    if not path:
        if isinstance(tree, Mapping) and isinstance(value, Mapping):
            same = all(tree.get(key) == value[key] for key in ("name", "type") if key in value)
            return {**tree, **value} if same else dict(value)
        return value
    part, rest = path[0], path[1:]
    if isinstance(part, int):
        items = list(tree) if isinstance(tree, list) else []
        return [put(items[0] if items else None, rest, value), *items[1:]]
    entries = dict(tree) if isinstance(tree, Mapping) else {}
    return {**entries, part: put(entries.get(part), rest, value)}


def valid(tree: Plain) -> Config | None:
    try:
        return Config.model_validate(tree)
    except ValidationError:
        return None


def variants(path: Path, base: Plain) -> Iterator[tuple[Config, Config]]:
    """Pairs of valid configs that differ in this one field."""
    one = valid(base)
    node = node_at(path, base)
    if one is None or node is None:
        return
    for candidate in candidates(node):
        other = valid(put(base, path, candidate))
        if other is not None and other != one and not same_kind(node, candidate, base, path):
            yield one, other


def same_kind(node: Node, candidate: Any, base: Plain, path: Path) -> bool:
    """Whether a section is of the kind it had: then its fields differ, not it."""
    if not isinstance(node, SectionNode):
        return False
    tree: Any = base
    for part in path:
        tree = tree[part] if isinstance(part, int) else (tree or {}).get(part)
    return bool(tree) and node.tag_of(tree) == node.tag_of(candidate)


def node_at(path: Path, tree: Any) -> Node | None:
    node: Node = root()
    for part in path:
        if isinstance(part, int):
            node = next(
                each for each in [node, *getattr(node, "options", ())] if isinstance(each, ListNode)
            ).item
            tree = tree[0]
            continue
        inner = next((each for each, _ in sections_in(node, ())), None)
        kind = inner.kind(tree) if inner is not None else None
        if kind is None or part not in fields(kind):
            return None
        node, tree = fields(kind)[part], tree.get(part) if isinstance(tree, Mapping) else None
    return node


@cache
def every_field() -> dict[str, tuple[bool, tuple[tuple[Path, Plain], ...]]]:
    """Dotted key with its kind → whether it is a member's own, and where it can be tried."""
    found: dict[str, tuple[bool, list[tuple[Path, Plain]]]] = {}
    for base in BASES:
        for path, tree, own in places(Config, (), base):
            found.setdefault(label(path, tree), (own, []))[1].append((path, tree))
    return {key: (own, tuple(spots)) for key, (own, spots) in found.items()}


def label(path: Path, tree: Any) -> str:
    """``optimizer[adam].betas``."""
    parts = []
    for at, part in enumerate(path):
        tree = tree[0] if isinstance(part, int) else (tree or {}).get(part)
        tag = (tree.get("name") or tree.get("type")) if isinstance(tree, Mapping) else None
        parts.append(f"{part}[{tag}]" if tag and at < len(path) - 1 else str(part))
    return ".".join(parts)


def own_fields(own: bool) -> list[str]:
    return sorted(key for key, (marked, _) in every_field().items() if marked == own)


def test_the_walk_sees_the_schema() -> None:
    seen = own_fields(True) + own_fields(False)
    for key in (
        "seed", "optimizer[adam].betas", "penalty.0[elastic_net].l1_ratio", "schedule[cosine]",
        "model[mlp].dropout", "constraints.0[max_norm].limit", "model[cnn].channels",
        "dataset[csv].target", "training.early_stopping.patience", "optimizer[sgd].nesterov",
    ):  # fmt: skip
        assert any(each.startswith(key) for each in seen), key


@pytest.mark.parametrize("key", own_fields(False))
def test_a_field_that_is_not_a_members_own_splits_stacks(key: str) -> None:
    _, spots = every_field()[key]
    pairs = [pair for path, tree in spots for pair in variants(path, tree)]
    assert pairs, "no two valid values were found"
    assert all(structure(one) != structure(other) for one, other in pairs)


def loss_rows(configs: list[Config]) -> list[list[dict[str, float]]]:
    dataset = configs[0].dataset.load().to(CPU, DTYPES[configs[0].training.precision])
    rows: list[list[dict[str, float]]] = [[] for _ in configs]
    for event in Engine(configs, dataset, CPU).run():
        if isinstance(event, Evaluation):
            for member, row in event.rows.items():
                rows[member].append(dict(row))
    return rows


def is_slow(key: str) -> bool:
    return "squeezenet" in key


@pytest.mark.parametrize(
    "key",
    [pytest.param(key, marks=[pytest.mark.long] * is_slow(key)) for key in own_fields(True)],
)
def test_a_field_of_a_members_own_may_differ_in_a_stack(key: str) -> None:
    _, spots = every_field()[key]
    pairs = [pair for path, tree in spots for pair in variants(path, tree)]
    assert all(structure(one) == structure(other) for one, other in pairs)
    assert any(alone_is_together(one, other) for one, other in pairs), "none could be trained"


def alone_is_together(one: Config, other: Config) -> bool:
    """False when they cannot be trained on this data, or diverge; raises when they differ."""
    try:
        alone = [loss_rows([each])[0] for each in (other, one)]
    except ConfigError:
        return False
    if not all(alone):
        return False
    for mine, expected in zip(loss_rows([other, one]), alone, strict=True):
        assert len(mine) == len(expected)
        for row, wanted in zip(mine, expected, strict=True):
            assert row == pytest.approx(wanted, rel=1e-9, abs=1e-11)
    return True


def config(**changes: Any) -> Config:
    return Config.model_validate({**BASES[0], **changes})


def test_no_penalty_and_any_penalty_share_a_stack() -> None:
    l1 = {"type": "l1", "strength": 0.1}
    kinds = [[], l1, [l1, {"type": "l2", "strength": 1.0}]]
    assert len({structure(config(penalty=kind)) for kind in kinds}) == 1


def test_names_do_not_split_stacks() -> None:
    assert structure(config(name="one")) == structure(config(name="two"))


def cells_of(kinds: list[str], seeds: int) -> list[list[Config]]:
    return [[config(dataset={"name": kind}, seed=seed) for seed in range(seeds)] for kind in kinds]


@given(
    kinds=st.lists(st.sampled_from(["digits", "wine", "diabetes"]), min_size=1, max_size=40),
    seeds=st.integers(1, 7),
    most=st.integers(1, 50),
    least=st.integers(1, 8),
)
def test_every_run_is_in_one_stack_of_its_own_kind_that_is_not_too_large(
    kinds: list[str], seeds: int, most: int, least: int
) -> None:
    packed = group_into_stacks(cells_of(kinds, seeds), lambda _: [most], least)
    runs = Counter(run for members in packed for run in members)
    assert runs == Counter((cell, seed) for cell in range(len(kinds)) for seed in range(seeds))
    for members in packed:
        assert 1 <= len(members) <= most
        assert len({kinds[cell] for cell, _ in members}) == 1
        if seeds <= most:
            assert Counter(cell for cell, _ in members) == dict.fromkeys(
                (cell for cell, _ in members), seeds
            )
    for kind in set(kinds):
        shares = [len(members) for members in packed if kinds[members[0][0]] == kind]
        if seeds <= most:
            assert max(shares) - min(shares) <= seeds
            assert len(shares) >= min(least, kinds.count(kind))


def limits_of(most: int, places: int) -> Callable[[int], list[int]]:
    return lambda _: [most] * places


@given(
    seeds=st.integers(1, 4),
    cells=st.integers(1, 60),
    places=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    least=st.integers(1, 8),
)
def test_unlike_places_get_their_turns_and_no_more_than_they_hold(
    seeds: int, cells: int, places: list[int], least: int
) -> None:
    kinds = cells_of(["digits"] * cells, seeds)
    packed = group_into_stacks(kinds, lambda _: places, least)
    assert Counter(run for members in packed for run in members) == Counter(
        (cell, seed) for cell in range(cells) for seed in range(seeds)
    )
    assert max(map(len, packed)) <= max(places)
    for most in set(places):  # places that are alike are one
        five, one = (group_into_stacks(kinds, limits_of(most, n), least) for n in (5, 1))
        assert five == one


def test_a_hundred_cells_with_room_for_64_are_two_equal_stacks() -> None:
    packed = group_into_stacks(cells_of(["digits"] * 100, 1), lambda _: [64])
    assert [len(members) for members in packed] == [50, 50]


def test_cells_are_spread_over_the_cores() -> None:
    packed = group_into_stacks(cells_of(["digits"] * 6, 2), lambda _: [1000], least_stacks=4)
    assert sorted(map(len, packed)) == [2, 2, 4, 4]


@pytest.mark.parametrize(
    ("member", "shared", "free", "on_cpu", "expected"),
    [
        (1_000_000, 0, 10**12, True, CACHE_BYTES // 1_000_000),
        (1_000_000, 0, 10**12, False, MOST_MEMBERS),
        (1, 0, 10**12, True, MOST_MEMBERS),
        (10**9, 0, 8 * 10**9, False, 4),
        (10**9, 10**9, 8 * 10**9, False, 3),
        (10**9, 0, 8 * 10**9, True, 1),
        (10**12, 0, 10**9, False, 1),
    ],
)
def test_a_stack_is_for_the_cache_of_a_cpu_and_half_the_memory_of_a_gpu(
    member: int, shared: int, free: int, on_cpu: bool, expected: int
) -> None:
    assert stack_size(member, shared, free, on_cpu) == expected


def test_what_comparing_steps_takes_counts_for_the_memory_and_not_for_the_cache() -> None:
    assert stack_size(10**9, 0, 8 * 10**9, False, 10**9) == 2
    assert stack_size(10**6, 0, 10**12, True, 10**9) == CACHE_BYTES // 10**6
