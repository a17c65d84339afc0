"""What a report says of one directory, in the words of the terminal."""

from __future__ import annotations

import base64
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regrun.analysis.cells import Cell, group_by_setting, metric_values
from regrun.analysis.sweeps import confirmed_cells, metric_of_cells
from regrun.cli.ablate import difference_text, with_all_keys
from regrun.cli.cell_table import ALIKE, BEST, TITLES, params_of, shown_metrics, status_of
from regrun.cli.compare import count_of, finished_runs
from regrun.cli.conclusions import caption, conclusions, repeats, standing_of, stopped_by_test
from regrun.cli.data_report import data_facts, data_tables
from regrun.cli.reproduce import chosen_lines, ours_text
from regrun.cli.run_report import headline, warnings, weights_and_penalties
from regrun.config.defaults import without_defaults
from regrun.config.dump import dump_tree
from regrun.errors import CorruptInputError, UsageError
from regrun.metrics import Metric
from regrun.numbers import interval, number
from regrun.pictures import claims as claims_picture
from regrun.pictures import path as path_picture
from regrun.pictures.base import Picture
from regrun.pictures.files import main_picture, pictures_of
from regrun.pictures.sentences import finding
from regrun.pictures.sheet import rendered
from regrun.pictures.style import LOOKS, Theme, styled
from regrun.pictures.subject import Subject, load_subject
from regrun.results import AblationResult, DataCard, PathResult, ReproductionResult, RunSummary
from regrun.settings import format_value
from regrun.store.place import Place
from regrun.store.reading import find_runs, read_document
from regrun.store.run_dir import CONFIG, RunDir
from regrun.store.study import PATH_CONFIG, PathStudy, ReproductionStudy, read_study
from regrun.store.sweep_dir import SWEEP, SweepDir

MOST_DRAWN = 200
"""Runs up to which all pictures are drawn; of more, the main one."""

LARGEST_SVG = 400_000
"""Bytes of a picture above which its pixels are smaller than its lines."""


@dataclass(frozen=True)
class Field:
    """A field of a table: its text, and the number that it is sorted by."""

    text: str
    value: float | None = None


@dataclass(frozen=True)
class Grid:
    """A table. rows: the first field of each is its header."""

    caption: str
    headers: Sequence[str]
    rows: Sequence[Sequence[Field]]
    note: str = ""


@dataclass(frozen=True)
class Drawing:
    """A picture as data URIs, and the sentence that says what it shows."""

    name: str
    text: str
    light: str
    dark: str


@dataclass(frozen=True)
class ReportPart:
    """What the report says of one directory."""

    directory: Path
    kind: str
    question: str
    answer: str
    findings: Sequence[str] = ()
    limits: Sequence[str] = ()
    facts: Sequence[tuple[str, str]] = ()
    drawings: Sequence[Drawing] = ()
    tables: Sequence[Grid] = ()
    data_facts: Sequence[tuple[str, str]] = ()
    data_tables: Sequence[Grid] = ()
    config: str = ""
    """The keys that differ from their defaults, as YAML."""
    whole_config: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    commands: Sequence[str] = ()


def load_part(directory: Path, damaged: list[CorruptInputError]) -> ReportPart:
    """What a report says of a directory. damaged: takes the runs that are left out.

    Raises UsageError where nothing has ended, CorruptInputError, StorageError.
    """
    known = len(damaged)
    subject = _load(directory, damaged)
    if subject.path is not None:
        return _of_path(subject, subject.path)
    if subject.reproduction is not None:
        return _of_reproduction(subject, subject.reproduction)
    return _of_cells(subject, damaged, known)


def _load(directory: Path, damaged: list[CorruptInputError]) -> Subject:
    """The subject; unfinished and damaged runs of a folder are named and left out."""
    before = len(damaged)
    if _is_folder(directory):
        cells = group_by_setting(finished_runs([directory], damaged))
        return Subject(directory, cells, metric_of_cells(cells))
    subject = load_subject(directory, on_damage=damaged.append)
    studied = subject.path is not None or subject.reproduction is not None
    if not studied and not any(run.summary for cell in subject.cells for run in cell.runs):
        if len(damaged) > before:
            raise damaged[before]
        again = shlex.quote(str(directory))
        raise UsageError(f"{directory}: no run has ended; to carry on: regrun resume {again}")
    return subject


def _is_folder(directory: Path) -> bool:
    """Whether this is no run, sweep or study, but holds some."""
    configs = (SweepDir(directory).config, RunDir(directory).config)
    if not directory.is_dir() or any(each.is_file() for each in configs):
        return False
    return read_study(directory) is None


