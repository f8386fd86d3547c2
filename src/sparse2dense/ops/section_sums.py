"""Gaussian-weighted sums over the objects of sections, from which their local shape descriptors follow.

An object is a few runs of voxels per row. The weighted sum over a run is a difference of two values of a table, so a
row costs an object its runs, not its voxels; sums of rows are then weighed down the columns. Everything is counted
from the voxel described: values don't depend on its place, or on what else is described.
"""

from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["describe_objects_of_sections"]


def describe_objects_of_sections(
    objects: NDArray[np.int32],
    roi: Sequence[slice],
    step: int,
    sigma: Sequence[float],
    unit: Sequence[float],
    truncate: float,
    floor: float,
) -> NDArray[np.float32]:
    """Six descriptors of the object around each voxel, seen in its section, as `ops.descriptors` defines them.

    Parameters
    ----------
    objects
        int32 (z, y, x), from 0 (background) to little more than there are objects, as memory is taken for each.
    roi
        The part to describe.
    step
        Every so many voxels of y and x are looked at.
    sigma, unit
        (y, x): standard deviation of the window, and `step` voxels, in the same units.
    truncate
        Standard deviations at which the window ends.
    floor
        Smallest variance, in squared units.

    Returns
    -------
    float32 (6, z, y, x) of the roi.
    """
    windows, radii = [], []
    for s, u in zip(sigma, unit, strict=True):
        radius = int(truncate * s / u + 0.5)
        k = np.arange(-radius, radius + 1)
        weight = np.exp(-0.5 * (k * u / s) ** 2)
        weight /= weight.sum()
        windows.append(np.stack([weight, k * weight, k * k * weight]))
        radii.append(radius)
    part = np.array([(side.start, side.stop) for side in roi[1:]])
    out = np.zeros((6, *(max(0, side.stop - side.start) for side in roi)), np.float32)
    tables = _sums_before(windows[1], -(-objects.shape[2] // step))
    scale = tuple(np.float32(value) for value in (*unit, *sigma))
    weights = windows[0].astype(np.float32)
    for z in range(roi[0].start, roi[0].stop):
        _describe_section(
            objects[z], part, step, weights, tables, radii[1], scale, np.float32(floor), out[:, z - roi[0].start]
        )
    return out


def _sums_before(window: NDArray[np.float64], columns: int) -> NDArray[np.float64]:
    """Sums of a window's values (3, 2 radius + 1) before k, for every k that a row has, from the largest k on.

    Column `centre - k` is for k, `centre` being the middle one: in the order of the voxels that see an end of a run.
    Beyond the window the sums stay as they are.
    """
    radius = window.shape[1] // 2
    sums = np.zeros((3, 2 * (columns + radius) + 3))
    end = columns + 2 * radius + 3
    sums[:, end - window.shape[1] : end] = np.cumsum(window, axis=1)
    sums[:, end:] = sums[:, end - 1 : end]
    return np.ascontiguousarray(sums[:, ::-1])


@njit(cache=True, nogil=True)
def _describe_section(section, part, step, weights, tables, radius, scale, floor, out):  # type: ignore[no-untyped-def]
    """Describe the `part` ((top, bottom), (left, right)) of a section, object by object."""
    columns = section.shape[1]
    if section.size == 0 or out.size == 0:
        return
    boxes = np.zeros((section.max() + 1, 4), np.int64)
    _find_boxes(section, boxes)
    height, width = weights.shape[1], -(-columns // step)
    sums = np.empty((height, 3, width), np.float32)
    moments = np.empty((6, width), np.float32)
    for label in range(1, len(boxes)):
        top, bottom, left, right = boxes[label]
        shown = (max(top, part[0, 0]), min(bottom, part[0, 1]), max(left, part[1, 0]), min(right, part[1, 1]))
        if shown[0] >= shown[1] or shown[2] >= shown[3]:
            continue
        first_column, last_column = shown[2] // step, (shown[3] - 1) // step
        # the sampled voxels of the object that the window can reach
        begin = max(-(-left // step), first_column - radius)
        end = min(-(-right // step), last_column + radius + 1)
        summed = first = max(-(-top // step), shown[0] // step - height // 2)
        for y in range(shown[0] // step, (shown[1] - 1) // step + 1):
            low, high = _extent(section, label, y * step, step, shown)
            while summed < min(-(-bottom // step), y + height // 2 + 1):
                row = section[summed * step, ::step]
                _sum_runs(row, label, begin, end, first_column, last_column + 1, radius, tables, sums[summed % height])
                summed += 1
            if low < high:
                seen = moments[:, low:high]
                _weigh_rows(sums[:, :, low:high], weights, max(first, y - height // 2), summed, y, seen)
                _to_descriptors(seen, scale, floor)
                _write(section, label, y * step, step, shown, low, high, moments, part, out)


@njit(cache=True, nogil=True)
def _find_boxes(section, boxes):  # type: ignore[no-untyped-def]
    """Set (top, bottom, left, right) of every label, given zeros."""
    for y in range(section.shape[0]):
        x = 0
        while x < section.shape[1]:
            label, left = section[y, x], x
            while x < section.shape[1] and section[y, x] == label:
                x += 1
            if boxes[label, 1] == 0:
                boxes[label, 0], boxes[label, 2] = y, left
            boxes[label, 1] = y + 1
            boxes[label, 2] = min(boxes[label, 2], left)
            boxes[label, 3] = max(boxes[label, 3], x)


@njit(cache=True, nogil=True)
def _extent(section, label, top, step, shown):  # type: ignore[no-untyped-def]
    """First sampled column of an object in the rows from `top` to the next sampled one, and that after its last."""
    low, high = shown[3], 0
    for y in range(max(top, shown[0]), min(top + step, shown[1])):
        for x in range(shown[2], shown[3]):
            if section[y, x] == label:
                low = min(low, x)
                break
        for x in range(shown[3] - 1, shown[2] - 1, -1):
            if section[y, x] == label:
                high = max(high, x + 1)
                break
    return low // step, -(-high // step)


@njit(cache=True, nogil=True)
def _sum_runs(row, label, begin, end, low, high, radius, tables, sums):  # type: ignore[no-untyped-def]
    """Sums over one object in a row, for the voxels from `low` to `high`: weight, weight times k, times k squared."""
    centre = tables.shape[1] // 2
    sums[:, low:high] = 0
    x = begin
    while x < end:
        if row[x] != label:
            x += 1
            continue
        first = x
        while x < end and row[x] == label:
            x += 1
        start, stop = max(low, first - radius), min(high, x + radius)
        for channel in range(3):
            seen = sums[channel, start:stop]
            until = tables[channel, centre + start - x : centre + stop - x]
            before = tables[channel, centre + start - first : centre + stop - first]
            for i in range(seen.size):
                seen[i] += until[i] - before[i]


@njit(cache=True, nogil=True)
def _weigh_rows(sums, weights, first, end, y, moments):  # type: ignore[no-untyped-def]
    """Moments 1, y, x, yy, yx, xx of the rows from `first` to `end`, seen from row y."""
    height = len(sums)
    moments[:] = 0
    for row in range(first, end):
        k = row - y + height // 2
        one, along, square = weights[0, k], weights[1, k], weights[2, k]
        seen = sums[row % height]
        _add(moments[0], one, seen[0])
        _add(moments[1], along, seen[0])
        _add(moments[2], one, seen[1])
        _add(moments[3], square, seen[0])
        _add(moments[4], along, seen[1])
        _add(moments[5], one, seen[2])


@njit(cache=True, nogil=True)
def _add(total, weight, values):  # type: ignore[no-untyped-def]
    for x in range(total.size):
        total[x] += weight * values[x]


@njit(cache=True, nogil=True)
def _to_descriptors(moments, scale, floor):  # type: ignore[no-untyped-def]
    """Turn moments into offsets, variances, correlation and size, in place."""
    unit_y, unit_x, sigma_y, sigma_x = scale
    half, none, whole = np.float32(0.5), np.float32(0), np.float32(1)
    for x in range(moments.shape[1]):
        size = moments[0, x]
        weight = size if size > 0 else whole
        mean_y, mean_x = moments[1, x] / weight, moments[2, x] / weight
        variance_y = max((moments[3, x] / weight - mean_y * mean_y) * unit_y * unit_y, floor)
        variance_x = max((moments[5, x] / weight - mean_x * mean_x) * unit_x * unit_x, floor)
        covariance = (moments[4, x] / weight - mean_y * mean_x) * unit_y * unit_x
        moments[0, x] = half * mean_y * unit_y / sigma_y + half
        moments[1, x] = half * mean_x * unit_x / sigma_x + half
        moments[2, x] = variance_y / (sigma_y * sigma_y)
        moments[3, x] = variance_x / (sigma_x * sigma_x)
        moments[4, x] = half * covariance / np.sqrt(variance_y * variance_x) + half
        moments[5, x] = size
        for channel in range(6):
            moments[channel, x] = min(max(moments[channel, x], none), whole)


@njit(cache=True, nogil=True)
def _write(section, label, top, step, shown, low, high, descriptors, part, out):  # type: ignore[no-untyped-def]
    """Give the object's voxels in the rows from `top` to the next sampled one the values of their sampled voxels."""
    for y in range(max(top, shown[0]), min(top + step, shown[1])):
        for column in range(low, high):
            for x in range(max(column * step, shown[2]), min((column + 1) * step, shown[3])):
                if section[y, x] == label:
                    for channel in range(6):
                        out[channel, y - part[0, 0], x - part[1, 0]] = descriptors[channel, column]
