"""Agglomeration keeps the rules of waterz, and differs from it in nothing but what ties decide.

Where scores tie there is no partition of waterz: the order of its queue hangs on the numbering of the fragments. So
two things are tested. Whatever waterz merges had the lowest score there was by our statistics, as what we merge has.
And on affinities of a real image, our cuts lie among those that waterz has under several numberings.

The second is no law: our order of ties is one of very many, and so is that of any numbering. On six crops made as below
(1650 cases: crops, functions and thresholds), 13 numberings of waterz gave several partitions in 543. Ours were 0.170
bits from them on average, and they 0.175 bits from each other; of no function were ours further by more than 0.018
bits. In 20 cases ours was further from that of the original numbering than any two of the 13 from each other (mean 2,
by 0.002 bits; hist_quant_90 4; at most 0.54 bits, of hist_quant_10). Against 12 numberings these are 24 cases, and 14
for waterz under one more numbering: a single merge of two large segments is enough. Ties decided at random would be 1 %
closer on such crops, and 8 % on tessellations like `smooth`.
"""

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from sparse2dense.ops.agglomeration import MergeTree, merge_tree
from sparse2dense.ops.fragments import watershed_fragments
from sparse2dense.ops.graph import RegionGraph, region_graph
from sparse2dense.ops.scores import OverlapTable, merge, score
from sparse2dense.ops.thresholds import thresholds
from tests.voronoi import OFFSETS, smooth
from tests.waterz_sweep import FUNCTIONS, renumbered, waterz_tree

THRESHOLDS = thresholds(0.02, 0.98, 0.04)


@pytest.fixture(scope="module")
def image(data_dir: Path) -> tuple[NDArray, NDArray]:
    """Affinities and fragments of a corner of the FIB-25 volume: both voxels of a pair have to be bright."""
    raw = tifffile.imread(data_dir / "fib25/cube2_raw.tif")[:30, :128, :128]
    bright = gaussian_filter(raw.astype(np.float32), 1)
    dark, light = np.percentile(bright, [5, 60])
    bright = np.clip((bright - dark) / (light - dark), 0, 1)
    affinities = np.zeros((3, *raw.shape), np.uint8)
    for axis, channel in enumerate(affinities):
        channel[...] = 255 * np.minimum(np.roll(bright, 1, axis), bright)
        channel[(slice(None),) * axis + (0,)] = 0
    return affinities, watershed_fragments(affinities, offsets=OFFSETS, seed_distance=5)


@pytest.fixture(scope="module", params=["tessellation", "image"])
def volume(request: pytest.FixtureRequest) -> tuple[NDArray, NDArray]:
    """Affinities and fragments: a tessellation, and the image where it is there."""
    return smooth(3) if request.param == "tessellation" else request.getfixturevalue("image")


def tree_of(affinities: NDArray, fragments: NDArray, merge_function: str) -> MergeTree:
    return merge_tree(region_graph(fragments, affinities, offsets=OFFSETS, histogram=True), merge_function)


