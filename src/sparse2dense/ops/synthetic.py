"""Synthetic 3D labels: random objects that fill space, from which a net learns how sections become volumes.

Three kinds of shape, after the label generators of Bootstrapper and its ancestor: tubes that run through sections,
a tessellation into irregular cells, and points expanded into blobs. All are one computation: seeds with sizes, a
distorted space, and for each voxel the seed nearest in it (a power diagram). That takes the time of a few passes over
the volume, where blurring noise and flooding it takes seconds.
"""

from dataclasses import dataclass, field
from typing import Literal

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from sparse2dense.errors import InputError
from sparse2dense.ops.power_diagram import nearest_seed

__all__ = [
    "NEUROPIL",
    "Shapes",
    "Variant",
    "log_uniform",
    "smooth_noise",
    "synthetic_labels",
]

Variant = Literal["tubes", "tessellation", "points", "draw"]
Range = tuple[float, float]
FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Shapes:
    """What synthetic objects look like; lengths are in voxels of a section, ranges are drawn from once per sample.

    Parameters
    ----------
    diameter
        Typical diameter of objects, across if they are elongated; drawn log-uniformly.
    size_spread
        Standard deviation of the logarithm of the diameters within a sample.
    stretch
        How much longer than wide the cells of a tessellation are, in a random direction; drawn log-uniformly.
    joined
        Fraction of the cells of a tessellation that are joined with their nearest neighbour.
    roughness
        Amplitude of the distortion of outlines, relative to the diameter.
    section_jitter
        Amplitude in voxels of the distortion that each section has for itself.
    straightness
        Diameters along which a tube keeps its direction.
    branches
        Branches per tube.
    fill
        Volume of the tubes relative to the sample, counting overlaps as often as they occur; what they leave free
        goes to the nearest, or becomes an object.
    matrix_probability
        Chance that space far from all tubes becomes one object of its own instead of thickening them.
    hole_probability, hole_divisors
        Chance, for each divisor, that the labels it divides become background.
    debris
        Connected pieces smaller than this many voxels become background.
    """

    diameter: Range = (6.0, 60.0)
    size_spread: Range = (0.1, 0.6)
    stretch: Range = (1.0, 4.0)
    joined: Range = (0.0, 0.5)
    roughness: Range = (0.1, 0.4)
    section_jitter: Range = (0.0, 1.0)
    straightness: Range = (1.5, 10.0)
    branches: Range = (0.0, 1.0)
    fill: Range = (1.0, 3.0)
    matrix_probability: float = 0.2
    hole_probability: float = 0.2
    hole_divisors: tuple[int, ...] = field(default=(3, 5))
    debris: int = 8


NEUROPIL = Shapes()
"""Default: calibres from the thinnest neurites to cell bodies."""


def synthetic_labels(
    shape: tuple[int, int, int],
    rng: np.random.Generator,
    variant: Variant = "draw",
    anisotropy: Range = (1.0, 4.0),
    shapes: Shapes = NEUROPIL,
) -> NDArray[np.uint32]:
    """Draw labels of a volume filled with random objects.

    Parameters
    ----------
    shape
        (z, y, x) voxels.
    rng
        Source of all randomness; the same state gives the same labels.
    variant
        `tubes`, `tessellation`, `points`, or `draw` for a random one of the three.
    anisotropy
        Range of the distance of sections in voxels of a section, drawn uniformly once per sample. For a volume with
        voxels of (vz, vy, vx), (1, max(2, vz / vy)) is a good choice.
    shapes
        What the objects look like.

    Returns
    -------
    uint32 (z, y, x); each label is one face-connected object, numbered from 1; 0 is background.
    """
    if variant not in ("tubes", "tessellation", "points", "draw"):
        raise InputError(
            f"variant: {variant}", allowed="tubes, tessellation, points or draw", remedy="correct the variant"
        )
    if variant == "draw":
        variant = ("tubes", "tessellation", "points")[rng.integers(3)]
    spacing = np.array([rng.uniform(*anisotropy), 1.0, 1.0])
    diameter = log_uniform(rng, shapes.diameter)
    extent = np.array(shape) * spacing
    stretch = np.eye(3)
    reach = np.inf
    if variant == "tubes":
        seeds, radii, owners = _tubes(extent, diameter, rng, shapes)
        if rng.random() < shapes.matrix_probability:
            reach = 0.25 * diameter
    elif variant == "tessellation":
        stretch = _stretch(rng, log_uniform(rng, shapes.stretch))
        seeds, radii, owners = _cells(extent, diameter, stretch, rng, shapes)
    else:
        diameter = max(diameter, 12.0)
        seeds, radii, owners = _cells(extent, diameter, stretch, rng, shapes)
        reach = diameter * rng.uniform(0.1, 0.4)
    points = _distorted_space(shape, spacing, diameter, rng, shapes)
    start = np.clip(np.rint(seeds / spacing), 0, np.array(shape) - 1).astype(np.int32)
    transform = stretch.astype(np.float32)
    points = (transform @ points.reshape(3, -1)).reshape(points.shape)
    nearest, cost = nearest_seed(points, (seeds @ stretch.T).astype(np.float32), radii.astype(np.float32), start)
    labels = owners[nearest]
    if np.isfinite(reach):
        labels[cost > np.float32(reach * reach)] = owners.max() + 1
    return _finish(labels, rng, shapes)


