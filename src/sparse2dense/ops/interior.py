"""The convention under which the place of a boundary doesn't count: only the interior of objects does."""

from collections.abc import Sequence
from math import prod

import numba
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
    labels = np.ascontiguousarray(truth)
    inside = labels != 0
    # Axis after axis: a box is uniform when every line of it along this axis is and the boxes of lower dimension
    # around the voxels of that line are.
    for axis in reversed(range(truth.ndim)):
        if border[axis] > 0:
            lines = (prod(truth.shape[:axis]), truth.shape[axis], prod(truth.shape[axis + 1 :]))
            erode = _erode_rows if axis == truth.ndim - 1 else _erode
            erode(labels.reshape(lines), inside.reshape(lines), border[axis])
    return inside


@numba.njit(cache=True, nogil=True)
def _erode_rows(labels: NDArray, inside: NDArray[np.bool_], width: int) -> None:
    """Take from `inside` the ends of runs of a label along the second axis; the third has one voxel."""
    length = labels.shape[1]
    for row in range(labels.shape[0]):
        start = 0
        while start < length:
            stop = start + 1
            while stop < length and labels[row, stop, 0] == labels[row, start, 0]:
                stop += 1
            first = start + width if start > 0 else 0
            last = stop - width if stop < length else length
            inside[row, start : min(first, stop)] = False
            inside[row, max(last, start) : stop] = False
            start = stop


@numba.njit(cache=True, nogil=True)
def _erode(labels: NDArray, inside: NDArray[np.bool_], width: int) -> None:
    """Keep in `inside` the middles of runs of a label that are inside, along the second axis.

    All lines of the third axis advance together, so memory is read in its order.
    """
    length, lines = labels.shape[1:]
    whole = 2 * width + 1
    run = np.empty(lines, np.int32)
    for part in range(labels.shape[0]):
        run[:] = width  # as though all went on before the first voxel
        for i in range(length + width):
            here, before = labels[part, min(i, length - 1)], labels[part, min(max(i - 1, 0), length - 1)]
            kept = inside[part, min(i, length - 1)]
            if i < length:
                for j in range(lines):
                    longer = min(run[j] + 1, whole) if here[j] == before[j] else 1
                    run[j] = longer if kept[j] else 0
            else:  # and after the last
                for j in range(lines):
                    run[j] = min(run[j] + 1, whole) if run[j] > 0 else 0
            if i >= width:
                middle = inside[part, i - width]
                for j in range(lines):
                    middle[j] = run[j] >= whole
