"""Scores of every threshold from one table of overlaps, and the choice of a threshold without test truth."""

import csv
import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.ops.overlaps import OverlapTable, merge, overlaps, overlaps_with_part
from sparse2dense.ops.scores import CutScores
from sparse2dense.ops.thresholds import Threshold, threshold_name
from sparse2dense.stages.agglomerating import read_partitions
from sparse2dense.stages.comparing import Compared, Comparison
from sparse2dense.stages.disagreeing import choose_agreeing
from sparse2dense.stages.sourcecode import resume_key
from sparse2dense.volumes.blockwise import Part, run_blockwise
from sparse2dense.volumes.grid import Block
from sparse2dense.volumes.provenance import provenance
from sparse2dense.volumes.replacing import atomic_file
from sparse2dense.volumes.sorted_pieces import pieces_beside, save_rows, summed_rows
from sparse2dense.volumes.tables import growing_table, read_table

__all__ = ["choose_threshold", "count_overlaps", "find_best", "read_threshold", "score_thresholds"]

log = logging.getLogger(__name__)

SCORES = (
    "voi_split", "voi_merge", "voi_sum", "nvi_split", "nvi_merge", "nvi_sum", "arand", "rand_split", "rand_merge",
)  # fmt: skip
COLUMNS = ("volume", "track", "convention", "threshold", *SCORES)
ChooseBy = Literal["annotation", "disagreement"]
CONVENTIONS = ("all", "interior")
TABLE, KEYS = "overlaps", ("convention", "section", "truth", "fragment")
WHOLE = -1
"""Section number of rows that belong to the volume as a whole."""
Rows = dict[tuple[int, int], list[OverlapTable]]
"""Tables of parts of a block, by convention and section."""


def count_overlaps(
    fragments: Path,
    truth: Path,
    output: Path,
    *,
    border: Sequence[int] = (2, 2, 2),
    reach: float = 32,
    mask: Path | None = None,
    per_section: bool = False,
    block_shape: Sequence[int] = (128, 256, 256),
    workers: int = 1,
    part: Part | None = None,
) -> None:
    """Count the voxels that every fragment shares with every object of the truth, in both conventions, block by block.

    `all` counts every voxel whose truth isn't 0. `interior` counts those whose truth is the same throughout the box of
    `border` voxels to every side, after voxels outside all fragments took the nearest fragment; so neither depends on
    the threshold, and all thresholds are scored from this table.

    Parameters
    ----------
    fragments, truth
        Volumes of labels (z, y, x) with equal voxels; only the place they share is counted.
    output
        Parquet file of the columns convention, section, truth, fragment and voxels; section is -1 for the whole volume.
    border
        Voxels (z, y, x); 0 along z where only sections are labelled.
    reach
        How far a voxel may be from the fragment it takes, in voxels of the axis with the smallest ones.
    mask
        Volume in the place of the truth: only voxels where it isn't 0 count.
    per_section
        The ids of different sections have nothing to do with each other, as in sections that were painted one by one:
        every section is scored by itself.
    block_shape
        Voxels (z, y, x) of a block; no matter for the result.
    workers
        Processes that work on columns of blocks.
    part
        Number of a part of the columns and how many parts there are; all, and the end, by default.

    Raises InputError when the volumes share no place, their voxels differ, or no voxel of the shared place is labelled.
    """
    compared = Comparison(fragments, truth, border, reach, mask)
    settings = {"border": list(border), "reach": reach, "per_section": per_section}
    record = provenance("count_overlaps", settings, compared.inputs)

    def create(paths: Sequence[Path]) -> None:
        pieces_beside(paths[0]).mkdir()

    def work(paths: Sequence[Path], block: Block) -> None:
        rows: Rows = {}
        for box, found in compared.walk(block.write, block_shape):
            judged = enumerate(found.sections(), box[0].start) if per_section else [(WHOLE, found)]
            for section, compared_there in judged:
                for convention, counted in enumerate(_tables(compared_there)):
                    rows.setdefault((convention, section), []).append(counted)
        save_rows(_columns(rows), pieces_beside(paths[0]), TABLE, block.index)

    tiles = compared.tiles(block_shape)

    def conclude(paths: Sequence[Path]) -> None:
        sums = np.zeros(len(CONVENTIONS), np.int64)
        with growing_table(paths[0], {"provenance": record}) as append:
            for rows in summed_rows(pieces_beside(paths[0]), TABLE, len(tiles), KEYS):
                np.add.at(sums, rows["convention"], rows["voxels"])
                append({**rows, "convention": np.array(CONVENTIONS, object)[rows["convention"]]})
            if not sums.any():
                raise InputError(
                    f"{truth} has no labelled voxel in the region it shares with {fragments}",
                    allowed="at least one voxel of truth that isn't 0, and isn't masked",
                    remedy="name a volume with a reference as `test`, or mend the reference",
                )
        log.info("%s: %d voxels count, %d in the interior", output, *sums)

    key = resume_key(__name__, record, compared.inputs.values())
    label = f"overlaps {output.parent.name}"
    run_blockwise(output, key, create, work, tiles, label=label, workers=workers, conclude=conclude, part=part)


