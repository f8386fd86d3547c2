"""Blocks, chunks and shards: arithmetic on tuples of voxels, nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, product
from math import ceil, lcm, log, log2, prod

from sparse2dense.errors import InputError

__all__ = [
    "Block",
    "Box",
    "block_grid",
    "blocks",
    "check_shards",
    "chunk_shape",
    "clip",
    "common_multiple",
    "dividing_chunks",
    "grow",
    "layers",
    "moved",
    "shard_shape",
    "snap_up",
    "tiling",
    "within",
]

Box = tuple[slice, ...]

CHUNK_SIDE = 64
MOST_FILES = 1000
"""Chunks that a volume keeps as files of their own. A shard is one file for many, but whatever is read of it needs its
index too, half a millisecond that adds a third to the time of small boxes; few files don't need that."""


@dataclass(frozen=True)
class Block:
    """One piece of work: what it may write, and what it may look at.

    Parameters
    ----------
    index
        Row-major number in the grid of blocks, from 0.
    position
        The same as a coordinate of the grid.
    write
        The block's own voxels, cut at the end of the volume.
    read
        `write` grown by the halo on both sides; may start below 0 and end beyond the volume.
    """

    index: int
    position: tuple[int, ...]
    write: Box
    read: Box

    @property
    def write_shape(self) -> tuple[int, ...]:
        """Number of voxels to write per axis."""
        return tuple(side.stop - side.start for side in self.write)

    @property
    def inner(self) -> Box:
        """Where `write` lies in an array that holds `read`."""
        return within(self.write, self.read)


def grow(box: Box, margin: Sequence[int]) -> Box:
    """Return `box` with `margin` voxels more on both sides of every axis; may leave the volume."""
    return tuple(slice(side.start - more, side.stop + more) for side, more in zip(box, margin, strict=True))


def clip(box: Box, shape: Sequence[int]) -> Box:
    """Return the part of `box` that lies inside a volume of `shape`."""
    return tuple(slice(max(side.start, 0), min(side.stop, end)) for side, end in zip(box, shape, strict=True))


def within(box: Box, around: Box) -> Box:
    """Return where `box` lies in an array that holds `around`."""
    return tuple(slice(b.start - a.start, b.stop - a.start) for b, a in zip(box, around, strict=True))


def moved(box: Box, steps: Sequence[int]) -> Box:
    """Return `box` moved by so many voxels per axis."""
    return tuple(slice(side.start + step, side.stop + step) for side, step in zip(box, steps, strict=True))


def snap_up(shape: Sequence[int], unit: Sequence[int]) -> tuple[int, ...]:
    """Round every side of `shape` up to the next multiple of `unit`."""
    return tuple(ceil(side / step) * step for side, step in zip(shape, unit, strict=True))


