"""Time and peak memory of the whole way from affinities to a scored segmentation, on a large generated volume.

    python -m benchmarks.gigavoxel --side 1024
    python -m benchmarks.gigavoxel --side 512 --double

Affinities and truth are generated block by block from a hash of voxel coordinates, so no process ever holds the
volume. Every stage is the workflow's own and runs in a process of its own with two workers; `MB main` is the peak of
that process, which puts the blocks' results together, `MB worker` that of the largest worker. It fails when the process
and both workers of a stage together hold more than 6 GB. `--double` repeats all with twice the voxels and fails when
that takes more than 2.1 times as long, or more memory per worker; it says little where the smaller volume has few
blocks, as with sides below 512. `make benchmark` takes a side of 256, which needs a
few minutes at most; a gigavoxel took 8.5 minutes on two cores, and 3.2 GB in the folder of temporary files.
"""

import argparse
import csv
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from sparse2dense.ops.affinities import NEAREST_3D
from sparse2dense.stages.agglomerating import make_graph, make_lut, make_merge_tree, read_graph
from sparse2dense.stages.evaluating import count_overlaps, score_thresholds
from sparse2dense.stages.segmenting import make_fragments, write_segmentation
from sparse2dense.volumes.blockwise import run_blockwise
from sparse2dense.volumes.grid import Block, Box, blocks
from sparse2dense.volumes.provenance import peak_memory_mb
from sparse2dense.volumes.volume import create_volume, open_volume

BRIEFLY = ("--side", "256")
"""What `make benchmark` runs."""
WORKERS = 2
THRESHOLDS = [f"{number / 100:.2f}" for number in range(2, 102, 2)]
MORE_TIME, MORE_MEMORY = 2.1, 1.1
MEMORY_MB = 6000
"""Of a stage and its workers together."""
VOXEL_SIZE = (8.0, 8.0, 8.0)

CELL = 20.0
"""Voxels between the seeds of the fine tessellation, whose cells the fragments should find."""
OBJECT = 60.0
"""The same of the coarse one: an object is all cells whose seeds lie in one coarse cell."""
JITTER = 0.44
"""Share of a lattice cell in which its seed lies: small enough that the nearest is always in one of 27 cells."""
WIDTH = 1.2
"""Voxels from a boundary at which the dip in the affinities has fallen to 1/e."""
NOISE = 0.3
INSIDE = 0.9

STEP = np.uint64(0x9E3779B97F4A7C15)
MIX = np.uint64(0xBF58476D1CE4E5B9)
HALF, UNIT = np.uint64(32), np.uint64(2**21 - 1)


@numba.njit(cache=True, inline="always")
def _hash(salt, a, b, c):  # type: ignore[no-untyped-def]
    """Return 64 bits that look random, always the same for the same four integers."""
    mixed = np.uint64(salt) * STEP
    for number in (np.uint64(a), np.uint64(b), np.uint64(c)):
        mixed = (mixed ^ number) * MIX
        mixed ^= mixed >> HALF
    mixed *= STEP
    return mixed ^ (mixed >> HALF)


@numba.njit(cache=True, inline="always")
def _share(bits, number):  # type: ignore[no-untyped-def]
    """Return one of the three numbers from 0 to 1 that a hash holds."""
    return np.float64((bits >> np.uint64(21 * number)) & UNIT) / 2.0**21


@numba.njit(cache=True, inline="always")
def _seed(salt, z, y, x, side):  # type: ignore[no-untyped-def]
    """Return where the seed of a lattice cell lies, in voxels."""
    bits = _hash(salt, z, y, x)
    low = 0.5 - JITTER / 2
    return (
        (z + low + JITTER * _share(bits, 0)) * side,
        (y + low + JITTER * _share(bits, 1)) * side,
        (x + low + JITTER * _share(bits, 2)) * side,
    )


@numba.njit(cache=True)
def _name(z, y, x):  # type: ignore[no-untyped-def]
    """Return an id of a lattice cell, the same in every block."""
    return (np.uint64(z + 2**20) << np.uint64(42)) | (np.uint64(y + 2**20) << np.uint64(21)) | np.uint64(x + 2**20)


