"""Which objects are split and which segments merge, and where: a table of the worst, and a volume of the voxels."""

import csv
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sparse2dense.errors import InputError
from sparse2dense.ops.object_boxes import ObjectBoxes, merge_boxes, object_boxes
from sparse2dense.ops.object_errors import MERGE, SPLIT, ObjectErrors, error_volume, merge_errors, split_errors
from sparse2dense.ops.overlaps import OverlapTable, look_up, relabel
from sparse2dense.stages.comparing import Comparison
from sparse2dense.stages.sourcecode import resume_key
from sparse2dense.volumes.blockwise import Part, run_blockwise
from sparse2dense.volumes.grid import Block, Box, blocks, moved, shard_shape, snap_up, within
from sparse2dense.volumes.provenance import provenance
from sparse2dense.volumes.replacing import atomic_file
from sparse2dense.volumes.tables import read_table, table_facts
from sparse2dense.volumes.volume import Volume, create_volume, open_volume

__all__ = ["ERROR_COLUMNS", "rank_errors", "write_error_volume"]

log = logging.getLogger(__name__)

SIDES = ("begin", "end")
ERROR_COLUMNS = (
    "threshold", "convention", "kind", "label", "bits", "voxels", "partners", "main", "main_voxels",
    *(f"{side}_{axis}{unit}" for unit in ("", "_nm") for side in SIDES for axis in "zyx"),
)  # fmt: skip
"""Columns of the table of the worst errors."""
CONVENTIONS = ("interior", "all")
"""Ways to count voxels, in the order of the table."""
CODES = {
    "0": "right, or doesn't count",
    str(SPLIT): "split: not in the segment that has most of its object",
    str(MERGE): "merge: not of the object that has most of its segment",
    str(SPLIT + MERGE): "split and merge",
}


def rank_errors(
    compared: Comparison,
    table: Path,
    lut: Path,
    output: Path,
    *,
    count: int = 100,
    block_shape: Sequence[int] = (128, 256, 256),
    workers: int = 1,
    part: Part | None = None,
) -> None:
    """Write which objects are split worst and which segments merge most, and where they are.

    In either convention the bits of all splits add up to the VOI split of the threshold, those of all merges to its VOI
    merge. Only the boxes of labels that are written are ever held.

    Parameters
    ----------
    compared
        Fragments and truth, as they were counted.
    table
        As `evaluating.count_overlaps` writes it of these volumes, not by section.
    lut
        As `agglomerating.make_lut` writes it.
    output
        CSV file of the columns `ERROR_COLUMNS`, `interior` before `all`, splits before merges, most bits first. The
        label is an object (split) or a segment (merge); partners are the segments or objects that share it, `main` the
        one that shares most voxels. The box holds the voxels of the label that count, from `begin` up to and without
        `end`: in voxels of the truth, and in nm.
    count
        How many splits, and how many merges, are written of each convention at most.
    block_shape, workers, part
        As in `evaluating.count_overlaps`.

    Raises InputError when the table was counted by section, or the volumes are not those that were counted.
    """
    segments_of = read_table(lut, "fragment", "segment")
    worst = {
        (convention, kind): errors.worst(count)
        for convention in CONVENTIONS
        for kind, errors in _errors(table, convention, *segments_of).items()
    }
    inputs = {"table": table, "lut": lut, **compared.inputs}
    settings = {"count": count, "border": list(compared.border), "reach": compared.reach}
    record = provenance("rank_errors", settings, inputs)
    first = tuple(side.start for side in compared.boxes[1])
    tiles = compared.tiles(block_shape)

    def create(paths: Sequence[Path]) -> None:
        _boxes_beside(paths).mkdir()

    def work(paths: Sequence[Path], block: Block) -> None:
        found_boxes: dict[tuple[str, str], list[ObjectBoxes]] = {listed: [] for listed in worst}
        for box, found in compared.walk(block.write, block_shape):
            start = [side.start for side in moved(box, first)]
            for convention, kind in worst:
                if kind == "split":
                    values = found.truth.astype(np.uint64)
                else:
                    values = look_up(found.filled if convention == "interior" else found.fragments, *segments_of)
                counts = found.interior if convention == "interior" else found.truth != 0
                wanted = counts & np.isin(values, worst[convention, kind].label)
                found_boxes[convention, kind].append(object_boxes(np.where(wanted, values, np.uint64(0)), start))
        columns = {
            f"{convention}_{kind}_{name}": column
            for (convention, kind), boxes in found_boxes.items()
            for name, column in vars(merge_boxes(boxes)).items()
        }
        with atomic_file(_boxes_beside(paths) / f"{block.index}.npz", shared=True) as piece:
            np.savez(piece, **columns)

    def conclude(paths: Sequence[Path]) -> None:
        reference, threshold = open_volume(compared.truth), table_facts(lut)["threshold"]
        with atomic_file(paths[0]) as partial, partial.open("w", newline="") as file:
            rows = csv.DictWriter(file, ERROR_COLUMNS, lineterminator="\n")
            rows.writeheader()
            for (convention, kind), errors in worst.items():
                boxes = merge_boxes(
                    _boxes(_boxes_beside(paths) / f"{tile.index}.npz", f"{convention}_{kind}") for tile in tiles
                )
                head = {"threshold": threshold, "convention": convention, "kind": kind}
                rows.writerows({**head, **row} for row in _rows(errors, boxes, reference))
        counts = [len(worst["interior", kind]) for kind in ("split", "merge")]
        log.info("%s: %d splits, %d merges at %s", output, *counts, threshold)

    key = resume_key(__name__, record, inputs.values())
    label = f"errors {output.parent.name}"
    run_blockwise(output, key, create, work, tiles, label=label, workers=workers, conclude=conclude, part=part)


