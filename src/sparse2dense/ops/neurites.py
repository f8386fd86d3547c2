"""Densely packed random neurites: smooth branching tubes of all calibres, and the partition of space they induce."""

from dataclasses import dataclass

import cc3d
import numpy as np
from numba import njit
from scipy import ndimage

__all__ = ["Tubes", "connected", "grow_tubes", "nearest_tube", "partition", "smooth_noise"]

STEP = 2.0  # voxels between two points of a growing tube
CELL = 3  # voxels per cell of the coarse grid on which free space is kept
CANDIDATES = 6  # directions compared at each step
LEVELS = 9  # calibres tried, from the thickest to the thinnest
FLATNESS = 0.6  # spread of the ratio of width to thickness of a tube, above 1


@dataclass(frozen=True)
class Tubes:
    """Sample points of tubes: `points` (n, 3) and `radii` (n) float32 voxels, `owners` (n) int32 from 1.

    `tangents` (n, 3) are unit vectors; `flat_axes` (n, 3) are at least as long, and a tube is thinner along its flat
    axis by the factor of that length.
    """

    points: np.ndarray
    radii: np.ndarray
    owners: np.ndarray
    flat_axes: np.ndarray
    tangents: np.ndarray


@njit(cache=True)
def _update_clearance(
    clearance: np.ndarray, points: np.ndarray, radii: np.ndarray, origin: float, reach: float
) -> None:
    """Lower `clearance` (distance in voxels from a cell's centre to the nearest tube surface) by new tube points."""
    for i in range(len(points)):
        half = radii[i] + reach
        low = np.zeros(3, np.int64)
        high = np.zeros(3, np.int64)
        for a in range(3):
            low[a] = max(0, int(np.floor((points[i, a] - half + origin) / CELL)))
            high[a] = min(clearance.shape[a], int(np.ceil((points[i, a] + half + origin) / CELL)) + 1)
        for z in range(low[0], high[0]):
            for y in range(low[1], high[1]):
                for x in range(low[2], high[2]):
                    dz = z * CELL - origin - points[i, 0]
                    dy = y * CELL - origin - points[i, 1]
                    dx = x * CELL - origin - points[i, 2]
                    d = np.sqrt(dz * dz + dy * dy + dx * dx) - radii[i]
                    if d < clearance[z, y, x]:
                        clearance[z, y, x] = d


@njit(cache=True)
def _clearance_at(clearance: np.ndarray, p: np.ndarray, origin: float) -> float:
    """Free radius at a point, or -1 outside of the grid."""
    z = int(np.rint((p[0] + origin) / CELL))
    y = int(np.rint((p[1] + origin) / CELL))
    x = int(np.rint((p[2] + origin) / CELL))
    if z < 0 or y < 0 or x < 0 or z >= clearance.shape[0] or y >= clearance.shape[1] or x >= clearance.shape[2]:
        return -1.0
    return clearance[z, y, x]


