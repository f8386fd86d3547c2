"""How near the threshold that is chosen without truth comes to the best one, on the results of a run.

    python -m benchmarks.truth_free --results results/fib25 --volumes cube2 cube2_test

For every scored track of a volume: the VOI sum (interior, bits) at the best threshold, and at those where the
segmentation contradicts some of the predicted affinities least: those of nearest neighbours, all of them, and the far
ones, which the workflow goes by. With `--every 2` also the descriptors, by their mean absolute and mean squared
difference; they are computed again for every second threshold, which takes minutes. Reads a run, writes nothing.
"""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sparse2dense.ops.disagreement import Measure, descriptor_error
from sparse2dense.ops.far_links import far_channels, far_links
from sparse2dense.ops.fragments import nearest_channels
from sparse2dense.ops.overlaps import look_up
from sparse2dense.stages.agglomerating import read_merge_tree
from sparse2dense.stages.segmenting import offsets_of
from sparse2dense.volumes.volume import open_volume

MEASURES: tuple[Measure, ...] = ("absolute", "squared")
Curve = dict[str, float]
"""What is measured at every threshold."""


def voi_of(track: Path) -> Curve:
    """Return the interior VOI sum of every threshold that was scored."""
    with (track / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {row["threshold"]: float(row["voi_sum"]) for row in rows if row["convention"] == "interior"}


def by_affinities(track: Path, thresholds: Sequence[str]) -> dict[str, Curve]:
    """Return the disagreement with the nearest, with all and with the far affinities."""
    source, tree = open_volume(track / "affinities.zarr"), read_merge_tree(track / "merge_tree.parquet")
    offsets, fragments = offsets_of(source), open_volume(track / "fragments.zarr")[...]
    groups = {
        "nearest": nearest_channels(offsets),
        "all": list(range(len(offsets))),
        "far": far_channels(offsets, source.voxel_size),
    }
    curves = {}
    for name, channels in groups.items():
        values = np.stack([source[(channel, slice(None), slice(None), slice(None))] for channel in channels])
        links = far_links(fragments, values, [offsets[channel] for channel in channels])
        curves[name] = {threshold: sum(links.disagreement(*tree.cut(threshold))) for threshold in thresholds}
    return curves


def by_descriptors(track: Path, thresholds: Sequence[str], downsample: int) -> dict[str, Curve]:
    """Return the mean absolute and mean squared difference of the descriptors; none where they weren't predicted."""
    path = next(
        (track / name for name in ("stacked_descriptors.zarr", "descriptors.zarr") if (track / name).exists()), None
    )
    if path is None:
        return {}
    source, tree = open_volume(path), read_merge_tree(track / "merge_tree.parquet")
    predicted, fragments = source[...], open_volume(track / "fragments.zarr")[...]
    curves: dict[str, Curve] = {f"descriptors, {measure}": {} for measure in MEASURES}
    for threshold in thresholds:
        segments = look_up(fragments, *tree.cut(threshold))
        for measure, curve in zip(MEASURES, curves.values(), strict=True):
            sigma = source.attributes["sigma"]
            error = descriptor_error(predicted, segments, sigma, measure=measure, downsample=downsample)
            curve[threshold] = float(np.nanmean(error))
    return curves


def main(argv: Sequence[str] | None = None) -> None:
    """Print a table: a row for every volume, track and way to choose."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("results/demo"), help="of a run that was scored")
    parser.add_argument("--volumes", nargs="+", default=["*"], help="all of them by default")
    parser.add_argument("--every", type=int, default=0, help="descriptors at every such threshold; 0 leaves them out")
    parser.add_argument("--downsample", type=int, default=2, help="of the nets' descriptors")
    arguments = parser.parse_args(argv)
    tracks = [
        track.parent
        for volume in arguments.volumes
        for track in sorted(arguments.results.glob(f"{volume}/*/scores.csv"))
    ]
    if not tracks:
        print(f"{arguments.results} has no scores: run the workflow first, then name its results")
    for track in tracks:
        voi = voi_of(track)
        curves = {"best": voi, **by_affinities(track, list(voi))}
        if arguments.every:
            curves |= by_descriptors(track, list(voi)[:: arguments.every], arguments.downsample)
        for name, curve in curves.items():
            lowest = min(curve, key=lambda threshold: (curve[threshold], float(threshold)))
            print(f"{track.parent.name:12} {track.name:13} {name:22} {lowest:>5} {voi[lowest]:6.3f} bits", flush=True)


if __name__ == "__main__":
    main()
