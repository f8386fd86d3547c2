"""One merge tree holds the segmentation of every threshold, that of waterz where it doesn't hang on the numbering."""

import random
import tracemalloc
import weakref
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.contraction import random_graph
from sparse2dense.errors import InputError
from sparse2dense.ops import agglomeration
from sparse2dense.ops.agglomeration import MergeTree, merge_tree
from sparse2dense.ops.graph import RegionGraph, merge_graphs, region_graph
from sparse2dense.ops.merging import merges
from sparse2dense.ops.overlaps import look_up
from sparse2dense.ops.scores import overlaps, score
from sparse2dense.ops.thresholds import threshold_name, thresholds
from tests.voronoi import OFFSETS, noisy_affinities, smooth, voronoi
from tests.waterz_sweep import FUNCTIONS, SWEEP, renumbered, waterz_cuts


def oversegmented(
    shape: tuple[int, int, int] = (10, 20, 22), cells: int = 60, seed: int = 0
) -> tuple[NDArray, NDArray]:
    """Return affinities of ten objects and fragments that split them further, with some background."""
    truth = voronoi(shape, 10, seed)
    fragments = voronoi(shape, cells, seed + 1) + 100 * truth
    fragments[3:5, 8:11, 8:13] = 0
    numbered = np.unique(fragments, return_inverse=True)[1].reshape(truth.shape).astype(np.uint64)
    return noisy_affinities(truth, seed=seed), numbered


def tree_of(affinities: NDArray, fragments: NDArray, merge_function: str = "mean") -> MergeTree:
    """Return the merge tree of a whole volume."""
    graph = region_graph(fragments, affinities, offsets=OFFSETS, histogram=merge_function != "mean")
    return merge_tree(graph, merge_function)


def segmented(tree: MergeTree, fragments: NDArray, threshold: float | str) -> NDArray:
    """Return the segmentation at one threshold."""
    return look_up(fragments, *tree.cut(threshold))


def distance(one: NDArray, other: NDArray) -> float:
    """Return the variation of information of two segmentations in bits, background a segment."""
    return score(overlaps(one + np.uint64(1), other + np.uint64(1)))["voi_sum"]


