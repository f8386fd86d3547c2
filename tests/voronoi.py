"""Small random tessellations and affinities with which tests stand in for objects in tissue."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from sparse2dense.ops.affinities import affinities

OFFSETS = [[-1, 0, 0], [0, -1, 0], [0, 0, -1]]


def voronoi(shape: Sequence[int], cells: int, seed: int = 0, ids: Sequence[int] | None = None) -> NDArray[np.uint64]:
    """Return a tessellation of `shape` into `cells` labels, 1..cells unless `ids` are given."""
    rng = np.random.default_rng(seed)
    points = rng.random((cells, len(shape))) * np.asarray(shape)
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    nearest = np.argmin(((grid[..., None, :] - points) ** 2).sum(-1), axis=-1)
    labels = np.asarray(range(1, cells + 1) if ids is None else ids, np.uint64)
    return labels[nearest]


def noisy_affinities(
    labels: NDArray, offsets: Sequence[Sequence[int]] = OFFSETS, noise: float = 0.2, seed: int = 0
) -> NDArray[np.float32]:
    """Return the affinities of `labels`, between 0.1 and 0.9, with uniform noise."""
    rng = np.random.default_rng(seed)
    exact = affinities(labels, offsets)
    return np.clip(0.1 + 0.8 * exact + rng.uniform(-noise, noise, exact.shape), 0, 1).astype(np.float32)


def smooth(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint64]]:
    """Return blurred affinities of 25 objects as a net would write them, and some 340 fragments."""
    truth = voronoi((20, 40, 40), 25, seed)
    fragments = voronoi(truth.shape, 100, seed + 100) + 1000 * truth
    numbered = np.unique(fragments, return_inverse=True)[1].reshape(truth.shape).astype(np.uint64) + np.uint64(1)
    blurred = [gaussian_filter(channel, 0.8) for channel in noisy_affinities(truth, noise=0.5, seed=seed)]
    return (np.stack(blurred) * 255).astype(np.uint8), numbered
