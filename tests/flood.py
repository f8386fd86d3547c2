"""Watershed by the book, for comparison: a heap of voxels, the deepest first, then in the order of arrival."""

import heapq

import numpy as np
from numpy.typing import NDArray

STEPS = ((-1, 0, 0), (0, -1, 0), (0, 0, -1), (0, 0, 1), (0, 1, 0), (1, 0, 0))


def flooded(depth: NDArray, seeds: NDArray) -> NDArray[np.int64]:
    """Flood what is deeper than 0 from seeds, both (z, y, x); seeds of equal depth in the order of their position."""
    labels = np.where(depth > 0, seeds, 0).astype(np.int64)
    heap = [(-depth[tuple(place)], 0, tuple(place)) for place in np.argwhere(labels)]
    heapq.heapify(heap)
    age = 0
    while heap:
        _, _, place = heapq.heappop(heap)
        for step in STEPS:
            near = tuple(a + b for a, b in zip(place, step, strict=True))
            inside = all(0 <= a < side for a, side in zip(near, depth.shape, strict=True))
            if inside and depth[near] > 0 and labels[near] == 0:
                age += 1
                labels[near] = labels[place]
                heapq.heappush(heap, (-depth[near], age, near))
    return labels
