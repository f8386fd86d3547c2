"""Holes: what a single object encloses, found in one array or put together from the regions of blocks.

A region is a connected set of voxels of one label, background included; voxels are neighbours through faces. Which
regions touch, and which touch the faces of the volume, is all it takes to find the enclosed ones: so a block is
described by its regions and the layers of voxels at its faces, and the whole volume by the sum of that.
"""

from collections.abc import Sequence

import cc3d
import fastremap
import numba
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

__all__ = ["contacts", "distinct_pairs", "fill_holes", "fill_regions", "regions_of"]

Regions = NDArray[np.int64]


def regions_of(labels: NDArray, *, per_section: bool = False) -> tuple[Regions, NDArray]:
    """Number the regions of an array.

    Parameters
    ----------
    labels
        (z, y, x) unsigned integers of at least one voxel, 0 is background.
    per_section
        Regions end at the faces between sections.

    Returns
    -------
    regions, label_of
        int64 of the shape of `labels`, from 0; the label of each region.
    """
    # background, too, gets a number above 0, or cc3d would leave it out
    dense = fastremap.renumber(np.ascontiguousarray(labels), preserve_zero=False)[0]
    if per_section:
        regions, last = np.empty(labels.shape, np.int64), 0
        for section, found in zip(regions, dense, strict=True):
            section[...] = cc3d.connected_components(found, connectivity=4)
            section += last - 1
            last = int(section.max()) + 1
    else:
        regions = cc3d.connected_components(dense, connectivity=6).astype(np.int64) - 1
    label_of = np.empty(int(regions.max()) + 1, labels.dtype)
    label_of[regions.reshape(-1)] = labels.reshape(-1)
    return regions, label_of


def contacts(regions: Regions, axes: Sequence[int] = (0, 1, 2)) -> NDArray[np.int64]:
    """Return the distinct pairs of different regions that touch along `axes`, int64 (n, 2), the smaller first."""
    found = []
    for axis in axes:
        lines = np.moveaxis(regions, axis, 0)
        differ = lines[1:] != lines[:-1]
        found.append(distinct_pairs(lines[1:][differ], lines[:-1][differ]))
    pairs = np.concatenate([np.zeros((0, 2), np.int64), *found])
    return distinct_pairs(pairs[:, 0], pairs[:, 1])


def distinct_pairs(u: NDArray[np.int64], v: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the distinct pairs among (u, v) in any order of the two, int64 (n, 2), the smaller first."""
    low, high = np.minimum(u, v), np.maximum(u, v)
    count = int(high.max(initial=0)) + 1
    pairs = np.unique(low * count + high)
    return np.stack([pairs // count, pairs % count], axis=1)


def fill_regions(
    labels: NDArray, pairs: NDArray[np.int64], outermost: NDArray[np.bool_], *, objects: bool = True
) -> NDArray:
    """Return the label of every region after each object took what it encloses.

    Parameters
    ----------
    labels
        The label of each region.
    pairs
        int64 (n, 2): regions that touch. Those of equal label are parts of one, which a block's face cuts.
    outermost
        Whether a region touches a face of the volume; at least one does.
    objects
        Fill enclosed objects too, otherwise background only.

    Returns
    -------
    The shape and type of `labels`. An object takes all that it encloses, at any depth; background takes nothing.
    """
    same = labels[pairs[:, 0]] == labels[pairs[:, 1]]
    one, other = pairs[same].T
    links = sparse.coo_matrix((np.ones(len(one), np.bool_), (one, other)), shape=(len(labels),) * 2)
    count, whole = sparse.csgraph.connected_components(links, directed=False)
    whole = whole.astype(np.int64)
    label_of = np.zeros(count, labels.dtype)
    label_of[whole] = labels
    fixed = np.zeros(count, np.bool_)
    fixed[whole[outermost]] = True
    touching = distinct_pairs(*whole[pairs[~same]].T)
    filled = label_of.copy()
    _fill_enclosed(label_of, touching, fixed, objects, filled)
    return filled[whole]


@numba.njit(cache=True, nogil=True)
def _fill_enclosed(
    label_of: NDArray, pairs: NDArray[np.int64], fixed: NDArray[np.bool_], objects: bool, filled: NDArray
) -> None:
    """Remove regions with one neighbour again and again; what is removed is enclosed by the neighbour it had left.

    The exclusive or of a region's neighbours is the last of them once the others are gone.
    """
    count = label_of.size
    neighbours, last = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for i in range(len(pairs)):
        u, v = pairs[i]
        neighbours[u] += 1
        neighbours[v] += 1
        last[u] ^= v
        last[v] ^= u
    removed = np.empty(count, np.int64)
    done, end = 0, 0
    for region in range(count):
        if neighbours[region] == 1 and not fixed[region]:
            removed[end] = region
            end += 1
    while done < end:
        outer = last[removed[done]]
        last[outer] ^= removed[done]
        neighbours[outer] -= 1
        if neighbours[outer] == 1 and not fixed[outer]:
            removed[end] = outer
            end += 1
        done += 1
    # from the outside in: the outermost object around each region, 0 where there is none
    around = np.zeros(count, label_of.dtype)
    for i in range(end - 1, -1, -1):
        region = removed[i]
        outer = last[region]
        around[region] = around[outer] if around[outer] != 0 else label_of[outer]
        if around[region] != 0 and (objects or label_of[region] == 0):
            filled[region] = around[region]


def fill_holes(labels: NDArray, *, per_section: bool = True, objects: bool = True) -> NDArray:
    """Fill what a single object encloses, background and where asked other objects, with that object.

    A region of background or of one object is enclosed when it touches no face of the array and one other region only
    (through faces of voxels); regions inside an enclosed region go with it. A background hole that contains objects
    is filled too; objects that lie in background which is itself not enclosed stay.

    Parameters
    ----------
    labels
        (z, y, x) unsigned integers, 0 is background; left as they are.
    per_section
        Look at every section alone, so that a tunnel through the sections is a hole in each; otherwise in 3D.
    objects
        Fill enclosed objects too, otherwise background only.
    """
    if labels.size == 0:
        return labels.copy()
    axes = (1, 2) if per_section else (0, 1, 2)
    regions, label_of = regions_of(labels, per_section=per_section)
    outermost = np.zeros(len(label_of), np.bool_)
    for axis in axes:
        outermost[np.moveaxis(regions, axis, 0)[[0, -1]]] = True
    return fill_regions(label_of, contacts(regions, axes), outermost, objects=objects)[regions]
