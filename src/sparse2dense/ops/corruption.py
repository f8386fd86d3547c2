"""Errors of a 2D net, imitated on clean data: wrong labels in single sections, and unsure, blurred predictions.

A net that lifts sections to 3D is trained on inputs with such errors and on targets without them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sparse2dense.ops.boundaries import erode_randomly
from sparse2dense.ops.synthetic import Range, log_uniform, smooth_noise

__all__ = ["Corruption", "Degradation", "corrupt", "degrade"]

GAP = 7
"""Voxels of background across which two objects of a section still lie beside each other."""

FloatArray = NDArray[np.float32]
Labels = NDArray[np.integer]


@dataclass(frozen=True)
class Corruption:
    """How often labels are made wrong; Bootstrapper's rates, but drawn independently of each other.

    Parameters
    ----------
    tries
        Number of times that each of split, merge and artefact may happen.
    split
        Chance per try that an object falls apart in one or two successive sections.
    merge
        Chance per try that an object takes over one beside it, gap and all, in one or two successive sections.
    artefact
        Chance per try that a disk, cross, star or ellipse with a label of its own lies on one or two sections.
    artefact_radius
        Voxels.
    missing
        Chance per section of being empty.
    shift
        Chance per section of being shifted against the others.
    shift_sigma
        Standard deviation of a shift in voxels.
    erosion
        Most voxels by which a label is eroded, within its sections; each label draws its own number from 0.
    """

    tries: int = 5
    split: float = 0.1
    merge: float = 0.1
    artefact: float = 0.1
    artefact_radius: tuple[int, int] = (1, 8)
    missing: float = 0.01
    shift: float = 0.05
    shift_sigma: float = 1.0
    erosion: int = 1


@dataclass(frozen=True)
class Degradation:
    """How far computed channels are from what a net would predict; probabilities per sample unless they say otherwise.

    Parameters
    ----------
    faint, faint_area, faint_strength
        Chance that affinities across boundaries are lifted here and there; fraction of the area where they are; how
        much of the way to 1.
    spurious, spurious_area, spurious_strength
        Chance that curved lines of low affinity run through objects; fraction of the area; how much of the way to 0.
    patch
        Size in voxels of the patches where this happens.
    persistence
        Sections over which it persists.
    noise, noise_sigma
        Chance and standard deviation of normal noise.
    intensity_channel, intensity_section, scale, offset
        Chances of a random linear change, per channel and per section, and its limits.
    blur, blur_sigma
        Chance that sections are blurred, each by its own standard deviation in voxels; never across sections or
        channels.
    low_contrast, contrast
        Chance per section of fading to its channel's mean, and the contrast that is left.
    """

    faint: float = 0.5
    faint_area: Range = (0.02, 0.2)
    faint_strength: Range = (0.3, 1.0)
    spurious: float = 0.5
    spurious_area: Range = (0.02, 0.2)
    spurious_strength: Range = (0.2, 0.8)
    patch: Range = (8.0, 40.0)
    persistence: Range = (1.0, 4.0)
    noise: float = 0.1
    noise_sigma: Range = (0.0, 0.1)
    intensity_channel: float = 0.5
    intensity_section: float = 0.5
    scale: Range = (0.9, 1.1)
    offset: Range = (-0.1, 0.1)
    blur: float = 0.5
    blur_sigma: Range = (0.1, 1.5)
    low_contrast: float = 0.1
    contrast: float = 0.1


def corrupt(labels: Labels, rng: np.random.Generator, settings: Corruption | None = None) -> Labels:
    """Copy labels (z, y, x) with errors in random sections; new objects get labels that don't occur elsewhere."""
    settings = settings or Corruption()
    out = erode_randomly(labels, rng, settings.erosion)
    fresh = int(labels.max(initial=0)) + 1
    for _ in range(settings.tries):
        for chance, change in ((settings.split, _split), (settings.merge, _merge), (settings.artefact, _artefact)):
            if rng.random() < chance:
                change(out, _few_sections(len(out), rng), fresh, rng, settings)
                fresh += 1
    _shift_sections(out, rng, settings)
    out[rng.random(len(out)) < settings.missing] = 0
    return out


def _few_sections(depth: int, rng: np.random.Generator) -> range:
    first = int(rng.integers(depth))
    return range(first, min(first + int(rng.integers(1, 3)), depth))


def _random_object(section: Labels, rng: np.random.Generator) -> int:
    """Some object of a section, larger ones more often; 0 if there seems to be none."""
    for _ in range(10):
        found = int(section[tuple(rng.integers(section.shape))])
        if found:
            return found
    return 0


def _split(labels: Labels, sections: range, fresh: int, rng: np.random.Generator, settings: Corruption) -> None:
    """Give the part of an object nearer to one of two of its voxels a label of its own."""
    name = _random_object(labels[sections[0]], rng)
    if not name:
        return
    at = np.argwhere(labels[sections[0]] == name)
    here, there = at[rng.integers(len(at), size=2)]
    for z in sections:
        inside = np.argwhere(labels[z] == name)
        split = inside[((inside - there) ** 2).sum(axis=1) < ((inside - here) ** 2).sum(axis=1)]
        labels[z, split[:, 0], split[:, 1]] = fresh


