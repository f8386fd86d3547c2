"""Skeletons keep their nodes and edges straight, and score as funlib.evaluate and pencil and paper do."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from sparse2dense.errors import InputError
from sparse2dense.ops.skeleton_scores import expected_run_length, merging_segments, score_skeletons
from sparse2dense.ops.skeletons import Skeletons, consolidate, crop, edge_lengths, mask

HUGE = 2**63 - 3


def skeletons_of(
    node: Sequence[int],
    skeleton: Sequence[int],
    position: Sequence[Sequence[float]],
    edges: Sequence[Sequence[int]],
) -> Skeletons:
    """Return skeletons from lists."""
    return Skeletons(
        np.array(node, np.uint64),
        np.array(skeleton, np.uint64),
        np.array(position, np.float64).reshape(-1, 3),
        np.array(edges, np.int64).reshape(-1, 2),
    )


def paths(*lengths: int) -> Skeletons:
    """Return straight skeletons along x with so many edges of 1 nm each, 10 nm apart."""
    node: list[int] = []
    skeleton: list[int] = []
    position: list[tuple[int, int, int]] = []
    edges: list[tuple[int, int]] = []
    for row, length in enumerate(lengths):
        for x in range(length + 1):
            if x:
                edges.append((len(node) - 1, len(node)))
            node.append(HUGE + len(node))
            skeleton.append(row + 1)
            position.append((0, 10 * row, x))
    return skeletons_of(node, skeleton, position, edges)


NOTHING = skeletons_of([], [], [], [])


def labels(*values: int) -> np.ndarray:
    """Return segments of nodes."""
    return np.array(values, np.uint64)


def test_duplicates_go_and_nodes_are_ordered() -> None:
    given = skeletons_of(
        [HUGE, 4, 9, 4], [1, 1, 1, 1], [(0, 0, 3), (0, 0, 1), (0, 0, 2), (0, 0, 1)],
        [(0, 2), (2, 1), (3, 2), (1, 3), (2, 0)],
    )  # fmt: skip
    found = consolidate(given)
    assert found.node.tolist() == [4, 9, HUGE]
    assert found.position[:, 2].tolist() == [1, 2, 3]
    assert found.edges.tolist() == [[0, 1], [1, 2]]
    assert found.node.dtype == found.skeleton.dtype == np.uint64
    assert found.position.dtype == np.float64
    assert found.edges.dtype == np.int64
    again = consolidate(found)
    assert again.edges.tolist() == found.edges.tolist()


def test_connected_components_become_skeletons_when_asked() -> None:
    given = skeletons_of([7, 3, 5, 4], [1, 1, 2, 2], [(0, 0, x) for x in range(4)], [(0, 2)])
    assert consolidate(given, by_component=True).skeleton.tolist() == [1, 2, 3, 3]
    with pytest.raises(InputError, match="joins node 5 of skeleton 2 to node 7 of 1"):
        consolidate(given)
    assert len(consolidate(NOTHING)) == len(consolidate(NOTHING, by_component=True)) == 0


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (skeletons_of([1, 1], [1, 1], [(0, 0, 0), (0, 0, 1)], []), "node 1 occurs twice"),
        (skeletons_of([1, 1], [1, 2], [(0, 0, 0), (0, 0, 0)], []), "node 1 occurs twice"),
        (skeletons_of([1, 2], [1, 1], [(0, 0, 0), (0, np.nan, 1)], []), "node 2 is at"),
        (skeletons_of([1, 2], [1, 1], [(0, 0, 0), (0, 0, 1)], [(0, 2)]), "ends at place 0 or 2 of 2 nodes"),
        (skeletons_of([1, 2], [1, 1], [(0, 0, 0)], []), r"2 nodes with .* shapes \[\(2,\), \(1, 3\), \(0, 2\)\]"),
    ],
)
def test_contradictions_are_refused(given: Skeletons, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        consolidate(given)
    assert caught.value.allowed
    assert caught.value.remedy


def test_a_crop_drops_edges_that_leave() -> None:
    whole = paths(5, 3)
    part = crop(whole, (0, 0, 1), (1, 10, 4))
    assert part.position[:, 2].tolist() == [1, 2, 3], "the end doesn't belong to it"
    assert part.edges.tolist() == [[0, 1], [1, 2]]
    assert part.node.tolist() == (HUGE + np.arange(1, 4, dtype=np.uint64)).tolist()
    holed = mask(whole, whole.position[:, 2] != 2)
    assert edge_lengths(holed).sum() == 1 + 2 + 1
    assert np.unique(consolidate(holed, by_component=True).skeleton).tolist() == [1, 2, 3, 4]
    assert len(crop(whole, (5, 0, 0), (6, 1, 1))) == 0


def test_scores_equal_funlib_evaluate(reference_dir: Path) -> None:
    golden = json.loads((reference_dir / "scores.json").read_text())["skeletons"]
    nodes = golden["nodes"]
    truth = consolidate(
        skeletons_of(
            [node["id"] for node in nodes],
            [node["skeleton"] for node in nodes],
            [node["position_nm_zyx"] for node in nodes],
            golden["edges"],
        )
    )
    found = score_skeletons(truth, labels(*(node["segment"] for node in nodes)))
    # the golden values were summed up in float32
    assert found["erl_nm"] == pytest.approx(golden["expected_run_length_nm"], rel=1e-6)
    assert found["erl_max_nm"] == pytest.approx(golden["max_expected_run_length_nm"], rel=1e-6)
    assert found["path_length_nm"] == pytest.approx(golden["total_length_nm"], rel=1e-6)
    assert found["erl_normalised"] == pytest.approx(251.32420349121094 / 1028.8482666015625, rel=1e-6)
    assert found["merging_segments"] == golden["n_merging_segments_excluding_0"]
    assert found["mergers"] == golden["n_mergers_excluding_0"]
    assert found["splits"] == golden["n_splits"]


@pytest.mark.parametrize(
    ("segments", "length"),
    [
        (labels(1, 1, 1, 1, 1, 2, 2, 2), (16 + 4) / 6),
        (labels(1, 1, 1, 3, 3, 2, 2, 2), (4 + 1 + 4) / 6),
        (labels(1, 1, 1, 1, 1, 1, 1, 1), 0),
        (labels(1, 1, 0, 1, 1, 2, 2, 2), (4 + 4) / 6),
        (labels(0, 0, 0, 0, 0, 0, 0, 0), 0),
    ],
)
def test_expected_run_length_by_hand(segments: np.ndarray, length: float) -> None:
    assert expected_run_length(paths(4, 2), segments) == pytest.approx(length)
    assert score_skeletons(paths(4, 2), segments)["erl_max_nm"] == pytest.approx(20 / 6)


def test_a_segment_that_comes_back_is_one_run_or_two() -> None:
    line, segments = paths(8), labels(1, 1, 1, 1, 5, 5, 1, 1, 1)
    assert expected_run_length(line, segments) == pytest.approx((5**2 + 1) / 8)
    assert expected_run_length(line, segments, connected=True) == pytest.approx((3**2 + 1 + 2**2) / 8)
    scores = score_skeletons(line, segments)
    assert scores["erl_runs_normalised"] == pytest.approx(14 / 64)
    assert scores["splits"] == 2


def test_anisotropic_edges_count_by_their_length_in_nm() -> None:
    bent = skeletons_of([1, 2, 3], [1, 1, 1], [(0, 0, 0), (40, 0, 0), (40, 3, 4)], [(0, 1), (1, 2)])
    assert expected_run_length(bent, labels(6, 6, 7)) == pytest.approx(40**2 / 45)
    assert score_skeletons(bent, labels(6, 6, 6))["path_length_nm"] == 45


def test_a_perfect_segmentation_is_perfect_also_with_skeletons_in_pieces() -> None:
    pieces = mask(paths(6, 3), np.arange(11) != 2)
    found = score_skeletons(pieces, labels(*[9] * 6, *[HUGE] * 4))
    assert found["erl_normalised"] == found["erl_runs_normalised"] == 1
    assert found["erl_nm"] == pytest.approx((4**2 + 3**2) / 7)
    assert found["erl_runs_nm"] == pytest.approx((1 + 3**2 + 3**2) / 7)
    assert found["voi_sum"] == found["splits"] == found["mergers"] == found["lost_nodes"] == 0


def test_background_merges_nothing_and_a_stray_node_can_be_forgiven() -> None:
    two = paths(3, 3)
    lost = score_skeletons(two, labels(0, 1, 1, 1, 0, 2, 2, 2))
    assert lost["mergers"] == lost["merging_segments"] == lost["splits"] == 0
    assert lost["lost_nodes"] == 2
    assert lost["erl_nm"] == pytest.approx((4 + 4) / 6)
    assert lost["voi_merge"] > 0
    stray = labels(1, 1, 1, 1, 1, 2, 2, 2)
    assert merging_segments(two, stray).tolist() == [1]
    assert expected_run_length(two, stray) == pytest.approx(4 / 6)
    assert merging_segments(two, stray, 2).tolist() == []
    assert expected_run_length(two, stray, minimum_nodes=2) == pytest.approx((9 + 4) / 6)
    assert score_skeletons(two, stray, minimum_nodes=2)["mergers"] == 0


def test_skeleton_0_counts_like_any_other() -> None:
    two = paths(3, 3)
    zero = Skeletons(two.node, two.skeleton - np.uint64(1), two.position, two.edges)
    merged = labels(*[4] * 8)
    assert score_skeletons(zero, merged) == score_skeletons(two, merged)
    assert score_skeletons(zero, merged)["voi_merge"] == 1
    assert score_skeletons(zero, merged)["mergers"] == 2


def test_without_length_there_is_no_run_length() -> None:
    points = skeletons_of([1, 2], [1, 2], [(0, 0, 0), (0, 0, 9)], [])
    found = score_skeletons(points, labels(3, 3))
    assert np.isnan([found["erl_nm"], found["erl_normalised"], found["erl_runs_normalised"]]).all()
    assert found["voi_merge"] == 1
    empty = score_skeletons(NOTHING, labels())
    assert np.isnan([empty["erl_nm"], empty["voi_sum"]]).all()
    assert empty["splits"] == empty["mergers"] == 0
    with pytest.raises(InputError, match=r"segments of shape \(3,\) for 2 nodes"):
        score_skeletons(points, labels(1, 2, 3))
