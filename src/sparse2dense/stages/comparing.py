"""Fragments beside the truth of the same place, block by block, and which voxels count in which convention."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.ops.interior import interior
from sparse2dense.ops.nearest import nearest_at, reach_in_voxels
from sparse2dense.volumes.grid import Block, Box, blocks, clip, grow, moved, within
from sparse2dense.volumes.volume import Volume, open_beside, open_volume

__all__ = ["Compared", "Comparison", "shared_boxes"]


@dataclass(frozen=True)
class Compared:
    """A box of both volumes, arrays of equal shape.

    Parameters
    ----------
    truth
        Labels; 0 where they are masked. Voxels that aren't 0 count in the convention `all`, beside `fragments`.
    fragments
        Labels as they are.
    interior
        bool: voxels whose truth is the same all around; these count in `interior`, beside `filled`.
    outside
        (n, 3): z, y, x of those of the interior that are outside all fragments, in order.
    nearest
        (n,): the fragment nearest to each of these.
    """

    truth: NDArray
    fragments: NDArray
    interior: NDArray[np.bool_]
    outside: NDArray[np.int64]
    nearest: NDArray

    @property
    def filled(self) -> NDArray:
        """Fragments, after voxels of the interior outside all of them took the nearest."""
        filled = self.fragments.copy()
        filled[tuple(self.outside.T)] = self.nearest
        return filled

    def sections(self) -> "list[Compared]":
        """Return every section by itself."""
        ends = np.searchsorted(self.outside[:, 0], np.arange(len(self.truth) + 1))
        return [
            Compared(
                self.truth[z : z + 1],
                self.fragments[z : z + 1],
                self.interior[z : z + 1],
                self.outside[ends[z] : ends[z + 1]] - [z, 0, 0],
                self.nearest[ends[z] : ends[z + 1]],
            )
            for z in range(len(self.truth))
        ]


@dataclass(frozen=True)
class Comparison:
    """Fragments and truth in the place they share; a box of it is the same in any cut.

    Parameters
    ----------
    fragments, truth
        Volumes of labels (z, y, x) with equal voxels.
    border, reach, mask
        As in `evaluating.count_overlaps`.

    Raises InputError when the volumes share no place, their voxels differ, or the mask lies elsewhere than the truth.
    """

    fragments: Path
    truth: Path
    border: Sequence[int]
    reach: float
    mask: Path | None = None

    def __post_init__(self) -> None:
        if self.mask is not None:
            open_beside(open_volume(self.truth), self.mask)
        _ = self.boxes

    @cached_property
    def boxes(self) -> tuple[Box, Box]:
        """The shared place in voxels of the fragments, and in voxels of the truth."""
        return shared_boxes(open_volume(self.fragments), open_volume(self.truth))

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels of the shared place."""
        return tuple(side.stop - side.start for side in self.boxes[0])

    @property
    def inputs(self) -> dict[str, Path]:
        """The volumes that are read, by name."""
        return {"fragments": self.fragments, "truth": self.truth, **({} if self.mask is None else {"mask": self.mask})}

    def read(self, box: Box) -> Compared:
        """Return a box of the shared place, which counts from the first voxel of that place."""
        here, there = (tuple(side.start for side in place) for place in self.boxes)
        # the shared place ends where one of the volumes does: labels are cut there, fragments may reach beyond
        around = clip(grow(box, self.border), self.shape)
        truth = open_volume(self.truth)[moved(around, there)]
        if self.mask is not None:
            truth[open_volume(self.mask)[moved(around, there)] == 0] = 0
        inside = interior(truth, self.border)[within(box, around)]
        truth = truth[within(box, around)]
        volume, own = open_volume(self.fragments), moved(box, here)
        around = clip(grow(own, reach_in_voxels(self.reach, volume.voxel_size)), volume.spatial_shape)
        labels, own = volume[around], within(own, around)
        # not `argwhere`, which takes four times as long
        outside = np.column_stack(np.unravel_index(np.flatnonzero(inside & (labels[own] == 0)), inside.shape))
        nearest = nearest_at(labels, outside + [side.start for side in own], volume.voxel_size, self.reach)
        return Compared(truth, labels[own], inside, outside, nearest)

    def tiles(self, block_shape: Sequence[int]) -> list[Block]:
        """Return blocks that cover the shared place, cut where what they read around themselves costs least.

        A chunk can only be read as a whole. So blocks of whole chunks end amid a chunk: it holds the surroundings of
        the blocks on both sides, where two chunks would if they ended between chunks.
        """
        chunks = open_volume(self.fragments).array.chunks
        shift = [chunk // 2 if side % chunk == 0 else 0 for side, chunk in zip(block_shape, chunks, strict=True)]
        return blocks(self.shape, block_shape, shift=shift)


def shared_boxes(first: Volume, second: Volume) -> tuple[Box, Box]:
    """Return the voxels of both volumes that lie in the same place.

    Raises InputError when voxels differ in size, lie between each other, or no place is shared.
    """
    steps = [
        (theirs - ours) / size for ours, theirs, size in zip(first.offset, second.offset, first.voxel_size, strict=True)
    ]
    if not np.allclose(first.voxel_size, second.voxel_size, rtol=1e-6) or not np.allclose(
        steps, np.rint(steps), atol=1e-3
    ):
        raise InputError(
            f"{second.path} has voxels of {second.voxel_size} nm from {second.offset} nm on, {first.path} of "
            f"{first.voxel_size} nm from {first.offset} nm on",
            allowed="the same voxel size, and offsets that differ by whole voxels",
            remedy="correct voxel_size and offset of the sources in the configuration",
        )
    boxes: list[tuple[slice, slice]] = []
    for step, length, other in zip(np.rint(steps).astype(int), first.spatial_shape, second.spatial_shape, strict=True):
        start, stop = max(0, int(step)), min(length, int(step) + other)
        boxes.append((slice(start, stop), slice(start - int(step), stop - int(step))))
    if any(ours.start >= ours.stop for ours, _ in boxes):
        raise InputError(
            f"{second.path} covers {second.extent} nm, {first.path} {first.extent} nm: they share nothing",
            allowed="volumes that overlap",
            remedy="correct the offsets or the crops of the sources in the configuration",
        )
    return tuple(ours for ours, _ in boxes), tuple(theirs for _, theirs in boxes)
