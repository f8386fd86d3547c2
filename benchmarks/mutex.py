"""Speed and peak memory of the mutex watershed, beside mwatershed on the same affinities.

    python -m benchmarks.mutex --sides 250 250 250

Blurred noisy affinities of cells, as bytes: three nearest neighbours at every voxel, six farther ones on a grid. Every
run is a process of its own that reads the affinities, and first segments a corner of them, so that all is compiled and
loaded; its peak is counted above that of one that only reads them.
mwatershed comes with the extra `mutex`; it takes 64-bit floats, whose conversion isn't timed.
"""

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from sparse2dense.ops.affinities import affinities, axis_offsets
from sparse2dense.ops.mutex import mutex_watershed
from sparse2dense.ops.overlaps import overlaps
from sparse2dense.ops.scores import score
from sparse2dense.volumes.provenance import peak_memory_mb

OFFSETS = axis_offsets((1, 1, 1), (2, 3, 3), (3, 9, 9))
BIASES = [-0.4] * 3 + [-0.7] * 6
STRIDES = [(1, 1, 1)] * 3 + [(2, 2, 2)] * 6
CELL = 25  # mean side of a cell, in voxels
SPEED, MEMORY = 3.0, 0.5  # shares of the peer's that ours must reach, and stay below


def cells(shape: Sequence[int]) -> NDArray[np.uint32]:
    """Voronoi cells of random points, labelled from 1."""
    rng = np.random.default_rng(0)
    tree = cKDTree(rng.random((max(int(np.prod(shape)) // CELL**3, 2), 3)) * shape)
    plane = np.indices(shape[1:]).reshape(2, -1).T
    sections = [tree.query(np.insert(plane, 0, z, axis=1))[1].reshape(shape[1:]) for z in range(shape[0])]
    return np.stack(sections).astype(np.uint32) + 1


def noisy_bytes(labels: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Affinities of `labels` as a net might predict them: blurred, and with noise that is alike nearby."""
    rng = np.random.default_rng(1)
    predicted = affinities(labels, OFFSETS)
    for channel in predicted:
        noise = gaussian_filter(rng.normal(size=channel.shape).astype(np.float32), 1)
        smooth = gaussian_filter(channel.astype(np.float32), 0.8) + 0.1 * noise / noise.std()
        channel[:] = np.clip(smooth * 255, 0, 255)
    return predicted


def ours(values: NDArray[np.uint8]) -> Callable[[], NDArray[np.uint64]]:
    """Compile, and return what is to be timed."""
    mutex_watershed(values[:, :4, :4, :4], OFFSETS, biases=BIASES, strides=STRIDES)
    return lambda: mutex_watershed(values, OFFSETS, biases=BIASES, strides=STRIDES)


def peer(values: NDArray[np.uint8]) -> Callable[[], NDArray[np.uint64]]:
    """Convert, and return what is to be timed."""
    import mwatershed

    scores = values / 255.0
    scores += np.reshape(BIASES, (-1, 1, 1, 1))
    return lambda: mwatershed.agglom(scores, OFFSETS, strides=STRIDES)


def nothing(values: NDArray[np.uint8]) -> Callable[[], NDArray[np.uint64]]:
    """Segment nothing."""
    return lambda: np.zeros(values.shape[1:], np.uint64)


WAYS: dict[str, Callable[[NDArray[np.uint8]], Callable[[], NDArray[np.uint64]]]] = {
    "nothing": nothing,
    "sparse2dense": ours,
    "mwatershed": peer,
}


def run(way: str, folder: Path) -> None:
    """Segment, save the result, print seconds and peak memory in MB."""
    values = np.load(folder / "affinities.npy")
    WAYS[way](values[:, :16, :16, :16])()
    work = WAYS[way](values)
    start = time.perf_counter()
    labels = work()
    seconds = time.perf_counter() - start
    print(seconds, peak_memory_mb())
    np.save(folder / f"{way}.npy", labels)


def measure(way: str, folder: Path) -> tuple[float, float]:
    """Run one way in a child; return its seconds and its peak memory in MB."""
    command = [sys.executable, __file__, "--child", way, "--folder", str(folder)]
    seconds, peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-2:]
    return float(seconds), float(peak)


def main(argv: Sequence[str] | None = None) -> None:
    """Print one line per way; exit status 1 when ours isn't as fast or lean as it shall be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs=3, default=(128, 128, 128), help="z, y, x in voxels")
    parser.add_argument("--child", choices=WAYS)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args(argv)
    if options.child:
        run(options.child, options.folder)
        return
    peers = ["mwatershed"] if importlib.util.find_spec("mwatershed") else []
    figures = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        labels = cells(options.sides)
        np.save(folder / "affinities.npy", noisy_bytes(labels))
        _, base = measure("nothing", folder)
        print(f"{'way':14} {'Mvoxel/s':>9} {'MB above the input':>19} {'fragments':>10} {'VOI split + merge':>18}")
        for way in ("sparse2dense", *peers):
            seconds, peak = measure(way, folder)
            figures[way] = (seconds, peak - base)
            found = np.load(folder / f"{way}.npy")
            voi = score(overlaps(labels, found))
            print(
                f"{way:14} {labels.size / 1e6 / seconds:9.2f} {peak - base:19.0f} {len(np.unique(found)) - 1:10} "
                f"{voi['voi_split']:9.3f} + {voi['voi_merge']:6.3f}"
            )
    if not peers:
        print("mwatershed isn't installed: pip install 'sparse2dense[mutex]'")
        return
    speed = figures["mwatershed"][0] / figures["sparse2dense"][0]
    memory = figures["sparse2dense"][1] / figures["mwatershed"][1]
    print(f"{speed:.1f} times the speed in {memory:.0%} of the memory")
    sys.exit(speed < SPEED or memory > MEMORY)


if __name__ == "__main__":
    main()
