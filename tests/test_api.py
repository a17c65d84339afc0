"""The functions of `import regrun` give what the verbs give, and show themselves shortly."""

from __future__ import annotations

import doctest
import importlib
import inspect
import io
import json
import re
import warnings
from html import escape
from pathlib import Path
from typing import Any, cast

import pandas as pd
import pytest
from matplotlib.figure import Figure

import regrun
from regrun.cli.ablate import difference_text
from regrun.errors import DataWarning, UsageError
from regrun.numbers import interval
from regrun.results import Inspection, ReproductionResult
from regrun.store.run_dir import RunDir
from regrun.store.study import ReproductionStudy, write_study
from tests.support.program import Invoke

API = importlib.import_module("regrun.api")
CONFIG: dict[str, Any] = {
    "name": "small",
    "dataset": {"name": "synthetic_linear", "num_train": 20, "num_test": 10},
    "model": {"name": "linear"},
    "optimizer": {"name": "sgd", "lr": 0.003},
    "training": {"epochs": 2},
}
AXES = {"optimizer.weight_decay": [0, 1]}
FUNCTIONS = [name for name in regrun.__all__ if inspect.isfunction(getattr(regrun, name))]
CLASSES = [name for name in regrun.__all__ if inspect.isclass(getattr(regrun, name))]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("api") / "runs"


@pytest.fixture(scope="module")
def run(runs: Path) -> regrun.Run:
    return regrun.train(CONFIG, runs_dir=runs, device="cpu")


@pytest.fixture(scope="module")
def sweep(runs: Path) -> regrun.Sweep:
    return regrun.sweep(CONFIG, AXES, seeds=2, runs_dir=runs, device="cpu")


def cells_of(html: str, *, header: bool = True) -> dict[str, list[str]]:
    """Row → its cells, of a table with or without a header of each row."""
    rows = [re.findall(r"<t[hd]>(.*?)</t[hd]>", row) for row in html.split("<tr")[2:]]
    if header:
        return {row[0]: row[1:] for row in rows if row}
    return {str(index): row for index, row in enumerate(rows)}


def test_dir_lists_all_that_there_is() -> None:
    assert set(regrun.__all__) <= {*dir(regrun)}
    assert [*dir(regrun)] == sorted(dir(regrun))
    others = {name for name in dir(regrun) if not name.startswith("__")} - {*regrun.__all__}
    assert others <= {"errors", "plugins", "results"}  # no module that happens to be imported


def examples_of(name: str) -> list[doctest.DocTest]:
    """The examples of a function, or of a class and its members."""
    found = doctest.DocTestFinder().find(getattr(regrun, name), name, globs=dict(vars(API)))
    return [each for each in found if each.examples]


@pytest.mark.parametrize("name", [*FUNCTIONS, *CLASSES])
def test_examples_give_what_they_say(name: str) -> None:
    examples, shown = examples_of(name), io.StringIO()
    assert examples, "there is none"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        for each in examples:
            failed = doctest.DocTestRunner().run(each, out=shown.write).failed
            assert failed == 0, shown.getvalue()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_say_what_they_take_return_and_raise(name: str) -> None:
    function = getattr(regrun, name)
    text = inspect.getdoc(function) or ""
    parts = dict(re.findall(r"^(Args|Returns|Raises):\n((?:    .*\n|\n)+)", text, re.MULTILINE))
    assert parts.keys() == {"Args", "Returns", "Raises"}
    described = re.findall(r"^    \*?(\w+): ", parts["Args"], re.MULTILINE)
    assert described == list(inspect.signature(function).parameters)


@pytest.mark.parametrize("name", CLASSES)
def test_public_members_of_classes_have_docstrings(name: str) -> None:
    for key, value in inspect.getmembers(getattr(regrun, name)):
        if not key.startswith("_") and (callable(value) or isinstance(value, property)):
            assert inspect.getdoc(value), key


@pytest.mark.parametrize("module", ["errors", "metrics", "plugins", "results", "escapes"])
def test_examples_of_public_modules_give_what_they_say(module: str) -> None:
    found = doctest.testmod(importlib.import_module(f"regrun.{module}"))
    assert found.failed == 0


