r"""Milliseconds that regrun's engine takes for a step of stacks of a network, in process.

    python -m tests.benchmarks.probes.network_steps mlp 1/1,256/256 300 --device cuda

The networks, batches and optimizers of `baselines/hand_written.py`, on random data as there.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from typing import Any

import torch

from regrun.config.schema import Config
from regrun.data.dataset import Dataset, Split
from regrun.execution.budget import estimate
from regrun.execution.computing import computing
from regrun.training.engine import Engine
from tests.benchmarks.probes.engine_steps import take

WARM_UP = 20
MOMENTUM = {"name": "sgd", "lr": 0.01, "momentum": 0.9}
NETWORKS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "mlp": ({"name": "mlp", "hidden": [64, 32]}, {"name": "adam", "lr": 1e-4}),
    "cnn": ({"name": "cnn", "channels": [32, 64], "hidden": [128]}, MOMENTUM),
    "resnet18": ({"name": "resnet18"}, MOMENTUM),
}
PRECISIONS = {
    "fp32": {"precision": "float32"},
    "tf32": {"precision": "float32", "matmul": "high"},
    "bf16": {"precision": "bfloat16"},
}


def main() -> None:
    """Measure the shapes that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("shapes", help="members/seeds, with commas")
    parser.add_argument("steps", type=int)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--examples", type=int, default=50_000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--compile", choices=["auto", "never", "always"], default="auto")
    options = parser.parse_args()
    torch.backends.cudnn.allow_tf32 = options.precision != "fp32"  # which no key of a config does
    found, notes = {}, set()
    for shape in options.shapes.split(","):
        members, _, seeds = shape.partition("/")
        found[shape], note = _measure(options, int(members), int(seeds))
        notes |= {note} - {""}
    cuda = options.device == "cuda"
    name = torch.cuda.get_device_name() if cuda else platform.machine()
    print(json.dumps({"device": name, "milliseconds": found, "notes": sorted(notes)}))


def _measure(options: argparse.Namespace, members: int, seeds: int) -> tuple[float, str]:
    """Milliseconds of a step, and why steps were not compiled, or not replayed on a GPU."""
    device = torch.device(options.device)
    configs = [_config(options, k, seeds) for k in range(members)]
    dataset = _random_data(options).to(device, torch.float32)
    budget = estimate(configs, dataset, device, allow_large=True)
    with computing(configs[0].training, budget, members):
        engine = Engine(configs, dataset, device)
        events = engine.run()
        take(events, WARM_UP, device)
        started = time.perf_counter()
        take(events, options.steps, device)
        seconds = time.perf_counter() - started
    return 1000 * seconds / options.steps, engine.not_replayed or engine.not_compiled


def _config(options: argparse.Namespace, member: int, seeds: int) -> Config:
    model, optimizer = NETWORKS[options.network]
    mlp = options.network == "mlp"
    if options.dropout:
        model = {**model, "dropout": options.dropout}
    batch = 10 if mlp else options.batch
    training = {"batch_size": batch, "epochs": 100, "compile": options.compile}
    return Config.model_validate(
        {
            "dataset": {"name": "mnist" if mlp else "cifar10"},
            "model": model,
            "optimizer": {**optimizer, "lr": optimizer["lr"] * 1.001 ** (member // seeds)},
            "training": {**training, **PRECISIONS[options.precision]},
            "seed": member % seeds,
        }
    )


def _random_data(options: argparse.Namespace) -> Dataset:
    shape = (1, 28, 28) if options.network == "mlp" else (3, 32, 32)

    def split(count: int) -> Split:
        images = torch.randint(0, 256, (count, *shape), dtype=torch.uint8)
        return Split(images, torch.arange(count) % 10)

    train, test = split(options.examples), split(10)
    return Dataset("random", "classification", train, None, test, shape, 10)


if __name__ == "__main__":
    main()
