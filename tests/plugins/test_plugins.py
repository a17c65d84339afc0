"""A package with a kind of each family, used from YAML; and packages that do not work."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from regrun.errors import ConfigError, PluginError
from regrun.kinds import plugins
from regrun.kinds.boundary import Origin
from regrun.kinds.constraints import Constraint, UnitNorm
from regrun.kinds.models import ModelSection
from regrun.kinds.optimizers.base import Optimizer, Tile, UpdateRule
from regrun.kinds.penalties import L1, Penalty, WeightPenalty
from regrun.kinds.plugins import accept
from regrun.kinds.registry import union
from regrun.kinds.schedules import Schedule
from regrun.plugins import PER_MEMBER, expand_members
from regrun.stack.constraints import StackedConstraints
from regrun.stack.optimizer import StackedOptimizer
from regrun.stack.penalties import StackedPenalties
from tests.support.program import Program, run_in_one_interpreter, run_python

EXAMPLE = Path(__file__).parent / "example"
MODULE = EXAMPLE / "regrun_example.py"
CONFIG = """\
name: plugged
dataset: {name: moons, num_train: 40}
model: {name: perceptron, units: 8}
penalty: {type: log, strength: 0.01}
optimizer: {name: sgd, lr: 0.3}
training: {epochs: 2, batch_size: 16}
"""


def install(
    folder: Path, name: str, modules: dict[str, str], points: dict[str, dict[str, str]]
) -> None:
    """A package as an installer leaves it: its modules, and a folder that describes it."""
    information = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [
        line
        for group, entries in points.items()
        for line in (f"[{group}]", *(f"{key} = {value}" for key, value in entries.items()))
    ]
    (information / "entry_points.txt").write_text("\n".join(lines))
    for module, text in modules.items():
        (folder / f"{module}.py").write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, installed."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    folder = tmp_path_factory.mktemp("site")
    modules = {MODULE.stem: MODULE.read_text(encoding="utf-8")}
    install(folder, project["name"], modules, project["entry-points"])
    return folder


def run_all(site: Path, folder: Path, *commands: list[str]) -> list[tuple[int, str, str]]:
    """Exit code, stdout and stderr of each, with the config at hand."""
    (folder / "plugged.yaml").write_text(CONFIG)
    return run_in_one_interpreter(commands, folder=folder, site=site)


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The example's module, in this process."""
    monkeypatch.syspath_prepend(EXAMPLE)
    yield importlib.import_module("regrun_example")
    del sys.modules["regrun_example"]


def weights_equal(one: dict[str, Tensor], other: dict[str, Tensor], *, within: float = 0.0) -> bool:
    return all(torch.allclose(one[name], other[name], rtol=0, atol=within) for name in one)


MISTAKES = {
    "penalty.strenght=1": 'did you mean "strength"?',
    "model.unit=3": 'did you mean "units"?',
    "model.name=perceptrn": 'did you mean "perceptron"?',
    "penalty.type=logg": 'did you mean "log"?',
    "penalty.method=proximal": "log has no proximal step; use gradient",
    "penalty.type=activity_l1": "perceptron is a plug-in and hands over its outputs only",
    "dataset.noise=-1": "regrun_example.Moons.arrays failed: InvalidParameterError",
    "constraints={type: box, bound: 0}": "constraints.bound: 0 ",
    "constraints={type: box, bond: 1}": 'did you mean "bound"?',
}


