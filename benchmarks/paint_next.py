"""Whether painting the suggested section does more than painting a random one, on a volume with dense truth.

    python -m benchmarks.paint_next --configfile config/fib25.yaml --volume cube2
    python -m benchmarks.paint_next --configfile config/fib25.yaml --volume cube2 --train --random 5 --cores 8

Needs the results of a run whose volume has dense truth and `draw: sections`; `snakemake paint_next` makes what is
missing. The first command trains nothing: it prints the true error of the 2D net in every suggested section (mean
absolute difference between its affinities and those of the truth, where there is an object), how many of the sections
that aren't annotated have less of it, and whether uncertainty and disagreement rank sections as the error does. The
second adds the first suggestion to the annotation, then in its place each of so many random sections, trains the 2D net
anew each time, in a run of its own beside the first, with the same seed, validation section and 2D-to-3D net, and
prints how the test volumes are then segmented by the track pseudo: VOI sum (interior, bits) at the chosen and at the
best threshold. An arm that was run before is only read.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from benchmarks._arms import ROOT, Arms, configuration
from sparse2dense.ops.disagreement import affinity_error
from sparse2dense.ops.regions import describe_regions
from sparse2dense.stages.comparing import shared_boxes
from sparse2dense.stages.segmenting import offsets_of
from sparse2dense.stages.suggesting import read_regions
from sparse2dense.volumes.volume import open_volume


def sections_of_raw(volume: Path) -> tuple[dict[int, int], list[int]]:
    """Return, by the number of a section in raw, its number in the truth; and those in which something is annotated."""
    raw, truth, mask = (open_volume(volume / f"{name}.zarr") for name in ("raw", "truth", "mask"))
    (here, *_), (there, *_) = shared_boxes(raw, truth)
    numbers = dict(zip(range(here.start, here.stop), range(there.start, there.stop), strict=True))
    return numbers, [z for z, number in numbers.items() if mask[number].any()]


def true_errors(volume: Path, sections: Mapping[int, int]) -> dict[int, float]:
    """Return the mean error of the 2D net's affinities in every section, where the truth has an object."""
    predicted, truth = (open_volume(volume / name) for name in ("pseudo/stacked_affinities.zarr", "truth.zarr"))
    here, there = shared_boxes(predicted, truth)
    found = {}
    for z, number in sections.items():
        labels = truth[(slice(number, number + 1), *there[1:])]
        values = predicted[(slice(None), slice(z, z + 1), *here[1:])]
        errors = affinity_error(values, labels, offsets_of(predicted))[labels != 0]
        if np.isfinite(errors).any():
            found[z] = float(np.nanmean(errors))
    return found


def show_errors(volume: Path, suggested: Sequence[int], numbers: Mapping[int, int], annotated: Sequence[int]) -> None:
    """Print the true error of the suggested sections beside that of all that aren't annotated."""
    if not (volume / "pseudo/stacked_affinities.zarr").exists():
        print("the 2D net predicts no affinities: nothing to compare before training")
        return
    errors = true_errors(volume, {z: number for z, number in numbers.items() if z not in annotated})
    everything = np.array(list(errors.values()))
    print(f"{'suggested section':>18} {'true error':>11} {'sections with less':>19}")
    for section in suggested:
        if section in errors:
            print(f"{section:18} {errors[section]:11.4f} {np.mean(everything < errors[section]):19.0%}")
    print(f"{'mean of all':>18} {everything.mean():11.4f}")
    regions = read_regions(volume / "pseudo/regions.parquet")
    parts = dict(zip(("uncertainty", "disagreement"), describe_regions(regions), strict=False))
    for part, values in parts.items():
        means = [float(values[regions.section == section].mean()) for section in errors]
        print(f"rank correlation of {part} and true error: {spearmanr(means, everything).statistic:.2f}")


def validation_of(annotation: Mapping[str, Any]) -> int | None:
    """Return the section that every arm validates on: a new one must not take its place. None for a part of each."""
    sections, named = annotation["sections"], annotation.get("validation")
    return max(sections) if named is None and len(sections) > 1 else named


def main(argv: Sequence[str] | None = None) -> None:
    """Print the true errors of suggested sections, and with `--train` what each arm makes of the test volumes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configfile", type=Path, nargs="+", default=[ROOT / "config/config.yaml"], help="of the run")
    parser.add_argument("--results", type=Path, help="results/<run> by default")
    parser.add_argument("--volume", help="the annotated one, the first by default")
    parser.add_argument("--train", action="store_true", help="train every arm; hours where the run took hours")
    parser.add_argument("--random", type=int, default=3, help="random sections")
    parser.add_argument("--seed", type=int, default=0, help="by which these are drawn")
    parser.add_argument("--cores", default="all", help="for Snakemake")
    parser.add_argument("--dry-run", action="store_true", help="show what would be trained, and train nothing")
    arguments = parser.parse_args(argv)
    config = configuration(arguments.configfile)
    results = arguments.results or Path("results") / config["run"]
    arms = Arms(arguments.configfile, results, arguments.cores, arguments.dry_run)
    name = arguments.volume or arms.annotated
    volume, table = ROOT / results / name, ROOT / results / "paint_next.csv"
    if not table.exists() or not (volume / "truth.zarr").exists():
        print(f"{table} and {volume / 'truth.zarr'} are needed: `snakemake paint_next`, for a volume with dense truth")
        return
    rows = pd.read_csv(table, dtype={"volume": str})
    suggested = rows[(rows["kind"] == "section") & (rows["volume"] == name)]["section"].tolist()
    numbers, annotated = sections_of_raw(volume)
    suggested = [section for section in suggested if section in numbers]
    show_errors(volume, suggested, numbers, annotated)
    if not (arguments.train or arguments.dry_run) or not suggested:
        return
    left = sorted(set(numbers) - set(annotated) - set(suggested[:1]))
    drawn = np.random.default_rng(arguments.seed).permutation(left)[: arguments.random].tolist()
    annotation = config["volumes"][name]["annotation"]
    print(f"{'arm':10} {'section':>8} {'volume':14} {'chosen':>8} {'best':>8}  VOI sum, bits")
    for arm, section in (("as it was", None), ("suggested", suggested[0]), *(("random", section) for section in drawn)):
        new = [] if section is None else [numbers[section]]
        change = {"sections": sorted({*annotation["sections"], *new}), "validation": validation_of(annotation)}
        scored = arms.run(f"paint_{new[0] if new else 'none'}", name, change)
        for test, found in zip(arms.tests, scored, strict=False):
            sums = " ".join(f"{found[kind]['voi_sum']:8.3f}" for kind in ("chosen", "best"))
            print(f"{arm:10} {'' if section is None else section:>8} {test:14} {sums}", flush=True)


if __name__ == "__main__":
    main()
