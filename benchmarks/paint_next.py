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
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from scipy.stats import spearmanr
from snakemake.utils import update_config

from sparse2dense.ops.disagreement import affinity_error
from sparse2dense.ops.regions import describe_regions
from sparse2dense.stages.comparing import shared_boxes
from sparse2dense.stages.segmenting import offsets_of
from sparse2dense.stages.suggesting import read_regions
from sparse2dense.volumes.volume import open_volume

ROOT = Path(__file__).parents[1]


def configuration(files: Sequence[Path]) -> dict[str, Any]:
    """Return configuration files merged as Snakemake merges them."""
    merged: dict[str, Any] = {}
    for file in files:
        update_config(merged, yaml.safe_load(file.read_text()))
    return merged


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


def overlay(
    config: Mapping[str, Any], results: Path, name: str, chosen: int | None, validation: int | None
) -> dict[str, Any]:
    """Return what differs in the run of an arm: one section more, and as little as possible trained."""
    sections = sorted({*config["volumes"][name]["annotation"]["sections"], *([] if chosen is None else [chosen])})
    lift = {"path": str((results / "nets/2d_to_3d/checkpoint.pt").resolve())}
    return {
        "run": f"{config['run']}_paint_{'none' if chosen is None else chosen}",
        "volumes": {name: {"annotation": {"sections": sections, "validation": validation}}},
        "nets": {"2d_to_3d": {"checkpoint": lift}},
        "evaluate": {"tracks": ["pseudo"]},
    }


def segmented(change: Mapping[str, Any], tests: Sequence[str], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Run the workflow under a changed configuration as far as the scores of the test volumes; return `best.json`."""
    folder = arguments.results.parent / change["run"]
    targets = [folder / test / "pseudo/best.json" for test in tests]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(change, file)
        file.flush()
        call = [sys.executable, "-m", "snakemake", *map(str, targets), "--cores", str(arguments.cores)]
        call += ["--dry-run"] if arguments.dry_run else []
        files = [str(path.resolve()) for path in arguments.configfile]
        subprocess.run([*call, "--configfile", *files, file.name], check=True, cwd=ROOT, stdout=sys.stderr)
    return [] if arguments.dry_run else [json.loads((ROOT / target).read_text()) for target in targets]


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
    arguments.results = arguments.results or Path("results") / config["run"]
    roles = {name: volume["role"] for name, volume in config["volumes"].items()}
    name = arguments.volume or next(volume for volume, role in roles.items() if role == "annotated")
    volume, table = ROOT / arguments.results / name, ROOT / arguments.results / "paint_next.csv"
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
    validation = validation_of(config["volumes"][name]["annotation"])
    tests = [test for test, role in roles.items() if role == "test"]
    arms = [("as it was", None), ("suggested", suggested[0]), *(("random", section) for section in drawn)]
    print(f"{'arm':10} {'section':>8} {'volume':14} {'chosen':>8} {'best':>8}  VOI sum, bits")
    for arm, section in arms:
        change = overlay(
            config, ROOT / arguments.results, name, None if section is None else numbers[section], validation
        )
        for test, found in zip(tests, segmented(change, tests, arguments), strict=False):
            sums = " ".join(f"{found[kind]['voi_sum']:8.3f}" for kind in ("chosen", "best"))
            print(f"{arm:10} {'' if section is None else section:>8} {test:14} {sums}", flush=True)


if __name__ == "__main__":
    main()
