"""What `--help` prints: the same for all verbs, with examples."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

EXAMPLES: Mapping[str, Sequence[str]] = {
    "init": ("churn.csv", "prices.csv --target price --output prices.yaml"),
    "train": (
        "configs/digits.yaml",
        "configs/digits.yaml model.dropout=0.5 training.epochs=20",
        "configs/digits.yaml 'penalty={type: l1, strength: 1e-4}'",
    ),
    "sweep": (
        "configs/weight_decay.yaml",
        "configs/digits.yaml model.dropout=0,0.2,0.5 --seeds 5 --only",
        "configs/digits.yaml optimizer.lr=0.01,0.1 'model.hidden=[64],[256,256]'",
        "configs/digits.yaml --seeds 20 --executor ray --ray-address auto",
    ),
    "resume": (
        "runs/digits/sweep-a1b2c3",
        "runs/digits/sweep-a1b2c3 --seeds 10",
        "runs/digits/seed=0-d4e5f6 training.epochs=200",
        "runs/digits/sweep-a1b2c3 --executor ray --ray-address auto",
    ),
    "predict": (
        "runs/churn/seed=0-a1b2c3 new.csv",
        "runs/churn/sweep-d4e5f6 new.csv --output predictions.csv",
    ),
    "export": (
        "runs/digits/seed=0-a1b2c3 model.onnx",
        "runs/digits/sweep-d4e5f6 runs.csv",
        "runs/digits/sweep-d4e5f6 mlflow.db",
        "runs/digits/sweep-d4e5f6 digits.wandb",
    ),
    "inspect": (
        "configs/digits.yaml",
        "configs/digits.yaml --data",
        "configs/weight_decay.yaml optimizer.weight_decay=3 --all",
    ),
    "compare": ("runs/digits", "runs/digits/sweep-a1b2c3 --wide", "runs/digits --csv"),
    "verify": ("runs", "runs/digits --repair"),
    "path": ("configs/diabetes.yaml", "configs/diabetes.yaml --number 50 --folds 10"),
    "ablate": ("configs/digits.yaml model.dropout=0.5 optimizer.weight_decay=1e-3 --seeds 5",),
    "reproduce": ("weight_decay",),
    "plot": (
        "runs/digits/sweep-a1b2c3",
        "runs/digits/sweep-a1b2c3 --kind axis --output sweep.svg",
    ),
    "report": ("runs/digits/sweep-a1b2c3", "runs/digits --output digits.html"),
    "view": ("", "runs/digits/sweep-a1b2c3"),
    "list": ("", "penalties", "models resnet18", "dropout", "runs"),
    "schema": ("> regrun.schema.json",),
    "guide": ("", "first-experiment"),
}
"""Verb → what can follow it."""

WIDEST = 100
"""Columns: longer lines are hard to read."""

NARROW = 60
"""Columns below which a name stands on a line above its explanation."""


def verb_help(command: Any, context: Any) -> str:
    """The help of one verb."""
    parameters = command.get_params(context)
    parts = [
        _usage(context.command_path, parameters),
        _filled(command.help or "", ""),
        _table(_bold("Arguments"), map(_argument, _of_type(parameters, "argument"))),
        _table(_bold("Options"), map(_option, _of_type(parameters, "option"))),
    ]
    examples = [f"  {context.command_path} {each}".rstrip() for each in EXAMPLES[command.name]]
    parts.append("\n".join([_bold("Examples"), *examples]))
    return "\n\n".join(part for part in parts if part) + "\n"


def program_help(command: Any, context: Any, verbs: Mapping[str, str]) -> str:
    """The help of the program, which names its verbs."""
    options = map(_option, command.get_params(context))
    parts = [
        _filled(f"{_bold('Usage')}  {context.command_path} VERB …", ""),
        _filled(command.help or "", ""),
        _table(_bold("Verbs"), verbs.items()),
        _table(_bold("Options"), options),
        _filled(f"`{context.command_path} VERB --help` shows arguments, options and examples.", ""),
    ]
    return "\n\n".join(parts) + "\n"


def _of_type(parameters: Iterable[Any], kind: str) -> list[Any]:
    return [
        each
        for each in parameters
        if each.param_type_name == kind and not getattr(each, "hidden", False)
    ]


def _usage(path: str, parameters: Iterable[Any]) -> str:
    words = []
    for each in _of_type(parameters, "argument"):
        word = _name(each)
        words.append(word if each.required else f"[{word}]")
    return _filled(" ".join([f"{_bold('Usage')}  {path}", *words, "[OPTIONS]"]), "       ")


def _name(argument: Any) -> str:
    name = str(argument.metavar or argument.name.upper())
    return name if argument.nargs == 1 or name.endswith("...") else f"{name} ..."


def _argument(argument: Any) -> tuple[str, str]:
    return _name(argument), argument.help or ""


def _option(option: Any) -> tuple[str, str]:
    names = ", ".join(sorted([*option.opts, *option.secondary_opts], key=len, reverse=True))
    value = "" if option.is_flag else f" {option.metavar or 'VALUE'}"
    text = option.help or ""
    if option.show_default and not option.is_flag and option.default is not None:
        text = f"{text.removesuffix('.')} (default: {option.default})."
    return names + value, text


def _table(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """A name, then what there is to say about it, line by line below a title."""
    pairs = [*rows]
    if not pairs:
        return ""
    size = max(len(name) for name, _ in pairs) + 4
    if _width() < NARROW:
        lines = (f"{name}\n{_filled(f'    {text}', '    ')}" for name, text in pairs)
    else:
        lines = (_filled(f"  {name}".ljust(size) + text, " " * size) for name, text in pairs)
    return "\n".join([title, *lines])


def _filled(text: str, indent: str) -> str:
    return textwrap.fill(
        text, _width(), subsequent_indent=indent, break_on_hyphens=False, drop_whitespace=True
    )


def _width() -> int:
    return min(shutil.get_terminal_size().columns, WIDEST)


def _bold(text: str) -> str:
    plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    return text if plain else f"\x1b[1m{text}\x1b[0m"
