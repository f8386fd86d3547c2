"""Fragments (supervoxels) from affinities: seeded watershed on the distance to the boundary, and a baseline."""

from collections.abc import Sequence

import cc3d
import edt
import numba
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from sparse2dense.errors import InputError
from sparse2dense.ops.affinities import Offsets, check_offsets

__all__ = [
    "component_fragments",
    "filter_fragments",
    "mean_affinity",
    "nearest_affinities",
    "watershed_fragments",
]


def nearest_affinities(
    affinities: NDArray, offsets: Sequence[Sequence[int]], axes: Sequence[int] = (0, 1, 2)
) -> list[NDArray[np.float32]]:
    """Return one array per axis that links every voxel to its predecessor along that axis.

    Parameters
    ----------
    affinities
        (channels, z, y, x); integers are scaled by their type's maximum, floats lie in [0, 1].
    offsets
        One per channel, in any order, in voxels; a channel of a positive offset is shifted to the other end of its
        links.
    axes
        The axes for which channels are wanted.

    Returns
    -------
    float32 arrays (z, y, x) in [0, 1]; the first voxel along the axis has no predecessor and is 0.

    Raises InputError when the offsets don't fit the channels, or lack a nearest neighbour of one of the axes.
    """
    wanted = check_offsets(offsets, 3)
    if affinities.ndim != 4 or len(wanted) != len(affinities):
        raise InputError(
            f"affinities of shape {affinities.shape} with {len(wanted)} offsets {wanted}",
            allowed="an array (channels, z, y, x) with one offset (z, y, x) per channel",
            remedy="give the offsets that the affinities were predicted with",
        )
    scale = np.iinfo(affinities.dtype).max if affinities.dtype.kind in "ui" else 1
    return [_backward(affinities, wanted, axis, np.float32(1 / scale)) for axis in axes]


def _backward(affinities: NDArray, offsets: Offsets, axis: int, scale: np.float32) -> NDArray[np.float32]:
    back = tuple(-1 if a == axis else 0 for a in range(3))
    forth = tuple(-o for o in back)
    links = np.zeros(affinities.shape[1:], np.float32)
    head, tail = [slice(None)] * 3, [slice(None)] * 3
    head[axis], tail[axis] = slice(None, -1), slice(1, None)
    if back in offsets:
        np.multiply(affinities[offsets.index(back)][tuple(tail)], scale, out=links[tuple(tail)], casting="unsafe")
    elif forth in offsets:
        np.multiply(affinities[offsets.index(forth)][tuple(head)], scale, out=links[tuple(tail)], casting="unsafe")
    else:
        raise InputError(
            f"offsets {offsets} have no nearest neighbour along {'zyx'[axis]}",
            allowed=f"{list(back)} or {list(forth)} among the offsets",
            remedy="train and predict the affinities with the three nearest neighbours among their offsets",
        )
    return links


def mean_affinity(affinities: NDArray, offsets: Sequence[Sequence[int]], axes: Sequence[int]) -> NDArray[np.float32]:
    """Return the mean of each voxel's links to its predecessors; the first along an axis takes that to its successor.

    An axis of one voxel has no links and doesn't count.
    """
    mean = np.zeros(affinities.shape[1:], np.float32)
    linked = [axis for axis in axes if mean.shape[axis] > 1]
    for axis, channel in zip(axes, nearest_affinities(affinities, offsets, axes), strict=True):
        if axis in linked:
            lines = np.moveaxis(channel, axis, 0)
            lines[0] = lines[1]
            mean += channel
    mean /= max(len(linked), 1)
    return mean