def test_a_run_is_one_short_line(run: regrun.Run) -> None:
    loss = run.summary.metrics["test/loss"]
    assert loss is not None
    assert repr(run).startswith(f"<Run {run.directory}: completed after 2 epochs, ")
    assert f"test/loss {loss:.4g}" in repr(run)
    assert len(repr(run)) < 150 + len(str(run.directory))


def test_a_sweep_is_one_short_line(sweep: regrun.Sweep) -> None:
    best = sweep.summary.best
    assert best is not None
    decay = best.params["optimizer.weight_decay"]
    assert repr(sweep) == (
        f"<Sweep {sweep.directory}: 4 of 4 runs completed, 2 cells, "
        f"best by {best.metric}: optimizer.weight_decay={decay}>"
    )


def test_notebooks_show_the_tables(run: regrun.Run, sweep: regrun.Sweep) -> None:
    loss = run.summary.metrics["test/loss"]
    assert cells_of(run._repr_html_())["test/loss"] == [f"{loss:.4g}"]
    rows = cells_of(sweep._repr_html_())
    assert [row[0] for row in rows.values()] == ["0", "1"]
    assert [row[1] for row in rows.values()] == ["2", "2"]
    for row, cell in zip(rows.values(), sweep.summary.cells, strict=True):
        assert interval(cell.metrics["test/loss"]) in row
    assert "&lt;Sweep" in sweep._repr_html_()


@pytest.fixture(scope="module")
def path(runs: Path) -> regrun.Path:
    config = {
        "name": "lasso",
        "dataset": {"name": "diabetes"},
        "model": {"name": "linear"},
        "penalty": {"type": "l1", "strength": 1},
        "optimizer": {"name": "sgd", "lr": 0.1},
    }
    return regrun.path(config, number=4, ratio=0.1, folds=2, runs_dir=runs, device="cpu")


@pytest.fixture(scope="module")
def ablation(runs: Path) -> regrun.Ablation:
    overrides = {"optimizer.weight_decay": 1}
    return regrun.ablate(CONFIG, overrides, seeds=2, runs_dir=runs, device="cpu")


def test_a_path_has_tables_by_strength(path: regrun.Path) -> None:
    summary = path.summary
    coefficients, metrics = path.coefficients, path.metrics
    assert coefficients.index.name == metrics.index.name == "strength"
    assert coefficients.index.tolist() == metrics.index.tolist() == summary.strengths
    assert coefficients["bmi"].tolist() == [each[2] for each in summary.coefficients]
    assert metrics["cv/loss"].tolist() == summary.metrics["cv/loss"]
    assert metrics["nonzeros"].tolist() == summary.nonzeros
    best = summary.best.strength
    count = summary.nonzeros[summary.strengths.index(best)]
    assert repr(path) == (
        f"<Path {path.directory}: 4 strengths, lowest cv/loss at {best:.4g} with "
        f"{count} of 10 coefficients>"
    )
    assert len(cells_of(path._repr_html_())) == 5  # a row has the name of the index
    assert regrun.load_path(path.directory) == path
    assert regrun.resume(path.directory) == path


def test_what_a_path_makes_no_use_of_is_a_warning(tmp_path: Path) -> None:
    config = {
        "dataset": {"name": "diabetes"},
        "model": {"name": "linear"},
        "penalty": {"type": "l1", "strength": 1},
        "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9},
    }
    with pytest.warns(DataWarning, match=r"optimizer\.momentum does nothing here: a path") as seen:
        regrun.path(config, number=2, ratio=0.5, folds=2, runs_dir=tmp_path, device="cpu")
    assert {Path(each.filename).name for each in seen} == {"test_api.py"}


def test_an_ablation_has_its_effects_by_ingredient(ablation: regrun.Ablation) -> None:
    (effect,) = ablation.summary.effects
    row = ablation.effects.loc["weight_decay"]
    assert row["left_out"] == effect.left_out.mean
    assert row["alone/low"] == effect.alone.low
    assert row["interaction/high"] == effect.interaction.high
    assert row["scale"] == "log"
    shown = cells_of(ablation._repr_html_())["weight_decay"]
    assert shown == [
        difference_text(each) for each in (effect.left_out, effect.alone, effect.interaction)
    ]
    assert repr(ablation).startswith(f"<Ablation {ablation.directory}: 4 of 4 runs completed")
    for load in (regrun.load_ablation, regrun.load_sweep):
        assert load(ablation.directory) == ablation
    again = regrun.resume(ablation.directory)
    assert isinstance(again, regrun.Ablation)
    assert again.summary.effects == ablation.summary.effects


