"""The nearest label is what its definition says, to the tie, and the same in any cut of a volume."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparse2dense.ops.nearest import nearest_at, nearest_labels, reach_in_voxels
from sparse2dense.volumes.grid import blocks, clip, within

VOXEL_SIZES = [(8.0, 8.0, 8.0), (40.5, 8.0, 8.0), (5.1919, 5.1919, 5.1919), (0.3, 0.4, 0.1), (30.0, 4.03, 4.07)]


def scattered(shape: tuple[int, ...], share: float, seed: int) -> np.ndarray:
    """Return single voxels of labels that floats can't tell apart, so that ties abound."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(2**63, 2**63 + 9, shape, dtype=np.uint64)
    return np.where(rng.random(shape) < share, labels, np.uint64(0))


def by_definition(labels: np.ndarray, voxel_size: tuple[float, ...], reach: float) -> np.ndarray:
    """Compare all labelled voxels in exact arithmetic, first by distance, then by place."""
    sizes = [Fraction(str(size)) for size in voxel_size]
    places = np.argwhere(labels).tolist()
    result = labels.copy()
    for voxel in product(*map(range, labels.shape)):
        if labels[voxel] == 0 and places:
            squares = [
                (sum(((a - b) * size) ** 2 for a, b, size in zip(place, voxel, sizes, strict=True)), place)
                for place in places
            ]
            distance, place = min(squares)
            if distance <= (Fraction(str(reach)) * min(sizes)) ** 2:
                result[voxel] = labels[tuple(place)]
    return result


@given(
    st.tuples(*[st.integers(1, 6)] * 3),
    st.sampled_from(VOXEL_SIZES),
    st.sampled_from([0.0, 1.0, 1.5, 3.0, 5.0, 100.0]),
    st.sampled_from([0.0, 0.02, 0.2, 0.9, 1.0]),
    st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_the_nearest_is_what_the_definition_says(
    shape: tuple[int, int, int], voxel_size: tuple[float, ...], reach: float, share: float, seed: int
) -> None:
    labels = scattered(shape, share, seed)
    before = labels.copy()
    assert np.array_equal(nearest_labels(labels, voxel_size, reach), by_definition(labels, voxel_size, reach))
    assert np.array_equal(labels, before)


@pytest.mark.parametrize("voxel_size", VOXEL_SIZES)
@pytest.mark.parametrize("reach", [1.0, 2.5, 5.0])
def test_any_cut_gives_what_the_whole_volume_gives(voxel_size: tuple[float, ...], reach: float) -> None:
    labels = scattered((9, 13, 17), 0.01, 3)
    whole = nearest_labels(labels, voxel_size, reach)
    assert np.any((whole != 0) & (labels == 0))
    for block_shape in [(1, 1, 1), (1, 13, 3), (3, 5, 7), (9, 1, 5), (5, 11, 17), (7, 3, 1)]:
        for block in blocks(labels.shape, block_shape, reach_in_voxels(reach, voxel_size)):
            read = clip(block.read, labels.shape)
            part = labels[read]
            found = nearest_labels(part, voxel_size, reach, within(block.write, read))
            assert np.array_equal(found, whole[block.write])
            assert np.array_equal(nearest_labels(part, voxel_size, reach)[within(block.write, read)], found)


@given(
    st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 40)),
    st.sampled_from(VOXEL_SIZES),
    st.sampled_from([0.0, 1.5, 3.0, 8.0, 12.0, 100.0]),
    st.sampled_from([0.0, 0.005, 0.2]),
    st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_some_voxels_take_what_all_would(
    shape: tuple[int, int, int], voxel_size: tuple[float, ...], reach: float, share: float, seed: int
) -> None:
    labels = scattered(shape, share, seed)
    whole = nearest_labels(labels, voxel_size, reach)
    for wanted in (0.1, 1.0):  # all are more looks than there are voxels
        chosen = (labels == 0) & (np.random.default_rng(seed).random(shape) < wanted)
        found = nearest_at(labels, np.argwhere(chosen), voxel_size, reach)
        assert found.dtype == labels.dtype
        assert np.array_equal(found, whole[chosen])


def test_reach_is_measured_along_the_smallest_voxels_and_exact() -> None:
    assert reach_in_voxels(32, (40.5, 8, 8)) == (6, 32, 32)
    assert reach_in_voxels(0.7, (8, 8, 8)) == (0, 0, 0)
    assert reach_in_voxels(3, (0.3, 0.1, 0.1)) == (1, 3, 3)  # 0.1 * 3 > 0.3 in floats
    labels = np.zeros((2, 1, 9), np.uint16)
    labels[0, 0, 0] = 7
    filled = nearest_labels(labels, (0.3, 0.1, 0.1), 3)
    assert filled[0, 0].tolist() == [7] * 4 + [0] * 5
    assert filled[1, 0].tolist() == [7] + [0] * 8
    assert filled.dtype == np.uint16


def test_of_equally_near_labels_the_first_place_counts_not_the_number() -> None:
    for labels in ([9, 0, 0, 0, 4], [4, 0, 0, 0, 9]):
        assert nearest_labels(np.array([[labels]], np.uint64), (1, 1, 1), 5)[0, 0, 2] == labels[0]
    corners = np.zeros((3, 3, 3), np.uint64)
    corners[::2, ::2, ::2] = np.arange(1, 9).reshape(2, 2, 2)
    assert nearest_labels(corners, (5, 5, 5), 2)[1, 1, 1] == 1
    assert nearest_labels(corners, (5, 5, 5), 2)[2, 1, 1] == 5
    assert nearest_labels(corners, (5, 5, 5), 1.7)[1, 1, 1] == 0


def test_nearest_is_measured_in_the_world() -> None:
    labels = np.zeros((3, 1, 8), np.uint64)
    labels[0, 0, 0], labels[1, 0, 4] = 1, 2
    assert nearest_labels(labels, (8.0, 8, 8), 99)[1, 0, 0] == 1
    assert nearest_labels(labels, (60.5, 8, 8), 99)[1, 0, 0] == 2


@pytest.mark.parametrize("label", [0, 3])
@pytest.mark.parametrize("shape", [(2, 3, 4), (0, 3, 4), (1, 1, 1)])
def test_nothing_to_fill_changes_nothing(label: int, shape: tuple[int, ...]) -> None:
    labels = np.full(shape, label, np.uint32)
    filled = nearest_labels(labels, (1, 1, 1), 4)
    assert np.array_equal(filled, labels)
    assert filled is not labels
