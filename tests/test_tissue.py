"""The tissue mask closes gaps and leaves no seams between blocks."""

import numpy as np
import pytest
from scipy import ndimage

from sparse2dense.ops.tissue import tissue_halo, tissue_mask


def disc(radius: int) -> np.ndarray:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return y**2 + x**2 <= radius**2


@pytest.mark.parametrize(("radius", "iterations"), [(1, 1), (3, 2), (2, 3)])
def test_it_is_a_binary_closing(radius: int, iterations: int) -> None:
    section = (np.random.default_rng(radius).random((41, 57)) > 0.97).astype(np.uint16) * 300
    margin = 2 * radius * iterations
    padded = np.pad(section != 0, margin)
    closed = ndimage.binary_closing(padded, disc(radius), iterations=iterations)[margin:-margin, margin:-margin]
    result = tissue_mask(section, radius=radius, iterations=iterations)
    assert result.dtype == np.uint8
    assert (result == closed).all()
    assert (result[section != 0] == 1).all()


def test_blocks_with_their_halo_equal_the_whole() -> None:
    section = (np.random.default_rng(0).random((70, 53)) > 0.985).astype(np.uint8)
    whole = tissue_mask(section, radius=4, iterations=2)
    halo = tissue_halo(4, 2)
    padded = np.pad(section, halo)
    for y in range(0, 70, 20):
        for x in range(0, 53, 17):
            height, width = min(20, 70 - y), min(17, 53 - x)
            block = padded[y : y + height + 2 * halo, x : x + width + 2 * halo]
            inner = tissue_mask(block, radius=4, iterations=2)[halo:-halo, halo:-halo]
            assert (inner == whole[y : y + height, x : x + width]).all()


def test_empty_full_and_single_pixel_sections() -> None:
    assert not tissue_mask(np.zeros((5, 9), np.uint8)).any()
    assert tissue_mask(np.full((5, 9), 7, np.uint8)).all()
    single = np.zeros((31, 31), np.float32)
    single[15, 15] = -0.5
    assert tissue_mask(single, radius=5, iterations=2).sum() == 1
    assert tissue_mask(np.ones((1, 1), np.uint8)).all()
