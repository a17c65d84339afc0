"""The part of a report on a run, a sweep, an ablation, or a folder of runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from regrun.analysis.cells import Cell
from regrun.analysis.sweeps import StoredSweep, losses_apart
from regrun.cli.ablate import difference_text, with_all_keys
from regrun.cli.cell_table import shown_metrics
from regrun.cli.compare import count_of
from regrun.cli.conclusions import caption, conclusions, repeats, stopped_by_test
from regrun.cli.reports.charts import MOST_RUNS, cells_chart, curves_chart, effects_chart
from regrun.cli.reports.drawings import MOST_DRAWN, drawings
from regrun.cli.reports.grids import cells_grid, effects_grid, metrics_grid
from regrun.cli.reports.parts import ReportPart
from regrun.cli.reports.setup import commands, setup_of_cells
from regrun.cli.run_report import headline, warnings, weights_and_penalties
from regrun.errors import CorruptInputError
from regrun.metrics import METRICS, Metric
from regrun.numbers import interval
from regrun.pictures.sentences import finding, words_of
from regrun.pictures.subject import Subject
from regrun.results import AblationResult, RunSummary
from regrun.store.reading import find_runs, load_stored_run, read_document
from regrun.store.run_dir import RunDir
from regrun.store.sweep_dir import SweepDir


def part_of_cells(subject: Subject, damaged: list[CorruptInputError], known: int) -> ReportPart:
    """The part on stored cells.

    damaged: takes what is left out; the first `known` of it are of other directories.
    """
    if RunDir(subject.directory).config.is_file():
        return _of_run(subject, damaged)
    cells, metric = subject.cells, subject.metric
    is_sweep = SweepDir(subject.directory).config.is_file()
    summaries = _summaries(cells)
    note = partial(_note, damaged)
    charts = [cells_chart(subject), curves_chart(subject, note)]
    pictures = drawings(subject, len(summaries), note)
    confirmed = []
    if is_sweep:
        confirmed = StoredSweep(SweepDir(subject.directory), on_damage=note).confirmed
    left_out = len(damaged) - known
    limits = [*caption(cells, shown_metrics(cells, metric.name)), *stopped_by_test(cells)]
    limits += _lost(cells)
    limits += [count_of(left_out)] if left_out else []
    limits += _not_drawn(len(summaries))
    limits += _searched(subject.directory) if is_sweep else _not_shown(subject, left_out)
    facts = [("runs", _ended(cells)), ("selected on", _selected_on(metric))]
    seeds = max(cell.seeds for cell in cells)
    facts += [("repeats", repeats(cells))] if seeds > 1 else []
    found = subject.ablation
    if found is not None:
        whole = with_all_keys(cells, SweepDir(subject.directory))
        stars = "rotation test, 5% for all stars and statements of the table together"
        return ReportPart(
            directory=subject.directory,
            kind="ablation",
            question=_ablation_question(found),
            answer=_effects_answer(found, seeds),
            limits=[*limits, f"* a difference: {stars}"],
            facts=[(name, text) for name, text in facts if name != "selected on"],
            charts=[effects_chart(found), *(chart for chart in charts if chart is not None)],
            drawings=pictures,
            tables=[effects_grid(found), cells_grid(whole, metric)],
            setup=setup_of_cells(subject),
            commands=commands(subject.directory, "ablation", seeds),
        )
    tables = [cells_grid(cells, metric)]
    if confirmed:
        title = "Confirmed on fresh replicates"
        tables.append(cells_grid(confirmed, metric, title, charted=False))
    kind = "sweep" if is_sweep else "runs"
    return ReportPart(
        directory=subject.directory,
        kind=kind,
        question=_question(subject),
        answer=_answer(subject, confirmed),
        findings=conclusions(cells, metric, confirmed=bool(confirmed)),
        limits=limits,
        facts=facts if len(cells) > 1 else [each for each in facts if each[0] != "selected on"],
        charts=[chart for chart in charts if chart is not None],
        drawings=pictures,
        tables=tables,
        setup=setup_of_cells(subject),
        commands=commands(subject.directory, kind),
    )


def _of_run(subject: Subject, damaged: list[CorruptInputError]) -> ReportPart:
    """The part on one run."""
    (summary,) = _summaries(subject.cells)
    config = load_stored_run(subject.directory).config
    said = (line.partition(" ") for line in weights_and_penalties(summary))
    facts = [("run", headline(summary, config))]
    facts += [(name, text.strip()) for name, _, text in said]
    note = partial(_note, damaged)
    chart = curves_chart(subject, note)
    tested = _on_test(subject.cells[0], subject.metric)
    return ReportPart(
        directory=subject.directory,
        kind="run",
        question=f"What {words_of(subject.metric)} does this run reach?",
        answer=". ".join([finding(subject), "It is one run: there is no interval", *tested]) + ".",
        limits=[
            *warnings(summary),
            *stopped_by_test(subject.cells),
            "one seed cannot distinguish a difference from chance",
        ],
        facts=facts,
        charts=[] if chart is None else [chart],
        drawings=drawings(subject, 1, note),
        tables=[metrics_grid(summary)],
        setup=setup_of_cells(subject),
        commands=commands(subject.directory, "run"),
    )


def _note(damaged: list[CorruptInputError], damage: CorruptInputError) -> None:
    """Note what is damaged once, though charts and pictures ask for the same file."""
    if str(damage) not in map(str, damaged):
        damaged.append(damage)


def _summaries(cells: Sequence[Cell]) -> list[RunSummary]:
    return [run.summary for cell in cells for run in cell.runs if run.summary is not None]


def _question(subject: Subject) -> str:
    metric, count, keys = subject.metric, len(subject.cells), subject.keys
    words = words_of(metric)
    if count == 1:
        return f"What {words} does {subject.setting(subject.cells[0])} give?"
    extreme = "lowest" if metric.direction == "minimize" else "highest"
    if len(keys) == 1:
        return f"Which of {count:,} values of {keys[0]} gives the {extreme} {words}?"
    return f"Which of {count:,} settings of {_listed(keys)} gives the {extreme} {words}?"


def _answer(subject: Subject, confirmed: Sequence[Cell]) -> str:
    """The finding with its interval, what it was chosen by, and what says more about it."""
    metric, best = subject.metric, subject.best
    if best is None or losses_apart(subject.compared, metric):
        return f"{finding(subject)}."
    values = len(best.values(metric.name))
    found = best.interval(metric.name)
    sentences = [finding(subject)]
    if values > 1 and found is not None:
        average = "geometric mean" if found.scale == "log" else "mean"
        over = repeats([best])
        sentences.append(f"The value is the {average} over {over}, with its 95% interval")
    elif len(subject.compared) == 1:
        sentences.append("It is one run: there is no interval")
    if len(subject.compared) > 1:
        flatters = ", which flatters the value" if metric.split == "test" else ""
        sentences.append(f"The setting was chosen by {words_of(metric)}{flatters}")
    sentences += _on_test(best, metric)
    fresh = next(
        (cell.interval(metric.name) for cell in confirmed if cell.params == best.params), None
    )
    if fresh is not None:
        sentences.append(f"On fresh replicates its {words_of(metric)} is {interval(fresh)}")
    return f"{'. '.join(sentences)}."


def _on_test(best: Cell, metric: Metric) -> list[str]:
    """What a cell that was not chosen by the test set gives on it."""
    name = metric.on("test").name
    found = best.interval(name)
    if metric.split == "test" or name not in METRICS or found is None:
        return []
    return [f"Its {words_of(METRICS[name])} is {interval(found)}"]


def _selected_on(metric: Metric) -> str:
    return metric.name + (
        " (the test set, which flatters what is chosen)" if metric.split == "test" else ""
    )


def _searched(directory: Path) -> list[str]:
    """That a search leaves most settings untried."""
    section = read_document(SweepDir(directory).config).data.get("sweep") or {}
    if "space" not in section:
        return []
    return ["the best of the settings that the search tried: it did not try all"]


def _ablation_question(found: AblationResult) -> str:
    names, words = found.ingredients, _words(found.metric)
    each = "" if len(names) == 1 else "each of "
    return f"What does {each}{_listed(names)} do to {words}?"


def _words(metric: str) -> str:
    return words_of(METRICS[metric]) if metric in METRICS else metric


def _effects_answer(found: AblationResult, seeds: int) -> str:
    """The effects that are certain, with their intervals."""
    is_ratio = found.effects[0].left_out.scale == "log"
    how = f"{'with over without' if is_ratio else 'with minus without'} it, 95% intervals"
    how = f"({how}, {seeds} paired seeds)" if seeds > 1 else f"({how})"
    alone = len(found.effects) == 1
    where = "" if alone else " in company of the others"
    certain = [
        f"{each.ingredient} {difference_text(each.left_out).removesuffix(' *')}"
        for each in found.effects
        if each.left_out.is_certain
    ]
    words = _words(found.metric)
    if certain:
        rest = [each.ingredient for each in found.effects if not each.left_out.is_certain]
        others = f"; no certain effect: {_listed(rest, len(rest))}" if rest else ""
        return f"Certain effects on {words}{where}: {_listed(certain, len(certain))} {how}{others}."
    seen = [f"{each.ingredient} {difference_text(each.left_out)}" for each in found.effects]
    return (
        f"No effect on {words} can be distinguished from chance; seen{where}: "
        f"{_listed(seen, len(seen))} {how}."
    )


_MOST_NAMED = 4


def _listed(names: Sequence[str], most: int = _MOST_NAMED) -> str:
    more = len(names) - most
    shown = list(names[:most]) + ([f"{more:,} more"] if more > 0 else [])
    return " and ".join([*([", ".join(shown[:-1])] if shown[1:] else []), *shown[-1:]])


def _ended(cells: Sequence[Cell]) -> str:
    """``9 completed, 1 diverged``."""
    statuses = [run.status for cell in cells for run in cell.runs]
    return ", ".join(f"{statuses.count(each):,} {each}" for each in dict.fromkeys(statuses))


def _lost(cells: Sequence[Cell]) -> list[str]:
    unfinished = sum(run.summary is None for cell in cells for run in cell.runs)
    if not unfinished:
        return []
    return [f"{unfinished:,} runs are unfinished, and not in these numbers"]


def _not_drawn(runs: int) -> list[str]:
    """What would make the page of many runs too large."""
    lines = []
    if runs > MOST_DRAWN:
        lines.append(f"of {runs:,} runs only the main picture is drawn: regrun plot DIR draws all")
    if runs > MOST_RUNS:
        lines.append(f"there is no chart of the learning curves of more than {MOST_RUNS:,} runs")
    return lines


def _not_shown(subject: Subject, damaged: int) -> list[str]:
    """That a folder has runs which are not in the cells."""
    total = len(find_runs([subject.directory]))
    others = total - sum(cell.seeds for cell in subject.cells) - damaged
    why = "unfinished, confirmations, or trained again"
    return [f"not shown: {others:,} of {total:,} runs ({why})"] if others else []