def test_all_four_work_from_yaml_like_those_of_regrun(site: Path, tmp_path: Path) -> None:
    train = ["train", "plugged.yaml", "--json", "--quiet", "--runs-dir"]
    constraint = "constraints={type: box, bound: 0.25}"
    swept, alone, zero, without, boxed, boxes, listed, described, inspected, *mistaken = run_all(
        site,
        tmp_path,
        ["sweep", "plugged.yaml", "penalty.strength=0,0.1", "--seeds", "1", "--runs-dir", "swept"],
        [*train, "alone", "penalty.strength=0.1"],
        [*train, "zero", "penalty.strength=0"],
        [*train, "without", "penalty=none"],
        [*train, "boxed", constraint],
        [
            "sweep",
            "plugged.yaml",
            constraint,
            "constraints.bound=0.125,0.25",
            "--seeds",
            "1",
            "--runs-dir",
            "boxes",
        ],
        ["list", "penalties", "log", "--json"],
        ["list", "constraints", "box", "--json"],
        ["inspect", "plugged.yaml", constraint, "--json"],
        *(["train", "plugged.yaml", override] for override in MISTAKES),
    )
    trained = (swept, alone, zero, without, boxed, boxes)
    assert [code for code, *_ in trained] == [0] * 6, trained
    assert "2 runs in 1 stack" in swept[2]
    weights = {
        folder: [load_file(path) for path in sorted((tmp_path / folder).rglob("weights.*"))]
        for folder in ("swept", "alone", "zero", "without", "boxed", "boxes")
    }
    assert weights_equal(weights["zero"][0], weights["without"][0])
    assert not weights_equal(weights["zero"][0], weights["alone"][0], within=1e-3)
    for alone_too in (weights["zero"][0], weights["alone"][0]):
        assert any(weights_equal(one, alone_too, within=1e-5) for one in weights["swept"])

    assert "2 runs in 1 stack" in boxes[2]
    largest = [
        max(float(each[name].abs().max()) for name in each if name.endswith("weight"))
        for each in (*weights["boxed"], *weights["boxes"])
    ]
    assert largest[0] == 0.25 and sorted(largest[1:]) == [0.125, 0.25]
    assert any(weights_equal(one, weights["boxed"][0], within=1e-5) for one in weights["boxes"])

    entry = json.loads(listed[1])
    assert entry["formula"] == "λ Σ log(1 + |w|)"
    assert entry["source"].startswith("Candès")
    assert {key["name"] for key in entry["keys"]} == {"strength", "method", "apply_to"}

    entry = json.loads(described[1])
    assert entry["formula"] == "w ← min(max(w, −c), c),  c: bound"
    assert {key["name"] for key in entry["keys"]} == {"bound", "apply_to"}

    document = json.loads(inspected[1])
    line = "w ← min(max(w, −c), c),  c: bound,  bound = 0.25   (box on [weight])"
    assert line in json.dumps(document, ensure_ascii=False)
    assert "λ Σ log(1 + |w|),  λ = 0.01" in json.dumps(document, ensure_ascii=False)
    assert document["config"]["model"]["name"] == "perceptron"
    assert document["config"]["dataset"]["noise"] == 0.2

    for (code, _, stderr), answer in zip(mistaken, MISTAKES.values(), strict=True):
        assert code == 2
        assert answer in stderr
        assert "Traceback" not in stderr


UPDATES = ["optimizer={name: signum, lr: 0.01}", "schedule=polynomial"]


def test_an_optimizer_and_a_schedule_work_from_yaml(site: Path, tmp_path: Path) -> None:
    train = ["train", "plugged.yaml", *UPDATES, "--json", "--quiet", "--runs-dir"]
    swept, low, high, listed, inspected, wrong = run_all(
        site,
        tmp_path,
        ["sweep", "plugged.yaml", *UPDATES, "optimizer.beta=0.1,0.9", "--runs-dir", "swept"],
        [*train, "low", "optimizer.beta=0.1"],
        [*train, "high"],
        ["list", "optimizers", "signum", "--json"],
        ["inspect", "plugged.yaml", *UPDATES, "schedule={type: polynomial, power: 2}", "--json"],
        ["train", "plugged.yaml", *UPDATES, "penalty={type: l1, strength: 1, method: proximal}"],
    )
    assert [swept[0], low[0], high[0]] == [0, 0, 0], (swept, low, high)
    assert "2 runs in 1" in swept[2]
    weights = [
        [load_file(path) for path in sorted((tmp_path / folder).rglob("weights.*"))]
        for folder in ("low", "high", "swept")
    ]
    assert not weights_equal(weights[0][0], weights[1][0], within=1e-3)
    for alone in (weights[0][0], weights[1][0]):
        assert any(weights_equal(one, alone, within=1e-6) for one in weights[2])

    entry = json.loads(listed[1])
    assert entry["formula"].endswith("w ← w − η sign(m)")
    assert "beta" in {key["name"] for key in entry["keys"]}
    rule = json.loads(inspected[1])["update_rule"]
    assert "m ← β m + (1−β) g;  w ← w − η sign(m)" in rule
    assert "s_t = (1 − t/T)^q" in rule
    assert wrong[0] == 2
    assert "with signum use gradient" in wrong[2]


