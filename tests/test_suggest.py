"""A typo is answered with the word that was meant."""

from __future__ import annotations

import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from regrun.config.load import config_from_mapping, load_config
from regrun.config.schema import Config
from regrun.config.schema_tree import SectionNode, fields, root, section_of
from regrun.config.validate import unknown_key
from regrun.errors import ConfigError
from regrun.suggest import nearest


def _sections(at: SectionNode) -> Iterator[tuple[SectionNode, str | None]]:
    """Every section of the schema with every kind it can be."""
    for kind in at.distinct():
        tag = next(tag for tag, each in at.kinds.items() if each is kind)
        yield at, tag
        for node in fields(kind).values():
            inner = section_of(node)
            if inner is not None:
                yield from _sections(inner)


def _typos(word: str) -> Iterator[str]:
    """Every deletion, swap of neighbours, replacement and insertion by a cycling letter."""
    letters = string.ascii_lowercase
    for at in range(len(word)):
        yield word[:at] + word[at + 1 :]
        yield word[:at] + letters[(ord(word[at]) + 7) % 26] + word[at + 1 :]
        yield word[:at] + letters[(ord(word[at]) + 3) % 26] + word[at:]
        if at + 1 < len(word):
            yield word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def test_a_typo_in_any_key_is_answered_with_that_key() -> None:
    right = wrong = 0
    missed = []
    for sections, tag in _sections(root()):
        raw = {sections.tag: tag} if sections.tag else {}
        kind = sections.kinds[tag]
        anywhere = {key for each in sections.distinct() for key in fields(each)}
        for key in fields(kind):
            for typo in set(_typos(key)) - anywhere - {""}:
                if unknown_key(sections, raw, typo)[1] == key:
                    right += 1
                else:
                    wrong += 1
                    missed.append((typo, key))
    assert right + wrong > 3_000
    assert right / (right + wrong) >= 0.95, missed[:50]


def test_a_typo_in_any_name_is_answered_with_that_name() -> None:
    right = total = 0
    for name in ("dataset", "model", "optimizer", "penalty", "schedule"):
        sections = section_of(fields(Config)[name])
        assert sections is not None
        for tag in sections.tags():
            for typo in set(_typos(tag)) - set(sections.tags()):
                total += 1
                right += nearest(typo, sections.tags()) == tag
    assert total > 1_000
    assert right / total >= 0.85  # l1 and l2, vgg16 and vgg19 are one letter apart


@pytest.mark.parametrize("key", ["optimizer", "optimizer.lr", "dataset.name", "training.epochs"])
def test_a_typo_is_reported_by_the_loader(key: str, tmp_path: Path) -> None:
    data = {
        "dataset": {"name": "digits"},
        "model": {"name": "mlp"},
        "optimizer": {"name": "sgd", "lr": 0.1},
        "training": {"epochs": 3},
    }
    parent: Any = data
    *above, last = key.split(".")
    for part in above:
        parent = parent[part]
    parent[last + "x"] = parent.pop(last)
    path = tmp_path / "x.yaml"
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert [str(each) for each in caught.value.problems] == [
        f'{key}x: unknown key; did you mean "{last}"?'
    ]


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("learning_rate", ["lr", "lr_decay"], "lr"),
        ("MLP", ["cnn", "mlp"], "mlp"),
        ("fashion-mnist", ["mnist", "fashion_mnist"], "fashion_mnist"),
        ("wd", ["weight_decay", "decay"], "weight_decay"),
        ("lambda", ["strength", "type"], "strength"),
        ("type", ["name", "test"], "name"),
        ("qqq", ["name", "test"], None),
        ("x" * 10_000, ["x"], None),
    ],
)
def test_the_nearest_word(word: str, known: list[str], meant: str | None) -> None:
    assert nearest(word, known) == meant


@pytest.mark.parametrize(
    ("section", "word", "meant"),
    [
        ({"dataset": {"name": "iris"}}, "iris", None),
        ({"dataset": {"name": "fashionmnist"}}, "fashionmnist", "fashion_mnist"),
        ({"dataset": {"name": "cifar"}}, "cifar", "cifar10"),
        ({"model": {"name": "lenet"}}, "lenet", None),
        ({"optimizer": {"name": "lbfgs", "lr": 1}}, "lbfgs", None),
        ({"optimizer": {"name": "adamW", "lr": 1}}, "adamW", "adamw"),
        ({"optimizer": {"name": "rms_prop", "lr": 1}}, "rms_prop", "rmsprop"),
        ({"penalty": {"type": "lasso", "strength": 1}}, "lasso", "l1"),
        ({"penalty": {"type": "ridge", "strength": 1}}, "ridge", "l2"),
        ({"penalty": {"type": "elasticnet", "strength": 1}}, "elasticnet", "elastic_net"),
    ],
)
def test_words_of_other_tools_lead_to_the_right_neighbour_or_to_none(
    section: dict[str, Any], word: str, meant: str | None
) -> None:
    base = {
        "dataset": {"name": "digits"},
        "model": {"name": "linear"},
        "optimizer": {"name": "sgd", "lr": 1},
    }
    with pytest.raises(ConfigError) as caught:
        config_from_mapping({**base, **section})
    message = caught.value.problems[0].message
    assert word in message
    if meant is None:
        assert "did you mean" not in message
    else:
        assert f'did you mean "{meant}"?' in message


@pytest.mark.parametrize(
    ("space", "hint"),
    [
        ({"min": 0.001, "max": 0.1}, "uniform: [0.001, 0.1], or log_uniform: [0.001, 0.1]"),
        ({"low": 1, "high": 9, "log": True}, "log_int: [1, 9]"),
        ({"values": [1, 2]}, "choice: [1, 2]"),
        (
            {"distribution": "log_uniform_values", "min": 1e-5, "max": 0.1},
            "log_uniform: [1e-05, 0.1]",
        ),
        ({"lower": 0.1, "upper": 2.0}, "uniform: [0.1, 2.0]"),
    ],
)
def test_search_spaces_of_other_tools_are_answered_with_ours(
    space: dict[str, Any], hint: str
) -> None:
    config = {
        "dataset": {"name": "digits"},
        "model": {"name": "linear"},
        "optimizer": {"name": "sgd", "lr": 1},
        "sweep": {"search": "bayes", "trials": 3, "space": {"optimizer.lr": space}},
    }
    with pytest.raises(ConfigError) as caught:
        config_from_mapping(config)
    messages = [problem.message for problem in caught.value.problems]
    assert any(f"write {hint}" in message for message in messages)
    assert any('did you mean "tpe"?' in message for message in messages)
