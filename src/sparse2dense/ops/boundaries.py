"""Boundaries between objects, grown by eroding all labels at once."""

import fastremap
import numpy as np
from numpy.typing import NDArray

from sparse2dense.errors import InputError

__all__ = ["erode_randomly", "grow_boundary"]


def grow_boundary(
    labels: NDArray[np.integer],
    steps: int,
    mask: NDArray[np.integer] | NDArray[np.bool_] | None = None,
    only_xy: bool = False,
) -> NDArray[np.integer]:
    """Erode every label by `steps` voxels (face neighbours); what is eroded becomes 0.

    A voxel is kept when no annotated voxel within `steps` (city-block distance) has another value. Voxels that the
    mask leaves out count as part of whatever object is beside them, and are themselves left as they are; so does
    whatever lies outside the array. Background inside the mask, or without a mask, is another value and erodes.
    The same as eroding each label for itself, as gunpowder's GrowBoundary does, in the time of one.

    Parameters
    ----------
    labels
        (y, x) or (z, y, x), any integer dtype; 0 is background.
    steps
        From 0 (a copy).
    mask
        Like labels, not 0 where the annotation speaks; everywhere when omitted.
    only_xy
        Look within sections only.

    Returns
    -------
    A new array of the same dtype and shape.
    """
    if steps < 0:
        raise InputError(f"steps {steps}", allowed="whole numbers from 0", remedy="correct steps")
    kept = labels.copy()
    if steps:
        kept[_touched(labels, steps, mask, only_xy)[-1]] = 0
    return kept


def erode_randomly(
    labels: NDArray[np.integer], rng: np.random.Generator, maximum_steps: int = 1
) -> NDArray[np.integer]:
    """Erode each label within sections by a random number of its own, from 0 to `maximum_steps` voxels."""
    eroded = labels.copy()
    if maximum_steps < 1 or not labels.any():
        return eroded
    native = labels.astype(labels.dtype.newbyteorder("="), copy=False)
    objects = fastremap.renumber(native, preserve_zero=True, in_place=False)[0]
    steps = rng.integers(0, maximum_steps + 1, size=int(objects.max()) + 1).astype(np.uint8)[objects]
    for step, touched in enumerate(_touched(labels, maximum_steps, None, only_xy=True), start=1):
        eroded[touched & (steps == step)] = 0
    return eroded


def _touched(
    labels: NDArray[np.integer],
    steps: int,
    mask: NDArray[np.integer] | NDArray[np.bool_] | None,
    only_xy: bool,
) -> list[NDArray[np.bool_]]:
    """For each distance from 1 to `steps`: whether another value lies within it.

    The least and the greatest value of a growing neighbourhood tell, as both equal the voxel's own exactly if there
    is no other.
    """
    known = None if mask is None else mask != 0
    limits = np.iinfo(labels.dtype)
    least = labels if known is None else np.where(known, labels, limits.max)
    greatest = labels if known is None else np.where(known, labels, limits.min)
    axes = range(max(0, labels.ndim - 2) if only_xy else 0, labels.ndim)
    found = []
    for _ in range(steps):
        least, greatest = _cross(least, np.minimum, axes), _cross(greatest, np.maximum, axes)
        touched = (least < labels) | (greatest > labels)
        found.append(touched if known is None else touched & known)
    return found


def _cross(values: NDArray[np.integer], choose: np.ufunc, axes: range) -> NDArray[np.integer]:
    """`choose` over each voxel and its face neighbours along `axes`."""
    out = values.copy()
    for axis in axes:
        ahead = (slice(None),) * axis + (slice(1, None),)
        behind = (slice(None),) * axis + (slice(None, -1),)
        choose(out[ahead], values[behind], out=out[ahead])
        choose(out[behind], values[ahead], out=out[behind])
    return out