def test_a_broken_plugin_is_named_with_its_package(program: Program, tmp_path: Path) -> None:
    points = {"regrun.models": {"old": "broken_example:Old"}}
    install(tmp_path, "broken-example", {"broken_example": "import no_such_module\n"}, points)
    for words in (["list", "penalties"], ["schema"], ["train", "no-such.yaml"]):
        ended = program(*words, fresh=True, site=tmp_path)
        assert ended.returncode == 2
        assert "Traceback" not in ended.stderr
        why = "import failed: ModuleNotFoundError: No module named 'no_such_module' (broken_"
        assert f"broken_example:Old: its {why}" in ended.stderr
        assert "broken-example 1.0; fix that package or uninstall it" in ended.stderr


def printed(program: str, site: Path) -> str:
    """What a program of its own prints where the plug-ins of site are installed."""
    ended = run_python(program, site=site)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def test_a_plugin_may_be_imported_before_the_schema(site: Path) -> None:
    program = "import regrun_example, regrun.config.schema as s; print(s.Config.__name__)"
    assert printed(program, site) == "Config\n"


def test_listing_plugins_loads_no_torch(site: Path) -> None:
    program = "import sys, regrun.config.schema; print('torch' in sys.modules)"
    assert printed(program, site) == "False\n"


class Cube(WeightPenalty):
    """Sum of cubes."""

    type: Literal["cube"]
    formula: ClassVar[str] = "λ Σ |w|³"
    reference: ClassVar[str] = "a test"
    offset: float = 0.0

    def value(self, weight: Tensor) -> Tensor:
        return (weight.abs() + self.offset).pow(3).flatten(1).sum(1)


class Norm(WeightPenalty):
    """Norm of a parameter as a whole."""

    type: Literal["norm"]
    formula: ClassVar[str] = "λ Σ_W ‖W‖₂"
    reference: ClassVar[str] = "a test"
    methods: ClassVar[tuple[str, ...]] = ("gradient", "proximal")

    def value(self, weight: Tensor) -> Tensor:
        norms: Tensor = torch.linalg.vector_norm(weight.flatten(1), dim=1)
        return norms

    def prox_(self, weight: Tensor, amount: Tensor) -> None:
        norm = expand_members(self.value(weight), weight)
        weight.mul_((1 - amount.to(weight.dtype) / norm).clamp(min=0))


class Composing(Norm):
    """The same; the prox of its sum with |w| is one after the other."""

    type: Literal["composing"]  # type: ignore[assignment]
    composes: ClassVar[bool] = True


class Stepless(Cube):
    """Promises a proximal step and has none."""

    type: Literal["stepless"]  # type: ignore[assignment]
    methods: ClassVar[tuple[str, ...]] = ("gradient", "proximal")


class Half(Constraint):
    """Entries of one member in two are set to `level`."""

    type: Literal["half"]
    formula: ClassVar[str] = "w ← level"
    reference: ClassVar[str] = "a test"
    level: Annotated[float, PER_MEMBER] = 0.0
    broken: bool = False

    def project_(self, weight: Tensor, numbers: Mapping[str, Tensor]) -> None:
        if self.broken:
            raise KeyError("level")
        weight.copy_(numbers["level"].expand_as(weight))