def common_multiple(one: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    """Return the smallest shape of which both shapes are parts, for every axis."""
    return tuple(lcm(a, b) for a, b in zip(one, other, strict=True))


def block_grid(shape: Sequence[int], block_shape: Sequence[int]) -> tuple[int, ...]:
    """Return how many blocks of `block_shape` cover `shape` along every axis."""
    if any(side < 1 for side in block_shape):
        raise InputError(
            f"block shape {tuple(block_shape)}", allowed="at least one voxel per axis", remedy="choose a larger block"
        )
    return tuple(ceil(side / step) for side, step in zip(shape, block_shape, strict=True))


def blocks(
    shape: Sequence[int],
    block_shape: Sequence[int],
    halo: Sequence[int] | None = None,
    *,
    shift: Sequence[int] | None = None,
) -> list[Block]:
    """Tile a volume with blocks, in row-major order.

    Parameters
    ----------
    shape
        Spatial shape of the volume in voxels.
    block_shape
        Shape of a block in voxels; the last block of an axis is cut at the end of the volume.
    halo
        Voxels to read beyond the block on both sides of every axis; none by default.
    shift
        How many voxels the first block of every axis is longer than the others, the last left out; none by default.
    """
    none = (0,) * len(shape)
    margin, late = tuple(halo or none), tuple(shift or none)
    counts = block_grid([max(1, side - more) for side, more in zip(shape, late, strict=True)], block_shape)
    tiles = []
    for index, position in enumerate(product(*(range(count) for count in counts))):
        write = tuple(
            slice(place * step + more * (place > 0), min((place + 1) * step + more, side))
            for place, step, side, more in zip(position, block_shape, shape, late, strict=True)
        )
        tiles.append(Block(index, position, write, grow(write, margin)))
    return tiles


def layers(tiles: Sequence[Block]) -> list[list[Block]]:
    """Return the blocks of each place along the first axis; no two layers have a section in common."""
    return [list(layer) for _, layer in groupby(tiles, lambda block: block.position[0])]


def chunk_shape(shape: Sequence[int], voxel_size: Sequence[float]) -> tuple[int, ...]:
    """Choose chunks that hold as many voxels as a cube of 64 and are about as long in nm along every axis.

    Sides are powers of two, so that chunks of any two volumes nest in each other and in blocks of 2^n voxels,
    and are never more than twice as long as the volume.
    """
    mean = 1.0
    for size in voxel_size:
        mean *= size ** (1 / len(voxel_size))
    sides = (2 ** max(0, round(log2(CHUNK_SIDE * mean / size))) for size in voxel_size)
    return tuple(min(side, 2 ** ceil(log2(max(1, length)))) for side, length in zip(sides, shape, strict=True))


def dividing_chunks(block_shape: Sequence[int], chunks: Sequence[int]) -> tuple[int, ...]:
    """Return chunks of which blocks consist: for every axis the divisor of the block's side nearest to the chunk's."""
    sides = []
    for side, wanted in zip(block_shape, chunks, strict=True):
        ratios = [(abs(log(part / wanted)), part) for part in range(1, side + 1) if side % part == 0]
        sides.append(min(ratios)[1])
    return tuple(sides)


def tiling(
    shape: Sequence[int], block_shape: Sequence[int], chunks: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return blocks and chunks of which they consist; a block that covers the volume is rounded up to whole chunks."""
    tile = tuple(
        wanted if wanted < side else covering
        for wanted, side, covering in zip(block_shape, shape, snap_up(shape, chunks), strict=True)
    )
    return tile, dividing_chunks(tile, chunks)


def check_shards(block_shape: Sequence[int], shard_shape: Sequence[int]) -> None:
    """Raise InputError unless every block is made of whole shards, so that no two writers share one.

    Two processes that write into one shard (or into one chunk, where there are no shards) overwrite each other's
    voxels without an error.
    """
    if any(block % shard for block, shard in zip(block_shape, shard_shape, strict=True)):
        raise InputError(
            f"blocks of {tuple(block_shape)} voxels don't consist of whole shards of {tuple(shard_shape)}",
            allowed="block sides that are multiples of the shard's, because parallel writers into one shard lose data",
            remedy=f"use blocks of {snap_up(block_shape, shard_shape)}",
        )


def shard_shape(shape: Sequence[int], block_shape: Sequence[int], chunks: Sequence[int]) -> tuple[int, ...] | None:
    """Choose the shards of a volume that is written in blocks: a block each, or None where its chunks are few.

    A block on its own along an axis may be longer than the volume; its shard ends there, after a whole chunk.

    Parameters
    ----------
    shape
        Voxels of the volume, channels first, which are chunks of their own.
    block_shape, chunks
        Voxels per spatial axis.

    Raises InputError unless blocks consist of whole chunks.
    """
    check_shards(block_shape, chunks)
    channels, sides = shape[: -len(chunks)], shape[-len(chunks) :]
    if prod(channels) * prod(block_grid(sides, chunks)) <= MOST_FILES:
        return None
    return tuple(min(block, covered) for block, covered in zip(block_shape, snap_up(sides, chunks), strict=True))
