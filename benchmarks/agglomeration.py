"""Time and peak memory of a sweep over 50 thresholds: region graph, merge tree and its cuts, beside waterz.

    python -m benchmarks.agglomeration --fragments 100000

Fragments are the cells of a warped grid, 100 voxels each, affinities smooth noise of uint8, which waterz takes as
float32 only. Every way runs in a process of its own, which reads both; its peak is counted above that after the same
with a hundred fragments, when all is compiled and loaded. sparse2dense makes a look-up table per threshold, which is
all that scores need; waterz can't but write a segmentation per threshold, so that it is shown with a single one too.
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


def by_tree(folder: Path, function: str) -> None:
    """Cut one tree at every threshold."""
    fragments, affinities = np.load(folder / "fragments.npy"), np.load(folder / "affinities.npy")
    graph = region_graph(fragments, affinities, offsets=NEAREST_3D, histogram=function != "mean")
    tree = merge_tree(graph, function)
    for threshold in THRESHOLDS:
        tree.cut(threshold)


def by_waterz(folder: Path, function: str, thresholds: Sequence[float] = THRESHOLDS) -> None:
    """Let waterz merge on from threshold to threshold."""
    fragments = np.load(folder / "fragments.npy")
    affinities = np.load(folder / "affinities.npy").astype(np.float32)
    affinities /= 255
    for _ in waterz.agglomerate(affinities, thresholds, fragments=fragments, scoring_function=WATERZ[function]):
        pass


def by_waterz_once(folder: Path, function: str) -> None:
    """Let waterz merge to the last threshold only."""
    by_waterz(folder, function, THRESHOLDS[-1:])


WAYS: dict[str, Callable[[Path, str], None]] = {
    "sparse2dense": by_tree,
    "waterz": by_waterz,
    "waterz once": by_waterz_once,
}


def run(way: str, folder: Path, function: str) -> None:
    """Run one way twice, first with what is small, and print the memory it took in MB, and its seconds."""
    WAYS[way](folder / "small", function)
    before, start = peak_memory_mb(), time.perf_counter()
    WAYS[way](folder, function)
    # not where waterz reports its steps
    print(peak_memory_mb() - before, time.perf_counter() - start, file=sys.stderr)


def measure(way: str, folder: Path, function: str) -> tuple[float, float]:
    """Run one way in a child; return the memory it took in MB, and its seconds."""
    command = [sys.executable, "-m", "benchmarks.agglomeration", "--child", way, "--functions", function]
    root = Path(__file__).parents[1]
    answer = subprocess.run([*command, "--folder", folder], capture_output=True, text=True, check=True, cwd=root).stderr
    memory, seconds = answer.split()[-2:]
    return float(memory), float(seconds)


def main(argv: Sequence[str] | None = None) -> None:
    """Print a line per merge function and way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fragments", type=int, default=100_000)
    parser.add_argument("--functions", nargs="+", default=list(WATERZ), choices=WATERZ)
    parser.add_argument("--child", choices=WAYS)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args(argv)
    if options.child:
        run(options.child, options.folder, options.functions[0])
        return
    print(f"{'merge function':15} {'way':13} {'seconds':>8} {'MB':>8} {'times':>6} {'memory':>7}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "small").mkdir()
        write_volumes(folder / "small", 100)
        voxels, count = write_volumes(folder, options.fragments)
        for function in options.functions:
            by_tree(folder / "small", function)  # compiles, so that no child has to
            ours, ours_seconds = measure("sparse2dense", folder, function)
            for way in WAYS:
                memory, seconds = (ours, ours_seconds) if way == "sparse2dense" else measure(way, folder, function)
                ratios = f"{seconds / ours_seconds:6.1f} {memory / ours:7.1f}"
                print(f"{function:15} {way:13} {seconds:8.2f} {memory:8.0f} {ratios}", flush=True)
    print(f"{count} fragments, {voxels / 1e6:.1f} Mvoxel, {len(THRESHOLDS)} thresholds")


if __name__ == "__main__":
    main()
