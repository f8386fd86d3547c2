"""Skeletons of the truth of a volume: from a file, or from dense labels."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sparse2dense.errors import InputError
from sparse2dense.ops.skeletonisation import skeletonise
from sparse2dense.ops.skeletons import Skeletons
from sparse2dense.volumes.skeleton_files import crop_to_volume, read_skeletons, write_graphml
from sparse2dense.volumes.volume import open_volume

__all__ = ["import_skeletons", "read_skeletons_in_place", "skeletonise_truth"]

log = logging.getLogger(__name__)


def import_skeletons(
    source: Path,
    reference: Path,
    output: Path,
    *,
    voxel_size: Sequence[float] | None = None,
    offset: Sequence[float] = (0, 0, 0),
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

    Raises InputError as `read_skeletons` does, and when no node lies in the volume.
    """
    read = read_skeletons_in_place(source, voxel_size=voxel_size, offset=offset)
    inside = crop_to_volume(read, source, open_volume(reference))
    write_graphml(inside, output)
    log.info("%s: %d of %d nodes lie in %s", output, len(inside), len(read), reference)


def read_skeletons_in_place(source: Path, *, voxel_size: Sequence[float] | None, offset: Sequence[float]) -> Skeletons:
    """Read skeletons from a file, positions in nm; parameters and errors as for `import_skeletons`."""
    read = read_skeletons(source)
    scale = np.asarray((1, 1, 1) if voxel_size is None else voxel_size, np.float64)
    return replace(read, position=read.position * scale + np.asarray(offset, np.float64))


def skeletonise_truth(truth: Path, reference: Path, output: Path, *, node_distance_nm: float) -> None:
    """Thin every object of dense labels to its midline, and write what lies in a volume; held in memory as a whole.

    Parameters
    ----------
    truth
        Volume of labels (z, y, x), 0 is background.
    reference, output
        As in `import_skeletons`. Skeletons are named by their labels.
    node_distance_nm
        As in `ops.skeletonisation.skeletonise`.

    Raises InputError when the labels are 0 throughout, or no node lies in the volume.
    """
    labels = open_volume(truth)
    found = skeletonise(labels[...], labels.voxel_size, node_distance_nm=node_distance_nm, offset_nm=labels.offset)
    if len(found) == 0:
        raise InputError(
            f"{truth} has no object to make a skeleton of",
            allowed="at least one voxel that isn't 0",
            remedy="correct the truth or its crop, or remove `skeletons` from the volume",
        )
    inside = crop_to_volume(found, truth, open_volume(reference))
    write_graphml(inside, output)
    log.info("%s: %d skeletons with %d nodes", output, len(np.unique(inside.skeleton)), len(inside))
