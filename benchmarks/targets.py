"""Time of training targets: descriptors against a recipe of SciPy filters object by object, and synthetic samples.

Run with one thread for figures per core: `OMP_NUM_THREADS=1 python benchmarks/targets.py`.
"""

import argparse
import itertools
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from sparse2dense.ops.affinities import affinities, axis_offsets
from sparse2dense.ops.balance import balance_weights
from sparse2dense.ops.boundaries import grow_boundary
from sparse2dense.ops.corruption import corrupt, degrade
from sparse2dense.ops.descriptors import local_shape_descriptors, section_descriptors
from sparse2dense.ops.synthetic import synthetic_labels

SAMPLE = (24, 148, 148)
"""Input of a 2D-to-3D net in Bootstrapper, which needs 1.0 to 1.2 s to make one."""


def main(argv: Sequence[str] | None = None) -> None:
    """Print a table of seconds, and of ratios where there is a peer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="the fastest of so many runs is shown")
    parser.add_argument(
        "--peer-objects", type=int, default=8, help="objects the peer is timed on; each costs it the same"
    )
    arguments = parser.parse_args(argv)
    for shape, count in (((250, 250), 166), ((64, 156, 156), 89)):
        compare_descriptors(shape, count, arguments.repeats, arguments.peer_objects)
    time_samples(arguments.repeats)


def compare_descriptors(shape: tuple[int, ...], count: int, repeats: int, peer_objects: int) -> None:
    """Time our descriptors of `count` cells, sigma 10, and the recipe's, and show the largest difference."""
    labels = cells(shape, count)
    chosen = list(range(1, min(peer_objects, count) + 1))
    for downsample in (1, 2):
        ours = fastest(partial(local_shape_descriptors, labels, 10, downsample=downsample), repeats)
        start = time.perf_counter()
        expected = by_objects(labels, 10, downsample, chosen)
        peer = (time.perf_counter() - start) * count / len(chosen)
        found = local_shape_descriptors(labels, 10, downsample=downsample)
        difference = np.abs(found - expected)[:, np.isin(labels, chosen)].max()
        name = f"descriptors {'x'.join(map(str, shape))}, {count} objects, downsample {downsample}"
        print(f"{name:<58} {ours:9.4f} s   recipe {peer:8.2f} s   ratio {peer / ours:6.0f}   apart {difference:.1e}")


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
        for _ in range(4 * repeats):
            step()
        print(f"{name + ', ' + 'x'.join(map(str, SAMPLE)):<58} {(time.perf_counter() - start) / 4 / repeats:9.4f} s")


def cells(shape: tuple[int, ...], count: int) -> NDArray[np.uint32]:
    """Voronoi cells of random points, labelled from 1."""
    points = np.random.default_rng(0).random((count, len(shape))) * shape
    _, nearest = cKDTree(points).query(np.indices(shape).reshape(len(shape), -1).T)
    return np.asarray(nearest).reshape(shape).astype(np.uint32) + 1


def fastest(work: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest of `repeats` runs, after one that compiles."""
    work()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def by_objects(labels: NDArray[np.uint32], sigma: float, step: int, chosen: list[int]) -> NDArray[np.float32]:
    """Descriptors of the chosen objects, each filtered for itself over the whole volume, as lsds 0.1.3 does."""
    ndim = labels.ndim
    sampled = labels[(slice(None, None, step),) * ndim]
    position = [axis.astype(np.float32) * step for axis in np.indices(sampled.shape)]
    pairs = list(itertools.combinations(range(ndim), 2))
    out = np.zeros((2 * ndim + len(pairs) + 1, *labels.shape), np.float32)

    def window(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return gaussian_filter(values, sigma / step, mode="constant", cval=0.0, truncate=3.0)

    for label in chosen:
        inside = (sampled == label).astype(np.float32)
        size = window(inside)
        weight = np.where(size == 0, 1, size)
        mean = [window(position[d] * inside) / weight for d in range(ndim)]

        def moment(d: int, e: int, of: NDArray = inside, mean: list = mean, weight: NDArray = weight) -> NDArray:
            return window(position[d] * position[e] * of) / weight - mean[d] * mean[e]

        variance = [np.maximum(moment(d, d), 1e-3) for d in range(ndim)]
        values = [(mean[d] - position[d]) / sigma * 0.5 + 0.5 for d in range(ndim)]
        values += [v / sigma**2 for v in variance]
        values += [moment(d, e) / np.sqrt(variance[d] * variance[e]) * 0.5 + 0.5 for d, e in pairs]
        whole = np.clip(np.stack([*values, size]), 0, 1)
        for axis in range(1, ndim + 1):
            whole = np.repeat(whole, step, axis)
        of_label = labels == label
        out[:, of_label] = whole[(slice(None), *map(slice, labels.shape))][:, of_label]
    return out


if __name__ == "__main__":
    main()
