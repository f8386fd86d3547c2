"""Filters of the pseudo ground truth keep what they promise and count it."""

import numpy as np
import pytest

from sparse2dense.ops.filters import (
    Objects,
    join_objects,
    keep_objects,
    objects_of,
    profiles_of,
    without_brief,
    without_dust,
    without_outliers,
)
from sparse2dense.volumes.grid import blocks, layers
from tests.voronoi import voronoi


def sized(*voxels: int) -> Objects:
    """Return objects 1, 2, ... of the given sizes, in one section each."""
    ids = np.arange(1, len(voxels) + 1, dtype=np.uint64)
    return Objects(ids, np.array(voxels, np.int64), np.ones(len(voxels), np.int64))


def counted(labels: np.ndarray) -> Objects:
    """Return the objects of a whole volume."""
    return objects_of([profiles_of(labels)])


def test_objects_are_counted_with_their_sections() -> None:
    labels = voronoi((7, 11, 13), 6, ids=[2**63 + i for i in range(5)] + [0])
    labels[3][labels[3] == 2**63] = 0
    objects = counted(labels)
    assert objects.ids.tolist() == [2**63 + i for i in range(5)]
    assert objects.voxels.tolist() == [int(np.sum(labels == i)) for i in objects.ids]
    assert objects.sections.tolist() == [int(np.sum(np.any(labels == i, axis=(1, 2)))) for i in objects.ids]


@pytest.mark.parametrize("block_shape", [(1, 1, 1), (3, 5, 4), (7, 11, 13), (2, 11, 3)])
def test_objects_of_blocks_add_up(block_shape: tuple[int, int, int]) -> None:
    labels = voronoi((7, 11, 13), 9, ids=[2**63 + i for i in range(7)] + [0, 2**53])
    layered = layers(blocks(labels.shape, block_shape))
    assert len(layered) == -(-7 // block_shape[0])
    parts = [objects_of(profiles_of(labels[b.write], b.write[0].start) for b in layer) for layer in layered]
    joined, whole = join_objects(parts), counted(labels)
    for name in ("ids", "voxels", "sections"):
        assert getattr(joined, name).tolist() == getattr(whole, name).tolist()
        assert getattr(joined, name).dtype == getattr(whole, name).dtype


def test_no_objects_pass_every_filter() -> None:
    none = counted(np.zeros((2, 3, 4), np.uint64))
    for kept in (none, without_dust(none, 5), without_outliers(none, 4), without_brief(none, 2)):
        assert len(kept) == 0
    assert len(counted(np.zeros((0, 3, 4), np.uint64))) == 0


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
    assert without_brief(counted(labels), 3).ids.tolist() == [5, 6]


def test_only_kept_objects_stay() -> None:
    labels = voronoi((4, 9, 9), 6, ids=[2**63 + 1, 2**53 + 1, 2**53, 3, 2, 1])
    objects = counted(labels)
    kept = objects.select(np.isin(objects.ids, np.array([2**53 + 1, 2], np.uint64)))
    expected = np.where((labels == 2**53 + 1) | (labels == 2), labels, np.uint64(0))
    assert np.array_equal(keep_objects(labels, kept), expected)
    assert np.array_equal(keep_objects(labels, objects), labels)
    assert not keep_objects(labels, sized()).any()
