"""Scores of a segmentation from its table of overlaps with the truth."""

import numpy as np
from numpy.typing import NDArray

from sparse2dense.ops.overlaps import OverlapTable, merge, overlaps, relabel

__all__ = ["OverlapTable", "merge", "overlaps", "relabel", "score"]


def _entropy(counts: NDArray[np.int64], total: int) -> float:
    share = counts / total
    return float(-np.sum(share * np.log2(share)))


def _sums(labels: NDArray[np.uint64], voxels: NDArray[np.int64]) -> NDArray[np.int64]:
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
