"""Plug-ins that fail: each method of each family, in each way, by each verb that needs it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from regrun.kinds.optimizers.base import UpdateRule
from regrun.kinds.plugins import GROUPS
from tests.plugins.test_plugins import install
from tests.support.program import run_in_one_interpreter

SOURCE = Path(__file__).parent / "breaking" / "regrun_breaking.py"
CLASSES = {
    "regrun.models": "Network", "regrun.datasets": "Data", "regrun.losses": "Errors",
    "regrun.penalties": "Penalty", "regrun.constraints": "Limit", "regrun.optimizers": "Descent",
    "regrun.schedules": "Fall",
}  # fmt: skip
SECTIONS = {
    "regrun.models": "model={name: breaking}",
    "regrun.datasets": "dataset={name: breaking}",
    "regrun.losses": "loss={type: breaking}",
    "regrun.penalties": "penalty={type: breaking, strength: 0.1}",
    "regrun.constraints": "constraints={type: breaking}",
    "regrun.optimizers": "optimizer={name: breaking, lr: 0.01}",
    "regrun.schedules": "schedule={type: breaking}",
}
CONFIG = """\
dataset: {name: synthetic_linear, num_features: 3, num_train: 16, num_test: 8}
model: {name: linear}
optimizer: {name: sgd, lr: 0.01}
training: {epochs: 2, batch_size: 8}
"""
RAISING = ("raises", "quits", "recurses", "interrupts")
GIVING = (
    "gives None", "gives NaN", "gives a number", "gives text", "gives an array", "gives a tensor",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A method that fails in a way while a verb runs."""

    verb: str
    group: str
    method: str
    way: str

    @property
    def overrides(self) -> list[str]:
        section = SECTIONS[self.group]
        if self.method.startswith("prox_") or self.method == "proximal_symbols":
            section = section.replace("strength", "method: proximal, strength")
        return [section]

    @property
    def words(self) -> list[str]:
        axis = ["seed=0,1"] if self.verb == "sweep" else []
        return [self.verb, "breaking.yaml", *self.overrides, *axis, "--json"]


COVERING = {
    Case("train", "regrun.penalties", "value", "raises"): 3,
    Case("train", "regrun.penalties", "value", "quits"): 3,
    Case("train", "regrun.penalties", "value", "interrupts"): 3,
    Case("train", "regrun.penalties", "value", "gives None"): 3,
    Case("train", "regrun.penalties", "value", "gives an array"): 3,
    Case("train", "regrun.penalties", "value", "gives a tensor"): 3,
    Case("train", "regrun.penalties", "prox_", "raises"): 3,
    Case("train", "regrun.penalties", "check", "raises"): 2,
    Case("train", "regrun.penalties", "conflicts", "raises"): 2,
    Case("inspect", "regrun.penalties", "symbols", "raises"): 2,
    Case("train", "regrun.constraints", "project_", "raises"): 3,
    Case("train", "regrun.optimizers", "Rule.update", "recurses"): 3,
    Case("train", "regrun.optimizers", "Rule.at_step", "gives None"): 3,
    Case("train", "regrun.optimizers", "slots", "gives a number"): 2,
    Case("train", "regrun.losses", "per_example", "gives a tensor"): 3,
    Case("train", "regrun.losses", "network_outputs", "gives text"): 2,
    Case("sweep", "regrun.losses", "per_example", "quits"): 3,
    Case("train", "regrun.schedules", "factors", "gives an array"): 3,
    Case("train", "regrun.models", "build", "gives None"): 2,
    Case("train", "regrun.models", "forward", "raises"): 2,
    Case("train", "regrun.models", "forward", "gives a tensor"): 2,
    Case("train", "regrun.models", "forward_in_training", "quits"): 2,
    Case("inspect", "regrun.models", "notes", "gives None"): 2,
    Case("train", "regrun.datasets", "arrays", "quits"): 2,
    Case("train", "regrun.datasets", "load", "gives text"): 2,
    Case("train", "regrun.datasets", "load", "interrupts"): 2,
    Case("inspect", "regrun.datasets", "load", "raises"): 2,
}
"""Case → exit code."""


