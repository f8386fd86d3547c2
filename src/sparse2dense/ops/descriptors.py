"""Local shape descriptors: what the surroundings of a voxel look like within its own object."""

import itertools
from collections.abc import Iterator, Sequence

import fastremap
import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from sparse2dense.errors import InputError
from sparse2dense.ops.section_sums import describe_objects_of_sections

__all__ = [
    "TRUNCATE", "VARIANCE_FLOOR", "descriptor_channels", "local_shape_descriptors", "section_descriptors",
    "turned_descriptors",
]  # fmt: skip

TRUNCATE = 3.0
"""Standard deviations at which the Gaussian window ends."""
VARIANCE_FLOOR = 1e-3
"""Smallest variance, in squared units of `sigma`; keeps the correlation of flat objects finite."""

Box = tuple[slice, ...]


def descriptor_channels(ndim: int) -> tuple[str, ...]:
    """Names of the channels of `local_shape_descriptors` for volumes of `ndim` (2 or 3) dimensions, in order."""
    if ndim == 2:
        return ("offset_y", "offset_x", "variance_y", "variance_x", "pearson_yx", "size")
    if ndim == 3:
        offsets, variances = (tuple(f"{kind}_{axis}" for axis in "zyx") for kind in ("offset", "variance"))
        return (*offsets, *variances, "pearson_zy", "pearson_zx", "pearson_yx", "size")
    raise InputError(f"labels of {ndim} dimensions", allowed="2 or 3 dimensions", remedy="pass one section or a volume")


def local_shape_descriptors(
    labels: NDArray[np.integer],
    sigma: float | Sequence[float],
    voxel_size: float | Sequence[float] | None = None,
    downsample: int = 1,
    roi: Sequence[slice] | None = None,
) -> NDArray[np.float32]:
    """Mean offset, variance, correlation and size of the part of an object under a Gaussian window at each voxel.

    Every object is seen alone: the window (cut at 3 sigma, zero outside the array) weighs the voxels of the label
    under its centre. Values agree with lsds 0.1.3 (Sheridan et al., Nature Methods 2023).

    Parameters
    ----------
    labels
        (y, x) or (z, y, x), any integer dtype; 0 is background, everything else an object.
    sigma
        Standard deviation of the window, one number or one per axis; in voxels, or in the units of `voxel_size`.
    voxel_size
        Size of a voxel, one number or one per axis; 1 when omitted.
    downsample
        Compute at every n-th voxel of each axis, counted from the array's origin, and repeat the result n times.
        Sides need not be multiples of it. Objects that no sampled voxel meets get the centred offset, no extent and
        size 0.
    roi
        The part of the array to describe, one slice per axis; the rest is only looked at. Everything when omitted.

    Returns
    -------
    float32 (channels, *shape of the roi) in 0..1, channels as in `descriptor_channels`: offsets (0.5 is the centre of
    mass), variances (in sigma squared), Pearson correlations (0.5 is none), size; 0 on background.

    Raises
    ------
    InputError
        For labels that aren't 2D or 3D integers, a sigma or voxel size that isn't positive, or a bad `downsample`.
    """
    descriptor_channels(labels.ndim)
    scale = _per_axis("voxel_size", 1.0 if voxel_size is None else voxel_size, labels.ndim)
    width = _per_axis("sigma", sigma, labels.ndim)
    if downsample < 1 or downsample != int(downsample):
        raise InputError(f"downsample {downsample}", allowed="a whole number from 1", remedy="use 1 or 2")
    part = tuple(slice(*r.indices(n)) for r, n in zip(roi or [slice(None)] * labels.ndim, labels.shape, strict=True))
    if labels.ndim == 2:
        return _describe_sections(labels[np.newaxis], width, scale, int(downsample), (slice(0, 1), *part))[:, 0]
    return _describe(labels, width, scale, int(downsample), part)


