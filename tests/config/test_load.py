"""From a file or a mapping to a config: names, paths, places of problems, values of sweeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regrun.config.load import Loaded, config_from_mapping, load_config, safe_name
from regrun.errors import ConfigError, UsageError
from regrun.kinds.models import MLP
from regrun.kinds.optimizers.sgd import SGD

TEXT = """dataset: {name: digits}
model: {name: mlp}
optimizer:
  name: sgd
  lr: 0.1
"""
CSV = "dataset: {name: csv, path: data.csv, target: y}\nmodel: {name: linear}\n" + (
    "optimizer: {name: sgd, lr: 0.1}\n"
)


def _dataset(loaded: Loaded) -> Any:
    return loaded.config.dataset


def _load(tmp_path: Path, text: str, *overrides: str, name: str = "x.yaml") -> Loaded:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return load_config(path, overrides)


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("weight_decay", "weight_decay"),
        ("my config (2)", "my-config-2"),
        ("_hidden", "hidden"),
        ("été", "t"),
        ("...", "run"),
        ("実験", "run"),
        ("con", "run-con"),
        ("a" * 300, "a" * 80),
        ("a." * 60, ("a." * 40)[:-1]),
    ],
)
def test_the_default_name_is_the_stem_made_safe(stem: str, name: str) -> None:
    assert safe_name(stem) == name
    config_from_mapping(
        {
            "name": safe_name(stem),
            "dataset": {"name": "digits"},
            "model": {"name": "mlp"},
            "optimizer": {"name": "sgd", "lr": 1},
        }
    )


def test_an_optimizer_without_a_name_is_sgd() -> None:
    tree = {"dataset": {"name": "digits"}, "model": {"name": "linear"}, "optimizer": {"lr": 0.1}}
    loaded = config_from_mapping(tree, {"optimizer.momentum": 0.9})
    assert isinstance(loaded.config.optimizer, SGD)
    assert loaded.config.optimizer.momentum == 0.9


def test_a_name_that_is_given_wins(tmp_path: Path) -> None:
    assert _load(tmp_path, TEXT, name="my_config.yaml").config.name == "my_config"
    assert _load(tmp_path, "name: other\n" + TEXT).config.name == "other"
    assert _load(tmp_path, TEXT, "name=third").config.name == "third"


def test_a_data_file_is_found_next_to_the_config_then_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    near, here = tmp_path / "configs", tmp_path / "here"
    for folder in (near, here):
        folder.mkdir()
    monkeypatch.chdir(here)
    assert _dataset(_load(near, CSV)).path == str(here / "data.csv")  # in neither
    (here / "data.csv").touch()
    assert _dataset(_load(near, CSV)).path == str(here / "data.csv")
    (near / "data.csv").touch()
    assert _dataset(_load(near, CSV)).path == str(near / "data.csv")
    assert _dataset(_load(near, CSV, "dataset.path=data.csv")).path == str(here / "data.csv")
    (here / "data.csv").unlink()
    assert _dataset(_load(near, CSV, "dataset.path=data.csv")).path == str(near / "data.csv")


def test_paths_that_cannot_be_are_left_as_they_are(tmp_path: Path) -> None:
    loaded = _load(tmp_path, CSV, f"dataset.path={'x' * 5_000}")
    assert _dataset(loaded).path == "x" * 5_000
    assert _dataset(_load(tmp_path, CSV, "dataset.path=/abs/y.csv")).path == "/abs/y.csv"
    home = _dataset(_load(tmp_path, CSV, "dataset.test_path=~/y.csv")).test_path
    assert home == str(Path("~/y.csv").expanduser().resolve())


def test_a_mapping_is_loaded_like_a_file() -> None:
    data = {
        "dataset": {"name": "digits"},
        "model": {"name": "mlp", "hidden": (8, 8), "dropout": np.array([0.1, 0.2])},
        "optimizer": {"name": "sgd", "lr": np.float32(0.5)},
        "seed": np.int64(3),
    }
    loaded = config_from_mapping(data)
    assert loaded.config.name == "run"
    assert loaded.config.seed == 3
    assert loaded.config.optimizer.lr == 0.5
    assert isinstance(loaded.config.model, MLP)
    assert loaded.config.model.dropout == pytest.approx((0.1, 0.2))


def test_a_path_in_a_mapping_may_be_a_path(tmp_path: Path) -> None:
    data = {
        "dataset": {"name": "csv", "path": tmp_path / "x.csv", "target": "y"},
        "model": {"name": "linear"},
        "optimizer": {"name": "sgd", "lr": 1},
    }
    assert _dataset(config_from_mapping(data)).path == str(tmp_path / "x.csv")


@pytest.mark.parametrize(
    "data", [{1: 2}, {"seed": object()}, {"a": {None: 1}}, {"seed": 1j}, {"name": "a\0"}]
)
def test_what_is_not_plain_data_is_wrong_usage(data: dict[Any, Any]) -> None:
    with pytest.raises(UsageError):
        config_from_mapping(data)


def test_endless_data_is_wrong_usage() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(UsageError, match="nested"):
        config_from_mapping({"seed": endless})


def test_problems_of_a_mapping_are_reported_without_a_file() -> None:
    with pytest.raises(ConfigError) as caught:
        config_from_mapping(
            {"dataset": {"name": "digits"}, "model": {"name": "mpl"}, "optimizer": {"lr": 1}},
            {"optimizer.name": "sgd", "optimizer.momentun": 0.9},
        )
    assert str(caught.value) == (
        'model.name: "mpl": unknown model; did you mean "mlp"?\n'
        'override 2: optimizer.momentun=0.9: unknown key; did you mean "momentum"?\n'
        "2 errors in the config and its overrides"
    )


def test_problems_found_later_are_located(tmp_path: Path) -> None:
    loaded = _load(tmp_path, TEXT + "penalty: {type: l1, strength: 1}\n", "model.hidden=[5]")
    source = loaded.source
    text = str(source.locate(ConfigError.at("optimizer.lr", "too large")))
    assert text.startswith(
        f"{tmp_path / 'x.yaml'}:5:7: optimizer.lr: too large\n    5 |   lr: 0.1\n"
    )
    text = str(source.locate(ConfigError.at("penalty.0.strength", "no")))
    assert ":6:31: penalty.strength: no" in text
    text = str(source.locate(ConfigError.at("optimizer.momentum", "no")))
    assert ":3:1: optimizer.momentum: no" in text, "not written: its section"
    text = str(source.locate(ConfigError.at("loss", "no")))
    assert ":1:1: loss: no" in text, "not written, and in no section"
    text = str(source.locate(ConfigError.at("model.hidden.0", "no")))
    assert text.startswith("override 1: model.hidden=[5]: model.hidden.0: no")
    located = source.locate(ConfigError.at("seed", "no"))
    assert source.locate(located) is located


def test_a_penalty_after_a_none_is_located_where_it_is_written(tmp_path: Path) -> None:
    text = TEXT + "penalty:\n  - {type: none}\n  - {type: l1, strength: 1}\n"
    located = _load(tmp_path, text).source.locate(ConfigError.at("penalty.0.strength", "no"))
    assert ":8:26: penalty.1.strength: no" in str(located)


def test_values_of_a_sweep_are_set(tmp_path: Path) -> None:
    loaded = _load(tmp_path, TEXT + "sweep: {grid: {optimizer.lr: [0.1, 1]}}\n")
    member = loaded.member(
        {
            "optimizer.lr": 1,
            "seed": 4,
            "penalty": {"type": "l2", "strength": 3},
            "model.hidden": [4],
        }
    ).config
    assert member.sweep is None
    assert isinstance(member.model, MLP)
    assert (member.optimizer.lr, member.seed, member.model.hidden) == (1, 4, (4,))
    assert member.penalty[0].strength == 3
    assert loaded.config.optimizer.lr == 0.1
    assert loaded.member({}).config == loaded.config.model_copy(update={"sweep": None})


def test_a_penalty_is_swept_from_none(tmp_path: Path) -> None:
    loaded = _load(tmp_path, TEXT)
    for kind, count in [("none", 0), ("l1", 1)]:
        values = {"penalty.type": kind, "penalty.strength": 0.1}
        assert len(loaded.member(values).config.penalty) == count


def test_data_files_of_a_sweep_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    loaded = _load(tmp_path, CSV)
    (tmp_path / "other.csv").touch()
    member = loaded.member({"dataset.path": "other.csv"}).config
    assert member.model_dump()["dataset"]["path"] == str(tmp_path / "other.csv")


def test_a_wrong_value_of_a_sweep_is_reported_with_its_key_and_place(tmp_path: Path) -> None:
    text = TEXT + "sweep:\n  grid:\n    optimizer.lr: [0.1, -1]\n"
    loaded = _load(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        loaded.member({"optimizer.lr": -1})
    assert str(caught.value) == (
        f"{tmp_path / 'x.yaml'}:8:25: optimizer.lr=-1: -1 is not above 0\n"
        "    8 |     optimizer.lr: [0.1, -1]\n"
        "      |                         ^^\n"
        f"1 error in {tmp_path / 'x.yaml'}"
    )
    with pytest.raises(ConfigError, match=r'^optimizer.lrr=3: unknown key; did you mean "lr"\?'):
        loaded.member({"optimizer.lrr": 3})
    with pytest.raises(ConfigError, match=r"^seed.x=3: seed has no keys"):
        loaded.member({"seed.x": 3})


def test_a_kind_that_a_sweep_chooses_drops_the_keys_of_the_file_that_it_lacks(
    tmp_path: Path,
) -> None:
    loaded = _load(tmp_path, TEXT + "  momentum: 0.9\n  weight_decay: 0.5\n")
    member = loaded.member({"optimizer.name": "adam"})
    assert member.config.optimizer.kind == "adam"
    assert member.config.optimizer.weight_decay == 0.5
    assert member.notes == (
        "optimizer: adam has no momentum; left out of the file's settings (optimizer.name=adam)",
    )
    assert loaded.notes == loaded.member({"optimizer.lr": 0.5}).notes == ()
    with pytest.raises(ConfigError, match=r"optimizer\.momentum=0\.1: adam has no such key"):
        loaded.member({"optimizer.name": "adam", "optimizer.momentum": 0.1})


@pytest.mark.parametrize(
    ("override", "dropped"),
    [
        ("optimizer.name=adam", "momentum"),
        ("model.name=linear", "hidden"),
        ("schedule.type=cosine", "step_size"),
        ("penalty.type=l1", "half"),
        ("dataset.name=wine", ""),
    ],
)
def test_an_override_of_the_kind_keeps_what_both_kinds_have(
    tmp_path: Path, override: str, dropped: str
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "dataset: {name: digits, num_train: 50}\nmodel: {name: mlp, hidden: [8], init: xavier}\n"
        "optimizer: {name: sgd, lr: 0.1, momentum: 0.9}\n"
        "schedule: {type: step, step_size: 3, warmup_epochs: 1}\n"
        "penalty: {type: l2, strength: 0.1, half: false}\n"
    )
    loaded = load_config(path, [override])
    assert len(loaded.notes) == bool(dropped)
    assert all(f"has no {dropped};" in note for note in loaded.notes)


@pytest.mark.parametrize("off", ["null", "none", "false"])
@pytest.mark.parametrize(
    "key",
    [
        "penalty", "constraints", "schedule", "training.early_stopping", "training.swa", "sweep",
        "training.clip_norm", "training.clip_value",
    ],
)  # fmt: skip
def test_null_none_and_false_switch_off_alike(tmp_path: Path, key: str, off: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(TEXT)
    plain = load_config(path).config
    assert load_config(path, [f"{key}={off}"]).config == plain
    section, _, inner = key.partition(".")
    path.write_text(TEXT + (f"{section}: {{{inner}: {off}}}\n" if inner else f"{key}: {off}\n"))
    assert load_config(path).config == plain


@pytest.mark.parametrize("key", ["search", "pruner", "metric", "stack_size"])
@pytest.mark.parametrize("off", ["null", "false"])
def test_keys_of_a_sweep_are_switched_off_alike(tmp_path: Path, key: str, off: str) -> None:
    if (key, off) == ("metric", "false"):
        pytest.skip("a metric is a string, and false is none")
    path = tmp_path / "c.yaml"
    path.write_text(TEXT + "sweep: {seeds: 2}\n")
    plain = load_config(path).config
    assert load_config(path, [f"sweep.{key}={off}"]).config == plain


def test_an_axis_of_consecutive_seeds_is_the_seeds_of_every_cell(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(TEXT)
    for axis in ("seed=3,4,5", "seed=3..5"):
        config = load_config(path, [axis, "optimizer.lr=0.1,0.2"], axes=True).config
        assert config.sweep is not None
        assert (config.seed, config.sweep.seeds, config.runs) == (3, 3, 6)
        assert list(config.sweep.grid) == ["optimizer.lr"]
    path.write_text(TEXT + "sweep: {seeds: 5}\n")
    assert load_config(path, ["seed=0..1"], axes=True).config.runs == 2
    path.write_text(TEXT + "sweep: {grid: {seed: 0..4}}\n")
    assert load_config(path).config.runs == 5
    with pytest.raises(ConfigError, match=r"the seeds of a cell are consecutive"):
        load_config(path, ["seed=1,7"], axes=True)


def test_a_range_in_the_file_is_an_axis(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(TEXT + "sweep: {grid: {optimizer.lr: '1e-3..1e-1:log:3'}}\n")
    config = load_config(path).config
    assert config.sweep is not None
    assert config.sweep.grid["optimizer.lr"] == (0.001, 0.01, 0.1)


@pytest.mark.parametrize(
    "sweep",
    [
        "grid: {optimizer.name: [sgd, rmsprop], optimizer.alpha: [0.9]}",
        "grid: {penalty.type: [none, l1], penalty.strength: [1]}",
        "grid: {model.dropout: [0, 0.5], seed: [1], penalty: [none], dataset.validation: [0.1]}",
        "{search: tpe, space: {model: {choice: [{name: cnn}]}, model.kernel_size: {int: [1, 3]}}}",
    ],
)
def test_keys_that_an_axis_may_have(sweep: str, tmp_path: Path) -> None:
    text = TEXT + (f"sweep: {sweep}\n" if sweep.startswith("{") else f"sweep:\n  {sweep}\n")
    assert _load(tmp_path, text).config.sweep is not None


@pytest.mark.parametrize("given", ["config/digits.yaml", "digits.yaml", "digits"])
def test_a_config_in_another_folder_is_suggested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "digits.yaml").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r'did you mean "configs/digits\.yaml"'):
        load_config(given)
