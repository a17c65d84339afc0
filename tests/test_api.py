"""The functions of `import regrun` give what the verbs give, and show themselves shortly."""

from __future__ import annotations

import doctest
import importlib
import inspect
import io
import json
import re
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import regrun
from regrun.errors import DataWarning, UsageError
from regrun.store.run_dir import RunDir
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
NEW = ["ablate", "compare", "inspect", "load_sweep", "path", "plot", "reproduce"]


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


@pytest.mark.parametrize("name", NEW)
def test_examples_of_functions_give_what_they_say(name: str) -> None:
    function = getattr(regrun, name)
    finder, shown = doctest.DocTestFinder(recurse=False), io.StringIO()
    (example,) = finder.find(function, name, globs=dict(vars(API)))
    assert example.examples
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        failed = doctest.DocTestRunner().run(example, out=shown.write).failed
    assert failed == 0, shown.getvalue()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_have_a_docstring(name: str) -> None:
    assert inspect.getdoc(getattr(regrun, name))


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
    rows = cells_of(sweep._repr_html_(), header=False)
    assert [row[0] for row in rows.values()] == ["0", "1"]
    assert [row[1] for row in rows.values()] == ["2", "2"]
    assert "&lt;Sweep" in sweep._repr_html_()


def test_a_stored_sweep_is_loaded_as_it_was_returned(sweep: regrun.Sweep) -> None:
    loaded = regrun.load_sweep(sweep.directory)
    assert loaded.summary.cells == sweep.summary.cells
    pd.testing.assert_frame_equal(loaded.cells, sweep.cells)


def test_what_is_no_finished_sweep_is_not_loaded(run: regrun.Run, tmp_path: Path) -> None:
    for directory in (run.directory, tmp_path):
        with pytest.raises(UsageError, match="is not a sweep directory"):
            regrun.load_sweep(directory)


def test_compare_gives_what_the_verb_gives(sweep: regrun.Sweep, invoke: Invoke) -> None:
    printed = json.loads(invoke("compare", sweep.directory, "--json").stdout)
    table = regrun.compare(sweep.directory)
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
