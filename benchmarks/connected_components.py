"""A finished run's segmentations against connected components of the same affinities, thresholded.

    python -m benchmarks.connected_components results/demo

For every track and test volume: the lowest interior VOI sum of the merge tree's cuts, and of the components of links
whose affinity exceeds a threshold, over a sweep of thresholds.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sparse2dense.ops.components import component_fragments
from sparse2dense.ops.interior import interior
from sparse2dense.ops.nearest import nearest_labels
from sparse2dense.ops.overlaps import overlaps
from sparse2dense.ops.scores import score
from sparse2dense.volumes.volume import open_volume

THRESHOLDS = np.arange(0.3, 0.999, 0.05)
DEBRIS = 64  # voxels; smaller components count as background, as in the fragments


def best_components(affinities: Path, truth: Path, border: Sequence[int], reach: float) -> tuple[float, float]:
    """The threshold with the lowest interior VOI sum of connected components, and that sum in bits."""
    predicted, reference = open_volume(affinities), open_volume(truth)
    labels = reference[...]
    counted = interior(labels, border)
    values, offsets = predicted[...], predicted.attributes["offsets"]
    results = []
    for threshold in THRESHOLDS:
        components = component_fragments(values, offsets=offsets, threshold=float(threshold))
        sizes = np.bincount(components.ravel())
        components[sizes[components] < DEBRIS] = 0
        filled = nearest_labels(components, predicted.voxel_size, reach)
        found = score(overlaps(labels, filled, counted))
        results.append((found["voi_split"] + found["voi_merge"], float(threshold)))
    best, threshold = min(results)
    return threshold, best


def main(argv: Sequence[str] | None = None) -> None:
    """Compare every scored track of the test volumes of a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="?", default=Path("results/demo"))
    parser.add_argument("--border", type=int, nargs=3, default=(2, 2, 2))
    parser.add_argument("--reach", type=float, default=32)
    arguments = parser.parse_args(argv)
    found = sorted(arguments.results.glob("*/*/best.json"))
    if not found:
        print(f"{arguments.results}: no finished run; make one with `make run`")
        return
    print(f"{'volume':12} {'track':14} {'merge tree':>22} {'components':>22}  ratio")
    for file in found:
        record = json.loads(file.read_text())
        truth = file.parents[1] / "truth.zarr"
        if not truth.exists() or (file.parents[1] / "labels.zarr").exists():
            continue
        threshold, bits = best_components(file.parent / "affinities.zarr", truth, arguments.border, arguments.reach)
        ours = record["best"]
        cells = (f"{ours['voi_sum']:.3f} at {ours['threshold']}", f"{bits:.3f} at {threshold:.2f}")
        ratio = bits / ours["voi_sum"]
        print(f"{record['volume']:12} {record['track']:14} {cells[0]:>22} {cells[1]:>22}  {ratio:.1f}")


if __name__ == "__main__":
    main()
