"""Fragments by mutex watershed, filtered and filled as those by seeded watershed are."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.ops.affinities import check_offsets
from sparse2dense.ops.fragments import fill_fragments, filter_fragments, split_fragments
from sparse2dense.ops.mutex import mutex_watershed

__all__ = ["mutex_fragments", "section_channels"]


def section_channels(offsets: Sequence[Sequence[int]]) -> list[int]:
    """Return the channels whose offsets stay in the section; InputError when there is none."""
    channels = [channel for channel, offset in enumerate(check_offsets(offsets, 3)) if offset[0] == 0]
    if not channels:
        raise InputError(
            f"offsets {offsets} all leave the section",
            allowed="at least one offset with 0 along z for fragments per section",
            remedy="make fragments in 3D, or train nets with offsets within sections",
        )
    return channels


def mutex_fragments(
    affinities: NDArray,
    *,
    offsets: Sequence[Sequence[int]],
    near_bias: float = -0.4,
    far_bias: float = -0.7,
    far_stride: Sequence[int] = (1, 1, 1),
    biases: Sequence[float] | None = None,
    strides: Sequence[Sequence[int]] | None = None,
    randomized_strides: bool = False,
    noise: float = 0.0,
    seed: int = 0,
    per_section: bool = False,
    mask: NDArray | None = None,
    minimum_affinity: float = 0.0,
    debris: int = 0,
    fill_holes: bool = False,
    cut: Sequence[tuple[bool, bool]] = ((False, False),) * 3,
) -> NDArray[np.uint64]:
    """Split a volume into fragments by mutex watershed.

    Parameters
    ----------
    affinities, offsets
        (channels, z, y, x), uint8 (255 is 1) or float in [0, 1], and the offset (z, y, x) of each channel in voxels.
    near_bias, far_bias
        Added to the affinities of direct neighbours, and to those of longer range.
    far_stride
        Stride (z, y, x) of the pairs over longer range that count.
    biases, strides
        A bias, or a stride, for each offset instead.
    randomized_strides, noise, seed
        As in `ops.mutex.mutex_watershed`.
    per_section
        Segment every section alone; offsets that leave it don't count.
    mask, minimum_affinity, debris, fill_holes, cut
        As in `ops.fragments.watershed_fragments`.

    Returns
    -------
    uint64 (z, y, x), each connected through faces, 1..n in the order of their first voxel, 0 elsewhere.

    Raises InputError as `ops.mutex.mutex_watershed` does, and when all offsets leave the section that is segmented.
    """
    near = [sum(map(abs, offset)) == 1 for offset in offsets]
    biases = biases or [near_bias if direct else far_bias for direct in near]
    strides = strides or [(1, 1, 1) if direct else far_stride for direct in near]
    channels = section_channels(offsets) if per_section else list(range(len(offsets)))
    links = [tuple(offsets[channel]) for channel in channels]
    values = affinities[channels] if per_section else affinities
    found = mutex_watershed(
        values,
        links,
        biases=[biases[channel] for channel in channels],
        strides=[strides[channel] for channel in channels],
        randomized_strides=randomized_strides,
        noise=noise,
        seed=seed,
        mask=mask,
    )
    # attraction over longer range joins pieces that don't touch
    found = split_fragments(found)
    found = filter_fragments(
        found,
        values,
        offsets=links,
        axes=(1, 2) if per_section else (0, 1, 2),
        minimum_affinity=minimum_affinity,
        debris=debris,
        cut=cut,
    )
    return fill_fragments(found, mask) if fill_holes else found