@numba.njit(cache=True)
def _object_of(z, y, x):  # type: ignore[no-untyped-def]
    """Return the id of the coarse cell that holds a point."""
    i, j, k = int(np.floor(z / OBJECT)), int(np.floor(y / OBJECT)), int(np.floor(x / OBJECT))
    nearest, found = np.inf, np.uint64(0)
    for c in range(i - 1, i + 2):
        for d in range(j - 1, j + 2):
            for e in range(k - 1, k + 2):
                seed = _seed(2, c, d, e, OBJECT)
                distance = (seed[0] - z) ** 2 + (seed[1] - y) ** 2 + (seed[2] - x) ** 2
                if distance < nearest:
                    nearest, found = distance, _name(c, d, e)
    return found


@numba.njit(cache=True)
def _lattice(low, seeds, names, objects):  # type: ignore[no-untyped-def]
    """Fill in seed, id and object of every fine cell from `low` on."""
    for i, j, k in np.ndindex(names.shape):
        z, y, x = low[0] + i, low[1] + j, low[2] + k
        seed = _seed(1, z, y, x, CELL)
        seeds[i, j, k, 0], seeds[i, j, k, 1], seeds[i, j, k, 2] = seed
        names[i, j, k] = _name(z, y, x)
        objects[i, j, k] = _object_of(seed[0], seed[1], seed[2])


