"""Sparse tables of how many voxels each pair of true object and segment shares; tables of parts add up."""

from collections.abc import Iterable
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from sparse2dense.errors import InputError

__all__ = ["OverlapTable", "look_up", "merge", "overlaps", "overlaps_with_part", "places_among", "relabel"]


PIECE = 1024
"""Voxels whose runs are found at a time; no more than half of the smallest table."""
SLAB = 2**18
"""Voxels of a part of a larger array that are copied at a time; they fit a processor's cache."""


@dataclass(frozen=True)
class OverlapTable:
    """Voxels shared by true objects and segments, one row per pair that meets, ordered by truth, then segment.

    Parameters
    ----------
    truth, segment
        uint64: the labels of the pair, 0 included.
    voxels
        int64: how many voxels have both.
    """

    truth: NDArray[np.uint64]
    segment: NDArray[np.uint64]
    voxels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.voxels)

    def select(self, rows: NDArray[np.bool_]) -> "OverlapTable":
        """Return the table of the rows where `rows` is true."""
        return OverlapTable(self.truth[rows], self.segment[rows], self.voxels[rows])


@numba.njit(cache=True, inline="always")
def _slot(keys, counts, bits, truth, segment):  # type: ignore[no-untyped-def]
    """Return the slot of a pair in a table of 2^bits slots; one that is free, and now the pair's, where it is new.

    A slot is free as long as its count is 0. The search begins at a multiplicative hash (Knuth).
    """
    mixed = truth * np.uint64(0x9E3779B97F4A7C15) ^ (segment + np.uint64(0x7F4A7C15)) * np.uint64(0xC2B2AE3D27D4EB4F)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    slot = np.int64(mixed >> np.uint64(64 - bits))
    while counts[slot] != 0 and not (keys[slot, 0] == truth and keys[slot, 1] == segment):
        slot = (slot + 1) & (counts.size - 1)
    keys[slot, 0], keys[slot, 1] = truth, segment
    return slot


@numba.njit(cache=True, nogil=True)
def _fill(truth, segment, counted, i, keys, totals, counts, bits):  # type: ignore[no-untyped-def]
    """Count voxels from the i-th on until half of the table might be full; return the first voxel left.

    Neighbours mostly are equal, so pairs are looked up once per run. Where runs begin is found for a piece at a time:
    the loops over voxels have no branches, so processors compare many at once.
    """
    room = totals.size // 2 - np.count_nonzero(totals)
    begins, starts = np.empty(PIECE, np.uint8), np.empty(PIECE + 1, np.int64)
    while i < truth.size and room >= PIECE:
        size = min(PIECE, truth.size - i)
        t, s, c = truth[i : i + size], segment[i : i + size], counted[i : i + size]
        begins[0] = 1
        for j in range(1, size):
            begins[j] = ((t[j] ^ t[j - 1]) | (s[j] ^ s[j - 1])) != 0
        for j in range(1, size):
            begins[j] |= c[j] ^ c[j - 1]
        runs = 0
        for j in range(size):
            starts[runs] = j
            runs += begins[j]
        starts[runs] = size
        for run in range(runs):
            j, length = starts[run], starts[run + 1] - starts[run]
            slot = _slot(keys, totals, bits, np.uint64(t[j]), np.uint64(s[j]))
            room -= totals[slot] == 0
            totals[slot] += length
            counts[slot] += length * c[j]
        i += size
    return i


@numba.njit(cache=True, nogil=True)
def _counted_pairs(truth, segment, counted):  # type: ignore[no-untyped-def]
    """Return the pairs that occur, the voxels of each, and those of them that are counted."""
    bits, i = 12, 0
    keys, totals, counts = (
        np.empty((1 << bits, 2), np.uint64),
        np.zeros(1 << bits, np.int64),
        np.zeros(1 << bits, np.int64),
    )
    while True:
        # not in one loop with the growth: arrays that may be replaced are slow to reach
        i = _fill(truth, segment, counted, i, keys, totals, counts, bits)
        filled = np.flatnonzero(totals)
        if i == truth.size:
            return keys[filled], totals[filled], counts[filled]
        bits += 2
        wider, sums, parts = (
            np.empty((1 << bits, 2), np.uint64),
            np.zeros(1 << bits, np.int64),
            np.zeros(1 << bits, np.int64),
        )
        for old in filled:
            slot = _slot(wider, sums, bits, keys[old, 0], keys[old, 1])
            sums[slot], parts[slot] = totals[old], counts[old]
        keys, totals, counts = wider, sums, parts


@numba.njit(cache=True)
def _summed_pairs(truth, segment, voxels):  # type: ignore[no-untyped-def]
    """Return the pairs that occur, and the sum of the voxels of each."""
    bits = 4
    while 1 << bits < 2 * truth.size:
        bits += 1
    keys, sums = np.empty((1 << bits, 2), np.uint64), np.zeros(1 << bits, np.int64)
    for i in range(truth.size):
        sums[_slot(keys, sums, bits, truth[i], segment[i])] += voxels[i]
    filled = np.flatnonzero(sums)
    return keys[filled], sums[filled]


