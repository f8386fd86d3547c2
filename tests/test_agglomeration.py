"""One merge tree holds the segmentation of every threshold, the same as waterz makes for each alone."""

import numpy as np
import pytest
import waterz

from sparse2dense.errors import InputError
from sparse2dense.ops.agglomeration import MergeTree, merge_tree, scoring_function
from sparse2dense.ops.overlaps import look_up
from sparse2dense.ops.scores import overlaps, score
from sparse2dense.ops.thresholds import threshold_name, thresholds
from tests.voronoi import OFFSETS, noisy_affinities, voronoi

FUNCTIONS = ["mean", "hist_quant_10", "hist_quant_50", "hist_quant_75_initmax"]


def oversegmented(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return affinities of ten objects and fragments that split them further, with some background."""
    truth = voronoi((10, 20, 22), 10, seed)
    fragments = voronoi((10, 20, 22), 60, seed + 1) + 100 * truth
    fragments[3:5, 8:11, 8:13] = 0
    numbered = np.unique(fragments, return_inverse=True)[1].reshape(truth.shape).astype(np.uint64)
    return noisy_affinities(truth, seed=seed), numbered


def segmented(tree: MergeTree, fragments: np.ndarray, threshold: float | str) -> np.ndarray:
    """Return the segmentation at one threshold."""
    return look_up(fragments, *tree.cut(threshold))


@pytest.mark.parametrize("merge_function", FUNCTIONS)
def test_every_cut_equals_waterz_at_that_threshold(merge_function: str) -> None:
    affinities, fragments = oversegmented()
    tree = merge_tree(affinities, fragments, offsets=OFFSETS, merge_function=merge_function)
    counts = set()
    for threshold in (0.05, 0.2, 0.3, 0.45, 0.5, 0.58, 0.7, 0.95):
        expected = next(
            iter(
                waterz.agglomerate(
                    affinities,
                    [threshold],
                    fragments=fragments.copy(),
                    scoring_function=scoring_function(merge_function),
                )
            )
        )
        found = segmented(tree, fragments, threshold)
        assert score(overlaps(np.asarray(expected) + np.uint64(1), found))["voi_sum"] == 0
        counts.add(int(found.max()))
    assert len(counts) > 1


def test_a_score_equal_to_the_threshold_doesnt_merge() -> None:
    fragments = np.ones((2, 2, 4), np.uint64)
    fragments[:, :, 2:] = 2
    affinities = np.full((3, 2, 2, 4), 1 - np.float32(0.58), np.float32)
    tree = merge_tree(affinities, fragments, offsets=OFFSETS)
    assert tree.score.tolist() == [0.58]
    assert tree.cut("0.58")[1].tolist() == [1, 2]
    assert tree.cut("0.581")[1].tolist() == [1, 1]


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


def test_cuts_are_nested() -> None:
    affinities, fragments = oversegmented(5)
    tree = merge_tree(affinities, fragments, offsets=OFFSETS)
    before = tree.fragments
    for threshold in thresholds(0, 1.1, 0.1):
        segments = tree.cut(threshold)[1]
        assert len(np.unique(np.stack([before, segments]), axis=1).T) == len(np.unique(before))
        before = segments
    assert segments.max() == 1


def test_huge_ids_survive_and_fragments_stay_as_they_are() -> None:
    affinities, fragments = oversegmented()
    huge = np.where(fragments > 0, fragments + np.uint64(2**63), np.uint64(0))
    given = huge.copy()
    tree = merge_tree(affinities, huge, offsets=OFFSETS)
    small = merge_tree(affinities, fragments, offsets=OFFSETS)
    assert np.array_equal(given, huge)
    assert np.array_equal(tree.fragments, small.fragments + np.uint64(2**63))
    assert np.array_equal(tree.a, small.a + np.uint64(2**63))
    assert np.array_equal(tree.cut(0.5)[1], small.cut(0.5)[1])


def test_fragments_that_touch_nothing_stay_alone() -> None:
    fragments = np.zeros((3, 5, 5), np.uint64)
    fragments[1, 1, 1], fragments[1, 3, 3] = 8, 3
    tree = merge_tree(np.ones((3, 3, 5, 5), np.float32), fragments, offsets=OFFSETS)
    assert tree.fragments.tolist() == [3, 8]
    assert tree.cut(1)[1].tolist() == [1, 2]


@pytest.mark.parametrize("fill", [0, 6])
def test_none_and_one_fragment(fill: int) -> None:
    fragments = np.full((2, 3, 4), fill, np.uint32)
    tree = merge_tree(np.ones((3, 2, 3, 4), np.uint8), fragments, offsets=OFFSETS)
    assert tree.cut(0.5)[0].tolist() == [fill] * (fill > 0)
    assert tree.cut(0.5)[1].tolist() == [1] * (fill > 0)


def test_affinities_of_zero_merge_last() -> None:
    fragments = np.ones((1, 1, 4), np.uint64)
    fragments[..., 2:] = 2
    tree = merge_tree(np.zeros((3, 1, 1, 4), np.uint8), fragments, offsets=OFFSETS)
    assert tree.cut(1)[1].tolist() == [1, 2]


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    affinities, fragments = oversegmented()
    merge_tree(affinities, fragments, offsets=OFFSETS)
    assert capfd.readouterr().out == ""


def test_bad_input_is_refused() -> None:
    affinities, fragments = oversegmented()
    with pytest.raises(InputError, match="hist_quant_33"):
        merge_tree(affinities, fragments, offsets=OFFSETS, merge_function="hist_quant_33")
    with pytest.raises(InputError, match="fragments of shape"):
        merge_tree(affinities, fragments[1:], offsets=OFFSETS)


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