def _merge(labels: Labels, sections: range, fresh: int, rng: np.random.Generator, settings: Corruption) -> None:
    """Give an object the label of one beside it, and fill the gap between them."""
    section = labels[sections[0]]
    name = _random_object(section, rng)
    at = np.argwhere(section == name)
    if not name or not len(at):
        return
    # a few steps from a voxel of the object, in a random direction, stands a neighbour
    for _ in range(10):
        y, x = at[rng.integers(len(at))]
        dy, dx = rng.integers(-1, 2, size=2)
        for step in range(1, GAP + 2):
            v, u = y + step * dy, x + step * dx
            if not (0 <= v < section.shape[0] and 0 <= u < section.shape[1]):
                break
            if section[v, u] not in (0, name):
                other = section[v, u]
                for z in sections:
                    gap = _between(labels[z], labels.dtype.type(name), other, GAP)
                    labels[z][gap | (labels[z] == other)] = name
                return


@njit(cache=True, nogil=True)
def _between(section, first, second, longest):  # type: ignore[no-untyped-def]
    """Background that a line along an axis or a diagonal, of at most `longest` voxels of it, joins to both objects."""
    rows, columns = section.shape
    found = np.zeros((rows, columns), np.bool_)
    for y in range(rows):
        for x in range(columns):
            if section[y, x] != 0:
                continue
            for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
                length = -1  # both ways count the voxel itself
                met_first = met_second = False
                for sign in (1, -1):
                    v, u = y, x
                    while length < longest and 0 <= v < rows and 0 <= u < columns and section[v, u] == 0:
                        v, u, length = v + sign * dy, u + sign * dx, length + 1
                    if 0 <= v < rows and 0 <= u < columns:
                        met_first |= section[v, u] == first
                        met_second |= section[v, u] == second
                found[y, x] |= met_first and met_second
    return found