def _of_cells(subject: Subject, damaged: list[CorruptInputError], known: int) -> ReportPart:
    """The part on a run, a sweep, an ablation, or a folder of runs.

    known: how many of the damaged runs are of other directories.
    """
    cells, metric, directory = subject.cells, subject.metric, subject.directory
    is_sweep = SweepDir(directory).config.is_file()
    summaries = [run.summary for cell in cells for run in cell.runs if run.summary is not None]
    first = summaries[0]
    config = _config_of(directory, is_sweep=is_sweep)
    limits = [*caption(cells, shown_metrics(cells, metric.name)), *stopped_by_test(cells)]
    limits += _lost(cells)
    facts = [("runs", _ended(cells))]
    if len(cells) > 1:
        flatters = " (the test set, which flatters what is chosen)"
        facts.append(("selected on", metric.name + (flatters if metric.split == "test" else "")))
    tables = [_cells_grid(cells, metric)]
    confirmed = confirmed_cells(SweepDir(directory), on_damage=damaged.append) if is_sweep else []
    if confirmed:
        tables.append(_cells_grid(confirmed, metric, "Confirmed on fresh replicates"))
    is_run = RunDir(directory).config.is_file()
    if is_run:
        limits += warnings(first)
        limits.append("one seed cannot distinguish a difference from chance")
        said = (line.partition(" ") for line in weights_and_penalties(first))
        facts = [
            ("run", headline(first, config)),
            *((name, text.strip()) for name, _, text in said),
        ]
        tables = [_metrics_grid(first)]
    left_out = len(damaged) - known
    if left_out:
        limits.append(count_of(left_out))
    kind, question, answer = "runs", _question(subject), finding(subject)
    if is_sweep:
        kind = "sweep"
    elif not is_run:
        limits += _not_shown(subject, left_out)
    if is_run:
        kind = "run"
    if subject.ablation is not None:
        whole = with_all_keys(cells, SweepDir(directory))
        kind, tables = "ablation", [_effects_grid(subject.ablation), _cells_grid(whole, metric)]
        facts = [facts[0], ("measured by", metric.name)]
        question = f"What does each of {_listed(subject.ablation.ingredients)} do to {metric.name}?"
        answer = _effects_answer(subject.ablation)
        limits.append(
            "* a difference: rotation test, 5% for all stars and statements of the table together"
        )
    seeds = max(cell.seeds for cell in cells)
    if seeds > 1:
        facts.append(("repeats", repeats(cells)))
    return ReportPart(
        directory=directory,
        kind=kind,
        question=question,
        answer=f"{answer}.",
        findings=[]
        if is_run or subject.ablation
        else conclusions(cells, metric, confirmed=bool(confirmed)),
        limits=limits,
        facts=facts,
        drawings=_drawings(subject, len(summaries)),
        tables=tables,
        **_data(first.data),
        config=_yaml(without_defaults(config)),
        whole_config=_yaml(config),
        versions=_versions(summaries),
        commands=_commands(directory, kind, f" --seeds {seeds}" if kind == "ablation" else ""),
    )


def _not_shown(subject: Subject, damaged: int) -> list[str]:
    """That a folder has runs which are not in the cells."""
    total = len(find_runs([subject.directory]))
    others = total - sum(cell.seeds for cell in subject.cells) - damaged
    why = "unfinished, confirmations, or trained again"
    return [f"not shown: {others:,} of {total:,} runs ({why})"] if others else []


def _versions(summaries: Sequence[RunSummary]) -> dict[str, str]:
    """The versions of all runs; several where they differ."""
    found: dict[str, dict[str, None]] = {}
    for summary in summaries:
        for name, version in summary.versions.items():
            found.setdefault(name, {})[version] = None
    return {name: ", ".join(versions) for name, versions in found.items()}


def _of_path(subject: Subject, path: PathResult) -> ReportPart:
    directory, best = subject.directory, path.best
    names = [name for name in path.metrics if name.endswith("/loss")]
    marks = {best.one_standard_error: "one standard error", best.strength: "lowest cv loss"}
    if len(marks) == 1:
        marks = {best.strength: "lowest cv loss, one standard error"}
    rows = [
        [
            _number(strength),
            Field(f"{path.nonzeros[at]:,}", path.nonzeros[at]),
            *(_number(path.metrics[name][at]) for name in names),
            Field(marks.get(strength, "")),
        ]
        for at, strength in enumerate(path.strengths)
    ]
    headers = ["strength", "non-zeros", *(name.replace("/", " ") for name in names), "chosen by"]
    config: Mapping[str, Any] = read_document(Place(directory) / PATH_CONFIG).data
    limits = [*path.notes, "the choice by cross-validation is of this one split into folds"]
    if not path.converged:
        limits.append("some strengths have not converged")
    return ReportPart(
        directory=directory,
        kind="path",
        question="Which strength of the penalty gives the lowest cross-validated loss?",
        answer=f"{path_picture.title_of(path)}.",
        limits=limits,
        facts=[("selected on", "cv/loss"), ("strengths", f"{len(path.strengths):,}")],
        drawings=_drawings(subject, 1),
        tables=[Grid("Strengths", headers, rows)],
        **_data(path.data),
        config=_yaml(without_defaults(config)),
        whole_config=_yaml(config),
        commands=_commands(directory, "path", _path_options(directory)),
    )


