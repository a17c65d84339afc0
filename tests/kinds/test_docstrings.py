"""Docstrings of keys, compared with those that pydantic reads from the same source."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel, Field

from regrun.kinds.docstrings import description
from regrun.kinds.registry import KINDS

SOURCE = '''
from pydantic import BaseModel, ConfigDict

class Base(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings={flag})
    plain: int = 0
    documented: int = 0
    """One line."""
    long: str = ""
    """The first line,

        an indented one.
    """
    overridden: float = 0.0
    """The base's."""
    def method(self) -> None:
        """No key's."""

class Derived(Base):
    """The class's own."""
    overridden: float = 1.0
    own: int = 1
    """Derived's."""
    last: int = 2

def make():
    class Inner(Base):
        own: int = 1
        """Inside a function."""
    return Inner
'''


def load(path: Path, flag: bool, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    name = f"documented_{flag}".lower()
    file = path / f"{name}.py"
    file.write_text(SOURCE.replace("{flag}", str(flag)), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["Base", "Derived", "Inner"])
def test_a_key_has_the_docstring_that_pydantic_finds(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def section(flag: bool) -> Any:
        module = load(tmp_path, flag, monkeypatch)
        return module.make() if name == "Inner" else getattr(module, name)

    reference, mine = section(True), section(False)
    expected = {key: info.description or "" for key, info in reference.model_fields.items()}
    assert {key: description(mine, key) for key in mine.model_fields} == expected
    assert any(expected.values())


def test_a_given_description_comes_first() -> None:
    class Given(BaseModel):
        key: int = Field(0, description="as given")
        """As documented."""

    assert description(Given, "key") == "as given"


def test_a_class_without_source_has_no_docstrings() -> None:
    scope: dict[str, Any] = {"__name__": "nowhere", "BaseModel": BaseModel}
    exec('class Typed(BaseModel):\n    key: int = 0\n    """Unseen."""', scope)
    assert description(scope["Typed"], "key") == ""


def test_keys_of_built_in_kinds_are_found() -> None:
    (l1, *_) = KINDS["penalties"]
    assert description(l1, "method").startswith("gradient: λ sign(w)")
    assert description(l1, "strength")
