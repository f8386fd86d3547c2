"""Time of a sweep over 50 thresholds beside that of a single one, from the region graph to partitions and to scores.

python -m benchmarks.sweep
"""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks._ways import BLOCK, THRESHOLDS, WORKERS, Benchmark, judge, over
from sparse2dense.stages.agglomerating import make_luts, make_merge_tree, read_partitions
from sparse2dense.stages.evaluating import count_overlaps, score_thresholds

LIMIT = 1.3
ONE = THRESHOLDS[24:25]


def to_partitions(thresholds: Sequence[str], folder: Path) -> None:
    """Merge tree and its cuts."""
    make_merge_tree(folder / "graph", folder / "tree.parquet")
    known = read_partitions(folder / "tree.parquet")
    for threshold in thresholds:
        known.cut(threshold)


def to_luts(thresholds: Sequence[str], folder: Path) -> None:
    """Merge tree and look-up tables on disk."""
    make_merge_tree(folder / "graph", folder / "tree.parquet")
    make_luts(folder / "tree.parquet", {threshold: folder / f"luts/{threshold}.parquet" for threshold in thresholds})


def to_scores(thresholds: Sequence[str], folder: Path) -> None:
    """Merge tree, overlaps and scores in both conventions."""
    tree, table = folder / "tree.parquet", folder / "overlaps.parquet"
    make_merge_tree(folder / "graph", tree)
    count_overlaps(folder / "fragments.zarr", folder / "truth.zarr", table, block_shape=BLOCK, workers=WORKERS)
    score_thresholds(table, tree, folder / "scores.csv", thresholds=thresholds, volume="volume", track="track")


BENCHMARK = Benchmark(
    "sweep",
    __doc__,
    {
        "partition of one": partial(to_partitions, ONE),
        "partitions of 50": partial(to_partitions, THRESHOLDS),
        "scores of one": partial(to_scores, ONE),
        "scores of 50": partial(to_scores, THRESHOLDS),
        "file of one": partial(to_luts, ONE),
        "files of 50": partial(to_luts, THRESHOLDS),
    },
    {"graph": "graph", "fragments": "fragments.zarr", "truth": "truth.zarr"},
    ("generate", "make_fragments", "make_graph"),
)


def main(argv: Sequence[str] | None = None) -> None:
    """Print all, and the ratios."""
    with BENCHMARK.measured(argv) as (_, found):
        one, fifty, one_scored, fifty_scored, one_file, fifty_files = found.values()
    kept = [
        judge("partitions of 50 thresholds", over(fifty, one), LIMIT),
        judge("scores of 50 thresholds", over(fifty_scored, one_scored), LIMIT),
    ]
    print(f"look-up tables of 50 thresholds as files: {fifty_files.seconds / one_file.seconds:.2f} times as long")
    sys.exit(not all(kept))


if __name__ == "__main__":
    main()
