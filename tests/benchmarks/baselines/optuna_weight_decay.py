"""The weight_decay experiment as trials of an Optuna study, storage in memory.

Usage: python optuna_weight_decay.py RUNS
"""

from __future__ import annotations

import json
import sys
import time

import optuna
from plain_weight_decay import WEIGHT_DECAYS, train


def objective(trial: optuna.Trial) -> float:
    """The test loss of one run."""
    weight_decay = trial.suggest_categorical("weight_decay", WEIGHT_DECAYS)
    seed = trial.suggest_int("seed", 0, 10_000)
    return train(weight_decay, seed, lambda epoch, _, test_loss: trial.report(test_loss, epoch))


def main() -> None:
    """Run the study and say how long a trial took, the first left out."""
    runs = int(sys.argv[1])
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    finished: list[float] = []
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(
        objective, n_trials=runs, callbacks=[lambda *_: finished.append(time.perf_counter())]
    )
    each = (finished[-1] - finished[0]) / (runs - 1)
    print(json.dumps({"runs": runs, "seconds_per_run": each}))


if __name__ == "__main__":
    main()
