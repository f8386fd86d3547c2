"""Holes are filled with what encloses them, in an array and in blocks alike."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from sparse2dense.ops.holes import fill_holes
from sparse2dense.stages.hole_filling import without_holes
from sparse2dense.volumes.grid import blocks
from sparse2dense.volumes.passes import passes_for


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


def test_an_array_of_one_row_holds_any_label() -> None:
    labels = np.array([[[0, 2**64 - 1, 0, 2**63, 0]]], np.uint64)
    for per_section in (True, False):
        assert np.array_equal(fill_holes(labels, per_section=per_section), labels)


def nested(shape: tuple[int, int, int], seed: int) -> np.ndarray:
    """Return two large objects, and in and between them shells of background and objects, some cut by the faces."""
    rng = np.random.default_rng(seed)
    labels = 1 + (ndimage.gaussian_filter(rng.normal(size=shape), 4) > 0).astype(np.uint64)
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    for label in range(10, 18):
        distance = np.sqrt((((grid - rng.random(3) * shape) * (1.5, 1, 1)) ** 2).sum(-1))
        for radius, choice in ((5, (0, label)), (3.5, (0, 2, label)), (2, (0, 1, 2 * label))):
            labels[distance < radius] = rng.choice(choice)
    return np.where(labels > 0, labels + np.uint64(2**63), 0).astype(np.uint64)


@pytest.mark.parametrize("block_shape", [(3, 5, 7), (5, 21, 9), (9, 3, 25), (13, 21, 25), (4, 8, 8), (1, 11, 5)])
@pytest.mark.parametrize(("per_section", "objects"), [(True, False), (True, True), (False, True), (False, False)])
def test_blocks_are_filled_as_the_whole_volume(
    tmp_path: Path, block_shape: tuple[int, int, int], per_section: bool, objects: bool
) -> None:
    labels = nested((13, 21, 25), seed=35)
    expected = fill_holes(labels, per_section=per_section, objects=objects)
    assert np.count_nonzero(expected != labels) > 20
    tiles = blocks(labels.shape, block_shape)
    with passes_for(tmp_path / "output", {}, tiles) as passes:
        read = without_holes(
            passes, "holes", lambda block: labels[block.write], per_section=per_section, objects=objects
        )
        for block in tiles:
            assert np.array_equal(read(block), expected[block.write])
    assert not list(tmp_path.iterdir())