def _tables(found: Compared) -> tuple[OverlapTable, OverlapTable]:
    """Return the table of either convention."""
    everywhere, inside = overlaps_with_part(found.truth, found.fragments, found.interior)
    filled = overlaps(found.truth[tuple(found.outside.T)], found.nearest)
    return everywhere.select(everywhere.truth != 0), merge([inside.select(inside.segment != 0), filled])


def _columns(rows: Rows) -> dict[str, NDArray[Any]]:
    keys, tables = sorted(rows), [merge(rows[key]) for key in sorted(rows)]
    lengths = [len(table) for table in tables]
    none = np.zeros(0, np.uint64)
    return {
        "convention": np.repeat(np.array([convention for convention, _ in keys], np.int8), lengths),
        "section": np.repeat(np.array([section for _, section in keys], np.int64), lengths),
        "truth": np.concatenate([none, *(table.truth for table in tables)]),
        "fragment": np.concatenate([none, *(table.segment for table in tables)]),
        "voxels": np.concatenate([none.astype(np.int64), *(table.voxels for table in tables)]),
    }


def score_thresholds(
    table: Path,
    partitions: Path,
    output: Path,
    *,
    thresholds: Sequence[Threshold],
    volume: str,
    track: str,
    repulsion: float | None = None,
) -> None:
    """Score the segmentation of every threshold, in both conventions, from the table of overlaps alone.

    Parameters
    ----------
    table
        As `count_overlaps` writes it.
    partitions, repulsion
        As in `agglomerating.read_partitions`.
    output
        CSV file, a row per convention and threshold: volume, track, convention, threshold (an exact decimal) and the
        scores of `ops.scores.score`.
    thresholds
        Merge thresholds.
    volume, track
        What is scored, for the first columns.
    """
    known = read_partitions(partitions, repulsion)
    counted = {name: _overlaps_of(table, name, known.fragments) for name in CONVENTIONS}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in CONVENTIONS}
    for threshold in map(threshold_name, thresholds):
        _, segments = known.cut(threshold)
        for name, shared in counted.items():
            found[name].append({"convention": name, "threshold": threshold, **shared.score(segments)})
    with atomic_file(output) as partial, partial.open("w", newline="") as file:
        rows = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
        rows.writeheader()
        rows.writerows({"volume": volume, "track": track, **row} for name in CONVENTIONS for row in found[name])


