"""How much a merge should weigh where a threshold is chosen on a few sections (`evaluate.merge_weight`).

    python -m benchmarks.merge_weight results/fib25 cube2

Needs a finished run with dense truth of an annotated volume; test volumes are not looked at. Again and again some
sections are drawn, one from each of equal parts of the volume; the threshold is chosen on their truth as the workflow
chooses it on the annotation, and judged by the interior VOI sum of the whole annotated volume. Printed for every track
and weight: mean and 90 % quantile of that sum in bits over the draws, and the sum at the best threshold of all. The
baseline is left out: it was trained on that truth.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from sparse2dense.ops.overlaps import look_up
from sparse2dense.ops.scores import OverlapTable, merge, score
from sparse2dense.ops.thresholds import Threshold, threshold_name
from sparse2dense.stages.agglomerating import read_partitions
from sparse2dense.stages.evaluating import count_overlaps
from sparse2dense.volumes.tables import read_table

WEIGHTS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
TRACKS = ("pseudo", "bootstrapped")
THRESHOLDS: list[Threshold] = [f"{number / 100:.2f}" for number in (*range(1, 20), *range(20, 61, 2))]
Cut = tuple[NDArray[np.uint64], NDArray[np.uint64]]


def interior_tables(fragments: Path, truth: Path, border: Sequence[int], per_section: bool) -> dict[int, OverlapTable]:
    """Return the overlaps of the interior by section, or those of the whole volume under -1."""
    with TemporaryDirectory() as folder:
        table = Path(folder) / "overlaps.parquet"
        count_overlaps(fragments, truth, table, border=border, per_section=per_section, workers=2)
        convention, *columns = read_table(table, "convention", "section", "truth", "fragment", "voxels")
    section, objects, pieces, voxels = (column[convention == "interior"] for column in columns)
    found = {number: section == number for number in np.unique(section).tolist()}
    return {number: OverlapTable(objects[rows], pieces[rows], voxels[rows]) for number, rows in found.items()}


def split_and_merge(table: OverlapTable, cuts: Sequence[Cut]) -> NDArray[np.float64]:
    """Return VOI split and merge, bits, for every cut, shape (cuts, 2)."""
    renamed = (OverlapTable(table.truth, look_up(table.segment, *cut), table.voxels) for cut in cuts)
    scores = [score(merge([found])) for found in renamed]
    return np.array([[found["voi_split"], found["voi_merge"]] for found in scores])


def by_themselves(tables: Sequence[OverlapTable], cuts: Sequence[Cut]) -> NDArray[np.float64]:
    """Return the same of sections that are scored one by one, each weighed by its voxels."""
    weights = [int(table.voxels.sum()) for table in tables]
    return np.average([split_and_merge(table, cuts) for table in tables], axis=0, weights=weights)


def draw(sections: Sequence[int], count: int, rng: np.random.Generator) -> list[int]:
    """Return `count` sections, one from each of equal parts."""
    return [int(rng.choice(part)) for part in np.array_split(np.array(sections), count)]


def main(argv: Sequence[str] | None = None) -> None:
    """Print a line per weight and track."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="?", default=Path("results/demo"))
    parser.add_argument("volume", nargs="?", default="painted", help="annotated, with dense truth")
    parser.add_argument("--sections", type=int, default=4)
    parser.add_argument("--draws", type=int, default=60)
    parser.add_argument("--apart", action="store_true", help="ids of two sections have nothing to do with each other")
    parser.add_argument("--border", type=int, nargs=3, default=(2, 2, 2))
    options = parser.parse_args(argv)
    home = options.results / options.volume
    if not (home / "truth.zarr").exists():
        print(f"{home}: no dense truth; make a run with `make run`, or name a run and an annotated volume of it")
        return
    for track in TRACKS:
        fragments, truth = home / track / "fragments.zarr", home / "truth.zarr"
        tree = read_partitions(home / track / "merge_tree.parquet", 0.0)
        cuts = [tree.cut(threshold_name(threshold)) for threshold in THRESHOLDS]
        dense = split_and_merge(interior_tables(fragments, truth, options.border, False)[-1], cuts).sum(axis=1)
        # a section has no neighbours to be inside of
        tables = interior_tables(fragments, truth, (0, *options.border[1:]), True)
        rng, chosen = np.random.default_rng(0), []
        for _ in range(options.draws):
            drawn = [tables[number] for number in draw(sorted(tables), options.sections, rng)]
            scores = by_themselves(drawn, cuts) if options.apart else split_and_merge(merge(drawn), cuts)
            chosen.append([dense[np.argmin(scores @ (1.0, weight))] for weight in WEIGHTS])
        print(f"{track}: best {dense.min():.3f} at {THRESHOLDS[int(dense.argmin())]}")
        for weight, sums in zip(WEIGHTS, np.transpose(chosen), strict=True):
            print(f"  merge weight {weight:3g}: mean {sums.mean():.3f}, 90 % below {np.quantile(sums, 0.9):.3f}")


if __name__ == "__main__":
    main()
