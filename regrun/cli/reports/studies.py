"""The parts of a report on paths and reproductions."""

from __future__ import annotations

from collections.abc import Mapping

from regrun.cli.reports.charts import path_chart
from regrun.cli.reports.drawings import drawings
from regrun.cli.reports.grids import claims_grid, strengths_grid
from regrun.cli.reports.parts import ReportPart
from regrun.cli.reports.setup import (
    commands,
    commands_of_reproduction,
    setup_of_path,
    setup_of_reproduction,
)
from regrun.cli.reproduce import chosen_lines
from regrun.errors import CorruptInputError
from regrun.numbers import number
from regrun.pictures import claims as claims_picture
from regrun.pictures import path as path_picture
from regrun.pictures.subject import Subject
from regrun.results import Estimate, PathResult, ReproductionResult, Verdict


def part_of_path(
    subject: Subject, path: PathResult, damaged: list[CorruptInputError]
) -> ReportPart:
    """The part on a regularization path."""
    limits = [
        *path.notes,
        "the choice is by cross-validation on one division of the training set into folds",
        "the standard error is over the folds; it is no 95% interval",
    ]
    if "test/loss" in path.metrics:
        limits.append("the test losses are of one fit for each strength, and have no interval")
    if not path.converged:
        limits.append("some strengths have not converged: their coefficients are not final")
    return ReportPart(
        directory=subject.directory,
        kind="path",
        question="Which strength of the penalty gives the lowest cross-validated loss?",
        answer=f"{path_picture.title_of(path)}. The strength was chosen by cross-validation on the "
        f"training set{_tested(path)}.",
        limits=limits,
        facts=[("selected on", "cv/loss"), ("strengths", f"{len(path.strengths):,}")],
        charts=[path_chart(path)],
        drawings=drawings(subject, 1, damaged.append),
        tables=[strengths_grid(path)],
        setup=setup_of_path(subject.directory, path),
        commands=commands(subject.directory, "path"),
    )


def _tested(path: PathResult) -> str:
    """What the chosen strength gives on the test set."""
    if "test/loss" not in path.metrics:
        return ""
    at = path.strengths.index(path.best.strength)
    return f"; the test loss there is {number(path.metrics['test/loss'][at])}"


def part_of_reproduction(
    subject: Subject, found: ReproductionResult, damaged: list[CorruptInputError]
) -> ReportPart:
    """The part on a published experiment that was trained again."""
    facts = [("overall", found.verdict), ("source", found.source), ("budget", found.budget)]
    facts += [("published", found.published_budget)] if found.published_budget else []
    facts += [("chosen", line) for line in chosen_lines(found)]
    facts.append(("runs", f"{found.completed:,} of {found.runs:,} completed"))
    limits = [text for text in (found.remark, found.shortfall) if text]
    limits += [
        f"{method.name}: {', '.join(method.at_edge)} was chosen at the edge of what was tried"
        for method in found.methods
        if method.at_edge
    ]
    unjudged = sum(claim.verdict is None for claim in found.claims)
    if unjudged:
        limits.append(f"not judged, only shown: {unjudged:,} of {len(found.claims):,} claims")
    return ReportPart(
        directory=subject.directory,
        kind="reproduction",
        question=f"Do our values agree with the published ones of “{found.title}”?",
        answer=_verdict(found),
        limits=limits,
        facts=facts,
        drawings=drawings(subject, found.runs, damaged.append),
        tables=[claims_grid(found)],
        setup=setup_of_reproduction(subject.directory, found),
        commands=commands_of_reproduction(subject.directory, found),
    )


_ANSWERS: Mapping[Verdict, str] = {"agrees": "Yes", "differs": "No"}


def _verdict(found: ReproductionResult) -> str:
    """``Yes: 6 of 6 claims agree. Ours are means with 95% intervals over 3 seeds.``."""
    claims = claims_picture.title_of(found).removeprefix(f"{found.title}: ")
    counts = {each.ours.n for each in found.claims if isinstance(each.ours, Estimate)}
    seeds = f" over {min(counts):,} seeds" if len(counts) == 1 and max(counts) > 1 else ""
    ours = f" Ours are means with 95% intervals{seeds}." if counts and max(counts) > 1 else ""
    return f"{_ANSWERS.get(found.verdict, 'It cannot be said')}: {claims}.{ours}"
