"""EM-like volumes of densely packed neurites with exact truth, for demonstrations and tests."""

from collections.abc import Sequence
from dataclasses import dataclass

import edt
import numpy as np
from scipy import ndimage

from sparse2dense.ops.micrograph import render
from sparse2dense.ops.neurites import connected, grow_tubes, partition, smooth_noise

__all__ = ["DAMAGES", "PhantomSettings", "phantom"]

DAMAGES = ("missing", "faint", "blurred", "stained")


@dataclass(frozen=True)
class PhantomSettings:
    """What a phantom looks like; lengths in nm unless their name says otherwise.

    Parameters
    ----------
    thinnest_nm, thickest_nm
        Diameters of the neurites as drawn; sharing out the space between them makes them thicker by a few voxels.
    bend
        Random change of direction along a neurite; 0 is straight, 0.4 is tortuous.
    varicosity
        Relative variation of the calibre along a neurite; 0 makes plain cables, higher values swellings and thin necks.
    branches
        Mean number of side branches of a neurite.
    roughness_nm
        How far the walls wander from smooth tubes.
    extracellular_nm
        Mean width of the extracellular space between neurites, background (0) in the truth; 0 leaves none.
    membrane_nm
        Width of the dark line that two apposed membranes make.
    membrane_contrast
        Darkness of membranes: 1 is as dark as they get, 0 invisible.
    membrane_fading
        How much that contrast varies from place to place; higher values make gaps.
    mitochondria, vesicles, microtubules, vacuoles
        Amount of each within the neurites, 1 is as in neuropil, 0 none.
    noise
        Standard deviation of the noise in grey levels.
    blur_voxels
        Sigma of the blur of the microscope, in voxels of the finest axis.
    brightness
        Standard deviation in grey levels of the brightness of sections.
    jitter_voxels
        Standard deviation of the shift of a section in its plane, in voxels of the finest axis; image and truth shift
        together.
    damaged
        Number of damaged sections, or their indices.
    minimum_size
        Voxels below which a piece of a neurite is given to its neighbour.
    """

    thinnest_nm: float = 56.0
    thickest_nm: float = 360.0
    bend: float = 0.18
    varicosity: float = 0.25
    branches: float = 1.0
    roughness_nm: float = 20.0
    extracellular_nm: float = 0.0
    membrane_nm: float = 22.0
    membrane_contrast: float = 0.85
    membrane_fading: float = 0.25
    mitochondria: float = 1.0
    vesicles: float = 1.0
    microtubules: float = 1.0
    vacuoles: float = 1.0
    noise: float = 6.0
    blur_voxels: float = 0.7
    brightness: float = 2.0
    jitter_voxels: float = 0.0
    damaged: int | tuple[int, ...] = 0
    minimum_size: int = 200


