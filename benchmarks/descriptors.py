"""Time of local shape descriptors beside lsds 0.1.3, each in one process with one thread, on the same labels.

    make benchmark-peers; python -m benchmarks.descriptors

lsds needs old packages, so the Python of `make benchmark-peers` runs it; without that, only our seconds are shown. It
filters every object over the whole array, so its time grows with their number, ours hardly. Ours are the fastest of
some runs after one that compiles; lsds runs once. `apart` is the largest difference of a descriptor.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks._cells import cells
from benchmarks._peers import PEERS, in_child, installed
from sparse2dense.ops.descriptors import local_shape_descriptors

CASES = (((250, 250), 166), ((64, 156, 156), 89))
"""Shape, and number of objects."""
SIGMA = 10
TIMES_AS_FAST = 20


def main(argv: Sequence[str] | None = None) -> None:
    """Print a line per case; exit status 1 where we aren't `TIMES_AS_FAST` times as fast as lsds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="the fastest of so many runs of ours is shown")
    parser.add_argument("--peers", type=Path, default=PEERS, help="the environment that `make benchmark-peers` makes")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--downsample", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child:
        print(json.dumps(ours(options.child, options.downsample, options.repeats)))
        return
    there, kept = installed(options.peers), True
    for shape, count in CASES:
        for downsample in (1, 2):
            kept &= compare(shape, count, downsample, options.repeats, options.peers if there else None)
    sys.exit(not kept)


def compare(shape: tuple[int, ...], count: int, downsample: int, repeats: int, peers: Path | None) -> bool:
    """Print what one case takes; return False only where the target is missed."""
    name = f"{' x '.join(map(str, shape))}, {count} objects, sigma {SIGMA}, downsample {downsample}"
    with tempfile.TemporaryDirectory() as folder:
        labels, step = Path(folder) / "labels.npy", ("--downsample", str(downsample))
        np.save(labels, cells(shape, count))
        module = ("benchmarks.descriptors", "--child", str(labels), "--repeats", str(repeats), *step)
        seconds = in_child(sys.executable, "-m", *module)
        if peers is None:
            print(f"{name:<60} ours {seconds:8.4f} s")
            return True
        peer = ("benchmarks.peers.descriptors", str(labels), "--sigma", str(SIGMA), *step)
        theirs = in_child(str(peers / "bin/python"), "-E", "-m", *peer)
        found, expected = (np.load(labels.with_name(f"{side}.npy")) for side in ("ours", "theirs"))
    kept = theirs >= TIMES_AS_FAST * seconds
    print(
        f"{name:<60} ours {seconds:8.4f} s   lsds {theirs:7.2f} s   {theirs / seconds:6.0f} times as fast, "
        f"{'at least' if kept else 'NOT'} {TIMES_AS_FAST}   apart {np.abs(found - expected).max():.1e}",
        flush=True,
    )
    return bool(kept)


def ours(labels: Path, downsample: int, repeats: int) -> float:
    """Save the descriptors beside the labels, and return the seconds of the fastest run."""
    values, seconds = np.load(labels), []
    np.save(labels.with_name("ours.npy"), local_shape_descriptors(values, SIGMA, downsample=downsample))
    for _ in range(repeats):
        start = time.perf_counter()
        local_shape_descriptors(values, SIGMA, downsample=downsample)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


if __name__ == "__main__":
    main()
