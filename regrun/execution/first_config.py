"""A commented first config for a file of the user's own."""

from __future__ import annotations

import math
import os
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from regrun.config.dump import dump_value
from regrun.config.load import load_config, safe_name
from regrun.config.yaml_nodes import parse_config
from regrun.data.files import existing
from regrun.data.written_keys import WrittenKey
from regrun.errors import ConfigError, UsageError
from regrun.escapes import escaped
from regrun.execution.describe import describe
from regrun.kinds.base import names_of
from regrun.kinds.datasets import DatasetSection
from regrun.kinds.registry import BUILT_IN
from regrun.results import DataCard, FirstConfig

STEPS = 3000
"""A first training takes about so many steps, within `EPOCHS`."""

EPOCHS = (20, 200)
BATCH = 32
IMBALANCED = 3
"""A class with so many times the examples of another is worth a remark."""

SMALL, WIDE = 200, 5000
"""Training examples below which the network is narrow, and from which it is wide."""

_SPLITS: tuple[dict[str, float], ...] = (
    {"validation": 0.2},
    {"validation": 0},
    {"validation": 0, "test": 0},
)
"""Tried in turn: few rows, or classes of one row, cannot be divided."""

_WIDTH = 100


def first_config(data: Path, output: Path, target: str | None = None) -> tuple[FirstConfig, str]:
    """Look at a file, and write down a config that can be trained at once.

    data: a table, an archive of arrays or a folder of pictures. output: where the config will be.
    target: the column of a table to predict; None: the last that can be.

    Raises UsageError where there is nothing to learn, CorruptInputError for damaged files.
    """
    path = existing(str(data))
    try:
        section, keys = _section_for(path, target)
        return _config(section, _relative(path, output), output, keys)
    except ConfigError as error:
        text = "\n".join(problem.message for problem in error.problems)
        raise UsageError(text) from error


def _section_for(path: Path, target: str | None) -> tuple[type[DatasetSection], list[WrittenKey]]:
    """The dataset that reads such a file, and its keys."""
    for section in BUILT_IN["datasets"]:
        assert issubclass(section, DatasetSection)
        keys = section.first_keys(path, target)
        if keys is not None:
            return section, keys
    raise UsageError(f"{path}: neither a table, nor arrays, nor a folder of pictures")


def _relative(path: Path, output: Path) -> str:
    """The file as the config names it: from the folder of the config, where it lies below."""
    folder = output.absolute().parent
    full = Path(os.path.normpath(path.absolute()))
    return str(full.relative_to(folder)) if full.is_relative_to(folder) else str(full)


def _config(
    section: type[DatasetSection], path: str, output: Path, keys: Sequence[WrittenKey]
) -> tuple[FirstConfig, str]:
    """The text, with the first division of the examples that they allow."""
    (kind,) = names_of(section)
    problem: ConfigError | None = None
    for split in _SPLITS:
        start = {"name": kind, "path": path, **{each.key: each.value for each in keys}, **split}
        plain = "\n".join(
            f"{key}: {dump_value(value)}"
            for key, value in {
                "dataset": start,
                "model": {"name": "mlp"},
                "optimizer": {"name": "adam", "lr": 0.001},
            }.items()
        )
        try:
            loaded = load_config(parse_config(plain, str(output)))
            dataset = loaded.config.dataset
            if split["validation"] and dataset.has_own_validation():
                continue  # which is used as long as none is held out
            found = describe(loaded)
        except ConfigError as error:
            where = {".".join(map(str, each.path)) for each in error.problems}
            if not where & {"dataset.validation", "dataset.test"}:
                raise
            problem = problem or error
            continue
        held = {} if dataset.has_own_test() else {"test": split.get("test", 0.2)}
        if not dataset.has_own_validation():
            held["validation"] = split["validation"]
        text = "\n".join(_text(section, path, output, keys, held, found.data)) + "\n"
        load_config(parse_config(text, str(output)))
        target = next((str(each.value) for each in keys if each.key == "target"), None)
        ignored = next((each.value for each in keys if each.key == "ignore"), ())
        result = FirstConfig(
            output=str(output),
            dataset=kind,
            task=found.data.task,
            target=target,
            ignored=[str(name) for name in ignored],  # type: ignore[union-attr]
            notes=list(found.data.notes),
        )
        return result, text
    assert problem is not None
    raise problem


