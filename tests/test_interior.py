"""The interior of objects, voxel by voxel from its definition."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sparse2dense.ops.interior import interior


def by_definition(truth: np.ndarray, border: tuple[int, ...]) -> np.ndarray:
    """Look at the box of every voxel."""
    result = np.zeros(truth.shape, bool)
    for place in np.ndindex(truth.shape):
        box = truth[tuple(slice(max(p - b, 0), p + b + 1) for p, b in zip(place, border, strict=True))]
        result[place] = truth[place] != 0 and bool(np.all(box == truth[place]))
    return result


@given(
    st.tuples(*[st.integers(1, 7)] * 3),
    st.tuples(*[st.integers(0, 3)] * 3),
    st.integers(0, 1000),
)
@settings(deadline=None)
def test_interior_is_what_the_definition_says(
    shape: tuple[int, int, int], border: tuple[int, int, int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    truth = np.zeros(shape, np.uint64)
    for label in (0, 2**53, 2**53 + 1, 2**63):  # floats can't tell the second from the third
        corner, end = np.sort(rng.integers(0, 8, (2, 3)), axis=0)
        truth[tuple(map(slice, corner, end))] = label
    assert np.array_equal(interior(truth, border), by_definition(truth, border))


def test_the_border_is_two_voxels_and_cut_at_the_edge() -> None:
    truth = np.ones((3, 9, 9), np.uint64)
    truth[:, :, 5:] = 2
    assert interior(truth).all(axis=(0, 1)).tolist() == [True] * 3 + [False] * 4 + [True] * 2


def test_no_border_along_z_judges_sections_alone() -> None:
    truth = np.zeros((3, 9, 9), np.uint64)
    truth[1] = 4
    assert interior(truth, (0, 2, 2))[1].all()
    assert not interior(truth, (1, 2, 2)).any()
