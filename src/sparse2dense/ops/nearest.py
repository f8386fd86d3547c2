"""The nearest label of every voxel within reach, the same in any cut of a volume."""

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["nearest_at", "nearest_labels", "reach_in_voxels"]

CLOSE = 16
"""How far around a single voxel is searched, in voxels of the axis with the smallest ones."""
LOOKS = 8
"""At other voxels for each of the array, as long as single voxels are looked around: about what all at once costs."""


def reach_in_voxels(reach: float, voxel_size: Sequence[float]) -> tuple[int, ...]:
    """Return how many voxels along each axis lie within `reach`, which is in voxels of the axis with the smallest."""
    sizes, limit = _whole_units(reach, voxel_size)
    return tuple(int(limit / size) for size in sizes)


def _whole_units(reach: float, voxel_size: Sequence[float]) -> tuple[list[int], Fraction]:
    """Return voxel sizes and reach in the largest unit of which all voxel sizes are multiples, exactly as written."""
    sizes = [Fraction(str(float(size))) for size in voxel_size]
    common = math.lcm(*(size.denominator for size in sizes))
    multiples = [int(size * common) for size in sizes]
    unit = math.gcd(*multiples)
    sides = [multiple // unit for multiple in multiples]
    return sides, Fraction(str(float(reach))) * min(sides)


def nearest_labels(
    labels: NDArray, voxel_size: Sequence[float], reach: float, box: Sequence[slice] | None = None
) -> NDArray:
    """Give every voxel that is 0 the label nearest to it; those farther than `reach` from all labels stay 0.

    Of equally near labels counts the one at the voxel that is first in the order of z, y, x. Squared distances are
    whole numbers (up to 2^53, with voxel sizes as decimals), so ties are exact and a voxel depends on nothing but the
    voxels within reach: a part of a volume with a margin of `reach_in_voxels` gives what the whole volume gives.

    Found axis after axis: the nearest in the row, then among those of the rows of the section, then of the sections,
    each from near to far and no farther than the nearest so far.

    Parameters
    ----------
    labels
        (z, y, x), any unsigned integers; left as they are.
    voxel_size
        Edge lengths per axis in any one unit; distances are measured between the centres of voxels.
    reach
        In voxels of the axis with the smallest ones.
    box
        Voxels to return, all by default; the others are only looked at.

    Returns
    -------
    The type of `labels`, the shape of `box`.
    """
    inner = tuple(slice(0, side) for side in labels.shape) if box is None else tuple(box)
    sides, limit = _whole_units(reach, voxel_size)
    squares = np.array([float(side * side) for side in sides])
    bounds = np.array([[side.start, side.stop] for side in inner])
    shape = (len(labels), *(side.stop - side.start for side in inner[1:]))
    squared, source = np.empty(shape, np.float64), np.empty(shape, np.int64)
    filled = labels[inner].copy()
    if filled.size and not filled.all():
        _nearest_in_sections(labels, squares, float(limit * limit), bounds, squared, source)
        _nearest_of_sections(labels, squares[0], float(limit * limit), squared, source, bounds[0], filled)
    return filled


def nearest_at(labels: NDArray, places: NDArray[np.int64], voxel_size: Sequence[float], reach: float) -> NDArray:
    """Return what `nearest_labels` gives some voxels that are 0; much faster where these are few.

    Most have a label close by, which is found by looking around; the others are left to `nearest_labels`, in the box
    that holds them all, and so are all from where the looks cost as much as that.

    Parameters
    ----------
    labels, voxel_size, reach
        As in `nearest_labels`.
    places
        (n, 3): z, y, x of the voxels.

    Returns
    -------
    The type of `labels`, (n,).
    """
    sides, limit = _whole_units(reach, voxel_size)
    close = min(limit, Fraction(CLOSE * min(sides)))
    found, left = np.zeros(len(places), labels.dtype), np.ones(len(places), np.bool_)
    _nearest_around(labels, places, _steps(tuple(sides), close), close == limit, found, left)
    if left.any():
        first, last = places[left].min(axis=0), places[left].max(axis=0) + 1
        margin = np.array(reach_in_voxels(reach, voxel_size))
        low, high = np.maximum(first - margin, 0), np.minimum(last + margin, labels.shape)
        around, box = (tuple(map(slice, start, stop)) for start, stop in ((low, high), (first - low, last - low)))
        filled = nearest_labels(labels[around], voxel_size, reach, box)
        found[left] = filled[tuple((places[left] - first).T)]
    return found


@lru_cache
def _steps(sides: tuple[int, ...], limit: Fraction) -> NDArray[np.int64]:
    """Return the steps (z, y, x) to all voxels within `limit`, near ones first, and those of a distance in order."""
    counts = [int(limit / side) for side in sides]
    steps = np.stack(np.meshgrid(*(np.arange(-count, count + 1) for count in counts), indexing="ij"), -1).reshape(-1, 3)
    squares = ((steps * np.array(sides)) ** 2).sum(axis=1)
    order = np.argsort(squares, kind="stable")
    return steps[order[: np.count_nonzero(squares <= math.floor(limit * limit))]]


@numba.njit(cache=True, nogil=True)
def _nearest_around(
    labels: NDArray,
    places: NDArray[np.int64],
    steps: NDArray[np.int64],
    all_steps: bool,
    found: NDArray,
    left: NDArray[np.bool_],
) -> None:
    """Look for the label of each place step by step, and take those from `left` that are done."""
    depth, rows, columns = labels.shape
    looks = 0
    for i in range(len(places)):
        if looks > LOOKS * labels.size:
            return
        for k in range(len(steps)):
            z, y, x = places[i, 0] + steps[k, 0], places[i, 1] + steps[k, 1], places[i, 2] + steps[k, 2]
            looks += 1
            if 0 <= z < depth and 0 <= y < rows and 0 <= x < columns and labels[z, y, x] != 0:
                found[i], left[i] = labels[z, y, x], False
                break
        if all_steps:
            left[i] = False


@numba.njit(cache=True, nogil=True)
def _nearest_in_sections(
    labels: NDArray,
    squares: NDArray[np.float64],
    limit: float,
    bounds: NDArray[np.int64],
    squared: NDArray[np.float64],
    source: NDArray[np.int64],
) -> None:
    """Find for every voxel within `bounds` of y and x the nearest label of its section.

    `squared` gets the square of the distance, infinite beyond the limit; `source` the place in the flat section.
    """
    rows, columns = labels.shape[1:]
    top, left = bounds[1, 0], bounds[2, 0]
    in_row = np.empty((rows, squared.shape[2]), np.int64)
    for z in range(labels.shape[0]):
        for y in range(rows):
            _nearest_in_row(labels[z, y], left, in_row[y])
        for y in range(squared.shape[1]):
            for x in range(squared.shape[2]):
                best, found, step = limit, -1, 0
                while squares[1] * step * step <= best:
                    for row in (y + top - step, y + top + step):
                        if 0 <= row < rows and in_row[row, x] >= 0:
                            across = in_row[row, x] - left - x
                            distance = squares[2] * across * across + squares[1] * step * step
                            # of equals before this row, the farther comes first in order; of those behind, the nearer
                            if distance < best or (distance == best and (found < 0 or row < y + top)):
                                best, found = distance, row * columns + in_row[row, x]
                    step += 1
                squared[z, y, x] = best if found >= 0 else np.inf
                source[z, y, x] = found


@numba.njit(cache=True, nogil=True)
def _nearest_in_row(row: NDArray, left: int, nearest: NDArray[np.int64]) -> None:
    """Find the column of the nearest label, -1 where there is none, for the columns from `left` on."""
    last = -1
    for x in range(left + nearest.size):
        if row[x] != 0:
            last = x
        if x >= left:
            nearest[x - left] = last
    following = -1
    for x in range(row.size - 1, left - 1, -1):
        if row[x] != 0:
            following = x
        if x < left + nearest.size and following >= 0:
            before = nearest[x - left]
            if before < 0 or following - x < x - before:
                nearest[x - left] = following


@numba.njit(cache=True, nogil=True)
def _nearest_of_sections(
    labels: NDArray,
    square: float,
    limit: float,
    squared: NDArray[np.float64],
    source: NDArray[np.int64],
    bounds: NDArray[np.int64],
    filled: NDArray,
) -> None:
    """Give voxels of `filled` that are 0 the nearest of the labels found in sections."""
    depth = labels.shape[0]
    columns = labels.shape[2]
    for z in range(bounds[0], bounds[1]):
        for y in range(filled.shape[1]):
            for x in range(filled.shape[2]):
                if filled[z - bounds[0], y, x] != 0:
                    continue
                best, found, step = limit, -1, 0
                while square * step * step <= best:
                    for section in (z - step, z + step):
                        if 0 <= section < depth:
                            distance = squared[section, y, x] + square * step * step
                            if distance < best or (distance == best and (found < 0 or section < z)):
                                best, found = distance, section
                    step += 1
                if found >= 0:
                    place = source[found, y, x]
                    filled[z - bounds[0], y, x] = labels[found, place // columns, place % columns]