class Motionless(Constraint):
    """Projects nothing."""

    type: Literal["motionless"]
    formula: ClassVar[str] = ""
    reference: ClassVar[str] = ""


class Taken(Cube):
    """Calls itself what another is called."""

    type: Literal["l1"]  # type: ignore[assignment]


class Nameless(Cube):
    type: str  # type: ignore[assignment]


class Valueless(WeightPenalty):
    """Has no value."""

    type: Literal["valueless"]
    formula: ClassVar[str] = ""
    reference: ClassVar[str] = ""


class Formless(WeightPenalty):
    """Has no formula."""

    type: Literal["formless"]

    def value(self, weight: Tensor) -> Tensor:
        return weight.flatten(1).sum(1)


class Listless(Cube):
    """Has methods that are no tuple."""

    type: Literal["listless"]  # type: ignore[assignment]
    methods: ClassVar[Any] = 3


class Undescribed(Cube):
    type: Literal["undescribed"]  # type: ignore[assignment]


class Alien(ModelSection):
    """Is a model."""

    name: Literal["alien"]

    def build(self, input_shape: tuple[int, ...], num_outputs: int) -> Any:
        return None


class Ruleless(Optimizer):
    """Has no rule."""

    name: Literal["ruleless"]
    formula: ClassVar[str] = ""
    reference: ClassVar[str] = ""


class Updateless(Ruleless):
    """Has a rule that does not update."""

    class Rule(UpdateRule[Any]):
        def at_step(self, lr: Tensor, step: Tensor) -> dict[str, Tensor]:
            return {}


class Sourceless(Optimizer):
    """Has no reference."""

    name: Literal["sourceless"]
    formula: ClassVar[str] = ""

    class Rule(UpdateRule[Any]):
        def update(self, tile: Tile, g: Tensor) -> None:
            return


class Factorless(Schedule):
    """Has no factors."""

    type: Literal["factorless"]
    formula: ClassVar[str] = ""
    reference: ClassVar[str] = ""


NOT_A_CLASS = 3
HERE = Origin("a group", "an entry", __name__, "tests 1.0")


def load(
    monkeypatch: pytest.MonkeyPatch, *names: str, group: str = "regrun.penalties"
) -> list[type[Any]]:
    points = [EntryPoint(name, f"{__name__}:{name}", group) for name in names]
    monkeypatch.setattr(plugins, "_installed", lambda: {group: points})
    return list(plugins.sections(group, [L1, UnitNorm]))


def test_a_sound_section_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, "Cube", "Norm") == [Cube, Norm]
    assert load(monkeypatch, "Half", group="regrun.constraints") == [Half]


def test_a_constraint_has_to_define_its_projection(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PluginError, match="has no method project_"):
        load(monkeypatch, "Motionless", group="regrun.constraints")
    with pytest.raises(PluginError, match=r"is no subclass of regrun\.plugins\.Constraint"):
        load(monkeypatch, "Cube", group="regrun.constraints")


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["Taken"], "type: l1 is taken by regrun"),
        (["Cube", "Cube"], "type: cube is taken by the package without a name"),
        (["Nameless"], "has no key type: Literal"),
        (["Valueless"], "has no method value"),
        (["Stepless"], "has no method prox_"),
        (["Formless"], "has no formula"),
        (["Undescribed"], "has no docstring"),
        (["Listless"], "has methods = 3: input should be a valid tuple"),
        (["Alien"], "is no subclass of regrun.plugins.WeightPenalty"),
        (["NOT_A_CLASS"], "is no subclass of"),
        (["Absent"], "AttributeError"),
    ],
)
def test_an_unusable_section_is_refused_by_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch, names: list[str], why: str
) -> None:
    with pytest.raises(PluginError, match=why):
        load(monkeypatch, *names)


