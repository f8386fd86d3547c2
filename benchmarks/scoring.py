"""Time of scoring 50 thresholds in both conventions, beside one pass that only reads both volumes.

    python -m benchmarks.scoring
    python -m benchmarks.scoring --fragments <fragments.zarr> --truth <truth.zarr> --tree <merge_tree.parquet>

Scoring is `count_overlaps` and `score_thresholds`, as the workflow calls them; the pass reads the blocks of the same
shape with the same workers, each voxel once. Exit status 1 when scoring takes more than 1.5 times as long.

The limit is kept where a block is all there is, and starting workers for the pass takes longer than to score. Where the
rest goes: docs/design/speed.md.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks._ways import BLOCK, THRESHOLDS, WORKERS, Benchmark, judge, over
from sparse2dense.stages.comparing import shared_boxes
from sparse2dense.stages.evaluating import count_overlaps, score_thresholds
from sparse2dense.volumes.blockwise import run_blockwise
from sparse2dense.volumes.grid import Block, blocks, moved
from sparse2dense.volumes.volume import open_volume

LIMIT = 1.5


def read(folder: Path) -> None:
    """Read both volumes, block by block."""
    volumes = [folder / "fragments.zarr", folder / "truth.zarr"]
    boxes = shared_boxes(*map(open_volume, volumes))

    def create(paths: Sequence[Path]) -> None:
        paths[0].mkdir()

    def work(paths: Sequence[Path], block: Block) -> None:
        for path, box in zip(volumes, boxes, strict=True):
            open_volume(path)[moved(block.write, [side.start for side in box])]

    tiles = blocks([side.stop - side.start for side in boxes[0]], BLOCK)
    run_blockwise(folder / "read", {}, create, work, tiles, label="reading", workers=WORKERS)


def score(folder: Path) -> None:
    """Score all thresholds."""
    table = folder / "overlaps.parquet"
    count_overlaps(folder / "fragments.zarr", folder / "truth.zarr", table, block_shape=BLOCK, workers=WORKERS)
    score_thresholds(
        table, folder / "tree.parquet", folder / "scores.csv", thresholds=THRESHOLDS, volume="volume", track="track"
    )


BENCHMARK = Benchmark(
    "scoring",
    __doc__,
    {"read both volumes": read, "score 50 thresholds": score},
    {"fragments": "fragments.zarr", "truth": "truth.zarr", "tree": "tree.parquet"},
    ("generate", "make_fragments", "make_graph", "make_merge_tree"),
)


def main(argv: Sequence[str] | None = None) -> None:
    """Print both, and the ratio."""
    with BENCHMARK.measured(argv) as (_, found):
        reading, scoring = found.values()
    sys.exit(not judge("scoring", over(scoring, reading), LIMIT))


if __name__ == "__main__":
    main()
