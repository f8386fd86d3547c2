"""Training targets of whole batches with PyTorch, on the device where the labels lie.

The same definitions as `ops.descriptors`, `ops.affinities`, `ops.boundaries` and `ops.balance`, for a GPU; on a
processor those are faster. Descriptors of many objects are products of matrices, of which a GPU makes short work.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from sparse2dense.errors import InputError
from sparse2dense.ops.affinities import Rim, check_offsets, pair_slices
from sparse2dense.ops.balance import FRACTION_LIMITS
from sparse2dense.ops.descriptors import TRUNCATE, VARIANCE_FLOOR, descriptor_channels

__all__ = [
    "batch_affinities",
    "batch_affinity_mask",
    "batch_balance_weights",
    "batch_descriptors",
    "batch_grow_boundary",
]

BUDGET = 2**28
"""Values held at once by the descriptors of one sample; objects take turns (1 GiB, and as much again in between)."""

Box = tuple[slice, ...]


def batch_descriptors(
    labels: Tensor, sigma: Sequence[float], downsample: int = 1, roi: Sequence[slice] | None = None
) -> Tensor:
    """Local shape descriptors of every sample of a batch, as `ops.descriptors.local_shape_descriptors` gives them.

    Parameters
    ----------
    labels
        (batch, y, x) or (batch, z, y, x), any integer dtype; 0 is background.
    sigma
        Standard deviation of the window in voxels, per axis.
    downsample, roi
        As there.

    Returns
    -------
    float32 (batch, channels, *shape of the roi) on the device of `labels`; within 1e-4 of the others, but for
    correlations of objects that are flat under the window, which rounding decides.

    Raises
    ------
    InputError
        For labels that aren't 2D or 3D integers.
    """
    channels = len(descriptor_channels(labels.ndim - 1))
    if labels.is_floating_point():
        raise InputError(f"labels of type {labels.dtype}", allowed="integers", remedy="convert to an integer type")
    values = _comparable(labels)
    part = _part(roi, labels.shape[1:])
    # the sampled voxels whose values are asked for
    at = tuple(slice(side.start // downsample, -(-side.stop // downsample)) for side in part)
    sizes = [-(-n // downsample) for n in labels.shape[1:]]
    matrices = [
        _moment_matrices(s / downsample, n, side).to(labels.device) for s, n, side in zip(sigma, sizes, at, strict=True)
    ]
    out = torch.zeros((len(labels), channels, *_shape(part)), device=labels.device)
    for sample, described in zip(values, out, strict=True):
        _describe(sample, part, at, downsample, [float(s) for s in sigma], matrices, described)
    return out


def batch_affinities(labels: Tensor, offsets: Sequence[Sequence[int]], roi: Sequence[slice] | None = None) -> Tensor:
    """Affinities as `ops.affinities.affinities` gives them: bool (batch, len(offsets), *shape of the roi)."""
    values = _comparable(labels)
    return _pairs(values, offsets, roi, lambda p, q: (values[p] == values[q]) & (values[p] != 0))


def batch_affinity_mask(
    mask: Tensor,
    labels: Tensor,
    offsets: Sequence[Sequence[int]],
    rim: Rim = "boundary",
    roi: Sequence[slice] | None = None,
) -> Tensor:
    """The pairs that count, as `ops.affinities.affinity_mask` has them: bool (batch, len(offsets), *shape of the roi).

    `mask` and `labels` are (batch, *shape).
    """
    known = mask != 0
    labelled = known & (_comparable(labels) != 0)

    def counts(p: Box, q: Box) -> Tensor:
        both = known[p] & known[q]
        return both | labelled[p] | labelled[q] if rim == "boundary" else both

    return _pairs(labels, offsets, roi, counts)


def batch_grow_boundary(labels: Tensor, steps: int, mask: Tensor, only_xy: bool = False) -> Tensor:
    """Erode every label of (batch, *shape) as `ops.boundaries.grow_boundary` does; a new tensor."""
    known = mask != 0
    values = _comparable(labels)
    limits = torch.iinfo(values.dtype)
    least, greatest = values.masked_fill(~known, limits.max), values.masked_fill(~known, limits.min)
    axes = range(max(1, labels.ndim - 2) if only_xy else 1, labels.ndim)
    for _ in range(steps):
        least, greatest = _cross(least, torch.minimum, axes), _cross(greatest, torch.maximum, axes)
    touched = ((least < values) | (greatest > values)) & known
    return torch.where(touched, torch.zeros_like(labels), labels)


def batch_balance_weights(target: Tensor, mask: Tensor) -> Tensor:
    """Weights as `ops.balance.balance_weights` gives them, of each channel of each sample for itself.

    `target` and `mask` are bool (batch, channels, *shape); the weights float32 of that shape.
    """
    space = tuple(range(2, target.ndim))
    total = mask.sum(space, keepdim=True).double()
    positive = (mask & target).sum(space, keepdim=True).double()
    ones, zeros = ((0.5 / (count / total).clamp(*FRACTION_LIMITS)).float() for count in (positive, total - positive))
    return torch.where(mask, torch.where(target, ones, zeros), torch.zeros((), device=target.device))


def _comparable(labels: Tensor) -> Tensor:
    """The same labels in a type that PyTorch compares everywhere; large ones become negative, but stay apart."""
    return labels.view(torch.int64) if labels.dtype == torch.uint64 else labels.long()


def _part(roi: Sequence[slice] | None, shape: Sequence[int]) -> Box:
    return tuple(slice(*r.indices(n)) for r, n in zip(roi or [slice(None)] * len(shape), shape, strict=True))


def _shape(part: Box) -> tuple[int, ...]:
    return tuple(max(0, side.stop - side.start) for side in part)


def _pairs(
    labels: Tensor, offsets: Sequence[Sequence[int]], roi: Sequence[slice] | None, value: Callable[[Box, Box], Tensor]
) -> Tensor:
    """`value` of the places of p and of p + offset, for every p of `roi`; False where the partner lies outside."""
    shape = labels.shape[1:]
    checked, part = check_offsets(offsets, len(shape)), _part(roi, shape)
    out = torch.zeros((len(labels), len(checked), *_shape(part)), dtype=torch.bool, device=labels.device)
    for channel, offset in enumerate(checked):
        inside, _ = pair_slices(offset, shape)
        here = tuple(slice(max(i.start, r.start), min(i.stop, r.stop)) for i, r in zip(inside, part, strict=True))
        if any(side.start >= side.stop for side in here):
            continue
        there = tuple(slice(side.start + o, side.stop + o) for side, o in zip(here, offset, strict=True))
        at = tuple(slice(side.start - r.start, side.stop - r.start) for side, r in zip(here, part, strict=True))
        out[:, channel][(slice(None), *at)] = value((slice(None), *here), (slice(None), *there))
    return out


def _cross(values: Tensor, choose: Callable[[Tensor, Tensor], Tensor], axes: range) -> Tensor:
    """`choose` over each voxel and its face neighbours along `axes`."""
    out = values.clone()
    for axis in axes:
        count = values.shape[axis] - 1
        if count > 0:
            for here, there in ((1, 0), (0, 1)):
                near = out.narrow(axis, here, count)
                near.copy_(choose(near, values.narrow(axis, there, count)))
    return out


def _moment_matrices(sigma: float, size: int, at: slice) -> Tensor:
    """Matrices (3, outputs, size) that filter a line with g(k), k g(k), k^2 g(k), for the outputs `at`.

    k counts from the output, which keeps the numbers small.
    """
    radius = int(TRUNCATE * sigma + 0.5)
    k = (np.arange(size)[np.newaxis] - np.arange(at.start, at.stop)[:, np.newaxis]).astype(np.float64)
    window = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    g = np.where(np.abs(k) <= radius, np.exp(-0.5 * (k / sigma) ** 2) / window.sum(), 0.0)
    return torch.from_numpy(np.stack([g, k * g, k * k * g]).astype(np.float32))


def _describe(
    labels: Tensor, part: Box, at: Box, step: int, sigma: Sequence[float], matrices: Sequence[Tensor], out: Tensor
) -> None:
    """Write the descriptors of the `part` of one sample, as many objects at a time as there is memory for."""
    shown = labels[part]
    names = shown[shown != 0].unique()
    sampled = labels[(slice(None, None, step),) * labels.ndim]
    turn = max(1, BUDGET // (len(out) * max(1, sampled.numel())))
    for first in range(0, len(names), turn):
        chosen = names[first : first + turn]
        inside = (sampled == chosen.view(-1, *[1] * labels.ndim)).float()
        powers, moments = _moments(inside, matrices)
        # `chosen` is sorted, so each voxel finds its object by bisection
        number = torch.searchsorted(chosen, shown.contiguous()).clamp(max=len(chosen) - 1)
        voxels = (chosen[number] == shown).nonzero(as_tuple=True)
        places = tuple((v + p.start) // step - a.start for v, p, a in zip(voxels, part, at, strict=True))
        values = moments[(slice(None), number[voxels], *places)]
        out[(slice(None), *voxels)] = _from_moments(dict(zip(powers, values, strict=True)), sigma, step)


Powers = tuple[int, ...]


def _moments(inside: Tensor, matrices: Sequence[Tensor]) -> tuple[list[Powers], Tensor]:
    """Weighted sums of the products of at most two k_d over each object: their powers, and (sums, objects, *at).

    `inside` is (objects, *shape), 1 within the object.
    """
    sums: dict[Powers, Tensor] = {(): inside}
    for axis in reversed(range(len(matrices))):
        sums = {
            (power, *powers): (values.movedim(axis + 1, -1) @ matrices[axis][power].T).movedim(-1, axis + 1)
            for powers, values in sums.items()
            for power in range(3 - sum(powers))
        }
    return list(sums), torch.stack(list(sums.values()))


def _from_moments(moments: dict[Powers, Tensor], sigma: Sequence[float], unit: float) -> Tensor:
    """Descriptors (channels, n) from the moments of n voxels."""
    ndim = len(sigma)

    def moment(*axes: int) -> Tensor:
        return moments[tuple(axes.count(axis) for axis in range(ndim))]

    size = moment()
    weight = torch.where(size > 0, size, torch.ones_like(size))
    mean = [moment(d) / weight for d in range(ndim)]
    covariance = {
        (d, e): (moment(d, e) / weight - mean[d] * mean[e]) * unit * unit for d in range(ndim) for e in range(d, ndim)
    }
    variance = [covariance[d, d].clamp(min=VARIANCE_FLOOR) for d in range(ndim)]
    channels = [0.5 * m * unit / s + 0.5 for m, s in zip(mean, sigma, strict=True)]
    channels += [v / (s * s) for v, s in zip(variance, sigma, strict=True)]
    channels += [
        0.5 * value / (variance[d] * variance[e]).sqrt() + 0.5 for (d, e), value in covariance.items() if d < e
    ]
    return torch.stack([*channels, size]).clamp(0, 1)