def scores_of(statistics: NDArray[np.float64], merge_function: str) -> NDArray[np.float64]:
    """Return the scores of contacts: from their areas and sums of affinities for the mean, from histograms else."""
    if merge_function == "mean":
        return 1 - statistics[:, 1] / statistics[:, 0]
    reached = np.cumsum(statistics, axis=1)
    quantile = int(merge_function.split("_")[2])
    return 1 - ((reached > quantile * reached[:, -1:] // 100).argmax(axis=1) + 0.5) / 256


def replayed(graph: RegionGraph, merge_function: str, tree: MergeTree) -> Iterator[tuple[float, float]]:
    """Merge the second region of each pair of a tree into the first; yield its score and the lowest there was."""
    assert graph.bin_start is not None and graph.bin is not None and graph.bin_count is not None
    statistics = np.zeros((len(graph), 256))
    statistics[np.repeat(np.arange(len(graph)), np.diff(graph.bin_start)), graph.bin] = graph.bin_count
    if merge_function.endswith("initmax"):
        highest = 255 - (statistics[:, ::-1] > 0).argmax(axis=1)
        statistics = (np.arange(256) == highest[:, None]).astype(float)
    elif merge_function == "mean":
        statistics = np.stack([graph.count, graph.total / graph.scale], axis=1)
    ends, scores = np.stack([graph.u, graph.v], axis=1), scores_of(statistics, merge_function)
    for kept, gone in zip(tree.a, tree.b, strict=True):
        (place,) = np.flatnonzero((ends == kept).any(axis=1) & (ends == gone).any(axis=1))
        yield float(scores[place]), float(scores.min())
        ends[place], scores[place] = 0, np.inf
        ends[ends == gone] = kept
        touching = np.flatnonzero((ends == kept).any(axis=1))
        third = np.where(ends[touching, 0] == kept, ends[touching, 1], ends[touching, 0])
        _, first, same = np.unique(third, return_index=True, return_inverse=True)
        joined = np.setdiff1d(np.arange(len(touching)), first)
        np.add.at(statistics, touching[first[same[joined]]], statistics[touching[joined]])
        ends[touching[joined]], scores[touching[joined]] = 0, np.inf
        scores[touching[first]] = scores_of(statistics[touching[first]], merge_function)
    assert (ends == 0).all()


@pytest.mark.parametrize("merge_function", FUNCTIONS)
def test_waterz_and_we_merge_none_but_the_best_contacts(merge_function: str, volume: tuple[NDArray, NDArray]) -> None:
    affinities, fragments = volume
    rounding = 1e-5 if merge_function == "mean" else 0  # of running means in float32
    for numbering in range(2):
        numbers = renumbered(fragments, numbering)
        graph = region_graph(numbers, affinities, offsets=OFFSETS, histogram=True)
        theirs, ours = waterz_tree(affinities, numbers, merge_function), merge_tree(graph, merge_function)
        assert len(theirs.score) == len(ours.score) > 200
        for tree, tolerance in ((theirs, rounding), (ours, 1e-15)):
            score_there, lowest = np.transpose(list(replayed(graph, merge_function, tree)))
            assert np.abs(score_there - lowest).max() <= rounding
            assert np.abs(score_there - tree.score).max() <= tolerance


def first_voxels(fragments: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the place of the first voxel of every fragment, and their sizes."""
    ids, first, sizes = np.unique(fragments, return_index=True, return_counts=True)
    return first[ids > 0], sizes[ids > 0]


def cuts(tree: MergeTree, numbers: NDArray[np.uint64], first: NDArray[np.int64]) -> list[NDArray[np.uint64]]:
    """Return the segments at all thresholds of the fragments that have these first voxels."""
    places = np.searchsorted(tree.fragments, numbers.ravel()[first])
    return [tree.cut(threshold)[1][places] for threshold in THRESHOLDS]


def apart(one: NDArray[np.uint64], other: NDArray[np.uint64], sizes: NDArray[np.int64]) -> float:
    """Return the variation of information of two cuts in bits."""
    return score(merge([OverlapTable(one, other, sizes)]))["voi_sum"]


@pytest.mark.parametrize("merge_function", FUNCTIONS)
def test_no_further_from_waterz_than_waterz_is_from_itself(merge_function: str, image: tuple[NDArray, NDArray]) -> None:
    affinities, fragments = image
    first, sizes = first_voxels(fragments)
    ours = cuts(tree_of(affinities, fragments, merge_function), fragments, first)
    numberings = [fragments, *(renumbered(fragments, seed) for seed in range(12))]
    theirs = [cuts(waterz_tree(affinities, numbers, merge_function), numbers, first) for numbers in numberings]
    for found, *others in zip(ours, *theirs, strict=True):
        distance = apart(found, others[0], sizes) - 1e-9
        assert distance <= 0 or any(apart(*pair, sizes) >= distance for pair in combinations(others, 2))
    assert len({len(np.unique(cut)) for cut in ours}) > 5


@pytest.mark.parametrize("merge_function", FUNCTIONS)
def test_another_numbering_gives_the_same_partition(merge_function: str, image: tuple[NDArray, NDArray]) -> None:
    affinities, fragments = image
    first, sizes = first_voxels(fragments)
    expected = cuts(tree_of(affinities, fragments, merge_function), fragments, first)
    for seed, lowest in enumerate((1, 2**53, 2**63 - 100)):
        numbers = renumbered(fragments, seed, lowest)
        found = cuts(tree_of(affinities, numbers, merge_function), numbers, first)
        assert max(apart(one, other, sizes) for one, other in zip(expected, found, strict=True)) <= 0.001
    assert len({len(np.unique(cut)) for cut in expected}) > 5
