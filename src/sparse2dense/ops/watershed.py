"""Seeded watershed in an exact order of flooding, and the running maximum that finds its seeds.

Both work on the bits of float32 values: those of numbers that aren't negative are integers of the same order.
"""

from collections.abc import Sequence

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["seeded_watershed", "window_maximum"]

FEWEST_SLOTS = 2**12
"""Levels of a hash table to begin with, twice as many as it may hold; distances have some hundreds or thousands."""


def window_maximum(values: NDArray[np.float32], window: Sequence[int]) -> NDArray[np.float32]:
    """Return the largest value in a window around each voxel, cut at the edges of the array.

    A window doubles until it is wide enough: a few comparisons per axis and voxel, however wide it is.

    Parameters
    ----------
    values
        float32 (z, y, x), C-contiguous, not negative.
    window
        Odd sides of the window in voxels.
    """
    largest = values.copy()
    bits = largest.view(np.int32)
    depth, rows, columns = values.shape
    # along z, one row of every section at a time; along y, a section; along x, a row
    for lines, side in zip(
        (bits.transpose(1, 0, 2), bits, bits.reshape(depth * rows, columns, 1)), window, strict=True
    ):
        needed = min(side, 2 * lines.shape[1] - 1)  # wider ones see the same
        if needed > 1:
            _running_maximum(lines, needed)
    return largest


@numba.njit(cache=True, nogil=True)
def _running_maximum(lines: NDArray[np.int32], window: int) -> None:
    """Replace values of (line, place, neighbour) by the maximum of a window of places."""
    count, length, width = lines.shape
    margin = window // 2 * width
    inner = length * width
    values, wider = np.zeros(inner + 2 * margin, np.int32), np.zeros(inner + 2 * margin, np.int32)
    for line in range(count):
        values[:margin] = 0
        values[margin + inner :] = 0
        for place in range(length):
            begin = margin + place * width
            for i in range(width):
                values[begin + i] = lines[line, place, i]
        # `values[i]` is the maximum of `covered` places from i on
        covered = 1
        left = values.size
        while covered < window:
            step = min(covered, window - covered)
            shift = step * width
            left -= shift
            for i in range(left):
                near, far = values[i], values[i + shift]
                wider[i] = near if near > far else far
            values, wider = wider, values
            covered += step
        for place in range(length):
            begin = place * width
            for i in range(width):
                lines[line, place, i] = values[begin + i]


def seeded_watershed(depth: NDArray[np.float32], seeds: NDArray) -> NDArray[np.int32]:
    """Flood the voxels of a depth above 0 from seeds, the deepest first; neighbours share a face.

    Voxels of equal depth are flooded in the order in which the flood reached them, those of seeds in the order of
    their position. What no seed reaches is flooded from its first voxel under labels of its own. The result is that
    of Meyer's algorithm (1991), as in scikit-image, wherever seeds of equal depth don't decide.

    Parameters
    ----------
    depth
        float32 (z, y, x), C-contiguous, not negative.
    seeds
        uint32 (z, y, x): labels from 1, 0 elsewhere; ignored where the depth is 0.

    Returns
    -------
    int32 (z, y, x): the labels of the seeds, then those of what none reached; 0 where the depth is 0.
    """
    # A margin of walls spares the flood the question whether a neighbour lies outside.
    padded = np.zeros(tuple(side + 2 for side in depth.shape), np.int32)
    slots, filled = FEWEST_SLOTS, False
    while not filled:
        keys, counts = np.zeros(slots, np.int32), np.zeros(slots, np.int64)
        filled = _find_levels(depth.view(np.int32), padded, keys, counts)
        slots *= 4
    used = np.flatnonzero(keys)
    levels = used[np.argsort(keys[used])]
    rank = np.zeros(len(keys), np.int64)
    rank[levels] = np.arange(len(levels))
    first = np.cumsum(counts[levels]) - counts[levels]
    queue = np.empty(counts.sum(), np.int32 if padded.size < 2**31 else np.int64)
    forth = [stride // padded.itemsize for stride, side in zip(padded.strides, depth.shape, strict=True) if side > 1]
    steps = np.array([-step for step in forth] + forth[::-1], np.int64)
    _flood_all(padded, seeds, rank, first, queue, steps)
    return padded[1:-1, 1:-1, 1:-1]


@numba.njit(cache=True, nogil=True)
def _find_levels(
    depth: NDArray[np.int32], state: NDArray[np.int32], keys: NDArray[np.int32], counts: NDArray[np.int64]
) -> bool:
    """Hash the distinct depths; `state`, which has a margin of one voxel, gets -1 - slot. False when it gets tight."""
    mask = keys.size - 1
    used = 0
    for z in range(depth.shape[0]):
        for y in range(depth.shape[1]):
            for x in range(depth.shape[2]):
                key = depth[z, y, x]
                if key == 0:
                    continue
                # multiplicative hashing (Knuth): the middle of the product depends on all bits of the key
                slot = np.int64((np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) & mask
                while keys[slot] != key:
                    if keys[slot] != 0:
                        slot = (slot + 1) & mask
                    elif 2 * used == keys.size:
                        return False
                    else:
                        keys[slot] = key
                        used += 1
                counts[slot] += 1
                state[z + 1, y + 1, x + 1] = -1 - slot
    return True


@numba.njit(cache=True, nogil=True)
def _flood_all(
    padded: NDArray[np.int32],
    seeds: NDArray[np.uint32],
    rank: NDArray[np.int64],
    first: NDArray[np.int64],
    queue: NDArray,
    steps: NDArray[np.int64],
) -> None:
    """Label voxels in place. A voxel of `padded` is 0 (a wall), its label, or -1 - slot while it has none.

    Every level has its own part of `queue`, from `first`, as long as the level has voxels: each enters it once.
    """
    state = padded.reshape(-1)
    head, tail = first.copy(), first.copy()
    last = np.int32(0)
    for z in range(seeds.shape[0]):
        for y in range(seeds.shape[1]):
            p = ((z + 1) * padded.shape[1] + y + 1) * padded.shape[2] + 1
            for x in range(seeds.shape[2]):
                label = np.int32(seeds[z, y, x])
                if label != 0 and state[p + x] < 0:
                    level = rank[-1 - state[p + x]]
                    queue[tail[level]] = p + x
                    tail[level] += 1
                    state[p + x] = label
                    last = max(last, label)
    _flood(state, rank, head, tail, queue, steps, first.size - 1)
    for p in range(state.size):
        if state[p] < 0:
            level = rank[-1 - state[p]]
            queue[tail[level]] = p
            tail[level] += 1
            last += np.int32(1)
            state[p] = last
            _flood(state, rank, head, tail, queue, steps, level)


@numba.njit(cache=True, nogil=True)
def _flood(
    state: NDArray[np.int32],
    rank: NDArray[np.int64],
    head: NDArray[np.int64],
    tail: NDArray[np.int64],
    queue: NDArray,
    steps: NDArray[np.int64],
    level: int,
) -> None:
    """Flood until the queues are empty; nothing waits above `level`."""
    while level >= 0:
        if head[level] == tail[level]:
            level -= 1
            continue
        p = queue[head[level]]
        head[level] += 1
        label = state[p]
        for step in steps:
            neighbour = state[p + step]
            if neighbour < 0:
                deeper = rank[-1 - neighbour]
                state[p + step] = label
                queue[tail[deeper]] = p + step
                tail[deeper] += 1
                level = max(level, deeper)
