"""Fragments cover the foreground, never cross a boundary, and mean the same in every mode and order of channels."""

import cc3d
import numpy as np
import pytest
from scipy import ndimage

from sparse2dense.errors import InputError
from sparse2dense.ops.affinities import affinities
from sparse2dense.ops.components import component_fragments
from sparse2dense.ops.fragments import (
    crop_fragments,
    nearest_affinities,
    nearest_channels,
    number_in_block,
    watershed_fragments,
)
from sparse2dense.ops.scores import overlaps, score
from tests.flood import flooded
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


@pytest.mark.parametrize("per_section", [False, True])
@pytest.mark.parametrize("voxel_size", [(1, 1, 1), (2.5, 1, 1)])
def test_fragments_are_those_of_the_recipe(per_section: bool, voxel_size: tuple[float, float, float]) -> None:
    values = noisy_affinities(voronoi((7, 25, 23), 14), noise=0.4)
    axes = (1, 2) if per_section else (0, 1, 2)
    channels = nearest_affinities(values, OFFSETS, axes)
    for axis, channel in zip(axes, channels, strict=True):
        np.moveaxis(channel, axis, 0)[0] = np.moveaxis(channel, axis, 0)[1]
    foreground = np.mean(channels, axis=0) > 0.5
    expected = np.zeros(foreground.shape, np.uint64)
    for piece in [slice(z, z + 1) for z in range(len(expected))] if per_section else [slice(None)]:
        inside = foreground[piece]
        flat = inside[0] if per_section else inside
        distance = ndimage.distance_transform_edt(flat, sampling=voxel_size[1:] if per_section else voxel_size)
        peaks = flat & (distance == ndimage.maximum_filter(distance, size=7))
        labels = flooded(distance.reshape(inside.shape), ndimage.label(peaks)[0].reshape(inside.shape))
        rest = cc3d.connected_components(inside & (labels == 0), connectivity=6).astype(np.int64)
        labels[rest > 0] = rest[rest > 0] + labels.max()
        expected[piece] = np.where(labels > 0, labels + int(expected.max()), 0)
    found = watershed_fragments(
        values, offsets=OFFSETS, per_section=per_section, seed_distance=7, voxel_size=voxel_size
    )
    assert found.max() > 10
    assert score(overlaps(expected, found))["voi_sum"] == 0
    assert np.array_equal(found > 0, expected > 0)


