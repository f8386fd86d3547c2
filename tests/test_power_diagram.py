"""Power diagrams: the nearest seed by the definition, and regions that hang together."""

import cc3d
import numpy as np
import pytest
from numpy.typing import NDArray

from sparse2dense.ops.power_diagram import nearest_seed


def diagram(
    shape: tuple[int, int, int], count: int, seed: int, distortion: float = 0.0
) -> tuple[NDArray, NDArray, NDArray, NDArray, NDArray]:
    """Points, seeds on some of them, radii, and what was found: indices and differences."""
    rng = np.random.default_rng(seed)
    spacing = np.array([2.5, 1.0, 1.0])
    points = (np.indices(shape) * spacing.reshape(3, 1, 1, 1)).astype(np.float32)
    wave = np.sin(points[::-1] / 4).astype(np.float32)
    points += np.float32(distortion) * wave
    places = np.argwhere(np.ones(shape)[:, ::2, ::2]) * (1, 2, 2)
    start = rng.permutation(places)[:count].astype(np.int32)
    seeds = points[:, start[:, 0], start[:, 1], start[:, 2]].T.copy()
    radii = rng.uniform(0, 1, len(seeds)).astype(np.float32)
    return points, seeds, radii, *nearest_seed(points, seeds, radii, start)


@pytest.mark.parametrize("shape", [(7, 31, 40), (1, 30, 29), (6, 1, 17), (1, 1, 1)])
@pytest.mark.parametrize("count", [1, 2, 40])
def test_the_nearest_seed_is_found_but_for_slivers(shape: tuple[int, int, int], count: int) -> None:
    points, seeds, radii, nearest, difference = diagram(shape, count, seed=3)
    apart = points[:, np.newaxis] - seeds.T.reshape(3, -1, 1, 1, 1)
    every = (apart**2).sum(axis=0) - (radii**2).reshape(-1, 1, 1, 1)
    chosen = np.take_along_axis(every, nearest[np.newaxis], axis=0)[0]
    np.testing.assert_allclose(difference, chosen, rtol=1e-4, atol=1e-2)
    assert (chosen <= every.min(axis=0) + 1e-3).mean() > 0.97


def test_regions_hang_together_in_distorted_space() -> None:
    *_, nearest, _ = diagram((9, 48, 47), 25, seed=1, distortion=1.5)
    pieces = cc3d.connected_components((nearest + 1).astype(np.uint32), connectivity=6)
    sizes = np.bincount(pieces.ravel())[1:]
    assert len(np.unique(nearest)) > 10
    assert sizes[np.argsort(sizes)[: -len(np.unique(nearest))]].sum() < 0.005 * nearest.size
