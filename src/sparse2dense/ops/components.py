"""Connected components of thresholded affinities: the baseline any segmentation must beat."""

from collections.abc import Sequence

import numba
import numpy as np
from numpy.typing import NDArray

from sparse2dense.ops.fragments import nearest_affinities

__all__ = ["component_fragments"]


@numba.njit(cache=True)
def _root(parent: NDArray[np.int64], i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@numba.njit(cache=True)
def _join_linked(parent: NDArray[np.int64], linked: NDArray[np.bool_], stride: int) -> None:
    for i in range(parent.size):
        if linked[i]:
            u, v = _root(parent, i), _root(parent, i - stride)
            if u < v:
                parent[v] = u
            else:
                parent[u] = v


@numba.njit(cache=True)
def _number_components(parent: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Number the sets of at least two voxels in the order of their first voxel, which is their root."""
    size = np.zeros(parent.size, np.int64)
    for i in range(parent.size):
        parent[i] = _root(parent, i)
        size[parent[i]] += 1
    labels = np.zeros(parent.size, np.uint64)
    last = np.uint64(0)
    for i in range(parent.size):
        root = parent[i]
        if size[root] > 1:
            if root == i:
                last += np.uint64(1)
                labels[i] = last
            else:
                labels[i] = labels[root]
    return labels


def component_fragments(
    affinities: NDArray, *, offsets: Sequence[Sequence[int]], threshold: float = 0.5
) -> NDArray[np.uint64]:
    """Label the voxels that links of more than `threshold` connect.

    Links between neighbouring voxels are thresholded, not voxels, so two objects whose boundary is a single layer of
    weak links stay apart.

    Parameters
    ----------
    affinities, offsets
        As in `ops.fragments.watershed_fragments`.
    threshold
        Affinity above which two neighbours belong together.

    Returns
    -------
    uint64 (z, y, x), components 1..n in the order of their first voxel; voxels without any link are 0.

    Raises InputError when a nearest neighbour is missing among the offsets.
    """
    shape = affinities.shape[1:]
    parent = np.arange(int(np.prod(shape)), dtype=np.int64)
    strides = (shape[1] * shape[2], shape[2], 1)
    for channel, stride in zip(nearest_affinities(affinities, offsets), strides, strict=True):
        _join_linked(parent, (channel > threshold).reshape(-1), stride)
    return _number_components(parent).reshape(shape)
