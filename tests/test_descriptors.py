"""Local shape descriptors: golden values, a slow recipe by the definition, and what never may change them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from sparse2dense.errors import InputError
from sparse2dense.ops.descriptors import (
    descriptor_channels,
    local_shape_descriptors,
    section_descriptors,
    turned_descriptors,
)
from tests.voronoi import voronoi

GOLDEN = [
    ("labels_2d", "descriptors_2d_sigma10", {"sigma": 10}),
    ("labels_3d", "descriptors_3d_sigma6", {"sigma": 6}),
    ("labels_3d", "descriptors_3d_sigma6_downsample2", {"sigma": 6, "downsample": 2}),
    (
        "labels_aniso",
        "descriptors_aniso_voxel40_8_8_sigma80_40_40",
        {"sigma": (80, 40, 40), "voxel_size": (40, 8, 8)},
    ),
]


def by_definition(labels: NDArray, sigma: float) -> NDArray[np.float64]:
    """Descriptors in float64, one object and one filter at a time, with coordinates from the volume's centre."""
    ndim = labels.ndim
    x = np.indices(labels.shape) - np.array(labels.shape).reshape(-1, *[1] * ndim) / 2

    def mean(values: NDArray) -> NDArray:
        return gaussian_filter(values, sigma, mode="constant", truncate=3)

    out = np.zeros((len(descriptor_channels(ndim)), *labels.shape))
    for label in np.unique(labels[labels != 0]):
        inside = labels == label
        m = inside.astype(float)
        size = np.where(inside, mean(m), 1)
        centre = [mean(x[d] * m) / size for d in range(ndim)]
        cov = {
            (d, e): mean(x[d] * x[e] * m) / size - centre[d] * centre[e] for d in range(ndim) for e in range(d, ndim)
        }
        var = [np.maximum(cov[d, d], 1e-3) for d in range(ndim)]
        channels = [(centre[d] - x[d]) / (2 * sigma) + 0.5 for d in range(ndim)]
        channels += [v / sigma**2 for v in var]
        pairs = [(d, e) for d in range(ndim) for e in range(d + 1, ndim)]
        channels += [cov[d, e] / np.sqrt(var[d] * var[e]) / 2 + 0.5 for d, e in pairs]
        out[:, inside] = np.clip(np.stack([*channels, size]), 0, 1)[:, inside]
    return out


@pytest.mark.parametrize(("labels", "expected", "options"), GOLDEN, ids=[g[1] for g in GOLDEN])
def test_equals_lsds(reference_dir: Path, labels: str, expected: str, options: dict) -> None:
    golden = np.load(reference_dir / "local_shape_descriptors.npz")
    segmentation, reference = golden[labels], golden[expected]
    ndim = segmentation.ndim
    found = local_shape_descriptors(segmentation, **options)
    # lsds gives objects that its sampling misses a size of 1 and an offset that depends on where the array begins
    known = found[-1] > 0
    assert known.sum() > 0.9 * (segmentation != 0).sum()
    sigma = np.broadcast_to(options["sigma"], ndim)
    flat = [found[ndim + d] * sigma[d] ** 2 < 1.5e-3 for d in range(ndim)]
    pairs = [(d, e) for d in range(ndim) for e in range(d + 1, ndim)]
    for channel, name in enumerate(descriptor_channels(ndim)):
        compared = known.copy()
        if name.startswith("pearson"):
            d, e = pairs[channel - 2 * ndim]
            compared &= ~(flat[d] | flat[e])
        assert np.abs(found[channel] - reference[channel])[compared].max() < 1e-3, name
    assert (found[:, segmentation == 0] == 0).all()


@given(
    shape=st.one_of(st.tuples(*[st.integers(1, 21)] * 2), st.tuples(*[st.integers(1, 11)] * 3)),
    sigma=st.floats(0.5, 6),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=25, deadline=None)
def test_equals_the_definition(shape: tuple[int, ...], sigma: float, seed: int) -> None:
    labels = voronoi(shape, 5, seed)
    labels[labels == 2] = 0
    found, expected = local_shape_descriptors(labels, sigma), by_definition(labels, sigma)
    ndim = labels.ndim
    assert np.abs(found[: 2 * ndim] - expected[: 2 * ndim]).max() < 1e-4
    assert np.abs(found[-1] - expected[-1]).max() < 1e-4
    flat = (expected[ndim : 2 * ndim] * sigma**2 < 1e-2).any(axis=0)
    assert np.abs(found[2 * ndim : -1] - expected[2 * ndim : -1])[:, ~flat].max(initial=0) < 1e-3


