"""Reports as readers use them: a real browser points, clicks, zooms, types, prints and checks."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import regrun
from regrun.cli.reports.load import load_part
from regrun.cli.reports.page import page as page_of
from regrun.escapes import escaped_name
from regrun.results import Estimate, Judgement, ReproductionResult, json_document
from regrun.store.study import ReproductionStudy, write_study

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")

BASE: dict[str, Any] = {
    "name": "small",
    "dataset": {"name": "digits", "num_train": 60, "validation": 0.25},
    "model": {"name": "mlp", "hidden": [8], "dropout": 0.1},
    "optimizer": {"name": "adam", "lr": 0.01, "weight_decay": 0.01},
    "training": {"epochs": 4, "batch_size": 20},
    "metrics": ["confusion_matrix"],
}
LASSO: dict[str, Any] = {
    "name": "lasso",
    "dataset": {"name": "synthetic_linear", "num_train": 12, "num_features": 3},
    "model": {"name": "linear"},
    "penalty": {"type": "l1", "strength": 0.1},
    "optimizer": {"name": "sgd", "lr": 0.01},
}
DECAYS, RATES = [0.0, 0.1, 1.0], [0.003, 0.01]
OTHERS = ["run", "grid", "search", "ablation", "folder"]
KINDS = [
    *("sweep", "path", "reproduction", "two"),
    *(pytest.param(each, marks=pytest.mark.long) for each in OTHERS),
]
THEMES = ["light", "dark"]


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """A directory of every kind, and two sweeps."""
    runs = tmp_path_factory.mktemp("runs")
    place: dict[str, Any] = {"runs_dir": runs, "device": "cpu"}
    axis = {"optimizer.weight_decay": DECAYS}
    space = {"optimizer.lr": {"log_uniform": [1e-3, 0.1]}, "model.dropout": {"uniform": [0, 0.5]}}
    search = {**BASE, "sweep": {"search": "random", "trials": 5, "space": space}}
    one = regrun.train(BASE, **place).directory
    swept = regrun.sweep(BASE, axis, seeds=3, **place).directory
    grid = regrun.sweep(BASE, {**axis, "optimizer.lr": RATES}, seeds=2, **place).directory
    searched = regrun.sweep(search, seeds=2, **place).directory
    ablated = regrun.ablate(BASE, seeds=3, **place).directory
    path = regrun.path(LASSO, number=5, **place).directory
    reproduced = runs / "tiny" / "reproduce-aaaaaa"
    reproduced.mkdir(parents=True)
    shutil.copytree(swept, reproduced / "1-judged")
    shutil.copytree(path, reproduced / "2-path")
    write_reproduction(reproduced)
    return {
        "run": [one], "sweep": [swept], "grid": [grid], "search": [searched], "path": [path],
        "ablation": [ablated], "reproduction": [reproduced], "two": [swept, grid],
        "folder": [runs / "small"],
    }  # fmt: skip


def write_reproduction(directory: Path) -> None:
    ours = Estimate(mean=1.25, low=1.0, high=1.5, scale="linear", n=3)
    claims = [
        Judgement(claim="loss < 2", published="1.2", ours=ours, verdict="agrees"),
        Judgement(claim="loss < 1", published="0.9", ours=ours, verdict="differs"),
        Judgement(claim="a remark on the side", published="", ours=None, verdict=None),
    ]
    result = ReproductionResult(
        name="tiny", title="A tiny experiment", source="nowhere", budget="small",
        published_budget="large", remark="a remark", verdict="differs", methods=[], claims=claims,
        runs_in=["elsewhere/1-judged", "elsewhere/2-path"], seconds=1, runs=9, completed=9,
        diverged=0, failed=0,
    )  # fmt: skip
    (directory / "summary.json").write_bytes(json_document(result))
    write_study(directory, ReproductionStudy(verb="reproduce", name="tiny", seeds=3, device="cpu"))


@pytest.fixture(scope="module")
def reports(
    directories: dict[str, list[Path]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Kind → its report, written once."""
    folder = tmp_path_factory.mktemp("reports")

    def written(kind: str) -> Path:
        file = folder / f"{kind}.html"
        if not file.exists():
            file.write_text(page_of([load_part(each, []) for each in directories[kind]]), "utf-8")
        return file

    return written


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open a file; at the end nothing was fetched, and nothing went wrong."""
    contexts, faults = [], []

    def open_page(file: Path, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **options})
        contexts.append(context)
        page: Page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text))
        page.on("dialog", lambda dialog: faults.append(dialog.message))
        page.on("request", lambda request: faults.extend(far(request.url)))
        page.goto(file.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


def far(url: str) -> list[str]:
    """The address, where it is not within the page or its file."""
    return [] if url.startswith(("file:", "data:")) else [url]


def chart(page: Page, title: str) -> Locator:
    return page.locator(".chart", has=page.locator(f"h4:text-is('{title}')"))


def tip(found: Locator) -> str:
    return found.locator(".tip").text_content() or ""


def point_at(page: Page, mark: Locator) -> None:
    mark.scroll_into_view_if_needed()
    box = mark.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_checker_of_accessibility_finds_nothing(
    reports: Callable[[str], Path], opened: Callable[..., Page], kind: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    for theme in THEMES:
        page = opened(reports(kind), color_scheme=theme)
        found = axe.run(page).response
        assert len(found["passes"]) > 20
        faults = {each["id"]: str(each["nodes"]) for each in found["violations"]}
        assert faults == {}


def test_the_checker_of_accessibility_sees_a_fault(
    reports: Callable[[str], Path], opened: Callable[..., Page]
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = opened(reports("path"))
    page.evaluate("document.querySelector('.answer').style.color = '#bbb'")
    page.evaluate("document.querySelector('.where').innerHTML = '<img>'")
    found = axe.run(page).response["violations"]
    assert {each["id"] for each in found} == {"color-contrast", "image-alt"}


@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("kind", KINDS)
def test_only_tables_and_pictures_scroll_sideways(
    reports: Callable[[str], Path], opened: Callable[..., Page], kind: str, width: int
) -> None:
    page = opened(reports(kind), viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    outside = page.evaluate(
        "w => [...document.querySelectorAll('main *')]"
        ".filter(e => !e.closest('.scroll, pre, svg, figure')"
        " && e.getBoundingClientRect().right > w + 1).map(e => e.tagName + '.' + e.className)",
        width,
    )
    assert outside == []


@pytest.mark.parametrize("kind", KINDS)
def test_without_its_script_the_page_says_the_same(
    reports: Callable[[str], Path], opened: Callable[..., Page], kind: str
) -> None:
    bare = opened(reports(kind), java_script_enabled=False)
    assert bare.locator(".charts:visible").count() == 0
    assert bare.locator("figure img:visible").count() > 0
    assert bare.locator("table:visible").count() > 0
    full = opened(reports(kind))
    for name in (".answer", ".limits", "dl", "td:not(.tick)", "pre"):
        assert bare.locator(name).all_inner_texts() == full.locator(name).all_inner_texts()


def test_pointing_at_a_mark_shows_its_values_and_its_row(
    reports: Callable[[str], Path], opened: Callable[..., Page]
) -> None:
    page = opened(reports("sweep"))
    found = chart(page, "Cells")
    rows = page.locator("table[data-space=cells] tbody tr")
    header = page.locator("table[data-space=cells] thead th").all_text_contents()
    for at, decay in enumerate(DECAYS):
        # Points are drawn group by group, train first: the last of a cell is on the test set.
        point_at(page, found.locator("circle.mark:not(.dot)").nth(2 * len(DECAYS) + at))
        name, said = tip(found).split("\n")
        assert name == f"weight_decay = {decay:g}"
        mean, low, high = re.findall(r"[\d.]+", said)
        shown = rows.nth(at).locator("th, td").nth(header.index("test loss")).inner_text()
        assert [float(each) for each in re.findall(r"[\d.]+", shown)] == pytest.approx(
            [float(mean), float(low), float(high)], rel=0.01
        )
        assert rows.nth(at).get_attribute("class") == "pointed"
        assert rows.locator("xpath=self::*[@class='pointed']").count() == 1
    page.mouse.move(2, 2)
    assert tip(found) == ""
    assert page.locator("tr.pointed").count() == 0


def test_pointing_at_a_curve_shows_its_seed_epoch_and_value(
    reports: Callable[[str], Path], opened: Callable[..., Page], directories: dict[str, list[Path]]
) -> None:
    page = opened(reports("sweep"))
    found = chart(page, "Learning curves")
    found.scroll_into_view_if_needed()
    end = (
        found.locator("path.line")
        .nth(0)
        .evaluate(
            "e => { const p = e.getPointAtLength(e.getTotalLength()), m = e.getScreenCTM();"
            " const s = new DOMPoint(p.x, p.y).matrixTransform(m); return [s.x, s.y]; }"
        )
    )
    page.mouse.move(*end)
    cell, run, said = tip(found).split("\n")
    assert re.fullmatch(r"seed \d+(, data seed \d+)?, epoch 4", run)
    split, value = said.split(": ")
    assert split in ("train", "validation", "test")
    summaries = [json.loads(f.read_bytes()) for f in directories["sweep"][0].glob("*/summary.json")]
    tag = {"validation": "val"}.get(split, split) + "/loss"
    assert any(each["metrics"][tag] == pytest.approx(float(value), rel=1e-3) for each in summaries)
    assert cell.startswith("weight_decay = ")
    assert found.locator("path.line.lit").count() == 9  # three seeds on three splits


def test_boxes_choose_what_is_drawn(
    reports: Callable[[str], Path], opened: Callable[..., Page]
) -> None:
    page = opened(reports("sweep"))
    lines = chart(page, "Learning curves").locator("path.line")
    boxes = page.locator("td.tick input")
    assert (lines.count(), boxes.count()) == (27, 3)
    boxes.nth(1).uncheck()
    assert lines.count() == 18
    cells = chart(page, "Cells")
    hollow = "els => els.filter(e => e.style.fill === 'var(--paper)').length"
    assert cells.locator("circle.mark").evaluate_all(hollow) == 3
    cells.get_by_role("button", name="Cells: tick none").click()
    assert (lines.count(), page.locator("td.tick input:checked").count()) == (0, 0)
    cells.get_by_role("button", name="Cells: tick all").click()
    assert lines.count() == 27
    point_at(page, cells.locator("circle.mark:not(.dot)").nth(0))
    page.mouse.down()
    page.mouse.up()
    assert not boxes.nth(0).is_checked()
    page.get_by_role("button", name="validation").nth(1).click()
    assert lines.count() == 12


def test_boxes_stay_with_their_rows_when_these_are_sorted(
    reports: Callable[[str], Path], opened: Callable[..., Page]
) -> None:
    page = opened(reports("sweep"))
    table = page.locator("table[data-space=cells]")
    header = table.locator("thead th").all_text_contents()
    column = header.index("train loss")
    table.get_by_role("button", name="train loss").click()
    table.get_by_role("button", name="train loss").click()
    cells = table.locator(f"tbody tr td:nth-child({column + 1})")
    values = [float(v or "") for v in cells.evaluate_all("els => els.map(e => e.dataset.value)")]
    assert values == sorted(values, reverse=True)
    row = table.locator("tbody tr").nth(0)
    setting = row.locator("td").nth(header.index("optimizer.weight_decay") - 1).inner_text()
    assert row.locator("input").get_attribute("aria-label") == f"Draw weight_decay = {setting}"


def test_dragging_zooms_and_a_double_click_shows_all(
    reports: Callable[[str], Path], opened: Callable[..., Page]
) -> None:
    page = opened(reports("run"))
    found = chart(page, "Learning curves")
    found.scroll_into_view_if_needed()
    frame = found.locator(".frame > svg")
    box = frame.bounding_box()
    assert box is not None
    ticks = frame.locator("text")
    before = ticks.all_text_contents()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.2 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.6 * box["height"])
    assert frame.locator("rect.chosen").count() == 1
    page.mouse.up()
    zoomed = ticks.all_text_contents()
    assert zoomed != before
    assert "4" in before
    assert "4" not in zoomed
    frame.dblclick(position={"x": 300, "y": 100})
    assert ticks.all_text_contents() == before
    found.get_by_role("button", name="zoom in").click()
    assert ticks.all_text_contents() != before
    found.get_by_role("button", name="reset zoom").click()
    assert ticks.all_text_contents() == before


def test_zooming_ends_before_numbers_do(
    reports: Callable[[str], Path], opened: Callable[..., Page]
) -> None:
    page = opened(reports("run"))
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    found = chart(page, "Learning curves")
    frame = found.locator(".frame > svg")
    before = frame.locator("text").all_text_contents()
    for name in ("zoom in", "zoom out", "zoom out"):
        button = found.get_by_role("button", name=name)
        button.evaluate("each => { for (let i = 0; i < 300; i++) each.click(); }")
        drawn = "".join(frame.locator("path").evaluate_all("all => all.map((e) => e.outerHTML)"))
        assert "Infinity" not in drawn and "NaN" not in drawn
    found.get_by_role("button", name="reset zoom").click()
    assert frame.locator("text").all_text_contents() == before
    assert errors == []


def test_a_chart_can_be_used_from_the_keyboard(
    reports: Callable[[str], Path], opened: Callable[..., Page]
) -> None:
    page = opened(reports("sweep"))
    found = chart(page, "Cells")
    found.locator(".frame").focus()
    seen = []
    for _ in DECAYS:
        page.keyboard.press("ArrowRight")
        seen.append(tip(found))
    assert [each.split("\n")[0] for each in seen] == [f"weight_decay = {d:g}" for d in DECAYS]
    page.keyboard.press("ArrowUp")
    assert tip(found).split("\n")[1].partition(":")[0] != seen[-1].split("\n")[1].partition(":")[0]
    page.keyboard.press("Enter")
    assert not page.locator("td.tick input").nth(2).is_checked()
    ticks = found.locator(".frame text")
    before = ticks.all_text_contents()
    page.keyboard.press("+")
    assert ticks.all_text_contents() != before
    page.keyboard.press("0")
    assert ticks.all_text_contents() == before


def test_every_control_is_reached_by_tab_and_shows_its_focus(
    reports: Callable[[str], Path], opened: Callable[..., Page]
) -> None:
    page = opened(reports("grid"))
    wanted = page.locator("button, select, input, summary, a, [tabindex='0']")
    count = wanted.locator("visible=true").count()
    bare, reached = [], set()
    for _ in range(count):
        page.keyboard.press("Tab")
        outline, index, text = page.evaluate(
            "() => { const e = document.activeElement, s = getComputedStyle(e);"
            " return [s.outlineStyle + s.outlineWidth,"
            " [...document.querySelectorAll('*')].indexOf(e), e.outerHTML.slice(0, 80)]; }"
        )
        reached.add(index)
        bare += [text] if outline.startswith("none") or outline.endswith("none0px") else []
    assert (len(reached), bare) == (count, [])


def test_a_grid_is_a_map_first_and_other_axes_are_chosen(
    reports: Callable[[str], Path], opened: Callable[..., Page]
) -> None:
    page = opened(reports("grid"))
    found = chart(page, "Cells")
    marks = found.locator("circle.mark")
    assert marks.count() == len(DECAYS) * len(RATES)
    assert len(set(marks.evaluate_all("els => els.map(e => e.style.fill)"))) > 3
    point_at(page, marks.nth(0))
    assert tip(found).startswith(f"weight_decay = 0, lr = {RATES[0]}\ntrain loss: ")
    found.locator("select").nth(0).select_option(label="accuracy")
    found.locator("select").nth(1).select_option(label="optimizer.lr")
    texts = found.locator(".frame text").all_text_contents()
    assert {"accuracy", "optimizer.lr", *map(str, RATES)} <= set(texts)


def test_the_values_of_a_path_and_of_an_ablation_are_shown(
    reports: Callable[[str], Path], opened: Callable[..., Page]
) -> None:
    page = opened(reports("path"))
    found = chart(page, "Path")
    found.locator("select").select_option(label="coefficient")
    assert found.locator("path.line").count() == 3
    found.locator(".frame").focus()
    page.keyboard.press("ArrowRight")
    assert tip(found).startswith("λ = ")
    assert page.locator("table[data-space=strengths] tr.pointed").count() == 1
    page = opened(reports("ablation"))
    found = chart(page, "Effects")
    found.locator(".frame").focus()
    page.keyboard.press("ArrowRight")
    assert re.match(r"\w+\nin company: [\d.]+ \[[\d.]+, [\d.]+\]", tip(found))
    assert page.locator("table[data-space=ingredients] tr.pointed").count() == 1


@pytest.mark.parametrize("kind", ["sweep", "two"])
def test_print_has_no_controls_and_cuts_no_table(
    reports: Callable[[str], Path], opened: Callable[..., Page], kind: str
) -> None:
    page = opened(reports(kind), viewport={"width": 700, "height": 990}, color_scheme="dark")
    page.emulate_media(media="print")
    assert page.locator(".charts:visible, td.tick:visible, th.tick:visible").count() == 0
    cut = "els => els.filter(e => e.scrollWidth > e.clientWidth + 1).length"
    wide = ".tables:has(.wide, .crowded) .scroll"
    assert page.locator(f".scroll:not({wide}), pre, figure").evaluate_all(cut) == 0
    page.set_viewport_size({"width": 1040, "height": 700})  # which lie across their pages
    assert page.locator(wide).evaluate_all(cut) == 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.pdf().startswith(b"%PDF")


HOSTILE = {
    "script": "</script><script>window.ran = 1</script>",
    "image": "<img src=//evil.example/x onerror='window.ran = 1'>",
    "svg": "<svg onload=window.ran=1></svg>",
    "attribute": '" onpointerenter="window.ran = 1" x=\'',
    "template": "{{ 7 * 7 }}{% raw %}${window.ran = 1}`",
    "comment": "<!--<script>",
    "entity": "&lt;script&gt;&#x27;",
    "direction": "a\u202eb\u2066c",
    "controls": "a\x1b[31m\x00b\u2028c",
    "url": "javascript:window.ran=1",
}


def test_names_from_data_are_only_text(opened: Callable[..., Page], tmp_path: Path) -> None:
    names = [text.replace("\x00", "") for text in HOSTILE.values()]
    data = tmp_path / "data.csv"
    with data.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*names, "kind"])
        for at in range(12 * len(names)):
            row = [at * (3 + column) % 11 for column in range(len(names))]
            writer.writerow([*row, names[at % len(names)]])
    config = {
        "name": "hostile",
        "dataset": {"name": "csv", "path": str(data), "task": "classification", "target": "kind",
                    "test": 0.25},
        "model": {"name": "linear"}, "optimizer": {"name": "sgd", "lr": 0.1},
        "training": {"epochs": 2}, "metrics": ["confusion_matrix"],
    }  # fmt: skip
    folder = tmp_path / "".join(names).replace("/", "")[:150]
    allowed = [name for name in names if name.isprintable()]  # in a config
    axis = {"dataset.ignore": [[name] for name in allowed]}
    swept = regrun.sweep(config, axis, runs_dir=folder, device="cpu")
    file_of_page = tmp_path / "report.html"
    file_of_page.write_text(page_of([load_part(swept.directory, [])] * 2), "utf-8")
    page = opened(file_of_page)
    for select in page.locator(".chart select").all():
        for at in range(select.locator("option").count()):
            select.select_option(index=at)
    said = []
    for frame in page.locator(".frame").all():
        frame.focus()
        for _ in names:
            page.keyboard.press("ArrowRight")
            said += page.locator(".tip").all_text_contents()
    assert page.evaluate("window.ran") is None
    assert page.locator("main script:not([type='application/json'])").count() == 0
    assert page.locator("main img:not(figure img), main svg svg").count() == 0
    shown = page.locator("main").inner_text() + "".join(said)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", shown)
    for name in names:
        assert shown.count(escaped_name(name)) > 3
    for name in allowed:
        assert any(name[:9] in each for each in said)