def section_descriptors(
    labels: NDArray[np.integer],
    sigma: float | Sequence[float],
    downsample: int = 1,
    roi: Sequence[slice] | None = None,
) -> NDArray[np.float32]:
    """2D descriptors of every section of (z, y, x) labels: float32 (6, z, y, x); `sigma` in voxels, one or (y, x).

    Equals `local_shape_descriptors` of each section. `downsample` acts on y and x only; `roi` as there.
    """
    if labels.ndim != 3:
        raise InputError(
            f"labels of {labels.ndim} dimensions", allowed="(z, y, x)", remedy="use local_shape_descriptors"
        )
    part = tuple(slice(*r.indices(n)) for r, n in zip(roi or [slice(None)] * 3, labels.shape, strict=True))
    return _describe_sections(labels, _per_axis("sigma", sigma, 2), (1.0, 1.0), int(downsample), part)


def turned_descriptors(
    descriptors: NDArray[np.float32], turn: NDArray[np.float32], sigma: Sequence[float]
) -> NDArray[np.float32]:
    """What 3D descriptors say when an image and its axes are turned: offsets turn as vectors, covariances as tensors.

    Voxels stay where they are; only values change. They are those of `local_shape_descriptors` of the turned labels
    where axes that take each other's place have the same sigma; for turns by less than 90 degrees almost.

    Parameters
    ----------
    descriptors
        float32 (10, z, y, x) in 0..1, channels as in `descriptor_channels`, predicted or computed.
    turn
        float32 (3, 3), orthogonal: the step in the image that a step (z, y, x) after the turn was.
    sigma
        Of the descriptors, in voxels (z, y, x).

    Returns
    -------
    float32 (10, z, y, x) in 0..1; without meaning where there is no object.
    """
    width = np.asarray(sigma, np.float32)
    matrix = turn.T.astype(np.float32) * width / width[:, np.newaxis]
    result = descriptors.copy()
    result[:3] = np.tensordot(matrix, descriptors[:3] - 0.5, axes=1) + 0.5
    pairs = ((0, 1), (0, 2), (1, 2))
    deviation = np.sqrt(descriptors[3:6])
    covariance = np.empty((3, 3, *descriptors.shape[1:]), np.float32)
    for axis in range(3):
        covariance[axis, axis] = descriptors[3 + axis]
    for channel, (a, b) in enumerate(pairs, start=6):
        covariance[a, b] = covariance[b, a] = (2 * descriptors[channel] - 1) * deviation[a] * deviation[b]
    half = np.tensordot(matrix, covariance, axes=1)  # (new axis, old axis, z, y, x)
    for axis in range(3):
        result[3 + axis] = np.tensordot(matrix[axis], half[axis], axes=1)
    for channel, (a, b) in enumerate(pairs, start=6):
        spread = np.sqrt(np.maximum(result[3 + a] * result[3 + b], np.float32(1e-12)))
        result[channel] = 0.5 * np.tensordot(matrix[b], half[a], axes=1) / spread + 0.5
    return np.clip(result, 0, 1, out=result)


def _per_axis(name: str, value: float | Sequence[float], ndim: int) -> tuple[float, ...]:
    values = (float(value),) * ndim if np.isscalar(value) else tuple(float(v) for v in value)  # type: ignore[union-attr, arg-type]
    if len(values) != ndim or not all(np.isfinite(v) and v > 0 for v in values):
        raise InputError(
            f"{name} {value} for {ndim} axes", allowed="positive, one number or one per axis", remedy=f"correct {name}"
        )
    return values


def _numbered(labels: NDArray[np.integer]) -> NDArray[np.int32]:
    """The same objects with small numbers: as they are, where none exceeds the number of voxels of a section."""
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"labels of type {labels.dtype}", allowed="integers", remedy="convert to an integer type")
    native = labels.astype(labels.dtype.newbyteorder("="), copy=False)
    if native.min(initial=0) < 0 or native.max(initial=0) > native.size // max(1, len(native)):
        native = fastremap.renumber(native, preserve_zero=True, in_place=False)[0]
    return native.astype(np.int32, copy=False)


