"""Filters of the pseudo ground truth keep what they promise and count it."""

import numpy as np
import pytest

from sparse2dense.ops.filters import (
    Objects,
    fill_holes,
    keep_objects,
    objects_of,
    without_brief,
    without_dust,
    without_outliers,
)
from tests.voronoi import voronoi


def sized(*voxels: int) -> Objects:
    """Return objects 1, 2, ... of the given sizes, in one section each."""
    ids = np.arange(1, len(voxels) + 1, dtype=np.uint64)
    return Objects(ids, np.array(voxels, np.int64), np.ones(len(voxels), np.int64))


def test_objects_are_counted_with_their_sections() -> None:
    labels = voronoi((7, 11, 13), 6, ids=[2**63 + i for i in range(5)] + [0])
    labels[3][labels[3] == 2**63] = 0
    objects = objects_of(labels)
    assert objects.ids.tolist() == [2**63 + i for i in range(5)]
    assert objects.voxels.tolist() == [int(np.sum(labels == i)) for i in objects.ids]
    assert objects.sections.tolist() == [int(np.sum(np.any(labels == i, axis=(1, 2)))) for i in objects.ids]


def test_no_objects_pass_every_filter() -> None:
    none = objects_of(np.zeros((2, 3, 4), np.uint64))
    for kept in (none, without_dust(none, 5), without_outliers(none, 4), without_brief(none, 2)):
        assert len(kept) == 0
    assert len(objects_of(np.zeros((0, 3, 4), np.uint64))) == 0


def test_dust_is_what_is_smaller() -> None:
    assert without_dust(sized(4, 5, 6), 5).ids.tolist() == [2, 3]


def test_outliers_are_judged_by_orders_of_magnitude_among_those_given() -> None:
    sizes = [100, 110, 90, 105, 95] * 4 + [5000]
    assert without_outliers(sized(*sizes), 4).ids.tolist() == list(range(1, 21))
    # neurites of a crop: most are small pieces, a few are half of the volume
    spread = [600 * 2**i for i in range(11) for _ in range(11 - i)]
    assert len(without_outliers(sized(*spread), 4)) == len(spread)
    assert without_outliers(sized(7), 0).ids.tolist() == [1]


def test_brief_objects_are_removed() -> None:
    labels = np.zeros((5, 4, 4), np.uint64)
    labels[:, 0, 0], labels[[0, 2, 4], 2, 2], labels[1, 3, 3] = 5, 6, 7
    assert without_brief(objects_of(labels), 3).ids.tolist() == [5, 6]


def test_only_kept_objects_stay() -> None:
    labels = voronoi((4, 9, 9), 6, ids=[2**63 + 1, 2**53 + 1, 2**53, 3, 2, 1])
    objects = objects_of(labels)
    kept = objects.select(np.isin(objects.ids, np.array([2**53 + 1, 2], np.uint64)))
    expected = np.where((labels == 2**53 + 1) | (labels == 2), labels, np.uint64(0))
    assert np.array_equal(keep_objects(labels, kept), expected)
    assert np.array_equal(keep_objects(labels, objects), labels)
    assert not keep_objects(labels, sized()).any()


def ring(labels: np.ndarray, label: int, low: int, high: int) -> None:
    """Draw a square ring, one voxel wide, into every section."""
    labels[:, low : high + 1, low : high + 1] = np.where(
        np.pad(np.zeros((high - low - 1,) * 2, bool), 1, constant_values=True),
        np.uint64(label),
        labels[:, low : high + 1, low : high + 1],
    )


def test_holes_are_filled_with_what_encloses_them() -> None:
    labels = np.zeros((3, 11, 11), np.uint64)
    ring(labels, 2**63 + 1, 2, 8)
    labels[:, 5, 5] = 9  # an object in the hole goes with it
    filled = fill_holes(labels)
    assert np.all(filled[:, 2:9, 2:9] == 2**63 + 1)
    assert not filled[:, 0].any()
    assert labels[1, 5, 5] == 9


def test_an_object_inside_another_is_filled() -> None:
    labels = np.full((1, 9, 9), 4, np.uint64)
    labels[0, 3:6, 3:6] = 7
    labels[0, 4, 4] = 0
    assert np.all(fill_holes(labels) == 4)


def test_what_touches_two_objects_or_the_edge_stays() -> None:
    labels = np.zeros((2, 9, 9), np.uint64)
    ring(labels, 3, 1, 7)
    labels[:, 4, 7] = 5  # the hole between two objects belongs to neither
    opened = labels.copy()
    opened[:, 4, 7] = 0  # a hole with an opening is none
    labels[:, 4, 8] = 5
    assert np.array_equal(fill_holes(labels), labels)
    assert np.array_equal(fill_holes(opened), opened)


def test_objects_in_open_background_stay() -> None:
    labels = np.zeros((2, 9, 9), np.uint64)
    labels[:, 2, 2], labels[:, 6, 6] = 1, 2
    assert np.array_equal(fill_holes(labels), labels)


@pytest.mark.parametrize("open_at_the_end", [False, True])
def test_in_3d_a_tunnel_is_no_hole(open_at_the_end: bool) -> None:
    labels = np.zeros((6, 9, 9), np.uint64)
    ring(labels, 3, 2, 6)
    labels[0, 2:7, 2:7] = labels[5, 2:7, 2:7] = 3
    if open_at_the_end:
        labels[0, 4, 4] = 0
    assert np.all(fill_holes(labels)[:, 2:7, 2:7] == 3)
    in_3d = fill_holes(labels, per_section=False)
    assert np.all(in_3d[:, 2:7, 2:7] == 3) != open_at_the_end
    assert not open_at_the_end or np.array_equal(in_3d, labels)


@pytest.mark.parametrize("shape", [(0, 4, 4), (2, 0, 4), (1, 1, 1)])
@pytest.mark.parametrize("per_section", [True, False])
def test_tiny_volumes_have_no_holes(shape: tuple[int, int, int], per_section: bool) -> None:
    labels = np.ones(shape, np.uint64)
    assert np.array_equal(fill_holes(labels, per_section=per_section), labels)
