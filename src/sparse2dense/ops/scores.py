"""Scores of a segmentation from its table of overlaps with the truth."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparse2dense.ops.overlaps import OverlapTable, merge, overlaps, relabel

__all__ = ["ObjectError", "OverlapTable", "merge", "overlaps", "relabel", "score", "worst"]


def _entropy(counts: NDArray[np.int64], total: int) -> float:
    share = counts / total
    return float(-np.sum(share * np.log2(share)))


def _sums(labels: NDArray[np.uint64], voxels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the voxels of every label."""
    _, inverse = np.unique(labels, return_inverse=True)
    sums = np.zeros(int(inverse.max(initial=-1)) + 1, np.int64)
    np.add.at(sums, inverse, voxels)
    return sums


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
        return dict.fromkeys(
            ("voi_split", "voi_merge", "voi_sum", "nvi_split", "nvi_merge", "nvi_sum", "nid",
             "arand", "rand_split", "rand_merge"), float("nan"),
        )  # fmt: skip
    objects, segments = _sums(table.truth, table.voxels), _sums(table.segment, table.voxels)
    h_pair, h_object, h_segment = (_entropy(counts, total) for counts in (table.voxels, objects, segments))
    # the entropies of equal partitions are equal up to rounding: no information is negative
    split, join = max(0.0, h_pair - h_object), max(0.0, h_pair - h_segment)
    shared = min(h_object, h_segment, h_object + h_segment - h_pair)
    larger = max(h_object, h_segment)
    pairs = float(np.sum((table.voxels / total) ** 2))
    recall = pairs / float(np.sum((objects / total) ** 2))
    precision = pairs / float(np.sum((segments / total) ** 2))
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


@dataclass(frozen=True)
class ObjectError:
    """How much one object's splits, or one segment's merges, add to the variation of information.

    Parameters
    ----------
    label
        The true object, or the segment.
    bits
        Its part of voi_split, or of voi_merge.
    voxels
        Voxels of it that count.
    parts
        Segments that share the object, or objects that share the segment.
    """

    label: int
    bits: float
    voxels: int
    parts: int


def worst(table: OverlapTable, count: int) -> tuple[list[ObjectError], list[ObjectError]]:
    """Return the `count` objects that are split worst and the `count` segments that merge worst, worst first.

    The bits of all objects add up to voi_split, those of all segments to voi_merge; equal bits are ordered by label.
    """
    table = table.select(table.truth != 0)
    return _ranked(table.truth, table.voxels, count), _ranked(table.segment, table.voxels, count)


def _ranked(labels: NDArray[np.uint64], voxels: NDArray[np.int64], count: int) -> list[ObjectError]:
    ids, inverse, parts = np.unique(labels, return_inverse=True, return_counts=True)
    sizes = _sums(labels, voxels)
    bits = np.zeros(len(ids))
    np.add.at(bits, inverse, -voxels * np.log2(voxels / sizes[inverse]))
    bits = bits / max(int(voxels.sum()), 1) + 0.0  # + 0 turns the -0 of an undivided object into 0
    order = [i for i in np.lexsort((ids, -bits))[:count] if parts[i] > 1]
    return [ObjectError(int(ids[i]), float(bits[i]), int(sizes[i]), int(parts[i])) for i in order]
