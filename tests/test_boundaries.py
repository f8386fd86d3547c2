"""Boundaries grown by erosion: all labels at once equals one label at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, generate_binary_structure

from sparse2dense.ops.boundaries import erode_randomly, grow_boundary
from tests.voronoi import voronoi


def eroded_singly(labels: NDArray, steps: int, mask: NDArray, only_xy: bool) -> NDArray:
    structure = generate_binary_structure(3, 1)
    if only_xy:
        structure[[0, 2]] = False
    kept = np.zeros(labels.shape, bool)
    for label in np.unique(labels[labels != 0]):
        kept |= binary_erosion((labels == label) | ~mask, structure, iterations=steps, border_value=1)
    return np.where(kept | ~mask, labels, 0)


@given(
    shape=st.tuples(st.integers(1, 7), st.integers(1, 12), st.integers(1, 13)),
    seed=st.integers(0, 2**32 - 1),
    steps=st.integers(1, 3),
    masked=st.booleans(),
    only_xy=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_equals_eroding_each_label(shape: tuple[int, ...], seed: int, steps: int, masked: bool, only_xy: bool) -> None:
    labels = voronoi(shape, 6, seed, ids=[0, 1, 2, 2**63, 2**63 + 1, 2**64 - 1])
    rng = np.random.default_rng(seed)
    mask = rng.random(shape) < 0.7 if masked else np.ones(shape, bool)
    found = grow_boundary(labels, steps, mask if masked else None, only_xy)
    assert found.dtype == labels.dtype
    np.testing.assert_array_equal(found, eroded_singly(labels, steps, mask, only_xy))


def test_two_dimensions_and_unsigned_and_signed_types() -> None:
    for dtype in ("uint8", "int64", ">i4"):
        labels: NDArray = np.repeat([[1, 1, 1, 5, 5, 5]], 3, axis=0).astype(dtype)
        for only_xy in (False, True):
            assert grow_boundary(labels, 1, only_xy=only_xy).tolist() == [[1, 1, 0, 0, 5, 5]] * 3


def test_unannotated_surroundings_erode_nothing() -> None:
    labels = np.zeros((1, 9, 9), np.uint32)
    labels[:, 3:6, 3:6] = 8
    np.testing.assert_array_equal(grow_boundary(labels, 2, labels > 0), labels)
    assert grow_boundary(labels, 1).sum() == 8


def test_zero_steps_copy() -> None:
    labels = voronoi((3, 5, 6), 4)
    copy = grow_boundary(labels, 0)
    np.testing.assert_array_equal(copy, labels)
    assert not np.shares_memory(copy, labels)
    with pytest.raises(ValueError, match="steps"):
        grow_boundary(labels, -1)


def test_each_label_is_eroded_by_a_number_of_its_own() -> None:
    labels = voronoi((4, 40, 40), 12, seed=5).astype(">u8")
    found = erode_randomly(labels, np.random.default_rng(1), maximum_steps=2)
    options = [grow_boundary(labels, steps, only_xy=True) for steps in range(3)]
    chosen = set()
    for label in np.unique(labels):
        equal = [bool(((found == label) == (option == label)).all()) for option in options]
        assert any(equal)
        chosen.add(equal.index(True))
    assert chosen == {0, 1, 2}
    np.testing.assert_array_equal(found, erode_randomly(labels, np.random.default_rng(1), maximum_steps=2))


def test_no_objects_no_erosion() -> None:
    empty = np.zeros((2, 3, 4), np.uint64)
    assert not erode_randomly(empty, np.random.default_rng(0)).any()
    assert not grow_boundary(empty, 3).any()