def _describe_sections(
    labels: NDArray[np.integer], sigma: tuple[float, ...], voxel_size: tuple[float, ...], step: int, roi: Box
) -> NDArray[np.float32]:
    """Descriptors of the part `roi` of (z, y, x) labels within sections."""
    unit = tuple(v * step for v in voxel_size)
    return describe_objects_of_sections(_numbered(labels), roi, step, sigma, unit, TRUNCATE, VARIANCE_FLOOR)


def _describe(
    labels: NDArray[np.integer], sigma: tuple[float, ...], voxel_size: tuple[float, ...], step: int, roi: Box
) -> NDArray[np.float32]:
    """Descriptors of the part `roi` of (z, y, x) labels."""
    objects = _numbered(labels)
    out = np.zeros((10, *labels.shape), np.float32)
    every = (slice(None), *roi)
    if not objects.any():
        return out[every]
    sampled = objects[::step, ::step, ::step]
    unit = np.array([v * step for v in voxel_size])
    kernels = [_moment_matrices(s / u, n) for s, u, n in zip(sigma, unit, sampled.shape, strict=True)]
    sides = [side * step for _, side, _ in kernels]
    scale = (unit.astype(np.float32), np.array(sigma, np.float32))
    boxes = find_objects(objects)
    sampled_boxes = find_objects(sampled, max_label=len(boxes))
    for label, (box, source) in enumerate(zip(boxes, sampled_boxes, strict=True), start=1):
        if box is None:
            continue
        if source is None:
            source = (slice(0, 0),) * 3
        shown = tuple(slice(max(b.start, r.start), min(b.stop, r.stop)) for b, r in zip(box, roi, strict=True))
        if any(side.start >= side.stop for side in shown):
            continue
        for tile in _tiles(shown, sides):
            if tile != box and not (objects[tile] == label).any():
                continue
            at = tuple(slice(t.start // step, -(-t.stop // step)) for t in tile)
            moments = _moments(sampled, label, source, at, kernels)
            start = (tile[0].start, tile[1].start, tile[2].start)
            _fill(objects[tile], label, start, step, moments, *scale, out[(slice(None), *tile)])
    return out[every]


def _moment_matrices(sigma: float, size: int) -> tuple[int, int, NDArray[np.float32]]:
    """Radius, side of a tile, and matrices (3, n, n) that filter a line with g(k), k g(k), k^2 g(k), k from the output.

    A filter along one axis is then a product of matrices, for which every machine has its fastest code. The matrices
    cover the largest tile and its surroundings; smaller ones take their upper left part.
    """
    radius = int(TRUNCATE * sigma + 0.5)
    side = min(max(2 * radius + 1, 32), 128)
    line = np.arange(min(size, side * 3 // 2 + 1) + 2 * radius)
    k = (line[np.newaxis, :] - line[:, np.newaxis]).astype(np.float64)
    window = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    g = np.where(np.abs(k) <= radius, np.exp(-0.5 * (k / sigma) ** 2) / window.sum(), 0.0)
    return radius, side, np.stack([g, k * g, k * k * g]).astype(np.float32)


def _tiles(box: Box, sides: Sequence[int]) -> Iterator[Box]:
    """Cut a large box at multiples of `sides`, which bounds memory and keeps its matrices from being mostly zeros."""
    cuts = []
    for part, side in zip(box, sides, strict=True):
        edges = [part.start, part.stop]
        if part.stop - part.start > side * 3 // 2:
            edges[1:1] = range((part.start // side + 1) * side, part.stop, side)
        cuts.append([slice(a, b) for a, b in itertools.pairwise(edges)])
    return itertools.product(*cuts)


def _moments(
    sampled: NDArray[np.int32],
    label: int,
    source: Box,
    at: Box,
    kernels: Sequence[tuple[int, int, NDArray[np.float32]]],
) -> NDArray[np.float32]:
    """Weighted sums of 1, k_d, k_d k_e over one object, k counted from each output voxel of the box `at`.

    (z, channels, y, x) with the channels 1, y, x, yy, yx, xx, z, zy, zx, zz. Counting from the output voxel keeps the
    numbers small, so that variances don't drown in float32 far from the origin.
    """
    reach = list(at)
    parts = []
    for axis, (radius, _, matrices) in enumerate(kernels):
        a, s = at[axis], source[axis]
        r = slice(max(a.start - radius, s.start), min(a.stop + radius, s.stop))
        origin = min(a.start, r.start)
        reach[axis] = r
        parts.append(matrices[:, a.start - origin : a.stop - origin, r.start - origin : r.stop - origin])
    rows, columns = (a.stop - a.start for a in at[1:])
    if any(part.stop <= part.start for part in reach):
        return np.zeros((at[0].stop - at[0].start, 10, rows, columns), np.float32)
    inside = (sampled[tuple(reach)] == label).astype(np.float32)
    z, y, x = parts
    depth = inside.shape[0]
    along_x = (inside.reshape(-1, inside.shape[2]) @ x.reshape(-1, x.shape[2]).T).reshape(depth, -1, 3, columns)
    plane = np.empty((depth, 6, rows, columns), np.float32)
    for channel, (i, j) in enumerate(((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2))):
        np.matmul(y[i], along_x[:, :, j], out=plane[:, channel])
    flat, size = plane.reshape(depth, -1), rows * columns
    sums = [z[i] @ flat[:, : n * size] for i, n in ((0, 6), (1, 3), (2, 1))]
    return np.concatenate(sums, axis=1).reshape(z.shape[1], 10, rows, columns)


@njit(cache=True, nogil=True)
def _clip(value: np.float32) -> np.float32:
    return min(max(value, np.float32(0)), np.float32(1))


@njit(cache=True, nogil=True)
def _fill(objects, label, start, step, moments, unit, sigma, out):  # type: ignore[no-untyped-def]
    """Write the descriptors of the voxels of one object, from the moments `_moments` gives for their sampled voxels."""
    mean = np.zeros(3, np.float32)
    variance = np.zeros(3, np.float32)
    half, floor = np.float32(0.5), np.float32(VARIANCE_FLOOR)
    shape = objects.shape
    for z in range(shape[0]):
        at_z = (z + start[0]) // step - start[0] // step
        for y in range(shape[1]):
            at_y = (y + start[1]) // step - start[1] // step
            for x in range(shape[2]):
                if objects[z, y, x] != label:
                    continue
                at_x = (x + start[2]) // step - start[2] // step
                size = moments[at_z, 0, at_y, at_x]
                weight = size if size > 0 else np.float32(1)
                for d, first, second in ((0, 6, 9), (1, 1, 3), (2, 2, 5)):
                    mean[d] = moments[at_z, first, at_y, at_x] / weight
                    variance[d] = moments[at_z, second, at_y, at_x] / weight - mean[d] * mean[d]
                    variance[d] = max(variance[d] * unit[d] * unit[d], floor)
                    out[d, z, y, x] = _clip(half * mean[d] * unit[d] / sigma[d] + half)
                    out[3 + d, z, y, x] = _clip(variance[d] / (sigma[d] * sigma[d]))
                for channel, d, e, mixed in ((6, 0, 1, 7), (7, 0, 2, 8), (8, 1, 2, 4)):
                    covariance = moments[at_z, mixed, at_y, at_x] / weight - mean[d] * mean[e]
                    rho = covariance * unit[d] * unit[e] / np.sqrt(variance[d] * variance[e])
                    out[channel, z, y, x] = _clip(half * rho + half)
                out[9, z, y, x] = _clip(size)
