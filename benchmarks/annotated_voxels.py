"""How good a segmentation gets with how much paint: the track pseudo from disks, one, two and all painted sections.

    python -m benchmarks.annotated_voxels --configfile config/fib25.yaml --train --repeats 3 --plot paint.png

Needs the results of a run with an annotated volume of `draw: sections`. With `--train` it trains the 2D net anew for
every amount of paint and every repeat, hours where the run took hours, in runs of their own beside the first with its
2D-to-3D net; without, it reads what was run before. Repeats have other seeds, and of one and two sections other ones.
Printed, and drawn: voxels that are annotated, and the VOI sum (interior, bits) of the test volumes at the threshold
that is chosen on the annotation, and at the best one.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd

from benchmarks._arms import ROOT, Arms, configuration
from sparse2dense.volumes.volume import open_volume

matplotlib.use("Agg")
from matplotlib import pyplot

DISKS = 10
COLUMNS = {"chosen": "tab:blue", "best": "tab:gray"}


def amounts(annotation: Mapping[str, Any], repeat: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield names of amounts of paint, the least first, and what each means for an annotation."""
    sections = annotation["sections"]
    count = len(sections)
    one, other = sections[(count // 2 + repeat) % count], sections[(count // 2 + repeat + count // 2) % count]
    by_itself = {"validation": None}
    yield f"{DISKS} disks", {"draw": "disks", "count": DISKS, "sections": sections, **by_itself}
    yield "1 section", {"sections": [one], **by_itself}
    if count > 2:
        yield "2 sections", {"sections": sorted([one, other]), **by_itself}
    yield f"{count} sections", {"sections": sections}


def annotated_voxels(volume: Path) -> int:
    """Return how many voxels of an annotated volume are annotated."""
    mask = open_volume(volume / "mask.zarr")
    return sum(int(mask[z].sum()) for z in range(mask.shape[0]))


def draw(rows: pd.DataFrame, file: Path) -> None:
    """Write a plot of the scores against the annotated voxels."""
    figure, axes = pyplot.subplots(figsize=(6, 3.6), layout="constrained")
    middle = rows.groupby("paint", sort=False)[["voxels", *COLUMNS]].mean()
    for column, colour in COLUMNS.items():
        axes.plot(rows["voxels"], rows[column], "o", color=colour, alpha=0.4, markeredgewidth=0)
        label = {"chosen": "threshold chosen on the annotation", "best": "best threshold"}[column]
        axes.plot(middle["voxels"], middle[column], "-", color=colour, label=label)
    top = axes.get_ylim()[1]
    for name, row in middle.iterrows():
        axes.annotate(str(name), (row["voxels"], top), ha="center", va="bottom", fontsize=8)
    axes.set(xscale="log", xlabel="annotated voxels", ylabel="VOI sum, bits", ylim=(0, top))
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=150)
    pyplot.close(figure)


def main(argv: Sequence[str] | None = None) -> None:
    """Print a line per amount of paint, repeat and test volume; draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configfile", type=Path, nargs="+", default=[ROOT / "config/config.yaml"], help="of the run")
    parser.add_argument("--results", type=Path, help="results/<run> by default")
    parser.add_argument("--train", action="store_true", help="train what wasn't before; hours where the run took hours")
    parser.add_argument("--repeats", type=int, default=1, help="of every amount of paint")
    parser.add_argument("--amounts", type=int, nargs="+", help="numbers of the amounts, 0 the least; all by default")
    parser.add_argument("--plot", type=Path, help="PNG or SVG file")
    parser.add_argument("--cores", default="all", help="for Snakemake")
    parser.add_argument("--dry-run", action="store_true", help="show what would be trained, and train nothing")
    options = parser.parse_args(argv)
    config = configuration(options.configfile)
    results = options.results or Path("results") / config["run"]
    if not (ROOT / results / "nets/2d_to_3d/checkpoint.pt").exists():
        print(f"{results / 'nets/2d_to_3d/checkpoint.pt'} is needed: `snakemake` with the same configuration")
        return
    arms, seed = Arms(options.configfile, results, options.cores, options.dry_run), config.get("seed", 1)
    annotation, rows = config["volumes"][arms.annotated]["annotation"], []
    print(f"{'paint':12} {'seed':>6} {'voxels':>9} {'volume':14} {'chosen':>8} {'best':>8}  VOI sum, bits")
    for repeat in range(options.repeats):
        for number, (paint, change) in enumerate(amounts(annotation, repeat)):
            if options.amounts is not None and number not in options.amounts:
                continue
            name = f"{paint.replace(' ', '_')}_{repeat}"
            if not (options.train or options.dry_run or (ROOT / arms.folder(name)).exists()):
                continue
            scored = arms.run(name, arms.annotated, change, seed=seed + repeat)
            for test, found in zip(arms.tests, scored, strict=False):
                voxels = annotated_voxels(ROOT / arms.folder(name) / arms.annotated)
                sums = {column: found[column]["voi_sum"] for column in COLUMNS}
                rows.append({"paint": paint, "voxels": voxels, **sums})
                shown = " ".join(f"{value:8.3f}" for value in sums.values())
                print(f"{paint:12} {seed + repeat:6} {voxels:9} {test:14} {shown}", flush=True)
    if options.plot and rows:
        draw(pd.DataFrame(rows), options.plot)


if __name__ == "__main__":
    main()
