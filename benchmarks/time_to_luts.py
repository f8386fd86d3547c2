"""Time from fragments on disk to the look-up tables of 50 thresholds on disk, beside the recipe with waterz.

    python -m benchmarks.time_to_luts
    python -m benchmarks.time_to_luts --affinities <affinities.zarr> --fragments <fragments.zarr>

Ours is `make_graph` in blocks with two workers, `make_merge_tree` and `make_luts`. The recipe is that of scripts, and
of Bootstrapper where it doesn't work in blocks: the nearest affinities are read whole, made floats of 0 to 1, and
`waterz.agglomerate` merges the given fragments by the mean from threshold to threshold. Of the segmentation that it
gives for each, the segment of every fragment is taken at a voxel found once before, and saved as NumPy array of two
rows; Bootstrapper writes the segmentation too, which isn't counted. Both read their inputs from the same Zarr stores in
that time. Exit status 1 when the recipe doesn't take twice as long.

On small real volumes, which are one block, half isn't reached: docs/design/speed.md says why. A worker takes 1.6
seconds of a processor to start, more than all else in any of these, so workers start only where more is left to do
(`blockwise.PATIENCE`).
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import waterz

from benchmarks._ways import BLOCK, THRESHOLDS, WORKERS, Benchmark, judge, over
from sparse2dense.ops.fragments import nearest_channels
from sparse2dense.stages.agglomerating import make_graph, make_luts, make_merge_tree
from sparse2dense.stages.segmenting import offsets_of
from sparse2dense.volumes.tables import read_table
from sparse2dense.volumes.volume import open_volume

SHARE = 0.5
"""Of the time of the recipe, at most."""
MEAN = "OneMinus<MeanAffinity<RegionGraphType, ScoreValue>>"
SHOWN = THRESHOLDS[24]


def ours(folder: Path) -> None:
    """Region graph in blocks, merge tree, look-up tables."""
    make_graph(
        folder / "affinities.zarr", folder / "fragments.zarr", folder / "graph", block_shape=BLOCK, workers=WORKERS
    )
    make_merge_tree(folder / "graph", folder / "tree.parquet")
    make_luts(folder / "tree.parquet", {threshold: folder / f"luts/{threshold}.parquet" for threshold in THRESHOLDS})


def recipe(folder: Path) -> None:
    """Everything in memory, by waterz."""
    source = open_volume(folder / "affinities.zarr")
    affinities = np.stack([source[channel] for channel in nearest_channels(offsets_of(source))]).astype(np.float32)
    affinities /= 255
    fragments = open_volume(folder / "fragments.zarr")[...]
    places = np.full(int(fragments.max()) + 1, -1)
    places[fragments.reshape(-1)] = np.arange(fragments.size)
    ids = np.flatnonzero(places >= 0).astype(np.uint64)
    (folder / "recipe").mkdir(exist_ok=True)
    sweep = waterz.agglomerate(affinities, list(map(float, THRESHOLDS)), fragments=fragments, scoring_function=MEAN)
    for threshold, segmentation in zip(THRESHOLDS, sweep, strict=True):
        np.savez(folder / f"recipe/{threshold}.npz", np.stack([ids, np.asarray(segmentation).reshape(-1)[places[ids]]]))


BENCHMARK = Benchmark(
    "time_to_luts",
    __doc__,
    {"sparse2dense": ours, "waterz": recipe},
    {"affinities": "affinities.zarr", "fragments": "fragments.zarr"},
    ("generate", "make_fragments"),
)


def main(argv: Sequence[str] | None = None) -> None:
    """Print both, the ratio, and how many segments they find."""
    with BENCHMARK.measured(argv) as (folder, found):
        segments = read_table(folder / f"luts/{SHOWN}.parquet", "segment")[0]
        ids, theirs = np.load(folder / f"recipe/{SHOWN}.npz")["arr_0"]
    counts = [len(np.unique(labels)) for labels in (segments, theirs[ids != 0])]
    print(f"{len(segments)} fragments; at {SHOWN} {counts[0]} segments, {counts[1]} of waterz")
    sys.exit(not judge("sparse2dense", over(found["sparse2dense"], found["waterz"]), SHARE))


if __name__ == "__main__":
    main()
