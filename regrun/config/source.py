"""Where a config comes from: its data as written, and the place of every problem with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from regrun.config.outline import trace
from regrun.config.overrides import Assignment, AssignmentProblem, assign
from regrun.config.report import Finding, Mark, located
from regrun.config.validate import KeyProblem, MissingKey
from regrun.errors import ConfigError, Path, Problem, dotted


@dataclass(frozen=True)
class Source:
    """Plain data, the marks of the file it was read from, and what was set on top of it."""

    label: str
    """The file as the user named it; "" when there is none."""
    tree: Mapping[str, Any]
    keys: Mapping[Path, Mark] = field(default_factory=dict)
    values: Mapping[Path, Mark] = field(default_factory=dict)
    lines: Sequence[str] = ()
    assigned: tuple[tuple[Path, Assignment], ...] = ()
    """Path in the tree and what set it, in order."""

    def assigning(self, assignments: Iterable[Assignment]) -> tuple[Source, list[Finding]]:
        """With values set; and the assignments that are not possible."""
        tree, assigned, findings = self.tree, list(self.assigned), []
        for assignment in assignments:
            try:
                tree, path = assign(tree, assignment)
            except AssignmentProblem as problem:
                findings.append(problem.finding(assignment.mark))
            else:
                assigned.append((path, assignment))
        return replace(self, tree=tree, assigned=tuple(assigned)), findings

    def locate(self, error: ConfigError) -> ConfigError:
        """The same problems with file, line, column and excerpt, all at once in their order.

        Their paths are those of the `Config`, where one penalty is a list of one.
        """
        if error.rendered is not None:
            return error
        traced = [
            replace(problem, path=trace(problem.path, self.tree)[-1].path)
            for problem in error.problems
        ]
        return self.located([self.find(problem) for problem in traced])

    def located(self, findings: Sequence[Finding]) -> ConfigError:
        """Findings as one error of this source."""
        return located(findings, self.label, self.lines)

    def find(self, problem: Problem) -> Finding:
        """The place that is to blame for a problem whose path is as written."""
        path = problem.path
        blamed = self._blamed(problem, path)
        if blamed is not None:
            where, assignment = blamed
            order = assignment.number
            return Finding(problem, assignment.mark, assignment.said_by, where, order)
        return Finding(self._with_cause(problem), self._mark(problem, path))

    def _blamed(self, problem: Problem, path: Path) -> tuple[Path, Assignment] | None:
        """The last assignment that set the place, chose the kind of its section, or made it."""
        choice = problem.chosen_by if isinstance(problem, MissingKey) else None
        above = [
            each for each in self.assigned if path[: len(each[0])] == each[0] or each[0] == choice
        ]
        if above:
            return above[-1]
        below = [each for each in self.assigned if path and each[0][: len(path)] == path]
        written = path in self.values
        if written and isinstance(problem, MissingKey):
            # `penalty: none` is written, but the section that lacks the key is not.
            written = any(len(key) > len(path) and key[: len(path)] == path for key in self.keys)
        return below[-1] if below and not written else None

    def _mark(self, problem: Problem, path: Path) -> Mark | None:
        """Of the key or the value; of the nearest section around it when it is not written."""
        at = path
        while at and at not in self.values:
            at = at[:-1]
        if not at:
            return None
        key, value = self.keys.get(at), self.values[at]
        about_key = isinstance(problem, KeyProblem | MissingKey) or at != path
        about_key = about_key or value.line != value.end_line
        return key if key is not None and about_key else value

    def _with_cause(self, problem: Problem) -> Problem:
        """A key that became wrong because an override chose another kind of section says so."""
        if not isinstance(problem, KeyProblem) or problem.chosen_by is None:
            return problem
        for where, assignment in reversed(self.assigned):
            if problem.chosen_by[: len(where)] == where:
                cause = f"({dotted(problem.chosen_by)} was set by {assignment.short})"
                return replace(problem, message=f"{problem.message.partition(';')[0]} {cause}")
        return problem
