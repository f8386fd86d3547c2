"""Fragments cover the foreground, never cross a boundary, and mean the same in every mode and order of channels."""

import numpy as np
import pytest

from sparse2dense.errors import InputError
from sparse2dense.ops.affinities import affinities
from sparse2dense.ops.fragments import component_fragments, watershed_fragments
from sparse2dense.ops.scores import overlaps, score
from tests.voronoi import OFFSETS, noisy_affinities, voronoi


def two_boxes(shape: tuple[int, int, int] = (7, 12, 15)) -> np.ndarray:
    """Return two objects with a background gap of three voxels along x."""
    labels = np.zeros(shape, np.uint64)
    labels[:, :, :6] = 3
    labels[:, :, 9:] = 2**63 + 5
    return labels


@pytest.mark.parametrize("per_section", [False, True])
def test_objects_apart_become_fragments_apart(per_section: bool) -> None:
    labels = two_boxes()
    fragments = watershed_fragments(
        affinities(labels, OFFSETS) * np.uint8(255), offsets=OFFSETS, per_section=per_section, seed_distance=25
    )
    table = overlaps(labels, fragments)
    assert not np.any((table.segment > 0) & (table.truth == 0))
    assert len(np.unique(table.segment[table.truth == 3])) <= 2 * (len(labels) if per_section else 1)
    for fragment in np.unique(fragments[fragments > 0]):
        assert len(np.unique(labels[fragments == fragment])) == 1
        assert not per_section or len(np.unique(np.nonzero(fragments == fragment)[0])) == 1


@pytest.mark.parametrize("per_section", [False, True])
def test_fragments_cover_the_foreground_and_are_numbered_by_their_first_voxel(per_section: bool) -> None:
    values = noisy_affinities(voronoi((9, 21, 17), 12), noise=0.3)
    axes = (1, 2) if per_section else (0, 1, 2)
    mean = np.mean([values[c] for c in axes], axis=0)
    inner = np.all(np.indices(mean.shape) > 0, axis=0)  # the first voxel along an axis has no predecessor
    fragments = watershed_fragments(values, offsets=OFFSETS, per_section=per_section, seed_distance=(3, 5, 5))
    assert fragments.dtype == np.uint64
    assert np.array_equal((fragments > 0)[inner], (mean > 0.5)[inner])
    ids, first = np.unique(fragments[fragments > 0], return_index=True)
    assert np.array_equal(ids, np.arange(1, len(ids) + 1))
    assert np.all(np.diff(first) > 0)


def test_bytes_and_floats_give_the_same_fragments() -> None:
    values = np.round(noisy_affinities(voronoi((8, 16, 18), 8)) * 255).astype(np.uint8)
    from_bytes = watershed_fragments(values, offsets=OFFSETS)
    assert np.array_equal(from_bytes, watershed_fragments(values * np.float32(1 / 255), offsets=OFFSETS))


def test_the_order_and_direction_of_channels_dont_matter() -> None:
    labels = voronoi((8, 16, 18), 8)
    shuffled = [[0, -9, 0], [0, 0, 1], [-1, 0, 0], [0, 1, 0]]
    assert np.array_equal(
        watershed_fragments(affinities(labels, OFFSETS) * np.float32(1), offsets=OFFSETS),
        watershed_fragments(affinities(labels, shuffled) * np.float32(1), offsets=shuffled),
    )


def test_a_missing_neighbour_is_refused() -> None:
    values = np.ones((3, 4, 5, 6), np.float32)
    with pytest.raises(InputError, match="no nearest neighbour along y"):
        watershed_fragments(values, offsets=[[-1, 0, 0], [0, -2, 0], [0, 0, -1]])
    with pytest.raises(InputError, match="2 offsets"):
        watershed_fragments(values, offsets=OFFSETS[:2])


def test_sections_need_no_z_channel() -> None:
    values = noisy_affinities(voronoi((3, 16, 18), 5), OFFSETS[1:])
    assert watershed_fragments(values, offsets=OFFSETS[1:], per_section=True).max() >= 3


