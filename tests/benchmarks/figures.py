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
    IdleGPU,
    Row,
    Settings,
    Shapes,
    Way,
    alternate,
    alternate_shapes,
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

    def engine(size: int, seeds: int, *keys: str) -> list[str]:
        count = steps if size > 1 else few
        return probe("engine_steps", config, size, count, "--seeds", seeds, "penalty=[]", *keys)

    tutorial = "as tutorials write it"
    contenders = [
        Contender(f"regrun, {members} members, 4 seeds", engine(members, 4), figure),
        Contender("the same, compiled", engine(members, 4, "training.compile=always"), figure),
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
    steps = examples // 10

    contenders = [
        Contender("regrun sweep", regrun("sweep", *_mnist_mlps(members, examples))),
        Contender(
            "the tutorial's steps alone, one run after another",
            python("baselines/tutorial_mnist_adam.py", steps),
            lambda finished: members * float(finished.report["seconds"]),
        ),
    ]
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


def train_resnet18(settings: Settings) -> Table:
    """A step of ResNet-18 on a CPU, which a stack of one should not make slower."""
    small = ["--batch", settings.size(quick=2, usual=32), "--examples", 2_000, "--device", "cpu"]
    asked = ["1/1", settings.size(quick=1, usual=10), *small]
    plain, ours = "plain PyTorch", "regrun, 1 member"
    ways = [
        Way(plain, python("baselines/hand_written.py", "resnet18", "plain", *asked)),
        Way(ours, probe("network_steps", "resnet18", *asked)),
    ]
    found = alternate_shapes(ways, settings)
    floors = {("1/1", ours): ("≤ 1.1×", "")}
    return Table(
        f"ResNet-18 on 32×32 images, batch {small[1]}, a training step",
        "ms a step",
        "against plain PyTorch",
        _of_shapes(found, floors, plain),
        "in process, evaluation and start-up left out",
    )


def jax_mnist(settings: Settings) -> Table:
    """Stacks of the MNIST MLP on a CPU, against the strongest peer."""
    floors = {"1/1": ("≤ 3×", "≤ 1.5×"), "16/16": ("≤ 1.5×", "≤ 1×"), "64/64": ("≤ 1.1×", "≤ 1×")}
    if settings.quick:
        floors = {"2/2": ("", "")}
    shapes, steps = ",".join(floors), settings.size(quick=5, usual=600)
    few = settings.size(quick=5, usual=100)
    data = ["--device", "cpu", "--examples", settings.size(quick=500, usual=50_000)]
    jax, plain = "JAX: vmap over members, scan over steps", "plain PyTorch, one after another"
    ours = "regrun, compiled"
    ways = [
        Way(jax, python("baselines/jax_mlp.py", shapes, steps, *data)),
        Way("regrun", probe("network_steps", "mlp", shapes, steps, *data, "--compile", "never")),
        Way(ours, probe("network_steps", "mlp", shapes, steps, *data, "--compile", "always")),
        Way(plain, python("baselines/hand_written.py", "mlp", "plain", shapes, few, *data)),
        Way(
            "the matrix products alone, as torch has them",
            python("baselines/hand_written.py", "mlp", "products", shapes, steps, *data),
        ),
    ]
    reference = jax
    if not find_spec("jax"):
        reference = plain
        ways = ways[1:]
    found = alternate_shapes(ways, settings)
    must = {(shape, ours): floor for shape, floor in floors.items() if reference == jax}
    return Table(
        "MNIST MLPs, batch 10, Adam, a step of all members on a CPU",
        "ms a step",
        "against JAX" if reference == jax else "against plain PyTorch",
        _of_shapes(found, must, reference),
        "in process, evaluation, start-up and compiling left out",
    )


GPU_FLOORS = {
    "1/1": ("≤ 0.15 ms", "0.027 ms"),
    "16/1": ("≤ 0.17 ms", "0.034 ms"),
    "16/16": ("≤ 0.17 ms", "0.034 ms"),
    "256/1": ("≤ 0.35 ms", "0.16 ms"),
    "256/256": ("≤ 0.35 ms", "0.16 ms"),
    "1024/1": ("≤ 0.9 ms", "0.53 ms"),
    "1024/1024": ("≤ 0.9 ms", "0.53 ms"),
}
"""Members and seeds of MNIST MLPs → what must be reached on an H100 or H200, and what JAX does."""


def gpu_mlp(settings: Settings) -> Table:
    """Stacks of the MNIST MLP on a GPU, from one member to a thousand."""
    floors = {"1/1": ("", ""), "4/2": ("", "")} if settings.quick else GPU_FLOORS
    return _gpu_mlp(settings, "MNIST MLPs", floors, [])


def gpu_dropout(settings: Settings) -> Table:
    """The same with dropout, whose numbers each seed draws by itself."""
    floors = {"256/1": ("", ""), "256/256": ("≤ 0.5 ms", "0.25 ms")}
    if settings.quick:
        floors = {"4/1": ("", ""), "4/4": ("", "")}
    return _gpu_mlp(settings, "MNIST MLPs with dropout", floors, ["--dropout", 0.5])


def _gpu_mlp(
    settings: Settings, title: str, floors: Mapping[str, tuple[str, str]], keys: Sequence[object]
) -> Table:
    rest = [*_on_device(settings), *keys]
    steps = settings.size(quick=5, usual=300)
    shapes = ",".join(floors)

    def by_hand(way: str) -> list[str]:
        count = steps if settings.quick or way != "plain" else 100
        return python("baselines/hand_written.py", "mlp", way, shapes, count, *rest)

    ours = "regrun"
    ways = [
        Way(ours, probe("network_steps", "mlp", shapes, steps, *rest)),
        Way("plain PyTorch, one after another", by_hand("plain")),
        Way("by hand: stacked", by_hand("stack")),
        Way("by hand, as a graph", by_hand("graph")),
        Way("by hand, as a graph, update compiled", by_hand("compiled-update")),
        Way("by hand, as a graph, all compiled", by_hand("compiled")),
        Way(
            "JAX: vmap over members, scan over steps",
            python("baselines/jax_mlp.py", shapes, steps, *rest),
            peer=True,
        ),
        Way("the matrix products alone", by_hand("products")),
    ]
    if not find_spec("jax"):
        ways = [way for way in ways if not way.peer]
    return _gpu_table(
        f"{title}, batch 10, Adam, a step of all members", ways, settings, floors, ours
    )


def gpu_cnn(settings: Settings) -> Table:
    """Stacks of a small convolutional network on a GPU."""
    floors = {
        "1/1": ("≤ 0.7 ms", "0.44 ms"),
        "16/16": ("≤ 4.2 ms", "3.8 ms"),
        "64/64": ("≤ 16 ms", "14 ms"),
    }
    if settings.quick:
        floors = {"1/1": ("", ""), "2/2": ("", "")}
    shapes, rest = ",".join(floors), [*_on_device(settings), *_batch(settings)]
    steps = settings.size(quick=1, usual=100)

    def by_hand(way: str, *keys: str) -> list[str]:
        asked = ["--precision", "tf32", *keys, *rest]
        return python("baselines/hand_written.py", "cnn", way, shapes, steps, *asked)

    last = "--channels-last"
    ways = [
        Way(
            "regrun",
            probe("network_steps", "cnn", shapes, steps, "--precision", "tf32", *rest),
        ),
        Way("plain PyTorch, one after another", by_hand("plain")),
        Way("by hand: grouped convolutions", by_hand("stack")),
        Way("by hand, as a graph", by_hand("graph")),
        Way("by hand, as a graph, channels last", by_hand("graph", last)),
        Way("convolutions and products alone", by_hand("products")),
        Way("convolutions and products alone, channels last", by_hand("products", last)),
    ]
    title = f"small CNNs on 32×32 images, batch {_batch(settings)[1]}, TF32, a step of all members"
    return _gpu_table(title, ways, settings, floors, "regrun")


def gpu_resnet18(settings: Settings) -> Table:
    """ResNet-18 on a GPU in each precision, with both layouts of images."""
    steps = settings.size(quick=1, usual=50)
    floors = {"fp32": ("", ""), "tf32": ("≤ 6.5 ms", "4.3 ms"), "bf16": ("≤ 4.5 ms", "2.9 ms")}
    tables = []
    for precision, floor in floors.items():
        rest = ["1/1", steps, "--precision", precision, *_on_device(settings), *_batch(settings)]

        def by_hand(way: str, *keys: str, rest: Sequence[object] = rest) -> list[str]:
            return python("baselines/hand_written.py", "resnet18", way, *rest, *keys)

        last = "--channels-last"
        ways = [
            Way(f"{precision}: regrun", probe("network_steps", "resnet18", *rest)),
            Way(f"{precision}: plain PyTorch", by_hand("plain")),
            Way(f"{precision}: plain PyTorch, channels last", by_hand("plain", last)),
            Way(f"{precision}: as a graph", by_hand("graph")),
            Way(f"{precision}: as a graph, channels last", by_hand("graph", last)),
            Way(f"{precision}: convolutions alone", by_hand("products")),
            Way(f"{precision}: convolutions alone, channels last", by_hand("products", last)),
        ]
        tables.append(_gpu_table("", ways, settings, {"1/1": floor}, f"{precision}: regrun"))
    return Table(
        f"ResNet-18 on 32×32 images, batch {_batch(settings)[1]}, a training step",
        "ms a step",
        "against regrun",
        [row for table in tables for row in table.rows],
        tables[0].note,
    )


def gpu_command(settings: Settings) -> Table:
    """A sweep of the MNIST MLP on a GPU as a whole command, and how long it leaves the GPU idle."""
    _check_device(settings)
    find_data("MNIST")
    members, epochs = settings.size(quick=4, usual=256), settings.size(quick=1, usual=5)
    examples = settings.size(quick=200, usual=60_000)
    rates = ",".join(f"{1e-5 * 1.08**k:.4g}" for k in range(members // 4))
    command = regrun(
        "sweep", CONFIGS / "l1_mnist.yaml", f"optimizer.lr={rates}", "--seeds", 4,
        "penalty=[]", f"training.epochs={epochs}", f"dataset.num_train={examples}",
        f"dataset.num_test={examples // 6}", "--device", settings.device,
    )  # fmt: skip
    plain = python(
        "baselines/hand_written.py", "mlp", "plain", "1/1", settings.size(quick=5, usual=500),
        *_on_device(settings),
    )  # fmt: skip
    seconds, alone, idle = [], [], []
    for _ in range(settings.repeats):
        with IdleGPU() as gpu:
            seconds.append(execute(command, settings).seconds)
        if gpu.share is not None:
            idle.append(gpu.share * seconds[-1])
        report = execute(plain, settings).report
        steps = members * epochs * examples // 10
        alone.append(report["milliseconds"]["1/1"] / 1000 * steps)
    rows = [
        Row("regrun sweep", seconds, divide(seconds, seconds)),
        Row("plain PyTorch's steps alone, one run after another", alone, divide(alone, seconds)),
    ]
    if idle:
        rows.append(Row("regrun sweep, no kernel runs", idle, divide(idle, seconds)))
    return Table(
        f"{members}-member MNIST sweep, batch 10, Adam, {epochs} epochs, whole command",
        "s",
        "against regrun",
        rows,
        f"{report['device']}; some of plain PyTorch's steps are timed and scaled"
        + "; there is no nvidia-smi here that samples the GPU" * (not idle),
    )


def _gpu_table(
    title: str,
    ways: Sequence[Way],
    settings: Settings,
    floors: Mapping[str, tuple[str, str]],
    ours: str,
) -> Table:
    """Milliseconds of all shapes and ways. floors: of each shape, for regrun."""
    _check_device(settings)
    found = alternate_shapes(ways, settings)
    by_way = {(shape, ours): floor for shape, floor in floors.items()}
    rows = _of_shapes(found, by_way, ours)
    return Table(title, "ms a step", "against regrun", rows, found.note)


def _of_shapes(
    found: Shapes, floors: Mapping[tuple[str, str], tuple[str, str]], reference: str
) -> list[Row]:
    """A row for each shape and way, with ratios to one of the ways."""
    rows = []
    for shape, ways in found.milliseconds.items():
        members, _, seeds = shape.partition("/")
        label = "" if len(found.milliseconds) == 1 else f"K = {members}, seeds {seeds}: "
        rows += [
            Row(
                f"{label}{way}".strip(),
                values,
                divide(values, ways[reference]),
                *floors.get((shape, way), ("", "")),
            )
            for way, values in ways.items()
        ]
    return rows


def _check_device(settings: Settings) -> None:
    import torch

    if settings.device == "cuda" and not torch.cuda.is_available():
        raise BenchmarkError("no CUDA device here (--device cpu tries the scripts)")


def _on_device(settings: Settings) -> list[object]:
    return ["--device", settings.device, "--examples", settings.size(quick=500, usual=50_000)]


def _batch(settings: Settings) -> list[object]:
    return ["--batch", settings.size(quick=2, usual=128)]


def ray_overhead(settings: Settings) -> Table:
    """Two sweeps as whole commands: worker processes, and the same cores as a node of Ray."""
    _check_ray()
    find_data("MNIST")
    runs, members = settings.size(quick=20, usual=1000), settings.size(quick=4, usual=64)
    sweeps = {
        "2 runs, to start and end": [
            CONFIGS / "weight_decay.yaml", "optimizer.weight_decay=0.01,0.02", "--seeds", 1,
            "sweep.stack_size=1",
        ],
        f"{runs:,} runs of weight_decay": [
            CONFIGS / "weight_decay.yaml", *_weight_decays(runs)
        ],
        f"{members} MNIST MLPs": _mnist_mlps(members, settings.size(quick=200, usual=6000)),
    }  # fmt: skip
    rows = []
    for name, asked in sweeps.items():
        command = regrun("sweep", *asked, "--device", "cpu")
        workers = Contender(
            f"{name}: --workers {settings.threads}", [*command, "--workers", str(settings.threads)]
        )
        contenders = [
            workers,
            Contender(
                f"{name}: --executor ray, on a cluster that is there",
                probe("on_cluster", settings.threads, *command),
                lambda finished: float(finished.report["seconds"]),
            ),
            Contender(
                f"{name}: --executor ray, which starts Ray and ends it",
                [*command, "--executor", "ray"],
            ),
        ]
        rows += _against(contenders, settings, {})
    return Table(
        f"sweeps on {settings.threads} core(s), whole commands",
        "s",
        "against worker processes",
        rows,
        "on the same cores; the cluster is one node",
    )


def ray_intake(settings: Settings) -> Table:
    """How many runs a second the driver takes in from nodes that have nothing to train."""
    _check_ray()
    runs, nodes = settings.size(quick=40, usual=4000, full=10_000), 2
    packs = settings.size(quick=2, usual=40, full=100)
    command = probe("ray_packs", nodes, packs, runs // packs, 0)
    reports = [execute(command, settings).report for _ in range(settings.repeats)]

    def row(name: str, key: str, must: str = "") -> Row:
        return Row(name, [runs / float(report[key]) for report in reports], must=must)

    return Table(
        f"finished runs that a driver takes in, {runs:,} runs with all their files",
        "runs a second",
        "",
        [
            row("from the first parcel to the last", "intake", "≥ 300"),
            row("of a second in which the driver's process computes", "cpu"),
            row("of the whole sweep, with its plan and its summary", "seconds"),
        ],
        f"sent by {nodes} nodes on the same {settings.threads} core(s), which send stored files",
    )


def ray_scaling(settings: Settings) -> Table:
    """How busy a driver keeps its nodes, whose stacks are sleeps."""
    _check_ray()
    seconds, runs = settings.size(quick=1, usual=5), settings.size(quick=5, usual=25)
    rows = []
    for nodes in (2,) if settings.quick else (2, 4, 8):
        packs = nodes * settings.size(quick=1, usual=12)
        if settings.full:
            packs = 10_000 // runs
        command = probe("ray_packs", nodes, packs, runs, seconds)
        reports = [execute(command, settings).report for _ in range(settings.repeats)]
        ideal = seconds * packs / nodes
        for name, key, must in (
            (f"{nodes} nodes, {packs} stacks, at best {ideal:g} s", "seconds", "≥ 90%"),
            ("from the first stack's start to the end of the last", "intake", ""),
        ):
            taken = [float(report[key]) for report in reports]
            shares = [ideal / each for each in taken]
            rows.append(Row(name, taken, shares, must if nodes == 8 else ""))
    return Table(
        f"sweeps on nodes of one core, stacks that sleep {seconds} s and send {runs} runs",
        "s",
        "nodes are busy",
        rows,
        f"all nodes on the same {settings.threads} core(s); whole sweeps, with plan and summary",
        is_share=True,
    )


def _check_ray() -> None:
    if not find_spec("ray"):
        raise BenchmarkError("Ray is not installed (pip install 'regrun[ray]')")


def _mnist_mlps(members: int, examples: int) -> list[object]:
    """A sweep over so many, 4 seeds of each learning rate, on a part of the data."""
    rates = ",".join(f"{1e-5 * 1.3**k:.4g}" for k in range(members // 4))
    return [
        CONFIGS / "l1_mnist.yaml", f"optimizer.lr={rates}", "--seeds", 4, "penalty=[]",
        f"dataset.num_train={examples}", f"dataset.num_test={examples // 6}", "training.epochs=1",
    ]  # fmt: skip


FIGURES: Mapping[str, Callable[[Settings], Table]] = {
    "sweep-weight-decay": sweep_weight_decay,
    "sweep-mnist": sweep_mnist_adam,
    "sweep-mnist-command": sweep_mnist_command,
    "train-fashion-mnist": train_fashion_mnist,
    "train-weight-decay": train_weight_decay,
    "help": show_help,
    "storing": logging_and_storing,
    "read-table": read_table,
    "train-resnet18": train_resnet18,
    "jax-mnist": jax_mnist,
    "ray-overhead": ray_overhead,
    "ray-intake": ray_intake,
    "ray-scaling": ray_scaling,
    "gpu-mlp": gpu_mlp,
    "gpu-dropout": gpu_dropout,
    "gpu-cnn": gpu_cnn,
    "gpu-resnet18": gpu_resnet18,
    "gpu-command": gpu_command,
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