def watershed_fragments(
    affinities: NDArray,
    *,
    offsets: Sequence[Sequence[int]],
    per_section: bool = False,
    boundary_threshold: float = 0.5,
    seed_distance: int | Sequence[int] = 10,
    voxel_size: Sequence[float] = (1.0, 1.0, 1.0),
    mask: NDArray | None = None,
    minimum_affinity: float = 0.0,
    debris: int = 0,
) -> NDArray[np.uint64]:
    """Split the foreground of affinities into fragments by a watershed seeded at the points deepest inside.

    Foreground is where the mean of the nearest-neighbour affinities exceeds `boundary_threshold`. Seeds are the
    plateaus at which the distance to the background is the largest of its neighbourhood; foreground that no seed
    reaches becomes a fragment of its own, so fragments cover the foreground exactly. The recipe is that of Funke et
    al. (2018) and Sheridan et al. (2022).

    Parameters
    ----------
    affinities
        (channels, z, y, x), uint8 (255 is 1) or float in [0, 1].
    offsets
        One offset (z, y, x) per channel in voxels; the nearest neighbours are found among them.
    per_section
        Segment every section alone, from the y and x affinities.
    boundary_threshold
        Mean affinity above which a voxel is foreground.
    seed_distance
        Side of the window in which a seed is the deepest point, in voxels, one number or one per axis (z, y, x);
        higher values give fewer and larger fragments.
    voxel_size
        Edge lengths (z, y, x) in any one unit; distances respect their ratio.
    mask
        (z, y, x); where it is 0 there are no fragments.
    minimum_affinity
        Fragments whose mean affinity is lower are removed.
    debris
        Fragments of fewer voxels are removed.

    Returns
    -------
    uint64 (z, y, x), fragments 1..n in the order of their first voxel, 0 elsewhere.

    Raises InputError when a nearest neighbour is missing among the offsets, or the mask has another shape.
    """
    axes = (1, 2) if per_section else (0, 1, 2)
    mean = mean_affinity(affinities, offsets, axes)
    foreground = mean > boundary_threshold
    if mask is not None:
        if mask.shape != mean.shape:
            raise InputError(
                f"mask of shape {mask.shape} for affinities of {mean.shape}",
                allowed="the same shape (z, y, x)",
                remedy="give the mask of the volume that the affinities were predicted on",
            )
        foreground &= mask != 0
    window = (seed_distance,) * 3 if isinstance(seed_distance, int) else tuple(int(d) for d in seed_distance)
    window = tuple(2 * (d // 2) + 1 for d in window)
    sizes = tuple(float(v) for v in voxel_size)
    if per_section:
        fragments = np.zeros(mean.shape, np.uint64)
        last = 0
        for z, section in enumerate(foreground):
            found = _seeded_watershed(section, window[1:], sizes[1:])
            np.add(found, last, out=fragments[z], where=found > 0, casting="unsafe")
            last += int(found.max(initial=0))
    else:
        fragments = _seeded_watershed(foreground, window, sizes).astype(np.uint64)
    return filter_fragments(fragments, mean, minimum_affinity, debris)


def _seeded_watershed(
    foreground: NDArray[np.bool_], window: tuple[int, ...], voxel_size: tuple[float, ...]
) -> NDArray[np.integer]:
    """Return the watershed of one section or volume; ids are 1..n in no particular order."""
    if foreground.all() or not foreground.any():
        return foreground.astype(np.int32)  # no boundary, no distance to it: one plateau
    distance = edt.edt(np.ascontiguousarray(foreground), anisotropy=voxel_size, black_border=False, parallel=1)
    peaks = foreground & (ndimage.maximum_filter(distance, size=window) == distance)
    seeds = _components(peaks)
    fragments = watershed(-distance, seeds, mask=foreground)
    left = foreground & (fragments == 0)
    if left.any():
        fragments = np.where(left, _components(left) + seeds.max(), fragments)
    return fragments


def _components(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Label what is connected through faces (3D) or edges (2D)."""
    return cc3d.connected_components(mask, connectivity=4 if mask.ndim == 2 else 6).astype(np.int32)


def filter_fragments(
    fragments: NDArray[np.uint64], mean: NDArray[np.float32] | None, minimum_affinity: float, debris: int
) -> NDArray[np.uint64]:
    """Remove faint and small fragments and number the others 1..n in the order of their first voxel.

    Parameters
    ----------
    fragments
        uint64 of any shape, 0 is background; ids are small numbers, as a table is made of all up to the largest.
    mean
        Of the same shape, the affinity of each voxel; None to leave faint fragments in.
    minimum_affinity
        Fragments whose mean affinity is lower are removed.
    debris
        Fragments of fewer voxels are removed.
    """
    flat = fragments.reshape(-1)
    signed = flat.view(np.int64)  # bincount takes signed ids only
    size = np.bincount(signed, minlength=1)
    keep = size >= max(debris, 1)
    if mean is not None and minimum_affinity > 0:
        keep &= np.bincount(signed, weights=mean.reshape(-1), minlength=1) >= minimum_affinity * size
    keep[0] = False
    return _renumbered(flat, keep).reshape(fragments.shape)


@numba.njit(cache=True)
def _renumbered(fragments: NDArray[np.uint64], keep: NDArray[np.bool_]) -> NDArray[np.uint64]:
    number = np.zeros(keep.size, np.uint64)
    result = np.zeros(fragments.size, np.uint64)
    last = np.uint64(0)
    for i in range(fragments.size):
        fragment = fragments[i]
        if keep[fragment]:
            if number[fragment] == 0:
                last += np.uint64(1)
                number[fragment] = last
            result[i] = number[fragment]
    return result


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
    """Label the voxels that links of more than `threshold` connect: the baseline any segmentation must beat.

    Links between neighbouring voxels are thresholded, not voxels, so two objects whose boundary is a single layer of
    weak links stay apart.

    Parameters
    ----------
    affinities
        (channels, z, y, x), uint8 (255 is 1) or float in [0, 1].
    offsets
        One offset (z, y, x) per channel in voxels; the nearest neighbours are found among them.
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