@njit(cache=True)
def _walk(
    clearance: np.ndarray,
    start: np.ndarray,
    direction: np.ndarray,
    calibre: np.ndarray,
    thinnest: float,
    bend: float,
    noise: np.ndarray,
    origin: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Random walk with momentum through free space, to where that or the grid ends: points and radii."""
    limit = len(calibre)
    points = np.empty((limit, 3))
    radii = np.empty(limit)
    p = start.copy()
    d = direction.copy()
    radius = calibre[0]
    count = 0
    while count < limit:
        free = _clearance_at(clearance, p, origin)
        if free < thinnest:
            break
        # The radius follows free space gradually, so that walls stay smooth.
        radius = max(thinnest, radius + 0.25 * (min(calibre[count], free) - radius))
        points[count] = p
        radii[count] = radius
        best = -1e9
        chosen = d
        ahead = max(2 * STEP, 1.5 * radius)
        for k in range(noise.shape[1]):
            trial = d + bend * noise[count, k]
            trial = trial / np.sqrt((trial * trial).sum())
            room = _clearance_at(clearance, p + ahead * trial, origin)
            if room < 0:
                room = calibre[count]  # leaving the volume is as good as free space
            score = (
                min(room, 1.3 * calibre[count]) + 0.5 * calibre[count] * (trial * d).sum() + 0.1 * noise[count, k, 0]
            )
            if score > best:
                best = score
                chosen = trial
        d = chosen
        p = p + STEP * d
        count += 1
    return points[:count], radii[:count]


@njit(cache=True)
def nearest_tube(
    shape: tuple[int, int, int],
    points: np.ndarray,
    radii: np.ndarray,
    owners: np.ndarray,
    flat_axes: np.ndarray,
    displacement: np.ndarray,
    slack: float,
    reach: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Distance of every voxel to the surface of the nearest tube, and whose tube it is.

    Parameters
    ----------
    shape
        Voxels (z, y, x).
    points, radii, owners, flat_axes
        As in `Tubes`.
    displacement
        (3, z, y, x) float32 voxels, added to a voxel's position before its distance is taken; at most `slack` voxels.
    reach
        Voxels beyond a tube's surface to which it is known; farther away the distance is infinite and the owner 0.

    Returns
    -------
    distance float32 (negative within a tube) and owner int32, both (z, y, x).
    """
    distance = np.full(shape, np.float32(np.inf), np.float32)
    owner = np.zeros(shape, np.int32)
    for i in range(len(points)):
        r = radii[i]
        half = r + reach + slack
        limit = (r + reach) ** 2
        p0, p1, p2 = points[i, 0], points[i, 1], points[i, 2]
        f0, f1, f2 = flat_axes[i, 0], flat_axes[i, 1], flat_axes[i, 2]
        squared = f0 * f0 + f1 * f1 + f2 * f2
        flat = (squared - 1.0) / squared
        z0, z1 = max(0, int(p0 - half)), min(shape[0], int(p0 + half) + 2)
        y0, y1 = max(0, int(p1 - half)), min(shape[1], int(p1 + half) + 2)
        x0, x1 = max(0, int(p2 - half)), min(shape[2], int(p2 + half) + 2)
        for z in range(z0, z1):
            for y in range(y0, y1):
                if (z - p0) ** 2 + (y - p1) ** 2 > half * half:
                    continue
                for x in range(x0, x1):
                    dz = z + displacement[0, z, y, x] - p0
                    dy = y + displacement[1, z, y, x] - p1
                    dx = x + displacement[2, z, y, x] - p2
                    d2 = dz * dz + dy * dy + dx * dx
                    if d2 > limit:
                        continue
                    along = dz * f0 + dy * f1 + dx * f2
                    d = np.float32(np.sqrt(d2 + flat * along * along) - r)
                    if d < distance[z, y, x]:
                        distance[z, y, x] = d
                        owner[z, y, x] = owners[i]
    return distance, owner


@njit(cache=True)
def _upsample(coarse: np.ndarray, shape: tuple[int, int, int], step: float) -> np.ndarray:
    """Trilinear interpolation of a coarse grid at every voxel of `shape`."""
    out = np.empty(shape, np.float32)
    for z in range(shape[0]):
        pz = z / step
        iz = int(pz)
        wz = np.float32(pz - iz)
        for y in range(shape[1]):
            py = y / step
            iy = int(py)
            wy = np.float32(py - iy)
            for x in range(shape[2]):
                px = x / step
                ix = int(px)
                wx = np.float32(px - ix)
                a = coarse[iz, iy, ix] * (1 - wx) + coarse[iz, iy, ix + 1] * wx
                b = coarse[iz, iy + 1, ix] * (1 - wx) + coarse[iz, iy + 1, ix + 1] * wx
                c = coarse[iz + 1, iy, ix] * (1 - wx) + coarse[iz + 1, iy, ix + 1] * wx
                d = coarse[iz + 1, iy + 1, ix] * (1 - wx) + coarse[iz + 1, iy + 1, ix + 1] * wx
                out[z, y, x] = (a * (1 - wy) + b * wy) * (1 - wz) + (c * (1 - wy) + d * wy) * wz
    return out


def smooth_noise(shape: tuple[int, int, int], scale: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise of unit variance and correlation length of about `scale` voxels, float32 (z, y, x)."""
    step = max(1.0, scale / 2)
    sigma = scale / step / 1.5
    size = [int(np.ceil(n / step)) + 2 for n in shape]
    coarse = ndimage.gaussian_filter(rng.standard_normal(size, dtype=np.float32), sigma, mode="wrap", truncate=3)
    # Variance of white noise after a 3D Gaussian filter, in the limit of a fine grid.
    coarse *= np.float32((4 * np.pi * sigma**2) ** 0.75)
    return _upsample(coarse, shape, step)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


class _Growth:
    """Free space and the tubes grown so far."""

    def __init__(
        self, shape: tuple[int, int, int], thinnest: float, bend: float, varicosity: float, rng: np.random.Generator
    ) -> None:
        self.origin = 2 * thinnest + 6
        size = [int(np.ceil((n + 2 * self.origin) / CELL)) + 1 for n in shape]
        self.clearance = np.full(size, np.float32(1e6), np.float32)
        self.thinnest, self.bend, self.rng = thinnest, bend, rng
        self.limit = int(4 * np.linalg.norm(np.array(shape) + self.origin) / STEP)
        # Walks take stretches of one pool of noise: most end early, and drawing afresh for each took most of the time.
        self.noise = rng.standard_normal((20 * self.limit, CANDIDATES, 3))
        swelling = ndimage.gaussian_filter1d(rng.standard_normal(20 * self.limit), 12.0, mode="wrap")
        self.swelling = np.exp(varicosity * np.clip(swelling / swelling.std(), -1.5, 2.0))
        self.parts: list[tuple[np.ndarray, np.ndarray, int, float]] = []

    def walk(self, start: np.ndarray, direction: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
        """Points and radii of a tube of about `radius` from `start` on."""
        stretches = [slice(at, at + self.limit) for at in self.rng.integers(0, 19 * self.limit, 2)]
        calibre, noise = radius * self.swelling[stretches[0]], self.noise[stretches[1]]
        return _walk(self.clearance, start, direction, calibre, self.thinnest, self.bend, noise, self.origin)

    def keep(self, points: np.ndarray, radii: np.ndarray, owner: int, flatness: float) -> None:
        """Add a tube and take its space."""
        self.parts.append((points, radii, owner, flatness))
        _update_clearance(self.clearance, points, radii, self.origin, max(12.0, 2.0 * float(radii.max())))

    def trunk(self, start: np.ndarray, radius: float, shortest: float, owner: int) -> bool:
        """Grow a tube both ways from `start`; False where it would be shorter than `shortest` voxels."""
        direction = _unit(self.rng.standard_normal(3))
        one, one_radii = self.walk(start, direction, radius)
        other, other_radii = self.walk(start, -direction, radius)
        points = np.concatenate([one[::-1], other[1:]])
        radii = np.concatenate([one_radii[::-1], other_radii[1:]])
        if len(points) * STEP < shortest:
            return False
        self.keep(points, radii, owner, 1.0 + abs(self.rng.normal(0, FLATNESS)))
        return True

    def branch(self, trunk: tuple[np.ndarray, np.ndarray, int, float]) -> None:
        """Grow a side branch from a random point of a tube, if there is room."""
        points, radii, owner, flatness = trunk
        at = int(self.rng.integers(len(points)))
        radius = max(self.thinnest, radii[at] * self.rng.uniform(0.4, 0.8))
        directions = _unit(self.rng.standard_normal((8, 3)))
        starts = points[at] + (radii[at] + radius + 1.5) * directions
        room = [_clearance_at(self.clearance, s, self.origin) for s in starts]
        best = int(np.argmax(room))
        if room[best] < self.thinnest:
            return
        grown, calibre = self.walk(starts[best], directions[best], radius)
        if len(grown) * STEP < 4 * radius:
            return
        steps = max(2, int(np.linalg.norm(points[at] - grown[0]) / STEP))
        neck = np.linspace(points[at], grown[0], steps, endpoint=False)
        thickness = np.concatenate([np.full(steps, calibre[0]), calibre])
        self.keep(np.concatenate([neck, grown]), thickness, owner, flatness)


def grow_tubes(
    shape: tuple[int, int, int],
    *,
    thinnest: float,
    thickest: float,
    bend: float,
    varicosity: float,
    branches: float,
    rng: np.random.Generator,
) -> Tubes:
    """Fill a box with smooth, branching tubes that avoid each other, thick ones first, thin ones in the gaps left.

    Parameters
    ----------
    shape
        Box in voxels (z, y, x); tubes also run through a margin around it, so that its faces look like its inside.
    thinnest, thickest
        Radii in voxels; each of the calibres between them fills about the same share of the volume.
    bend
        Random change of direction per step of two voxels; 0 is straight.
    varicosity
        Relative variation of the radius along a tube.
    branches
        Mean number of side branches of a tube.
    """
    growth = _Growth(shape, thinnest, bend, varicosity, rng)
    clearance = growth.clearance
    untried = np.ones(clearance.shape, bool)
    owner = 0
    for level, radius in enumerate(np.geomspace(thickest, thinnest, LEVELS)):
        last = level == LEVELS - 1
        untried[...] = True
        goal = -1 if last else (clearance > 0).sum() - clearance.size / LEVELS
        while (clearance > 0).sum() > goal:
            room = np.flatnonzero((clearance >= (1.15 * thinnest if last else radius)) & untried)
            if len(room) == 0:
                break
            cell = np.unravel_index(int(rng.choice(room)), clearance.shape)
            start = np.array(cell) * CELL - growth.origin
            if not growth.trunk(start, radius * rng.uniform(0.85, 1.15), (2 if last else 6) * radius, owner + 1):
                untried[tuple(slice(max(0, c - 1), c + 2) for c in cell)] = False
                continue
            owner += 1
            trunk = growth.parts[-1]
            for _ in range(rng.poisson(branches)):
                growth.branch(trunk)
    return _sampled(growth.parts, rng)


def _sampled(parts: list[tuple[np.ndarray, np.ndarray, int, float]], rng: np.random.Generator) -> Tubes:
    """One table of all tube points, thinned where tubes are thick: a third of a radius apart."""
    columns: list[tuple[np.ndarray, ...]] = []
    for points, radii, owner, flatness in parts:
        tangents = _unit(np.gradient(points, axis=0)) if len(points) > 1 else np.array([[1.0, 0.0, 0.0]])
        flat = rng.standard_normal(3)
        flat_axes = _unit(flat - (tangents @ flat)[:, None] * tangents) * flatness
        travelled = np.arange(len(points)) * STEP
        spacing = np.maximum(STEP, radii / 3)
        keep = np.unique(
            np.concatenate(
                [np.searchsorted(np.cumsum(STEP / spacing), np.arange(travelled[-1] // STEP + 1)), [len(points) - 1]]
            )
        )
        keep = keep[keep < len(points)]
        columns.append((points[keep], radii[keep], np.full(len(keep), owner), flat_axes[keep], tangents[keep]))
    points, radii, owners, flat_axes, tangents = (np.concatenate(c) for c in zip(*columns, strict=True))
    return Tubes(
        points.astype(np.float32),
        radii.astype(np.float32),
        owners.astype(np.int32),
        flat_axes.astype(np.float32),
        tangents.astype(np.float32),
    )


def partition(shape: tuple[int, int, int], tubes: Tubes, displacement: np.ndarray, reach: float) -> np.ndarray:
    """Give every voxel to the tube with the nearest surface, int32 owners; those out of `reach` follow the others."""
    slack = float(np.abs(displacement).max())
    _, owner = nearest_tube(shape, tubes.points, tubes.radii, tubes.owners, tubes.flat_axes, displacement, slack, reach)
    if (owner == 0).any():
        _, nearest = ndimage.distance_transform_edt(owner == 0, return_indices=True)
        owner = owner[tuple(nearest)]
    return owner


def connected(labels: np.ndarray, minimum_size: int) -> np.ndarray:
    """Make every label one face-connected component of at least `minimum_size` voxels, numbered from 1 (uint64).

    Separate pieces of a label become labels of their own; a smaller piece joins the neighbour with which it
    shares most faces. Label 0 stays 0, and takes a small piece only where that piece has no other neighbour.
    """
    components = cc3d.connected_components(np.ascontiguousarray(labels), connectivity=6).astype(np.int64)
    sizes = np.bincount(components.ravel())
    small = (sizes < minimum_size) & (np.arange(len(sizes)) > 0)
    while small.any() and not small[1:].all():
        target = _widest_neighbours(components, small)
        if (target == np.arange(len(target))).all():
            break
        components = target[components]
        sizes = np.bincount(components.ravel(), minlength=len(sizes))
        small = (sizes < minimum_size) & (sizes > 0) & (np.arange(len(sizes)) > 0)
    present = np.bincount(components.ravel(), minlength=1) > 0
    present[0] = False
    return np.where(present, np.cumsum(present), 0).astype(np.uint64)[components]


def _widest_neighbours(components: np.ndarray, small: np.ndarray) -> np.ndarray:
    """For every small component the component it shares most faces with; itself for all others."""
    target = np.arange(len(small))
    pairs = []
    for axis in range(components.ndim):
        lower = np.moveaxis(components, axis, 0)[:-1].ravel()
        upper = np.moveaxis(components, axis, 0)[1:].ravel()
        touching = (lower != upper) & (small[lower] | small[upper])
        pairs += [np.stack([lower[touching], upper[touching]]), np.stack([upper[touching], lower[touching]])]
    (piece, neighbour), faces = np.unique(np.concatenate(pairs, axis=1), axis=1, return_counts=True)
    wanted = small[piece]
    piece, neighbour, faces = piece[wanted], neighbour[wanted], faces[wanted]
    # Last entry per piece wins: label 0 and small neighbours are the last resort, then fewer faces.
    order = np.lexsort((neighbour, faces, ~small[neighbour], neighbour > 0, piece))
    target[piece[order]] = neighbour[order]
    # Two small pieces that choose each other both take the lower number, so that every pass makes progress.
    mutual = target[target] == np.arange(len(target))
    return np.where(mutual, np.minimum(target, np.arange(len(target))), target)
