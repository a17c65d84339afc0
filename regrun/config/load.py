"""A config file and its overrides → `Config`, or one error that shows every problem."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from regrun.config.checks import contradictions
from regrun.config.overrides import Assignment, AssignmentProblem, parse_override
from regrun.config.report import Finding
from regrun.config.schema import RESERVED_NAME, Config
from regrun.config.source import Source
from regrun.config.validate import validate
from regrun.config.wording import show
from regrun.config.yaml_compose import MAX_DEPTH, YAMLProblem, check_text
from regrun.config.yaml_source import read_config
from regrun.errors import ConfigError, UsageError
from regrun.kinds.optimizers.sgd import SGD

_PATHS = ("path", "test_path", "root")
"""Keys of `dataset` that name files."""


@dataclass(frozen=True)
class Loaded:
    """A valid config, and where it comes from."""

    config: Config
    source: Source

    def with_values(self, values: Mapping[str, Any]) -> Config:
        """The config with dotted keys set, as one member of a sweep; its `sweep` is None.

        Raises ConfigError that names the key and the value, located where the file holds them.
        """
        return self.member(values).config

    def member(self, values: Mapping[str, Any]) -> Loaded:
        """The same with its source, which knows the values' places."""
        axes = [self._axis(key, value) for key, value in values.items()]
        member = {key: value for key, value in self.source.tree.items() if key != "sweep"}
        source, findings = replace(self.source, tree=member).assigning(axes)
        if findings:
            raise source.located(findings)
        if any(key.startswith("dataset") for key in values):
            source = replace(source, tree=_with_absolute_paths(source))
        return Loaded(_checked(source), source)

    def _axis(self, key: str, value: Any) -> Assignment:
        said_by = f"{key}={_written(value)}"
        mark = None
        sweep = self.config.sweep
        if sweep is not None and value in sweep.grid.get(key, ()):
            at = sweep.grid[key].index(value)
            mark = self.source.values.get(("sweep", "grid", key, at))
        elif sweep is not None and key in sweep.space:
            mark = self.source.keys.get(("sweep", "space", key))
        return Assignment(said_by, "the sweep", key, value, mark=mark)


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> Loaded:
    """Read, override and validate a config file.

    overrides: ``KEY=VALUE``. Raises UsageError when the file cannot be read, ConfigError with
    every problem located.
    """
    assignments, findings = [], []
    for number, text in enumerate(overrides, start=1):
        try:
            assignments.append(parse_override(text, number))
        except AssignmentProblem as problem:
            findings.append(problem.finding())
    return _load(_of_file(path), assignments, findings)


def config_from_mapping(
    config: Mapping[str, Any] | Path | str, overrides: Mapping[str, Any] | None = None
) -> Loaded:
    """The same from Python: a file, or its content as a mapping; overrides as dotted key → value.

    Raises UsageError, ConfigError.
    """
    assignments = []
    for number, (key, value) in enumerate((overrides or {}).items(), start=1):
        short = f"override {number}"
        said_by = f"{short}: {key}={_written(value)}"
        assignments.append(Assignment(said_by, short, str(key), plain(value, key), number))
    if isinstance(config, Mapping):
        return _load(Source("", plain(config, "config")), assignments, [])
    return _load(_of_file(config), assignments, [])


def safe_name(stem: str) -> str:
    """A file's stem as a run's name: letters, digits, `.`, `_` and `-`, at most 80."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem)
    name = re.sub(r"^[^A-Za-z0-9]+", "", name)[:80].rstrip(".-")
    return f"run-{name}" if RESERVED_NAME.fullmatch(name) else name or "run"


def plain(value: Any, where: Any, depth: int = 0) -> Any:
    """A Python value as YAML could have given it: tuples, arrays and paths become plain data.

    Raises UsageError for anything else.
    """
    if depth > MAX_DEPTH:
        raise UsageError(f"{where}: nested more than {MAX_DEPTH} deep")
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise UsageError(f"{where}: {key!r} is not a text; keys are")
        return {key: plain(each, key, depth + 1) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each, where, depth + 1) for each in value]
    if hasattr(value, "tolist"):  # NumPy's and torch's numbers and arrays
        return plain(value.tolist(), where, depth + 1)
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, str):
        try:
            check_text(value)
        except YAMLProblem as problem:
            raise UsageError(f"{where}: {problem}") from None
    elif not isinstance(value, bool | int | float | None):
        raise UsageError(
            f"{where}: {type(value).__name__} is neither text, number, list nor mapping"
        )
    return value


def _written(value: Any) -> str:
    return value[:60] if isinstance(value, str) else show(value)


def _of_file(path: Path | str) -> Source:
    document = read_config(path)
    return Source(str(path), document.data, document.keys, document.values, document.lines)


def _load(source: Source, assignments: list[Assignment], findings: list[Finding]) -> Loaded:
    source, impossible = source.assigning(assignments)
    tree = _with_absolute_paths(source)
    tree.setdefault("name", safe_name(Path(source.label).stem) if source.label else "run")
    optimizer = tree.get("optimizer")
    if isinstance(optimizer, Mapping):
        tree["optimizer"] = {"name": SGD.model_fields["name"].default, **optimizer}
    source = replace(source, tree=tree)
    findings = [*findings, *impossible]
    if findings:
        _, problems = validate(source.tree)
        raise source.located(findings + [source.find(problem) for problem in problems])
    return Loaded(_checked(source), source)


def _checked(source: Source) -> Config:
    config, problems = validate(source.tree)
    if config is None:
        raise source.located([source.find(problem) for problem in problems])
    contradicting = contradictions(config)
    if contradicting:
        raise source.locate(ConfigError(contradicting))
    return config


def _with_absolute_paths(source: Source) -> dict[str, Any]:
    """The tree with the dataset's files found: beside the config, or in the working directory."""
    tree = dict(source.tree)
    dataset = tree.get("dataset")
    if not isinstance(dataset, Mapping):
        return tree
    tree["dataset"] = dict(dataset)
    for key in _PATHS:
        written = dataset.get(key)
        if isinstance(written, str) and written:
            overridden = any(
                where == ("dataset", key)[: len(where)] for where, _ in source.assigned
            )
            tree["dataset"][key] = _absolute(written, source.label, overridden)
    return tree


def _absolute(written: str, label: str, overridden: bool) -> str:
    try:
        path = Path(written).expanduser()
        here, beside = Path.cwd() / path, Path(label).resolve().parent / path
        candidates = [here, beside] if overridden or not label else [beside, here]
        found = next((each for each in candidates if each.exists()), here)
        return str(found.resolve())
    except (OSError, RuntimeError, ValueError):  # an impossible name, or no home folder
        return written
