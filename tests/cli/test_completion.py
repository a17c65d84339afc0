"""What the shell completes: paths, verbs, names, keys and values."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from regrun.cli.completion import (
    LONGEST,
    complete_config,
    complete_name,
    complete_override,
    complete_run_directory,
    complete_topic,
)
from regrun.errors import PluginError
from tests.support.program import run_python


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "digits.yaml").touch()
    (tmp_path / "configs" / "notes.txt").touch()
    (tmp_path / ".hidden.yaml").touch()
    return tmp_path


def test_config_paths_are_yaml_files_and_the_folders_on_the_way(folder: Path) -> None:
    assert complete_config("") == ["configs/"]
    assert complete_config("configs/") == ["configs/digits.yaml"]
    assert complete_config("configs/x") == []
    assert complete_config("nowhere/") == []
    assert complete_config(f"{folder}/configs/d") == [f"{folder}/configs/digits.yaml"]


def test_run_directories_are_folders(folder: Path) -> None:
    assert complete_run_directory("c") == ["configs/"]
    assert complete_run_directory("configs/") == []


def test_override_keys_are_completed_with_their_help() -> None:
    completions = dict(complete_override("optimizer.w"))
    assert list(completions) == ["optimizer.weight_decay="]
    assert completions["optimizer.weight_decay="].startswith("λ")


def test_values_are_completed_where_there_is_a_choice() -> None:
    names = [text for text, _ in complete_override("optimizer.name=a")]
    assert names == ["optimizer.name=adam", "optimizer.name=adamw", "optimizer.name=adagrad"]
    assert complete_override("optimizer.lr=0") == []
    assert complete_override("no.such=1") == []


def test_each_value_of_an_axis_is_completed() -> None:
    names = [text for text, _ in complete_override("optimizer.name=sgd,ada")]
    assert names == [f"optimizer.name=sgd,{name}" for name in ("adam", "adamw", "adagrad")]
    names = [text for text, _ in complete_override("optimizer.name=adam,ada")]
    assert names == [f"optimizer.name=adam,{name}" for name in ("adamw", "adagrad")]


def test_places_of_data_are_completed_by_paths(folder: Path) -> None:
    assert complete_override("dataset.path=configs/n") == [("dataset.path=configs/notes.txt", "")]
    assert complete_override("dataset.root=c") == [("dataset.root=configs/", "")]


def test_a_description_is_one_line_in_which_nothing_is_markup() -> None:
    from rich.markup import render

    for key, description in complete_override(""):
        assert "\n" not in description, key
        assert len(render(description)) <= LONGEST, key


def test_a_broken_plug_in_completes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(ModuleType):
        def __getattr__(self, name: str) -> None:
            raise PluginError("a broken plug-in")

    monkeypatch.setitem(sys.modules, "regrun.cli.catalog", Broken("regrun.cli.catalog"))
    assert complete_override("optimizer") == []
    assert complete_name(SimpleNamespace(params={"what": "models"}), "m") == []


def test_topics() -> None:
    assert complete_topic("p") == ["penalties"]
    assert "runs" in complete_topic("")


def complete(words: str) -> list[str]:
    """What a shell would get."""
    code = "import sys; sys.argv = ['regrun']; from regrun.cli.app import main; main()"
    variables = {"_REGRUN_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": words}
    ended = run_python(code, env=variables)
    assert "Traceback" not in ended.stderr
    return ended.stdout.splitlines()


@pytest.mark.parametrize(
    ("words", "at", "completions"),
    [
        ("regrun train c.yaml optimizer.name =", 4, ["sgd", "adam", "adamw", "rmsprop"]),
        ("regrun train c.yaml optimizer.name = ad", 5, ["adam", "adamw", "adagrad"]),
        ("regrun train c.yaml seed = 1 dataset.name = f", 8, ["fashion_mnist"]),
        ("regrun train c.yaml optimizer.n", 3, ["optimizer.name=", "optimizer.nesterov="]),
        ("regrun train c.yaml optimizer.lr = ", 5, []),
        ("regrun train c.yaml --device c", 4, ["cpu", "cuda", "cuda:0"]),
    ],
)
def test_bash_which_breaks_words_at_each_equals_sign_gets_the_values(
    words: str, at: int, completions: list[str]
) -> None:
    """The words are those that bash gave a completion function."""
    code = "import sys; sys.argv = ['regrun']; from regrun.cli.app import main; main()"
    split = "\n".join(words.split(" "))
    bash = {"_REGRUN_COMPLETE": "complete_bash", "COMP_WORDS": split, "COMP_CWORD": str(at)}
    ended = run_python(code, env=bash)
    assert ended.stdout.split()[: len(completions) or None][:4] == completions
    assert not any("=" in each for each in ended.stdout.split()) or at == 3


def test_the_shell_gets_verbs_names_and_keys() -> None:
    assert any('"train"' in line for line in complete("regrun tr"))
    assert any('"resnet18"' in line for line in complete("regrun list models resnet1"))
    assert any('"optimizer.lr="' in line for line in complete("regrun train x.yaml optimizer.l"))


def test_what_cannot_be_listed_completes_nothing(tmp_path: Path) -> None:
    for start in (
        "~nobody-has-this-name/",
        "x" * 300 + "/",
        f"{tmp_path}/none/",
        "/proc/1/fdinfo/x/",
    ):
        assert complete_config(start) == complete_run_directory(start) == []


def test_names_with_control_characters_are_not_offered(tmp_path: Path) -> None:
    for name in ("a\x1b[31m.yaml", "b\n.yaml", "c.yaml", "ä d.yaml"):
        (tmp_path / name).touch()
    assert complete_config(f"{tmp_path}/") == [f"{tmp_path}/c.yaml", f"{tmp_path}/ä d.yaml"]
