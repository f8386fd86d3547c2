"""Hierarchical agglomeration of fragments: run once, its history is a tree that every threshold cuts."""

import ctypes
import io
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import waterz
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.ops.fragments import nearest_affinities
from sparse2dense.ops.thresholds import Threshold, threshold_name

__all__ = ["MergeTree", "merge_tree", "scoring_function"]

QUANTILES = (10, 25, 50, 75, 90)


@dataclass(frozen=True)
class MergeTree:
    """The history of an agglomeration.

    Parameters
    ----------
    fragments
        uint64, ascending: every fragment there is, merged or not.
    a, b
        uint64: representatives (fragment ids) of the two segments of each merge, in merge order.
    score
        float64: the score at which each merge happened; 0 merges first.
    """

    fragments: NDArray[np.uint64]
    a: NDArray[np.uint64]
    b: NDArray[np.uint64]
    score: NDArray[np.float64]

    def cut(self, threshold: Threshold) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Return the fragments and the segment of each after all merges of a score below `threshold`.

        A merge of a score below that of an earlier one comes with the earlier one, as the agglomeration stops at the
        first score that reaches the threshold. Segments are 1..K in the order of their smallest fragment id.
        """
        reached = np.maximum.accumulate(self.score)
        done = int(np.searchsorted(reached, float(threshold_name(threshold)), side="left"))
        a = np.searchsorted(self.fragments, self.a[:done])
        b = np.searchsorted(self.fragments, self.b[:done])
        return self.fragments, _segments(len(self.fragments), a, b)


@numba.njit(cache=True)
def _segments(count: int, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Number the sets that the pairs a, b connect 1..K in the order of their smallest member."""
    parent = np.arange(count)
    for i in range(a.size):
        u, v = a[i], b[i]
        while parent[u] != u:
            parent[u] = parent[parent[u]]
            u = parent[u]
        while parent[v] != v:
            parent[v] = parent[parent[v]]
            v = parent[v]
        # the smaller member stays the root, so roots come before their sets
        if u < v:
            parent[v] = u
        else:
            parent[u] = v
    segments = np.zeros(count, np.uint64)
    last = np.uint64(0)
    for i in range(count):
        if parent[i] == i:
            last += np.uint64(1)
            segments[i] = last
        else:
            parent[i] = parent[parent[i]]
            segments[i] = segments[parent[i]]
    return segments


def scoring_function(merge_function: str) -> str:
    """Return waterz' type for `mean`, `hist_quant_<q>` or `hist_quant_<q>_initmax`, q one of 10, 25, 50, 75, 90.

    Raises InputError for any other name.
    """
    if merge_function == "mean":
        return "OneMinus<MeanAffinity<RegionGraphType, ScoreValue>>"
    quantile = re.fullmatch(r"hist_quant_(\d+)(_initmax)?", merge_function)
    if quantile is None or int(quantile[1]) not in QUANTILES:
        names = [f"hist_quant_{q}" for q in QUANTILES]
        raise InputError(
            f"merge function {merge_function!r} is unknown",
            allowed=", ".join(["mean", *names]) + ", and the quantiles with _initmax behind",
            remedy="correct segment.merge_function in the configuration",
        )
    initmax = "true" if quantile[2] else "false"
    return f"OneMinus<HistogramQuantileAffinity<RegionGraphType, {quantile[1]}, ScoreValue, 256, {initmax}>>"


def merge_tree(
    affinities: NDArray, fragments: NDArray, *, offsets: Sequence[Sequence[int]], merge_function: str = "mean"
) -> MergeTree:
    """Merge fragments, the most similar neighbours first, until no two touch.

    The score of two neighbours is one minus the mean or a quantile of the affinities across their contact, as
    computed by waterz (Funke et al. 2018).

    Parameters
    ----------
    affinities
        (channels, z, y, x), uint8 (255 is 1) or float in [0, 1].
    fragments
        (z, y, x) unsigned integers, 0 is background; left as they are.
    offsets
        One offset (z, y, x) per channel in voxels; the nearest neighbours are found among them.
    merge_function
        `mean`, `hist_quant_<q>` or `hist_quant_<q>_initmax`; higher quantiles merge more readily.

    Raises InputError when shapes don't fit, a nearest neighbour is missing, or the merge function is unknown.
    """
    function = scoring_function(merge_function)
    if fragments.shape != affinities.shape[1:]:
        raise InputError(
            f"fragments of shape {fragments.shape} for affinities of shape {affinities.shape}",
            allowed="the same z, y, x",
            remedy="give the fragments that were made from these affinities",
        )
    ids, inverse = np.unique(fragments, return_inverse=True)
    ids = ids.astype(np.uint64)
    numbered = inverse.reshape(fragments.shape).astype(np.uint64)
    if ids[0] == 0:
        ids = ids[1:]
    else:
        numbered += np.uint64(1)
    a, b, score = _history(np.stack(nearest_affinities(affinities, offsets)), numbered, function)
    return MergeTree(ids, ids[a - 1], ids[b - 1], score)


def _history(
    affinities: NDArray[np.float32], numbered: NDArray[np.uint64], function: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    merges: list[dict[str, Any]] = []
    if numbered.any():
        with _quiet_stdout():
            # scores don't exceed 1, so nothing is left unmerged at 2
            results = waterz.agglomerate(
                affinities, [2.0], fragments=numbered, scoring_function=function, return_merge_history=True
            )
            merges = next(iter(results))[1]
    a = np.array([merge["a"] for merge in merges], np.int64)
    b = np.array([merge["b"] for merge in merges], np.int64)
    # waterz compares in float32. The shortest decimal that names a float32 orders as the float32 does, and equals a
    # threshold such as 0.58 exactly where waterz finds them equal; the float64 of the same bits doesn't.
    names = np.array([merge["score"] for merge in merges], np.float32).astype(str)
    return a, b, names.astype(np.float64)


@contextmanager
def _quiet_stdout() -> Iterator[None]:
    """Send what Python and C++ write to standard output nowhere: waterz reports every step there."""
    sys.stdout.flush()
    c_library = ctypes.CDLL(None)
    saved = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        c_library.fflush(None)
        os.dup2(saved, 1)
        os.close(saved)
        os.close(nowhere)
