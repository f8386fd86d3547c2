"""The flood follows its rules to the voxel, and the running maximum is that of every window."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from sparse2dense.ops.watershed import seeded_watershed, window_maximum
from tests.flood import flooded

SHAPES = [(7, 13, 11), (1, 21, 17), (9, 1, 14), (1, 1, 23)]


def terrain(shape: tuple[int, int, int], levels: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
    """Depths of so many levels, a third of them walls, and a few seeds anywhere."""
    rng = np.random.default_rng(seed)
    depth = np.float32(0.37) * rng.integers(1, levels + 1, shape).astype(np.float32)
    depth[rng.random(shape) < 1 / 3] = 0
    seeds = np.zeros(shape, np.uint32)
    chosen = rng.choice(depth.size, max(2, depth.size // 40), replace=False)
    seeds.reshape(-1)[chosen] = np.arange(1, len(chosen) + 1)
    return depth, seeds


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("levels", [1, 3, 40])
def test_the_order_is_depth_then_arrival_then_position(shape: tuple[int, int, int], levels: int) -> None:
    depth, seeds = terrain(shape, levels)
    found = seeded_watershed(depth, seeds)
    expected = flooded(depth, seeds)
    assert np.array_equal(found[expected > 0], expected[expected > 0])
    assert np.array_equal(found > 0, depth > 0)


@pytest.mark.parametrize("shape", [(11, 19, 23), (1, 61, 57)])
def test_where_no_ties_decide_it_is_the_watershed_of_scikit_image(shape: tuple[int, int, int]) -> None:
    # every depth once: also more levels than the hash table begins with
    depth, seeds = terrain(shape, 5)
    depth = np.where(depth > 0, 1 + np.random.default_rng(1).permutation(depth.size).reshape(shape), 0)
    depth = depth.astype(np.float32)
    seeds[depth == 0] = 0
    expected = watershed(-depth, seeds.astype(np.int32), mask=depth > 0)
    found = seeded_watershed(depth, seeds)
    assert np.array_equal(found[expected > 0], expected[expected > 0])


def test_what_no_seed_reaches_becomes_one_label_for_each_piece() -> None:
    depth = np.zeros((1, 3, 9), np.float32)
    depth[0, :, :2] = depth[0, 1, 4:6] = depth[0, :, 8] = 2
    seeds = np.zeros(depth.shape, np.uint32)
    seeds[0, 0, 0] = 7
    seeds[0, 0, 3] = 9  # in a wall, but counts as a label that is taken
    found = seeded_watershed(depth, seeds)
    assert found.dtype == np.int32
    assert np.array_equal(np.unique(found), [0, 7, 8, 9])
    assert len(np.unique(found[0, :, 8])) == 1
    assert np.array_equal(found == 7, (depth > 0) & (np.arange(9) < 2))


def test_nothing_to_flood() -> None:
    assert not seeded_watershed(np.zeros((2, 3, 4), np.float32), np.ones((2, 3, 4), np.uint32)).any()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("window", [(1, 1, 1), (3, 5, 7), (11, 11, 11), (1, 9, 1), (51, 3, 51)])
def test_the_running_maximum_is_that_of_each_window(shape: tuple[int, int, int], window: tuple[int, int, int]) -> None:
    values = np.random.default_rng(2).random(shape).astype(np.float32) * 100
    before = values.copy()
    expected = ndimage.maximum_filter(values, size=window, mode="constant", cval=0)
    assert np.array_equal(window_maximum(values, window), expected)
    assert np.array_equal(values, before)
