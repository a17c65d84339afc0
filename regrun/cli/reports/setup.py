"""How the numbers of a report came about: configs, axes, data, versions, and what does it again."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from regrun.cli.data_report import data_line
from regrun.cli.reports.parts import Field, Grid, Setup, Text
from regrun.config.defaults import without_defaults
from regrun.config.dump import dump_tree
from regrun.pictures.scales import is_number
from regrun.pictures.subject import Subject
from regrun.results import PathResult, ReproductionResult, RunSummary, SweepSummary
from regrun.settings import flatten, format_value
from regrun.store.place import Place
from regrun.store.reading import load_result, load_stored_run, read_document
from regrun.store.run_dir import CONFIG, RunDir
from regrun.store.study import PATH_CONFIG, PathStudy, ReproductionStudy, read_study
from regrun.store.sweep_dir import SWEEP, SweepDir

_WHICH = ("name", "seed", "dataset.seed", "sweep")
"""Keys that say which run this is, not how it was trained."""

DIFFERS = "What differs from the defaults"


def setup_of_cells(subject: Subject) -> Setup:
    """How a run, a sweep, an ablation, or the runs of a folder came about."""
    sweep = SweepDir(subject.directory)
    summaries = [run.summary for cell in subject.cells for run in cell.runs if run.summary]
    resolved = _resolved(subject)
    settings = _without(flatten(resolved), subject.keys)
    chosen = frozenset(flatten(without_defaults(resolved))) if resolved else frozenset()
    texts, grids = [], []
    axes = {
        key: _tried([cell.params[key] for cell in subject.cells if key in cell.params])
        for key in subject.keys
    }
    if sweep.config.is_file():
        config = read_document(sweep.config).data
        texts = [Text(DIFFERS, dump_tree(without_defaults(config)))]
        grids = [_axes(axes, config)]
        if resolved:
            texts.append(Text("All keys, as the first run has them", dump_tree(resolved)))
    elif RunDir(subject.directory).config.is_file():
        stored = read_document(RunDir(subject.directory).config).data
        texts = [Text(DIFFERS, dump_tree(without_defaults(stored)))]
        texts.append(Text("All keys", dump_tree(stored)))
    elif settings:
        shared = {key: value for key, value in settings.items() if key in chosen}
        texts = [Text("What all runs share, without the defaults", dump_tree(shared))]
        texts.append(Text("All keys that they share", dump_tree(settings)))
    return Setup(
        configs=[each for each in texts if each.text],
        grids=[grid for grid in grids if grid.rows],
        axes=axes,
        settings=settings,
        chosen=chosen,
        versions=versions_of(summaries),
        card=next((each.data for each in summaries if each.data is not None), None),
    )


def setup_of_path(directory: Path, path: PathResult) -> Setup:
    """The config of a path, and the strengths that it went through."""
    config: Mapping[str, Any] = read_document(Place(directory) / PATH_CONFIG).data
    flat = flatten(config)
    strengths = f"{len(path.strengths):,}, from {max(path.strengths):.4g} down to "
    axes = {"strength of the penalty": f"{strengths}{min(path.strengths):.4g}"}
    grid = Grid("Axes", ["key", "tried"], [[Field(key), Field(axes[key])] for key in axes])
    return Setup(
        configs=[
            Text(DIFFERS, dump_tree(without_defaults(config))),
            Text("All keys", dump_tree(config)),
        ],
        grids=[grid],
        axes=axes,
        settings=_without(flat, ()),
        chosen=frozenset(flatten(without_defaults(config))),
        versions=path.versions,
        card=path.data,
    )


def setup_of_reproduction(directory: Path, found: ReproductionResult) -> Setup:
    """The config, data and size of each part of a reproduction."""
    rows, texts, cards = [], [], []
    versions: list[Mapping[str, str]] = []
    for name in dict.fromkeys(Path(place).name for place in found.runs_in):
        part = directory / name
        config: Mapping[str, Any] = {}
        size, card = "not there any more", None
        if (SweepDir(part)).config.is_file():
            config = read_document(SweepDir(part).config).data
            swept = load_result(SweepDir(part).summary, SweepSummary)
            if swept is not None:
                size, card = f"{swept.runs:,} runs in {len(swept.cells):,} cells", swept.data
            versions.append(versions_of(_one_summary(part)))
        elif isinstance(read_study(part), PathStudy):
            config = read_document(Place(part) / PATH_CONFIG).data
            path = load_result(RunDir(part).summary, PathResult)
            if path is not None:
                size, card = f"a path of {len(path.strengths):,} strengths", path.data
                versions.append(path.versions)
        cards += [] if card is None else [card]
        about = data_line(card) if card is not None else ""
        rows.append([Field(name), Field(size), Field(about)])
        if config:
            texts.append(Text(f"{name}: what differs from the defaults", _text(config)))
    grid = Grid("Parts", ["part", "size", "data"], rows)
    shared = cards and all(card.test_set == cards[0].test_set for card in cards)
    return Setup(
        configs=texts,
        grids=[grid] if rows else [],
        versions=_merged(versions),
        card=cards[0] if shared else None,
    )


def _text(config: Mapping[str, Any]) -> str:
    return dump_tree(without_defaults(config))


def _one_summary(sweep: Path) -> list[RunSummary]:
    """That of the first run of a sweep which ended."""
    for planned in (run for each in SweepDir(sweep).read_rounds() for run in each.runs):
        found = load_result(SweepDir(sweep).run(planned).summary, RunSummary)
        if found is not None:
            return [found]
    return []


def versions_of(summaries: Iterable[RunSummary]) -> dict[str, str]:
    """The versions and devices of all runs; several where they differ."""
    return _merged({**each.versions, "device": each.device} for each in summaries)


def _merged(versions: Iterable[Mapping[str, str]]) -> dict[str, str]:
    found: dict[str, dict[str, None]] = {}
    for each in versions:
        for name, version in each.items():
            found.setdefault(name, {})[version] = None
    return {name: ", ".join(values) for name, values in found.items()}


def _resolved(subject: Subject) -> Mapping[str, Any]:
    """The config of the first run that has one, with all its keys; empty where none has."""
    for run in (run for cell in subject.cells for run in cell.runs):
        if RunDir(run.path).config.is_file():
            return load_stored_run(run.path).config
    return {}


def _without(flat: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """The settings that are neither swept nor only say which run this is."""
    left_out = (*_WHICH, *keys)
    return {
        key: value
        for key, value in flat.items()
        if not any(key == each or key.startswith(f"{each}.") for each in left_out)
    }


def _axes(axes: Mapping[str, str], config: Mapping[str, Any]) -> Grid:
    """What was tried of each key, and what the config has without the sweep."""
    base = flatten({key: value for key, value in config.items() if key != "sweep"})
    section = config.get("sweep") or {}
    space = section.get("space") or {}
    rows = [
        [
            Field(key),
            Field(tried),
            Field(format_value(space[key]) if key in space else "listed values"),
            Field(format_value(base[key]) if key in base else "its default"),
        ]
        for key, tried in axes.items()
    ]
    return Grid("Axes", ["key", "tried", "drawn from", "in the config"], rows)


_MOST_LISTED = 12


def _tried(values: Sequence[Any]) -> str:
    """The values where they are few, else their number and range."""
    texts = dict.fromkeys(map(format_value, values))
    if len(texts) <= _MOST_LISTED:
        return ", ".join(texts)
    if all(map(is_number, values)):
        return f"{len(texts):,} values from {min(values):.4g} to {max(values):.4g}"
    return f"{len(texts):,} values"


_AGAIN = {
    "run": ("train", CONFIG),
    "path": ("path", PATH_CONFIG),
    "sweep": ("sweep", SWEEP),
    "ablation": ("ablate", SWEEP),
}
"""Kind of directory → the verb that does it again, and the config in the directory."""


def commands(directory: Path, kind: str, seeds: int = 1) -> list[str]:
    """How to do it again, and what else there is to see."""
    quoted = shlex.quote(str(directory))
    again = []
    if kind in _AGAIN:
        verb, name = _AGAIN[kind]
        config = shlex.quote(str(directory / name))
        again.append(f"regrun {verb} {config}{_options(directory, kind, seeds)}")
    shown = [] if kind == "path" else [f"regrun compare {quoted}", f"regrun view {quoted}"]
    return [*again, *shown, f"regrun plot {quoted}", f"regrun verify {quoted}"]


def _options(directory: Path, kind: str, seeds: int) -> str:
    """What the config does not say."""
    if kind == "ablation":
        return f" --seeds {seeds}"
    study = read_study(directory) if kind == "path" else None
    if not isinstance(study, PathStudy):
        return ""
    return f" --number {study.number} --ratio {study.ratio:g} --folds {study.folds}"


def commands_of_reproduction(directory: Path, found: ReproductionResult) -> list[str]:
    """The same of a reproduction."""
    study = read_study(directory)
    seeds = study.seeds if isinstance(study, ReproductionStudy) else None
    options = "" if seeds is None else f" --seeds {seeds}"
    quoted = shlex.quote(str(directory))
    parts = [shlex.quote(str(directory / Path(place).name)) for place in found.runs_in]
    return [
        f"regrun reproduce {shlex.quote(found.name)}{options}",
        *(f"regrun report {part}" for part in dict.fromkeys(parts)),
        f"regrun plot {quoted}",
        f"regrun verify {quoted}",
    ]