@pytest.mark.parametrize(
    ("group", "name", "why"),
    [
        ("regrun.optimizers", "Ruleless", "has no method Rule.update"),
        ("regrun.optimizers", "Updateless", "has no method Rule.update"),
        ("regrun.optimizers", "Sourceless", "has no reference"),
        ("regrun.optimizers", "Cube", "is no subclass of regrun.plugins.Optimizer"),
        ("regrun.schedules", "Factorless", "has no method factors"),
    ],
)
def test_an_unusable_optimizer_or_schedule_is_refused_by_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch, group: str, name: str, why: str
) -> None:
    with pytest.raises(PluginError, match=why):
        load(monkeypatch, name, group=group)


def test_a_plugged_optimizer_takes_the_steps_of_its_formula(example: Any) -> None:
    betas, parameters = (0.5, 0.9), {"w": torch.ones(2, 3, dtype=torch.float64)}
    members = [example.Signum(name="signum", lr=0.1, beta=beta) for beta in betas]
    optimizer = StackedOptimizer(members, parameters, ())
    expected, mean = np.ones((2, 3)), np.zeros((2, 3))
    for step in range(5):
        g = np.random.default_rng(step).normal(size=(2, 3))
        beta, rate = np.array(betas)[:, None], 0.1 / (step + 1)
        mean = beta * mean + (1 - beta) * g
        expected -= rate * np.sign(mean)
        optimizer.step([torch.tensor(g)], 1 / (step + 1))
    np.testing.assert_allclose(parameters["w"], expected, rtol=1e-14)


def test_a_plugged_optimizer_that_fails_is_named(example: Any) -> None:
    class Failing(example.Signum):  # type: ignore[misc]
        """Knows no slots."""

        @classmethod
        def slots(cls, members: Any) -> Any:
            raise RuntimeError("no slots")

    accept(Failing, Optimizer, HERE)
    with pytest.raises(PluginError, match=r"\.Failing\.slots failed: RuntimeError: no slots \("):
        StackedOptimizer([Failing(name="signum", lr=1.0)], {"w": torch.ones(1, 2)}, ())


def test_a_plugged_schedule_is_that_of_torch(example: Any) -> None:
    schedule = example.Polynomial(type="polynomial", power=2.0, warmup_epochs=1)
    ours = schedule.multipliers(np.arange(12), epochs=3, steps_per_epoch=4)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=8, power=2.0)
    theirs = [0, 0.25, 0.5, 0.75]
    for _ in range(8):
        theirs.append(float(scheduler.get_last_lr()[0]))
        optimizer.step()
        scheduler.step()
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_a_union_gains_what_is_plugged_in_and_keeps_its_discriminator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pydantic import TypeAdapter

    adapter = TypeAdapter(union((L1, *load(monkeypatch, "Cube"))))
    assert adapter.validate_python({"type": "cube", "strength": 1.0}) == Cube(
        type="cube", strength=1.0
    )
    assert isinstance(adapter.validate_python({"type": "l1", "strength": 1.0}), L1)


ROLES = {"weight": "weight", "bias": "bias"}


def stacked(*lists: Sequence[Penalty]) -> StackedPenalties:
    return StackedPenalties(lists, ROLES, {"weight": (3, 4), "bias": (3,)})  # type: ignore[arg-type]


def amount_of(parameters: dict[str, Tensor], *lists: list[Penalty]) -> Tensor:
    """What the penalties add to the loss: (members,)."""
    amount = stacked(*lists).differentiable(parameters)
    assert amount is not None
    return amount


