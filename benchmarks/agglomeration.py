"""Time and peak memory of a sweep over 50 thresholds: region graph, merge tree and its cuts, beside waterz.

    python -m benchmarks.agglomeration --fragments 100000
    python -m benchmarks.agglomeration --fragments 1000000 --functions mean

Fragments are the cells of a warped grid, 100 voxels each, affinities smooth noise of uint8, which waterz takes as
float32 only. Every way runs in a process of its own, which first does the same with a hundred fragments, so that all is
compiled and loaded, then reads its inputs, and then is timed.

`peak` is the most memory the process ever held, all in all. `above` is how far that is above its peak after the hundred
fragments and the bytes of its inputs: 8 per voxel for fragments, beside them 3 for affinities of uint8, or 12 of
float32. So `above` counts the graph, the queue and whatever else a way needs besides; `times`, `peaks` and `aboves`
are ratios to sparse2dense. sparse2dense makes a look-up table per threshold, which is all that scores need; waterz
can't but write a segmentation per threshold, so that it is shown with a single one too. Nothing else may be faster than
sparse2dense, nor hold less than twice as much above its inputs.

A million fragments are 100 Mvoxel: some 4 GB while they are made, 2 GB of inputs for waterz.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import waterz
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from sparse2dense.ops.affinities import NEAREST_3D
from sparse2dense.ops.agglomeration import merge_tree
from sparse2dense.ops.graph import region_graph
from sparse2dense.volumes.provenance import peak_memory_mb

VOXELS = 100
"""Of a fragment, on average."""
THRESHOLDS = [number / 100 for number in range(2, 102, 2)]
TIMES, ABOVES = 1.0, 2.0
"""Ratios that waterz with all thresholds must reach."""
WATERZ = {
    "mean": "OneMinus<MeanAffinity<RegionGraphType, ScoreValue>>",
    "hist_quant_50": "OneMinus<HistogramQuantileAffinity<RegionGraphType, 50, ScoreValue, 256, false>>",
}


def write_volumes(folder: Path, fragments: int) -> tuple[int, int]:
    """Write affinities and about so many fragments into a folder; return the number of voxels and of fragments."""
    side = round((fragments * VOXELS) ** (1 / 3))
    rng = np.random.default_rng(0)

    def noise(sigma: float) -> NDArray[np.float32]:
        values = gaussian_filter(rng.standard_normal((side,) * 3, np.float32), sigma)
        return np.asarray(values / values.std())

    cell = VOXELS ** (1 / 3)
    count = round(side / cell)
    labels = np.zeros((side,) * 3, np.uint64)
    for axis in range(3):
        place = np.arange(side).reshape([-1 if other == axis else 1 for other in range(3)])
        labels = labels * count + np.clip((place + 0.3 * cell * noise(2)) // cell, 0, count - 1).astype(np.uint64)
    np.save(folder / "fragments.npy", labels + 1)
    affinities = np.stack([np.clip(140 + 50 * noise(1.5), 0, 255).astype(np.uint8) for _ in range(3)])
    np.save(folder / "affinities.npy", affinities)
    return labels.size, len(np.unique(labels))


def tree_inputs(folder: Path) -> tuple[NDArray, NDArray]:
    """Return fragments and affinities for sparse2dense."""
    return np.load(folder / "fragments.npy"), np.load(folder / "affinities.npy")


def waterz_inputs(folder: Path) -> tuple[NDArray, NDArray]:
    """Return fragments and affinities for waterz, converted without a second array as large."""
    levels = np.load(folder / "affinities.npy", mmap_mode="r")
    affinities = np.empty(levels.shape, np.float32)
    for section in range(levels.shape[1]):
        np.divide(levels[:, section], np.float32(255), out=affinities[:, section])
    return np.load(folder / "fragments.npy"), affinities


def by_tree(fragments: NDArray, affinities: NDArray, function: str) -> None:
    """Cut one tree at every threshold."""
    tree = merge_tree(region_graph(fragments, affinities, offsets=NEAREST_3D, histogram=function != "mean"), function)
    for threshold in THRESHOLDS:
        tree.cut(threshold)


def by_waterz(fragments: NDArray, affinities: NDArray, function: str, thresholds: Sequence[float] = THRESHOLDS) -> None:
    """Let waterz merge on from threshold to threshold."""
    for _ in waterz.agglomerate(affinities, thresholds, fragments=fragments, scoring_function=WATERZ[function]):
        pass


def by_waterz_once(fragments: NDArray, affinities: NDArray, function: str) -> None:
    """Let waterz merge to the last threshold only."""
    by_waterz(fragments, affinities, function, THRESHOLDS[-1:])


WAYS: dict[str, tuple[Callable[[Path], tuple[NDArray, NDArray]], Callable[[NDArray, NDArray, str], None]]] = {
    "sparse2dense": (tree_inputs, by_tree),
    "waterz": (waterz_inputs, by_waterz),
    "waterz once": (waterz_inputs, by_waterz_once),
}


def run(way: str, folder: Path, function: str) -> None:
    """Run one way twice, first with what is small, and print `peak` and `above` in MB, and the seconds it took."""
    inputs_of, sweep = WAYS[way]
    sweep(*inputs_of(folder / "small"), function)
    before = peak_memory_mb()
    inputs = inputs_of(folder)
    start = time.perf_counter()
    sweep(*inputs, function)
    seconds, peak = time.perf_counter() - start, peak_memory_mb()
    # not where waterz reports its steps
    print(peak, peak - before - sum(array.nbytes for array in inputs) / 1e6, seconds, file=sys.stderr)


def measure(way: str, folder: Path, function: str) -> NDArray[np.float64]:
    """Run one way in a child; return its seconds, and `peak` and `above` in MB."""
    command = [sys.executable, "-m", "benchmarks.agglomeration", "--child", way, "--functions", function]
    root = Path(__file__).parents[1]
    answer = subprocess.run([*command, "--folder", folder], capture_output=True, text=True, check=True, cwd=root).stderr
    peak, above, seconds = map(float, answer.split()[-3:])
    return np.array([seconds, peak, above])


def main(argv: Sequence[str] | None = None) -> None:
    """Print a line per merge function and way; exit status 1 when waterz is faster, or not twice as large."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fragments", type=int, default=100_000)
    parser.add_argument("--functions", nargs="+", default=list(WATERZ), choices=WATERZ)
    parser.add_argument("--child", choices=WAYS)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args(argv)
    if options.child:
        run(options.child, options.folder, options.functions[0])
        return
    kept = True
    names = ("seconds", "peak MB", "above MB", "times", "peaks", "aboves")
    print(f"{'merge function':15} {'way':13}", *(f"{name:>8}" for name in names))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "small").mkdir()
        write_volumes(folder / "small", 100)
        voxels, count = write_volumes(folder, options.fragments)
        for function in options.functions:
            by_tree(*tree_inputs(folder / "small"), function)  # compiles, so that no child has to
            ours = measure("sparse2dense", folder, function)
            for way in WAYS:
                found = ours if way == "sparse2dense" else measure(way, folder, function)
                columns = [f"{found[0]:8.2f}", *(f"{value:8.0f}" for value in found[1:])]
                print(f"{function:15} {way:13}", *columns, *(f"{ratio:8.2f}" for ratio in found / ours), flush=True)
                kept &= way != "waterz" or bool(found[0] >= TIMES * ours[0] and found[2] >= ABOVES * ours[2])
    print(f"{count} fragments, {voxels / 1e6:.1f} Mvoxel, {len(THRESHOLDS)} thresholds")
    print(f"{'within' if kept else 'NOT within'} the time of waterz and half its memory above the inputs")
    sys.exit(not kept)


if __name__ == "__main__":
    main()