@pytest.mark.parametrize("per_section", [False, True])
@pytest.mark.parametrize("shape", [(1, 21, 17), (5, 1, 19), (3, 7, 5), (1, 1, 1)])
def test_thin_and_tiny_volumes_are_covered(shape: tuple[int, int, int], per_section: bool) -> None:
    values = np.ones((3, *shape), np.float32)
    values[:, :, :, shape[2] // 2] = 0
    fragments = watershed_fragments(
        values, offsets=OFFSETS, per_section=per_section, seed_distance=31, minimum_affinity=0.1, fill_holes=True
    )
    inside = np.arange(shape[2]) != shape[2] // 2
    assert np.array_equal(fragments > 0, np.broadcast_to(inside, shape))
    assert fragments.max() == (2 if shape[2] > 1 else 0) * (shape[0] if per_section else 1)


def test_an_empty_mask_leaves_nothing() -> None:
    values = noisy_affinities(voronoi((4, 9, 10), 3))
    mask = np.zeros(values.shape[1:], np.uint8)
    assert not watershed_fragments(values, offsets=OFFSETS, mask=mask, fill_holes=True, debris=2).any()


def ring() -> np.ndarray:
    """Affinities of one object, deepest in a corner, with a hole through all four sections and a speck in the hole."""
    values = np.ones((3, 4, 17, 19), np.float32)
    values[:, :, 2:9, 2:11] = 0
    values[:, :, 5:7, 5:7] = 1
    return values


@pytest.mark.parametrize("per_section", [False, True])
def test_holes_are_filled_where_asked(per_section: bool) -> None:
    def fragments(**settings: object) -> np.ndarray:
        return watershed_fragments(
            ring(),
            offsets=OFFSETS,
            per_section=per_section,
            seed_distance=99,
            **settings,  # type: ignore[arg-type]
        )

    assert np.array_equal(fragments() > 0, ring()[0] == 1)
    filled = fragments(fill_holes=True)  # but an object in the hole stays
    assert filled.all()
    assert not np.any(filled[:, 5:7, 5:7] == filled[:, :1, :1])
    cleaned = fragments(fill_holes=True, debris=20)
    assert np.array_equal(cleaned, np.broadcast_to(cleaned[:, :1, :1], cleaned.shape))
    assert cleaned.max() == (4 if per_section else 1)


def test_holes_between_fragments_or_at_the_edge_stay() -> None:
    values = ring()
    values[:, :, :, 6] = 0  # two halves around the hole
    open_ring = ring()
    open_ring[:, :, :4, 6] = 0  # a channel to the edge
    for given in (values, open_ring):
        settings = {"offsets": OFFSETS, "seed_distance": 99, "debris": 20}
        fragments = watershed_fragments(given, **settings, fill_holes=True)  # type: ignore[arg-type]
        assert np.array_equal(fragments, watershed_fragments(given, **settings))  # type: ignore[arg-type]


def test_filling_holes_respects_the_mask_and_leaves_no_fragment_in_pieces() -> None:
    mask = np.ones((4, 17, 19), np.uint8)
    mask[:, 3:8, 3:10] = 0
    mask[:, 4:7, 4:9] = 1  # a moat in the hole
    fragments = watershed_fragments(ring(), offsets=OFFSETS, seed_distance=99, debris=20, mask=mask, fill_holes=True)
    assert np.array_equal(fragments > 0, mask == 1)
    assert fragments.max() == 2
    assert np.all(fragments[:, 4:7, 4:9] == 2)


@pytest.mark.parametrize("per_section", [False, True])
def test_what_the_cut_made_small_is_no_debris(per_section: bool) -> None:
    values = np.zeros((3, 3, 12, 30), np.float32)
    values[:, :, 2:10, :2] = 1  # the end of something larger
    values[:, :, 4:7, 28:] = 1
    values[:, :, 4:7, 12:15] = 1  # really small

    def kept(*along_x: bool) -> list[int]:
        cut = [(False, False), (True, True), along_x]
        found = watershed_fragments(
            values,
            offsets=OFFSETS,
            per_section=per_section,
            debris=90,
            cut=cut,  # type: ignore[arg-type]
        )
        return [int(x) for x in np.flatnonzero(found.any(axis=(0, 1)))]

    assert kept(False, False) == []
    assert kept(True, False) == [0, 1]
    assert kept(True, True) == [0, 1, 28, 29]


def test_a_cropped_fragment_in_two_pieces_becomes_two() -> None:
    fragments = np.zeros((3, 9, 11), np.uint64)
    fragments[:, 5:, :] = 2**63 + 1
    fragments[:, :, :3] = fragments[:, :, 8:] = 7  # an arch over the crop
    fragments[:, 0, :] = 7
    cropped = crop_fragments(fragments, (slice(1, 3), slice(2, 8), slice(1, 11)))
    assert cropped.shape == (2, 6, 10)
    assert cropped[0, 0].tolist() == [1, 1, 0, 0, 0, 0, 0, 2, 2, 2]
    assert cropped[1, 5].tolist() == [1, 1, 3, 3, 3, 3, 3, 2, 2, 2]
    assert fragments.max() == 2**63 + 1


def test_cropped_fragments_stay_those_of_the_whole() -> None:
    whole = watershed_fragments(noisy_affinities(voronoi((9, 25, 23), 12)), offsets=OFFSETS, seed_distance=5)
    box = (slice(3, 9), slice(2, 19), slice(5, 20))
    cropped = crop_fragments(whole, box)
    table = overlaps(cropped, whole[box])
    assert np.array_equal(table.truth, np.arange(len(table)))  # each part in one whole, 0 in 0
    assert np.array_equal(cropped > 0, whole[box] > 0)
    parts = cc3d.connected_components(cropped, connectivity=6)
    assert parts.max() == cropped.max()


def test_ids_of_far_blocks_exceed_32_bits_and_never_meet() -> None:
    fragments = np.array([[[0, 1, 2, 5]]], np.uint64)
    voxels = 128 * 256 * 256
    last, block = 0, 2**32 + 5
    for near in (0, 1, block, block + 1):
        found = number_in_block(fragments, near, voxels)
        assert found.dtype == np.uint64
        assert found.tolist() == [[[0, near * voxels + 1, near * voxels + 2, near * voxels + 5]]]
        assert found[found > 0].min() > last
        last = int(found.max())
    assert number_in_block(np.full((1, 1, 1), voxels, np.uint64), block, voxels).item() == (block + 1) * voxels
    with pytest.raises(OverflowError, match="64 bits"):
        number_in_block(fragments, 2**41, voxels)


def test_the_channels_of_nearest_neighbours_are_all_that_fragments_need() -> None:
    offsets = [[0, -9, 0], [0, 0, 1], [-1, 0, 0], [0, 1, 0]]
    values = noisy_affinities(voronoi((8, 16, 18), 8), offsets)
    channels = nearest_channels(offsets)
    assert channels == [2, 3, 1]
    assert np.array_equal(
        watershed_fragments(values, offsets=offsets),
        watershed_fragments(values[channels], offsets=[offsets[channel] for channel in channels]),
    )


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
