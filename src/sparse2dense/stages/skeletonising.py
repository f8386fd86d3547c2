"""Skeletons of the truth of a volume: from a file, or from dense labels."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sparse2dense.errors import InputError
from sparse2dense.ops.object_boxes import merge_boxes, object_boxes
from sparse2dense.ops.skeletonisation import skeletonise_object
from sparse2dense.ops.skeletons import Skeletons, join
from sparse2dense.volumes.grid import blocks, snap_up
from sparse2dense.volumes.progress import with_progress
from sparse2dense.volumes.skeleton_files import crop_to_volume, read_skeletons, write_graphml
from sparse2dense.volumes.volume import open_volume

__all__ = ["import_skeletons", "read_skeletons_in_place", "skeletonise_truth"]

log = logging.getLogger(__name__)

Region = Sequence[Sequence[float]]
"""Begin and end in nm for z, y and x."""


def import_skeletons(
    source: Path,
    reference: Path,
    output: Path,
    *,
    voxel_size: Sequence[float] | None = None,
    offset: Sequence[float] = (0, 0, 0),
    region: Region | None = None,
) -> None:
    """Read skeletons from a file and write those nodes and edges that lie in a volume.

    Parameters
    ----------
    source
        File as `volumes.skeleton_files.read_skeletons` reads it.
    reference
        The volume, whose place in the world counts.
    output
        GraphML file, positions in nm.
    voxel_size
        z, y, x in nm where the positions of the file are in voxels, 3.0 to 3.99 in the fourth; None where they are in
        nm.
    offset
        Where the origin of the file's positions lies, z, y, x in nm.
    region
        Begin and end (z, y, x) in nm of the part of the volume that counts; None for all of it.

    Raises InputError as `read_skeletons` does, and when no node lies in the volume and the region.
    """
    read = read_skeletons_in_place(source, voxel_size=voxel_size, offset=offset)
    inside = crop_to_volume(read, source, open_volume(reference), region)
    write_graphml(inside, output)
    log.info("%s: %d of %d nodes lie in %s", output, len(inside), len(read), reference)


def read_skeletons_in_place(source: Path, *, voxel_size: Sequence[float] | None, offset: Sequence[float]) -> Skeletons:
    """Read skeletons from a file, positions in nm; parameters and errors as for `import_skeletons`."""
    read = read_skeletons(source)
    scale = np.asarray((1, 1, 1) if voxel_size is None else voxel_size, np.float64)
    return replace(read, position=read.position * scale + np.asarray(offset, np.float64))


def skeletonise_truth(
    truth: Path,
    reference: Path,
    output: Path,
    *,
    node_distance_nm: float,
    region: Region | None = None,
    block_shape: Sequence[int] = (128, 256, 256),
) -> None:
    """Thin every object of dense labels to its midline, and write what lies in a volume.

    Objects are held one by one: no more than the box of the largest, about 25 bytes a voxel of it.

    Parameters
    ----------
    truth
        Volume of labels (z, y, x), 0 is background.
    reference, output, region
        As in `import_skeletons`. Skeletons are named by their labels.
    node_distance_nm
        As in `ops.skeletonisation.skeletonise`.
    block_shape
        Voxels (z, y, x) that are looked at together to find the boxes of objects; no matter for the result.

    Raises InputError when the labels are 0 throughout, or no node lies in the volume and the region.
    """
    labels = open_volume(truth)
    tiles = blocks(labels.shape, snap_up(block_shape, labels.array.chunks))
    boxes = merge_boxes(
        object_boxes(labels[tile.write], [side.start for side in tile.write])
        for tile in with_progress(tiles, f"find objects of {truth.name}", len(tiles))
    )
    if len(boxes) == 0:
        raise InputError(
            f"{truth} has no object to make a skeleton of",
            allowed="at least one voxel that isn't 0",
            remedy="correct the truth or its crop, or remove `skeletons` from the volume",
        )
    objects = with_progress(boxes.items(margin=1, shape=labels.shape), f"skeletonise {truth.name}", len(boxes))
    found = join(
        skeletonise_object(
            labels[box] == np.uint64(label), labels.voxel_size, label=label, node_distance_nm=node_distance_nm,
            offset_nm=[
                begin + side.start * size
                for begin, side, size in zip(labels.offset, box, labels.voxel_size, strict=True)
            ],
        )
        for label, box in objects
    )  # fmt: skip
    inside = crop_to_volume(found, truth, open_volume(reference), region)
    write_graphml(inside, output)
    log.info("%s: %d skeletons with %d nodes", output, len(np.unique(inside.skeleton)), len(inside))
