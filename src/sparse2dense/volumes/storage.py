"""How many files and bytes a volume takes on disk at most, known before it is written."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from sparse2dense.volumes.grid import block_grid

__all__ = ["Stored", "stored_size"]

METADATA_FILES, METADATA_BYTES = 3, 2**14
"""Of a store: what describes the group and the array, with the record of what made it, and a time stamp."""
INDEX, INDEX_END = 16, 4
"""Bytes in a shard: place and length of each chunk, and the checksum of them all."""


@dataclass(frozen=True)
class Stored:
    """An upper bound of what lies on disk: number of files, and bytes."""

    files: int = 0
    bytes: int = 0

    def __add__(self, other: "Stored") -> "Stored":
        return Stored(self.files + other.files, self.bytes + other.bytes)

    def __mul__(self, times: int) -> "Stored":
        return Stored(times * self.files, times * self.bytes)


def stored_size(
    shape: Sequence[int], itemsize: int, chunks: Sequence[int], shards: Sequence[int] | None = None
) -> Stored:
    """Return what a volume takes where no chunk can be compressed; chunks without a voxel above 0 take nothing.

    Parameters
    ----------
    shape
        Of the whole array, channels first, which are chunks of their own.
    itemsize
        Bytes of a voxel.
    chunks, shards
        Voxels per spatial axis; a shard holds all channels, and None means that chunks are files.
    """
    channels, sides = prod(shape[: -len(chunks)]), shape[-len(chunks) :]
    count = channels * prod(block_grid(sides, chunks))
    # chunks at the end of the volume are stored whole
    content = count * _compressed(prod(chunks) * itemsize)
    files = count
    if shards is not None:
        files = prod(block_grid(sides, shards))
        content += files * (INDEX * channels * prod(block_grid(shards, chunks)) + INDEX_END)
    return Stored(files + METADATA_FILES, content + METADATA_BYTES)


def _compressed(size: int) -> int:
    """Return the largest size of so many bytes after compression: `ZSTD_COMPRESSBOUND` of zstd.h."""
    return size + (size >> 8) + (max(0, 2**17 - size) >> 11)
