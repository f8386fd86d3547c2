"""Scores equal those of funlib.evaluate, and a table of parts or of fragments scores as the volume it stands for."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparse2dense.errors import InputError
from sparse2dense.ops.overlaps import OverlapTable, look_up, overlaps_with_part
from sparse2dense.ops.scores import CutScores, merge, overlaps, relabel, score
from tests.voronoi import voronoi


def rows(table: OverlapTable) -> list[tuple[int, int, int]]:
    """Return a table as tuples of Python integers."""
    return list(zip(table.truth.tolist(), table.segment.tolist(), table.voxels.tolist(), strict=True))


@pytest.mark.parametrize("pair", ["watershed", "segmentation_has_zeros", "truth_has_zeros", "one_segment", "perfect"])
def test_scores_equal_funlib_evaluate(pair: str, reference_dir: Path) -> None:
    arrays = np.load(reference_dir / "segmentation_pairs.npz")
    golden = json.loads((reference_dir / "scores.json").read_text())["rand_voi"][pair]
    found = score(overlaps(arrays[f"{pair}_truth"], arrays[f"{pair}_segmentation"]))
    assert {name: found[name] for name in golden} == pytest.approx(golden, abs=1e-12)
    precision, recall = golden["rand_merge"], golden["rand_split"]
    assert found["arand"] == pytest.approx(1 - 2 * precision * recall / (precision + recall), abs=1e-12)


def test_scores_worked_out_by_hand() -> None:
    truth = np.array([1, 1, 2, 2], np.uint64)
    halved = score(overlaps(truth, np.array([5, 6, 7, 7], np.uint64)))
    assert halved["voi_split"] == pytest.approx(0.5)
    assert halved["voi_merge"] == 0
    assert halved["rand_split"] == pytest.approx(6 / 8)
    merged = score(overlaps(truth, np.zeros(4, np.uint64)))
    assert merged["voi_merge"] == 1
    assert merged["rand_merge"] == 0.5
    assert merged["arand"] == pytest.approx(1 / 3)


def test_truth_0_is_ignored_and_segment_0_is_a_segment() -> None:
    truth = np.array([0, 0, 1, 1, 2, 2], np.uint64)
    found = score(overlaps(truth, np.array([9, 1, 0, 0, 0, 0], np.uint64)))
    assert found["voi_merge"] == 1
    assert found["voi_split"] == 0


def test_one_object_as_one_segment_is_perfect() -> None:
    found = score(overlaps(np.ones(5, np.uint64), np.full(5, 7, np.uint64)))
    assert all(found[name] == 0 for name in found if not name.startswith("rand"))
    assert found["rand_split"] == found["rand_merge"] == 1


def test_nothing_to_score_is_nan() -> None:
    for truth in (np.zeros(5, np.uint64), np.zeros(0, np.uint64)):
        assert all(math.isnan(value) for value in score(overlaps(truth, np.ones(len(truth), np.uint64))).values())


labels = st.lists(st.sampled_from([0, 1, 2, 3, 2**53 + 1, 2**63, 2**64 - 1]), min_size=0, max_size=60)


@given(labels, labels, st.integers(0, 60))
@settings(deadline=None)
def test_tables_of_parts_add_up_to_that_of_the_whole(first: list[int], second: list[int], cut: int) -> None:
    size = min(len(first), len(second))
    truth, segments = np.array(first[:size], np.uint64), np.array(second[:size], np.uint64)
    whole = overlaps(truth, segments)
    pairs = sorted(set(zip(first[:size], second[:size], strict=True)))
    expected = [(t, s, int(np.sum((truth == np.uint64(t)) & (segments == np.uint64(s))))) for t, s in pairs]
    assert rows(whole) == expected
    parts = [overlaps(truth[cut:], segments[cut:]), overlaps(truth[:cut], segments[:cut])]
    assert rows(merge(parts)) == expected
    assert rows(merge([])) == []


def test_many_pairs_are_counted_exactly() -> None:
    rng = np.random.default_rng(1)
    truth, segments = rng.integers(0, 300, 50_000), rng.integers(0, 70, 50_000)
    table = overlaps(truth.astype(np.int32), segments.astype(np.uint8))
    pairs, counts = np.unique(truth * 70 + segments, return_counts=True)
    assert rows(table) == list(zip((pairs // 70).tolist(), (pairs % 70).tolist(), counts.tolist(), strict=True))


def test_only_counted_voxels_count() -> None:
    truth, segments = voronoi((6, 9, 11), 8), voronoi((6, 9, 11), 8, seed=1)
    counted = np.random.default_rng(0).random(truth.shape) < 0.4
    assert rows(overlaps(truth, segments, counted)) == rows(overlaps(truth[counted], segments[counted]))
    assert len(overlaps(truth, segments, np.zeros_like(counted))) == 0
    everywhere, part = overlaps_with_part(truth, segments, counted)
    assert rows(everywhere) == rows(overlaps(truth, segments))
    assert rows(part) == rows(overlaps(truth[counted], segments[counted]))


@pytest.mark.parametrize("slab", [1, 250, 10**6])
def test_arrays_that_arent_contiguous_are_counted(monkeypatch: pytest.MonkeyPatch, slab: int) -> None:
    monkeypatch.setattr("sparse2dense.ops.overlaps.SLAB", slab)
    truth, segments = voronoi((6, 9, 11), 8), voronoi((11, 9, 6), 8).transpose(2, 1, 0)
    assert rows(overlaps(truth, segments)) == rows(overlaps(truth.copy(), segments.copy()))
    odd = truth % 2
    for found, expected in zip(
        overlaps_with_part(truth, segments, odd),
        overlaps_with_part(truth.copy(), segments.copy(), odd.copy()),
        strict=True,
    ):
        assert rows(found) == rows(expected)


def test_what_holds_no_labels_is_refused() -> None:
    ones = np.ones((2, 3), np.uint64)
    with pytest.raises(InputError, match="segmentation of shape"):
        overlaps(ones, ones[:1])
    with pytest.raises(InputError, match="float64"):
        overlaps(ones.astype(float), ones)
    with pytest.raises(InputError, match="int64"):
        overlaps(ones, ones.astype(np.int64) - 2)


def test_a_table_of_fragments_becomes_that_of_segments() -> None:
    truth, fragments = voronoi((8, 14, 15), 9), voronoi((8, 14, 15), 40, seed=3, ids=range(2**62, 2**62 + 40))
    fragments[:2] = 0
    ids = np.unique(fragments)[1:]
    segments = (np.arange(len(ids)) % 7 + 1).astype(np.uint64)
    direct = overlaps(truth, look_up(fragments, ids, segments))
    assert rows(relabel(overlaps(truth, fragments), ids, segments)) == rows(direct)


def test_a_fragment_without_segment_is_refused() -> None:
    table = overlaps(np.ones(3, np.uint64), np.array([0, 4, 5], np.uint64))
    none = np.zeros(0, np.uint64)
    with pytest.raises(InputError, match="1 fragments, for example 5, are missing"):
        relabel(table, np.array([4], np.uint64), np.array([1], np.uint64))
    with pytest.raises(InputError, match="are missing"):
        relabel(table, none, none)
    assert look_up(np.zeros(3, np.uint64), none, none).tolist() == [0, 0, 0]


def test_cuts_are_scored_as_their_tables_to_the_bit() -> None:
    truth = voronoi((8, 14, 15), 9, ids=[0, *range(2**63, 2**63 + 8)])
    fragments = voronoi((8, 14, 15), 40, seed=3, ids=[0, *range(2**62, 2**62 + 39)])
    ids = np.arange(2**62 - 1, 2**62 + 40, dtype=np.uint64)
    table, rng = overlaps(truth, fragments), np.random.default_rng(0)
    scores = CutScores(table, ids)
    for count in (1, 5, len(ids)):
        segments = rng.permutation(np.arange(len(ids), dtype=np.uint64) % count) + np.uint64(1)
        assert scores.score(segments) == score(relabel(table, ids, segments))
    with pytest.raises(InputError, match="missing"):
        CutScores(table, ids[5:])
    nothing = CutScores(overlaps(truth * np.uint64(0), fragments), ids)
    assert all(math.isnan(value) for value in nothing.score(segments).values())


def test_a_fragment_in_two_sections_is_in_two_segments() -> None:
    truth, fragments = np.array([1, 1, 2, 2, 3, 4], np.uint64), np.array([5, 6, 5, 6, 5, 5], np.uint64)
    section, voxels = np.array([7, 7, 7, 7, 9, 9]), np.array([4, 2, 3, 1, 8, 2])
    ids = np.array([5, 6], np.uint64)
    scores = CutScores(OverlapTable(truth, fragments, voxels), ids, section)
    for segments in ([1, 2], [1, 1]):
        apart = np.array(segments, np.uint64)[np.searchsorted(ids, fragments)] + 10 * section.astype(np.uint64)
        assert scores.score(np.array(segments, np.uint64)) == score(merge([OverlapTable(truth, apart, voxels)]))
