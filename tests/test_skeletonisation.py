"""Skeletons of dense labels lie inside their objects, have their length and no loops, and leave no object out."""

import numpy as np
import pytest

from sparse2dense.errors import InputError
from sparse2dense.ops.skeleton_scores import score_skeletons
from sparse2dense.ops.skeletonisation import skeletonise
from sparse2dense.ops.skeletons import Skeletons, component_of_nodes, consolidate, edge_lengths
from tests.voronoi import voronoi

HUGE = 2**63 + 5


def pieces(skeletons: Skeletons) -> int:
    """Return the number of connected components."""
    return len(np.unique(component_of_nodes(len(skeletons), skeletons.edges)))


def labels_at(labels: np.ndarray, skeletons: Skeletons, scale: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Return the label of the voxel that every node lies in."""
    return labels[tuple(np.floor((skeletons.position - offset) / scale).astype(int).T)]


def test_nodes_lie_in_their_objects_and_edges_make_trees() -> None:
    labels = voronoi((11, 40, 37), 9, ids=range(HUGE, HUGE + 9))
    labels[:, :6, :6] = 0
    scale, offset = np.array([30.5, 8, 8]), np.array([100.25, 0, -80])
    found = skeletonise(labels, tuple(scale), node_distance_nm=40, offset_nm=tuple(offset))
    assert np.array_equal(labels_at(labels, found, scale, offset), found.skeleton)
    assert set(found.skeleton.tolist()) == set(np.unique(labels).tolist()) - {0}
    assert len(found.edges) == len(found) - pieces(found)
    assert edge_lengths(found).max() <= 40 + np.linalg.norm(scale)
    again = consolidate(found)
    assert np.array_equal(again.edges, found.edges)
    assert score_skeletons(found, found.skeleton)["erl_normalised"] == 1


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_straight_tube_has_its_length(axis: int) -> None:
    labels = np.zeros((9, 9, 60), np.uint8)
    labels[2:7, 2:7] = 7
    turned = np.moveaxis(labels, 2, axis)
    spacing = tuple(10.0 if a == axis else 4.0 for a in range(3))
    found = skeletonise(turned, spacing, node_distance_nm=100)
    assert pieces(found) == 1
    assert edge_lengths(found).sum() == pytest.approx(600, abs=60)
    assert 6 <= len(found) <= 8, "no side branches, a node every 100 nm"
    middle = np.delete(found.position, axis, axis=1)
    assert np.abs(middle - 4.5 * 4).max() <= 4


def test_branches_stay_and_bumps_go() -> None:
    labels = np.zeros((15, 40, 80), np.uint32)
    labels[4:11, 17:24, :] = 3
    labels[4:11, :17, 37:44] = 3
    labels[11, 20, 20] = labels[3, 18, 60] = 3
    found = skeletonise(labels, (8, 8, 8), node_distance_nm=80)
    degree = np.bincount(found.edges.reshape(-1), minlength=len(found))
    assert (degree == 1).sum() == 3
    assert (degree == 3).sum() == 1
    assert (degree > 3).sum() == 0


def test_a_ring_is_cut_open() -> None:
    z, y, x = np.indices((9, 31, 31)) - np.array([4, 15, 15]).reshape(3, 1, 1, 1)
    ring = ((np.hypot(y, x) - 11) ** 2 + z**2 < 9).astype(np.int32)
    found = skeletonise(ring, (1, 1, 1), node_distance_nm=4)
    degree = np.bincount(found.edges.reshape(-1), minlength=len(found))
    assert pieces(found) == 1
    assert sorted(np.unique(degree).tolist()) == [1, 2]
    assert edge_lengths(found).sum() == pytest.approx(2 * np.pi * 11, rel=0.1)


def test_small_objects_and_pieces_have_one_node() -> None:
    labels = np.zeros((5, 9, 14), np.uint64)
    labels[0, 0, 0] = 4
    labels[2:4, 2:4, 2:4] = HUGE
    labels[2:4, 2:4, 4:6] = 6
    labels[4, 8, 13] = labels[0, 8, 13] = 9
    found = skeletonise(labels, (40, 8, 8), node_distance_nm=10)
    named, counts = np.unique(found.skeleton, return_counts=True)
    assert named.tolist() == [4, 6, 9, HUGE]
    assert counts.tolist() == [1, 1, 2, 1]
    assert found.node.tolist() == [1, 2, 3, 4, 5]
    assert found.edges.shape == (0, 2)


def test_volumes_of_nothing_of_one_object_and_of_one_section() -> None:
    nothing = skeletonise(np.zeros((3, 4, 5), np.uint64), (1, 1, 1), node_distance_nm=1)
    assert len(nothing) == len(nothing.edges) == 0
    full = skeletonise(np.full((3, 5, 30), 2, np.uint16), (8, 8, 8), node_distance_nm=50)
    assert set(full.skeleton.tolist()) == {2}
    section = np.zeros((1, 12, 40), np.uint8)
    section[0, 4:9] = 1
    flat = skeletonise(section, (50, 4, 4), node_distance_nm=20)
    assert set(flat.position[:, 0].tolist()) == {25.0}
    assert edge_lengths(flat).sum() == pytest.approx(160, abs=24)


def test_what_has_no_skeletons_is_refused() -> None:
    with pytest.raises(InputError, match="labels of 2 dimensions and type uint8"):
        skeletonise(np.ones((2, 3), np.uint8), (1, 1, 1), node_distance_nm=1)
    with pytest.raises(InputError, match="type float64"):
        skeletonise(np.ones((1, 2, 3)), (1, 1, 1), node_distance_nm=1)
    with pytest.raises(InputError, match="from -1 on"):
        skeletonise(np.full((1, 2, 3), -1), (1, 1, 1), node_distance_nm=1)
    with pytest.raises(InputError, match="a node every 0 nm"):
        skeletonise(np.ones((1, 2, 3), np.uint8), (1, 1, 1), node_distance_nm=0)
