"""Augmentation of image crops with their labels.

All spatial changes of a crop (place, flips, transposition, rotation, scale, elastic deformation, shifts of sections)
are one map of coordinates, so that an image is interpolated once and labels are looked up, never interpolated.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["Augmentation", "Warp", "draw_warp", "inside", "sample_image", "sample_labels", "shade"]

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Augmentation:
    """Probabilities and ranges; every probability at 0 leaves a crop as it is.

    Lengths are in voxels, angles in degrees; intensities are fractions of the full range. `elastic_jitter` is the
    standard deviation of the displacement of control points `elastic_spacing` apart. What is drawn per section
    differs from section to section.
    """

    flip: float = 0.5
    transpose: float = 0.5
    rotation: float = 0.5
    rotation_degrees: float = 45.0
    scale: float = 0.5
    scale_range: tuple[float, float] = (0.85, 1.18)
    elastic: float = 0.5
    elastic_spacing: float = 32.0
    elastic_jitter: float = 2.0
    shift: float = 0.2
    shift_voxels: float = 2.0
    intensity: float = 0.5
    intensity_scale: float = 0.15
    intensity_shift: float = 0.1
    gamma: float = 0.5
    gamma_range: tuple[float, float] = (0.75, 1.33)
    noise: float = 0.3
    noise_deviation: float = 0.06
    blur: float = 0.2
    blur_sigma: float = 1.2
    missing: float = 0.03
    low_contrast: float = 0.05

    def none(self) -> "Augmentation":
        """The same ranges with every probability at 0."""
        nothing: dict[str, Any] = dict.fromkeys(PROBABILITIES, 0.0)
        return replace(self, **nothing)


PROBABILITIES = (
    *("flip", "transpose", "rotation", "scale", "elastic", "shift"),
    *("intensity", "gamma", "noise", "blur", "missing", "low_contrast"),
)


@dataclass(frozen=True)
class Warp:
    """Where every voxel of a crop comes from.

    Parameters
    ----------
    coordinates
        float32 (axes, *crop shape), in voxels of the source array.
    turn
        float32 (axes, axes): flips, transposition and rotation alone, from a step in the crop to one in the source.
    """

    coordinates: Floats
    turn: Floats


def draw_warp(
    shape: Sequence[int],
    centre: Sequence[float] | NDArray,
    rng: np.random.Generator,
    augmentation: Augmentation,
    isotropic: bool = False,
) -> Warp:
    """Draw the map of coordinates of a crop.

    Parameters
    ----------
    shape
        Shape of the crop, (y, x) or (z, y, x).
    centre
        Voxel of the source that the crop's middle shows.
    isotropic
        Whether z may be exchanged with y and x (three axes only). Rotation, scale and elastic deformation act in the
        y, x plane, where every microscope resolves alike.
    """
    ndim = len(shape)
    axes = [np.arange(n, dtype=np.float32) - (n - 1) / 2 for n in shape]
    grid = np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)
    matrix = np.eye(ndim, dtype=np.float32)
    for axis in range(ndim):
        if rng.random() < augmentation.flip:
            matrix[axis] *= -1
    if rng.random() < augmentation.transpose:
        order = np.concatenate([np.arange(ndim - 2), np.array([ndim - 1, ndim - 2])])
        if isotropic and ndim == 3:
            order = rng.permutation(3)
        matrix = matrix[order]
    plane = np.eye(2, dtype=np.float32)
    if rng.random() < augmentation.rotation:
        angle = np.deg2rad(rng.uniform(-augmentation.rotation_degrees, augmentation.rotation_degrees))
        plane = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], np.float32)
    full = np.eye(ndim, dtype=np.float32)
    full[-2:, -2:] = plane
    turn = matrix @ full
    if rng.random() < augmentation.scale:
        low, high = augmentation.scale_range
        full[-2:, -2:] *= np.float32(np.exp(rng.uniform(np.log(low), np.log(high))))
    coordinates = np.tensordot(matrix @ full, grid, axes=1).astype(np.float32)
    if rng.random() < augmentation.elastic:
        coordinates[-2:] += _displacement(shape, rng, augmentation.elastic_spacing, augmentation.elastic_jitter)
    if ndim == 3:
        for z in range(shape[0]):
            if rng.random() < augmentation.shift:
                coordinates[1:, z] += rng.normal(0, augmentation.shift_voxels, 2).astype(np.float32)[:, None, None]
    coordinates += np.asarray(centre, np.float32).reshape(-1, *[1] * ndim)
    return Warp(coordinates, turn)


def _displacement(shape: Sequence[int], rng: np.random.Generator, spacing: float, jitter: float) -> Floats:
    """A smooth displacement in y and x, float32 (2, *shape): cubic interpolation of random control points."""
    spatial = tuple(shape[-2:])
    points = [int(np.ceil(n / spacing)) + 3 for n in spatial]
    control = rng.normal(0, jitter, (2, *points)).astype(np.float32)
    where = np.meshgrid(*[np.arange(n, dtype=np.float32) / spacing + 1 for n in spatial], indexing="ij")
    field = np.stack([ndimage.map_coordinates(c, where, order=3, prefilter=False, mode="nearest") for c in control])
    return field if len(shape) == 2 else np.broadcast_to(field[:, None], (2, *shape))


def sample_image(image: NDArray, warp: Warp) -> Floats:
    """The crop of `image` (*axes) that `warp` maps, linearly interpolated, reflected outside; float32."""
    return ndimage.map_coordinates(image, warp.coordinates, output=np.float32, order=1, mode="reflect")


def sample_labels(labels: NDArray, warp: Warp) -> NDArray:
    """The crop of `labels` (*axes, any dtype) that `warp` maps: the nearest voxel, 0 outside; ids stay exact."""
    index = np.rint(warp.coordinates).astype(np.intp)
    for axis, size in enumerate(labels.shape):
        np.clip(index[axis], 0, size - 1, out=index[axis])
    return np.where(inside(labels.shape, warp), labels[tuple(index)], labels.dtype.type(0))


def inside(shape: Sequence[int], warp: Warp) -> NDArray[np.bool_]:
    """Which voxels of the crop that `warp` maps come from inside an array of `shape`."""
    within = np.ones(warp.coordinates.shape[1:], bool)
    for coordinate, size in zip(warp.coordinates, shape, strict=True):
        within &= (coordinate >= -0.5) & (coordinate < size - 0.5)
    return within


def shade(sections: Floats, rng: np.random.Generator, augmentation: Augmentation) -> Floats:
    """Change the intensities of `sections`, float32 (z, y, x) in [0, 1], section by section; returns the same shape.

    Intensity and gamma are drawn once for the crop and a tenth as wide for every section; noise and blur are drawn
    for the crop; missing and low-contrast sections are drawn for every section. Blur stays within a section.
    """
    result = np.array(sections, np.float32)
    if rng.random() < augmentation.gamma:
        low, high = augmentation.gamma_range
        result = np.clip(result, 0, 1) ** np.float32(np.exp(rng.uniform(np.log(low), np.log(high))))
    if rng.random() < augmentation.intensity:
        scale = 1 + augmentation.intensity_scale * _wobble(len(result), rng)
        shift = augmentation.intensity_shift * _wobble(len(result), rng)
        mean = result.mean()
        result = (result - mean) * scale + mean + shift
    if rng.random() < augmentation.blur:
        sigma = rng.uniform(0, augmentation.blur_sigma)
        result = ndimage.gaussian_filter(result, (0, sigma, sigma))
    if rng.random() < augmentation.noise:
        deviation = rng.uniform(0, augmentation.noise_deviation)
        result += deviation * rng.standard_normal(result.shape, dtype=np.float32)
    for section in result:
        chance = rng.random()
        if chance < augmentation.missing:
            section[:] = 0
        elif chance < augmentation.missing + augmentation.low_contrast:
            section[:] = section.mean() + (section - section.mean()) * 0.1
    return result.astype(np.float32)


def _wobble(sections: int, rng: np.random.Generator) -> Floats:
    """One draw from [-1, 1] for all sections and a tenth as much for each; float32 (z, 1, 1)."""
    return (rng.uniform(-1, 1) + 0.1 * rng.uniform(-1, 1, (sections, 1, 1))).astype(np.float32)
