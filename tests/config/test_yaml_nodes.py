"""YAML 1.2 as plain data with spans; hostile text costs little and is refused with a place."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from regrun.config.load import load_config
from regrun.config.yaml_nodes import MAX_NODES, compose, is_string, parse_config, read_config
from regrun.errors import ConfigError, UsageError
from tests.support.program import run_python

SURPRISES: list[tuple[str, Any]] = [
    ("1e-3", 1e-3), ("1.0e-4", 1e-4), ("1E5", 1e5), ("+1.5", 1.5), (".5", 0.5), ("5.", 5.0),
    ("no", "no"), ("on", "on"), ("off", "off"), ("y", "y"), ("yes", "yes"), ("N", "N"),
    ("010", 10), ("-010", -10), ("+7", 7), ("0o17", 15), ("0x1F", 31), ("0b11", "0b11"),
    ("12:30", "12:30"), ("1:30:00", "1:30:00"), ("2020-01-01", "2020-01-01"),
    ("2020-13-45", "2020-13-45"), ("1_000", "1_000"), ("1e", "1e"), ("0x", "0x"), ("-", "-"),
    (".inf", math.inf), ("-.inf", -math.inf), ("+.INF", math.inf), ("inf", "inf"), ("nan", "nan"),
    ("~", None), ("null", None), ("Null", None), ("nULL", "nULL"), ("", None),
    ("true", True), ("TRUE", True), ("False", False), ("tRUE", "tRUE"), ("=", "="), ("١", "١"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), SURPRISES)
def test_a_plain_scalar_follows_yaml_1_2(text: str, value: Any) -> None:
    assert is_string(text) == isinstance(value, str)
    if text != "-":  # alone it begins a list
        read = compose(f"key: {text}").data["key"]
        assert read == value
        assert type(read) is type(value)


def test_nan_is_a_float() -> None:
    assert math.isnan(compose(".nan").data)


@pytest.mark.parametrize("text", [text for text, _ in SURPRISES])
def test_a_quoted_scalar_is_a_text(text: str) -> None:
    assert compose(f"'{text}'").data == text
    assert compose(f'"{text}"').data == text
    assert compose(f"! '{text}'").data == text


def test_tags_of_the_core_schema_are_followed() -> None:
    text = "[!!str 1, !!int '2', !!float 3, !!bool 'true', !!null '', !!seq [1], !!map {a: 1}]"
    assert compose(text).data == ["1", 2, 3.0, True, None, [1], {"a": 1}]


def test_keys_and_values_are_marked_where_they_stand() -> None:
    text = "é: [1, {b: c}]\nd:\n  - e\n"
    document = compose(text)
    assert document.data == {"é": [1, {"b": "c"}], "d": ["e"]}
    keys = {path: (mark.line, mark.column) for path, mark in document.keys.items()}
    values = {path: (mark.line, mark.column) for path, mark in document.values.items()}
    assert keys == {("é",): (0, 0), ("é", 1, "b"): (0, 8), ("d",): (1, 0)}
    assert values[("é",)] == (0, 3)
    assert values[("é", 0)] == (0, 4)
    assert values[("é", 1, "b")] == (0, 11)
    assert values[("d", 0)] == (2, 4)


def test_an_alias_is_a_copy_with_a_place_of_its_own() -> None:
    document = compose("a: &x {b: [1]}\nc: *x\n")
    assert document.data == {"a": {"b": [1]}, "c": {"b": [1]}}
    assert document.data["a"] is not document.data["c"]
    assert (document.values[("c",)].line, document.values[("c",)].column) == (1, 3)
    assert document.values[("c", "b", 0)].line == 0


def test_a_byte_order_mark_and_windows_line_ends_are_read() -> None:
    assert parse_config(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n", "x").data == {"a": 1, "b": 2}


BOMB = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{new}: &{new} [{', '.join(['*' + old] * 10)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
HOSTILE: dict[str, str | bytes] = {
    "alias bomb": BOMB,
    "deep lists": "[" * 1_000_000,
    "lists that aliases make deep": "- &a0 []\n"
    + "".join(f"- &a{at} {'[' * 40}*a{at - 1}{']' * 40}\n" for at in range(1, 20)),
    "deep mappings": "{a: " * 100_000,
    "deep block lists": "- " * 100_000,
    "deep complex keys": "? " * 100_000,
    "just too deep": "[" * 51 + "]" * 51,
    "too many values": "[" + "1," * MAX_NODES + "]",
    "a file too large": b"a: " + b"x" * 1_000_000,
    "a large scalar": "a: " + "x" * 900_000,
    "a large key": "x" * 1_000 + ": 1",
    "a large number": "seed: " + "9" * 900_000,
    "a number with a large exponent": "seed: 1e999999999",
    "many unknown keys": "".join(f"a{at}: 1\n" for at in range(4_900)),
    "many duplicates": "a: 1\n" * 4_900,
    "many keys that are no texts": "#" * 900_000 + "\n" + "1: 1\n" * 4_900,
    "many unknown axes": "dataset: {name: digits}\nmodel: {name: mlp}\n"
    "optimizer: {name: sgd, lr: 1}\nsweep:\n  grid:\n"
    + "".join(f"    optimizer.lrr{at}: [1]\n" for at in range(3_000)),
    "a section of many unknown keys": "dataset:\n"
    + "".join(f"  nam{at}: 1\n" for at in range(4_900)),
    "many tags": "[" + "!x 1," * 4_900 + "]",
    "tag directives": "".join(f"%TAG !a{at}! x\n" for at in range(60_000)) + "--- a",
    "blank lines": "\n" * 999_999,
    "a long tag": "a: !" + "x" * 900_000 + " b",
    "a long anchor": "a: &" + "x" * 900_000 + " b",
    "many documents": "---\n" * 200_000,
    "an unsafe tag": "!!python/object/apply:os.system ['echo']",
    "a YAML 1.1 timestamp tag": "a: !!timestamp 2020-99-99",
    "a binary tag": "a: !!binary aGVsbG8=",
    "a set": "a: !!set {b}",
    "a merge key": "a: &a {b: 1}\nc: {<<: *a}",
    "a key that is a list": "? [a]\n: b",
    "a key that is null": "~: 1",
    "a key that is an alias": "a: &a b\n*a : 1",
    "an endless alias": "a: &a [*a]",
    "an unknown alias": "a: *b",
    "UTF-16": "a: 1".encode("utf-16"),
    "Latin-1": "name: café".encode("latin-1"),
    "a NUL": b"a: \x00",
    "an escaped NUL": 'a: "\\0"',
    "an escaped surrogate": 'a: "\\ud800"',
    "an escape sequence": "a: \x1b[31m",
    "an open quote": "a: '" + "\n" * 100_000,
    "a foreign version": "%YAML 3.0\n---\na: 1",
    "only a comment": "# nothing",
    "nothing": b"",
    "a scalar": "42",
    "a reserved character": "a: `b`",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_text_is_a_config_error_with_a_place(case: str, tmp_path: Path) -> None:
    text = HOSTILE[case]
    path = tmp_path / "hostile.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path}:")
    place = str(caught.value).removeprefix(f"{path}:").split(":")
    assert place[0].isdecimal()
    assert place[1].isdecimal()
    assert len(str(caught.value)) < 30_000


def test_fifty_levels_are_not_too_deep() -> None:
    assert compose("[" * 50 + "]" * 50).data is not None


def test_all_structural_problems_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config("a: 1\na: 2\nb: !x 3\n4: 5\n", "x")
    assert len(caught.value.problems) == 3


def test_a_file_that_cannot_be_read_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "weight_decay.yaml").write_text("a: 1")
    with pytest.raises(
        UsageError, match=r'no such config file; did you mean "weight_decay.yaml"\?'
    ):
        read_config(tmp_path / "weigth_decay.yaml")
    with pytest.raises(UsageError, match="a folder, not a config file"):
        read_config(tmp_path)
    with pytest.raises(UsageError, match="no such config file"):
        read_config(tmp_path / "weight_decay.yaml" / "x.yaml")
    with pytest.raises(UsageError, match="not a file name"):
        read_config("a\0b")
    with pytest.raises(UsageError, match="cannot be read"):
        read_config("x" * 5_000)


def test_a_pyyaml_without_libyaml_reads_and_writes_the_same() -> None:
    code = """
import sys, yaml
yaml.__with_libyaml__ = sys.argv[1] == "True"
from regrun.config.dump import dump_config
from regrun.config.load import load_config
from regrun.config.yaml_nodes import Events, compose
print(Events.__module__)
document = compose("é: [1e-3, {b: no, c: &x ' y'}]\\nd: [*x, !!str 1]")
print(document.data, document.keys)
print(dump_config(load_config(sys.argv[2]).config))
"""
    config = Path("configs/dropout_fashion_mnist.yaml").resolve()
    events, *mine = run_python(code, False, config).stdout.splitlines()
    _, *reference = run_python(code, True, config).stdout.splitlines()
    assert events == "regrun.config.yaml_nodes"
    assert mine == reference
    assert len(mine) > 20
