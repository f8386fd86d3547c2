"""What affinities between distant voxels say about a partition that was made without them.

Agglomeration joins fragments by the affinities of nearest neighbours, so these agree with whatever it does: of all cuts
of a tree of mean affinities they agree best with that near 0.5, however much is merged there. Affinities that reach far
across a boundary had no say in it. How far they contradict a partition is known for every partition at once from one
table of sums per pair of fragments; nothing is segmented.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparse2dense.ops.affinities import check_offsets
from sparse2dense.ops.contact_sums import contact_sums
from sparse2dense.ops.graph import compilable, corners
from sparse2dense.ops.overlaps import look_up

__all__ = ["FarLinks", "far_channels", "far_links"]


@dataclass(frozen=True)
class FarLinks:
    """Affinities between fragments, summed up; all statistics are integers that add up over parts of a volume.

    Parameters
    ----------
    u, v
        uint64: two fragments, u < v, ordered by u, then v, each pair once.
    pairs
        int64: pairs of voxels, one in each of both.
    total
        int64: sum of their affinities in units of 1 / `scale`.
    scale
        What an affinity of 1 counts in `total`.
    """

    u: NDArray[np.uint64]
    v: NDArray[np.uint64]
    pairs: NDArray[np.int64]
    total: NDArray[np.int64]
    scale: int

    def __len__(self) -> int:
        return len(self.u)

    def disagreement(self, fragments: NDArray[np.uint64], segments: NDArray[np.uint64]) -> tuple[float, float]:
        """Return how far the affinities contradict a partition, in what it splits and in what it merges.

        The sum of both is the mean absolute difference, over all pairs of voxels of two fragments, between the
        predicted affinity and that of the segmentation. Pairs within a fragment are left out: they add the same to
        every partition. The mean squared difference has its lowest value at the same partition.

        Parameters
        ----------
        fragments, segments
            uint64: all fragments, ascending, and the segment of each.

        Returns
        -------
        float, float
            From 0 to 1: the affinities between segments, and what those within segments lack to 1, each divided by the
            number of all pairs; nan where no two fragments are linked.
        """
        joined = look_up(self.u, fragments, segments) == look_up(self.v, fragments, segments)
        whole = int(self.pairs.sum()) * self.scale
        if whole == 0:
            return float("nan"), float("nan")
        split = int(self.total[~joined].sum())
        merge = int((self.pairs[joined] * self.scale - self.total[joined]).sum())
        return split / whole, merge / whole


def far_channels(offsets: Sequence[Sequence[int]], voxel_size: Sequence[float]) -> list[int]:
    """Return the channels beyond direct neighbours that reach at least half as far, in nm, as the farthest one.

    Direct neighbours, however far they are across thick sections, are what a tree is made by; they are returned, all,
    only where there is nothing else. Raises InputError as `ops.affinities.check_offsets` does.
    """
    steps = np.array(check_offsets(offsets, 3))
    beyond = np.abs(steps).sum(axis=1) > 1
    if not beyond.any():
        return list(range(len(steps)))
    reach = np.where(beyond, np.linalg.norm(steps * np.asarray(voxel_size, np.float64), axis=1), 0.0)
    return [int(channel) for channel in np.flatnonzero(2 * reach >= reach.max())]


def far_links(
    fragments: NDArray,
    affinities: NDArray,
    offsets: Sequence[Sequence[int]],
    owned: tuple[slice, ...] | None = None,
) -> FarLinks:
    """Count and sum the affinities between every two fragments, over all channels together.

    Parameters
    ----------
    fragments
        (z, y, x) integers of at least 0; pairs with background, 0, don't count.
    affinities
        (channels, z, y, x), uint8 (255 is 1), uint16 (65535 is 1) or float in [0, 1].
    offsets
        One offset (z, y, x) per channel in voxels, of any sign.
    owned
        Box of the voxels p whose pairs p, p + offset count, all without it. Tables of boxes that cover a volume once
        add up to that of the volume, if the array around each reaches as far as the offsets do.

    Raises InputError when shapes or types don't fit, or an affinity isn't in [0, 1].
    """
    labels, values, scale = compilable(fragments, affinities, offsets)
    rows = [(channel, *offset, 0) for channel, offset in enumerate(check_offsets(offsets, 3))]
    low, high = corners(owned, labels.shape)
    pairs, sums, _ = contact_sums(labels, values, np.array(rows, np.int64), low, high, scale, 2, False)
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    return FarLinks(pairs[order, 0], pairs[order, 1], sums[order, 0], sums[order, 1], scale)
