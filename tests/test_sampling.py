"""Training looks at every annotated object, however small, and at nothing else."""

import numpy as np

from sparse2dense.ops.sampling import annotated_positions


def test_small_objects_are_drawn_as_often_as_large_ones() -> None:
    """Objects are drawn evenly, whatever their size; ids may be near 2^63."""
    labels = np.full((50, 50), 7, np.uint64)
    labels[:2, :2] = 2**63 + 5
    positions = annotated_positions(labels, np.ones_like(labels))
    rng = np.random.default_rng(0)
    small = sum(labels[tuple(positions.draw(rng))] == 2**63 + 5 for _ in range(2000))
    assert 850 < small < 1150


def test_only_annotated_voxels_are_drawn() -> None:
    """No position lies where the mask is 0."""
    labels = np.arange(27 * 31).reshape(27, 31) // 40
    mask = np.zeros_like(labels)
    mask[3:9, 5:20] = 1
    positions = annotated_positions(labels, mask)
    assert mask[tuple(positions.voxels.T)].all()
    assert len(positions.voxels) == mask.sum()


def test_positions_are_limited_per_object() -> None:
    """A limit bounds the voxels kept of an object, not the number of objects."""
    labels = np.repeat(np.arange(1, 11), 100).reshape(10, 100)
    positions = annotated_positions(labels, labels, limit_per_object=7)
    assert len(positions) == 10
    assert len(positions.voxels) == 70


def test_nothing_annotated() -> None:
    """An empty mask gives no positions."""
    assert len(annotated_positions(np.ones((5, 5), np.uint8), np.zeros((5, 5), np.uint8))) == 0
