"""What waterz makes of fragments, merge by merge and at every threshold: the reference of agglomeration."""

import re
from collections.abc import Sequence

import numpy as np
import waterz
from numpy.typing import NDArray

from sparse2dense.ops.agglomeration import QUANTILES, MergeTree

FUNCTIONS = ["mean", *(f"hist_quant_{q}{begin}" for q in QUANTILES for begin in ("", "_initmax"))]
SWEEP = [float(np.float32(threshold)) for threshold in np.arange(0.05, 1, 0.05)]
"""Thresholds of float32, which waterz compares in."""


def waterz_cuts(
    affinities: NDArray, fragments: NDArray[np.uint64], merge_function: str, thresholds: Sequence[float]
) -> list[NDArray[np.uint64]]:
    """Return waterz' segmentation at each of the ascending thresholds; affinities of uint8 or float32."""
    results = waterz.agglomerate(
        _shares(affinities), list(thresholds), fragments=fragments.copy(), scoring_function=_scoring(merge_function)
    )
    return [np.array(segmentation) for segmentation in results]


def waterz_tree(affinities: NDArray, fragments: NDArray[np.uint64], merge_function: str) -> MergeTree:
    """Return the history of all merges of waterz: `b` becomes part of `a`, which keeps its number."""
    ((_, merges),) = waterz.agglomerate(
        _shares(affinities),
        [2.0],
        fragments=fragments.copy(),
        scoring_function=_scoring(merge_function),
        return_merge_history=True,
    )
    kept, gone = (np.array([merge[name] for merge in merges], np.uint64) for name in "ab")
    assert kept.tolist() == [merge["c"] for merge in merges]
    return MergeTree(np.unique(fragments[fragments > 0]), kept, gone, np.array([merge["score"] for merge in merges]))


def renumbered(fragments: NDArray[np.uint64], seed: int, first: int = 1) -> NDArray[np.uint64]:
    """Return the fragments under a random permutation of the numbers from `first` on."""
    ids, inverse = np.unique(fragments, return_inverse=True)
    numbers = np.random.default_rng(seed).permutation(len(ids)).astype(np.uint64) + np.uint64(first)
    numbers[ids == 0] = 0
    return numbers[inverse].reshape(fragments.shape)


def _shares(affinities: NDArray) -> NDArray[np.float32]:
    scale = 255 if affinities.dtype == np.uint8 else 1
    return affinities.astype(np.float32) / np.float32(scale)


def _scoring(merge_function: str) -> str:
    scoring = "MeanAffinity<RegionGraphType, ScoreValue>"
    if quantile := re.fullmatch(r"hist_quant_(\d+)(_initmax)?", merge_function):
        initmax = "true" if quantile[2] else "false"
        scoring = f"HistogramQuantileAffinity<RegionGraphType, {quantile[1]}, ScoreValue, 256, {initmax}>"
    return f"OneMinus<{scoring}>"
