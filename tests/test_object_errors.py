"""Errors are charged to the objects that make them, block by block as in the whole volume."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparse2dense.errors import InputError
from sparse2dense.ops.object_boxes import merge_boxes, object_boxes
from sparse2dense.ops.object_errors import (
    MERGE,
    SPLIT,
    ObjectErrors,
    error_volume,
    merge_errors,
    split_errors,
)
from sparse2dense.ops.scores import merge, overlaps, score
from tests.voronoi import voronoi

HUGE = 2**63
SHAPE = (7, 14, 15)


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    """Truth with background, and a segmentation with other borders, gaps and large ids."""
    truth, segmentation = voronoi(SHAPE, 9), voronoi(SHAPE, 12, seed=3, ids=range(HUGE - 6, HUGE + 6))
    truth[0] = 0
    segmentation[:, 4:6] = 0
    return truth, segmentation


def row(errors: ObjectErrors, label: int) -> ObjectErrors:
    """Return the row of one label."""
    return errors.select(errors.label == np.uint64(label))


def test_bits_of_all_objects_add_up_to_the_scores(pair: tuple[np.ndarray, np.ndarray]) -> None:
    truth, segmentation = pair
    table = overlaps(truth, segmentation)
    splits, merges = split_errors(table), merge_errors(table)
    assert splits.bits.sum() == pytest.approx(score(table)["voi_split"])
    assert merges.bits.sum() == pytest.approx(score(table)["voi_merge"])
    assert splits.label.tolist() == (np.unique(truth)[1:]).tolist()
    assert merges.label.tolist() == np.unique(segmentation[truth != 0]).tolist()
    for errors, mine, other in ((splits, truth, segmentation), (merges, segmentation, truth)):
        label = int(errors.worst(1).label[0])
        inside = other[(mine == np.uint64(label)) & (truth != 0)]
        found = row(errors, label)
        assert found.voxels.tolist() == [len(inside)]
        assert found.partners.tolist() == [len(np.unique(inside))]
        assert found.main_voxels.tolist() == [np.sum(inside == found.main[0])]


def test_the_worst_come_first_and_the_right_are_not_among_them() -> None:
    truth = np.array([1, 1, 2, 2, 3, 3, 8, 8], np.uint64)
    table = overlaps(truth, np.array([4, 4, 5, 6, 6, 6, 0, 7], np.uint64))
    splits, merges = split_errors(table), merge_errors(table)
    assert splits.worst(10).label.tolist() == [2, 8]
    assert splits.worst(1).label.tolist() == [2]
    assert splits.worst(10).bits.tolist() == pytest.approx([0.25, 0.25])
    assert merges.worst(10).label.tolist() == [6]
    assert len(splits.worst(0)) == 0
    assert not np.signbit(splits.bits).any()


def test_background_is_a_partner_but_neither_main_nor_among_the_worst() -> None:
    truth = np.array([1, 1, 1, 1, 2, 2, 3, 3], np.uint64)
    table = overlaps(truth, np.array([0, 0, 0, 9, 0, 0, 4, 5], np.uint64))
    splits, merges = split_errors(table), merge_errors(table)
    assert splits.main.tolist() == [9, 0, 4], "0 only where there is no other, the smaller of equal ones"
    assert splits.main_voxels.tolist() == [1, 2, 1]
    assert splits.partners.tolist() == [2, 1, 2]
    assert row(merges, 0).bits[0] > 0
    assert len(merges.worst(10)) == 0


def test_error_codes_by_hand() -> None:
    truth = np.array([[0, 1, 1, 1, 1, 1, 2, 2, 2, 3]], np.uint32)
    segmentation = np.array([[9, 9, 9, 9, 8, 0, 8, 8, 9, 0]], np.uint64)
    table = overlaps(truth, segmentation)
    codes = error_volume(truth, segmentation, split_errors(table), merge_errors(table))
    both = SPLIT + MERGE
    assert codes.tolist() == [[0, 0, 0, 0, both, SPLIT, 0, 0, both, SPLIT]]
    assert codes.dtype == np.uint8
    merged = np.full_like(segmentation, 6)
    table = overlaps(truth, merged)
    codes = error_volume(truth, merged, split_errors(table), merge_errors(table))
    assert codes.tolist() == [[0, 0, 0, 0, 0, 0, MERGE, MERGE, MERGE, MERGE]]
    halves = np.arange(10, dtype=np.uint64)[None] // np.uint64(5) + np.uint64(1)
    whole = np.ones_like(truth)
    table = overlaps(whole, halves)
    codes = error_volume(whole, halves, split_errors(table), merge_errors(table))
    assert codes.tolist() == [[0] * 5 + [SPLIT] * 5]


def test_errors_of_blocks_are_those_of_the_volume(pair: tuple[np.ndarray, np.ndarray]) -> None:
    truth, segmentation = pair
    counted = np.random.default_rng(0).random(SHAPE) < 0.7
    tiles = list(itertools.product((slice(0, 4), slice(4, 7)), (slice(0, 5), slice(5, 14)), (slice(0, 15),)))
    tables = [overlaps(truth[tile], segmentation[tile], counted[tile]) for tile in tiles]
    splits, merges = split_errors(merge(tables)), merge_errors(merge(tables))
    whole = error_volume(truth, segmentation, splits, merges, counted)
    assert set(np.unique(whole).tolist()) == {0, 1, 2, 3}
    assert not whole[~counted | (truth == 0)].any()
    for tile in tiles:
        assert np.array_equal(error_volume(truth[tile], segmentation[tile], splits, merges, counted[tile]), whole[tile])
    main = {int(t): int(s) for t, s in zip(splits.label, splits.main, strict=True)}
    at = tuple(np.argwhere(whole == SPLIT)[0])
    assert int(segmentation[at]) != main[int(truth[at])]


def test_nothing_to_score_has_no_errors() -> None:
    nothing = overlaps(np.zeros(4, np.uint64), np.ones(4, np.uint64))
    splits, merges = split_errors(nothing), merge_errors(nothing)
    assert len(splits) == len(merges) == len(splits.worst(3)) == 0
    codes = error_volume(np.zeros((2, 2), np.uint8), np.ones((2, 2), np.uint8), splits, merges)
    assert codes.tolist() == [[0, 0], [0, 0]]


def test_tables_of_other_volumes_are_refused() -> None:
    ones = np.ones((2, 3), np.uint64)
    table = overlaps(ones, ones)
    splits, merges = split_errors(table), merge_errors(table)
    with pytest.raises(InputError, match="truth of shape"):
        error_volume(ones, ones[:1], splits, merges)
    with pytest.raises(InputError, match="truth holds label 5"):
        error_volume(5 * ones, ones, splits, merges)
    with pytest.raises(InputError, match="segmentation holds label 4"):
        error_volume(ones, 4 * ones, splits, merges)
    with pytest.raises(InputError, match="truth holds label 1"):
        error_volume(ones, ones, split_errors(overlaps(0 * ones, ones)), merges)


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 8))
def test_boxes_of_blocks_merge_to_those_of_the_volume(seed: int, z: int, y: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.choice(np.array([0, 0, 0, 1, 2**40, HUGE, 2**64 - 1], np.uint64), (6, 8, 5))
    whole = object_boxes(labels)
    cuts = itertools.product((slice(0, z), slice(z, 6)), (slice(0, y), slice(y, 8)))
    parts = [object_boxes(labels[tile], (tile[0].start, tile[1].start, 0)) for tile in cuts]
    merged = merge_boxes(reversed(parts))
    for table in (whole, merged):
        assert table.label.tolist() == sorted(set(labels.reshape(-1).tolist()) - {0})
        for label in table.label.tolist():
            places = np.argwhere(labels == np.uint64(label))
            box = tuple(slice(int(a), int(b) + 1) for a, b in zip(places.min(0), places.max(0), strict=True))
            assert table.slices(label) == box


def test_boxes_of_nothing() -> None:
    empty = object_boxes(np.zeros((3, 4), np.int32), (5, 6))
    assert len(empty) == 0
    assert empty.begin.shape == empty.end.shape == (0, 2)
    assert len(merge_boxes([empty, empty])) == 0
    with pytest.raises(InputError, match="object 3 is in none of 0 boxes"):
        empty.slices(3)
    with pytest.raises(InputError, match="no boxes to merge"):
        merge_boxes([])