def _artefact(labels: Labels, sections: range, fresh: int, rng: np.random.Generator, settings: Corruption) -> None:
    """Stamp a disk, cross, star or ellipse."""
    radius = int(rng.integers(settings.artefact_radius[0], settings.artefact_radius[1] + 1))
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    kind = rng.integers(4)
    if kind == 0:
        stamp = y**2 + x**2 <= radius**2
    elif kind == 1:
        stamp = (np.abs(y) <= radius // 4) | (np.abs(x) <= radius // 4)
    elif kind == 2:
        stamp = (np.sqrt(np.abs(y)) + np.sqrt(np.abs(x))) <= np.sqrt(radius)
    else:
        stamp = (y * rng.uniform(1.0, 2.5)) ** 2 + (x * rng.uniform(1.0, 2.5)) ** 2 <= radius**2
    height, width = labels.shape[1:]
    at = np.argwhere(stamp) - radius + rng.integers(labels.shape[1:])
    at = at[((at >= 0) & (at < (height, width))).all(axis=1)]
    for z in sections:
        labels[z, at[:, 0], at[:, 1]] = fresh


def _shift_sections(labels: Labels, rng: np.random.Generator, settings: Corruption) -> None:
    for z in np.flatnonzero(rng.random(len(labels)) < settings.shift):
        dy, dx = np.rint(settings.shift_sigma * rng.standard_normal(2)).astype(int)
        rows = np.clip(np.arange(labels.shape[1]) - dy, 0, labels.shape[1] - 1)
        columns = np.clip(np.arange(labels.shape[2]) - dx, 0, labels.shape[2] - 1)
        labels[z] = labels[z][np.ix_(rows, columns)]


def degrade(
    channels: FloatArray,
    rng: np.random.Generator,
    affinity_channels: Sequence[int] = (),
    settings: Degradation | None = None,
    overwrite: bool = False,
) -> FloatArray:
    """Make computed affinities and descriptors look like the predictions of a 2D net.

    Parameters
    ----------
    channels
        float32 (c, z, y, x) in 0..1.
    rng
        Source of all randomness.
    affinity_channels
        Which channels are affinities; only there are boundaries lifted and invented.
    settings
        Rates and strengths.
    overwrite
        Whether to change `channels` itself, which spares the time of a copy.

    Returns
    -------
    float32, same shape, in 0..1; a new array unless `overwrite`.
    """
    settings = settings or Degradation()
    out = channels.astype(np.float32, copy=not overwrite)
    chosen = list(affinity_channels)
    shape = out.shape[1:]
    if chosen and rng.random() < settings.faint:
        lift = _patches(shape, rng, settings.faint_area, settings) * np.float32(rng.uniform(*settings.faint_strength))
        for channel in chosen:
            out[channel] += (1 - out[channel]) * lift
    if chosen and rng.random() < settings.spurious:
        strength = np.float32(rng.uniform(*settings.spurious_strength))
        keep = 1 - strength * _patches(shape, rng, settings.spurious_area, settings) * _lines(shape, rng, settings)
        for channel in chosen:
            out[channel] *= keep
    if rng.random() < settings.blur:
        sigma = rng.uniform(settings.blur_sigma[0], settings.blur_sigma[1], (shape[0],))
        _blur_sections(out, np.stack([_window(s, 3 * settings.blur_sigma[1]) for s in sigma]))
    _change_intensity(out, rng, settings)
    if rng.random() < settings.noise:
        out += np.float32(rng.uniform(*settings.noise_sigma)) * rng.standard_normal(out.shape, dtype=np.float32)
    return np.clip(out, 0, 1, out=out)


def _patches(shape: tuple[int, ...], rng: np.random.Generator, area: Range, settings: Degradation) -> FloatArray:
    """Smooth patches, 0 outside and 1 at their hearts, that cover about a drawn fraction of the area."""
    size = log_uniform(rng, settings.patch)
    noise = smooth_noise(shape, (rng.uniform(*settings.persistence), size, size), rng)[0]
    threshold = np.quantile(noise[:, ::4, ::4], 1 - rng.uniform(*area))
    noise -= np.float32(threshold)
    noise *= np.float32(2.0)
    return np.clip(noise, 0, 1, out=noise)


def _lines(shape: tuple[int, ...], rng: np.random.Generator, settings: Degradation) -> FloatArray:
    """Thin curved lines, 1 on them: where a smooth field changes its sign."""
    size = log_uniform(rng, settings.patch)
    noise = smooth_noise(shape, (rng.uniform(*settings.persistence), size, size), rng)[0]
    # the field's slope is about 1 / size, so this makes lines some two voxels wide whatever the size
    noise *= np.float32(size / 2.0)
    np.abs(noise, out=noise)
    return np.clip(1 - noise, 0, 1, out=noise)


def _change_intensity(out: FloatArray, rng: np.random.Generator, settings: Degradation) -> None:
    """Scale and shift the values of channels and of sections, and fade low-contrast sections."""
    count, depth = out.shape[:2]
    scale, offset = np.ones((count, depth)), np.zeros((count, depth))
    for chance, size in ((settings.intensity_channel, (count, 1)), (settings.intensity_section, (1, depth))):
        if rng.random() < chance:
            factor, addend = rng.uniform(*settings.scale, size), rng.uniform(*settings.offset, size)
            scale, offset = scale * factor, offset * factor + addend
    for z in np.flatnonzero(rng.random(depth) < settings.low_contrast):
        mean = out[:, z].mean(axis=(1, 2)) * scale[:, z] + offset[:, z]
        scale[:, z] *= settings.contrast
        offset[:, z] = settings.contrast * offset[:, z] + (1 - settings.contrast) * mean
    out *= scale.astype(np.float32)[:, :, np.newaxis, np.newaxis]
    out += offset.astype(np.float32)[:, :, np.newaxis, np.newaxis]


def _window(sigma: float, reach: float) -> FloatArray:
    k = np.arange(int(np.ceil(reach)) + 1)
    window = np.exp(-0.5 * (k / sigma) ** 2)
    return (window / (window[0] + 2 * window[1:].sum())).astype(np.float32)


@njit(cache=True, nogil=True)
def _blur_sections(channels, windows):  # type: ignore[no-untyped-def]
    """Blur every section of every channel in place with its symmetric window (sections, radius + 1); edges repeat."""
    count, depth, rows, columns = channels.shape
    radius = windows.shape[1] - 1
    padded = np.empty((rows + 2 * radius, columns), np.float32)
    line = np.empty(columns + 2 * radius, np.float32)
    total = np.empty(columns, np.float32)
    for c in range(count):
        for z in range(depth):
            window = windows[z]
            reach = radius
            while reach > 0 and window[reach] < 1e-4:
                reach -= 1
            for y in range(-radius, rows + radius):
                padded[y + radius] = channels[c, z, min(max(y, 0), rows - 1)]
            for y in range(rows):
                at = y + radius
                total[:] = 0
                _add(total, window[0], padded[at])
                for k in range(1, reach + 1):
                    _add_both(total, window[k], padded[at - k], padded[at + k])
                line[:radius] = total[0]
                line[radius : radius + columns] = total
                line[radius + columns :] = total[columns - 1]
                total[:] = 0
                _add(total, window[0], line[radius:])
                for k in range(1, reach + 1):
                    _add_both(total, window[k], line[radius - k :], line[radius + k :])
                channels[c, z, y] = total


@njit(cache=True, nogil=True)
def _add(total, weight, values):  # type: ignore[no-untyped-def]
    for x in range(total.size):
        total[x] += weight * values[x]


@njit(cache=True, nogil=True)
def _add_both(total, weight, before, after):  # type: ignore[no-untyped-def]
    for x in range(total.size):
        total[x] += weight * (before[x] + after[x])