def _text(
    section: type[DatasetSection],
    path: str,
    output: Path,
    keys: Sequence[WrittenKey],
    held: dict[str, float],
    card: DataCard,
) -> Iterator[str]:
    """The lines of the config."""
    train = card.sizes["train"]
    yield f"# A first config for {escaped(path)}: {_described(card)}."
    yield from _line("name", safe_name(output.stem), "where runs are kept: runs/NAME", "")
    yield "dataset:"
    yield from _line("name", names_of(section)[0], "how the file is read: `regrun list datasets`")
    yield from _line("path", path, "from the folder of this file")
    for each in keys:
        yield from _line(each.key, each.value, each.why)
    reason = f", since {card.task_reason}" if card.task_reason else ""
    if section.fixed_task is None:
        yield from _line("task", card.task, f"as found{reason}")
    purposes = {"test": "to measure the result", "validation": "to choose settings by"}
    for part, share in held.items():
        why = (
            f"held out {purposes[part]}"
            if share
            else "too few examples, in all or of a class, to hold any out"
        )
        yield from _line(part, share, why)
    counts = sorted(each.train for each in card.classes)
    imbalanced = bool(counts) and counts[-1] >= IMBALANCED * max(counts[0], 1)
    if imbalanced:
        yield f"  # classes have {counts[0]:,} to {counts[-1]:,} training examples; to count all"
        yield "  # alike in the training loss:"
        yield "  # class_weights: balanced"
    yield from _model(card, train)
    yield "optimizer:"
    yield from _line("name", "adam", "needs little tuning")
    yield from _line("lr", 0.001, "the usual first value; try 0.003 and 0.0003")
    yield from _line("weight_decay", 0, "strength of L2 regularization; the sweep below varies it")
    if imbalanced:
        yield from _line(
            "metrics", ["balanced_accuracy"], "the mean over classes: accuracy hides rare ones", ""
        )
    low, high = EPOCHS
    epochs = min(max(round(STEPS / math.ceil(train / BATCH)), low), high)
    yield "training:"
    yield from _line("epochs", epochs, "passes over the training examples")
    yield from _line("batch_size", BATCH, "examples of one step")
    if "validation" in card.sizes:
        yield "  # ends when val/loss gets no better, and keeps the best weights; without this key"
        yield "  # all epochs are trained, and overfitting shows"
        yield "  early_stopping: {patience: 20}"
    yield "sweep:  # for `regrun sweep`; `regrun train` does not look at it"
    yield "  grid: {optimizer.weight_decay: [0, 1.0e-3, 1.0e-2, 1.0e-1]}  # values to compare"
    yield "  seeds: 3  # runs of each value, for intervals"


def _described(card: DataCard) -> str:
    rows = sum(card.sizes.values())
    shape = "×".join(map(str, card.input.shape))
    if card.task == "classification":
        return f"{rows:,} examples, inputs of {shape}, {len(card.classes)} classes"
    return f"{rows:,} examples, inputs of {shape}, regression"


def _model(card: DataCard, train: int) -> Iterator[str]:
    """A network of one or two hidden layers; convolutions for pictures."""
    yield "model:"
    if len(card.input.shape) == 3 and min(card.input.shape[1:]) >= 8:
        yield from _line("name", "cnn", "convolutions, then dense layers")
        yield from _line("channels", [16, 32], "filters of each block")
        yield from _line("hidden", [64], "units of each dense layer")
    else:
        width = 16 if train < SMALL else 64 if train < WIDE else 128
        yield from _line("name", "mlp", "dense layers; `linear` is the simplest model")
        yield from _line("hidden", [width, width], "units of each hidden layer")
    yield from _line("dropout", 0.0, "share of units that are left out in each step; try 0.2")


def _line(key: str, value: object, why: str, indent: str = "  ") -> list[str]:
    """A key with its comment; a long comment stands above it."""
    entry = f"{indent}{key}: {dump_value(value)}"
    comment = escaped(why)
    line = f"{entry}  # {comment}"
    if len(line) <= _WIDTH:
        return [line]
    above = textwrap.wrap(
        comment, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# "
    )
    return [*above, entry]
