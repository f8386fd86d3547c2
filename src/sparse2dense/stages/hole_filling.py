"""Fill holes of a volume block by block, with the result of the whole volume at once."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparse2dense.ops.holes import contacts, distinct_pairs, fill_regions, regions_of
from sparse2dense.volumes.grid import Block, layers
from sparse2dense.volumes.passes import Passes

__all__ = ["Read", "without_holes"]

Read = Callable[[Block], NDArray]
"""Returns the labels of a block's own voxels."""


def without_holes(passes: Passes, name: str, read: Read, *, per_section: bool, objects: bool) -> Read:
    """Return a way to read blocks in which every object has taken what it encloses.

    A pass of `name` describes every block by its regions, which of them touch, and those at its faces; these are put
    together, and what changes is kept by block. Memory grows with the regions of the volume, not with its voxels;
    with `per_section`, with those of one layer of blocks.

    Parameters
    ----------
    passes
        Over all blocks of the volume.
    name
        Of the pass.
    read
        Reads blocks as they are.
    per_section, objects
        As in `ops.holes.fill_holes`, which does the same for an array.
    """
    axes = (1, 2) if per_section else (0, 1, 2)

    def work(paths: Sequence[Path], block: Block) -> None:
        regions, labels = regions_of(read(block), per_section=per_section)
        lines = {axis: np.moveaxis(regions, axis, 0) for axis in axes}
        faces = {f"{axis}{end}": lines[axis][end] for axis in axes for end in (0, -1)}
        np.savez(paths[0] / f"{block.index}.npz", labels=labels, contacts=contacts(regions, axes), **faces)

    def conclude(paths: Sequence[Path]) -> None:
        for tiles in layers(passes.blocks) if per_section else [passes.blocks]:
            _fill(paths[0], tiles, axes, objects)

    folder = passes.run(name, work, conclude=conclude)

    def filled(block: Block) -> NDArray:
        labels, changed = read(block), folder / f"{block.index}.npy"
        return np.load(changed)[regions_of(labels, per_section=per_section)[0]] if changed.exists() else labels

    return filled


def _fill(folder: Path, tiles: Sequence[Block], axes: Sequence[int], objects: bool) -> None:
    """Write, for every block in which labels change, the new label of each region."""
    labels, pairs = [], []
    first: dict[tuple[int, ...], int] = {}
    total = 0
    for block in tiles:
        with np.load(folder / f"{block.index}.npz") as found:
            first[block.position] = total
            labels.append(found["labels"])
            pairs.append(found["contacts"] + total)
            total += len(labels[-1])
    by_position = {block.position: block for block in tiles}
    outermost = np.zeros(total, np.bool_)
    for block in tiles:
        for axis in axes:
            lower = by_position.get(_beside(block, axis, -1))
            near = _face(folder, block, axis, 0) + first[block.position]
            if lower is None:
                outermost[near] = True
            else:
                far = _face(folder, lower, axis, -1) + first[lower.position]
                pairs.append(distinct_pairs(near.reshape(-1), far.reshape(-1)))
            if _beside(block, axis, 1) not in by_position:
                outermost[_face(folder, block, axis, -1) + first[block.position]] = True
    filled = fill_regions(np.concatenate(labels), np.concatenate(pairs), outermost, objects=objects)
    for block, before in zip(tiles, labels, strict=True):
        after = filled[first[block.position] :][: len(before)]
        if not np.array_equal(before, after):
            np.save(folder / f"{block.index}.npy", after)


def _beside(block: Block, axis: int, step: int) -> tuple[int, ...]:
    return tuple(place + step * (a == axis) for a, place in enumerate(block.position))


def _face(folder: Path, block: Block, axis: int, end: int) -> NDArray[np.int64]:
    """Return the regions in the first or last layer of a block's voxels along an axis."""
    with np.load(folder / f"{block.index}.npz") as found:
        return found[f"{axis}{end}"]