def _of_reproduction(subject: Subject, found: ReproductionResult) -> ReportPart:
    rows = [
        [
            Field(claim.claim),
            Field(claim.published),
            Field(ours_text(claim.ours)),
            Field(claim.verdict or "not judged"),
        ]
        for claim in found.claims
    ]
    facts = [("overall", found.verdict), ("source", found.source), ("budget", found.budget)]
    facts += [("published", found.published_budget)] if found.published_budget else []
    facts += [("chosen", line) for line in chosen_lines(found)]
    facts += [("runs", str(each)) for each in found.runs_in]
    limits = [text for text in (found.remark, found.shortfall) if text]
    return ReportPart(
        directory=subject.directory,
        kind="reproduction",
        question=f"Do our values agree with the published ones of {found.title}?",
        answer=f"{claims_picture.title_of(found)}.",
        limits=limits,
        facts=facts,
        drawings=_drawings(subject, found.runs),
        tables=[Grid("Claims", ["claim", "published", "ours", "verdict"], rows)],
        commands=_again_reproduced(subject.directory, found.name),
    )


def _again_reproduced(directory: Path, name: str) -> list[str]:
    study = read_study(directory)
    seeds = study.seeds if isinstance(study, ReproductionStudy) else None
    options = "" if seeds is None else f" --seeds {seeds}"
    quoted = shlex.quote(str(directory))
    return [
        f"regrun reproduce {shlex.quote(name)}{options}",
        f"regrun plot {quoted}",
        f"regrun verify {quoted}",
    ]


def _question(subject: Subject) -> str:
    metric, count = subject.metric, len(subject.cells)
    if count == 1:
        return f"What {metric.name} does {subject.setting(subject.cells[0])} give?"
    extreme = "lowest" if metric.direction == "minimize" else "highest"
    if len(subject.keys) == 1:
        return f"Which of {count:,} values of {subject.keys[0]} gives the {extreme} {metric.name}?"
    return (
        f"Which of {count:,} settings of {_listed(subject.keys)} gives the {extreme} {metric.name}?"
    )


_MOST_NAMED = 4


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    shown = list(names[:_MOST_NAMED]) + ([f"{more:,} more"] if more > 0 else [])
    return " and ".join([*([", ".join(shown[:-1])] if shown[1:] else []), *shown[-1:]])


def _effects_answer(found: AblationResult) -> str:
    """The effects that are certain, with their intervals."""
    certain = [
        f"{each.ingredient} {difference_text(each.left_out).removesuffix(' *')}"
        for each in found.effects
        if each.left_out.is_certain
    ]
    if not certain:
        seen = [f"{each.ingredient} {difference_text(each.left_out)}" for each in found.effects]
        return (
            f"No ingredient has an effect on {found.metric} that chance cannot explain: in company "
            f"of the others {_listed(seen)}"
        )
    return f"In company of the others, on {found.metric}: {_listed(certain)}"


def _ended(cells: Sequence[Cell]) -> str:
    """``9 completed, 1 diverged``."""
    statuses = [run.status for cell in cells for run in cell.runs]
    return ", ".join(f"{statuses.count(each):,} {each}" for each in dict.fromkeys(statuses))


def _lost(cells: Sequence[Cell]) -> list[str]:
    lines = []
    unfinished = sum(run.summary is None for cell in cells for run in cell.runs)
    if unfinished:
        lines.append(f"{unfinished:,} runs are unfinished, and not in these numbers")
    return lines


def _cells_grid(cells: Sequence[Cell], metric: Metric, title: str = "Cells") -> Grid:
    """A row per cell, the marks of the terminal at the best and those like it."""
    keys, names = params_of(cells), shown_metrics(cells, metric.name)
    standing = standing_of(cells, metric).alike
    marks = {id(cell): ALIKE for cell in standing[1:]} | {id(cell): BEST for cell in standing[:1]}
    rows = [
        [
            Field(f"{at} {marks.get(id(cell), '')}".rstrip(), at),
            *(_setting(cell.params, key) for key in keys),
            *([] if keys else [Field(cell.runs[0].path.name)]),
            Field(f"{cell.seeds:,}", cell.seeds),
            *(_estimate(cell, name) for name in names),
            Field(status_of(cell)),
        ]
        for at, cell in enumerate(cells, 1)
    ]
    titles = [TITLES.get(name, name.replace("/", " ")) for name in names]
    headers = ["cell", *(keys or ["run"]), "seeds", *titles, "status"]
    return Grid(title, headers, rows, _legend(metric, len(standing)))


