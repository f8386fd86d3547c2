"""Labels of convex cells."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree


def cells(shape: tuple[int, ...], count: int) -> NDArray[np.uint32]:
    """Voronoi cells of random points, labelled from 1."""
    points = np.random.default_rng(0).random((count, len(shape))) * shape
    _, nearest = cKDTree(points).query(np.indices(shape).reshape(len(shape), -1).T)
    return np.asarray(nearest).reshape(shape).astype(np.uint32) + 1