def merged_naively(graph: RegionGraph, merge_function: str) -> tuple[list[tuple[int, int, float]], float]:
    """Return all merges by the rules as they are documented, and the first score that two contacts had at once."""
    quantile = 0 if merge_function == "mean" else int(merge_function.split("_")[2])
    assert graph.bin is not None and graph.bin_start is not None and graph.bin_count is not None
    size = dict(zip(graph.fragments.tolist(), graph.sizes.tolist(), strict=True))
    contacts = {}
    for i, (u, v) in enumerate(zip(graph.u.tolist(), graph.v.tolist(), strict=True)):
        entries = slice(graph.bin_start[i], graph.bin_start[i + 1])
        bins = np.repeat(graph.bin[entries].astype(int), graph.bin_count[entries]).tolist()
        if merge_function.endswith("initmax"):
            bins = bins[-1:]
        contacts[u, v] = (bins, int(graph.count[i]), int(graph.total[i]), (*sorted((size[u], size[v])), u, v))

    def key(pair: tuple[int, int]) -> tuple:
        bins, area, total, rank = contacts[pair]
        mean = Fraction(total, area * graph.scale)
        value = Fraction(2 * sorted(bins)[quantile * len(bins) // 100] + 1, 512) if quantile else mean
        return 1 - value, -mean, -area, rank

    merges, first_tie = [], 2.0
    while contacts:
        keys = {pair: key(pair) for pair in contacts}
        a, b = best = min(keys, key=lambda pair: keys[pair])
        if sum(other[0] == keys[best][0] for other in keys.values()) > 1:
            first_tie = min(first_tie, float(keys[best][0]))
        merges.append((a, b, float(keys[best][0])))
        del contacts[best]
        for pair in [pair for pair in contacts if b in pair]:
            bins, area, total, rank = contacts.pop(pair)
            third = pair[0] + pair[1] - b
            moved = (min(a, third), max(a, third))
            if moved in contacts:
                others = contacts[moved]
                bins, area, total, rank = bins + others[0], area + others[1], total + others[2], min(rank, others[3])
            contacts[moved] = (bins, area, total, rank)
    return merges, first_tie


@pytest.mark.parametrize("merge_function", FUNCTIONS)
def test_merges_follow_the_rules_where_scores_tie(merge_function: str) -> None:
    for seed in range(4):
        fragments = voronoi((5, 6, 7), 25, seed)
        affinities = np.random.default_rng(seed).choice([51, 102, 204], (3, 5, 6, 7)).astype(np.uint8)
        graph = region_graph(fragments, affinities, offsets=OFFSETS, histogram=True)
        tree = merge_tree(graph, merge_function)
        expected, first_tie = merged_naively(graph, merge_function)
        assert list(zip(tree.a.tolist(), tree.b.tolist(), tree.score.tolist(), strict=True)) == expected
        assert first_tie < 1


@pytest.mark.parametrize("merge_function", FUNCTIONS)
def test_every_cut_is_that_of_waterz_before_the_first_tie(merge_function: str) -> None:
    compared = set()
    for seed in range(12):
        fragments = voronoi((4, 7, 8), 6, seed)
        affinities = np.random.default_rng(seed).random((3, *fragments.shape), np.float32)
        graph = region_graph(fragments, affinities, offsets=OFFSETS, histogram=True)
        tree, (_, first_tie) = merge_tree(graph, merge_function), merged_naively(graph, merge_function)
        for threshold, expected in zip(SWEEP, waterz_cuts(affinities, fragments, merge_function, SWEEP), strict=True):
            if threshold <= first_tie:
                found = segmented(tree, fragments, threshold)
                assert distance(expected, found) == 0
                compared.add((seed, int(found.max())))
    assert len(compared) > 12  # other cuts than one per seed


def test_every_cut_of_means_is_that_of_waterz() -> None:
    _, fragments = oversegmented()
    affinities = np.random.default_rng(0).random((3, *fragments.shape), np.float32)
    tree = tree_of(affinities, fragments)
    assert len(np.unique(tree.score)) == len(tree.score)
    counts = set()
    for threshold, expected in zip(SWEEP, waterz_cuts(affinities, fragments, "mean", SWEEP), strict=True):
        found = segmented(tree, fragments, threshold)
        assert distance(expected, found) == 0
        counts.add(int(found.max()))
    assert len(counts) > 5


@pytest.mark.parametrize("merge_function", FUNCTIONS)
@pytest.mark.parametrize("seed", [1, 2])
def test_partitions_dont_depend_on_the_numbering(merge_function: str, seed: int) -> None:
    affinities, fragments = smooth(seed)
    tree = tree_of(affinities, fragments, merge_function)
    for numbering, first in enumerate((1, 2**53, 2**63 - 100)):
        other = renumbered(fragments, numbering, first)
        other_tree = tree_of(affinities, other, merge_function)
        assert other_tree.fragments.min() == first
        for threshold in SWEEP:
            found, again = segmented(tree, fragments, threshold), segmented(other_tree, other, threshold)
            assert distance(found, again) <= 0.001


def test_a_score_equal_to_the_threshold_doesnt_merge() -> None:
    fragments = np.ones((2, 2, 4), np.uint64)
    fragments[:, :, 2:] = 2
    tree = tree_of(np.full((3, 2, 2, 4), 102, np.uint8), fragments)
    assert tree.score.tolist() == [0.6]
    assert tree.cut("0.6")[1].tolist() == [1, 2]
    assert tree.cut("0.601")[1].tolist() == [1, 1]
    # ten faces, 107.1 / 255 = 0.42 on average
    affinities = np.full((3, 1, 10, 2), 107, np.uint8)
    affinities[2, 0, 4, 1] = 108
    tree = tree_of(affinities, np.tile(np.array([7, 8], np.uint32), (1, 10, 1)))
    assert tree.score.tolist() == [0.58]
    assert tree.cut("0.58")[1].tolist() == [1, 2]


def test_segments_are_numbered_by_their_smallest_fragment() -> None:
    tree = MergeTree(
        np.array([4, 7, 9, 2**63 + 1], np.uint64),
        np.array([9, 7], np.uint64),
        np.array([2**63 + 1, 4], np.uint64),
        np.array([0.1, 0.3]),
    )
    assert tree.cut(0)[1].tolist() == [1, 2, 3, 4]
    assert tree.cut(0.2)[1].tolist() == [1, 2, 3, 3]
    assert tree.cut(1)[1].tolist() == [1, 1, 2, 2]


def test_a_merge_that_comes_later_needs_the_earlier_ones() -> None:
    ids = np.arange(1, 5, dtype=np.uint64)
    tree = MergeTree(ids, ids[:3], ids[1:], np.array([0.1, 0.5, 0.4]))
    assert tree.cut(0.45)[1].tolist() == [1, 1, 2, 3]
    assert tree.cut(0.51)[1].tolist() == [1, 1, 1, 1]


def test_a_sweep_is_many_cuts_of_one_tree() -> None:
    affinities, fragments = oversegmented(seed=5)
    tree = tree_of(affinities, fragments)
    before = tree.fragments
    for threshold in thresholds(0, 1.1, 0.1):
        segments = tree.cut(threshold)[1]
        assert len(np.unique(np.stack([before, segments]), axis=1).T) == len(np.unique(before))
        before = segments
    assert segments.max() == 1


@pytest.mark.parametrize("block", [(1, 1, 1), (1, 20, 22), (3, 7, 5), (10, 1, 22), (10, 20, 22)])
def test_blocks_in_any_order_give_the_same_tree(block: tuple[int, int, int]) -> None:
    affinities, fragments = oversegmented()
    values = (affinities * 255).astype(np.uint8)
    graphs = []
    for start in np.ndindex(*-(-np.array(fragments.shape) // block)):
        low = np.multiply(start, block)
        halo = tuple(slice(max(0, at - 1), at + side) for at, side in zip(low, block, strict=True))
        owned = tuple(slice(int(at > 0), None) for at in low)
        graphs.append(region_graph(fragments[halo], values[:, *halo], offsets=OFFSETS, histogram=True, owned=owned))
    random.Random(0).shuffle(graphs)
    graph = merge_graphs(graphs)
    for merge_function in FUNCTIONS:
        tree, expected = merge_tree(graph, merge_function), tree_of(values, fragments, merge_function)
        assert np.array_equal(tree.fragments, expected.fragments)
        assert np.array_equal(tree.a, expected.a)
        assert np.array_equal(tree.b, expected.b)
        assert np.array_equal(tree.score, expected.score)
        assert len(tree.a) > 50


def test_huge_ids_survive_and_the_graph_stays_as_it_is() -> None:
    affinities, fragments = oversegmented()
    huge = np.where(fragments > 0, fragments + np.uint64(2**63 - 20), np.uint64(0))
    graph = region_graph(huge, affinities, offsets=OFFSETS, histogram=True)
    given = {name: np.copy(value) for name, value in vars(graph).items()}
    for merge_function in ("mean", "hist_quant_50", "hist_quant_50_initmax"):
        tree, small = merge_tree(graph, merge_function), tree_of(affinities, fragments, merge_function)
        assert np.array_equal(tree.fragments, small.fragments + np.uint64(2**63 - 20))
        assert np.array_equal(tree.a, small.a + np.uint64(2**63 - 20))
        assert np.array_equal(tree.b, small.b + np.uint64(2**63 - 20))
        assert np.array_equal(tree.cut(0.5)[1], small.cut(0.5)[1])
    assert all(np.array_equal(value, given[name]) for name, value in vars(graph).items())


def test_a_graph_without_a_name_is_gone_when_merging_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    affinities, fragments = oversegmented()
    known: list[weakref.ref[RegionGraph]] = []
    gone: list[bool] = []

    def extracted() -> RegionGraph:
        graph = region_graph(fragments, affinities, offsets=OFFSETS, histogram=True)
        known.append(weakref.ref(graph))
        return graph

    def merging(*args: object) -> tuple[NDArray, NDArray, NDArray]:
        gone.append(known[-1]() is None)
        return merges(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(agglomeration, "merges", merging)
    for merge_function in ("mean", "hist_quant_50", "hist_quant_50_initmax"):
        merge_tree(extracted(), merge_function)
    named = extracted()
    merge_tree(named)
    assert gone == [True, True, True, False]


def test_the_tree_takes_little_more_than_its_contacts(monkeypatch: pytest.MonkeyPatch) -> None:
    """60 bytes per edge and 28 per fragment beside the graph, as docs/design/scale.md counts them, or little more."""
    monkeypatch.setattr(agglomeration, "EDGES", 2**10)
    graph = random_graph(24, 0, "uint8")
    expected = merge_tree(graph)
    tracemalloc.start()
    try:
        tree = merge_tree(graph)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.05 * (60 * len(graph) + 28 * len(graph.fragments))
    assert np.array_equal(tree.a, expected.a)


def test_more_contacts_than_int32_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    affinities, fragments = oversegmented((4, 9, 10), 20)
    for merge_function in ("mean", "hist_quant_75", "hist_quant_75_initmax"):
        expected = tree_of(affinities, fragments, merge_function)
        with monkeypatch.context() as patch:
            patch.setattr(agglomeration, "INT32", 1)
            tree = tree_of(affinities, fragments, merge_function)
        assert np.array_equal(tree.a, expected.a)
        assert np.array_equal(tree.b, expected.b)
        assert np.array_equal(tree.score, expected.score)


def test_regions_of_very_many_neighbours() -> None:
    # every leaf touches 1 well, the first one best, and 2 hardly
    leaves = np.arange(3, 30_003, dtype=np.uint64)
    steps = np.arange(len(leaves))
    graph = RegionGraph(
        np.repeat(np.array([1, 2], np.uint64), len(leaves)), np.tile(leaves, 2), np.repeat([300, 10], len(leaves)),
        np.concatenate([300 * 255 - steps, np.full(len(leaves), 10)]), np.arange(1, 30_003, dtype=np.uint64),
        np.ones(30_002, np.int64), 255,
    )  # fmt: skip
    tree = merge_tree(graph)
    assert np.array_equal(tree.a, np.ones(len(leaves) + 1, np.uint64))
    assert np.array_equal(tree.b, [*leaves, 2])
    assert np.array_equal(tree.score, [*(steps / (300 * 255)), 254 / 255])


def test_fragments_that_touch_nothing_stay_alone() -> None:
    fragments = np.zeros((3, 5, 5), np.uint64)
    fragments[1, 1, 1], fragments[1, 3, 3] = 8, 3
    tree = tree_of(np.ones((3, 3, 5, 5), np.float32), fragments)
    assert tree.fragments.tolist() == [3, 8]
    assert tree.cut(1)[1].tolist() == [1, 2]


@pytest.mark.parametrize("fill", [0, 6])
def test_none_and_one_fragment(fill: int) -> None:
    fragments = np.full((2, 3, 4), fill, np.uint32)
    tree = tree_of(np.ones((3, 2, 3, 4), np.uint8), fragments)
    assert tree.cut(0.5)[0].tolist() == [fill] * (fill > 0)
    assert tree.cut(0.5)[1].tolist() == [1] * (fill > 0)


def test_affinities_of_zero_merge_last() -> None:
    fragments = np.ones((1, 1, 4), np.uint64)
    fragments[..., 2:] = 2
    tree = tree_of(np.zeros((3, 1, 1, 4), np.uint8), fragments)
    assert tree.cut(1)[1].tolist() == [1, 2]


def test_bad_input_is_refused() -> None:
    affinities, fragments = oversegmented()
    graph = region_graph(fragments, affinities, offsets=OFFSETS)
    for name in ("hist_quant_33", "hist_quant_50_initmin", "median"):
        with pytest.raises(InputError, match=f"merge function '{name}' is unknown"):
            merge_tree(graph, name)
    with pytest.raises(InputError, match="without histograms"):
        merge_tree(graph, "hist_quant_50")
    part = region_graph(fragments, affinities, offsets=OFFSETS, owned=(slice(5, 10), slice(0, 20), slice(0, 22)))
    with pytest.raises(InputError, match="has an edge, but no voxel"):
        merge_tree(part)


def test_fragments_that_only_face_each_other_from_afar_dont_merge() -> None:
    fragments = np.array([[[3, 3, 0, 9, 4]]], np.uint32)
    affinities = np.full((4, 1, 1, 5), 255, np.uint8)
    graph = region_graph(fragments, affinities, offsets=[*OFFSETS, [0, 0, -2]], long_range=True, histogram=True)
    for merge_function in ("mean", "hist_quant_50", "hist_quant_50_initmax"):
        assert merge_tree(graph, merge_function).cut(1)[1].tolist() == [1, 2, 2]


def test_names_of_thresholds_never_collide() -> None:
    names = thresholds(0, 1, 0.005)
    assert len(set(names)) == 201
    assert names[58:61] == ["0.29", "0.295", "0.3"]
    assert names[-1] == "1"
    assert thresholds("0.1", 0.35, 0.1) == ["0.1", "0.2", "0.3"]
    assert [threshold_name(name) for name in names] == names


def test_thresholds_that_are_none_are_refused() -> None:
    for start, stop, step in ((0.5, 0.1, 0.1), (0, 1, 0), (0, 1, -0.1)):
        with pytest.raises(InputError, match="are none"):
            thresholds(start, stop, step)
    for value in ("best", float("nan"), "1e999999999999999999"):
        with pytest.raises(InputError, match="is not a number"):
            threshold_name(value)
