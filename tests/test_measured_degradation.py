"""Errors of a 2D net are measured as those settings that make exact channels as wrong."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.ops.affinities import affinities
from sparse2dense.ops.boundaries import grow_boundary
from sparse2dense.ops.corruption import Degradation, degrade
from sparse2dense.ops.measured_degradation import measured_degradation
from tests.voronoi import voronoi

EXACT = Degradation(
    faint=0, spurious=0, noise=0, intensity_channel=0, intensity_section=0, blur=0, low_contrast=0
)  # fmt: skip
"""Changes nothing."""


@pytest.fixture(scope="module")
def channels() -> NDArray[np.float32]:
    """Affinities of two sections of cells, as a net that grows boundaries by a voxel is taught."""
    labels = grow_boundary(voronoi((2, 180, 200), 60), 1, only_xy=True)
    return affinities(labels, [(0, -1, 0), (0, 0, -1), (0, -5, 0), (0, 0, -5)]).astype(np.float32)


def measured(channels: NDArray[np.float32], settings: Degradation) -> Degradation:
    """What is found when all channels were degraded by `settings`."""
    predicted = degrade(channels, np.random.default_rng(5), range(len(channels)), settings)
    return measured_degradation(predicted, channels, np.ones(channels.shape, bool), range(len(channels)))


def test_a_perfect_net_has_no_errors(channels: NDArray[np.float32]) -> None:
    found = measured(channels, EXACT)
    assert found.blur == 0 and max(found.noise_sigma) < 1e-6
    assert (found.faint, found.spurious) == (0, 0)
    assert found.scale == pytest.approx((1, 1)) and found.offset == pytest.approx((0, 0), abs=1e-6)
    assert (
        np.abs(degrade(channels, np.random.default_rng(0), range(4), replace(found, low_contrast=0)) - channels).max()
        < 1e-4
    )


@pytest.mark.parametrize("sigma", [0.75, 1.5])
def test_blur_and_noise_are_found(channels: NDArray[np.float32], sigma: float) -> None:
    found = measured(channels, replace(EXACT, blur=1, blur_sigma=(sigma, sigma), noise=1, noise_sigma=(0.06, 0.06)))
    assert found.blur == 1 and found.noise == 1
    assert np.mean(found.blur_sigma) == pytest.approx(sigma, abs=0.25)
    # values that noise would take out of 0..1 stay there, so that less of it is seen
    assert 0.02 < np.mean(found.noise_sigma) < 0.07


@pytest.mark.parametrize(("kind", "other"), [("faint", "spurious"), ("spurious", "faint")])
def test_missed_and_invented_boundaries_are_told_apart(channels: NDArray[np.float32], kind: str, other: str) -> None:
    """A net that misses more boundaries is measured so, and inventing them stays rare."""
    areas = []
    for area in (0.1, 0.3):
        how: dict[str, Any] = {kind: 1, f"{kind}_area": (area, area), f"{kind}_strength": (0.8, 0.8)}
        found = measured(channels, replace(EXACT, **how))
        areas.append(np.mean(getattr(found, f"{kind}_area")))
        assert np.mean(getattr(found, f"{other}_area")) < areas[-1] / 2
    assert areas[0] < areas[1]
    assert 0.05 < areas[0] < 0.3 and 0.2 < areas[1] <= 0.5


def test_a_weak_channel_is_scaled(channels: NDArray[np.float32]) -> None:
    predicted = channels * np.array([0.7, 1, 1, 1], np.float32)[:, None, None, None] + np.float32(0.1)
    found = measured_degradation(predicted, channels, np.ones(channels.shape, bool))
    assert found.scale == pytest.approx((0.7, 1)) and found.offset == pytest.approx((0, 0.1), abs=1e-4)
    assert (found.faint, found.spurious) == (0, 0), "no channel is an affinity"


def test_what_is_unknown_is_not_looked_at(channels: NDArray[np.float32]) -> None:
    known = np.zeros(channels.shape, bool)
    known[:, :, :, :120] = True
    predicted = degrade(channels, np.random.default_rng(5), range(4))
    other = predicted.copy()
    other[:, :, :, 120:] = 1 - other[:, :, :, 120:]
    assert measured_degradation(other, channels, known, range(4)) == measured_degradation(
        predicted, channels, known, range(4)
    )
    with pytest.raises(InputError, match="0 of them known"):
        measured_degradation(predicted, channels, np.zeros_like(known), range(4))
