"""The convention under which the place of a boundary doesn't count: only the interior of objects does."""

from collections.abc import Sequence

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["interior"]


def interior(truth: NDArray, border: Sequence[int] = (2, 2, 2)) -> NDArray[np.bool_]:
    """Return where truth isn't 0 and is the same throughout the box of `border` voxels to every side.

    Parameters
    ----------
    truth
        Labels (z, y, x) of any integer type; ids are compared as integers.
    border
        Voxels per axis; the box is cut at the array's edge. 0 along z judges every section by itself.

    Returns
    -------
    bool, the shape of `truth`.
    """
    labels = np.ascontiguousarray(truth)
    # A box is uniform when the boxes of lower dimension in it are, and each equals the one before at its middle. Labels
    # are only compared with their neighbours, in one pass; what follows from it is bytes, many at a time.
    uniform, joined = np.empty(labels.shape, np.uint8), np.empty(labels.shape, np.uint8)
    _sections(labels, border[1], border[2], uniform, joined)
    if border[0] == 0:
        return uniform.view(np.bool_)
    inside = np.empty(labels.shape, np.uint8)
    _through_sections(uniform, joined, border[0], inside)
    return inside.view(np.bool_)


@numba.njit(cache=True, inline="always")
def _restrict(kept, other, shift):  # type: ignore[no-untyped-def]
    """Keep what the other has so many places on, as far as both go."""
    here, there = kept[max(-shift, 0) :], other[max(shift, 0) :]
    for i in range(min(here.size, there.size)):
        here[i] &= there[i]


@numba.njit(cache=True, nogil=True)
def _sections(labels: NDArray, wide: int, long: int, uniform: NDArray[np.uint8], joined: NDArray[np.uint8]) -> None:
    """Find where the box of a section is uniform, and where it also goes on from the section before.

    Rows of a section lie one after the other with `long` ones between, so all of them are looked at as one.
    """
    depth, rows, columns = labels.shape
    stride = columns + 2 * long
    linked = np.ones((rows, stride), np.uint8)
    in_rows, in_columns, box = linked.copy(), linked.copy(), linked.copy()
    for z in range(depth):
        for y in range(rows):
            row, link = labels[z, y], linked[y, long:]
            link[0] = row[0] != 0
            for x in range(1, columns):
                link[x] = np.uint8(row[x] != 0) & np.uint8(row[x] == row[x - 1])
        in_rows[:] = linked
        for step in range(1 - long, long + 1):
            _restrict(in_rows.reshape(-1), linked.reshape(-1), step)
        if long == 0:
            for y in range(rows):
                for x in range(columns):
                    in_rows[y, x] = labels[z, y, x] != 0
        in_columns[0] = in_rows[0]
        for y in range(1, rows):
            row, above, whole, link = labels[z, y], labels[z, y - 1], in_rows[y, long:], in_columns[y, long:]
            for x in range(columns):
                link[x] = whole[x] & np.uint8(row[x] == above[x])
        box[:] = in_columns if wide > 0 else in_rows
        for step in range(1 - wide, wide + 1):
            _restrict(box.reshape(-1), in_columns.reshape(-1), step * stride)
        _restrict(box.reshape(-1), in_rows.reshape(-1), -wide * stride)
        for y in range(rows):
            row, before, whole = labels[z, y], labels[max(z - 1, 0), y], box[y, long:]
            found, link = uniform[z, y], joined[z, y]
            for x in range(columns):
                found[x] = whole[x]
                link[x] = whole[x] & np.uint8(row[x] == before[x])


@numba.njit(cache=True, nogil=True)
def _through_sections(
    uniform: NDArray[np.uint8], joined: NDArray[np.uint8], deep: int, inside: NDArray[np.uint8]
) -> None:
    """Find where the boxes of sections are uniform and go on through `deep` sections before and after."""
    depth = len(uniform)
    for z in range(depth):
        first = max(z - deep, 0)
        inside[z] = uniform[first]
        for section in range(first + 1, min(z + deep + 1, depth)):
            _restrict(inside[z].reshape(-1), joined[section].reshape(-1), 0)
