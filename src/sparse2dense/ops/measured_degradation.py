"""How far a 2D net's predictions are from exact channels, as the settings that degrade exact channels as much."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from sparse2dense.errors import InputError
from sparse2dense.ops.corruption import Degradation, degrade

__all__ = ["measured_degradation"]

Floats = NDArray[np.float32]
Known = NDArray[np.bool_]

SIGMAS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0)
"""Blurs that are tried, in voxels."""
AREAS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75)
"""Shares of the area, on average, that are tried for patches where boundaries are missed or invented."""
STRENGTH = (0.5, 1.0)
"""How far a boundary is lifted or invented at the heart of a patch: enough to be on the wrong side."""
DRAWS = 4
"""Degraded copies by which a share of the area is judged."""
FINE = 1.0
"""Standard deviation in voxels of the window below which a difference is noise."""
FINE_SHARE = 1 - 2 / (2 * np.pi * FINE**2) + 1 / (4 * np.pi * FINE**2)
"""Of the variance of white noise in a section, what is left when it is smoothed by that window and taken away."""


def measured_degradation(
    predicted: Floats, exact: Floats, known: Known, affinity_channels: Sequence[int] = ()
) -> Degradation:
    """Return settings of `ops.corruption.degrade` by which exact channels become as wrong as predicted ones.

    The blur is that which brings exact channels nearest to the predictions, after the best linear change of each
    channel; the noise is what of the rest is finer than a window of one voxel. How much of the area has boundaries
    missed or invented is found by trying: as many pairs shall be on the wrong side of 0.5 as in the predictions.
    Sizes of patches, and how often sections fade, stay what they are by default.

    Parameters
    ----------
    predicted, exact
        float32 (c, z, y, x) in 0..1, of the same sections: what the net says, and what follows from the labels.
    known
        bool (c, z, y, x): where `exact` is known.
    affinity_channels
        Which channels are affinities.

    Returns
    -------
    Degradation
        Ranges about what was measured, from a half to one and a half of it, or from 0 to twice for areas.

    Raises InputError when shapes differ or nothing is known.
    """
    if not predicted.shape == exact.shape == known.shape or predicted.ndim != 4 or not known.any():
        raise InputError(
            f"predictions of shape {predicted.shape}, exact channels of {exact.shape}, and {known.sum()} of them known",
            allowed="three arrays (channels, z, y, x) of one shape, with known values",
            remedy="compare sections that are annotated",
        )
    fits = [(sigma, *_linear(predicted, _blurred(exact, sigma), known)) for sigma in SIGMAS]
    sigma, scale, offset, rest = min(fits, key=lambda fit: float(np.square(fit[3][known]).mean()))
    noise = _noise(rest, known)
    found = replace(
        Degradation(),
        blur=float(sigma > 0), blur_sigma=_about(max(sigma, SIGMAS[1])),
        noise=1.0, noise_sigma=_about(noise),
        scale=(min(1.0, *scale), max(1.0, *scale)), offset=(min(0.0, *offset), max(0.0, *offset)),
        faint=0.0, faint_strength=STRENGTH, spurious=0.0, spurious_strength=STRENGTH,
    )  # fmt: skip
    chosen = list(affinity_channels)
    if not chosen:
        return found
    for name, truth in (("faint", False), ("spurious", True)):
        found = _with_area(found, name, predicted[chosen], exact[chosen], known[chosen], truth)
    return found


def _about(value: float) -> tuple[float, float]:
    return 0.5 * value, 1.5 * value


def _blurred(channels: Floats, sigma: float) -> Floats:
    return channels if sigma == 0 else gaussian_filter(channels, (0, 0, sigma, sigma), mode="nearest")


def _linear(predicted: Floats, exact: Floats, known: Known) -> tuple[list[float], list[float], Floats]:
    """Return factor and addend of each channel that bring `exact` nearest to `predicted`, and what then differs."""
    factors, addends, rest = [], [], np.zeros_like(predicted)
    for channel, (values, wanted, counts) in enumerate(zip(exact, predicted, known, strict=True)):
        factor, addend = 1.0, 0.0
        if counts.any() and np.ptp(values[counts]) > 0:
            factor, addend = map(float, np.polyfit(values[counts], wanted[counts], 1))
        factors.append(factor)
        addends.append(addend)
        rest[channel] = np.where(counts, wanted - (factor * values + addend), 0)
    return factors, addends, rest


def _noise(rest: Floats, known: Known) -> float:
    """Return the standard deviation of normal noise that is as fine as the fine part of a difference, robustly."""
    fine = rest - _blurred(rest, FINE)
    return 1.4826 * float(np.median(np.abs(fine[known]))) / FINE_SHARE**0.5


def _with_area(
    settings: Degradation, name: str, predicted: Floats, exact: Floats, known: Known, truth: bool
) -> Degradation:
    """Return `settings` with patches of one kind on as much of the area as it takes to err as often."""
    counts = known & ((exact > 0.5) == truth)
    if not counts.any():
        return settings

    def wrong(values: Floats) -> float:
        return float(((values > 0.5) != truth)[counts].mean())

    low, high = STRENGTH
    strengths = [low + (high - low) * (number + 0.5) / DRAWS for number in range(DRAWS)]

    def changed(**fields: Any) -> Degradation:
        return replace(settings, **{name + field: value for field, value in fields.items()})

    def share(area: float) -> float:
        found = []
        for seed, strength in enumerate(strengths):
            tried = changed(**{"": float(area > 0), "_area": (area, area), "_strength": (strength, strength)})
            # the same numbers for every area, which then alone makes the difference; a section that fades is wrong all
            # over, and rare enough not to be among those that were compared
            rng = np.random.default_rng(seed)
            found.append(wrong(degrade(exact, rng, range(len(exact)), replace(tried, low_contrast=0.0))))
        return float(np.mean(found))

    shares, reached = np.maximum.accumulate([share(area) for area in AREAS]), wrong(predicted)
    area = float(np.interp(reached, shares, AREAS)) if reached > shares[0] else 0.0
    return changed(**{"": float(area > 0), "_area": (0.0, min(2 * area, 1.0))})
