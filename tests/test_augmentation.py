"""Augmentation moves images and labels together, keeps ids exact and leaves alone what it has no chance to change."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sparse2dense.ops.augmentation import PROBABILITIES, Augmentation, draw_warp, sample_image, sample_labels, shade

NEVER = Augmentation().none()
EVERYTHING: dict[str, Any] = dict.fromkeys(PROBABILITIES, 1.0)
ALWAYS = Augmentation(**EVERYTHING)


def test_without_probabilities_a_crop_is_a_crop() -> None:
    """Every probability at 0 gives the voxels around the centre, unchanged."""
    rng = np.random.default_rng(0)
    image = rng.random((9, 40, 50), dtype=np.float32)
    warp = draw_warp((5, 11, 13), (4, 20, 25), rng, NEVER)
    np.testing.assert_array_equal(sample_image(image, warp), image[2:7, 15:26, 19:32])
    np.testing.assert_array_equal(shade(image, rng, NEVER), image)


@pytest.mark.parametrize("shape", [(31, 33), (6, 31, 33)])
def test_image_and_labels_move_together(shape: tuple[int, ...]) -> None:
    """Where labels say an object is, the image shows that object, under any spatial augmentation."""
    rng = np.random.default_rng(1)
    labels = (np.indices((60,) * len(shape)) // 15).sum(axis=0) % 2 + 1
    for _ in range(10):
        warp = draw_warp(shape, (30,) * len(shape), rng, ALWAYS, isotropic=True)
        image, moved = sample_image(labels.astype(np.float32), warp), sample_labels(labels, warp)
        sharp = np.isclose(image, np.rint(image), atol=1e-3)
        assert sharp.mean() > 0.5
        np.testing.assert_array_equal(np.rint(image)[sharp & (moved > 0)], moved[sharp & (moved > 0)])


def test_ids_survive_and_the_outside_is_unlabelled() -> None:
    """Ids near 2^63 stay exact; beyond the volume labels and masks are 0."""
    labels = np.full((20, 20), 2**63 + 11, np.uint64)
    warp = draw_warp((40, 40), (0, 0), np.random.default_rng(2), NEVER)
    moved = sample_labels(labels, warp)
    assert moved.dtype == np.uint64
    assert set(np.unique(moved).tolist()) == {0, 2**63 + 11}
    assert (moved != 0).sum() == 20 * 20


def test_sections_are_blurred_on_their_own() -> None:
    """Blur and noise never carry one section into the next."""
    sections = np.zeros((3, 16, 16), np.float32)
    sections[1] = 1
    blurred = shade(sections, np.random.default_rng(3), replace(NEVER, blur=1.0))
    np.testing.assert_allclose(blurred, sections, atol=1e-6)


def test_missing_sections_are_black() -> None:
    """A missing section holds no trace of the image."""
    sections = np.random.default_rng(4).random((4, 8, 8), dtype=np.float32)
    gone = shade(sections, np.random.default_rng(5), replace(NEVER, missing=1.0))
    assert not gone.any()


def test_same_generator_same_crop() -> None:
    """The same seed gives the same crop."""
    image = np.random.default_rng(6).random((8, 64, 64), dtype=np.float32)
    crops = []
    for _ in range(2):
        rng = np.random.default_rng(7)
        crops.append(shade(sample_image(image, draw_warp((3, 24, 24), (4, 30, 30), rng, ALWAYS)), rng, ALWAYS))
    np.testing.assert_array_equal(crops[0], crops[1])
