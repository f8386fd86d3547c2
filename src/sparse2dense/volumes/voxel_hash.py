"""A checksum of voxels that doesn't depend on how they are stored, nor on which ids objects have."""

import hashlib
from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse2dense.volumes.volume import Volume

__all__ = ["pieces", "voxel_hash"]

SLAB_BYTES = 32 * 2**20
PIECE = 2**19
"""Voxels."""


def voxel_hash(volume: Volume, labels: bool) -> str:
    """Return the SHA-256 of all voxels in C order, little endian.

    Labels are numbered 1, 2, ... in the order in which they first appear, 0 stays 0, as uint64: two volumes with the
    same objects under other ids have the same hash.
    """
    digest = hashlib.sha256()
    numbers: dict[int, int] = {0: 0}
    depth = max(1, min(volume.array.chunks[0], SLAB_BYTES // (prod(volume.shape[1:]) * volume.dtype.itemsize)))
    for start in range(0, volume.shape[0], depth):
        for piece in pieces(volume[start : start + depth]):
            values = first_appearance(piece, numbers) if labels else piece
            digest.update(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).data)
    return digest.hexdigest()


def pieces(values: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield an array piece by piece, flat and in C order; what `np.unique` needs of memory is many times its input."""
    flat = values.reshape(-1)
    for start in range(0, len(flat), PIECE):
        yield flat[start : start + PIECE]


def first_appearance(values: NDArray[Any], numbers: dict[int, int]) -> NDArray[np.uint64]:
    """Number ids in the order in which they appear; `numbers` remembers them from piece to piece."""
    names, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    for index in np.argsort(first):
        numbers.setdefault(int(names[index]), len(numbers))
    return np.array([numbers[int(name)] for name in names], np.uint64)[inverse].reshape(values.shape)