def _table(keys: NDArray[np.uint64], voxels: NDArray[np.int64]) -> OverlapTable:
    """Return the ordered table of the pairs that have voxels."""
    keys, voxels = keys[voxels != 0], voxels[voxels != 0]
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    return OverlapTable(keys[order, 0].copy(), keys[order, 1].copy(), voxels[order])


def overlaps(truth: NDArray, segmentation: NDArray, counted: NDArray | None = None) -> OverlapTable:
    """Count the voxels of every pair of true object and segment.

    Parameters
    ----------
    truth, segmentation
        Arrays of the same shape, any unsigned integers, or signed ones without negative values.
    counted
        Same shape; voxels where it is 0 or False are left out.

    Raises InputError when shapes differ or an array can't hold labels.
    """
    if counted is None:
        return overlaps_with_part(truth, segmentation, np.zeros(truth.shape, np.bool_))[0]
    return overlaps_with_part(truth, segmentation, counted)[1]


def overlaps_with_part(truth: NDArray, segmentation: NDArray, counted: NDArray) -> tuple[OverlapTable, OverlapTable]:
    """Return the overlaps of all voxels, and of those that are counted, from one pass; arguments as in `overlaps`."""
    for name, labels in (("segmentation", segmentation), ("counted", counted)):
        if labels.shape != truth.shape:
            raise InputError(
                f"{name} of shape {labels.shape} beside truth of shape {truth.shape}",
                allowed="equal shapes",
                remedy="crop both to the region they share",
            )
    chosen = counted if counted.dtype == np.bool_ else counted != 0
    arrays = (_labels("truth", truth), _labels("segmentation", segmentation), chosen.view(np.uint8))
    size = truth.size if all(array.flags.c_contiguous for array in arrays) else SLAB
    step = max(1, size * len(truth) // max(truth.size, 1))
    pairs = [
        _counted_pairs(*(np.ascontiguousarray(array[start : start + step]).reshape(-1) for array in arrays))
        for start in range(0, max(len(truth), 1), step)
    ]
    if len(pairs) == 1:
        keys, totals, counts = pairs[0]
        return _table(keys, totals), _table(keys, counts)
    tables = [(_table(keys, totals), _table(keys, counts)) for keys, totals, counts in pairs]
    everywhere, part = (merge(parts) for parts in zip(*tables, strict=True))
    return everywhere, part


def _labels(name: str, labels: NDArray) -> NDArray:
    if labels.dtype.kind not in "uib" or (labels.dtype.kind == "i" and labels.size and labels.min() < 0):
        raise InputError(
            f"{name} holds {labels.dtype} values that aren't labels",
            allowed="integers of at least 0",
            remedy="convert the labels to unsigned integers without passing through floats",
        )
    # two compiled variants are enough: small integers fit uint32 without loss
    if labels.dtype in (np.uint32, np.uint64):
        return labels
    return labels.astype(np.uint32 if labels.itemsize < 4 else np.uint64)


def merge(tables: Iterable[OverlapTable]) -> OverlapTable:
    """Add up the tables of disjoint parts of a volume: the result is the table of the whole, in any order."""
    parts = list(tables)
    if not parts:
        return OverlapTable(np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros(0, np.int64))
    truth, segment, voxels = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("truth", "segment", "voxels")
    )
    return _table(*_summed_pairs(truth, segment, voxels))


def look_up(ids: NDArray[np.uint64], fragments: NDArray[np.uint64], segments: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the segment of every id, 0 for 0.

    Parameters
    ----------
    ids
        uint64, any shape.
    fragments, segments
        The look-up table; `fragments` ascends.

    Raises InputError when an id other than 0 is missing in the table.
    """
    place = places_among(ids, fragments)
    return np.where(ids != 0, segments[place], np.uint64(0)) if len(fragments) else np.zeros(ids.shape, np.uint64)


def places_among(ids: NDArray[np.uint64], fragments: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return where each id is among the ascending fragments, anything for 0.

    Raises InputError when an id other than 0 is missing.
    """
    if len(fragments) == 0:
        missing = ids != 0
        place = np.zeros(ids.shape, np.int64)
    else:
        place = np.minimum(np.searchsorted(fragments, ids), len(fragments) - 1)
        missing = (fragments[place] != ids) & (ids != 0)
    if missing.any():
        lost = np.unique(ids[missing])
        raise InputError(
            f"{len(lost)} fragments, for example {lost[0]}, are missing in the look-up table",
            allowed="every fragment has a segment",
            remedy="make the merge tree and the look-up table again from these fragments",
        )
    return place


def relabel(table: OverlapTable, fragments: NDArray[np.uint64], segments: NDArray[np.uint64]) -> OverlapTable:
    """Return the table of segments from that of fragments, without another look at a volume.

    Parameters
    ----------
    table
        Its `segment` holds fragment ids.
    fragments, segments
        The look-up table, `fragments` ascending; 0 stays 0.

    Raises InputError when a fragment is missing in the look-up table.
    """
    return _table(*_summed_pairs(table.truth, look_up(table.segment, fragments, segments), table.voxels))
