"""Time of the steps of a training sample of a 2D-to-3D net.

Run with one thread for figures per core: `OMP_NUM_THREADS=1 python -m benchmarks.targets`.
"""

import argparse
import time
from collections.abc import Callable, Sequence

import numpy as np

from sparse2dense.ops.affinities import affinities, axis_offsets
from sparse2dense.ops.balance import balance_weights
from sparse2dense.ops.boundaries import grow_boundary
from sparse2dense.ops.corruption import corrupt, degrade
from sparse2dense.ops.descriptors import section_descriptors
from sparse2dense.ops.synthetic import synthetic_labels

SAMPLE = (24, 148, 148)
"""Input of a 2D-to-3D net in Bootstrapper, which needs 1.0 to 1.2 s to make one."""


def main(argv: Sequence[str] | None = None) -> None:
    """Print a line of seconds per step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20, help="the mean of so many runs is shown")
    arguments = parser.parse_args(argv)
    time_samples(arguments.repeats)


def time_samples(repeats: int) -> None:
    """Time the steps of a training sample of a 2D-to-3D net."""
    rng = np.random.default_rng(0)
    labels = synthetic_labels(SAMPLE, rng)
    in_plane = [offset for offset in axis_offsets((1, 1, 1), (9, 9, 9), (27, 27, 27)) if offset[0] == 0]
    offsets = axis_offsets((1, 1, 1), (2, 9, 9), (3, 27, 27))
    channels = np.concatenate([section_descriptors(labels, 10, 2), affinities(labels, in_plane).astype(np.float32)])
    target = affinities(labels, offsets)
    steps: dict[str, Callable[[], object]] = {
        "synthetic labels, tubes": lambda: synthetic_labels(SAMPLE, rng, "tubes"),
        "synthetic labels, tessellation": lambda: synthetic_labels(SAMPLE, rng, "tessellation"),
        "synthetic labels, points": lambda: synthetic_labels(SAMPLE, rng, "points"),
        "corrupted labels": lambda: corrupt(labels, rng),
        "boundary of one voxel": lambda: grow_boundary(labels, 1, only_xy=True),
        "descriptors of sections": lambda: section_descriptors(labels, 10),
        "descriptors of sections, downsample 2": lambda: section_descriptors(labels, 10, 2),
        f"affinities, {len(offsets)} offsets": lambda: affinities(labels, offsets),
        "balanced weights": lambda: balance_weights(target, np.ones_like(target)),
        f"degraded input, {len(channels)} channels": lambda: degrade(channels, rng, range(6, len(channels))),
    }
    for name, step in steps.items():
        step()
        start = time.perf_counter()
        for _ in range(repeats):
            step()
        print(f"{name + ', ' + 'x'.join(map(str, SAMPLE)):<58} {(time.perf_counter() - start) / repeats:9.4f} s")


if __name__ == "__main__":
    main()
