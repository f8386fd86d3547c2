"""The grey levels of a phantom: membranes, cytoplasm, organelles."""

import edt
import numpy as np

from sparse2dense.ops.neurites import Tubes, nearest_tube, smooth_noise

__all__ = ["render"]

CYTOPLASM = 164.0
MEMBRANE = 74.0
EXTRACELLULAR = 172.0
MITOCHONDRION = 84.0


def render(
    objects: np.ndarray,
    tubes: Tubes,
    displacement: np.ndarray,
    voxel_nm: float,
    *,
    membrane_nm: float,
    membrane_contrast: float,
    membrane_fading: float,
    mitochondria: float,
    vesicles: float,
    microtubules: float,
    vacuoles: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw objects as an electron microscope shows them, without noise: float32 (z, y, x) grey levels.

    Parameters
    ----------
    objects
        Labels (z, y, x) on an isotropic grid; 0 is extracellular space.
    tubes, displacement
        Those that the objects were made from; organelles lie along the tubes.
    voxel_nm
        Edge of a voxel.
    membrane_nm, membrane_contrast, membrane_fading, mitochondria, vesicles, microtubules, vacuoles
        As in `PhantomSettings`.
    """
    shape = objects.shape
    depth = edt.edt(np.ascontiguousarray(objects.astype(np.uint32) + 1), black_border=False, parallel=1) - 0.5
    image = _cytoplasm(objects, voxel_nm, rng)
    clear = np.clip((depth * voxel_nm - 14) / 14, 0, 1)  # organelles keep off the membrane
    box = _Box(shape, displacement, voxel_nm, clear)
    _draw_microtubules(image, tubes, box, microtubules, rng)
    _draw_vesicles(image, tubes, box, vesicles, rng)
    _draw_vacuoles(image, tubes, box, vacuoles, rng)
    _draw_mitochondria(image, depth, tubes, box, mitochondria, rng)

    width = membrane_nm / voxel_nm / 2.355
    contrast = membrane_contrast + membrane_fading * smooth_noise(shape, 200 / voxel_nm, rng)
    contrast += 0.4 * membrane_fading * smooth_noise(shape, 50 / voxel_nm, rng)
    # Synapses: here and there the membrane is darker and thicker.
    synapse = np.clip(smooth_noise(shape, 130 / voxel_nm, rng) - 2.2, 0, 1)
    widened = width * (1 + 1.5 * synapse)
    # Extracellular space is seen between the membranes, so these don't reach far into it.
    within = np.where(objects == 0, 1.2 * depth, depth)
    opacity = np.clip(contrast + synapse, 0.12, 1.15) * np.exp(-0.5 * (within / widened) ** 2)
    image += opacity * (MEMBRANE - image)
    return image


class _Box:
    """Where organelles are drawn: the grid, its distortion, and `clear`, 0 at membranes and 1 away from them."""

    def __init__(
        self, shape: tuple[int, int, int], displacement: np.ndarray, voxel_nm: float, clear: np.ndarray
    ) -> None:
        self.shape, self.displacement, self.voxel_nm, self.clear = shape, displacement, voxel_nm, clear
        self.slack = float(np.abs(displacement).max())
        self.cubic_micrometres = float(np.prod(shape)) * voxel_nm**3 / 1e9

    def distance(
        self, points: np.ndarray, radii: np.ndarray, owners: np.ndarray, reach: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Distance in voxels to bodies made of spheres, and which body it is."""
        points, radii, owners = points.astype(np.float32), radii.astype(np.float32), owners.astype(np.int32)
        flat_axes = np.zeros_like(points)
        flat_axes[:, 0] = 1
        return nearest_tube(self.shape, points, radii, owners, flat_axes, self.displacement, self.slack, reach)


def _cytoplasm(objects: np.ndarray, voxel_nm: float, rng: np.random.Generator) -> np.ndarray:
    """Grey per object, granular and clouded, each object more or less so."""
    count = int(objects.max()) + 1
    grey = CYTOPLASM + 16 * np.clip(rng.standard_normal(count), -2.2, 1.8)
    grey = (grey - 28 * (rng.random(count) < 0.12)).astype(np.float32)  # some cells are dark
    grain = rng.uniform(4, 14, count).astype(np.float32)
    grain[rng.random(count) < 0.2] += 8  # and some are full of granules
    grey[0], grain[0] = EXTRACELLULAR, 2
    index = objects.astype(np.int64)
    image = grey[index] + grain[index] * smooth_noise(objects.shape, 22 / voxel_nm, rng)
    image += 7 * smooth_noise(objects.shape, 90 / voxel_nm, rng)
    return image


def _chosen(tubes: Tubes, box: _Box, minimum_nm: float) -> np.ndarray:
    """Indices of tube points within the box whose radius is at least `minimum_nm`."""
    inside = (tubes.points >= 0).all(1) & (tubes.points < np.array(box.shape)).all(1)
    return np.flatnonzero(inside & (tubes.radii * box.voxel_nm >= minimum_nm))


def _run(tubes: Tubes, start: int, length: float) -> np.ndarray:
    """Indices of the points of one tube from `start` on, for `length` voxels."""
    stop = start + 1
    travelled = 0.0
    while stop < len(tubes.owners) and tubes.owners[stop] == tubes.owners[start]:
        step = float(np.linalg.norm(tubes.points[stop] - tubes.points[stop - 1]))
        if step > tubes.radii[stop] + 4 or travelled + step > length:
            break
        travelled += step
        stop += 1
    return np.arange(start, stop)


def _dense_path(points: np.ndarray, spacing: float) -> np.ndarray:
    """A polyline with points `spacing` voxels apart."""
    if len(points) < 2:
        return points
    travelled = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    at = np.arange(0, travelled[-1], spacing)
    return np.stack([np.interp(at, travelled, points[:, axis]) for axis in range(3)], axis=1)


def _draw_mitochondria(
    image: np.ndarray, depth: np.ndarray, tubes: Tubes, box: _Box, amount: float, rng: np.random.Generator
) -> None:
    """Dark bodies along thick neurites, with an outline, a pale gap around it, and cristae inside."""
    eligible = _chosen(tubes, box, 65)
    wanted = 0.1 * amount * float(np.prod(box.shape))
    parts: list[np.ndarray] = []
    sizes: list[np.ndarray] = []
    taken = np.zeros(len(tubes.owners), bool)
    volume = 0.0
    for start in rng.permutation(eligible):
        run = _run(tubes, int(start), rng.uniform(150, 900) / box.voxel_nm)
        if volume >= wanted or taken[run].any() or len(run) < 2:
            continue
        taken[max(0, run[0] - 3) : run[-1] + 4] = True
        radius = min(float(tubes.radii[run].min()) * rng.uniform(0.6, 1.0), rng.uniform(110, 190) / box.voxel_nm)
        aside = rng.standard_normal(3)
        aside -= (tubes.tangents[start] @ aside) * tubes.tangents[start]
        aside *= 0.9 * max(0.0, float(tubes.radii[run].min()) - radius - 3) / max(float(np.linalg.norm(aside)), 1e-6)
        path = _dense_path(tubes.points[run] + aside * rng.uniform(0, 1), 2.0)
        if len(path) == 0:
            continue
        parts.append(path)
        sizes.append(radius * (1 + 0.12 * np.sin(np.arange(len(path)) * rng.uniform(0.1, 0.4))))
        volume += np.pi * radius**2 * 2.0 * len(path)
    if not parts:
        return
    owners = np.concatenate([np.full(len(p), i + 1) for i, p in enumerate(parts)])
    surface, owner = box.distance(np.concatenate(parts), np.concatenate(sizes), owners, reach=4.0)
    nm = np.maximum(surface, 30 / box.voxel_nm - depth) * box.voxel_nm
    lamellae = _cristae(box, owner, len(parts), rng)
    grey = MITOCHONDRION + 5 * rng.standard_normal(len(parts) + 1).astype(np.float32)
    inside = np.clip(0.5 - nm / box.voxel_nm, 0, 1)
    outline = np.exp(-0.5 * ((nm + 4) / 8) ** 2)
    halo = np.exp(-0.5 * ((nm - 16) / 7) ** 2) * box.clear
    image += 9 * halo
    image += inside * (grey[owner] + 7 * lamellae - image)
    image -= 16 * outline * (owner > 0)


def _cristae(box: _Box, owner: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Wavy lamellae about 45 nm apart, in another direction in every mitochondrion."""
    directions = rng.standard_normal((count + 1, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    directions = (directions * 2 * np.pi * box.voxel_nm / 45).astype(np.float32)
    z, y, x = np.nonzero(owner)
    which = directions[owner[z, y, x]]
    wave = smooth_noise(box.shape, 100 / box.voxel_nm, rng)[z, y, x]
    phase = which[:, 0] * z + which[:, 1] * y + which[:, 2] * x + 2.5 * wave
    lamellae = np.zeros(box.shape, np.float32)
    lamellae[z, y, x] = np.sin(phase)
    return lamellae


def _draw_microtubules(image: np.ndarray, tubes: Tubes, box: _Box, amount: float, rng: np.random.Generator) -> None:
    """Thin dark lines along neurites of some calibre."""
    paths = []
    for owner in np.unique(tubes.owners[_chosen(tubes, box, 40)]):
        run = np.flatnonzero(tubes.owners == owner)
        pieces = np.split(
            run,
            np.flatnonzero(np.linalg.norm(np.diff(tubes.points[run], axis=0), axis=1) > tubes.radii[run[1:]] + 4) + 1,
        )
        for piece in pieces:
            for _ in range(rng.poisson(amount * tubes.radii[piece].mean() * box.voxel_nm / 40)):
                aside = rng.standard_normal(3) * 0.4
                aside = aside - (tubes.tangents[piece] @ aside)[:, None] * tubes.tangents[piece]
                paths.append(_dense_path(tubes.points[piece] + aside * tubes.radii[piece][:, None], 1.5))
    if not paths or not sum(map(len, paths)):
        return
    points = np.concatenate(paths)
    radius = np.full(len(points), 8 / box.voxel_nm)
    surface, _ = box.distance(points, radius, np.ones(len(points)), reach=2.0)
    image -= 26 * box.clear * np.exp(-0.5 * (np.maximum(surface, 0) * box.voxel_nm / 8) ** 2)


def _draw_vesicles(image: np.ndarray, tubes: Tubes, box: _Box, amount: float, rng: np.random.Generator) -> None:
    """Clusters of synaptic vesicles: small dark rings."""
    eligible = _chosen(tubes, box, 45)
    clusters = rng.poisson(16 * amount * box.cubic_micrometres) if len(eligible) else 0
    centres = []
    for at in rng.choice(eligible, clusters) if clusters else []:
        spread = np.clip(0.5 * tubes.radii[at], 0, 100 / box.voxel_nm)
        centres.append(tubes.points[at] + spread * rng.standard_normal((int(rng.integers(8, 60)), 3)))
    if not centres:
        return
    points = np.concatenate(centres)
    radii = rng.uniform(16, 24, len(points)) / box.voxel_nm
    surface, _ = box.distance(points, radii, np.arange(len(points)) + 1, reach=2.0)
    image -= 34 * box.clear * np.exp(-0.5 * (surface * box.voxel_nm / 7) ** 2)


def _draw_vacuoles(image: np.ndarray, tubes: Tubes, box: _Box, amount: float, rng: np.random.Generator) -> None:
    """Pale sacs and tubules with a thin outline, which resemble thin neurites."""
    eligible = _chosen(tubes, box, 60)
    count = rng.poisson(12 * amount * box.cubic_micrometres) if len(eligible) else 0
    paths, radii, owners = [], [], []
    for i, at in enumerate(rng.choice(eligible, count) if count else []):
        start = tubes.points[at] + 0.4 * tubes.radii[at] * rng.standard_normal(3)
        direction = tubes.tangents[at] + 0.5 * rng.standard_normal(3)
        path = start + np.arange(int(rng.integers(1, 14)))[:, None] * 2.0 * direction
        paths.append(path)
        radii.append(np.full(len(path), rng.uniform(20, 55) / box.voxel_nm))
        owners.append(np.full(len(path), i + 1))
    if not paths:
        return
    surface, _ = box.distance(np.concatenate(paths), np.concatenate(radii), np.concatenate(owners), reach=2.0)
    nm = surface * box.voxel_nm
    image += 14 * box.clear * np.clip(0.5 - nm / box.voxel_nm, 0, 1)
    image -= 32 * box.clear * np.exp(-0.5 * (nm / 7) ** 2)
