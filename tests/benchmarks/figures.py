"""The figures: what is compared, at which size, and what must be reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from tests.benchmarks.measuring import (
    CONFIGS,
    IMPORT_TORCH,
    BenchmarkError,
    Contender,
    Row,
    Settings,
    alternate,
    divide,
    execute,
    find_data,
    milliseconds_a_member_step,
    probe,
    python,
    regrun,
    scaled_to,
)


@dataclass(frozen=True)
class Table:
    """A figure, measured.

    unit: of the values. ratio: what the ratios are. is_share: they are parts of a whole.
    """

    title: str
    unit: str
    ratio: str
    rows: list[Row]
    note: str = ""
    is_share: bool = False


def sweep_weight_decay(settings: Settings) -> Table:
    """A sweep of the weight_decay experiment, whole commands, with all files and events."""
    members = settings.size(quick=20, usual=1000)
    timed = settings.size(quick=2, usual=10)
    loops = settings.size(quick=2, usual=20, full=members)
    whole = scaled_to(members)
    seeds = "seed=" + ",".join(map(str, range(timed)))
    contenders = [
        Contender(
            "regrun sweep",
            regrun("sweep", CONFIGS / "weight_decay.yaml", *_weight_decays(members)),
        ),
        Contender(
            f"plain PyTorch loops ({loops} timed)",
            python("baselines/plain_weight_decay.py", loops),
            whole,
        ),
        *(
            Contender(f"{name} ({timed} timed)", python(f"baselines/{script}", *asked), whole, True)
            for name, script, asked, package in (
                ("as tutorials write it", "tutorial_weight_decay.py", [timed], "torch"),
                ("Optuna loop", "optuna_weight_decay.py", [timed], "optuna"),
                ("Hydra multirun", "hydra_weight_decay.py", ["--multirun", seeds], "hydra"),
                ("Lightning Trainer", "lightning_weight_decay.py", [timed], "lightning"),
                ("Ray Tune", "ray_tune_weight_decay.py", [timed], "ray"),
            )
            if find_spec(package)
        ),
        Contender(
            "the matrix products alone",
            python(
                "baselines/matmul_floor.py", "200,1", 5, 400,
                "--members", members, "--evaluate", 120, "--evaluations", 100,
            ),
            lambda finished: float(finished.report["seconds"]),
        ),
    ]  # fmt: skip
    return Table(
        f"{members:,}-member weight_decay sweep, whole command with all files and events",
        "s",
        "against regrun",
        _against(contenders, settings, {contenders[1].name: ("≥ 30×", "≥ 100×")}),
        f"the others are timed on a few runs and scaled to {members:,} by their time a run",
    )


def sweep_mnist_adam(settings: Settings) -> Table:
    """A step of the MNIST MLP with batches of 10 and Adam."""
    find_data("MNIST")
    members, steps = 64, settings.size(quick=10, usual=300)
    few = settings.size(quick=20, usual=1000)
    config, figure = CONFIGS / "l1_mnist.yaml", milliseconds_a_member_step

    def engine(size: int, seeds: int) -> list[str]:
        count = steps if size > 1 else few
        return probe("engine_steps", config, size, count, "--seeds", seeds, "penalty=[]")

    tutorial = "as tutorials write it"
    contenders = [
        Contender(f"regrun, {members} members, 4 seeds", engine(members, 4), figure),
        Contender(tutorial, python("baselines/tutorial_mnist_adam.py", few), figure),
        Contender("plain PyTorch loop", python("baselines/plain_mnist_adam.py", few), figure),
        Contender("regrun, 1 member", engine(1, 1), figure, once=True),
        Contender(f"regrun, {members} members, 1 seed", engine(members, 1), figure, once=True),
        Contender(
            f"regrun, {members} members, {members} seeds",
            engine(members, members),
            figure,
            once=True,
        ),
        Contender(
            f"the matrix products alone, {members} members",
            python("baselines/matmul_floor.py", "784,64,32,10", 10, steps, "--members", members),
            figure,
        ),
    ]
    return Table(
        f"{members}-member MNIST batch-10 Adam sweep, a training step",
        "ms a member-step",
        "against the first row",
        _against(contenders, settings, {tutorial: ("≥ 12×", "≥ 25×")}),
        "in process, evaluation and start-up left out",
    )


def sweep_mnist_command(settings: Settings) -> Table:
    """The same sweep as a whole command, on a part of the data."""
    find_data("MNIST")
    members = settings.size(quick=4, usual=64)
    examples = settings.size(quick=200, usual=6000)
    rates = ",".join(f"{1e-5 * 1.3**k:.4g}" for k in range(members // 4))
    steps = examples // 10

    contenders = [
        Contender(
            "regrun sweep",
            regrun(
                "sweep", CONFIGS / "l1_mnist.yaml", f"optimizer.lr={rates}", "--seeds", 4,
                "penalty=[]", f"dataset.num_train={examples}",
                f"dataset.num_test={examples // 6}", "training.epochs=1",
            ),
        ),
        Contender(
            "the tutorial's steps alone, one run after another",
            python("baselines/tutorial_mnist_adam.py", steps),
            lambda finished: members * float(finished.report["seconds"]),
        ),
    ]  # fmt: skip
    return Table(
        f"{members}-member MNIST batch-10 Adam sweep, {steps} steps, whole command",
        "s",
        "against regrun",
        _against(contenders, settings, {contenders[1].name: ("≥ 12×", "≥ 25×")}),
        "regrun with start-up, evaluation and files; the tutorial's one run, without any of "
        f"these, times {members}",
    )


def train_fashion_mnist(settings: Settings) -> Table:
    """dropout_fashion_mnist, whole commands."""
    find_data("FashionMNIST")
    epochs = settings.size(quick=1, usual=3, full=10)
    examples = 6000 if settings.quick else None
    part = ["--examples", examples] if examples else []
    keys = [f"dataset.num_train={examples}", "dataset.num_test=1000"] if examples else []
    steps = epochs * -(-(examples or 60_000) // 256)
    seen = min(examples or 10_000, 10_000) + (1000 if examples else 10_000)
    config = CONFIGS / "dropout_fashion_mnist.yaml"
    tutorial, floor = "as tutorials write it", "the matrix products alone, with start-up"
    contenders = [
        Contender("regrun train", regrun("train", config, f"training.epochs={epochs}", *keys)),
        Contender(tutorial, python("baselines/tutorial_fashion_mnist.py", epochs, *part)),
        Contender(
            "plain PyTorch loop, data in memory",
            python("baselines/plain_fashion_mnist.py", epochs, *part),
        ),
        Contender(
            floor,
            python(
                "baselines/matmul_floor.py", "784,256,256,10", 256, steps,
                "--evaluate", seen, "--evaluations", epochs,
            ),
        ),
    ]  # fmt: skip
    return Table(
        f"dropout_fashion_mnist, {epochs} epochs, whole command",
        "s",
        "against regrun",
        _against(contenders, settings, {tutorial: ("≥ 2×", ""), floor: ("", "≥ 0.67×")}),
    )


def train_weight_decay(settings: Settings) -> Table:
    """How long a user waits for the first result."""
    return _startup(
        "regrun train configs/weight_decay.yaml, whole command",
        regrun("train", CONFIGS / "weight_decay.yaml"),
        ("≤ 1.6×", "≤ 1.3×"),
        settings,
    )


def show_help(settings: Settings) -> Table:
    """How long a user waits for a help page."""
    return _startup(
        "regrun --help, whole command", regrun("--help"), ("≤ 0.25×", "≤ 0.15×"), settings
    )


def logging_and_storing(settings: Settings) -> Table:
    """The share of a sweep's time that goes into its runs' files."""
    find_data("MNIST")
    members = settings.size(quick=10, usual=1000)
    long = settings.size(quick=4, usual=64)
    sweep = probe("storing_sweep", CONFIGS / "weight_decay.yaml", *_weight_decays(members))
    stack = probe(
        "storing", CONFIGS / "l1_mnist.yaml", long, "--seeds", 4, "--steps", 30_000,
        "penalty=[]", "dataset.num_train=500", "dataset.num_test=100",
    )  # fmt: skip
    runs = [execute(sweep, settings) for _ in range(settings.repeats)]
    stacks = [execute(stack, settings).report for _ in range(settings.repeats)]
    name = f"{members:,} members, 400 steps a run"
    storing = [float(finished.report["around"]) for finished in runs]
    in_stack = [float(finished.report["training"] + finished.report["around"]) for finished in runs]
    long_storing = [float(report["around"]) for report in stacks]
    long_whole = [float(report["around"] + report["training"]) for report in stacks]
    return Table(
        "logging and storing, share of a sweep's time",
        "s",
        "of the whole",
        [
            Row(
                f"{name}, of the whole command",
                storing,
                divide(storing, [finished.seconds for finished in runs]),
                "≤ 30%",
            ),
            Row(f"{name}, of its stacks alone", storing, divide(storing, in_stack)),
            Row(
                f"{long} members, 30,000 steps a run, of the stack alone",
                long_storing,
                divide(long_storing, long_whole),
                "≤ 3%",
            ),
        ],
        "in one process; of the 30,000 steps some are taken and their time is scaled",
        is_share=True,
    )


def read_table(settings: Settings) -> Table:
    """Reading a csv file of numbers."""
    import numpy as np

    rows = settings.size(quick=2_000, usual=200_000, full=1_000_000)
    path = settings.folder / "table.csv"
    rng = np.random.default_rng(0)
    with path.open("w") as file:
        file.write(",".join(f"c{i}" for i in range(50)) + "\n")
        for _ in range(0, rows, 2_000):
            np.savetxt(file, rng.normal(size=(2_000, 50)), fmt="%.6g", delimiter=",")
    readers = {"pandas.read_csv": "pandas", "regrun": "regrun"}
    runs = [
        {
            name: execute(probe("reading", reader, path), settings)
            for name, reader in readers.items()
        }
        for _ in range(settings.repeats)
    ]
    rows_of_table = []
    for what, key, scale in (("seconds", "seconds", 1), ("MB at the peak", "bytes", 1e-6)):
        values = {name: [scale * float(run[name].report[key]) for run in runs] for name in readers}
        reference = values["pandas.read_csv"]
        rows_of_table += [
            Row(f"{name}, {what}", found, divide(found, reference), "≤ 2×" * (name == "regrun"))
            for name, found in values.items()
        ]
    return Table(
        f"reading a csv file of {rows:,} rows and 50 columns",
        "s or MB",
        "against pandas",
        rows_of_table,
        "in process, without imports; memory beyond that of the imports",
    )


def gpu_mnist(settings: Settings) -> Table:
    """Members of the MNIST MLP as one stack on a GPU, and one after another."""
    import torch

    if not torch.cuda.is_available():
        raise BenchmarkError("no CUDA device here")
    find_data("MNIST")
    members, steps = settings.size(quick=8, usual=256), settings.size(quick=20, usual=500)
    config, figure = CONFIGS / "l1_mnist.yaml", milliseconds_a_member_step
    contenders = [
        Contender(
            name,
            probe(
                "engine_steps", config, size, steps,
                "--seeds", min(size, 8), "--device", "cuda", "penalty=[]",
            ),
            figure,
        )
        for name, size in (("regrun, one stack", members), ("regrun, one after another", 1))
    ]  # fmt: skip
    return Table(
        f"one GPU, {members} members of the MNIST MLP, batch 10, Adam",
        "ms a member-step",
        "against the stack",
        _against(contenders, settings, {contenders[1].name: ("≥ 30×", "≥ 100×")}),
        "in process, evaluation and start-up left out",
    )


FIGURES: Mapping[str, Callable[[Settings], Table]] = {
    "sweep-weight-decay": sweep_weight_decay,
    "sweep-mnist": sweep_mnist_adam,
    "sweep-mnist-command": sweep_mnist_command,
    "train-fashion-mnist": train_fashion_mnist,
    "train-weight-decay": train_weight_decay,
    "help": show_help,
    "storing": logging_and_storing,
    "read-table": read_table,
    "gpu": gpu_mnist,
}
"""By the name that `run.py` knows them by."""


def _against(
    contenders: Sequence[Contender],
    settings: Settings,
    floors: Mapping[str, tuple[str, str]],
) -> list[Row]:
    """Rows with ratios to the first contender's figure."""
    measured = alternate(contenders, settings)
    ours = measured[contenders[0].name]
    return [
        Row(name, values, divide(values, ours), *floors.get(name, ("", "")))
        for name, values in measured.items()
    ]


def _startup(
    title: str, command: Sequence[str], floor: tuple[str, str], settings: Settings
) -> Table:
    reference = Contender('python -c "import torch"', IMPORT_TORCH)
    ours = Contender(title.split(",")[0], command)
    return Table(
        title,
        "s",
        "against import torch",
        _against([reference, ours], settings, {ours.name: floor}),
    )


def _weight_decays(members: int) -> list[str]:
    """The axes of a sweep over so many members: 5 seeds of each weight decay."""
    values = [0.01 * 1.041**k for k in range(members // 5)]
    axis = "optimizer.weight_decay=" + ",".join(f"{value:.6g}" for value in values)
    return [axis, "--seeds", "5"]
