"""`regrun report`: the numbers of the page, what hostile names become, and what it never loads."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from regrun.analysis.sweeps import StoredSweep
from regrun.cli.conclusions import caption, conclusions
from regrun.cli.reports.charts import Chart
from regrun.cli.reports.load import load_part
from regrun.cli.reports.page import page
from regrun.cli.reports.parts import Drawing, Field, Grid, ReportPart, Setup, Text
from regrun.metrics import Metric
from regrun.results import (
    AblationResult,
    BestStrength,
    CellSummary,
    Difference,
    Effect,
    Estimate,
    Judgement,
    PathResult,
    ReproductionResult,
    Seconds,
    json_document,
)
from regrun.store.study import (
    AblatedIngredient,
    AblationStudy,
    PathStudy,
    ReproductionStudy,
    Study,
    write_study,
)
from tests.cli.conftest import MakeRun, WriteSweep
from tests.support.stored_sweeps import write_stored_sweep

VOID = {"meta", "source", "img", "br", "hr", "link", "input"}
HOSTILE = (
    "</pre><script>alert(1)</script>\"'><img src=//evil.example/x onerror=a>\x1b[31m\u202e{{7*7}}"
)


class Page(HTMLParser):
    """A page as a reader meets it: its elements, its texts, its tables."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.tables: list[list[list[str]]] = []
        self.feed(html)
        self.close()
        assert self.open == [], "every element ends"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute twice: {attrs}"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))
        if self.open and self.open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every such element."""
        return [attributes for name, attributes in self.elements if name == tag]

    def said(self, tag: str) -> list[str]:
        """The texts directly in such elements."""
        return [text.strip() for name, text in self.texts if name == tag and text.strip()]

    @property
    def text(self) -> str:
        """All that can be read, without scripts and styles."""
        return " ".join(text for name, text in self.texts if name not in ("script", "style"))


def read(path: Path) -> Page:
    return Page(path.read_text("utf-8"))


def running(found: Page) -> list[dict[str, str | None]]:
    """The scripts that run; others hold data."""
    return [each for each in found.all("script") if each.get("type") != "application/json"]


def lay_out(found: Page) -> None:
    """Assert what every page must have."""
    for name, attributes in found.elements:
        for key in ("src", "href", "srcset", "action", "data", "poster", "xlink:href", "style"):
            value = attributes.get(key)
            assert value is None or value.startswith(("data:image/", "#")), f"{name} {key}={value}"
        assert not any(key.startswith("on") for key in attributes)
    ids = [each["id"] for _, each in found.elements if "id" in each]
    assert len(set(ids)) == len(ids)
    names = [name for name, _ in found.elements]
    assert names.count("main") == names.count("h1") == names.count("title") == 1
    assert found.all("html") == [{"lang": "en"}]
    assert {"header", "footer", "article"} <= set(names)
    assert not {"link", "iframe", "object", "base", "form"} & set(names)
    assert all(each.get("alt") for each in found.all("img"))
    assert all(each.get("scope") in ("col", "row") for each in found.all("th"))
    assert all(len(set(map(len, table))) == 1 for table in found.tables)
    for each in found.all("article"):
        assert each["aria-labelledby"] in ids
    (policy,) = (each for each in found.all("meta") if "http-equiv" in each)
    assert str(policy["content"]).startswith("default-src 'none'; img-src data:;")


LOSSES = np.array([[3.0, 3.1, 3.4], [1.0, 1.1, 1.15], [2.0, 2.3, 2.2]])


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    cells = [{"optimizer.weight_decay": decay} for decay in (0, 0.1, 1)]

    def metrics(cell: int, seed: int) -> dict[str, float]:
        return {"train/loss": 0.5, "test/loss": float(LOSSES[cell, seed])}

    return write_stored_sweep(tmp_path / "sweep", cells, 3, metrics).path


def test_the_answer_and_the_table_of_a_sweep_are_what_scipy_computes(
    invoke: Any, stored: Path
) -> None:
    result = invoke("report", stored)
    assert (result.exit_code, result.stdout) == (0, f"report     {stored / 'report.html'}\n")
    found = read(stored / "report.html")
    lay_out(found)
    logs = np.log(LOSSES)
    low, high = np.exp(stats.t.interval(0.95, 2, logs.mean(axis=1), stats.sem(logs, axis=1)))
    header, *rows = found.tables[0]
    at = header.index("test loss")
    for row, *expected in zip(rows, np.exp(logs.mean(axis=1)), low, high, strict=True):
        numbers = [float(each) for each in re.findall(r"[\d.]+", row[at])]
        assert numbers == pytest.approx(expected, rel=0.02)
    assert [row[0] for row in rows] == ["1", "2 ●", "3"]
    answer = found.said("p")[1]
    assert answer.startswith("Test loss is lowest at weight_decay = 0.1: ")
    assert rows[1][at] in answer
    assert found.said("h2") == [
        "Which of 3 values of optimizer.weight_decay gives the lowest test loss?"
    ]
    assert "test/loss (the test set, which flatters what is chosen)" in found.said("dd")


def test_the_words_of_a_report_are_those_of_the_terminal(invoke: Any, stored: Path) -> None:
    invoke("report", stored)
    said = read(stored / "report.html").said("li")
    printed = " ".join(invoke("compare", stored).stdout.split())
    from regrun.store.sweep_dir import SweepDir

    cells = StoredSweep(SweepDir(stored)).cells
    lines = [*conclusions(cells, Metric.from_name("test/loss")), *caption(cells, ["test/loss"])]
    assert len(lines) > 2
    assert set(lines) <= set(said)
    assert all(" ".join(line.split()) in printed for line in lines)


def test_each_picture_is_there_in_both_themes(invoke: Any, stored: Path) -> None:
    invoke("report", stored)
    found = read(stored / "report.html")
    dark, light = found.all("source"), found.all("img")
    assert len(dark) == len(light) > 1
    assert {each["media"] for each in dark} == {"screen and (prefers-color-scheme: dark)"}
    for one, other in zip(dark, light, strict=True):
        assert one["srcset"] != other["src"]
        assert str(other["src"]).startswith("data:image/svg+xml;base64,")
    assert str(light[0]["alt"]).startswith("axis: Test loss is lowest at weight_decay = 0.1")


def test_text_from_data_is_only_text() -> None:
    table = Grid(HOSTILE, [HOSTILE, "b"], [[Field(HOSTILE, 1.0), Field(HOSTILE)]], HOSTILE)
    part = ReportPart(
        Path("runs") / "a<b>&\x1b[31m", HOSTILE, HOSTILE, HOSTILE, [HOSTILE], [HOSTILE],
        [(HOSTILE, HOSTILE)], [Chart(HOSTILE, "cells", [HOSTILE], [])],
        [Drawing(HOSTILE, HOSTILE, "data:image/x", "data:image/x")], [table],
        Setup([Text(HOSTILE, HOSTILE)] * 2, [table], {HOSTILE: HOSTILE}, {HOSTILE: HOSTILE},
              frozenset([HOSTILE]), {HOSTILE: HOSTILE}),
        [HOSTILE],
    )  # fmt: skip
    html = page([part, part])
    harmless = page([ReportPart(Path("a"), "b", "c", "d")])
    found = Page(html)
    lay_out(found)
    assert len(running(found)) == len(running(Page(harmless))) == 1
    assert html.count("<script") == len(found.all("script")) == 3
    assert "{{7*7}}" in found.text
    assert re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", html) is None
    assert r"\x1b[31m\u202e" in found.text
    answers, differing, cells, *_ = found.tables
    assert answers[0][1] == differing[0][1] == r"runs/a<b>&\x1b[31m"
    assert cells[1][0] == HOSTILE.replace("\x1b", r"\x1b").replace("\u202e", r"\u202e")


def test_hostile_settings_of_stored_runs_are_only_text(invoke: Any, tmp_path: Path) -> None:
    cells = [{f"model.{HOSTILE}": f"{HOSTILE}{at}"} for at in range(2)]
    folder = tmp_path / "a&b <i>"
    sweep = write_stored_sweep(folder, cells, 2, lambda cell, seed: {"test/loss": 1.0 + cell})
    assert invoke("report", sweep.path).exit_code == 0
    found = read(sweep.path / "report.html")
    lay_out(found)
    assert len(running(found)) == 1
    assert found.tables[0][0][1].startswith("model.</pre><script>alert(1)")


def test_a_thousand_runs_fit_into_five_megabytes(invoke: Any, tmp_path: Path) -> None:
    cells = [{"optimizer.lr": 0.001 * (1 + at), "model.dropout": at % 7 / 10} for at in range(1000)]

    def metrics(cell: int, seed: int) -> dict[str, float]:
        return {"train/loss": 1 + cell % 13, "val/loss": 2 + cell % 17 / 3, "test/loss": 2.5}

    sweep = write_stored_sweep(tmp_path / "sweep", cells, 1, metrics)
    assert invoke("report", sweep.path).exit_code == 0
    file = sweep.path / "report.html"
    assert file.stat().st_size < 5_000_000
    found = read(file)
    assert len(found.tables[0]) == 1001
    assert len(found.all("img")) == 1
    said = "of 1,000 runs only the main picture is drawn: regrun plot DIR draws all"
    assert [line for line in found.said("li") if "drawn" in line] == [said]


def test_a_run_shows_its_numbers_config_and_commands(invoke: Any, make_run: MakeRun) -> None:
    run = make_run(decay=0.25, versions={"regrun": "0.9", "torch": "2.99"})
    assert invoke("report", run).exit_code == 0
    found = read(run / "report.html")
    lay_out(found)
    assert ["test/loss", "2"] in found.tables[0]
    assert ["gap/loss", "1.5"] in found.tables[0]
    differing, whole, commands = found.said("pre")
    assert "weight_decay: 0.25" in differing
    assert "momentum" not in differing
    assert "momentum: 0.0" in whole
    assert f"regrun train {run / 'config.yaml'}" in commands
    assert {"0.9", "2.99"} <= set(found.said("dd"))


def test_a_folder_of_runs_is_compared(invoke: Any, make_run: MakeRun) -> None:
    runs = [make_run(f"a-{at}", decay=float(at), test=3.0 - at) for at in range(2)]
    make_run("unfinished", decay=5.0, finished=False)
    folder = runs[0].parent
    assert invoke("report", folder).exit_code == 0
    found = read(folder / "report.html")
    lay_out(found)
    assert len(found.tables[0]) == 3
    assert found.said("p")[1] == (
        "Test loss is lowest at weight_decay = 1: 2, with one seed. The setting was chosen by test "
        "loss, which flatters the value."
    )
    left_out = "not shown: 1 of 3 runs (unfinished, confirmations, or trained again)"
    assert left_out in found.said("li")


def test_several_directories_share_a_page(
    invoke: Any, make_run: MakeRun, stored: Path, tmp_path: Path
) -> None:
    run, file = make_run(), tmp_path / "both.html"
    result = invoke("report", stored, run, "--output", file, "--json")
    assert json.loads(result.stdout) == {"report": str(file)}
    found = read(file)
    lay_out(found)
    assert [each["id"] for each in found.all("article")] == ["part-1", "part-2"]
    assert [each["href"] for each in found.all("a")] == ["#part-1", "#part-2"]
    assert not (stored / "report.html").exists()


def difference(mean: float, low: float, high: float, p: float) -> Difference:
    return Difference(mean=mean, low=low, high=high, scale="log", p=p, adjusted_p=p, n=3)


def make_ablation(directory: Path, stored: Path) -> None:
    shutil.copytree(stored, directory, dirs_exist_ok=True)
    effect = Effect(
        ingredient="weight decay", left_out=difference(0.62, 0.55, 0.7, 0.001),
        alone=difference(0.8, 0.6, 1.1, 0.2), interaction=difference(0.78, 0.6, 0.9, 0.01),
        interacts=True,
    )  # fmt: skip
    result = AblationResult(
        sweep_dir=str(directory), runs=9, completed=9, diverged=0, failed=0, pruned=0,
        unfinished=0, cells=[CellSummary(params={}, seeds=3, metrics={})], best=None,
        seconds=Seconds(total=1), metric="test/loss", ingredients=["weight decay"],
        effects=[effect],
    )  # fmt: skip
    write(directory, result, AblationStudy(
        verb="ablate",
        ingredients=[AblatedIngredient(name="weight decay", key="optimizer.weight_decay")],
    ))  # fmt: skip


def make_path(directory: Path, stored: Path) -> None:
    directory.mkdir()
    result = PathResult(
        path_dir=str(directory), strengths=[4.0, 2.0, 1.0], intercepts=[0.0, 0.0, 0.0],
        coefficients=[[0.0, 0.0], [1.0, 0.0], [1.5, 0.5]], nonzeros=[0, 1, 2],
        feature_names=["a", "b"], converged=True, notes=["a note"],
        metrics={"train/loss": [9.0, 4.0, 1.0], "cv/loss": [9.5, 5.0, 2.5],
                 "cv/standard_error": [1.0, 1.0, 0.5]},
        best=BestStrength(strength=1.0, one_standard_error=2.0),
    )  # fmt: skip
    (directory / "path.yaml").write_text("name: some\n")
    write(directory, result, PathStudy(
        verb="path", number=3, ratio=0.25, folds=4, device="cpu", stack_size=1, data="",
    ))  # fmt: skip


def make_reproduction(directory: Path, stored: Path) -> None:
    directory.mkdir()
    ours = Estimate(mean=1.25, low=1.0, high=1.5, scale="linear", n=4)
    result = ReproductionResult(
        name="tiny", title="A tiny <one>", source="nowhere", budget="none", published_budget="",
        remark="a remark", verdict="agrees", methods=[], runs_in=[], seconds=1, runs=4,
        completed=4, diverged=0, failed=0,
        claims=[Judgement(claim="loss < 2", published="1.2", ours=ours, verdict="agrees")],
    )  # fmt: skip
    write(directory, result, ReproductionStudy(
        verb="reproduce", name="tiny", seeds=4, device="cpu"
    ))  # fmt: skip


def write(directory: Path, result: Any, study: Study) -> None:
    (directory / "summary.json").write_bytes(json_document(result))
    write_study(directory, study)


STUDIES: dict[str, tuple[Callable[[Path, Path], None], list[str], list[str], str]] = {
    "ablation": (
        make_ablation,
        ["Certain effects on test loss: weight decay 0.620 × [0.550, 0.700] (with over without "
         "it, 95% intervals, 3 paired seeds)."],
        ["weight decay", "0.620 × [0.550, 0.700] *", "0.80 × [0.60, 1.10]",
         "0.78 × [0.60, 0.90] *", "acts differently in company"],
        "--seeds 3",
    ),
    "path": (
        make_path,
        ["Cross-validated loss is lowest at λ = 1, with 2 non-zeros: 2.5, standard error 0.5; "
         "within one of it 1 suffice, at λ = 2. The strength was chosen by cross-validation on "
         "the training set."],
        ["2", "1", "4", "5", "1", "one standard error"],
        "--number 3 --ratio 0.25 --folds 4",
    ),
    "reproduction": (
        make_reproduction,
        ["Yes: 1 of 1 claims agrees. Ours are means with 95% intervals over 4 seeds."],
        ["loss < 2", "1.2", "1.25 ± 0.25 (4 seeds)", "agrees"],
        "regrun reproduce tiny --seeds 4",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", STUDIES)
def test_a_study_is_reported_with_its_answer_and_table(
    invoke: Any, tmp_path: Path, stored: Path, kind: str
) -> None:
    make, answers, row, command = STUDIES[kind]
    directory = tmp_path / kind
    make(directory, stored)
    result = invoke("report", directory)
    assert result.exit_code == 0, result.output
    found = read(directory / "report.html")
    lay_out(found)
    assert set(answers) <= set(found.said("p"))
    assert row in found.tables[0]
    assert command in " ".join(found.said("pre"))


def test_damaged_runs_are_named_and_left_out(invoke: Any, write_sweep: WriteSweep) -> None:
    files = write_sweep(3, 2)
    (files.path / "0001-seed=1" / "summary.json").write_bytes(b"{")
    result = invoke("report", files.path)
    assert result.exit_code == 5
    assert "0001-seed=1/summary.json" in result.stderr
    assert "1 damaged, left out" in result.stderr
    found = read(files.path / "report.html")
    assert "1 damaged, left out" in found.said("li")
    at = found.tables[0][0].index("seeds")
    assert [row[at] for row in found.tables[0][1:]] == ["2", "1", "2"]


def test_damaged_metrics_cost_the_curves_and_nothing_else(
    invoke: Any, write_sweep: WriteSweep
) -> None:
    files = write_sweep(3, 2)
    (files.path / "0001-seed=1" / "metrics.jsonl").write_bytes(b"{")
    result = invoke("report", files.path)
    assert result.exit_code == 5
    assert result.stderr.count("0001-seed=1/metrics.jsonl") == 1
    found = read(files.path / "report.html")
    assert "1 damaged, left out" in found.said("li")
    at = found.tables[0][0].index("seeds")
    assert [row[at] for row in found.tables[0][1:]] == ["2", "2", "2"]
    shown = [str(each["alt"]).partition(":")[0] for each in found.all("img")]
    assert "axis" in shown
    assert "curves" not in shown


def test_a_damaged_directory_leaves_the_others(
    invoke: Any, make_run: MakeRun, stored: Path
) -> None:
    run = make_run()
    (run / "summary.json").write_bytes(b"{")
    result = invoke("report", stored, run)
    assert result.exit_code == 5
    assert f"{run / 'summary.json'}" in result.stderr
    assert len(read(stored / "report.html").all("article")) == 1
    assert invoke("report", run).exit_code == 5
    assert not (run / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (["nowhere"], "nowhere is not a directory", 2),
        (["RUN", "--output", "x.pdf"], "x.pdf: a report is a file that ends in .html", 2),
        (["UNFINISHED"], "no run has ended; to carry on: regrun resume", 2),
        (["RUN", "--output", "no/such/folder/x.html"], "no/such/folder", 4),
    ],
)
def test_what_cannot_be_reported_says_why(
    invoke: Any, make_run: MakeRun, arguments: list[str], words: str, code: int
) -> None:
    places = {"RUN": make_run(), "UNFINISHED": make_run("other", finished=False)}
    result = invoke("report", *(places.get(each, each) for each in arguments))
    assert (result.exit_code, words in result.stderr) == (code, True), result.stderr


def test_confirmed_cells_have_a_table_of_their_own(write_sweep: WriteSweep) -> None:
    files = write_sweep(3, 2, purposes=("cells", "confirmation"))
    part = load_part(files.path, [])
    assert [table.caption for table in part.tables] == ["Cells", "Confirmed on fresh replicates"]