def methods(group: str) -> Iterator[str]:
    """Everything that fails of a family: what its base classes declare, and the rest."""
    kinds: list[type] = [GROUPS[group], *([UpdateRule] if group == "regrun.optimizers" else [])]
    for kind in kinds:
        prefix = "Rule." if kind is UpdateRule else ""
        for base in kind.__mro__:
            for name, found in vars(base).items():
                runs = callable(found) or isinstance(found, classmethod | property)
                own = base.__module__.startswith("regrun.") and not name.startswith("_")
                own = own and name != "undefined"  # is asked of every family at the start
                if own and runs and not isinstance(found, type):
                    yield f"{prefix}{name}"
    yield "check"
    if group == "regrun.models":
        yield from ("forward", "forward_in_training")


def every_case() -> list[Case]:
    return [
        Case(verb, group, method, way)
        for group in GROUPS
        for method in dict.fromkeys(methods(group))
        for verb in ("train", "inspect", "sweep")
        for way in (*RAISING, *GIVING)
    ]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of faulty kinds, installed."""
    folder = tmp_path_factory.mktemp("site")
    modules = {SOURCE.stem: SOURCE.read_text(encoding="utf-8")}
    points = {group: {"breaking": f"{SOURCE.stem}:{name}"} for group, name in CLASSES.items()}
    install(folder, "regrun-breaking", modules, points)
    return folder


def run(site: Path, folder: Path, cases: list[Case]) -> list[tuple[int, str, str]]:
    """Exit code, stdout and stderr of each case."""
    (folder / "breaking.yaml").write_text(CONFIG)
    return run_in_one_interpreter(
        [case.words for case in cases],
        folder=folder,
        site=site,
        envs=[{"REGRUN_BREAKS": f"{case.method} {case.way}"} for case in cases],
    )


def named(case: Case) -> str:
    """What a message calls the code that fails."""
    other = {"check": ": the check of its keys", "forward": ": forward"}
    method = other.get(case.method.removesuffix("_in_training"), f".{case.method}")
    return f"regrun_breaking.{CLASSES[case.group]}{method}"


def check(case: Case, code: int, stdout: str, stderr: str, folder: Path) -> None:
    """The fault is the plug-in's; stdout holds a document, or nothing."""
    assert code in (0, 2, 3), (case, stderr)
    assert "Traceback" not in stderr, (case, stderr)
    assert "NOISE" not in stdout, case
    document = json.loads(stdout) if stdout else {}
    if code == 0:
        return
    assert "NOISE" in stderr, case
    failed = code == 3 and case.verb == "train" and document["status"] == "failed"
    log = (folder / document["run_dir"] / "log.txt").read_text() if failed else ""
    if case.way in RAISING:
        assert f"{named(case)} failed: " in stderr, (case, stderr)
        assert "comes with the package regrun-breaking 1.0" in stderr, (case, stderr)
        assert not failed or ("Traceback" in log and "regrun_breaking.py" in log)


def test_each_family_has_methods_that_fail(site: Path, tmp_path: Path) -> None:
    cases = list(COVERING)
    for case, ended in zip(cases, run(site, tmp_path, cases), strict=True):
        check(case, *ended, tmp_path)
        assert ended[0] == COVERING[case], (case, ended[2])
        assert named(case).partition(":")[0] in ended[2], (case, ended[2])


@pytest.mark.long
@pytest.mark.parametrize("group", list(GROUPS))
def test_every_method_fails_in_every_way(group: str, site: Path, tmp_path: Path) -> None:
    cases = [case for case in every_case() if case.group == group]
    missed = []
    for case, ended in zip(cases, run(site, tmp_path, cases), strict=True):
        try:
            check(case, *ended, tmp_path)
        except AssertionError as error:
            missed.append((case, str(error)))
    assert not missed, f"{len(missed)} of {len(cases)}: {missed}"
