"""What runs again after which change: the table of the tutorial, row by row, against what Snakemake plans."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from tests.workflow.invocation import ROOT, TINY, Job, planned, snakemake, written

TUTORIAL = ROOT / "docs/tutorial.md"
TRACKS = ("pseudo", "bootstrapped", "baseline")
PHANTOM = {"shape": [18, 52, 50], "voxel_size": [8, 8, 8], "seed": 9, "thickest_nm": 150}

# Changes of the tiny configuration, each with its row; `PAINTED` and `OTHER` stand for what the run at hand decides.
PAINTED = "labels.tif"
OTHER = "another threshold than the one that was chosen"
CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("`segment.thresholds`", {"segment": {"thresholds": [0.2, 0.4, 0.5, 0.6, 0.7, 0.8]}}),
    ("`segment.fragments`", {"segment": {"fragments": {"debris": 5}}}),
    ("`segment.merge_function`", {"segment": {"merge_function": "hist_quant_50"}}),
    ("`pseudo_truth`", {"pseudo_truth": {"dust": 21}}),
    ("another threshold chosen, or given as `pseudo_truth.threshold`", {"pseudo_truth": {"threshold": OTHER}}),
    ("`nets.3d`", {"nets": {"3d": {"learning_rate": 0.01}}}),
    ("more `rounds`", {"rounds": 2}),
    ("`nets.2d_to_3d`", {"nets": {"2d_to_3d": {"learning_rate": 0.02}}}),
    ("`nets.2d`", {"nets": {"2d": {"learning_rate": 0.02}}}),
    ("`annotation`", {"volumes": {"painted": {"annotation": {"sections": [5, 15]}}}}),
    (
        "`painted`",
        {
            "volumes": {
                "painted": {
                    "painted": {"path": PAINTED, "voxel_size": [8, 8, 8]},
                    "annotation": {"draw": "painted", "linked": True},
                }
            }
        },
    ),
    ("`evaluate.border`", {"evaluate": {"border": [1, 2, 2]}}),
    ("`predict.block`", {"predict": {"block": [8, 24, 64]}}),
    ("`paint_next`", {"paint_next": {"count": 2}}),
    ("another `test` volume", {"volumes": {"more": {"role": "test", "phantom": PHANTOM}}}),
    ("another `unlabelled` volume", {"volumes": {"more": {"role": "unlabelled", "phantom": PHANTOM}}}),
]


def of(track: str, rules: str) -> set[str]:
    """Rules of a track."""
    return {f"{rule} {track}" for rule in rules.split()}


def chosen(track: str) -> set[str]:
    """A track's threshold and what is made at it, or at the best."""
    cut = "choose_threshold find_best make_lut write_segmentation rank_errors"
    shown = of(track, "figure_segmentation figure_errors figure_shapes") | {"figure_scores", "figure_side_by_side"}
    return of(track, cut) | shown | (WHERE_TO_PAINT | {"measure_regions pseudo"} if track == "pseudo" else set())


def merged(track: str) -> set[str]:
    """A track from the graph on."""
    return of(track, "make_graph make_merge_tree score score_skeletons sweep_disagreement") | chosen(track)


def segmented(track: str) -> set[str]:
    """A track from the fragments on."""
    return of(track, "make_fragments figure_fragments count_links count_overlaps") | merged(track)


def predicted(track: str) -> set[str]:
    """A track from its 3D affinities on."""
    net = "predict_2d_to_3d" if track == "pseudo" else "predict_3d"
    return of(track, f"{net} figure_affinities") | segmented(track)


def trained(track: str) -> set[str]:
    """A track from its own net on."""
    rule = "train_3d_baseline" if track == "baseline" else "train_3d_bootstrapped"
    return {f"{rule} {track}", "figure_losses"} | predicted(track)


def every(rules: str) -> set[str]:
    """Rules of every track."""
    return {job for track in TRACKS for job in of(track, rules)}