def _errors(table: Path, convention: str, *segments_of: Any) -> dict[str, ObjectErrors]:
    """Return splits and merges in a convention, from the table of fragments and a look-up table."""
    (section,) = read_table(table, "section")
    if np.any(section >= 0):
        raise InputError(
            f"{table} was counted section by section",
            allowed="ids that mean the same object in every section",
            remedy="ask for a volume with dense truth, or set annotation.linked where painted ids agree",
        )
    shared = OverlapTable(*read_table(table, "truth", "fragment", "voxels", where=("convention", convention)))
    shared = relabel(shared, *segments_of)
    return {"split": split_errors(shared), "merge": merge_errors(shared)}


def _boxes_beside(paths: Sequence[Path]) -> Path:
    """Return the folder of the boxes of every block, which is gone when the output is whole."""
    return paths[0].with_name("boxes")


def _boxes(file: Path, listed: str) -> ObjectBoxes:
    with np.load(file) as arrays:
        return ObjectBoxes(*(arrays[f"{listed}_{name}"] for name in ("label", *SIDES)))


def _rows(errors: ObjectErrors, boxes: ObjectBoxes, reference: Volume) -> Iterator[dict[str, Any]]:
    """Yield what is written of every label, in the order of `errors`."""
    for place, label in enumerate(errors.label.tolist()):
        row = {name: column[place].item() for name, column in vars(errors).items()}
        ends = zip("zyx", boxes.slices(label), reference.voxel_size, reference.offset, strict=True)
        for axis, side, size, offset in ends:
            for name, voxel in zip(SIDES, (side.start, side.stop), strict=True):
                row |= {f"{name}_{axis}": voxel, f"{name}_{axis}_nm": offset + voxel * size}
        yield row


def write_error_volume(
    compared: Comparison,
    table: Path,
    lut: Path,
    output: Path,
    *,
    block_shape: Sequence[int] = (128, 256, 256),
    workers: int = 1,
    part: Part | None = None,
) -> None:
    """Write which voxels are split from most of their object, or merged with another, block by block.

    Parameters
    ----------
    compared, table, lut
        As in `rank_errors`.
    output
        Volume to write, uint8, in the place of the truth, with the codes of `ops.object_errors.error_volume`; the
        attribute `codes` says what they mean. 0 where there are no fragments.
    block_shape
        Voxels (z, y, x) of a block, rounded up to whole chunks; no matter for the result.
    workers, part
        As in `evaluating.count_overlaps`.

    Raises InputError as `rank_errors` does.
    """
    reference = open_volume(compared.truth)
    chunks = reference.array.chunks
    tile = snap_up(block_shape, chunks)
    segments_of = read_table(lut, "fragment", "segment")
    errors = _errors(table, "interior", *segments_of)
    inputs = {"table": table, "lut": lut, **compared.inputs}
    settings = {"border": list(compared.border), "reach": compared.reach}
    record = provenance("write_error_volume", settings, inputs)

    def create(paths: Sequence[Path]) -> None:
        create_volume(
            paths[0], reference.shape, "uint8", voxel_size=reference.voxel_size, offset=reference.offset, labels=True,
            chunks=chunks, shards=shard_shape(reference.shape, tile, chunks),
            attributes={"codes": CODES, "provenance": record},
        )  # fmt: skip

    def work(paths: Sequence[Path], block: Block) -> None:
        place = compared.boxes[1]
        shared = _both(block.write, place)
        if all(side.start < side.stop for side in shared):
            found = compared.read(within(shared, place))
            segments = look_up(found.filled, *segments_of)
            codes = error_volume(found.truth, segments, errors["split"], errors["merge"], found.interior)
            open_volume(paths[0], "r+")[shared] = codes

    key = resume_key(__name__, record, inputs.values())
    label = f"errors {output.name}"
    tiles = blocks(reference.shape, tile)
    run_blockwise(output, key, create, work, tiles, label=label, workers=workers, part=part)


def _both(one: Box, other: Box) -> Box:
    """Return what two boxes have in common; a side that ends before it begins where they have nothing."""
    return tuple(slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True))
