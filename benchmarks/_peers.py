"""The Python of peers that need old packages, and running what prints JSON in a process of its own."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PEERS = ROOT / "benchmarks/peers/.venv"
"""The environment that `make benchmark-peers` makes."""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def installed(peers: Path = PEERS) -> bool:
    """Return whether the peers' environment is whole; print how to make it where it isn't."""
    there = (peers / "installed").exists()
    if not there:
        print(f"no peers in {peers}: `make benchmark-peers` installs them; then this run compares with them")
    return there


def in_child(*command: str) -> Any:
    """Run what prints JSON in a process of its own that computes in one thread."""
    alone = dict.fromkeys(THREADS, "1")
    answer = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **alone})
    if answer.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {answer.stderr}")
    return json.loads(answer.stdout.splitlines()[-1])
