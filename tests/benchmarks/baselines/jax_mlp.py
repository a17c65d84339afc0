"""The strongest peer: MLPs (784-64-32-10, batches of 10, Adam) with jax.vmap over K members and
jax.lax.scan over the steps, all of it compiled.

    python jax_mlp.py 1/1,256/256 500 --device cuda

Random data in MNIST's shapes; members with one seed see the same examples. Prints a line of JSON:
the device, and the milliseconds of a step of all members of each shape.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import Any

SIZES, BATCH = [784, 64, 32, 10], 10


def milliseconds(members: int, seeds: int, steps: int, dropout: float, examples: int) -> float:
    """The mean time of a step of all members, compiled before."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.integers(0, 256, (examples, SIZES[0]), dtype=np.uint8))
    y = jnp.asarray(rng.integers(0, 10, (examples,)))

    def init(key: Any) -> Any:
        keys = jax.random.split(key, 3)
        layers = zip(keys, SIZES[:-1], SIZES[1:], strict=True)
        return [(jax.random.normal(k, (i, o)) / i**0.5, jnp.zeros(o)) for k, i, o in layers]

    def loss(parameters: Any, h: Any, targets: Any, key: Any) -> Any:
        for number, (weight, bias) in enumerate(parameters):
            h = h @ weight + bias
            if number < 2:
                h = jax.nn.relu(h)
                if dropout:
                    kept = jax.random.bernoulli(
                        jax.random.fold_in(key, number), 1 - dropout, h.shape
                    )
                    h = jnp.where(kept, h / (1 - dropout), 0.0)
        scores = jax.nn.log_softmax(h)
        return -jnp.take_along_axis(scores, targets[:, None], 1).mean()

    def step(state: Any, lr: Any, key: Any, index: Any, time: Any) -> Any:
        parameters, means, squares = state
        inputs = x[index].astype(jnp.float32) / 255
        g = jax.grad(loss)(parameters, inputs, y[index], jax.random.fold_in(key, time))
        means = jax.tree.map(lambda m, d: m + 0.1 * (d - m), means, g)
        squares = jax.tree.map(lambda v, d: v + 0.001 * (d * d - v), squares, g)
        first, second = 1 - 0.9**time, jnp.sqrt(1 - 0.999**time)
        rate, eps = lr * second / first, 1e-8 * second
        moved = jax.tree.map(
            lambda p, m, v: p - rate * m / (jnp.sqrt(v) + eps), parameters, means, squares
        )
        return moved, means, squares

    parameters = jax.vmap(init)(jax.random.split(jax.random.PRNGKey(0), members))
    zeros = jax.tree.map(jnp.zeros_like, parameters)
    lr = jnp.full((members,), 1e-4)
    orders = [jax.random.permutation(jax.random.PRNGKey(i), examples) for i in range(seeds)]
    order = jnp.repeat(jnp.stack(orders), members // seeds, 0)
    keys = jnp.repeat(jax.random.split(jax.random.PRNGKey(1), seeds), members // seeds, 0)
    every = jax.vmap(step, in_axes=(0, 0, 0, 0, None))
    batches = examples // BATCH

    @jax.jit
    def run(state: Any) -> Any:
        def body(state: Any, number: Any) -> Any:
            start = number % batches * BATCH
            index = jax.lax.dynamic_slice_in_dim(order, start, BATCH, 1)
            return every(state, lr, keys, index, number + 1.0), None

        return jax.lax.scan(body, state, jnp.arange(steps))[0]

    state = parameters, zeros, zeros
    jax.block_until_ready(run(state))
    started = time.perf_counter()
    jax.block_until_ready(run(state))
    return 1000 * (time.perf_counter() - started) / steps


def main() -> None:
    """Measure the shapes that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shapes")
    parser.add_argument("steps", type=int)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--examples", type=int, default=50_000)
    options = parser.parse_args()
    os.environ["JAX_PLATFORMS"] = options.device  # before jax is imported
    if os.environ.get("OMP_NUM_THREADS") == "1":
        one = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        os.environ.setdefault("XLA_FLAGS", one)
    import jax

    found = {}
    for shape in options.shapes.split(","):
        members, _, seeds = shape.partition("/")
        found[shape] = milliseconds(
            int(members), int(seeds), options.steps, options.dropout, options.examples
        )
    print(json.dumps({"device": str(jax.devices()[0].device_kind), "milliseconds": found}))


if __name__ == "__main__":
    main()