def test_a_reproduction_has_its_claims(tmp_path: Path) -> None:
    judged = {"claim": "a <b>", "published": "1 to 2", "verdict": "agrees"}
    result = ReproductionResult.from_json(
        json.dumps(
            {
                "name": "some", "title": "Some", "source": "", "budget": "", "remark": "",
                "published_budget": "", "verdict": "agrees", "methods": [], "runs_in": [],
                "claims": [
                    {**judged, "ours": {"mean": 1.5, "low": 1.0, "high": 2.0, "n": 5}},
                    {**judged, "claim": "words", "ours": "none", "verdict": None},
                ],
                "seconds": 1.0, "runs": 0, "completed": 0, "diverged": 0, "failed": 0,
            }
        ).encode(),
        "here",
    )  # fmt: skip
    found = regrun.Reproduction(tmp_path, result)
    assert repr(found) == f"<Reproduction {tmp_path}: some: agrees>"
    assert found.claims.index.tolist() == ["a <b>", "words"]
    assert found.claims.iloc[0].tolist() == ["1 to 2", 1.5, 1.0, 2.0, "agrees"]
    assert found.claims["ours"].iloc[1] == "none"
    assert "a &lt;b&gt;" in found._repr_html_()


@pytest.mark.parametrize("name", ["run", "sweep", "path", "ablation"])
def test_everything_draws_and_reports_itself(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    stored = request.getfixturevalue(name)
    light, dark = stored.plot(), stored.plot(theme="dark")
    assert isinstance(light, Figure)
    assert light.axes
    assert light.get_facecolor() != dark.get_facecolor()
    page = stored.report(tmp_path / "page.html")
    assert page == tmp_path / "page.html"
    assert "<html" in page.read_text("utf-8")
    assert stored.report() == stored.directory / "report.html"
    assert (stored.directory / "report.html").is_file()
    with pytest.raises(UsageError, match=r"a report is a file that ends in \.html"):
        stored.report(tmp_path / "page.pdf")


def test_several_directories_have_one_report(
    run: regrun.Run, sweep: regrun.Sweep, tmp_path: Path
) -> None:
    text = regrun.report(run.directory, sweep.directory, output=tmp_path / "a.html").read_text()
    assert run.directory.name in text
    assert sweep.directory.name in text
    with pytest.raises(UsageError, match="nothing to report on"):
        regrun.report()


HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e&amp;"


def test_names_of_others_are_text_in_notebooks(path: regrun.Path, run: regrun.Run) -> None:
    names = [HOSTILE, *path.summary.feature_names[1:]]
    found = regrun.Path(Path(HOSTILE), path.summary.model_copy(update={"feature_names": names}))
    metrics = {HOSTILE: 1.0, "test/loss": 2.0}
    other = regrun.Run(Path("a"), run.config, run.summary.model_copy(update={"metrics": metrics}))
    seen = inspected({"model.name": "mlp", "model.hidden": [3]})
    layers = [each.model_copy(update={"name": HOSTILE}) for each in seen.model.layers]
    model = seen.model.model_copy(update={"layers": layers})
    seen = seen.model_copy(update={"model": model, "notes": [HOSTILE]})
    for shown in (found, other, seen):
        html = shown._repr_html_()
        assert "&lt;script&gt;" in html
        assert "<script" not in html
        assert "&amp;amp;" in html
        assert not re.search("[\x1b\u202e]", html + repr(shown))


def inspected(overrides: dict[str, Any]) -> Inspection:
    return regrun.inspect(CONFIG, overrides, device="cpu")


def test_an_inspection_is_one_short_line_and_a_table() -> None:
    found = inspected({})
    assert re.fullmatch(
        r"<Inspection: \d layers, 201 parameters, synthetic_linear \(regression\), \d+\.\d MiB>",
        repr(found),
    )
    assert cells_of(found._repr_html_())["output"] == ["Linear", "1", "201"]
    assert escape(found.update_rule) in found._repr_html_()


def test_tables_are_indexed_by_what_their_rows_are(run: regrun.Run, sweep: regrun.Sweep) -> None:
    assert run.metrics.index.tolist() == run.metrics["epoch"].tolist() == [1, 2]
    settings = ["optimizer.weight_decay=0", "optimizer.weight_decay=1"]
    assert sorted(sweep.cells.index) == sorted(regrun.compare(sweep.directory).index) == settings
    assert [sweep.directory / each for each in sweep.runs.index] == [
        Path(each) for each in sweep.runs["run_dir"]
    ]


def test_progress_is_shown_where_it_is_asked_for(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither a terminal nor a notebook is here."""
    for progress, shown in ((None, False), (False, False), (True, True)):
        regrun.train(CONFIG, runs_dir=tmp_path, device="cpu", progress=progress)
        printed = capfd.readouterr()
        assert printed.out == ""
        assert ("2 epochs, 2 steps on cpu" in printed.err) == shown


def test_a_stored_sweep_is_loaded_as_it_was_returned(sweep: regrun.Sweep) -> None:
    loaded = regrun.load_sweep(sweep.directory)
    assert loaded.summary.cells == sweep.summary.cells
    pd.testing.assert_frame_equal(loaded.cells, sweep.cells)


def test_what_is_no_finished_sweep_is_not_loaded(run: regrun.Run, tmp_path: Path) -> None:
    for directory in (run.directory, tmp_path):
        with pytest.raises(UsageError, match="is not a sweep directory"):
            regrun.load_sweep(directory)


def test_a_sweep_or_study_is_no_damaged_run(sweep: regrun.Sweep, tmp_path: Path) -> None:
    study = ReproductionStudy(verb="reproduce", name="tiny", seeds=3, device="cpu")
    write_study(tmp_path, study)
    for load in (regrun.load_run, regrun.load_model):
        with pytest.raises(UsageError, match=r"is a sweep, not a run; .*load_sweep"):
            load(sweep.directory)
        with pytest.raises(UsageError, match=r"is not a run: it was made by regrun\.reproduce"):
            load(tmp_path)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda run: regrun.train(CONFIG, cast("Any", ["optimizer.lr=1"])),
            "overrides: .*not a list",
        ),
        (
            lambda run: regrun.train(CONFIG, cast("Any", "optimizer.lr=1")),
            "overrides: .*not a str",
        ),
        (
            lambda run: regrun.sweep(CONFIG, cast("Any", [1, 2])),
            "axes: a mapping such as .*not a list",
        ),
        (lambda run: run.plot(theme="pink"), "theme 'pink': not light or dark"),
        (lambda run: run.plot("nothing"), "nothing: no kind of picture; they are .*axis, "),
    ],
)
def test_wrong_arguments_are_answered(run: regrun.Run, call: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        call(run)


def test_compare_gives_what_the_verb_gives(sweep: regrun.Sweep, invoke: Invoke) -> None:
    printed = json.loads(invoke("compare", sweep.directory, "--json").stdout)
    table = regrun.compare(sweep)
    assert table["optimizer.weight_decay"].tolist() == [
        cell["params"]["optimizer.weight_decay"] for cell in printed
    ]
    assert table["test/loss"].tolist() == [cell["metrics"]["test/loss"]["mean"] for cell in printed]


def test_compare_leaves_out_what_has_not_ended_with_a_warning(
    sweep: regrun.Sweep, tmp_path: Path
) -> None:
    for decay in (0, 1):
        made = regrun.train(
            CONFIG, {"optimizer.weight_decay": decay}, runs_dir=tmp_path, device="cpu"
        )
    Path(str(RunDir(made.directory).summary)).unlink()
    with pytest.warns(DataWarning, match="left out: 1 run that is not finished"):
        assert len(regrun.compare(tmp_path)) == 1
    with pytest.raises(UsageError, match="no finished run in no directory"):
        regrun.compare()


def test_inspect_gives_what_the_verb_gives(tmp_path: Path, invoke: Invoke) -> None:
    (tmp_path / "a.yaml").write_text(json.dumps(CONFIG))
    printed = json.loads(invoke("inspect", tmp_path / "a.yaml", "--json").stdout)
    assert regrun.inspect(tmp_path / "a.yaml").update_rule == printed["update_rule"]
    assert regrun.inspect(CONFIG, {"model.name": "mlp"}).model.parameters > 0
