"""What the boundary around a plug-in's code lets through, and what it makes of the rest."""

from __future__ import annotations

import ast
import signal
import sys
from collections.abc import Iterator
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from regrun.errors import ConfigError, PluginError
from regrun.kinds.boundary import Boundary, Origin, check_of, described, guard, shown
from regrun.kinds.plugins import accept
from regrun.kinds.schedules import Schedule
from regrun.plugins import Loss

HERE = Origin("regrun.losses", "own", "own:Own", "own 1.0")


class UnprintableError(Exception):
    """Has no text."""

    def __str__(self) -> str:
        raise RuntimeError("no text either")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (KeyError("oops"), "KeyError: 'oops'"),
        (SystemExit(7), "SystemExit: 7"),
        (AssertionError(), "AssertionError"),
        (ValueError("two\nlines"), "ValueError: two lines"),
        (UnprintableError(), "UnprintableError: <exception str() failed>"),
        (SyntaxError("bad", ("own.py", 3, 1, "x =")), "SyntaxError: bad (own.py, line 3)"),
    ],
)
def test_an_error_is_described_on_one_line(error: BaseException, text: str) -> None:
    assert described(error) == text


def test_an_error_is_described_with_its_place() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        1 / 0  # noqa: B018
    assert described(caught.value).startswith("ZeroDivisionError: division by zero (test_boundary.")


@pytest.mark.parametrize("error", [KeyError(1), SystemExit(7), RecursionError(), OSError("gone")])
def test_what_a_plug_in_raises_is_its_fault(error: BaseException) -> None:
    with pytest.raises(PluginError) as caught, Boundary(HERE, "own.Own.value"):
        raise error
    assert str(caught.value).startswith("own.Own.value failed: ")
    assert "(regrun.losses, own) comes with the package own 1.0" in str(caught.value)
    assert "Traceback" in caught.value.details and "test_boundary.py" in caught.value.details
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [ConfigError.at("seed", "no"), MemoryError(), PluginError("x")])
def test_errors_of_regrun_pass(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, Boundary(HERE, "own.Own.value"):
        raise error
    assert caught.value is error


def test_ctrl_c_passes_and_an_interrupt_of_its_own_does_not() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), Boundary(HERE, "own.Own.value"):
            signal.raise_signal(signal.SIGINT)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with pytest.raises(PluginError, match="KeyboardInterrupt"), Boundary(HERE, "own"):
            raise KeyboardInterrupt
    finally:
        signal.signal(signal.SIGINT, before)


