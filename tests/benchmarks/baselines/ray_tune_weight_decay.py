"""The weight_decay experiment as a Ray Tune grid, one core a trial, on as many cores as given.

Usage: python ray_tune_weight_decay.py RUNS
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import ray
from plain_weight_decay import WEIGHT_DECAYS, train
from ray import tune


def trial(config):
    """One run; every epoch is reported."""

    def report(epoch, train_loss, test_loss):
        tune.report({"epoch": epoch, "train_loss": train_loss, "test_loss": test_loss})

    train(config["weight_decay"], config["seed"], report)


def main():
    """Run the trials and say how long one took, the first left out."""
    runs = int(sys.argv[1])
    ray.init(
        num_cpus=len(os.sched_getaffinity(0)),
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env={"env_vars": {"PYTHONPATH": str(Path(__file__).parent)}},
    )
    space = {
        "weight_decay": tune.sample_from(lambda spec: WEIGHT_DECAYS[spec.config["seed"] % 7]),
        "seed": tune.grid_search(list(range(runs))),
    }
    tuner = tune.Tuner(
        tune.with_resources(trial, {"cpu": 1}),
        param_space=space,
        run_config=tune.RunConfig(storage_path=str(Path.cwd() / "runs"), verbose=0),
    )
    results = tuner.fit()
    finished = sorted(result.metrics["timestamp"] for result in results)
    ray.shutdown()
    each = (finished[-1] - finished[0]) / (runs - 1)
    print(json.dumps({"runs": runs, "seconds_per_run": each}))


if __name__ == "__main__":
    main()
