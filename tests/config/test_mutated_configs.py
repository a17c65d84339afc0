"""Whatever is done to a config, it is valid or an error with a place: never anything else."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regrun.config.load import load_config
from regrun.config.schema import Config
from regrun.config.schema_tree import Choice, Node, dotted_keys, fields, section_of
from regrun.errors import ConfigError
from tests.support.config_strategies import TRICKY

VALID = [
    """
dataset: {name: synthetic_linear, num_features: 10, noise: 0.01}
model: {name: linear, init: normal}
loss: mse
optimizer: {name: sgd, lr: 0.003, momentum: 0.9, nesterov: true, weight_decay: 1e-3}
sweep:
  grid: {optimizer.weight_decay: [0, 0.3, 3], penalty.strength: [0, 1], penalty.type: [none, l1]}
  seeds: 5
""",
    """
name: two-penalties
seed: 3
dataset:
  name: digits
  validation: 0.1
model:
  name: mlp
  hidden: [256, 256]
  dropout: [0.2, 0.5]
penalty:
  - {type: l1, strength: 1.0e-4}
  - type: elastic_net
    strength: 0.1
    apply_to: [weight, bias]
constraints: {type: max_norm, limit: 3.0}
optimizer: {name: adamw, lr: 1e-3, betas: [0.9, 0.99], decay_on: all}
schedule: {type: step, step_size: 10, warmup_epochs: 2}
training:
  epochs: 3
  batch_size: full
  early_stopping: {metric: val/accuracy, patience: 3}
sweep: {search: tpe, trials: 9, space: {optimizer.lr: {log_uniform: [1e-4, 1]}}}
""",
    """
dataset: {name: csv, path: table.csv, target: price, task: regression}
model: {name: resnet18, small_images: keep}
penalty: {type: l2, strength: 1, half: false}
optimizer: {name: rmsprop, lr: 0.01, alpha: 0.9}
schedule: cosine
""",
]
KEYS = sorted({key.rpartition(".")[2] for key in dotted_keys()})


def _words(node: Node) -> set[str]:
    sections = section_of(node)
    if sections is not None:
        below = [_words(each) for kind in sections.distinct() for each in fields(kind).values()]
        return set(sections.tags()).union(*below)
    return set(node.words) if isinstance(node, Choice) else set()


WORDS = sorted(set().union(*[_words(node) for node in fields(Config).values()]))

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(WORDS)
    | st.sampled_from(KEYS)
    | st.sampled_from(TRICKY)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=5,
)


def _places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    entries = data.items() if isinstance(data, dict) else enumerate(data)
    found = []
    for key, value in entries:
        found.append((*path, key))
        if isinstance(value, dict | list):
            found += _places(value, (*path, key))
    return found


@st.composite
def mutated_data(draw: st.DrawFn) -> str:
    from regrun.config.yaml_nodes import compose

    data = copy.deepcopy(compose(draw(st.sampled_from(VALID))).data)
    for _ in range(draw(st.integers(1, 3))):
        places = _places(data)
        if not places:
            break
        *above, last = draw(st.sampled_from(places))
        parent = data
        for part in above:
            parent = parent[part]
        match draw(st.sampled_from(["delete", "rename", "replace", "retag", "add"])):
            case "delete":
                del parent[last]
            case "rename" if isinstance(parent, dict):
                parent[draw(st.sampled_from(KEYS) | st.text(max_size=4))] = parent.pop(last)
            case "retag":
                parent[last] = draw(st.sampled_from(WORDS))
            case "add" if isinstance(parent, dict):
                parent[draw(st.sampled_from(KEYS))] = draw(values)
            case _:
                parent[last] = draw(values)
    flow = draw(st.sampled_from([True, False, None]))
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, default_flow_style=flow)


@st.composite
def mutated_text(draw: st.DrawFn) -> str:
    text = draw(st.sampled_from(VALID))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        end = min(len(text), at + draw(st.integers(0, 12)))
        inserted = draw(
            st.sampled_from(
                [*"[]{},:#&*!|>'%@`-? \t\n\"", "<<: ", "- ", "&a ", "*a", "!!str ", "---\n"]
            )
            | st.sampled_from(WORDS)
            | st.text(max_size=3)
            | st.just(text[at:end] * 2)
        )
        text = text[:at] + inserted + text[end:]
    return text


overrides = st.lists(
    st.builds(
        "{}={}".format,
        st.sampled_from(dotted_keys()) | st.sampled_from(["penalty.0.strength", "model.dropout.1"]),
        st.sampled_from(WORDS) | values.map(lambda value: yaml.safe_dump(value)[:40]),
    )
    | st.text(max_size=10),
    max_size=3,
)


def _is_valid_or_refused(path: Path, text: str, given_overrides: list[str]) -> None:
    path.write_bytes(text.encode("utf-8", errors="surrogatepass"))
    try:
        loaded = load_config(path, given_overrides)
    except ConfigError as error:
        assert error.problems
        assert len(error.diagnostics) == len(error.problems)
        place = re.compile(rf"({re.escape(str(path))}:[0-9]+:[0-9]+|override [0-9]+): .")
        assert place.match(str(error)), str(error)
        count = re.search(r"^([0-9]+) errors? in .*\Z", str(error), re.MULTILINE)
        assert count
        assert int(count[1]) == len(error.problems)
        assert "Input should" not in str(error), "pydantic's own words"
        assert "not possible here" not in str(error), "no rule found"
    else:
        assert isinstance(loaded.config, Config)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mutated") / "config.yaml"


def test_the_configs_that_are_mutated_are_valid(path: Path) -> None:
    for text in VALID:
        path.write_text(text, encoding="utf-8")
        assert load_config(path).config


QUICK = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
LONG = settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))


@QUICK
@given(text=mutated_data(), given_overrides=overrides)
def test_mutated_data_is_valid_or_refused(
    path: Path, text: str, given_overrides: list[str]
) -> None:
    _is_valid_or_refused(path, text, given_overrides)


@QUICK
@given(text=mutated_text(), given_overrides=overrides)
def test_mutated_text_is_valid_or_refused(
    path: Path, text: str, given_overrides: list[str]
) -> None:
    _is_valid_or_refused(path, text, given_overrides)


@pytest.mark.long
@LONG
@given(text=mutated_data(), given_overrides=overrides)
def test_much_mutated_data_is_valid_or_refused(
    path: Path, text: str, given_overrides: list[str]
) -> None:
    _is_valid_or_refused(path, text, given_overrides)


@pytest.mark.long
@LONG
@given(text=mutated_text(), given_overrides=overrides)
def test_much_mutated_text_is_valid_or_refused(
    path: Path, text: str, given_overrides: list[str]
) -> None:
    _is_valid_or_refused(path, text, given_overrides)
