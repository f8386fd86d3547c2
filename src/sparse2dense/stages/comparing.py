"""Fragments beside the truth of the same place, block by block, and which voxels count in which convention."""

from collections.abc import Callable, Iterator, Sequence
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

COLUMN = 8
"""Blocks above each other that one process walks through: what is read around a block is also in the next."""


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
                self.outside[ends[z] : ends[z + 1]] - np.array([z, 0, 0]),
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
        ((_, found),) = self._walk(box, [box[0]])
        return found

    def walk(self, box: Box, block_shape: Sequence[int]) -> Iterator[tuple[Box, Compared]]:
        """Yield the blocks of a tile that lie above each other, and what `read` returns for each; chunks are read once.

        Parameters
        ----------
        box, block_shape
            One of `tiles`, and what it was made of.
        """
        cuts = blocks(self.shape[:1], block_shape[:1], shift=self._shift(block_shape)[:1])
        layers = [cut.write[0] for cut in cuts if box[0].start <= cut.write[0].start < box[0].stop]
        return self._walk(box, layers)

    def _walk(self, box: Box, layers: Sequence[slice]) -> Iterator[tuple[Box, Compared]]:
        """Yield the boxes of ascending layers of a box, and what they hold."""
        here, there = (tuple(side.start for side in place) for place in self.boxes)
        fragments, truth = open_volume(self.fragments), open_volume(self.truth)
        mask = None if self.mask is None else open_volume(self.mask)
        voxel_size = fragments.voxel_size
        boxes = [(layer, *box[1:]) for layer in layers]
        # the shared place ends where one of the volumes does: labels are cut there, fragments may reach beyond
        wide = [clip(grow(part, self.border), self.shape) for part in boxes]
        wider = [
            clip(grow(moved(part, here), reach_in_voxels(self.reach, voxel_size)), fragments.spatial_shape)
            for part in boxes
        ]

        def read_truth(place: Box) -> NDArray:
            labels = truth[place]
            if mask is not None:
                labels[mask[place] == 0] = 0
            return labels

        read = zip(
            boxes, wide, _walked(read_truth, truth, [moved(around, there) for around in wide]),
            wider, _walked(fragments.__getitem__, fragments, wider), strict=True,
        )  # fmt: skip
        for part, around, objects, beyond, labels in read:
            inside = interior(objects, self.border)[within(part, around)]
            own = within(moved(part, here), beyond)
            # not `argwhere`, which takes four times as long
            outside = np.column_stack(np.unravel_index(np.flatnonzero(inside & (labels[own] == 0)), inside.shape))
            nearest = nearest_at(labels, outside + [side.start for side in own], voxel_size, self.reach)
            yield part, Compared(objects[within(part, around)], labels[own], inside, outside, nearest)

    def tiles(self, block_shape: Sequence[int]) -> list[Block]:
        """Return columns of blocks that cover the shared place, cut where what they read around themselves costs least.

        A chunk can only be read as a whole. So blocks of whole chunks end amid a chunk: it holds the surroundings of
        the blocks on both sides, where two chunks would if they ended between chunks.
        """
        column = (COLUMN * block_shape[0], *block_shape[1:])
        return blocks(self.shape, column, shift=self._shift(block_shape))

    def _shift(self, block_shape: Sequence[int]) -> list[int]:
        """Return how much longer the first block of every axis is."""
        chunks = open_volume(self.fragments).array.chunks
        return [chunk // 2 if side % chunk == 0 else 0 for side, chunk in zip(block_shape, chunks, strict=True)]


def _walked(read: Callable[[Box], NDArray], volume: Volume, boxes: Sequence[Box]) -> Iterator[NDArray]:
    """Yield what boxes hold that ascend along the first axis and agree in the others, reading every chunk once."""
    depth, held = volume.array.chunks[0], slice(0, 0)
    labels = np.zeros(0, volume.dtype)
    for first, *sides in boxes:
        if first.stop > held.stop:
            kept = labels[first.start - held.start :] if held.stop > first.start else labels[:0]
            begin, end = max(first.start, held.stop), min(-(-first.stop // depth) * depth, boxes[-1][0].stop)
            new = read((slice(begin, end), *sides))
            labels, held = np.concatenate([kept, new]) if len(kept) else new, slice(first.start, end)
        yield labels[first.start - held.start : first.stop - held.start]


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
