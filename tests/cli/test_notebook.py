"""Progress of the Python functions: in a real notebook, and in the bar that it shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from regrun.cli.notebook import NotebookBar
from regrun.execution.observer import Start

CELLS = [
    """import regrun
config = {
    "dataset": {"name": "synthetic_linear"}, "model": {"name": "linear"},
    "optimizer": {"name": "sgd", "lr": 0.003}, "training": {"epochs": 3},
}
run = regrun.train(config, runs_dir="runs", device="cpu")""",
    "run",
    'regrun.train(config, runs_dir="runs", device="cpu", progress=False);',
    'run.plot("curves")',
    'regrun.sweep(config, {"optimizer.weight_decay": [0, 1]}, runs_dir="runs", device="cpu")',
]


def test_a_notebook_shows_progress_tables_and_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbformat = pytest.importorskip("nbformat", reason="needs regrun[test]")
    nbclient = pytest.importorskip("nbclient", reason="needs regrun[test]")
    pytest.importorskip("ipykernel", reason="needs regrun[test]")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    cells = [nbformat.v4.new_code_cell(each) for each in CELLS]
    notebook = nbformat.v4.new_notebook(cells=cells)
    kernel = {"metadata": {"path": str(tmp_path)}}
    bars: list[str] = []

    class Client(nbclient.NotebookClient):  # type: ignore[misc, name-defined]
        """Keeps what a bar shows before it goes."""

        def process_message(self, message: Any, cell: Any, index: int) -> Any:
            html = message["content"].get("data", {}).get("text/html", "")
            if index == 0:
                bars.append(html)
            return super().process_message(message, cell, index)

    Client(notebook, timeout=300, kernel_name="python3", resources=kernel).execute()
    said, shown, quiet, drawn, swept = (each["outputs"] for each in notebook.cells)
    seen = [each for each in bars if "<progress" in each]
    assert "loading torch and data" in seen[0]
    assert any("epoch" in each and "of 3" in each for each in seen[1:])
    assert [each["data"]["text/html"] for each in said if "data" in each] == [""]  # it went
    assert "test/loss" in shown[0]["data"]["text/html"]
    assert shown[0]["data"]["text/plain"].startswith("<Run runs/")
    assert quiet == []
    assert "image/png" in drawn[0]["data"]  # though nobody has imported pyplot
    assert "optimizer.weight_decay" in json.dumps(swept)


def test_the_bar_shows_names_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    display = pytest.importorskip("IPython.display", reason="needs regrun[test]")
    shown: list[str] = []

    class Handle:
        def update(self, html: Any) -> None:
            shown.append(html.data)

    def show(html: Any, display_id: bool) -> Handle:
        shown.append(html.data)
        return Handle()

    monkeypatch.setattr(display, "display", show)
    bar = NotebookBar()
    bar.on_start(Start("<b>runs", "cpu", 40, [], epochs=4))
    bar.on_progress(10, 40)
    bar.on_evaluation({"train/loss": 0.25})
    bar._show(now=True)
    assert shown[-1].startswith('<progress value="10" max="40"')
    assert "epoch 1 of 4" in shown[-1]
    assert "train/loss 0.25" in shown[-1]
    assert "<b>" not in "".join(shown)
    bar.stop()
    assert shown[-1] == ""
