"""What waterz makes of fragments at every threshold: the reference of agglomeration."""

import re
from collections.abc import Sequence

import numpy as np
import waterz
from numpy.typing import NDArray


def waterz_cuts(
    affinities: NDArray, fragments: NDArray[np.uint64], merge_function: str, thresholds: Sequence[float]
) -> list[NDArray[np.uint64]]:
    """Return waterz' segmentation at each of the ascending thresholds; affinities of uint8 or float32."""
    scoring = "MeanAffinity<RegionGraphType, ScoreValue>"
    if quantile := re.fullmatch(r"hist_quant_(\d+)(_initmax)?", merge_function):
        initmax = "true" if quantile[2] else "false"
        scoring = f"HistogramQuantileAffinity<RegionGraphType, {quantile[1]}, ScoreValue, 256, {initmax}>"
    scale = 255 if affinities.dtype == np.uint8 else 1
    results = waterz.agglomerate(
        affinities.astype(np.float32) / np.float32(scale),
        list(thresholds),
        fragments=fragments.copy(),
        scoring_function=f"OneMinus<{scoring}>",
    )
    return [np.array(segmentation) for segmentation in results]
