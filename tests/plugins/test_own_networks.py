"""Plain classes of a user's own: given to Python functions, and in a file for the commands."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import Dataset

import regrun
from regrun.config.load import config_from_mapping
from regrun.errors import ConfigError, UsageError
from regrun.execution.export import export_network
from regrun.kinds.boundary import Origin
from regrun.kinds.datasets import DatasetSection
from regrun.kinds.given import giving
from regrun.kinds.penalties import WeightPenalty
from regrun.kinds.plain import plain_kind
from regrun.training.engine import Engine
from tests.plugins.own import networks
from tests.plugins.test_plugins import install
from tests.support.engines import CPU, collect, dataset_of
from tests.support.program import run_in_one_interpreter

FILE = Path(networks.__file__)
CONFIG: dict[str, Any] = {
    "dataset": {"name": "digits", "num_train": 60, "num_test": 20},
    "optimizer": {"name": "adam", "lr": 0.01},
    "training": {"epochs": 2, "batch_size": 25},
}
NETWORKS: dict[str, tuple[type[nn.Module], dict[str, Any]]] = {
    "list of layers": (networks.Dense, {"hidden": [6, 5]}),
    "residual": (networks.Residual, {"width": 3}),
    "lstm": (networks.Rows, {}),
    "gru with dropout": (networks.Rows, {"cell": "GRU", "dropout": 0.3}),
    "attention": (networks.Attention, {}),
    "embedding": (networks.Words, {}),
    "tied weights": (networks.Tied, {}),
    "branch": (networks.Branching, {}),
    "chain": (networks.Chain, {}),
}
ONE_BY_ONE = {"lstm", "gru with dropout", "attention", "branch"}


def configs_of(name: str, seeds: tuple[int, ...]) -> list[Any]:
    _, keys = NETWORKS[name]
    training = {**CONFIG["training"], "precision": "float64"}
    # Adam would divide the gradient of a bias before batch norm, which is rounding, by itself.
    optimizer = {"name": "sgd", "lr": 0.1, "momentum": 0.9}
    sections = {"model": keys, "training": training, "optimizer": optimizer}
    loaded = config_from_mapping({**CONFIG, **sections})
    return [loaded.config.model_copy(update={"seed": seed}) for seed in seeds]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_member_of_a_sweep_is_what_it_is_alone(name: str) -> None:
    with giving(NETWORKS[name][0]):
        configs = configs_of(name, (0, 1))
        data = dataset_of(configs[0])
        _, together = collect(Engine(configs, data, CPU))
        for member, config in enumerate(configs):
            rows, ends = collect(Engine([config], data, CPU))
            assert [row["epoch"] for row in rows[0]] == [1, 2]
            expected, found = ends[0].weights, together[member].weights
            assert expected is not None and found is not None
            for key, tensor in expected.items():
                if name in ONE_BY_ONE:
                    assert torch.equal(found[key], tensor), key
                torch.testing.assert_close(found[key], tensor, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", NETWORKS)
def test_training_goes_on_bit_for_bit_where_its_state_was_saved(name: str) -> None:
    with giving(NETWORKS[name][0]):
        configs = configs_of(name, (0, 1))
        data = dataset_of(configs[0])
        whole = Engine(configs, data, CPU)
        events = whole.run()
        while whole.step < 2:
            next(events)
        saved = whole.state_dict()
        for _ in events:
            pass
        resumed = Engine(configs, data, CPU)
        resumed.load_state_dict(*saved)
        collect(resumed)
        expected, found = whole.state_dict()[0], resumed.state_dict()[0]
        assert found.keys() == expected.keys()
        for key, tensor in expected.items():
            assert torch.equal(found[key], tensor), key


@pytest.mark.parametrize("name", NETWORKS)
def test_the_stored_network_is_that_which_was_trained(name: str, tmp_path: Path) -> None:
    network, keys = NETWORKS[name]
    run = regrun.train({**CONFIG, "model": keys}, model=network, runs_dir=tmp_path)
    module = regrun.load_model(run.directory, model=network)
    assert type(module) is network and not module.training
    stored = load_file(run.directory / "weights.safetensors")
    state = module.state_dict()
    for key, tensor in stored.items():
        assert torch.equal(state[key], tensor) if key in state else "waves" in key
    predictor = regrun.load_predictor(run.directory, model=network)
    pixels = (torch.arange(128).view(2, 1, 8, 8) % 17).double()
    with torch.no_grad():
        expected = module((pixels / 16).float())
    found = predictor.predict(pixels.numpy())
    assert found["prediction"].tolist() == [str(i) for i in expected.argmax(1).tolist()]


def test_a_run_records_the_class_and_asks_for_it_again(tmp_path: Path) -> None:
    run = regrun.train(CONFIG, {"model.width": 3}, model=networks.Residual, runs_dir=tmp_path)
    stored = (run.directory / "config.yaml").read_text()
    where = f"{networks.__name__}.Residual"
    assert f"# plug-in regrun.models Residual: the Python class {where}, sha256 " in stored
    assert "#   class Residual(nn.Module):\n" in stored
    assert run.config["model"]["width"] == 3
    longer_by_one = partial(regrun.resume, overrides={"training.epochs": 3})
    for asks in (regrun.load_model, regrun.load_predictor, longer_by_one):
        with pytest.raises(
            ConfigError, match=f"Residual came from the Python class {where}"
        ) as said:
            asks(run.directory)
        assert "model=Residual" in str(said.value) and "--plugin" not in str(said.value)
    longer = regrun.resume(run.directory, {"training.epochs": 3}, model=networks.Residual)
    assert isinstance(longer, regrun.Run) and longer.summary.epochs == 3


@pytest.mark.parametrize("suffix", [".pt2", ".onnx"])
def test_a_network_that_cannot_be_exported_says_why_on_one_line(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if suffix == ".onnx":
        pytest.importorskip("onnxscript")
    run = regrun.train(CONFIG, model=networks.Branching, runs_dir=tmp_path)
    why = "cannot be exported: Could not guard on data-dependent expression"
    with giving(networks.Branching), pytest.raises(UsageError, match=why) as said:
        export_network(run.directory, suffix)
    assert str(said.value).count("\n") == 0 and capsys.readouterr().err == ""


def test_a_class_is_swept_ablated_and_inspected(tmp_path: Path) -> None:
    config = {**CONFIG, "optimizer": {"name": "adam", "lr": 0.01, "weight_decay": 0.1}}
    swept = regrun.sweep(
        config, {"model.cell": ["LSTM", "GRU"]}, seeds=2, model=networks.Rows, runs_dir=tmp_path
    )
    assert swept.summary.completed == 4
    assert swept.cells["model.cell"].tolist() == ["LSTM", "GRU"]
    more = regrun.resume(swept.directory, seeds=3, model=networks.Rows)
    assert isinstance(more, regrun.Sweep) and more.summary.completed == 6
    effects = regrun.ablate(config, seeds=2, model=networks.Dense, runs_dir=tmp_path).effects
    assert list(effects.index) == ["weight_decay"]
    found = regrun.inspect(config, model=networks.Rows)
    assert any("one after another: torch.vmap: " in note for note in found.notes)
    assert [layer.kind for layer in found.model.layers] == ["Linear"]


OPTIONS: list[dict[str, Any]] = [
    {"training.precision": "bfloat16", "training.clip_norm": 1.0, "training.test_examples": True},
    {"training.ema": 0.9, "training.swa": {"start": 1}, "augment.mixup": 0.2},
    {"optimizer.sam": 0.05, "training.r_drop": {"alpha": 1.0}, "model.init": "kaiming"},
    {"optimizer.lookahead": {}, "constraints": {"type": "max_norm", "limit": 1.0}},
    {"training.batch_size": "full", "training.early_stopping": {"patience": 1}},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", ["gru with dropout", "tied weights"])
def test_every_part_of_training_works_with_a_network_of_ones_own(
    name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    network, keys = NETWORKS[name]
    config = {**CONFIG, "dataset": {**CONFIG["dataset"], "validation": 15}, "model": keys}
    penalty = {"penalty": {"type": "l1", "strength": 1e-3}, "optimizer.weight_decay": 0.01}
    run = regrun.train(config, {**penalty, **options}, model=network, runs_dir=tmp_path)
    assert run.summary.status == "completed", run.directory


class Wrong(networks.Dense):
    """Gives the number of outputs and one more."""

    def __init__(self, in_features: int, num_outputs: int) -> None:
        super().__init__(in_features, num_outputs + 1)


class Pair(networks.Dense):
    """Gives two things."""

    def forward(self, x: torch.Tensor) -> Any:
        return super().forward(x), x


class Fails(networks.Dense):
    """Fails on every input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise KeyError("no such layer")