WHERE_TO_PAINT = {"suggest_painting", "figure_paint_next pseudo"}
ON_A_NEW_VOLUME = of(
    "more",
    "make_phantom import_raw mask_tissue predict_2d figure_prediction predict_2d_to_3d figure_affinities make_fragments"
    " figure_fragments make_graph make_merge_tree count_links sweep_disagreement make_lut write_segmentation"
    " figure_segmentation",
)
# The words of the table's second column, and the jobs they mean: `rule`, `rule track`, or `rule more` on a new volume.
WORDS: dict[str, set[str]] = {
    "nothing": set(),
    "the annotation": {"annotate", "figure_annotation", "slice_sections"},
    "the import of the labels": {"import_labels"},
    "the 2D net and its predictions": {"train_2d", "figure_losses"} | of("pseudo", "predict_2d figure_prediction"),
    "the 2D-to-3D net": {"train_2d_to_3d", "figure_losses"},
    "the pseudo track": predicted("pseudo"),
    "fragments and what follows in every track": set().union(*map(segmented, TRACKS)),
    "graphs and what follows in every track": set().union(*map(merged, TRACKS)),
    "the segmentation at that threshold": of("pseudo", "make_lut write_segmentation"),
    "pseudo ground truth": of("pseudo", "make_pseudo_truth figure_pseudo_truth"),
    "the bootstrapped net and its track": trained("bootstrapped"),
    "the baseline net and its track": trained("baseline"),
    "counting and scoring": every("count_overlaps score"),
    "scores": every("score score_skeletons sweep_disagreement"),
    "scores of the baseline": of("baseline", "count_overlaps score") | chosen("baseline"),
    "the choice of thresholds and what is cut at them": set().union(*map(chosen, TRACKS)),
    "the choice of the pseudo track's threshold": chosen("pseudo"),
    "where to paint next": WHERE_TO_PAINT,
    "what the further rounds add": of("bootstrapped", "make_pseudo_truth figure_pseudo_truth")
    | trained("bootstrapped_2"),
    "the round that was last on unlabelled volumes, which its thresholds are chosen by as well": predicted(
        "bootstrapped"
    )
    - of("bootstrapped", "count_overlaps score score_skeletons"),
    "the new volume in every track": ON_A_NEW_VOLUME
    | of("more", "import_labels predict_3d count_overlaps score find_best rank_errors figure_errors figure_shapes")
    | {"figure_side_by_side more", "figure_scores"},
    "the new volume in the pseudo track, with its pseudo ground truth": ON_A_NEW_VOLUME
    | of("more", "measure_regions figure_paint_next make_pseudo_truth figure_pseudo_truth"),
}


def table() -> dict[str, str]:
    """The rows of the tutorial's table: what runs again, by change."""
    text = TUTORIAL.read_text().split("## What runs again after which change\n")[1]
    rows = re.findall(r"^\| (.+) \| (.+) \|$", text, re.MULTILINE)
    assert rows[:2] == [("change", "runs again"), ("---", "---")]
    return dict(rows[2:])


def stage(job: Job) -> str:
    """A job by its rule, and by its track or that its volume is new."""
    (first, *_) = sorted(job.outputs)
    _, _, *place = Path(first).with_suffix("").parts
    if place[0] == "more":
        return f"{job.rule} more"
    tracks = [
        name.removeprefix("3d_") for name in place if re.fullmatch(r"(3d_)?(pseudo|bootstrapped\w*|baseline)", name)
    ]
    return " ".join([job.rule, *tracks[:1]])


def filled(change: Any, values: dict[str, Any]) -> Any:
    """A change with what only the run at hand decides."""
    if isinstance(change, dict):
        return {key: filled(value, values) for key, value in change.items()}
    return values.get(change, change) if isinstance(change, str) else change


def plan(run: Path, folder: Path, change: dict[str, Any]) -> set[str]:
    """What a finished run with a change would do.

    The threshold of pseudo ground truth is given as the one that was chosen: a dry run otherwise ends at the choice, as
    it can't know its outcome.
    """
    now = json.loads((run / "results/tiny/thresholds/pseudo.json").read_text())["threshold"]
    labels = folder / "labels.tif"
    tifffile.imwrite(labels, np.ones((20, 48, 64), np.uint16))
    files = (
        TINY,
        written(folder, {"pseudo_truth": {"threshold": now}}, "settled.yaml"),
        written(folder, filled(change, {PAINTED: str(labels), OTHER: 0.5 if now != 0.5 else 0.4})),
    )
    return {stage(job) for job in planned(snakemake(run, "--dry-run", configfiles=files)) if job.outputs}


def ids() -> Iterator[str]:
    """The change of every row, as a name of its test."""
    return (row.replace("`", "").replace(" ", "_") for row, _ in CHANGES)


@pytest.mark.parametrize(("row", "change"), CHANGES, ids=ids())
def test_a_change_runs_what_its_row_says(row: str, change: dict[str, Any], tiny_run: Path, tmp_path: Path) -> None:
    """Not a job more and not one less: the report always, its chart of costs where there are new ones."""
    said = set().union(*(WORDS[words] for words in table()[row].split("; ")))
    assert plan(tiny_run, tmp_path, change) == said | {"write_report"} | ({"figure_resources"} if said else set())


def test_every_row_is_tried() -> None:
    """And every word of the table is one whose jobs are known."""
    assert list(table()) == [row for row, _ in CHANGES]
    assert {words for cell in table().values() for words in cell.split("; ")} == set(WORDS)