def test_output_goes_to_stderr_and_stdout_comes_back(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout
    with Boundary(HERE, "outer"):
        print("one")
        with pytest.raises(PluginError), Boundary(HERE, "inner"):
            print("two")
            raise KeyError
        print("three")
    assert sys.stdout is before
    assert capsys.readouterr() == ("", "one\ntwo\nthree\n")


CHECKS: list[tuple[str, list[Any], list[Any]]] = [
    ("Tensor", [torch.zeros(2)], [None, np.zeros(2), 1.0]),
    ("Tensor | None", [torch.zeros(2), None], [np.zeros(2), 1.0]),
    ("Array", [np.zeros(2), np.arange(3)], [None, np.array([np.nan]), np.array(["a"]), [1.0]]),
    ("float", [1.0, 2, np.float32(1)], [float("nan"), None, "1"]),
    ("float | None", [1.0, None], [float("nan"), "1"]),
    ("int", [1, np.int64(2)], [1.5, None]),
    ("bool", [True, np.True_], [1, None]),
    ("str", ["a"], [None, 1]),
    ("list[str]", [["a"], [], ("a",)], [None, "a", [1]]),
    ("tuple[str, ...]", [("a", "b"), ()], ["a", (1,)]),
    ("tuple[str, str]", [("a", "b")], [("a",), ("a", 1), None]),
    ("list[tuple[int, str]]", [[(1, "a")]], [[("a", 1)], [1]]),
    ("dict[str, float]", [{"a": 1.0}, {}], [{"a": "b"}, None]),
    ("dict[str, str | float]", [{"a": 1.0, "b": "c"}], [{"a": None}]),
    ("Iterator[Problem]", [iter(())], [None, []]),
    ("nn.Module", [torch.nn.ReLU()], [None, torch.nn.ReLU]),
    ("Whatever", [None, 1], []),
]


@pytest.mark.parametrize(("annotation", "right", "wrong"), CHECKS, ids=[each[0] for each in CHECKS])
def test_results_are_checked_by_what_the_base_class_declares(
    annotation: str, right: list[Any], wrong: list[Any]
) -> None:
    check = check_of(ast.parse(annotation, mode="eval").body)
    assert all(check(value) for value in right)
    assert not any(check(value) for value in wrong)


def test_a_wrong_result_is_shown_with_its_type_and_shape() -> None:
    assert shown(None) == "None"
    assert shown(float("nan")) == "nan"
    assert shown("text") == "str"
    assert shown(torch.zeros(2, 3)) == "torch.Tensor of shape [2, 3]"


class Own(Loss):
    """A loss with a method of each kind."""

    type: Literal["own"]
    formula: ClassVar[str] = ""
    reference: ClassVar[str] = ""
    needs: ClassVar[str] = ""
    task: ClassVar[Any] = "regression"

    def per_example(self, outputs: Tensor, targets: Tensor, unit: Tensor | None = None) -> Tensor:
        raise KeyError("per_example")

    @classmethod
    def fits(cls, task: Any, targets: int) -> bool:
        raise KeyError("fits")

    @property
    def kind(self) -> str:
        raise KeyError("kind")

    def conflicts(self, config: Any) -> Iterator[Any]:
        yield 1
        raise KeyError("conflicts")

    def curvature(self, outputs: int) -> float:
        try:
            return self.network_outputs(outputs)
        except LookupError:
            return 0.5

    def network_outputs(self, targets: int) -> int:
        raise KeyError("network_outputs")

    def of_its_own(self) -> None:
        raise KeyError("of its own")


accept(Own, Loss, HERE)
OWN = Own(type="own")


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("per_example", (OWN.per_example, torch.ones(1), torch.ones(1))),
        ("fits", (Own.fits, "regression", 1)),
        ("kind", (getattr, OWN, "kind")),
        ("conflicts", (lambda: list(OWN.conflicts(None)),)),
    ],
)
def test_methods_of_every_sort_are_guarded(name: str, given: Any, foreign: Any) -> None:
    with pytest.raises(PluginError, match=rf"\.Own\.{name} failed: KeyError: '{name}'"):
        foreign(*given)


@pytest.fixture
def foreign() -> Any:
    """Calls a function from a module of another package."""
    names: dict[str, Any] = {"__name__": "elsewhere"}
    exec("def call(function, *given):\n    return function(*given)", names)
    return names["call"]


def test_a_plug_in_may_handle_its_own_errors(foreign: Any) -> None:
    assert foreign(OWN.curvature, 3) == 0.5
    with pytest.raises(PluginError):
        foreign(OWN.network_outputs, 3)


def test_only_what_base_classes_declare_is_guarded(foreign: Any) -> None:
    with pytest.raises(KeyError):
        foreign(OWN.of_its_own)


class Cached:
    """Caches the metric that it watches."""

    watched = cached_property(lambda self: 1 / 0)


def test_cached_properties_are_guarded(foreign: Any) -> None:
    kind: Any = type("Watching", (Cached, Schedule), {"__module__": __name__, "__doc__": "x"})
    guard(kind, HERE)
    with pytest.raises(PluginError, match=r"Watching\.watched failed: ZeroDivisionError"):
        foreign(kind.watched.fget, None)


@pytest.mark.parametrize(
    "error",
    [MemoryError(), torch.OutOfMemoryError("CUDA out of memory."), OSError(12, "no memory")],
)
def test_a_lack_of_memory_is_no_fault_of_the_plug_in(error: Exception) -> None:
    with pytest.raises(type(error)), Boundary(HERE, "own.Own.value"):
        raise error
