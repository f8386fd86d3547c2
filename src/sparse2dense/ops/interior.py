"""The convention under which the place of a boundary doesn't count: only the interior of objects does."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["interior", "nearest_fragments"]


def interior(truth: NDArray, border: Sequence[int] = (2, 2, 2)) -> NDArray[np.bool_]:
    """Return where truth isn't 0 and is the same throughout the box of `border` voxels to every side.

    Parameters
    ----------
    truth
        Labels of any integer type and number of dimensions; ids are compared as integers.
    border
        Voxels per axis; the box is cut at the array's edge. 0 along z judges every section by itself.

    Returns
    -------
    bool, the shape of `truth`.
    """
    inside = truth != 0
    for axis, width in enumerate(border):
        # Axis after axis: a box is uniform when every line of it along this axis is and the boxes of lower dimension
        # around the voxels of that line are.
        lower = np.moveaxis(inside, axis, 0)
        labels = np.moveaxis(truth, axis, 0)
        inside = inside.copy()
        result = np.moveaxis(inside, axis, 0)
        for step in range(1, min(width, len(labels) - 1) + 1):
            same = labels[step:] == labels[:-step]
            result[step:] &= same & lower[:-step]
            result[:-step] &= same & lower[step:]
    return inside


def nearest_fragments(fragments: NDArray, voxel_size: Sequence[float]) -> NDArray:
    """Give every voxel outside all fragments the fragment nearest to it.

    Parameters
    ----------
    fragments
        Labels, 0 is outside; left as they are.
    voxel_size
        Edge lengths per axis in any one unit; distances are measured between the centres of voxels.

    Returns
    -------
    The shape and type of `fragments`; all 0 where there is no fragment at all.
    """
    outside = fragments == 0
    if not outside.any() or outside.all():
        return fragments.copy()
    nearest = ndimage.distance_transform_edt(
        outside, sampling=tuple(voxel_size), return_distances=False, return_indices=True
    )
    return fragments[tuple(nearest)]
