"""Fragments of affinities, and the segmentation that a look-up table makes of them."""

import logging
from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.ops.fragments import crop_fragments, nearest_channels, number_in_block, watershed_fragments
from sparse2dense.ops.mutex_fragments import mutex_fragments, section_channels
from sparse2dense.ops.overlaps import look_up
from sparse2dense.stages.sourcecode import resume_key
from sparse2dense.volumes.blockwise import Part, run_blockwise
from sparse2dense.volumes.grid import Block, blocks, chunk_shape, clip, shard_shape, snap_up, tiling, within
from sparse2dense.volumes.provenance import provenance
from sparse2dense.volumes.tables import read_table
from sparse2dense.volumes.volume import Volume, create_volume, open_beside, open_volume

__all__ = ["make_fragments", "offsets_of", "write_segmentation"]

log = logging.getLogger(__name__)


def make_fragments(
    affinities: Path,
    output: Path,
    *,
    per_section: bool = False,
    seed_distance: int | Sequence[int] = 10,
    boundary_threshold: float = 0.5,
    minimum_affinity: float = 0.0,
    debris: int = 0,
    fill_holes: bool = False,
    mutex: Mapping[str, Any] | None = None,
    mask: Path | None = None,
    block_shape: Sequence[int] = (128, 256, 256),
    context: Sequence[int] = (16, 32, 32),
    workers: int = 1,
    part: Part | None = None,
) -> None:
    """Split the foreground of affinities into fragments, block by block.

    A fragment lies in one block. Its id is the block's row-major number times the voxels of a block, plus 1..n in the
    order of first voxels, so that blocks need not know of each other. Fragments depend on the shape of the blocks and
    their context, which are settings as any other, but neither on the number of workers nor on interruptions.

    Parameters
    ----------
    affinities
        Volume (c, z, y, x) with the attribute `offsets`.
    output
        Volume to write, uint64 (z, y, x), 0 is background; its chunks divide the blocks.
    per_section, seed_distance, boundary_threshold, minimum_affinity, debris, fill_holes
        As in `ops.fragments.watershed_fragments`.
    mutex
        Make fragments by mutex watershed instead, with these arguments of `ops.mutex_fragments`: near_bias, far_bias,
        far_stride, biases, strides, randomized_strides, noise and seed.
    mask
        Volume of the same place and shape; where it is 0 there are no fragments.
    block_shape
        Voxels (z, y, x) of a block; along an axis that it covers, the volume is not cut.
    context
        Voxels (z, y, x) around a block that are segmented with it and then cropped; none along z for sections alone.
    workers
        Processes that work on blocks.
    part
        Compute this share of the blocks only, see `volumes.blockwise`.

    Raises InputError when offsets are missing, or the mask lies elsewhere.
    """
    source = open_volume(affinities)
    settings: dict[str, Any] = {
        "per_section": per_section,
        "minimum_affinity": minimum_affinity,
        "debris": debris,
        "fill_holes": fill_holes,
    }
    offsets, shape = offsets_of(source), source.spatial_shape
    over_segment: Callable[..., NDArray[np.uint64]]
    if mutex is None:
        over_segment = watershed_fragments
        settings |= {"seed_distance": seed_distance, "boundary_threshold": boundary_threshold}
        channels = nearest_channels(offsets, (1, 2) if per_section else (0, 1, 2))
    else:
        over_segment = mutex_fragments
        settings |= mutex
        channels = section_channels(offsets) if per_section else list(range(len(offsets)))
    if mask is not None:
        open_beside(source, mask)
    tile, chunks = tiling(shape, block_shape, chunk_shape(shape, source.voxel_size))
    inputs = {"affinities": affinities, **({} if mask is None else {"mask": mask})}
    record = provenance("make_fragments", {**settings, "block_shape": block_shape, "context": context}, inputs)

    def create(paths: Sequence[Path]) -> None:
        create_volume(
            paths[0], shape, "uint64", voxel_size=source.voxel_size, offset=source.offset, labels=True, chunks=chunks,
            shards=shard_shape(shape, tile, chunks), attributes={"provenance": record},
        )  # fmt: skip

    def work(paths: Sequence[Path], block: Block) -> None:
        values, read = open_volume(affinities), clip(block.read, shape)
        own: dict[str, Any] = {"voxel_size": values.voxel_size}
        if mutex is not None:
            # blocks draw their own random numbers, each always the same
            own = {"seed": (mutex["seed"] << 32) + block.index}
            own |= {name: _chosen(mutex.get(name), channels) for name in ("biases", "strides")}
        found = over_segment(
            np.stack([values[(channel, *read)] for channel in channels]),
            offsets=[offsets[channel] for channel in channels],
            mask=None if mask is None else open_volume(mask)[read],
            cut=[(side.start > 0, side.stop < end) for side, end in zip(read, shape, strict=True)],
            **{**settings, **own},
        )
        if read != block.write:
            found = crop_fragments(found, within(block.write, read))
        open_volume(paths[0], "r+")[block.write] = number_in_block(found, block.index, prod(tile))

    tiles = blocks(shape, tile, (0 if per_section else context[0], *context[1:]))
    key = resume_key(__name__, record, inputs.values())
    label = f"fragments {output.parent.name}"
    run_blockwise(output, key, create, work, tiles, label=label, workers=workers, part=part)


