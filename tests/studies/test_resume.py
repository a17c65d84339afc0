"""Ablations, paths and reproductions that are killed or stopped, and carried on to the same end."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from regrun.signals import end_on_signals
from regrun.store.checkpoint import CheckpointStore
from regrun.studies.reproductions.claims import LassoPath, Method, Of, Ratio, Reproduction, Trained
from regrun.studies.reproductions.registry import REPRODUCTIONS
from tests.support.faults import dying, in_child, recorded, signalled
from tests.support.program import invoke

PATH: dict[str, Any] = {
    "name": "some",
    "dataset": {"name": "diabetes", "num_train": 60},
    "model": {"name": "linear"},
    "loss": "half_mse",
    "penalty": {"type": "l1", "strength": 1.0},
    "optimizer": {"name": "sgd", "lr": 0.1},
    "training": {"checkpoint_every": 0},
}
ABLATION: dict[str, Any] = {
    "name": "some",
    "dataset": {"name": "digits", "num_train": 40, "num_test": 40},
    "model": {"name": "mlp", "hidden": [6], "dropout": 0.3},
    "optimizer": {"name": "sgd", "lr": 0.1, "weight_decay": 0.1},
    "training": {"epochs": 2, "batch_size": 20, "checkpoint_every": 0},
}
TINY = Reproduction(
    title="A tiny reproduction",
    reference="nowhere",
    parts=(
        Trained(
            "weight_decay.yaml",
            (
                Method("plain", {"training.epochs": 2}),
                Method("tuned", {"training.epochs": 2}, {"optimizer.weight_decay": [0.1, 1.0]}),
            ),
            seeds=2,
            tuning_seeds=2,
            tuned_by="train/loss",
        ),
        LassoPath("reproduce/lasso_path_diabetes.yaml", "path", number=4, ratio=0.1, shares=(0.1,)),
    ),
    claims=(Ratio("train loss", Of("plain", "train/loss"), Of("tuned", "train/loss"), above=0.5),),
    budget="none",
    published_budget="none",
    takes="no time",
)


@dataclass(frozen=True)
class Study:
    """A study and how it is begun. config: None for a reproduction."""

    verb: str
    options: tuple[str, ...]
    config: dict[str, Any] | None = None

    def words(self, folder: Path) -> list[object]:
        """The command that begins it in a folder."""
        what: object = "tiny"
        if self.config is not None:
            what = folder.parent / f"{self.verb}.yaml"
            what.write_text(yaml.safe_dump(self.config))
        place = ["--runs-dir", folder, "--device", "cpu", "--quiet"]
        return [self.verb, what, *self.options, *place]


STUDIES = {
    "path": Study("path", ("--number", "4", "--folds", "2", "--ratio", "0.1"), PATH),
    "ablate": Study("ablate", ("--seeds", "2"), ABLATION),
    "reproduce": Study("reproduce", ()),
}


@pytest.fixture(autouse=True)
def tiny_reproduction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "regrun.studies.reproductions.registry.REPRODUCTIONS", {**REPRODUCTIONS, "tiny": TINY}
    )


def only_in(folder: Path) -> Path | None:
    """The directory of the only study; None before it is claimed."""
    found = [path.parent for path in folder.glob("*/*/study.json")]
    assert len(found) <= 1
    return found[0] if found else None


def results(directory: Path) -> dict[str, bytes]:
    """What must not depend on interruptions: files by name, without names drawn and seconds."""
    found = {}
    for path in sorted(directory.rglob("*")):
        name = without_names(str(path.relative_to(directory)), directory)
        if path.suffix in (".png", ".svg", ".csv", ".safetensors") or name.endswith(
            "metrics.jsonl"
        ):
            found[name] = path.read_bytes()
        elif path.name == "summary.json":
            text = without_names(path.read_text(), directory)
            found[name] = without_seconds(text).encode()
    return found


def without_names(text: str, directory: Path) -> str:
    """Directories of runs end with characters that are drawn, and lie in folders of their own."""
    text = text.replace(str(directory), "DIR")
    return re.sub(r"(seed=\d+|path|sweep|reproduce)-[a-z2-7]{6}", r"\1-xxxxxx", text)


def without_seconds(text: str) -> str:
    def cleaned(value: Any) -> Any:
        if isinstance(value, dict):
            kept = value.keys() - {"seconds", "checksum"}
            return {key: cleaned(each) for key, each in value.items() if key in kept}
        return [cleaned(each) for each in value] if isinstance(value, list) else value

    return json.dumps(cleaned(json.loads(text)))


def printed(directory: Path, text: str) -> str:
    return re.sub(r"in [\d.]+ s\b", "in … s", without_names(text, directory))


@dataclass(frozen=True)
class Whole:
    """An undisturbed study. operations: how many file operations it makes."""

    files: dict[str, bytes]
    stdout: str
    document: str
    operations: int


@pytest.fixture(scope="module", params=STUDIES)
def study(request: pytest.FixtureRequest) -> Study:
    return STUDIES[request.param]


@pytest.fixture(scope="module")
def whole(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "regrun.studies.reproductions.registry.REPRODUCTIONS", {**REPRODUCTIONS, "tiny": TINY}
        )
        folder = tmp_path_factory.mktemp("whole")
        with recorded() as operations:
            done = invoke(*study.words(folder / "text"))
        assert done.exit_code == 0
        documented = invoke(*study.words(folder / "json"), "--json")
    text, document = only_in(folder / "text"), only_in(folder / "json")
    assert text is not None
    assert document is not None
    return Whole(
        results(text),
        printed(text, done.stdout),
        without_seconds(without_names(documented.stdout, document)),
        len(operations.names),
    )


def killed(words: Sequence[object], moment: int) -> int:
    """Call regrun in a child that is killed at a file operation; its exit status."""

    def work() -> None:
        with dying(moment, torn=True):
            invoke(*words)

    return in_child(work)


def assert_carried_on(directory: Path, whole: Whole, *, as_json: bool) -> None:
    done = invoke("resume", directory, "--quiet", *(["--json"] if as_json else []))
    assert done.exit_code == 0, done.stderr
    assert results(directory) == whole.files
    if as_json:
        assert without_seconds(without_names(done.stdout, directory)) == whole.document
    else:
        assert printed(directory, done.stdout) == whole.stdout
    assert not list(directory.rglob("*.tmp"))
    assert not list(directory.rglob("stacks"))


def die_and_resume(study: Study, whole: Whole, folder: Path, moments: range) -> int:
    """Kill it at file operations, and resume; how often there was something to resume."""
    begun = 0
    for moment in moments:
        place = folder / str(moment)
        status = killed(study.words(place), moment)
        assert status in (-signal.SIGKILL, 0)  # 0: it makes fewer operations here
        directory = only_in(place)
        if directory is None:
            continue
        if study.config is not None and not [
            *directory.glob("path.yaml"),
            *directory.glob("sweep.yaml"),
        ]:
            continue
        begun += 1
        assert_carried_on(directory, whole, as_json=begun % 2 == 0)
    return begun


def test_a_study_killed_at_a_file_operation_is_the_undisturbed_one(
    study: Study, whole: Whole, tmp_path: Path
) -> None:
    assert whole.operations > 50
    step = whole.operations // 5
    assert die_and_resume(study, whole, tmp_path, range(step // 2, whole.operations, step)) >= 3


@pytest.mark.long
def test_a_study_killed_at_any_file_operation_is_the_undisturbed_one(
    study: Study, whole: Whole, tmp_path: Path
) -> None:
    assert die_and_resume(study, whole, tmp_path, range(1, whole.operations, 7)) > 10


def stop_and_resume(study: Study, whole: Whole, folder: Path, moment: int) -> None:
    words = [word for word in study.words(folder) if word != "--quiet"]
    log = folder.parent / f"{folder.name}.txt"

    def work() -> None:
        end_on_signals()
        with signalled(moment, signal.SIGINT):
            done = invoke(*words)
        log.write_text(done.stderr)
        os._exit(done.exit_code)

    code = in_child(work)
    assert code in (130, 0)
    directory = only_in(folder)
    if directory is None:
        assert code == 130
        assert not list(folder.glob("*/*"))
        return
    if "carry on with: " in log.read_text():
        command = shlex.split(log.read_text().strip().rpartition("carry on with: ")[2])
        assert command == ["regrun", "resume", str(directory)]
    assert_carried_on(directory, whole, as_json=False)


@pytest.mark.parametrize("share", [0.03, 0.4, 0.8])
def test_a_study_that_is_stopped_prints_the_command_that_carries_it_on(
    share: float, study: Study, whole: Whole, tmp_path: Path
) -> None:
    stop_and_resume(study, whole, tmp_path / "runs", int(share * whole.operations))


@pytest.mark.long
def test_a_study_may_be_stopped_at_any_file_operation(
    study: Study, whole: Whole, tmp_path: Path
) -> None:
    for moment in range(1, whole.operations, 9):
        stop_and_resume(study, whole, tmp_path / str(moment), moment)


@pytest.fixture
def finished(study: Study, tmp_path: Path) -> Path:
    """The directory of a study that ran undisturbed."""
    assert invoke(*study.words(tmp_path / "runs")).exit_code == 0
    directory = only_in(tmp_path / "runs")
    assert directory is not None
    return directory


def test_a_finished_study_shows_its_result_again(finished: Path, whole: Whole) -> None:
    for as_json in (False, True):
        assert_carried_on(finished, whole, as_json=as_json)


def test_a_finished_study_can_be_moved(finished: Path, whole: Whole, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / finished.name
    elsewhere.parent.mkdir()
    finished.rename(elsewhere)
    done = invoke("resume", elsewhere, "--quiet", "--json")
    assert without_seconds(without_names(done.stdout, elsewhere)) == whole.document


def test_lists_and_comparisons_know_studies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    runs = tmp_path / "runs"
    path, ablation = STUDIES["path"], STUDIES["ablate"]
    with recorded() as operations:
        assert invoke(*path.words(runs)).exit_code == 0
    assert invoke(*ablation.words(runs)).exit_code == 0
    killed(path.words(runs), len(operations.names) * 2 // 3)
    listed = json.loads(invoke("list", "runs", "--json", "--runs-dir", runs).stdout)
    studies = [each for each in listed if "study" in each]
    assert len(listed) == len(studies) + 8  # the runs of the ablation
    found = sorted((each["study"], each["status"]) for each in studies)
    assert found == [("ablate", "completed"), ("path", "completed"), ("path", "interrupted")]
    table = invoke("list", "runs", "--runs-dir", runs).stdout
    for each in studies:
        directory = each["study_dir"]
        (line,) = (line for line in table.splitlines() if f"{directory} " in line)
        assert each["status"] in line
        compared = invoke("compare", directory)
        if each["study"] == "path":
            for shown in (compared, invoke("view", directory)):
                assert shown.exit_code == 2
                assert f"is a path ({each['status']})" in shown.stderr
                assert f"regrun resume {directory}" in shown.stderr
        else:
            assert compared.exit_code == 0


def test_compare_shows_the_runs_of_a_reproduction(tmp_path: Path) -> None:
    assert invoke(*STUDIES["reproduce"].words(tmp_path)).exit_code == 0
    directory = only_in(tmp_path)
    assert directory is not None
    names = {path.name for path in directory.iterdir() if not path.name.startswith("claims")}
    assert names == {"1-tuning", "1-judged", "2-path", "study.json", "summary.json"}
    for place in (directory, tmp_path):
        cells = json.loads(invoke("compare", place, "--json").stdout)
        assert sum(len(cell["runs"]) for cell in cells) == 8


def begun(study: Study, folder: Path) -> Path:
    """The directory of a finished study."""
    assert invoke(*study.words(folder)).exit_code == 0
    directory = only_in(folder)
    assert directory is not None
    return directory


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("path", ["--seeds", "3"], "is a path, not a sweep"),
        ("path", ["--confirm", "3"], "is a path, not a sweep"),
        ("path", ["penalty.strength=3"], "cannot change in a path that has begun"),
        ("reproduce", ["--seeds", "3"], "is a reproduction, not a sweep"),
        ("reproduce", ["optimizer.lr=3"], "whose settings are its own"),
    ],
)
def test_what_a_study_cannot_be_given_is_refused(
    name: str, arguments: list[str], message: str, tmp_path: Path
) -> None:
    directory = begun(STUDIES[name], tmp_path / "runs")
    refused = invoke("resume", directory, *arguments)
    assert refused.exit_code == 2
    assert message in refused.stderr


def test_more_seeds_of_an_ablation_give_the_effects_of_as_many_seeds(tmp_path: Path) -> None:
    directory = begun(STUDIES["ablate"], tmp_path / "runs")
    more = invoke("resume", directory, "--seeds", "3", "--json", "--quiet")
    assert more.exit_code == 0, more.stderr
    at_once = begun(Study("ablate", ("--seeds", "3"), ABLATION), tmp_path / "other")
    found, expected = json.loads(more.stdout), json.loads((at_once / "summary.json").read_text())
    assert found["effects"] == expected["effects"]
    assert found["cells"] == expected["cells"]
    assert found["ingredients"] == ["dropout", "weight_decay"]


@pytest.mark.parametrize(
    "damage",
    ["", "{}", '{"study": {"verb": "os"}}', '{"study": {"verb": "path", "number": 1}}', "[1]"],
)
def test_a_damaged_study_file_is_named(damage: str, tmp_path: Path) -> None:
    directory = begun(STUDIES["path"], tmp_path / "runs")
    (directory / "study.json").write_text(damage)
    refused = invoke("resume", directory)
    assert refused.exit_code == 5
    assert str(directory / "study.json") in refused.stderr


def test_other_examples_are_refused_by_a_path_that_goes_on(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    lines = [f"{i % 7},{i % 5},{(3 * i) % 11}" for i in range(40)]
    table.write_text("\n".join(["a,b,y", *lines]) + "\n")
    section = {"name": "csv", "path": str(table), "target": "y", "test": 0.2, "task": "regression"}
    study = Study("path", STUDIES["path"].options, {**PATH, "dataset": section})
    with recorded() as operations:
        begun(study, tmp_path / "whole")
    killed(study.words(tmp_path / "runs"), len(operations.names) * 2 // 3)
    directory = only_in(tmp_path / "runs")
    assert directory is not None
    table.write_text("\n".join(["a,b,y", *lines[::-1]]) + "\n")
    refused = invoke("resume", directory)
    assert refused.exit_code == 5
    assert "not those that training began with" in refused.stderr
    moved = tmp_path / "moved.csv"
    moved.write_text("\n".join(["a,b,y", *lines]) + "\n")
    done = invoke("resume", directory, f"dataset.path={moved}")
    assert done.exit_code == 0, done.stderr
    assert (directory / "path.csv").read_bytes() == next(
        tmp_path.glob("whole/*/*/path.csv")
    ).read_bytes()


def without(document: dict[str, Any], *keys: str) -> None:
    """Remove what lies under the keys."""
    for key in keys[:-1]:
        document = document[key]
    del document[keys[-1]]


WRONG: dict[str, Callable[[dict[str, Any], dict[str, Any]], object]] = {
    "no rows": lambda state, tensors: without(state, "rows"),
    "a row less": lambda state, tensors: without(state, "rows", "0"),
    "a measurement less": lambda state, tensors: without(state, "rows", "0", "objective"),
    "no loss held out": lambda state, tensors: [
        row.pop("held_out/loss", None) for row in state["rows"].values()
    ],
    "a text": lambda state, tensors: state["rows"]["0"].update(objective="low"),
    "an end too many": lambda state, tensors: state["ends"].update(
        {"77": {"status": "pruned", "epoch": 1, "step": 1}}
    ),
    "a diverged end": lambda state, tensors: state["ends"]["0"].update(status="diverged"),
    "no weights": lambda state, tensors: without(tensors, "solved/0/output.weight"),
    "other weights": lambda state, tensors: tensors.update(
        {"solved/0/output.weight": tensors["solved/0/output.bias"]}
    ),
    "no engine": lambda state, tensors: without(state, "engine"),
}


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A path that was killed when all was solved."""
    folder = tmp_path_factory.mktemp("solved")
    path = STUDIES["path"]
    with recorded() as operations:
        begun(path, folder / "whole")
    at = max(index for index, name in enumerate(operations.names) if name == "rmdir")
    killed(path.words(folder / "runs"), at - 20)
    directory = only_in(folder / "runs")
    assert directory is not None
    assert not (directory / "summary.json").exists()
    return directory


@pytest.mark.parametrize("wrong", WRONG)
def test_a_checkpoint_of_a_path_with_wrong_content_is_named(
    wrong: str, solved: Path, tmp_path: Path
) -> None:
    directory = tmp_path / solved.name
    shutil.copytree(solved, directory)
    store = CheckpointStore(directory / "stacks" / "0")
    checkpoint = store.load()
    assert checkpoint is not None
    WRONG[wrong](checkpoint.state, checkpoint.tensors)
    store.save(checkpoint.tensors, checkpoint.state)
    refused = invoke("resume", directory)
    assert refused.exit_code == 5, refused.output
    assert str(directory / "stacks") in refused.stderr