def smooth_noise(
    shape: tuple[int, ...], spacing: tuple[float, ...], rng: np.random.Generator, count: int = 1
) -> FloatArray:
    """Random smooth fields of mean 0 and variance 1: float32 (count, *shape), for 3D shapes.

    Cubic splines through normal values `spacing` voxels apart along each axis; along an axis of spacing 1 or less the
    values are independent.
    """
    matrices = [_spline_matrix(n, s, rng.random()) if s > 1 else None for n, s in zip(shape, spacing, strict=True)]
    z, y, x = matrices
    knots = tuple(n if m is None else m.shape[1] for n, m in zip(shape, matrices, strict=True))
    values = rng.standard_normal((count, *knots), dtype=np.float32)
    if y is not None:
        values = y @ values
    if x is not None:
        values = values @ x.T
    if z is not None:
        values = (z @ values.reshape(count, knots[0], -1)).reshape(count, *shape)
    return values


def _spline_matrix(size: int, spacing: float, phase: float) -> FloatArray:
    """(size, knots) weights of cubic B-splines at equally spaced knots, scaled to keep the variance of the values."""
    at = np.arange(size) / spacing + phase + 1.0
    knots = int(np.floor(at[-1])) + 3
    t = np.abs(at[:, np.newaxis] - np.arange(knots)[np.newaxis])
    weights = np.where(t < 1, 2 / 3 - t**2 + t**3 / 2, np.where(t < 2, (2 - t) ** 3 / 6, 0.0))
    return (weights / np.sqrt((weights**2).sum(axis=1, keepdims=True))).astype(np.float32)


def log_uniform(rng: np.random.Generator, limits: Range) -> float:
    """Draw a number whose logarithm is uniform between those of `limits`."""
    return float(np.exp(rng.uniform(np.log(limits[0]), np.log(limits[1]))))