def test_objects_larger_than_the_window_equal_the_definition() -> None:
    labels = voronoi((7, 120, 90), 3, seed=4)
    assert np.abs(local_shape_descriptors(labels, 2) - by_definition(labels, 2)).max() < 1e-4


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.int64, np.uint32, np.uint64, ">u4"])
def test_names_and_types_of_labels_do_not_matter(dtype: str) -> None:
    labels = voronoi((5, 13, 17), 9, seed=2)
    limit = np.iinfo(np.dtype(dtype)).max
    renamed = np.where(labels == 3, 0, limit - labels.astype(dtype)).astype(dtype)
    original = np.where(labels == 3, 0, labels)
    np.testing.assert_array_equal(local_shape_descriptors(renamed, 4), local_shape_descriptors(original, 4))


def test_identifiers_that_floats_confuse_stay_apart() -> None:
    labels = np.full((9, 12), 2**63, np.uint64)
    labels[:, 6:] = 2**63 + 1
    np.testing.assert_array_equal(
        local_shape_descriptors(labels, 3), local_shape_descriptors(np.where(labels == 2**63, 1, 2), 3)
    )


def test_values_do_not_depend_on_the_place_in_the_volume() -> None:
    """Moving an object moves its descriptors, even far from the origin, where squares of coordinates are large."""
    far = np.zeros((9, 40, 4000), np.uint32)
    far[2:7, 5:33, 3900:3950] = voronoi((5, 28, 50), 4, seed=8)
    near = np.roll(far, -3890, axis=2)[:, :, :100]
    far_values = local_shape_descriptors(far, (3, 5, 5))
    np.testing.assert_allclose(far_values[..., 3890:3990], local_shape_descriptors(near, (3, 5, 5)), atol=1e-5)


def test_an_empty_volume_is_zero_and_a_full_one_is_centred() -> None:
    assert not local_shape_descriptors(np.zeros((3, 4, 5), np.uint64), 2).any()
    assert local_shape_descriptors(np.zeros((0, 5), np.uint8), 2).shape == (6, 0, 5)
    inside = local_shape_descriptors(np.ones((41, 41), np.uint8), 5)[:, 20, 20]
    np.testing.assert_allclose(inside[[0, 1, 4, 5]], [0.5, 0.5, 0.5, 1.0], atol=1e-5)


def test_offsets_point_to_the_centre_of_mass() -> None:
    bar = np.zeros((3, 31), np.uint8)
    bar[1] = 7
    offset_x = local_shape_descriptors(bar, 8)[1, 1]
    assert offset_x[0] > 0.6 and offset_x[-1] < 0.4 and abs(offset_x[15] - 0.5) < 1e-6


@pytest.mark.parametrize("shape", [(7, 15), (5, 9, 11)])
@pytest.mark.parametrize("step", [2, 3])
def test_sampling_repeats_values_of_the_volumes_own_grid(shape: tuple[int, ...], step: int) -> None:
    labels = voronoi(shape, 4, seed=1)
    found = local_shape_descriptors(labels, 6, downsample=step)
    sampled = (slice(None),) + (slice(None, None, step),) * len(shape)
    exact = local_shape_descriptors(labels[sampled[1:]], 6 / step)
    close = slice(len(shape))
    np.testing.assert_allclose(found[sampled][close], exact[close], atol=1e-5)
    assert (found[-1] > 0).mean() > 0.8


def test_an_object_that_sampling_misses_has_no_size() -> None:
    labels = np.zeros((6, 6), np.uint8)
    labels[1, 1] = 4
    np.testing.assert_allclose(
        local_shape_descriptors(labels, 2, downsample=2)[:, 1, 1], [0.5, 0.5, 0.00025, 0.00025, 0.5, 0]
    )


@pytest.mark.parametrize("step", [1, 2])
def test_sections_of_a_volume_equal_separate_sections(step: int) -> None:
    labels = voronoi((67, 15, 13), 6, seed=3)
    together = section_descriptors(labels, (4, 3), step)
    separate = [local_shape_descriptors(section, (4, 3), downsample=step) for section in labels]
    np.testing.assert_allclose(together, np.stack(separate, axis=1), atol=2e-4)


def test_world_units_scale_with_voxels() -> None:
    labels = voronoi((5, 14, 15), 4, seed=5)
    voxels = local_shape_descriptors(labels, (2, 4, 3))
    world = local_shape_descriptors(labels, (2 * 40, 4 * 8.5, 3 * 8.5), voxel_size=(40, 8.5, 8.5))
    lying = [0, 1, 2, 9]
    np.testing.assert_allclose(world[lying], voxels[lying], atol=1e-5)


