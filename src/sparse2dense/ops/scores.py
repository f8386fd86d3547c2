"""Scores of a segmentation from its table of overlaps with the truth."""

import numba
import numpy as np
from numpy.typing import NDArray

from sparse2dense.ops.overlaps import OverlapTable, merge, overlaps, places_among, relabel

__all__ = ["CutScores", "OverlapTable", "merge", "overlaps", "relabel", "score"]

Sums = tuple[float, float]
"""Of the shares of voxels that the labels of a kind have: their entropy in bits, and the sum of their squares."""


def _sums(voxels: NDArray[np.int64], total: int) -> Sums:
    share = voxels / total
    return float(-np.sum(share * np.log2(share))), float(np.sum(share**2))


def _added(labels: NDArray, voxels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the voxels of every label; at least one row."""
    order = np.argsort(labels, kind="stable")  # quick where they are in order already
    starts = np.flatnonzero(np.diff(labels[order], prepend=~labels[order[:1]]))
    return np.add.reduceat(voxels[order], starts)


def score(table: OverlapTable) -> dict[str, float]:
    """Score a segmentation against the truth; voxels of truth 0 are ignored, segment 0 is a segment like any other.

    Returns
    -------
    voi_split, voi_merge, voi_sum
        Variation of information in bits: H(segment | truth), H(truth | segment) and their sum (Meila 2007).
    nvi_split, nvi_merge, nvi_sum
        The same divided by the joint entropy, which is at most 1; 0 where that entropy is 0 (one object, one segment).
    nid
        Normalised information distance, 1 - I / max(H(truth), H(segment)); 0 where both entropies are 0.
    rand_split, rand_merge
        Share of voxel pairs of one object that share a segment, and of one segment that share an object; 1 is best.
    arand
        Adapted Rand error, one minus the harmonic mean of both; 0 is best.

    All are nan when no voxel counts.
    """
    table = table.select(table.truth != 0)
    total = int(table.voxels.sum())
    if total == 0:
        return _UNSCORED.copy()
    kinds = (table.voxels, _added(table.truth, table.voxels), _added(table.segment, table.voxels))
    return _scores(*(_sums(voxels, total) for voxels in kinds))


class CutScores:
    """Scores of segmentations that differ only in how they join fragments.

    Parameters
    ----------
    table
        Overlaps of the truth with the fragments.
    fragments
        uint64, ascending: all there are.
    section
        Of each row, int64: the same fragment in two sections is in two segments. None where there are no sections.
        Objects of two sections differ already.

    Raises InputError when a fragment of the table is missing.
    """

    def __init__(
        self, table: OverlapTable, fragments: NDArray[np.uint64], section: NDArray[np.int64] | None = None
    ) -> None:
        labelled = table.truth != 0
        table = table.select(labelled)
        self._voxels, self._total = table.voxels, int(table.voxels.sum())
        self._truth = np.unique(table.truth, return_inverse=True)[1]
        self._section = np.zeros(0, np.int64)
        if section is not None:
            self._section = np.unique(section[labelled], return_inverse=True)[1]
        self._place = np.where(table.segment != 0, places_among(table.segment, fragments), len(fragments))
        self._objects = _sums(_added(self._truth, self._voxels), self._total) if self._total else (0.0, 0.0)

    def score(self, segments: NDArray[np.uint64]) -> dict[str, float]:
        """Return what `score` returns for the table of segments, given the segment of every fragment, 1..K."""
        if self._total == 0:
            return _UNSCORED.copy()
        segment = np.append(segments, np.uint64(0))[self._place].astype(np.int64)
        pairs, whole = _added_of_cut(self._truth, self._section, segment, self._voxels)
        return _scores(_sums(pairs, self._total), self._objects, _sums(whole, self._total))


@numba.njit(cache=True)
def _in_order(keys, order):  # type: ignore[no-untyped-def]
    """Return rows in ascending order of keys, equal ones in the order given (counting sort)."""
    starts = np.zeros(keys.max() + 2, np.int64)
    for key in keys:
        starts[key + 1] += 1
    for key in range(1, starts.size):
        starts[key] += starts[key - 1]
    sorted_rows = np.empty_like(order)
    for row in order:
        sorted_rows[starts[keys[row]]] = row
        starts[keys[row]] += 1
    return sorted_rows


@numba.njit(cache=True)
def _added_of_runs(first, second, voxels, order):  # type: ignore[no-untyped-def]
    """Add up the voxels of rows that follow each other and have both keys equal."""
    added, last = np.empty(order.size, np.int64), -1
    for i in range(order.size):
        row, before = order[i], order[max(i - 1, 0)]
        if i == 0 or first[row] != first[before] or second[row] != second[before]:
            last += 1
            added[last] = 0
        added[last] += voxels[row]
    return added[: last + 1].copy()


@numba.njit(cache=True, nogil=True)
def _added_of_cut(
    truth: NDArray[np.int64], section: NDArray[np.int64], segment: NDArray[np.int64], voxels: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the voxels of pairs of object and segment, and of segments, each ordered by section, then label."""
    order = _in_order(segment, np.arange(segment.size))
    if section.size > 0:
        order = _in_order(section, order)
    whole = _added_of_runs(segment, section if section.size > 0 else segment, voxels, order)
    return _added_of_runs(segment, truth, voxels, _in_order(truth, order)), whole


def _scores(pair: Sums, objects: Sums, segments: Sums) -> dict[str, float]:
    """Return all scores from the sums over pairs, objects and segments."""
    (h_pair, pairs), (h_object, object_pairs), (h_segment, segment_pairs) = pair, objects, segments
    # the entropies of equal partitions are equal up to rounding: no information is negative
    split, join = max(0.0, h_pair - h_object), max(0.0, h_pair - h_segment)
    shared = min(h_object, h_segment, h_object + h_segment - h_pair)
    larger = max(h_object, h_segment)
    recall, precision = pairs / object_pairs, pairs / segment_pairs
    return {
        "voi_split": split,
        "voi_merge": join,
        "voi_sum": split + join,
        "nvi_split": split / h_pair if h_pair > 0 else 0.0,
        "nvi_merge": join / h_pair if h_pair > 0 else 0.0,
        "nvi_sum": (split + join) / h_pair if h_pair > 0 else 0.0,
        "nid": 1.0 - shared / larger if larger > 0 else 0.0,
        "arand": 1.0 - 2.0 * recall * precision / (recall + precision),
        "rand_split": recall,
        "rand_merge": precision,
    }


_UNSCORED = dict.fromkeys(_scores((1.0, 1.0), (1.0, 1.0), (1.0, 1.0)), float("nan"))
