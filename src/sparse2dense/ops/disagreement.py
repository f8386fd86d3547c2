"""How far a segmentation is from what a net predicted, for volumes without truth.

A segmentation has affinities and descriptors of its own. Where they differ from those that it was made from, either
the prediction was unsure or the segmentation is wrong. Both are compared as numbers from 0 to 1 of a fixed scale, never
of a block's own, so that errors of blocks, objects and segmentations can be compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.ops.affinities import affinities, check_offsets, pair_slices
from sparse2dense.ops.descriptors import TRUNCATE, descriptor_channels, local_shape_descriptors, section_descriptors
from sparse2dense.ops.row_sums import sum_rows

__all__ = [
    "Disagreement",
    "Measure",
    "affinity_error",
    "affinity_halo",
    "descriptor_error",
    "descriptor_halo",
    "mean_errors",
    "sum_errors",
]

Measure = Literal["absolute", "squared"]
Box = tuple[slice, ...]

UNIT = 2.0**-16
"""Errors are summed up as whole multiples of this, so that sums don't depend on the order of blocks."""


def affinity_halo(offsets: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Return how many voxels per axis `affinity_error` must see around a block."""
    return tuple(max(abs(step) for step in along) for along in zip(*check_offsets(offsets, 3), strict=True))


def descriptor_halo(sigma: Sequence[float], channels: int, downsample: int = 1) -> tuple[int, ...]:
    """Return how many voxels per axis `descriptor_error` must see around a block; parameters as there.

    Blocks with this halo begin at multiples of `downsample` where their inner voxels do.
    """
    reach = [downsample * int(np.ceil(TRUNCATE * float(width) / downsample + 1)) for width in sigma]
    return (0, *reach[-2:]) if channels == len(descriptor_channels(2)) else tuple(reach)


def affinity_error(
    predicted: NDArray,
    segmentation: NDArray,
    offsets: Sequence[Sequence[int]],
    inner: Box | None = None,
    measure: Measure = "absolute",
) -> NDArray[np.float32]:
    """Return the mean difference between predicted affinities and those of a segmentation at every voxel.

    Parameters
    ----------
    predicted
        (channels, z, y, x), uint8 (255 is 1) or float in [0, 1].
    segmentation
        (z, y, x) of the same block, any integers; two voxels of background aren't linked.
    offsets
        One offset (z, y, x) per channel, in voxels.
    inner
        The part of the block to return; all of it by default. The rest is `affinity_halo` on every side, cut where the
        volume ends: pairs that leave the block don't count.
    measure
        Mean over the channels of the absolute or the squared difference.

    Returns
    -------
    float32 (z, y, x) of `inner` in [0, 1]; nan where no pair counts.

    Raises InputError when shapes don't fit, there isn't one offset per channel, or predictions aren't in [0, 1].
    """
    wanted = check_offsets(offsets, 3)
    part = _check(predicted, segmentation, inner, measure, (len(wanted),))
    target = affinities(segmentation, wanted)
    total = np.zeros(segmentation.shape, np.float32)
    count = np.zeros(segmentation.shape, np.float32)
    for channel, ours, offset in zip(predicted, target, wanted, strict=True):
        here, _ = pair_slices(offset, segmentation.shape)
        total[here] += _difference(channel[here], ours[here], measure)
        count[here] += 1
    return np.where(count[part] > 0, total[part] / np.maximum(count[part], 1), np.float32(np.nan))


def descriptor_error(
    predicted: NDArray,
    segmentation: NDArray,
    sigma: Sequence[float],
    inner: Box | None = None,
    measure: Measure = "absolute",
    downsample: int = 1,
) -> NDArray[np.float32]:
    """Return the mean difference between predicted local shape descriptors and those of a segmentation.

    Parameters
    ----------
    predicted
        (channels, z, y, x), uint8 (255 is 1) or float in [0, 1]: 10 channels are descriptors of the volume, 6 are
        those of each section.
    segmentation
        (z, y, x) of the same block, any integers.
    sigma
        Of the descriptors the net was trained with, in voxels (z, y, x), or (y, x) for those of sections.
    inner
        The part of the block to return; all of it by default. The rest is `descriptor_halo` on every side, cut where
        the volume ends.
    measure
        Mean over the channels of the absolute or the squared difference.
    downsample
        As in `ops.descriptors.local_shape_descriptors`; blocks then begin at multiples of it in the volume.

    Returns
    -------
    float32 (z, y, x) of `inner` in [0, 1]; nan in background, where no net learns descriptors.

    Raises InputError when shapes don't fit, there aren't 6 or 10 channels, or predictions aren't in [0, 1].
    """
    flat = len(descriptor_channels(2))
    part = _check(predicted, segmentation, inner, measure, (flat, len(descriptor_channels(3))))
    if len(predicted) == flat:
        target = section_descriptors(segmentation, tuple(sigma)[-2:], downsample, part)
    else:
        target = local_shape_descriptors(segmentation, tuple(sigma), None, downsample, part)
    total = np.zeros(target.shape[1:], np.float32)
    for channel, ours in zip(predicted, target, strict=True):
        total += _difference(channel[part], ours, measure)
    return np.where(segmentation[part] != 0, total / len(target), np.float32(np.nan))


def _check(
    predicted: NDArray, segmentation: NDArray, inner: Box | None, measure: str, channels: tuple[int, ...]
) -> Box:
    """Return which part is wanted, after a look at the input."""
    if segmentation.ndim != 3 or predicted.shape[1:] != segmentation.shape or len(predicted) not in channels:
        raise InputError(
            f"predictions of shape {predicted.shape} for a segmentation of shape {segmentation.shape}",
            allowed=f"the same (z, y, x), and {' or '.join(map(str, channels))} channels",
            remedy="pass what the segmentation was made from, with its offsets",
        )
    if measure not in ("absolute", "squared"):
        raise InputError(f"measure {measure!r}", allowed="absolute or squared", remedy="correct measure")
    if predicted.dtype != np.uint8 and not (
        predicted.dtype.kind == "f" and predicted.min(initial=0) >= 0 and predicted.max(initial=0) <= 1
    ):
        raise InputError(
            f"predictions of type {predicted.dtype} from {predicted.min(initial=0)} to {predicted.max(initial=0)}",
            allowed="uint8, where 255 is 1, or floats from 0 to 1",
            remedy="scale the predictions by one factor for the whole volume, not for each block",
        )
    return (slice(None),) * 3 if inner is None else inner


def _difference(predicted: NDArray, ours: NDArray, measure: Measure) -> NDArray[np.float32]:
    scale = np.float32(1 / 255 if predicted.dtype == np.uint8 else 1)
    difference = predicted.astype(np.float32) * scale - ours.astype(np.float32)
    return np.abs(difference) if measure == "absolute" else difference**2


@dataclass(frozen=True)
class Disagreement:
    """Errors summed up per object and section, a row for each pair that meets, ordered by object, then section.

    Parameters
    ----------
    label
        uint64: the segment, background (0) included where it counts.
    section
        int64: the section, counted from the volume's first.
    error
        int64: sum of the errors in multiples of 2^-16.
    voxels
        int64: how many voxels count.
    """

    label: NDArray[np.uint64]
    section: NDArray[np.int64]
    error: NDArray[np.int64]
    voxels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.label)

    def object_sums(self) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
        """Return every segment, ascending, the sum of its errors, and how many voxels of it count."""
        (label,), (error, voxels) = sum_rows([self.label], [self.error, self.voxels])
        return label, error, voxels

    def section_sums(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return every section with voxels that count, ascending, the sum of their errors, and how many these are."""
        (section,), (error, voxels) = sum_rows([self.section], [self.error, self.voxels])
        return section, error, voxels


def mean_errors(error: NDArray[np.int64], voxels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return mean errors from 0 to 1, given sums as in `Disagreement`; nan where no voxel counts."""
    with np.errstate(invalid="ignore"):
        return error * UNIT / voxels


def sum_errors(
    error: NDArray[np.floating], segmentation: NDArray, first_section: int = 0, counted: NDArray | None = None
) -> Disagreement:
    """Sum the errors of a block up, per object and section.

    Parameters
    ----------
    error
        (z, y, x) as `affinity_error` and `descriptor_error` return it; voxels that are nan don't count.
    segmentation
        (z, y, x), the same voxels.
    first_section
        Where the block begins along z in the volume, in voxels.
    counted
        Same shape; voxels where it is 0 or False don't count.

    Raises InputError when shapes differ.
    """
    counts = np.isfinite(error) if counted is None else np.isfinite(error) & (counted != 0)
    if not error.shape == segmentation.shape == counts.shape or error.ndim != 3:
        raise InputError(
            f"errors of shape {error.shape} for a segmentation of shape {segmentation.shape}",
            allowed="the same (z, y, x)",
            remedy="crop the segmentation to the inner part of the block",
        )
    # not nonzero, which says where along all axes a voxel is
    sections = np.arange(first_section, first_section + len(counts))
    section = np.repeat(sections, np.count_nonzero(counts, axis=(1, 2)))
    whole = np.rint(error[counts].astype(np.float64) / UNIT).astype(np.int64)
    keys, sums = sum_rows([segmentation[counts].astype(np.uint64), section], [whole, np.ones(len(whole), np.int64)])
    return Disagreement(*keys, *sums)
