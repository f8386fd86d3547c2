"""The convention under which the place of a boundary doesn't count: only the interior of objects does."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["interior"]


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
