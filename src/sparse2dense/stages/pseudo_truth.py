"""From a segmentation to pseudo ground truth: the objects that are good enough to train on."""

import csv
import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparse2dense.ops.filters import (
    Objects,
    fill_holes,
    grow_into_gaps,
    keep_objects,
    objects_of,
    without_brief,
    without_dust,
    without_outliers,
)
from sparse2dense.volumes.blockwise import atomic_file, directory_output
from sparse2dense.volumes.provenance import provenance
from sparse2dense.volumes.volume import create_volume, open_volume

__all__ = ["make_pseudo_truth"]

log = logging.getLogger(__name__)


def make_pseudo_truth(
    segmentation: Path,
    output: Path,
    output_mask: Path,
    output_counts: Path,
    *,
    dust: int = 0,
    outlier_deviations: float | None = None,
    minimum_sections: int = 1,
    fill_holes: bool = False,
    grow: float = 0,
) -> None:
    """Keep the objects of a segmentation that pass every filter, in the order of the parameters.

    Parameters
    ----------
    segmentation
        Volume of labels (z, y, x).
    output
        Volume to write, the type of `segmentation`, ids unchanged.
    output_mask
        Volume to write, uint8, 1 where there is a label: whatever the filters removed counts as unlabelled.
    output_counts
        CSV file of the columns step, objects and voxels, before and after every filter.
    dust
        Objects of fewer voxels are removed.
    outlier_deviations
        Objects the logarithm of whose size is further from the mean of those left than so many standard deviations
        are removed; None keeps them.
    minimum_sections
        Objects in fewer sections are removed.
    fill_holes
        Fill background that an object encloses in a section, and objects that it encloses in 3D.
    grow
        How far objects grow, in voxels, into space that no object of `segmentation` took: predicted boundaries are
        wide, while painted objects meet in their membranes.
    """
    source = open_volume(segmentation)
    everything = source[...]
    labels, steps = _filtered(everything, dust, outlier_deviations, minimum_sections, fill_holes)
    if grow > 0:
        labels = grow_into_gaps(labels, everything == 0, grow, source.voxel_size)
        steps.append(("grow", objects_of(labels)))
    settings = {
        "dust": dust,
        "outlier_deviations": outlier_deviations,
        "minimum_sections": minimum_sections,
        "fill_holes": fill_holes,
        "grow": grow,
    }
    record = provenance("make_pseudo_truth", settings, {"segmentation": segmentation})
    with (
        directory_output(output) as truth,
        directory_output(output_mask) as mask,
        atomic_file(output_counts) as counts,
    ):
        for path, values in ((truth, labels), (mask, (labels != 0).astype(np.uint8))):
            volume = create_volume(
                path, source.shape, values.dtype, voxel_size=source.voxel_size, offset=source.offset, labels=True,
                chunks=source.array.chunks, attributes={"provenance": record},
            )  # fmt: skip
            volume[...] = values
        with counts.open("w", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["step", "objects", "voxels"])
            rows.writerows((step, len(objects), int(objects.voxels.sum())) for step, objects in steps)
    for step, objects in steps:
        log.info("%s, %s: %d objects, %d voxels", output, step, len(objects), objects.voxels.sum())
    if not labels.any():
        log.warning("%s: no object passed the filters, so a net trained on it sees nothing; relax them", output)


def _filtered(
    labels: NDArray, dust: int, outlier_deviations: float | None, minimum_sections: int, fill: bool
) -> tuple[NDArray, list[tuple[str, Objects]]]:
    """Return the labels that are left, and the objects before and after every filter."""
    steps = [("segmentation", objects_of(labels))]
    steps.append(("dust", without_dust(steps[-1][1], dust)))
    if outlier_deviations is not None:
        steps.append(("outlier_deviations", without_outliers(steps[-1][1], outlier_deviations)))
    steps.append(("minimum_sections", without_brief(steps[-1][1], minimum_sections)))
    kept = keep_objects(labels, steps[-1][1])
    if fill:
        # last, so that holes which removed objects leave in others are closed too
        kept = fill_holes(fill_holes(kept, objects=False), per_section=False)
        steps.append(("fill_holes", objects_of(kept)))
    return kept, steps