def drawn(members: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = {"weight": (members, 3, 4), "bias": (members, 3)}
    return {
        name: torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for name, shape in shapes.items()
    }


def test_a_plugged_penalty_adds_its_formula_and_its_derivative(example: Any) -> None:
    log = example.Log(type="log", strength=0.3, apply_to=("all",))
    parameters = drawn(2)
    amount = amount_of(parameters, [log], [])
    torch.autograd.backward(amount.sum())
    for name, tensor in parameters.items():
        w = tensor.detach().numpy()
        assert tensor.grad is not None
        np.testing.assert_allclose(tensor.grad[0], 0.3 * np.sign(w[0]) / (1 + np.abs(w[0])))
        assert not tensor.grad[1].any(), name
    every = sum(np.log1p(np.abs(t.detach().numpy()[0])).sum() for t in parameters.values())
    np.testing.assert_allclose(amount.detach(), [0.3 * every, 0.0])


def test_strength_0_of_a_plugged_penalty_is_no_penalty(example: Any) -> None:
    assert stacked([example.Log(type="log", strength=0.0)]).differentiable(drawn(1)) is None


def test_members_keep_their_own_settings_of_a_plugged_penalty() -> None:
    pair = [Cube(type="cube", strength=1.0, offset=offset) for offset in (0.0, 2.0)]
    parameters = drawn(2)
    together = amount_of(parameters, [pair[0]], [pair[1]])
    for row, penalty in enumerate(pair):
        own = {name: tensor[row : row + 1] for name, tensor in parameters.items()}
        torch.testing.assert_close(together[row], amount_of(own, [penalty])[0], rtol=1e-13, atol=0)


def test_a_value_that_is_not_one_per_member_is_refused() -> None:
    class Total(Cube):
        """Adds up the members."""

        def value(self, weight: Tensor) -> Tensor:
            return weight.sum()

    penalty = Total(type="cube", strength=1.0)
    with pytest.raises(PluginError, match=r"Total\.value gave shape \[\] for weights of \[2, 3, 4"):
        stacked([penalty], [penalty]).differentiable(drawn(2))


def test_a_value_that_fails_names_the_plug_in() -> None:
    class Failing(Cube):
        """Reads what is not there."""

        def value(self, weight: Tensor) -> Tensor:
            raise LookupError("nothing here")

    accept(Failing, WeightPenalty, HERE)
    penalties: list[Penalty] = [L1(type="l1", strength=1.0), Failing(type="cube", strength=1.0)]
    with pytest.raises(PluginError, match=r"\.Failing\.value failed: LookupError: nothing here \("):
        stacked(penalties).differentiable(drawn(1))


def test_a_plugged_proximal_step_reaches_only_the_members_that_have_it() -> None:
    norms = [Norm(type="norm", strength=s, method="proximal") for s in (0.5, 0.0, 100.0)]
    (term,) = stacked([norms[0]], [], [norms[1]], [norms[2]]).proximal
    weight = drawn(4)["weight"].detach()
    weight[1, 0, 0], weight[2, 1, 1] = torch.inf, torch.nan
    after = weight.clone()
    term.step_(after, torch.full((4,), 0.1, dtype=torch.float64))
    torch.testing.assert_close(after[1:3], weight[1:3], rtol=0, atol=0, equal_nan=True)
    shrunk = weight[0] * (1 - 0.05 / weight[0].norm())
    torch.testing.assert_close(after[0], shrunk)
    assert not after[3].any()


def test_a_step_of_ones_own_goes_alone_unless_it_says_that_it_composes() -> None:
    proximal: Any = {"method": "proximal"}
    norm, l1 = Norm(type="norm", strength=0.5, **proximal), L1(type="l1", strength=1.0, **proximal)
    for pair in ([norm, l1], [l1, norm]):
        with pytest.raises(ConfigError, match=r"penalty\.1\.method: .* no known joint"):
            stacked(pair)
    assert len(stacked([norm, norm]).proximal) == 1
    (term,) = stacked([Composing(type="composing", strength=0.5, **proximal), l1]).proximal
    weight, after = drawn(1)["weight"].detach(), drawn(1)["weight"].detach()
    term.step_(after, torch.full((1,), 0.1, dtype=torch.float64))
    soft = weight.sign() * (weight.abs() - 0.1).clamp(min=0)
    torch.testing.assert_close(after, soft * (1 - 0.05 / soft.norm()))


def constrained(*lists: list[Constraint]) -> StackedConstraints:
    return StackedConstraints(lists, ROLES)  # type: ignore[arg-type]


def test_a_plugged_constraint_gets_each_members_number_and_leaves_the_others() -> None:
    for dtype in (torch.float32, torch.float64):
        parameters = {name: tensor.to(dtype).detach() for name, tensor in drawn(4).items()}
        before = {name: tensor.clone() for name, tensor in parameters.items()}
        before["weight"][1, 0, 0] = parameters["weight"][1, 0, 0] = torch.nan
        halves: list[Constraint] = [Half(type="half", level=level) for level in (0.1, 0.2)]
        constrained([halves[0]], [], [halves[1]], []).project_(parameters)
        for row, level in ((0, 0.1), (2, 0.2)):
            assert (parameters["weight"][row] == torch.tensor(level, dtype=dtype)).all()
        for row in (1, 3):
            kept = parameters["weight"][row], before["weight"][row]
            torch.testing.assert_close(*kept, rtol=0, atol=0, equal_nan=True)
        assert torch.equal(parameters["bias"], before["bias"])


def test_a_projection_that_fails_names_the_plug_in() -> None:
    constraints: list[Constraint] = [UnitNorm(type="unit_norm"), Half(type="half", broken=True)]
    accept(Half, Constraint, HERE)
    with pytest.raises(PluginError, match=r"\.Half\.project_ failed: KeyError: 'level' \("):
        constrained(constraints).project_(drawn(1))


def test_a_build_that_gives_no_module_is_refused() -> None:
    from regrun.kinds.models import build_model

    accept(Alien, ModelSection, HERE)
    with pytest.raises(PluginError, match=r"Alien\.build gave None; it has to give nn\.Module"):
        build_model(Alien(name="alien"), (2,), 1, seed=0)


def first_block(language: str) -> str:
    """The first code block of that language in the guide's page on plug-ins."""
    page = Path(__file__).parents[2] / "regrun" / "guide" / "plugins.md"
    return page.read_text(encoding="utf-8").split(f"```{language}\n")[1].split("```")[0]


def test_the_plugin_of_the_guide_works_as_it_stands(tmp_path: Path) -> None:
    module, packaging = first_block("python"), first_block("toml")
    project = tomllib.loads(packaging)["project"]
    site = tmp_path / "site"
    install(site, project["name"], {"regrun_log": module}, project["entry-points"])
    config = ["dataset={name: wine}", "model={name: linear}"]
    strong, none, listed = run_all(
        site,
        tmp_path,
        *(
            ["train", "plugged.yaml", *config, f"penalty.strength={strength}",
             "--json", "--quiet", "--runs-dir", f"runs{strength}"]
            for strength in (1, 0)
        ),
        ["list", "penalties", "log"],
    )  # fmt: skip
    assert [strong[0], none[0], listed[0]] == [0, 0, 0], (strong, none, listed)
    penalised, free = (json.loads(each[1])["weights"]["l1"] for each in (strong, none))
    assert penalised < 0.7 * free
    assert "λ Σ log(1 + |w|)" in listed[1]


@pytest.mark.long
def test_the_example_installs_with_pip_and_trains(program: Program, tmp_path: Path) -> None:
    pytest.importorskip("setuptools")
    target, source = tmp_path / "site", tmp_path / "source"
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
         "--no-index", "--target", target, source],
        check=True,
    )  # fmt: skip
    (tmp_path / "plugged.yaml").write_text(CONFIG)
    ended = program(
        "train", tmp_path / "plugged.yaml", "--runs-dir", tmp_path / "runs", fresh=True, site=target
    )
    assert ended.returncode == 0, ended.stderr