def _directions(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    vectors = rng.standard_normal((count, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _stretch(rng: np.random.Generator, factor: float) -> NDArray[np.float64]:
    """Matrix that shortens distances along a random direction by `factor`, so that cells become longer along it."""
    along = _directions(rng, 1)
    return np.eye(3) + (1.0 / factor - 1.0) * along.T @ along


def _distorted_space(
    shape: tuple[int, int, int], spacing: NDArray[np.float64], diameter: float, rng: np.random.Generator, shapes: Shapes
) -> FloatArray:
    """Where each voxel looks for its nearest seed: (3, z, y, x), its own position distorted on two scales."""
    amplitude = diameter * rng.uniform(*shapes.roughness)
    wave = max(0.8 * diameter, 4.0)
    points = smooth_noise(shape, (wave / spacing[0], wave, wave), rng, 3)
    points *= np.float32(0.5 * amplitude)
    wave = max(0.25 * diameter, 4.0)
    fine = smooth_noise(shape, (wave / spacing[0], wave, wave), rng, 2)
    fine *= np.float32(0.2 * amplitude)
    points[1:] += fine
    jitter = smooth_noise(shape, (1.0, 10.0, 10.0), rng, 2)
    jitter *= np.float32(rng.uniform(*shapes.section_jitter))
    points[1:] += jitter
    for axis, (n, s) in enumerate(zip(shape, spacing, strict=True)):
        line = (np.arange(n) * s).astype(np.float32)
        points[axis] += line.reshape([-1 if a == axis else 1 for a in range(3)])
    return points


def _cells(
    extent: NDArray[np.float64], diameter: float, stretch: NDArray[np.float64], rng: np.random.Generator, shapes: Shapes
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.uint32]]:
    """Seeds of cells: positions (n, 3), radii (n), owners (n) from 1."""
    margin = min(0.5 * diameter, 20.0)
    volume = float(np.prod(extent + 2 * margin))
    cell = np.pi / 6 * diameter**3 / np.linalg.det(stretch)
    count = max(2, round(volume / cell))
    seeds = rng.uniform(-margin, extent + margin, (count, 3))
    spread = rng.uniform(*shapes.size_spread)
    radii = 0.5 * diameter * np.minimum(np.exp(spread * rng.standard_normal(count) - spread), 2.0)
    owners = np.arange(1, count + 1, dtype=np.uint32)
    joins = rng.random(count) < rng.uniform(*shapes.joined)
    if joins.any():
        at = seeds @ stretch.T
        _, nearest = cKDTree(at).query(at[joins], k=2)
        owners[joins] = owners[np.asarray(nearest)[:, 1]]
    return seeds, radii, owners


def _tubes(
    extent: NDArray[np.float64], diameter: float, rng: np.random.Generator, shapes: Shapes
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.uint32]]:
    """Seeds along random curves, with branches: positions (n, 3), radii (n), owners (n) from 1."""
    margin = 0.5 * diameter
    lower, upper = np.full(3, -margin), extent + margin
    length = float(np.linalg.norm(upper - lower))
    spread = rng.uniform(*shapes.size_spread)
    mean_area = np.pi / 4 * diameter**2 * np.exp(2 * spread**2)
    # a curve that starts anywhere in the box stays inside for about half of the diagonal
    wanted = rng.uniform(*shapes.fill) * np.prod(upper - lower) / (mean_area * 0.5 * length)
    count = max(3, round(wanted / (1.0 + 0.5 * np.mean(shapes.branches))))
    begin = rng.uniform(lower, upper, (count, 3))
    heading = _directions(rng, count)
    if rng.random() < 0.5:
        bundle = _directions(rng, 1) * rng.choice([-1.0, 1.0], (count, 1)) + rng.uniform(0.1, 1.0) * heading
        heading = bundle / np.linalg.norm(bundle, axis=1, keepdims=True)
    radii = 0.5 * diameter * np.exp(spread * rng.standard_normal(count))
    owners = np.arange(1, count + 1, dtype=np.uint32)
    bend = 1.0 / np.sqrt(log_uniform(rng, shapes.straightness) * diameter)
    walks = [_walk(begin, sign * heading, radii, owners, (lower, upper), bend, rng) for sign in (1.0, -1.0)]
    points, sizes, owner = (np.concatenate(parts) for parts in zip(*walks, strict=True))
    branches = rng.poisson(rng.uniform(*shapes.branches) * count)
    if branches and len(points):
        parent = rng.integers(len(points), size=branches)
        radii = np.maximum(sizes[parent] * rng.uniform(0.4, 0.9, branches), 2.0)
        walks.append(_walk(points[parent], _directions(rng, branches), radii, owner[parent], (lower, upper), bend, rng))
        points, sizes, owner = (np.concatenate(parts) for parts in zip(*walks, strict=True))
    return points, sizes, owner


def _walk(
    begin: NDArray[np.float64],
    heading: NDArray[np.float64],
    radii: NDArray[np.float64],
    owners: NDArray[np.uint32],
    box: tuple[NDArray[np.float64], NDArray[np.float64]],
    bend: float,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.uint32]]:
    """Random walks with momentum, all tubes at once, until they leave the box or end: positions, radii, owners."""
    at, heading, calibre = begin.copy(), heading.copy(), np.zeros(len(begin))
    step = np.maximum(0.7 * radii, 1.5)
    left = rng.exponential(1.5 * float(np.linalg.norm(box[1] - box[0])), len(begin))
    alive = np.arange(len(begin))
    found: list[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.uint32]]] = []
    while len(alive):
        found.append((at[alive], radii[alive] * np.exp(calibre[alive]), owners[alive]))
        s = step[alive, np.newaxis]
        turned = heading[alive] + bend * np.sqrt(s) * rng.standard_normal((len(alive), 3))
        heading[alive] = turned / np.linalg.norm(turned, axis=1, keepdims=True)
        at[alive] += s * heading[alive]
        # varicosities: the logarithm of the calibre wanders and returns
        calibre[alive] = 0.9 * calibre[alive] + 0.1 * rng.standard_normal(len(alive))
        left[alive] -= step[alive]
        inside = ((at[alive] >= box[0]) & (at[alive] <= box[1])).all(axis=1)
        alive = alive[inside & (left[alive] > 0)]
    points, sizes, owner = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return points, sizes, owner


def _finish(labels: NDArray[np.uint32], rng: np.random.Generator, shapes: Shapes) -> NDArray[np.uint32]:
    """Give every connected piece its own label, and take debris and, by chance, whole objects away."""
    pieces = cc3d.connected_components(labels, connectivity=6, out_dtype=np.uint32)
    sizes = np.bincount(pieces.ravel())
    keep = sizes >= shapes.debris
    keep[0] = False
    for divisor in shapes.hole_divisors:
        if rng.random() < shapes.hole_probability:
            keep[::divisor] = False
    names = np.zeros(len(sizes), np.uint32)
    names[keep] = np.arange(1, keep.sum() + 1, dtype=np.uint32)
    return names[pieces]
