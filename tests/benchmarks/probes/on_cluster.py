"""How long a command takes that finds a Ray cluster, whose own start is left out.

    python -m tests.benchmarks.probes.on_cluster CORES regrun sweep CONFIG …

The cluster is one node of so many cores on this machine. The command gets the options that use it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

from tests.benchmarks.probes.ray_packs import cluster_of


def main() -> None:
    """Start the cluster, time the command, and say how long it took."""
    cores, *command = sys.argv[1:]
    with cluster_of([int(cores)]) as address:
        started = time.perf_counter()
        done = subprocess.run([*command, "--executor", "ray", "--ray-address", address])
        seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(done.returncode)
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main()
