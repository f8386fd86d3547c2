"""Affinities: whether two voxels an offset apart belong to the same object; the project's one definition of offsets."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sparse2dense.errors import InputError

__all__ = [
    "NEAREST_2D",
    "NEAREST_3D",
    "Offset",
    "Offsets",
    "Rim",
    "affinities",
    "affinity_mask",
    "axis_offsets",
    "check_offsets",
    "nearest_offsets",
    "pair_slices",
]

Offset = tuple[int, ...]
Offsets = tuple[Offset, ...]
Rim = Literal["boundary", "ignore"]


def axis_offsets(*distances: Sequence[int]) -> Offsets:
    """Negative offsets along each axis: `axis_offsets((1, 1, 1), (2, 9, 9))` has z -1, y -1, x -1, z -2, y -9, x -9."""
    return tuple(
        tuple(-int(length) if axis == along else 0 for axis in range(len(reach)))
        for reach in distances
        for along, length in enumerate(reach)
    )


def nearest_offsets(ndim: int) -> Offsets:
    """Offsets to the direct predecessor along each of `ndim` axes, first axis first."""
    return axis_offsets((1,) * ndim)


NEAREST_2D = nearest_offsets(2)
NEAREST_3D = nearest_offsets(3)


def check_offsets(
    offsets: Sequence[Sequence[int]], ndim: int, shape: Sequence[int] | None = None, name: str = "offsets"
) -> Offsets:
    """Offsets as a tuple of tuples of int, after checking them.

    Raises
    ------
    InputError
        When there are none, one hasn't `ndim` whole numbers, is all zero, occurs twice (forwards or backwards), or
        reaches beyond `shape`. `name` is the configuration key to blame.
    """
    remedy = f"correct {name}"
    if len(offsets) == 0:
        raise InputError(f"{name} is empty", allowed=f"at least one offset of {ndim} numbers", remedy=remedy)
    checked: list[Offset] = []
    for offset in offsets:
        if len(offset) != ndim or any(int(o) != o for o in offset):
            raise InputError(f"{name}: {list(offset)}", allowed=f"{ndim} whole numbers each", remedy=remedy)
        pair = tuple(int(o) for o in offset)
        if not any(pair):
            raise InputError(f"{name}: {list(pair)}", allowed="offsets that aren't zero", remedy=remedy)
        if pair in checked or tuple(-o for o in pair) in checked:
            raise InputError(f"{name}: {list(pair)} occurs twice", allowed="each pair of voxels once", remedy=remedy)
        if shape is not None and any(abs(o) >= s for o, s in zip(pair, shape, strict=True)):
            raise InputError(
                f"{name}: {list(pair)} in a volume of {tuple(shape)} voxels",
                allowed="offsets smaller than the volume",
                remedy=f"shorten {name}, or use a larger volume",
            )
        checked.append(pair)
    return tuple(checked)


def pair_slices(offset: Sequence[int], shape: Sequence[int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Slices of p and of p + offset, for all p of an array of `shape` whose partner lies inside (perhaps none)."""
    here = tuple(slice(max(0, -o), max(0, min(s, s - o))) for o, s in zip(offset, shape, strict=True))
    there = tuple(slice(max(0, o), max(0, min(s, s + o))) for o, s in zip(offset, shape, strict=True))
    return here, there


def affinities(
    labels: NDArray[np.integer], offsets: Sequence[Sequence[int]], roi: Sequence[slice] | None = None
) -> NDArray[np.uint8]:
    """1 where voxel p and its partner p + offset are of the same object, else 0.

    Parameters
    ----------
    labels
        (y, x) or (z, y, x), any integer dtype; 0 is background.
    offsets
        Displacements in voxels, any sign, one channel each.
    roi
        The part of the array whose voxels p are asked for, one slice per axis; partners may lie outside it.
        Everything when omitted.

    Returns
    -------
    uint8 (len(offsets), *shape of the roi); 0 where the partner lies outside the array.
    """
    checked = check_offsets(offsets, labels.ndim)
    part = tuple(slice(*r.indices(n)) for r, n in zip(roi or [slice(None)] * labels.ndim, labels.shape, strict=True))
    out = np.zeros((len(checked), *(max(0, r.stop - r.start) for r in part)), np.uint8)
    foreground = labels != 0
    for channel, offset in zip(out, checked, strict=True):
        inside, _ = pair_slices(offset, labels.shape)
        here = tuple(slice(max(i.start, r.start), min(i.stop, r.stop)) for i, r in zip(inside, part, strict=True))
        if any(side.start >= side.stop for side in here):
            continue
        there = tuple(slice(side.start + o, side.stop + o) for side, o in zip(here, offset, strict=True))
        at = tuple(slice(side.start - r.start, side.stop - r.start) for side, r in zip(here, part, strict=True))
        np.logical_and(labels[here] == labels[there], foreground[here], out=channel[at].view(bool))
    return out


def affinity_mask(
    mask: NDArray[np.integer] | NDArray[np.bool_],
    labels: NDArray[np.integer],
    offsets: Sequence[Sequence[int]],
    rim: Rim = "boundary",
) -> NDArray[np.uint8]:
    """1 for the pairs of voxels whose affinity the annotation knows.

    A pair counts when both ends are annotated. With one end annotated it counts only if that end is labelled and
    `rim` is `boundary`: objects are then taken to be painted up to their membranes, so that whatever lies beyond is
    not the object. `ignore` is for loose strokes. Two unannotated ends never count, nor do pairs that leave the array.
    What `labels` says outside `mask` has no influence here; set it to 0 before computing targets from it.

    Parameters
    ----------
    mask
        Like labels; not 0 where the annotation speaks (on labels only, or on background too).
    labels
        (y, x) or (z, y, x), any integer dtype.
    offsets
        As for `affinities`.
    rim
        `boundary` or `ignore`.

    Returns
    -------
    uint8 (len(offsets), *shape).
    """
    checked = check_offsets(offsets, labels.ndim)
    known = mask != 0
    if known.shape != labels.shape:
        raise InputError(f"mask of {known.shape}", allowed=f"the labels' shape {labels.shape}", remedy="align them")
    if rim not in ("boundary", "ignore"):
        raise InputError(f"rim: {rim}", allowed="boundary or ignore", remedy="correct rim")
    labelled = known & (labels != 0)
    out = np.zeros((len(checked), *labels.shape), np.uint8)
    for channel, offset in zip(out, checked, strict=True):
        here, there = pair_slices(offset, labels.shape)
        counts = known[here] & known[there]
        if rim == "boundary":
            counts |= labelled[here] | labelled[there]
        channel[here] = counts
    return out