def phantom(
    shape: tuple[int, int, int],
    *,
    voxel_size: tuple[float, float, float] = (8.0, 8.0, 8.0),
    seed: int = 0,
    settings: PhantomSettings | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Make an EM-like volume and its exact truth; the same arguments give the same bytes.

    The volume is made on an isotropic grid of the finest voxel size, of which coarser axes keep every so many planes.

    Parameters
    ----------
    shape
        Voxels (z, y, x).
    voxel_size
        nm along (z, y, x).
    seed
        Of all random numbers.

    Returns
    -------
    raw uint8 (z, y, x), and truth uint64 of the same shape: every label above 0 is one face-connected object,
    numbered from 1, membranes belong to objects, and 0 is extracellular space (absent by default).

    Raises
    ------
    ValueError
        A shape or voxel size that is not positive, or a damaged section outside of the volume.
    """
    settings = settings or PhantomSettings()
    if len(shape) != 3 or min(shape) < 1 or min(voxel_size) <= 0:
        raise ValueError(f"phantom of shape {shape} and voxel size {voxel_size}: both must have three positive entries")
    streams = np.random.default_rng(seed).spawn(4)
    fine = float(min(voxel_size))
    shifts = _section_shifts(shape[0], settings.jitter_voxels, streams[3])
    margin = int(np.abs(shifts).max())
    planes = [
        _planes(n, v / fine, margin * (axis > 0)) for axis, (n, v) in enumerate(zip(shape, voxel_size, strict=True))
    ]
    grid = (int(planes[0][-1]) + 1, int(planes[1][-1]) + 1 + margin, int(planes[2][-1]) + 1 + margin)
    objects, image = _scene(grid, settings, fine, streams)

    raw, truth = np.empty(shape, np.float32), np.empty(shape, np.uint64)
    spread = [0.35 * (v / fine - 1) for v in voxel_size]
    image = ndimage.gaussian_filter(
        image, [np.hypot(settings.blur_voxels, s) for s in spread], truncate=3, mode="nearest"
    )
    for section, plane in enumerate(planes[0]):
        rows, columns = planes[1] + shifts[section, 0], planes[2] + shifts[section, 1]
        raw[section] = image[plane][np.ix_(rows, columns)]
        truth[section] = objects[plane][np.ix_(rows, columns)]
    if truth.shape != objects.shape:
        truth = connected(truth, max(1, round(settings.minimum_size * fine**3 / float(np.prod(voxel_size)))))
    return _exposed(raw, settings, streams[3]), truth


def _scene(
    grid: tuple[int, int, int], settings: PhantomSettings, fine: float, streams: Sequence[np.random.Generator]
) -> tuple[np.ndarray, np.ndarray]:
    """Return objects and sharp image on an isotropic grid of voxels of `fine` nm."""
    tubes = grow_tubes(
        grid,
        thinnest=max(2.0, settings.thinnest_nm / 2 / fine),
        thickest=max(3.0, settings.thickest_nm / 2 / fine),
        bend=settings.bend,
        varicosity=settings.varicosity,
        branches=settings.branches,
        rng=streams[0],
    )
    displacement = _displacement(grid, settings.roughness_nm / fine, streams[1])
    objects = partition(grid, tubes, displacement, reach=max(6.0, settings.thinnest_nm / fine))
    objects = connected(
        _open_extracellular(objects, settings.extracellular_nm / fine, streams[1]), settings.minimum_size
    )
    image = render(
        objects,
        tubes,
        displacement,
        fine,
        membrane_nm=settings.membrane_nm,
        membrane_contrast=settings.membrane_contrast,
        membrane_fading=settings.membrane_fading,
        mitochondria=settings.mitochondria,
        vesicles=settings.vesicles,
        microtubules=settings.microtubules,
        vacuoles=settings.vacuoles,
        rng=streams[2],
    )
    return objects, image


def _planes(count: int, ratio: float, margin: int) -> np.ndarray:
    """Index on the fine grid of every voxel of a coarser axis."""
    return margin + np.floor((np.arange(count) + 0.5) * ratio).astype(int)


def _section_shifts(sections: int, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Whole-voxel shift (y, x) of every section, cut at three sigma."""
    shifts = np.clip(rng.normal(0, 1, (sections, 2)), -3, 3) * sigma
    return np.rint(shifts).astype(int)


def _displacement(shape: tuple[int, int, int], roughness: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth displacement field (3, z, y, x) in voxels that makes tubes irregular: wide waves and small dents."""
    field = np.empty((3, *shape), np.float32)
    for axis in range(3):
        field[axis] = roughness * smooth_noise(shape, 8 * roughness + 4, rng)
        field[axis] += 0.3 * roughness * smooth_noise(shape, 2 * roughness + 3, rng)
    return field


def _open_extracellular(objects: np.ndarray, width: float, rng: np.random.Generator) -> np.ndarray:
    """Set voxels at interfaces to 0 where an extracellular space of varying width (mean in voxels) lies."""
    if width <= 0:
        return objects
    distance = edt.edt(np.ascontiguousarray(objects), black_border=False, parallel=1) - 0.5
    local = 0.5 * width * np.exp(0.4 * smooth_noise(objects.shape, 24, rng))
    return np.where(distance < local, 0, objects)


def _damaged_sections(settings: PhantomSettings, sections: int, rng: np.random.Generator) -> list[int]:
    """Indices of the damaged sections."""
    if isinstance(settings.damaged, int):
        return sorted(rng.choice(sections, min(settings.damaged, sections), replace=False).tolist())
    outside = [s for s in settings.damaged if not 0 <= s < sections]
    if outside:
        raise ValueError(f"damaged sections {outside} are outside of the phantom's {sections} sections")
    return list(settings.damaged)


def _exposed(raw: np.ndarray, settings: PhantomSettings, rng: np.random.Generator) -> np.ndarray:
    """Take the picture: brightness and damage of sections, noise, eight bits."""
    sections = raw.shape[0]
    raw = raw + rng.normal(0, settings.brightness, (sections, 1, 1)).astype(np.float32)
    for section in _damaged_sections(settings, sections, rng):
        raw[section] = _damage(raw[section], DAMAGES[int(rng.integers(len(DAMAGES)))], rng)
    raw += settings.noise * rng.standard_normal(raw.shape, dtype=np.float32)
    return np.clip(np.rint(raw), 0, 255).astype(np.uint8)


def _damage(section: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
    """One damaged section (y, x): lost, of low contrast, out of focus, or with a dark stain."""
    if kind == "missing":
        return np.full_like(section, 20.0)
    if kind == "faint":
        return section.mean() + 0.25 * (section - section.mean())
    if kind == "blurred":
        return ndimage.gaussian_filter(section, 2.5, mode="nearest")
    stain = smooth_noise((1, *section.shape), max(section.shape) / 4, rng)[0]
    return section - 70 * np.clip(stain, 0, 1)
