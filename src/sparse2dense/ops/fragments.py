"""Fragments (supervoxels) from affinities: seeded watershed on the distance to the boundary."""

from collections.abc import Iterator, Sequence
from itertools import repeat

import cc3d
import edt
import numba
import numpy as np
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.ops.affinities import Offsets, check_offsets
from sparse2dense.ops.holes import fill_holes as fill_section_holes
from sparse2dense.ops.watershed import seeded_watershed, window_maximum

__all__ = [
    "crop_fragments",
    "fill_fragments",
    "filter_fragments",
    "nearest_affinities",
    "nearest_channels",
    "number_in_block",
    "split_fragments",
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
    known = _checked(affinities, offsets)
    return [_backward(affinities, known, axis) for axis in axes]


def nearest_channels(offsets: Sequence[Sequence[int]], axes: Sequence[int] = (0, 1, 2)) -> list[int]:
    """Return for every axis the channel that links voxels to their predecessor, or else to their successor.

    Raises InputError when there is neither.
    """
    return [_nearest_channel(check_offsets(offsets, 3), axis)[0] for axis in axes]


def _nearest_channel(offsets: Offsets, axis: int) -> tuple[int, bool]:
    """Return the channel of the nearest neighbour along an axis, and whether its links lead forwards."""
    back = tuple(-int(other == axis) for other in range(3))
    forth = tuple(-step for step in back)
    if back in offsets:
        return offsets.index(back), False
    if forth in offsets:
        return offsets.index(forth), True
    raise InputError(
        f"offsets {offsets} have no nearest neighbour along {'zyx'[axis]}",
        allowed=f"{list(back)} or {list(forth)} among the offsets",
        remedy="train and predict the affinities with the three nearest neighbours among their offsets",
    )


def _checked(affinities: NDArray, offsets: Sequence[Sequence[int]]) -> Offsets:
    """Return the offsets, one for each channel of affinities."""
    wanted = check_offsets(offsets, 3)
    if affinities.ndim != 4 or len(wanted) != len(affinities):
        raise InputError(
            f"affinities of shape {affinities.shape} with {len(wanted)} offsets {wanted}",
            allowed="an array (channels, z, y, x) with one offset (z, y, x) per channel",
            remedy="give the offsets that the affinities were predicted with",
        )
    return wanted


def _scale(affinities: NDArray) -> np.float32:
    """Return what affinities are multiplied with to lie in [0, 1]."""
    return np.float32(1 / np.iinfo(affinities.dtype).max if affinities.dtype.kind in "ui" else 1)


def _backward(affinities: NDArray, offsets: Offsets, axis: int) -> NDArray[np.float32]:
    channel, forwards = _nearest_channel(offsets, axis)
    links = np.zeros(affinities.shape[1:], np.float32)
    lines, given = np.moveaxis(links, axis, 0), np.moveaxis(affinities[channel], axis, 0)
    np.multiply(given[:-1] if forwards else given[1:], _scale(affinities), out=lines[1:], casting="unsafe")
    return links


def _mean_sections(affinities: NDArray, offsets: Offsets, axes: Sequence[int]) -> Iterator[NDArray[np.float32]]:
    """Yield for every section the mean of each voxel's links to its predecessors, by section to save memory.

    The first voxel along an axis takes the link to its successor; an axis of one voxel has no links and doesn't count.
    """
    links = [(axis, *_nearest_channel(offsets, axis)) for axis in axes]
    linked = [link for link in links if affinities.shape[1 + link[0]] > 1]
    for z in range(affinities.shape[1]):
        mean = np.zeros(affinities.shape[2:], np.float32)
        for axis, channel, forwards in linked:
            if axis == 0:
                values = affinities[channel, max(z - 1, 0) if forwards else max(z, 1)]
            else:
                values = np.moveaxis(affinities[channel, z], axis - 1, 0)
                first = values[:1] if forwards else values[1:2]
                values = np.concatenate([first, values[:-1] if forwards else values[1:]])
                values = np.moveaxis(values, 0, axis - 1)
            mean += values * _scale(affinities)
        mean /= max(len(linked), 1)
        yield mean


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
    fill_holes: bool = False,
    cut: Sequence[tuple[bool, bool]] = ((False, False),) * 3,
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
    fill_holes
        Give background that one fragment encloses in a section to that fragment, removed fragments included.
    cut
        For each axis, whether the volume goes on before the first voxel and after the last. Fragments that touch
        such a face are parts of larger ones, so they are no debris.

    Returns
    -------
    uint64 (z, y, x), each connected through faces, 1..n in the order of their first voxel, 0 elsewhere.

    Raises InputError when a nearest neighbour is missing among the offsets, or the mask has another shape.
    """
    known = _checked(affinities, offsets)
    shape = affinities.shape[1:]
    if mask is not None and mask.shape != shape:
        raise InputError(
            f"mask of shape {mask.shape} for affinities of {shape}",
            allowed="the same shape (z, y, x)",
            remedy="give the mask of the volume that the affinities were predicted on",
        )
    axes = (1, 2) if per_section else (0, 1, 2)
    window = (seed_distance,) * 3 if isinstance(seed_distance, int) else tuple(int(side) for side in seed_distance)
    window = tuple(2 * (side // 2) + 1 for side in window)
    fragments = np.zeros(shape, np.uint64)
    last = 0
    # sections are segmented alone, or all at once
    for piece in [slice(z, z + 1) for z in range(shape[0])] if per_section else [slice(0, shape[0])]:
        values = affinities[:, piece]
        foreground = np.empty(values.shape[1:], np.bool_)
        for section, mean in zip(foreground, _mean_sections(values, known, axes), strict=True):
            np.greater(mean, boundary_threshold, out=section)
        if mask is not None:
            foreground &= mask[piece] != 0
        found = _seeded_watershed(foreground, window, voxel_size)
        faces = [cut[axis] if axis in axes else (False, False) for axis in range(3)]
        keep = _worth_keeping(found, values, known, axes, minimum_affinity, debris, faces)
        last = _renumber(found, keep, last, fragments[piece])
    return fill_fragments(fragments, mask) if fill_holes else fragments


def _seeded_watershed(
    foreground: NDArray[np.bool_], window: Sequence[int], voxel_size: Sequence[float]
) -> NDArray[np.int32]:
    """Return the watershed of a volume, or of one section, as int32 labels of the foreground in no order."""
    if foreground.all() or not foreground.any():
        return foreground.astype(np.int32)  # no boundary, no distance to it: one plateau
    flat = len(foreground) == 1
    # As bytes, because edt takes longer for booleans. The square has the order of the distance, and more exactly so.
    squared = edt.edtsq(
        (foreground[0] if flat else foreground).view(np.uint8),
        anisotropy=tuple(map(float, voxel_size))[flat:],
        black_border=False,
        parallel=1,
    ).reshape(foreground.shape)
    peaks = foreground & (window_maximum(squared, window) == squared)
    seeds = cc3d.connected_components(peaks, connectivity=6, out_dtype=np.uint32)
    return seeded_watershed(squared, seeds)


def _worth_keeping(
    labels: NDArray,
    affinities: NDArray,
    offsets: Offsets,
    axes: Sequence[int],
    minimum_affinity: float,
    debris: int,
    cut: Sequence[tuple[bool, bool]],
) -> NDArray[np.bool_]:
    """Return for every label up to the largest whether its fragment is neither debris nor faint."""
    size = np.zeros(int(labels.max(initial=0)) + 1, np.int64)
    total = np.zeros(len(size))
    blank = repeat(np.zeros(labels.shape[1:], np.float32))
    means = _mean_sections(affinities, offsets, axes) if minimum_affinity > 0 else blank
    for section, mean in zip(labels, means, strict=False):
        _add_section(section, mean, size, total)
    keep = size >= debris
    for axis, goes_on in enumerate(cut):
        for face, open_ended in zip((0, -1), goes_on, strict=True):
            if open_ended:
                keep[np.moveaxis(labels, axis, 0)[face]] = True
    return keep & (total >= minimum_affinity * size)


def filter_fragments(
    fragments: NDArray[np.uint64],
    affinities: NDArray,
    *,
    offsets: Sequence[Sequence[int]],
    axes: Sequence[int] = (0, 1, 2),
    minimum_affinity: float = 0.0,
    debris: int = 0,
    cut: Sequence[tuple[bool, bool]] = ((False, False),) * 3,
) -> NDArray[np.uint64]:
    """Remove faint and small fragments and number the others 1..n in the order of their first voxel.

    Parameters
    ----------
    fragments
        uint64 (z, y, x), 0 is background; ids are small numbers, as a table is made of all up to the largest.
    affinities, offsets, minimum_affinity, debris, cut
        As in `watershed_fragments`.
    axes
        Those along which the affinities count; without a minimum affinity none is needed.
    """
    keep = _worth_keeping(fragments, affinities, _checked(affinities, offsets), axes, minimum_affinity, debris, cut)
    result = np.zeros(fragments.shape, np.uint64)
    _renumber(fragments, keep, 0, result)
    return result


@numba.njit(cache=True)
def _add_section(
    labels: NDArray[np.int32], mean: NDArray[np.float32], size: NDArray[np.int64], total: NDArray[np.float64]
) -> None:
    """Add the voxels of a section, and their mean affinities, to those of every label."""
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            size[labels[y, x]] += 1
            total[labels[y, x]] += mean[y, x]


@numba.njit(cache=True)
def _renumber(labels: NDArray, keep: NDArray[np.bool_], last: int, result: NDArray[np.uint64]) -> int:
    """Number labels (z, y, x) to keep last + 1, last + 2, ... in the order of their first voxel; return the last."""
    number = np.zeros(keep.size, np.uint64)
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            for x in range(labels.shape[2]):
                label = labels[z, y, x]
                if label != 0 and keep[label]:
                    if number[label] == 0:
                        last += 1
                        number[label] = last
                    result[z, y, x] = number[label]
    return last


def fill_fragments(fragments: NDArray[np.uint64], mask: NDArray | None = None) -> NDArray[np.uint64]:
    """Give background that one fragment encloses in a section to it, but where `mask` is 0; what is parted is split."""
    filled = fill_section_holes(fragments, objects=False)
    if mask is None:
        return filled
    filled[mask == 0] = 0
    return split_fragments(filled)  # a mask inside a hole can part what fills it from the fragment


def split_fragments(fragments: NDArray) -> NDArray[np.uint64]:
    """Split fragments into what is connected through faces, numbered 1..n in the order of their first voxel."""
    parts, count = cc3d.connected_components(fragments, connectivity=6, return_N=True, out_dtype=np.uint32)
    numbered = np.zeros(fragments.shape, np.uint64)
    _renumber(parts, np.ones(count + 1, np.bool_), 0, numbered)
    return numbered


def crop_fragments(fragments: NDArray[np.uint64], box: Sequence[slice]) -> NDArray[np.uint64]:
    """Return the part of fragments (z, y, x) in a box; what the box cuts into pieces becomes as many fragments.

    Filter before cropping, not after: a sliver inside the box may belong to a large fragment.

    Returns
    -------
    uint64 of the shape of the box, each connected through faces, 1..n in the order of their first voxel.
    """
    return split_fragments(np.ascontiguousarray(fragments[tuple(box)]))


def number_in_block(fragments: NDArray[np.uint64], block: int, voxels: int) -> NDArray[np.uint64]:
    """Make the ids of a block's fragments differ from those of all other blocks.

    Parameters
    ----------
    fragments
        Ids 1..n of the block, 0 is background; left as they are.
    block
        Row-major number of the block, from 0.
    voxels
        Voxels of a whole block, which is as many fragments as it can hold.

    Returns
    -------
    uint64: block * voxels + id, 0 where it was 0.

    Raises OverflowError when that doesn't fit into 64 bits.
    """
    first = block * voxels
    if first + voxels >= 2**64:
        raise OverflowError(f"fragments of block {block} with {voxels} voxels a block don't fit into 64 bits")
    return np.where(fragments != 0, fragments + np.uint64(first), np.uint64(0))