def _chosen(of_channels: Sequence[Any] | None, channels: Sequence[int]) -> list[Any] | None:
    return None if of_channels is None else [of_channels[channel] for channel in channels]


def offsets_of(affinities: Volume) -> list[list[int]]:
    """Return the offset of every channel of affinities; InputError for another volume."""
    offsets = affinities.attributes.get("offsets")
    if not offsets or affinities.axes != "czyx":
        raise InputError(
            f"{affinities.path} with axes {affinities.axes} and offsets {offsets} holds no affinities",
            allowed="a volume czyx with the attribute offsets, one (z, y, x) per channel",
            remedy="predict the affinities with a net of this project, or add the attribute",
        )
    return [[int(step) for step in offset] for offset in offsets]


def write_segmentation(
    fragments: Path,
    lut: Path,
    output: Path,
    *,
    block_shape: Sequence[int] = (128, 256, 256),
    workers: int = 1,
    part: Part | None = None,
) -> None:
    """Write the segmentation that a look-up table makes of fragments, block by block.

    Parameters
    ----------
    fragments
        Volume uint64 (z, y, x).
    lut
        Parquet file of the columns fragment, ascending, and segment.
    output
        Volume to write, uint64, in the place of the fragments; 0 stays 0.
    block_shape
        Voxels (z, y, x) of a block, rounded up to whole chunks; no matter for the result.
    workers, part
        As in `make_fragments`.

    Raises InputError when a fragment is missing in the look-up table.
    """
    source = open_volume(fragments)
    chunks = source.array.chunks
    tile = snap_up(block_shape, chunks)
    table = read_table(lut, "fragment", "segment")
    inputs = {"fragments": fragments, "lut": lut}
    record = provenance("write_segmentation", {}, inputs)

    def create(paths: Sequence[Path]) -> None:
        create_volume(
            paths[0], source.shape, "uint64", voxel_size=source.voxel_size, offset=source.offset, labels=True,
            chunks=chunks, shards=shard_shape(source.shape, tile, chunks), attributes={"provenance": record},
        )  # fmt: skip

    def work(paths: Sequence[Path], block: Block) -> None:
        open_volume(paths[0], "r+")[block.write] = look_up(open_volume(fragments)[block.write], *table)

    key = resume_key(__name__, record, inputs.values())
    label = f"segment {output.name}"
    run_blockwise(output, key, create, work, blocks(source.shape, tile), label=label, workers=workers, part=part)