class Empty(nn.Module):
    """Has nothing to train."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, :10]


@pytest.mark.parametrize(
    ("network", "why"),
    [
        (Wrong, r"of shape \[1, 11\] for one example; it has to give .* shape \[1, 10\]"),
        (Pair, "gives tuple"),
        (Fails, r"Fails: forward failed: KeyError: 'no such layer' \(test_own_networks.py:"),
        (Empty, "a network without parameters to train"),
        (networks.Block, r"networks.py:\d+: Block: channels has no type; write channels: int"),
        (networks.Dense(2, 2), r"model=Dense\(…\): give the class, model=Dense"),
        (int, "not derived from torch.nn.Module"),
    ],
)
def test_a_network_that_cannot_be_trained_is_refused(
    network: Any, why: str, tmp_path: Path
) -> None:
    with pytest.raises(regrun.errors.RegrunError, match=why):
        regrun.train(CONFIG, model=network, runs_dir=tmp_path)
    assert not list(tmp_path.rglob("weights.safetensors"))


@pytest.mark.parametrize("value", [networks.Dense, networks.Dense(2, 2)])
def test_a_network_in_the_config_is_asked_for_apart(value: Any) -> None:
    with pytest.raises(UsageError, match=r"regrun.train\(config, model=Dense\)"):
        regrun.train({**CONFIG, "model": value})


def test_other_processes_do_not_have_the_class(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="do not have the class Dense; leave workers out"):
        regrun.sweep(CONFIG, seeds=2, workers=2, model=networks.Dense, runs_dir=tmp_path)


def run_all(folder: Path, *commands: str) -> list[tuple[int, str, str]]:
    """Exit code, stdout and stderr of each, with the file at hand."""
    (folder / "digits.json").write_text(json.dumps(CONFIG))
    circles = "{name: Circles, count: 40}"
    words = [
        [*(word.replace("CIRCLES", circles) for word in command.split()), "--plugin", str(FILE)]
        for command in commands
    ]
    return run_in_one_interpreter(words, folder=folder, site=folder)


def test_classes_and_functions_of_a_file_are_kinds(tmp_path: Path) -> None:
    listed, shown, penalty, schema, *ended = run_all(
        tmp_path,
        "list models --json",
        "list models Dense",
        "list penalties hoyer",
        "schema",
        "train digits.json model.name=Dense penalty.type=hoyer penalty.strength=1e-4 --json",
        "train digits.json model.name=Dense dataset=CIRCLES --json",
        "train digits.json model.name=Dense model.hiden=[3] --json",
        "train digits.json model.name=Dense model.hidden=3.5 --json",
        "train digits.json model.name=Dense model.num_classes=10",
        "train digits.json model.name=Block",
        "train digits.json model.name=Dense optimizer.name=Lion",
        "train digits.json model.name=my_model.Net",
        "sweep digits.json model.name=Rows optimizer.lr=0.01,0.02 --seeds 2 --dry-run",
    )
    for code, _, stderr in (listed, shown, penalty, schema, *ended[:2]):
        assert code == 0, stderr
    assert "Dense" in listed[1] and "Block" not in listed[1]
    assert "Layers in a list." in shown[1] and "Width of each hidden layer." in shown[1]
    assert "How evenly the weights are spread." in penalty[1] and "epsilon" in penalty[1]
    models = json.loads(schema[1])["properties"]["model"]["oneOf"]
    (keys,) = (each["properties"] for each in models if each.get("title") == "Dense")
    assert keys["hidden"]["default"] == [16, 8]
    assert keys["hidden"]["items"] == {"type": "integer"}
    first, second = (json.loads(stdout) for _, stdout, _ in ended[:2])
    weights = load_file(tmp_path / first["run_dir"] / "weights.safetensors")
    by_hand = sum(
        float(networks.hoyer(tensor, 1e-4)) for key, tensor in weights.items() if "weight" in key
    )
    assert first["penalty"]["hoyer"] == pytest.approx(by_hand, rel=1e-5)
    assert second["data"]["sizes"] == {"train": 32, "test": 8}
    expected = [
        'did you mean "hidden"?',
        "3.5 is not a list",
        "regrun gives num_classes from the data; leave it out",
        "Block: channels has no type; write channels: int",
        "Lion: steps one model, and regrun's optimizers step all models of a sweep at once",
        "for a class of your own add --plugin my_model.py and write Net",
    ]
    for text, (code, _, stderr) in zip(expected, ended[2:8], strict=True):
        assert code == 2 and text in stderr, (text, stderr)
    assert "note: members of a stack are computed one after another" in ended[8][1]


def test_a_package_may_name_plain_classes(tmp_path: Path) -> None:
    points = {
        "regrun.models": {"dense": "own_networks:Dense"},
        "regrun.penalties": {"hoyer": "own_networks:hoyer"},
        "regrun.datasets": {"circles": "own_networks:Circles"},
    }
    install(tmp_path / "site", "own-networks", {"own_networks": FILE.read_text()}, points)
    (tmp_path / "digits.json").write_text(json.dumps(CONFIG))
    circles = "dataset={name: Circles, radius: 1.5}"
    words = ["train", "digits.json", circles, "model.name=Dense", "penalty.type=hoyer", "--json"]
    ((code, stdout, stderr),) = run_in_one_interpreter(
        [[*words, "penalty.strength=0.1"]], folder=tmp_path, site=tmp_path / "site"
    )
    assert code == 0, stderr
    assert json.loads(stdout)["penalty"]["hoyer"] > 0
    (stored,) = tmp_path.glob("runs/digits/*/config.yaml")
    assert "# plug-in regrun.models Dense: the package own-networks 1.0\n" in stored.read_text()


def test_data_that_are_drawn_by_a_seed_say_so_and_parts_are_those_that_are_given() -> None:
    def section(found: type, **keys: Any) -> DatasetSection:
        origin = Origin("regrun.datasets", "own", "tests:own", "tests 1.0")
        kind = plain_kind(found, partial(replace, origin))
        assert kind is not None and issubclass(kind, DatasetSection)
        return kind.model_validate({"name": found.__name__, **keys})

    drawn = section(networks.Circles, count=20, seed=3)
    assert drawn.draws_data() and (len(drawn.load().train), len(drawn.load().test)) == (16, 4)
    points = torch.randn(20, 2, generator=torch.Generator().manual_seed(3)).double().numpy()
    assert (drawn.arrays()["x"] == points).all()
    given = section(Halves)
    assert not given.draws_data()
    assert given.load().train.targets.squeeze().tolist() == [0.0, 1.0, 2.0]
    assert given.load().test.targets.squeeze().tolist() == [10.0, 11.0, 12.0]


class Halves(Dataset[tuple[list[float], float]]):
    """Three examples to train on, and three others."""

    def __init__(self, train: bool) -> None:
        self.first = 0 if train else 10

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> tuple[list[float], float]:
        return [float(index), 1.0 - index], float(self.first + index)


def test_a_penalty_that_runs_out_of_memory_is_not_tried_for_each_member() -> None:
    calls: list[int] = []

    def large(w: torch.Tensor, strength: float) -> torch.Tensor:
        calls.append(1)
        return strength * torch.empty(10**15).sum()

    kind = plain_kind(large, partial(replace, Origin("regrun.penalties", "own", "tests:own", "1")))
    assert kind is not None and issubclass(kind, WeightPenalty)
    penalty = kind.model_validate({"type": "large", "strength": 2.0})
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        penalty.value_at(torch.ones(3, 4), torch.ones(3))
    assert calls == [1]


@pytest.mark.parametrize("members", [0, 1, 3])
def test_a_penalty_that_branches_is_computed_for_each_member(members: int) -> None:
    def branching(w: torch.Tensor, strength: float, bound: float = 0.5) -> torch.Tensor:
        return strength * (w.abs().sum() if w.max() > bound else w.square().sum())

    origin = Origin("regrun.penalties", "own", "tests:own", "tests 1.0")
    kind = plain_kind(branching, partial(replace, origin))
    assert kind is not None and issubclass(kind, WeightPenalty)
    penalty = kind.model_validate({"type": "branching", "strength": 2.0, "bound": 1.0})
    weight = torch.linspace(-1, 1.5, 4 * members).view(members, 4)
    expected = [float(branching(row, 2.0, 1.0)) / 2.0 for row in weight]
    found = penalty.value_at(weight, torch.full((members,), 2.0))
    torch.testing.assert_close(found, torch.tensor(expected))