@numba.njit(cache=True, nogil=True)
def _fill(origin, low, seeds, names, objects, truth, values):  # type: ignore[no-untyped-def]
    """Fill in truth and affinities of the voxels from `origin` on."""
    for p, q, r in np.ndindex(truth.shape):
        z, y, x = origin[0] + p, origin[1] + q, origin[2] + r
        i, j, k = int(z // CELL) - low[0], int(y // CELL) - low[1], int(x // CELL) - low[2]
        best, second = np.inf, np.inf
        own, other = (i, j, k), (i, j, k)
        for c in range(i - 1, i + 2):
            for d in range(j - 1, j + 2):
                for e in range(k - 1, k + 2):
                    distance = (
                        (seeds[c, d, e, 0] - z) ** 2 + (seeds[c, d, e, 1] - y) ** 2 + (seeds[c, d, e, 2] - x) ** 2
                    )
                    if distance < best:
                        second, other = best, own
                        best, own = distance, (c, d, e)
                    elif distance < second:
                        second, other = distance, (c, d, e)
        truth[p, q, r] = objects[own]
        apart = 0.0
        for axis in range(3):
            apart += (seeds[own[0], own[1], own[2], axis] - seeds[other[0], other[1], other[2], axis]) ** 2
        apart = np.sqrt(apart)
        away = (second - best) / (2.0 * apart)  # from the plane between the two cells
        dip = 0.0
        if away < 4 * WIDTH:
            first, last = min(names[own], names[other]), max(names[own], names[other])
            share = _share(_hash(3, first, last, 0), 0)
            across = 0.25 + 0.65 * share if objects[own] == objects[other] else 0.3 * share
            dip = (INSIDE - across) * np.exp(-((away / WIDTH) ** 2))
        noise = _hash(4, z, y, x)
        for channel in range(3):
            # fewer pairs along this axis are cut the flatter it meets the plane
            steep = abs(seeds[own[0], own[1], own[2], channel] - seeds[other[0], other[1], other[2], channel]) / apart
            noisy = INSIDE - np.sqrt(steep) * dip + NOISE * (_share(noise, channel) - 0.5)
            values[channel, p, q, r] = np.uint8(255.0 * min(max(noisy, 0.0), 1.0) + 0.5)


def tissue(box: Box) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """Return truth (z, y, x) and affinities (3, z, y, x), those of `NEAREST_3D`, of a box of an endless volume.

    Objects are clumps of some 27 convex cells. Affinities dip at all faces of cells, deeper between objects than within
    them but with some overlap, as smoothly as a net predicts, and are noisy. A voxel is the same in every box.
    """
    low = [int(side.start // CELL) - 1 for side in box]
    counts = [int((side.stop - 1) // CELL) + 2 - first for side, first in zip(box, low, strict=True)]
    seeds, names = np.empty((*counts, 3)), np.empty(counts, np.uint64)
    objects = np.empty(counts, np.uint64)
    _lattice(np.array(low), seeds, names, objects)
    shape = [side.stop - side.start for side in box]
    truth, values = np.empty(shape, np.uint64), np.empty((3, *shape), np.uint8)
    _fill(np.array([side.start for side in box]), np.array(low), seeds, names, objects, truth, values)
    return truth, values


class Run(NamedTuple):
    """What all stages need to know."""

    folder: Path
    side: int
    block: tuple[int, ...]

    def path(self, name: str) -> Path:
        """Return the place of an output."""
        return self.folder / name


def generate(run: Run) -> None:
    """Write truth and affinities."""

    def create(paths: Sequence[Path]) -> None:
        shape, offsets = (run.side,) * 3, {"offsets": [list(offset) for offset in NEAREST_3D]}
        create_volume(paths[0], shape, "uint64", voxel_size=VOXEL_SIZE, labels=True)
        create_volume(paths[1], (3, *shape), "uint8", voxel_size=VOXEL_SIZE, axes="czyx", attributes=offsets)

    def work(paths: Sequence[Path], block: Block) -> None:
        truth, values = tissue(block.write)
        open_volume(paths[0], "r+")[block.write] = truth
        open_volume(paths[1], "r+")[(slice(None), *block.write)] = values

    outputs = [run.path("truth.zarr"), run.path("affinities.zarr")]
    tiles = blocks((run.side,) * 3, run.block)
    run_blockwise(outputs, {"side": run.side}, create, work, tiles, label="tissue", workers=WORKERS)


def best_threshold(run: Run) -> dict[str, str]:
    """Return the row of the scores with the least variation of information."""
    with run.path("scores.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["convention"] == "all"]
    return min(rows, key=lambda row: float(row["voi_sum"]))


def in_blocks(run: Run) -> dict[str, Any]:
    """Return the settings of all stages in blocks."""
    return {"block_shape": run.block, "workers": WORKERS}


STAGES: dict[str, Callable[[Run], None]] = {
    "generate": generate,
    "make_fragments": lambda run: make_fragments(
        run.path("affinities.zarr"), run.path("fragments.zarr"), **in_blocks(run)
    ),
    "make_graph": lambda run: make_graph(
        run.path("affinities.zarr"), run.path("fragments.zarr"), run.path("graph"), **in_blocks(run)
    ),
    "make_merge_tree": lambda run: make_merge_tree(run.path("graph"), run.path("tree.parquet")),
    "count_overlaps": lambda run: count_overlaps(
        run.path("fragments.zarr"), run.path("truth.zarr"), run.path("overlaps.parquet"), **in_blocks(run)
    ),
    "score_thresholds": lambda run: score_thresholds(
        run.path("overlaps.parquet"), run.path("tree.parquet"), run.path("scores.csv"),
        thresholds=THRESHOLDS, volume="tissue", track="generated",
    ),
    "make_lut": lambda run: make_lut(
        run.path("tree.parquet"), run.path("lut.parquet"), threshold=best_threshold(run)["threshold"]
    ),
    "write_segmentation": lambda run: write_segmentation(
        run.path("fragments.zarr"), run.path("lut.parquet"), run.path("segmentation.zarr"), **in_blocks(run)
    ),
}  # fmt: skip


WHOLE = ("make_merge_tree", "score_thresholds", "make_lut")
"""Stages without blocks, and so without workers."""


def measure(run: Run, stage: str) -> tuple[float, float, float]:
    """Run one stage in a child; return its seconds, its peak memory in MB, and that of its largest worker."""
    command = [sys.executable, "-m", "benchmarks.gigavoxel", "--child", stage, "--folder", str(run.folder)]
    command += ["--side", str(run.side), "--block", *map(str, run.block)]
    root = Path(__file__).parents[1]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=root).stdout
    seconds, main_mb, worker_mb = map(float, answer.split()[-3:])
    return seconds, main_mb, worker_mb


def child(run: Run, stage: str) -> None:
    """Run one stage, or all on a small volume so that everything is compiled, and print what it took."""
    start = time.perf_counter()
    for name in STAGES if stage == "all" else [stage]:
        STAGES[name](run)
    seconds = time.perf_counter() - start
    unit = 1 if sys.platform == "darwin" else 1024
    # a short-lived child of another stage is counted with the peak of the process that started it
    workers_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit / 1e6 if stage not in WHOLE else 0.0
    print(seconds, peak_memory_mb(), workers_mb)


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())


def way(side: int, block: tuple[int, ...]) -> tuple[float, float, float]:
    """Print a line per stage and one per output.

    Returns the seconds of all stages, and the most MB that a worker holds and that a stage holds with its workers.
    """
    voxels = side**3
    block = tuple(min(length, side) for length in block)
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "small").mkdir()
        measure(Run(Path(name) / "small", 64, (64, 64, 64)), "all")
        run = Run(Path(name), side, block)
        print(f"{'stage':20} {'seconds':>8} {'Mvoxel/s':>9} {'MB main':>8} {'MB worker':>10}")
        total, most, together = 0.0, 0.0, 0.0
        for stage in STAGES:
            seconds, main_mb, worker_mb = measure(run, stage)
            if stage != "generate":
                total, most = total + seconds, max(most, worker_mb)
                together = max(together, main_mb + WORKERS * worker_mb)
            rate = voxels / seconds / 1e6
            print(f"{stage:20} {seconds:8.1f} {rate:9.2f} {main_mb:8.0f} {worker_mb:10.0f}", flush=True)
        graph = read_graph(run.path("graph"))
        fragments, edges = len(graph.fragments), len(graph)
        tiles = prod(-(-side // length) for length in block)
        print(f"{voxels / 1e6:.1f} Mvoxel in {tiles} blocks, {fragments} fragments, {edges} edges, {total:.1f} s")
        for output in sorted({path for path in Path(name).iterdir() if path.name != "small"}):
            size = size_of(output)
            print(
                f"{output.name:20} {size / 1e6:9.2f} MB {size / voxels:8.4f} B/voxel {size / fragments:8.1f} B/fragment"
            )
        best = best_threshold(run)
        split, merge, both = (float(best[f"voi_{part}"]) for part in ("split", "merge", "sum"))
        print(f"VOI at {best['threshold']}: split {split:.3f} + merge {merge:.3f} = {both:.3f} bits\n", flush=True)
    return total, most, together


def main(argv: Sequence[str] | None = None) -> None:
    """Print tables; exit status 1 when a stage, or twice the voxels, take more than they may."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=1024, help="voxels")
    parser.add_argument("--block", type=int, nargs=3, default=(128, 256, 256), help="voxels (z, y, x)")
    parser.add_argument("--double", action="store_true", help="the same with twice the voxels, and ratios")
    parser.add_argument("--child", choices=["all", *STAGES], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child:
        child(Run(options.folder, options.side, tuple(options.block)), options.child)
        return
    seconds, memory, together = way(options.side, tuple(options.block))
    kept = together <= MEMORY_MB
    print(f"at most {together:.0f} MB at once, {'within' if kept else 'NOT within'} {MEMORY_MB}")
    if options.double:
        twice, more, _ = way(round(options.side * 2 ** (1 / 3)), tuple(options.block))
        alike = twice <= MORE_TIME * seconds and more <= MORE_MEMORY * memory
        print(
            f"twice the voxels: {twice / seconds:.2f} times as long, {more / memory:.2f} times the memory of a worker"
        )
        print(f"{'within' if alike else 'NOT within'} {MORE_TIME} and {MORE_MEMORY} times")
        kept &= alike
    sys.exit(not kept)


if __name__ == "__main__":
    main()