@pytest.mark.parametrize(
    ("labels", "options", "named"),
    [
        (np.zeros((4, 4), np.float32), {"sigma": 2}, "float32"),
        (np.zeros(4, np.uint8), {"sigma": 2}, "1 dimensions"),
        (np.zeros((4, 4), np.uint8), {"sigma": (1, 2, 3)}, "sigma"),
        (np.zeros((4, 4), np.uint8), {"sigma": 0}, "sigma"),
        (np.zeros((4, 4), np.uint8), {"sigma": 1, "voxel_size": (1, -1)}, "voxel_size"),
        (np.zeros((4, 4), np.uint8), {"sigma": 1, "downsample": 0}, "downsample"),
    ],
)
def test_bad_input_is_named(labels: NDArray, options: dict, named: str) -> None:
    with pytest.raises(InputError, match=named):
        local_shape_descriptors(labels, **options)


@pytest.mark.parametrize("downsample", [1, 2])
def test_a_part_is_described_as_in_the_whole(downsample: int) -> None:
    """A region of interest has the values it has when everything is described, wherever it begins."""
    rng = np.random.default_rng(4)
    labels = np.kron(rng.integers(0, 6, (4, 5, 6)), np.ones((5, 9, 8), int))
    roi = (slice(3, 17), slice(7, 30), slice(11, 45))
    for describe, sigma in ((local_shape_descriptors, (2.0, 4.0, 3.0)), (section_descriptors, (4.0, 3.0))):
        whole = describe(labels, sigma, downsample=downsample)
        part = describe(labels, sigma, downsample=downsample, roi=roi)
        np.testing.assert_allclose(part, whole[(slice(None), *roi)], atol=1e-5)


@pytest.mark.parametrize(
    ("order", "signs"),
    [((0, 1, 2), (-1, 1, 1)), ((0, 1, 2), (1, -1, -1)), ((0, 2, 1), (1, 1, 1)), ((0, 2, 1), (-1, 1, -1))],
)
def test_turned_descriptors_are_those_of_turned_labels(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    """Flips and an exchange of y and x, which have one sigma, of odd objects between background; and back again."""
    labels = voronoi((13, 22, 27), 14, 3)
    labels[labels > 11] = 0
    sigma = (2.0, 4.0, 4.0)
    flips = tuple(slice(None, None, sign) for sign in signs)
    seen = labels[flips].transpose(order)
    # the step in `labels` that a step in `seen` is
    turn = np.zeros((3, 3), np.float32)
    turn[order, range(3)] = np.array(signs, np.float32)[list(order)]
    there = local_shape_descriptors(labels, sigma)[(slice(None), *flips)].transpose(0, *(axis + 1 for axis in order))
    found = turned_descriptors(there, turn, sigma)
    known = seen > 0
    np.testing.assert_allclose(found[:, known], local_shape_descriptors(seen, sigma)[:, known], atol=2e-5)
    np.testing.assert_allclose(turned_descriptors(found, turn.T, sigma)[:, known], there[:, known], atol=2e-5)


def test_a_rotated_object_is_described_as_such() -> None:
    """A slanted rod, turned upright by 30 degrees, has the correlation and the variances of an upright one."""
    z, y, x = np.indices((31, 31, 31)) - 15
    angle = np.deg2rad(30)
    upright = (np.hypot(z, x) < 4) & (abs(y) < 12)
    slanted = (np.hypot(z, x * np.cos(angle) - y * np.sin(angle)) < 4) & (
        abs(y * np.cos(angle) + x * np.sin(angle)) < 12
    )
    described = [
        local_shape_descriptors(rod.astype(np.uint8), 6.0)[:, 15:16, 15:16, 15:16] for rod in (upright, slanted)
    ]
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]], np.float32)
    turned = turned_descriptors(described[1], turn, (6.0, 6.0, 6.0))
    assert abs(described[1] - described[0]).max() > 0.2
    np.testing.assert_allclose(turned, described[0], atol=0.03)


@pytest.mark.parametrize("downsample", [1, 2, 3])
def test_values_in_sections_depend_on_nothing_far_away(downsample: int) -> None:
    """Neither the region of interest, nor the place in the section, nor other objects change a bit of them."""
    labels = voronoi((2, 37, 41), 7, seed=6)
    part = (slice(1, 2), slice(8, 30), slice(5, 41))
    whole = section_descriptors(labels, 3, downsample)
    np.testing.assert_array_equal(section_descriptors(labels, 3, downsample, part), whole[(slice(None), *part)])
    moved = np.zeros((2, 37 + 6, 41 + 12), labels.dtype)
    moved[:, 6:, 12:] = labels
    np.testing.assert_array_equal(section_descriptors(moved, 3, downsample)[:, :, 6:, 12:], whole)
    alone = labels == labels[0, 20, 20]
    np.testing.assert_array_equal(section_descriptors(alone.astype(np.uint8), 3, downsample)[:, alone], whole[:, alone])


def test_windows_wider_than_the_section_equal_the_definition() -> None:
    labels = voronoi((1, 14, 11), 5, seed=9)
    found = section_descriptors(labels, 9)[:, 0]
    assert np.abs(found[:4] - by_definition(labels[0], 9)[:4]).max() < 1e-4