def _legend(metric: Metric, marked: int) -> str:
    words = [f"{BEST} {'lowest' if metric.sign > 0 else 'highest'} {metric.name}"]
    words += [f"{ALIKE} not distinguishable from it"] if marked > 1 else []
    return "; ".join(words) if marked else ""


def _setting(params: Mapping[str, Any], key: str) -> Field:
    if key not in params:
        return Field("as in the config")
    value = params[key]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    is_finite = is_number and math.isfinite(value)
    return Field(format_value(value), float(value) if is_finite else None)


def _estimate(cell: Cell, name: str) -> Field:
    found = cell.interval(name)
    return Field(interval(found), None if found is None else found.mean)


def _number(value: float) -> Field:
    return Field(number(value), value)


def _metrics_grid(summary: RunSummary) -> Grid:
    rows = [[Field(name), _number(value)] for name, value in metric_values(summary).items()]
    return Grid("Metrics", ["metric", "value"], rows)


def _effects_grid(found: AblationResult) -> Grid:
    rows = [
        [
            Field(each.ingredient),
            *(
                Field(difference_text(difference), difference.mean)
                for difference in (each.left_out, each.alone, each.interaction)
            ),
            Field("acts differently in company" if each.interacts else ""),
        ]
        for each in found.effects
    ]
    how = "with over without" if found.effects[0].alone.scale == "log" else "with minus without"
    title = f"effect on {found.metric}: {how}, with 95% intervals of each"
    return Grid(title, ["ingredient", "in company", "alone", "interaction", "remark"], rows)


def _data(card: DataCard | None) -> dict[str, Any]:
    if card is None:
        return {}
    tables = [
        Grid(
            each.headers[0].capitalize(),
            [header or "–" for header in each.headers],
            [[Field(text) for text in row] for row in each.rows],
            each.more,
        )
        for each in data_tables(card)
    ]
    notes = [("note", note) for note in card.notes]
    return {"data_facts": [*data_facts(card), *notes], "data_tables": tables}


def _config_of(directory: Path, *, is_sweep: bool) -> Mapping[str, Any]:
    """The stored config of a directory; of a folder of runs there is none."""
    if is_sweep:
        data: Mapping[str, Any] = read_document(SweepDir(directory).config).data
        return data
    files = RunDir(directory)
    if not files.config.is_file():
        return {}
    stored: Mapping[str, Any] = read_document(files.config).data
    return stored


def _yaml(config: Mapping[str, Any]) -> str:
    return dump_tree(config) if config else ""


def _path_options(directory: Path) -> str:
    study = read_study(directory)
    if not isinstance(study, PathStudy):
        return ""
    return f" --number {study.number} --ratio {study.ratio:g} --folds {study.folds}"


_AGAIN = {
    "run": ("train", CONFIG),
    "path": ("path", PATH_CONFIG),
    "sweep": ("sweep", SWEEP),
    "ablation": ("ablate", SWEEP),
}
"""Kind of directory → the verb that does it again, and the config in the directory."""


def _commands(directory: Path, kind: str, options: str = "") -> list[str]:
    """How to do it again, and what else there is to see."""
    quoted = shlex.quote(str(directory))
    again = []
    if kind in _AGAIN:
        verb, name = _AGAIN[kind]
        again.append(f"regrun {verb} {shlex.quote(str(directory / name))}{options}")
    shown = [] if kind == "path" else [f"regrun compare {quoted}", f"regrun view {quoted}"]
    return [*again, *shown, f"regrun plot {quoted}", f"regrun verify {quoted}"]


def _drawings(subject: Subject, runs: int) -> list[Drawing]:
    """All pictures; of many runs the main one."""
    if runs <= MOST_DRAWN:
        return [_drawing(subject, each) for each in pictures_of(subject)]
    main = main_picture(subject)
    return [] if main is None else [_drawing(subject, main)]


def _drawing(subject: Subject, picture: Picture) -> Drawing:
    found: dict[Theme, str] = {}
    title = ""
    for theme, look in LOOKS.items():
        with styled(look):
            sheet = picture.draw(subject, look)
            title, figure = sheet.title, sheet.finish()
        svg = rendered(figure, look, "svg")
        if len(svg) <= LARGEST_SVG:
            kind, content = "svg+xml", svg
        else:
            kind, content = "png", rendered(figure, look, "png")
        found[theme] = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    return Drawing(picture.name, title, found["light"], found["dark"])