@pytest.mark.parametrize("per_section", [False, True])
def test_no_foreground_means_no_fragments(per_section: bool) -> None:
    values = np.zeros((3, 4, 5, 6), np.uint8)
    assert not watershed_fragments(values, offsets=OFFSETS, per_section=per_section, minimum_affinity=0.1).any()


def test_an_array_without_any_boundary_is_one_fragment() -> None:
    assert np.all(watershed_fragments(np.full((3, 4, 5, 6), 255, np.uint8), offsets=OFFSETS) == 1)


def test_no_fragments_outside_the_mask() -> None:
    values = noisy_affinities(voronoi((6, 14, 14), 6))
    mask = np.ones(values.shape[1:], np.uint8)
    mask[:, :, 5:8] = 0
    fragments = watershed_fragments(values, offsets=OFFSETS, mask=mask)
    assert fragments.any()
    assert not fragments[mask == 0].any()
    assert not set(np.unique(fragments[:, :, :5])) & set(np.unique(fragments[:, :, 8:])) - {0}
    with pytest.raises(InputError, match="mask of shape"):
        watershed_fragments(values, offsets=OFFSETS, mask=mask[1:])


@pytest.mark.parametrize("per_section", [False, True])
def test_small_and_faint_fragments_are_removed(per_section: bool) -> None:
    values = np.zeros((3, 3, 12, 30), np.float32)
    values[:, :, 1:11, 1:11] = 1.0  # large and bright
    values[:, :, 1:11, 14:24] = 0.6  # large and faint
    values[:, :, 4:6, 27:29] = 1.0  # small and bright
    every = watershed_fragments(values, offsets=OFFSETS, per_section=per_section)
    bright = watershed_fragments(values, offsets=OFFSETS, per_section=per_section, minimum_affinity=0.8)
    large = watershed_fragments(values, offsets=OFFSETS, per_section=per_section, debris=40)
    assert np.array_equal(bright > 0, (every > 0) & (values[0] == 1))
    assert np.array_equal(large > 0, (every > 0) & (np.arange(30) < 25))
    assert set(np.unique(large)) == set(range(int(large.max()) + 1))


def test_the_distance_respects_the_voxel_size() -> None:
    # a dumbbell of three sections: if sections are thin, it is equally deep everywhere; if thick, the neck is narrow
    values = np.zeros((3, 5, 20, 40), np.float32)
    values[:, 1:4, 2:18, 2:18] = values[:, 1:4, 2:18, 22:38] = values[:, 1:4, 7:13, 18:22] = 1
    assert watershed_fragments(values, offsets=OFFSETS, voxel_size=(8, 8, 8)).max() == 1
    assert watershed_fragments(values, offsets=OFFSETS, voxel_size=(50.5, 8, 8)).max() == 2


def test_components_follow_links_not_voxels() -> None:
    # two objects that touch: no background voxel between them, only weak links
    labels = voronoi((6, 14, 15), 7, ids=[2**62 + i for i in range(7)])
    components = component_fragments(affinities(labels, OFFSETS) * np.uint8(255), offsets=OFFSETS, threshold=0.5)
    assert components.dtype == np.uint64
    assert score(overlaps(labels, components))["voi_sum"] == 0


def test_components_of_positive_offsets_are_the_same() -> None:
    labels = two_boxes()
    backward = component_fragments(affinities(labels, OFFSETS) * np.uint8(255), offsets=OFFSETS)
    forward = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert np.array_equal(backward, component_fragments(affinities(labels, forward) * np.uint8(255), offsets=forward))
    assert np.array_equal(backward > 0, labels > 0)
    assert backward.max() == 2


def test_voxels_without_links_belong_to_no_component() -> None:
    assert not component_fragments(np.zeros((3, 3, 4, 5), np.uint8), offsets=OFFSETS).any()
