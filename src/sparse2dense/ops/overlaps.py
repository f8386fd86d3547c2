"""Sparse tables of how many voxels each pair of true object and segment shares; tables of parts add up."""

from collections.abc import Iterable
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from sparse2dense.errors import InputError

__all__ = ["OverlapTable", "look_up", "merge", "overlaps", "relabel"]


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


@numba.njit(cache=True)
def _slot(truth: np.uint64, segment: np.uint64, bits: int) -> np.int64:
    """Return where a pair's search begins in a table of 2^bits slots (multiplicative hashing, Knuth)."""
    mixed = truth * np.uint64(0x9E3779B97F4A7C15) ^ (segment + np.uint64(0x7F4A7C15)) * np.uint64(0xC2B2AE3D27D4EB4F)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    return np.int64(mixed >> np.uint64(64 - bits))


@numba.njit(cache=True)
def _add(keys, counts, bits, truth, segment, count):  # type: ignore[no-untyped-def]
    """Add `count` to a pair; return whether the pair is new."""
    mask = np.int64((1 << bits) - 1)
    slot = _slot(truth, segment, bits)
    while counts[slot] != 0:
        if keys[slot, 0] == truth and keys[slot, 1] == segment:
            counts[slot] += count
            return False
        slot = (slot + 1) & mask
    keys[slot, 0], keys[slot, 1], counts[slot] = truth, segment, count
    return True


@numba.njit(cache=True)
def _grown(keys, counts, bits):  # type: ignore[no-untyped-def]
    wider_keys, wider_counts = np.zeros((4 << bits, 2), np.uint64), np.zeros(4 << bits, np.int64)
    for slot in range(counts.size):
        if counts[slot] != 0:
            _add(wider_keys, wider_counts, bits + 2, keys[slot, 0], keys[slot, 1], counts[slot])
    return wider_keys, wider_counts


@numba.njit(cache=True)
def _counted_pairs(truth, segment, weights, counted):  # type: ignore[no-untyped-def]
    """Return the pairs that occur, and the sum of the weights of each; no weights or selection where size is 0."""
    bits = 10
    keys, counts = np.zeros((1 << bits, 2), np.uint64), np.zeros(1 << bits, np.int64)
    used = 0
    i, size = 0, truth.size
    while i < size:
        if counted.size != 0 and not counted[i]:
            i += 1
            continue
        t, s, run = truth[i], segment[i], np.int64(0)
        # neighbours mostly have equal pairs: look the pair up once per run
        while i < size and truth[i] == t and segment[i] == s and (counted.size == 0 or counted[i]):
            run += weights[i] if weights.size != 0 else 1
            i += 1
        if _add(keys, counts, bits, np.uint64(t), np.uint64(s), run):
            used += 1
            if 2 * used > counts.size:
                keys, counts = _grown(keys, counts, bits)
                bits += 2
    filled = np.flatnonzero(counts)
    return keys[filled], counts[filled]


def _table(truth: NDArray, segment: NDArray, weights: NDArray[np.int64], counted: NDArray[np.bool_]) -> OverlapTable:
    keys, voxels = _counted_pairs(truth, segment, weights, counted)
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
    for name, labels in (("truth", truth), ("segmentation", segmentation), ("counted", counted)):
        if labels is not None and labels.shape != truth.shape:
            raise InputError(
                f"{name} of shape {labels.shape} beside truth of shape {truth.shape}",
                allowed="equal shapes",
                remedy="crop both to the region they share",
            )
    rows = [_labels("truth", truth), _labels("segmentation", segmentation)]
    chosen = np.zeros(0, np.bool_) if counted is None else np.ascontiguousarray(counted != 0).reshape(-1)
    return _table(rows[0], rows[1], np.zeros(0, np.int64), chosen)


def _labels(name: str, labels: NDArray) -> NDArray:
    if labels.dtype.kind not in "uib" or (labels.dtype.kind == "i" and labels.size and labels.min() < 0):
        raise InputError(
            f"{name} holds {labels.dtype} values that aren't labels",
            allowed="integers of at least 0",
            remedy="convert the labels to unsigned integers without passing through floats",
        )
    flat = np.ascontiguousarray(labels).reshape(-1)
    # two compiled variants are enough: small integers fit uint32 without loss
    return flat if flat.dtype in (np.uint32, np.uint64) else flat.astype(np.uint32 if flat.itemsize < 4 else np.uint64)


def merge(tables: Iterable[OverlapTable]) -> OverlapTable:
    """Add up the tables of disjoint parts of a volume: the result is the table of the whole, in any order."""
    parts = list(tables)
    if not parts:
        return OverlapTable(np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros(0, np.int64))
    truth, segment, voxels = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("truth", "segment", "voxels")
    )
    return _table(truth, segment, voxels, np.zeros(0, np.bool_))


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
    if len(fragments) == 0:
        return np.zeros(ids.shape, np.uint64)
    return np.where(ids != 0, segments[place], np.uint64(0))


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
    return _table(table.truth, look_up(table.segment, fragments, segments), table.voxels, np.zeros(0, np.bool_))
