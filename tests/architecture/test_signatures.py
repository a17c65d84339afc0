"""What crosses the boundary of a module has a type that says what it is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.source import FILES, PACKAGE, module_of, tree_of

UNTYPED = {"dict[str, Any]", "Mapping[str, Any]", "MutableMapping[str, Any]"}

DOCUMENTS: dict[str, str] = {
    "regrun.analysis.cells.Run.config": "a config as YAML gives it",
    "regrun.analysis.cells.differing_keys": "configs as YAML gives them",
    "regrun.api.ablate": "configs and overrides of the caller",
    "regrun.api.inspect": "configs and overrides of the caller",
    "regrun.api.path": "configs and overrides of the caller",
    "regrun.api.resume": "overrides and axes of the caller",
    "regrun.api.sweep": "configs and axes of the caller",
    "regrun.api.train": "configs and overrides of the caller",
    "regrun.cli.lookup.document": "JSON of `list`",
    "regrun.config.defaults.without_defaults": "a config as YAML gives it",
    "regrun.cli.plot.loss_plot": "rows of metrics.jsonl",
    "regrun.cli.run_report.headline": "a config as YAML gives it",
    "regrun.cli.run_report.run_report": "rows of metrics.jsonl, a config as YAML gives it",
    "regrun.cli.reproduce.described": "JSON of `list`",
    "regrun.cli.reproduce.details": "JSON of `list`",
    "regrun.cli.reproduce.listing": "JSON of `list`",
    "regrun.cli.reproduce.listing_table": "JSON of `list`",
    "regrun.config.dump.dump_tree": "YAML",
    "regrun.config.dump.json_schema": "JSON Schema",
    "regrun.config.load.Loaded.member": "dotted keys of a config and their values",
    "regrun.config.load.config_from_mapping": "configs and overrides of the caller",
    "regrun.config.paths.with_absolute_paths": "a config as YAML gives it",
    "regrun.config.paths.with_paths": "a config as YAML gives it",
    "regrun.config.paths.with_portable_paths": "a config as YAML gives it",
    "regrun.config.overrides.assign": "a config as YAML gives it",
    "regrun.config.validate.validate": "a config as YAML gives it",
    "regrun.data.preprocessing.Preprocessing.to_dict": "JSON",
    "regrun.kinds.ingredients.overrides_without": "dotted keys of a config and their values",
    "regrun.results.Result.to_dict": "JSON",
    "regrun.settings.flatten": "a config as YAML gives it",
    "regrun.settings.numbered": "a config as YAML gives it",
    "regrun.store.checkpoint.CheckpointStore.save": "anything that JSON can hold",
    "regrun.store.curves.Curves.rows": "rows of metrics.jsonl",
    "regrun.store.curves.curves_of": "rows of metrics.jsonl",
    "regrun.analysis.cells.replicate_of": "a config as YAML gives it",
    "regrun.store.reading.StoredRun.config": "a config as YAML gives it",
    "regrun.store.tensorboard.flat_hparams": "a config as JSON",
    "regrun.stored.setting_text": "dotted keys of a config and their values",
    "regrun.studies.reproductions.claims.Method.candidates": "dotted keys of a config",
    "regrun.sweeps.space.cell_label": "dotted keys of a config and their values",
}
"""Function → why its data have no type of their own: JSON, YAML and what comes from outside."""


def untyped(body: list[ast.stmt], prefix: str) -> Iterator[str]:
    """Dotted names of public functions with dictionaries of anything in their signatures."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from untyped(node.body, f"{prefix}.{node.name}")
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
            continue
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        annotations = [argument.annotation for argument in arguments] + [node.returns]
        parts = {
            ast.unparse(part)
            for annotation in annotations
            if annotation is not None
            for part in ast.walk(annotation)
        }
        if parts & UNTYPED:
            yield f"{prefix}.{node.name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_signatures_say_what_they_take_and_give(path: Path) -> None:
    found = set(untyped(tree_of(path).body, module_of(path)))
    assert found - DOCUMENTS.keys() == set()


def test_every_exception_is_still_needed() -> None:
    found = {name for path in FILES for name in untyped(tree_of(path).body, module_of(path))}
    assert DOCUMENTS.keys() - found == set()