def _overlaps_of(table: Path, convention: str, fragments: NDArray[np.uint64]) -> CutScores:
    """Return what scores one convention; objects and segments of different sections differ."""
    rows = ("convention", convention)
    section, truth, fragment, voxels = read_table(table, "section", "truth", "fragment", "voxels", where=rows)
    if np.all(section == WHOLE):
        return CutScores(OverlapTable(truth, fragment, voxels), fragments)
    # a label in a section is one object, wherever else the label occurs
    ids, dense = np.unique(truth, return_inverse=True)
    objects = ((section - section.min()) * len(ids) + dense + 1).astype(np.uint64)
    return CutScores(OverlapTable(objects, fragment, voxels), fragments, section)


def _read_scores(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a table of scores, numbers as floats, the threshold as its exact decimal."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or set(COLUMNS) - set(rows[0]):
        raise InputError(
            f"{path} holds no scores",
            allowed=f"a CSV file of the columns {', '.join(COLUMNS)}",
            remedy="let the workflow make the file: ask for it by name",
        )
    return [{**row, **{name: float(row[name]) for name in SCORES}} for row in rows]


def _ranked(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the convention to judge by and its rows: `interior`, unless no voxel counts there; nan rows left out."""
    for convention in reversed(CONVENTIONS):
        usable = [row for row in rows if row["convention"] == convention and math.isfinite(row["voi_sum"])]
        for row in usable:
            yield convention, row
        if usable:
            return


def choose_threshold(
    scores: Sequence[Path],
    sweeps: Sequence[Path],
    output: Path,
    *,
    merge_weight: float = 1.0,
    choose_by: ChooseBy = "annotation",
) -> None:
    """Choose the threshold of a track by annotation, or without any truth; no test truth is looked at.

    Parameters
    ----------
    scores
        `scores.csv` of the track on every annotated volume.
    sweeps
        `disagreement.csv` of the track on every volume that it is followed on, test volumes aside.
    output
        JSON file: threshold, reason, chosen_by, and both choices, each with its threshold, reason and volumes:
        annotation, with convention and voi_sum (mean over the volumes), or null where no threshold has a score on every
        volume; and disagreement, see `disagreeing.choose_agreeing`.
    merge_weight
        How much a bit of VOI merge weighs against one of VOI split.
    choose_by
        Which of both choices counts.

    Raises InputError when `choose_by` is unknown, or the choice it names can't be made.
    """
    if choose_by not in ("annotation", "disagreement"):
        raise InputError(
            f"choose_by {choose_by!r}", allowed="annotation or disagreement", remedy="correct evaluate.choose_by"
        )
    choices = {"annotation": _choose_annotated(scores, merge_weight), "disagreement": choose_agreeing(sweeps)}
    choice = choices[choose_by]
    if choice is None:
        raise InputError(
            f"no threshold is scored in all of {', '.join(map(str, scores))}",
            allowed="at least one threshold with scores on every annotated volume",
            remedy="score the same thresholds everywhere, and annotate objects in every annotated volume; "
            "or set evaluate.choose_by to disagreement",
        )
    inputs = {
        f"{kind} of {path.parent.parent.name}": path
        for kind, paths in (("scores", scores), ("disagreement", sweeps))
        for path in paths
    }
    record = provenance("choose_threshold", {"merge_weight": merge_weight, "choose_by": choose_by}, inputs)
    head = {"threshold": choice["threshold"], "reason": choice["reason"], "chosen_by": choose_by}
    _write_json(output, {**head, **choices, "provenance": record})
    log.info("%s: threshold %s, %s", output, choice["threshold"], choice["reason"])


def _choose_annotated(scores: Sequence[Path], merge_weight: float) -> dict[str, Any] | None:
    """Return the threshold with the lowest weighted VOI on annotation; None when none has a score on every volume."""
    found: dict[str, list[tuple[float, float]]] = {}
    names, conventions = [], []
    for path in scores:
        ranked = list(_ranked(_read_scores(path)))
        names += [ranked[0][1]["volume"]] if ranked else []
        conventions += [ranked[0][0]] if ranked else []
        for _, row in ranked:
            cost = row["voi_split"] + merge_weight * row["voi_merge"]
            found.setdefault(row["threshold"], []).append((cost, row["voi_sum"]))
    means = {name: np.mean(pairs, axis=0).tolist() for name, pairs in found.items() if len(pairs) == len(scores)}
    if not means:
        return None
    threshold = min(means, key=lambda name: (means[name][0], float(name)))
    cost, voi_sum = means[threshold]
    convention = " and ".join(sorted(set(conventions)))
    weighed = "VOI sum" if merge_weight == 1 else f"VOI split + {merge_weight:g} x merge"
    voi = f"{weighed}, {'a mean of ' if len(scores) > 1 else ''}{cost:.3f} bits"
    reason = f"lowest {voi} ({convention}), on the annotation of {', '.join(names)}"
    return {
        "threshold": float(threshold), "reason": reason, "convention": convention, "voi_sum": voi_sum, "volumes": names
    }  # fmt: skip


def find_best(scores: Path, chosen: Path, sweep: Path, output: Path) -> None:
    """Write the best threshold of a volume by its own reference, and how those chosen without it do there.

    Parameters
    ----------
    scores
        `scores.csv` of the volume and track.
    chosen
        As `choose_threshold` writes it.
    sweep
        `disagreement.csv` of the volume and track.
    output
        JSON file: volume, track, convention, and best, chosen and agreeing {threshold, reason, scores}; agreeing is
        what would be chosen on the volume without any truth, see `disagreeing.choose_agreeing`.

    Raises InputError when nothing is scored, or a chosen threshold isn't among those scored.
    """
    rows = _read_scores(scores)
    ranked = list(_ranked(rows))
    convention = ranked[0][0] if ranked else "interior"
    best = min((row for _, row in ranked), key=lambda row: (row["voi_sum"], float(row["threshold"])), default=None)
    if best is None:
        raise InputError(
            f"{scores} has no scores",
            allowed="at least one voxel that counts",
            remedy="lower evaluate.border, or mend the reference if no voxel of it counts",
        )
    there = {row["threshold"]: row for row in rows if row["convention"] == convention}
    points = {}
    for kind, source, choice in (
        ("chosen", chosen, json.loads(chosen.read_text())),
        ("agreeing", sweep, choose_agreeing([sweep])),
    ):
        name = threshold_name(choice["threshold"])
        if name not in there:
            raise InputError(
                f"{scores} has no threshold {name}, which {source} names",
                allowed="scores of the chosen threshold",
                remedy="score the same thresholds on every volume",
            )
        points[kind] = _point(there[name], choice["reason"])
    lowest = f"lowest VOI sum ({convention}) on the reference of {best['volume']} itself"
    _write_json(
        output,
        {
            "volume": best["volume"],
            "track": best["track"],
            "convention": convention,
            "best": _point(best, lowest),
            **points,
            "provenance": provenance("find_best", {}, {"scores": scores, "chosen": chosen, "sweep": sweep}),
        },
    )
    log.info("%s: best %s, %s", output, best["threshold"], {kind: point["threshold"] for kind, point in points.items()})


def _point(row: Mapping[str, Any], reason: str) -> dict[str, Any]:
    scores = {name: row[name] if math.isfinite(row[name]) else None for name in SCORES}
    return {"threshold": float(row["threshold"]), "reason": reason, **scores}


def read_threshold(record: Path) -> str:
    """Return the threshold that a file names.

    Parameters
    ----------
    record
        JSON file of `choose_threshold`, for the chosen one; of `find_best`, for the best; or CSV file of
        `disagreeing.sweep_disagreement`, for the one with the lowest disagreement.
    """
    if record.suffix == ".csv":
        return threshold_name(choose_agreeing([record])["threshold"])
    content = json.loads(record.read_text())
    return threshold_name(content["best"]["threshold"] if "best" in content else content["threshold"])


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    with atomic_file(path) as partial:
        partial.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
