"""Power diagrams of distorted space: for each voxel the seed of least squared distance minus squared radius."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["nearest_seed"]

FloatArray = NDArray[np.float32]


def nearest_seed(
    points: FloatArray, seeds: FloatArray, radii: FloatArray, start: NDArray[np.int32]
) -> tuple[NDArray[np.int32], FloatArray]:
    """Index of the seed of least squared distance minus squared radius, and that difference, for every voxel.

    Found at every other voxel of y and x first; the others then choose among what the voxels around them found.

    Parameters
    ----------
    points
        float32 (3, z, y, x): where each voxel lies in the space of the seeds, which may be distorted.
    seeds, radii
        float32 (n, 3) and (n): positions and radii, in the units of `points`; at least one seed.
    start
        int32 (n, 3): the voxel (z, y, x) from which each seed spreads.

    Returns
    -------
    int32 and float32, (z, y, x).
    """
    table = np.column_stack([seeds, radii * radii]).astype(np.float32)
    coarse = _spread(np.ascontiguousarray(points[:, :, ::2, ::2]), table, start // np.array([1, 2, 2], np.int32))
    return _refine(points, table, coarse)


# Rows are passed as views, and scans lie in functions of their own: inlining by numba, or a view per voxel, counts
# references at every voxel, which takes ten times as long as the scan.


@njit(cache=True, nogil=True)
def _difference(points, x, table, seed):  # type: ignore[no-untyped-def]
    """Squared distance minus squared radius between voxel x of a row of points (3, x) and a seed."""
    dz = points[0, x] - table[seed, 0]
    dy = points[1, x] - table[seed, 1]
    dx = points[2, x] - table[seed, 2]
    return dz * dz + dy * dy + dx * dx - table[seed, 3]


@njit(cache=True, nogil=True)
def _offer_row(points, table, offered, nearest, cost):  # type: ignore[no-untyped-def]
    """Let the seeds of one row take the voxels of the row beside it that they are nearer to than the voxels' own."""
    for x in range(nearest.size):
        seed = offered[x]
        if seed >= 0 and seed != nearest[x]:
            distance = _difference(points, x, table, seed)
            if distance < cost[x]:
                cost[x] = distance
                nearest[x] = seed


@njit(cache=True, nogil=True)
def _scan_row(points, table, nearest, cost, first, step):  # type: ignore[no-untyped-def]
    """Let seeds spread along a row from voxel `first`, forwards or backwards."""
    seed = nearest[first]
    for i in range(1, nearest.size):
        x = first + i * step
        own = nearest[x]
        if seed >= 0 and seed != own:
            distance = _difference(points, x, table, seed)
            if distance < cost[x]:
                cost[x] = distance
                nearest[x] = own = seed
        seed = own


@njit(cache=True, nogil=True)
def _spread(points, table, start):  # type: ignore[no-untyped-def]
    """Nearest seed of every voxel; seeds spread from voxel to voxel in raster scans (Danielsson 1980).

    So the region of a seed hangs together even where space is distorted. A scan each way is exact but for slivers.
    """
    _, depth, rows, columns = points.shape
    nearest = np.full((depth, rows, columns), -1, np.int32)
    cost = np.full((depth, rows, columns), np.finfo(np.float32).max, np.float32)
    for seed in range(len(table)):
        z, y, x = start[seed]
        distance = _difference(points[:, z, y], x, table, seed)
        if distance < cost[z, y, x]:
            cost[z, y, x] = distance
            nearest[z, y, x] = seed
    for z_way in (1, -1):
        for i in range(depth):
            z = i if z_way > 0 else depth - 1 - i
            if i > 0:
                for y in range(rows):
                    _offer_row(points[:, z, y], table, nearest[z - z_way, y], nearest[z, y], cost[z, y])
            for y_way in (1, -1):
                for j in range(rows):
                    y = j if y_way > 0 else rows - 1 - j
                    if j > 0:
                        _offer_row(points[:, z, y], table, nearest[z, y - y_way], nearest[z, y], cost[z, y])
                    _scan_row(points[:, z, y], table, nearest[z, y], cost[z, y], 0, 1)
                    _scan_row(points[:, z, y], table, nearest[z, y], cost[z, y], columns - 1, -1)
    return nearest


@njit(cache=True, nogil=True)
def _refine(points, table, coarse):  # type: ignore[no-untyped-def]
    """Nearest seed at full resolution among those of the up to four sampled voxels around, and the difference."""
    _, depth, rows, columns = points.shape
    nearest = np.empty((depth, rows, columns), np.int32)
    cost = np.empty((depth, rows, columns), np.float32)
    for z in range(depth):
        for y in range(rows):
            above, below = coarse[z, y // 2], coarse[z, min((y + 1) // 2, coarse.shape[1] - 1)]
            _refine_row(points[:, z, y], table, above, below, nearest[z, y], cost[z, y])
    return nearest, cost


@njit(cache=True, nogil=True)
def _refine_row(points, table, above, below, nearest, cost):  # type: ignore[no-untyped-def]
    """Choose for every voxel of a row among the seeds of the sampled rows above and below it."""
    for x in range(nearest.size):
        left, right = x // 2, min((x + 1) // 2, above.size - 1)
        chosen = above[left]
        least = _difference(points, x, table, chosen)
        for seed in (below[left], above[right], below[right]):
            if seed != chosen:
                distance = _difference(points, x, table, seed)
                if distance < least:
                    chosen, least = seed, distance
        nearest[x] = chosen
        cost[x] = least
