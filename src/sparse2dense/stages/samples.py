"""Training samples: what each kind of net is shown, and what it should answer.

A sample is drawn from a generator of its own (seed, step), so training can go on after a kill exactly where it was,
with any number of loading processes.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any, Protocol, Self

import fastremap
import numpy as np
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.ops.affinities import Rim, affinities, affinity_mask
from sparse2dense.ops.augmentation import Augmentation, Warp, draw_warp, inside, sample_image, sample_labels, shade
from sparse2dense.ops.balance import balance_weights
from sparse2dense.ops.boundaries import grow_boundary
from sparse2dense.ops.corruption import Degradation, corrupt, degrade
from sparse2dense.ops.descriptors import (
    TRUNCATE,
    descriptor_channels,
    local_shape_descriptors,
    section_descriptors,
    turned_descriptors,
)
from sparse2dense.ops.sampling import Positions, annotated_positions
from sparse2dense.ops.synthetic import synthetic_labels
from sparse2dense.stages.net_kinds import KINDS, NetDescription
from sparse2dense.stages.nets import normalised
from sparse2dense.stages.slicing import SectionData
from sparse2dense.volumes.volume import Volume

__all__ = ["AnnotatedSamples", "LiftSamples", "Sample", "Samples", "SectionSamples", "Targets", "VolumeSamples"]

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Sample:
    """Input float32 (channels, *shape); for every head a target and a weight of the same number of axes.

    Or, in their place, the annotation that they follow from, as `Targets.annotation` gives it.
    """

    input: Floats
    targets: dict[str, Floats]
    weights: dict[str, Floats]
    annotation: dict[str, NDArray] = field(default_factory=dict)


class Samples(Protocol):
    """A source of training samples."""

    def draw(self, rng: np.random.Generator) -> Sample:
        """A random sample."""
        ...


@dataclass(frozen=True)
class Targets:
    """How labels become what a net should predict."""

    kind: str
    offsets: tuple[tuple[int, ...], ...]
    sigma: tuple[float, ...]
    downsample: int
    grow_boundary: int
    rim: Rim

    @property
    def margin(self) -> tuple[int, ...]:
        """Voxels per side and axis by which the labels must exceed the crop so that its border is right."""
        heads = KINDS[self.kind].heads
        margin = _longest(self.offsets) if "affinities" in heads else (0,) * len(self.sigma)
        window = _window(self.sigma, self.downsample) if "descriptors" in heads else margin
        return tuple(map(max, margin, window))

    def inner(self, shape: Sequence[int]) -> tuple[slice, ...]:
        """The part of labels of `shape` that is left without the margin."""
        return tuple(slice(m, n - m) for m, n in zip(self.margin, shape, strict=True))

    def annotation(self, labels: NDArray, mask: NDArray, scope: NDArray[np.bool_]) -> dict[str, NDArray]:
        """All that `make` looks at, small: int32 labels, 0 outside the mask, uint8 mask and scope."""
        numbered = fastremap.renumber(np.where(mask > 0, labels, 0))[0]
        return {
            "labels": numbered.astype(np.int32),
            "mask": (mask > 0).astype(np.uint8),
            "scope": scope.astype(np.uint8),
        }

    def make(
        self, labels: NDArray, mask: NDArray, scope: NDArray[np.bool_]
    ) -> tuple[dict[str, Floats], dict[str, Floats]]:
        """Targets and weights of the middle of `labels` and `mask`, both larger than it by `margin` on every side.

        Where `scope` is False nothing has a weight, and no object ends: pairs that leave the scope never count. What
        `labels` says there shows only in the descriptors of objects that reach into the scope.
        """
        inner = self.inner(labels.shape)
        every = (slice(None), *inner)
        labels = self.annotation(labels, mask, scope)["labels"]
        targets, weights = {}, {}
        heads = KINDS[self.kind].heads
        if "descriptors" in heads:
            targets["descriptors"] = local_shape_descriptors(labels, self.sigma, None, self.downsample, inner)
            known = ((labels != 0) & scope)[inner].astype(np.float32)
            weights["descriptors"] = np.broadcast_to(known, targets["descriptors"].shape).copy()
        if "affinities" in heads:
            pairs = affinity_mask(mask, labels, self.offsets, rim=self.rim)[every]
            pairs *= affinities(scope.astype(np.uint8), self.offsets)[every]
            grown = grow_boundary(labels, self.grow_boundary, mask=mask, only_xy=True)
            target = affinities(grown, self.offsets)[every]
            targets["affinities"] = target.astype(np.float32)
            weights["affinities"] = balance_weights(target, pairs, groups=_singly(len(target)))
        return targets, weights


def _longest(offsets: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Voxels per axis to the furthest partner."""
    return tuple(max(map(abs, steps)) for steps in zip(*offsets, strict=True))


def _window(sigma: Sequence[float], downsample: int) -> tuple[int, ...]:
    """Voxels per axis and side that the descriptors of a voxel look at, in whole steps of the sampling."""
    return tuple(downsample * ceil(TRUNCATE * s / downsample) for s in sigma)


def _singly(channels: int) -> list[list[int]]:
    return [[channel] for channel in range(channels)]


def shares(positions: Sequence[Positions], weights: Sequence[float]) -> NDArray[np.float64]:
    """How often to draw from each section or volume: by its number of objects times its weight."""
    counts = np.array([len(p) * weight for p, weight in zip(positions, weights, strict=True)])
    return counts / counts.sum()


class AnnotatedSamples:
    """Samples of images with labels, whose targets may be left to be made later, of whole batches."""

    targets: Targets
    deferred = False

    def without_targets(self) -> Self:
        """The same samples with the annotation in place of targets and weights."""
        other = copy(self)
        other.deferred = True
        return other

    def sample(self, image: Floats, labels: NDArray, mask: NDArray, scope: NDArray[np.bool_]) -> Sample:
        """A sample of an image and of its annotation, which exceeds it by the targets' margin."""
        if self.deferred:
            return Sample(image, {}, {}, self.targets.annotation(labels, mask, scope))
        return Sample(image, *self.targets.make(labels, mask, scope))


class SectionSamples(AnnotatedSamples):
    """Samples of painted sections, with their neighbours, for a 2D net."""

    def __init__(
        self, sections: Sequence[SectionData], targets: Targets, shape: Sequence[int], augmentation: Augmentation
    ) -> None:
        self.sections, self.targets, self.shape, self.augmentation = sections, targets, tuple(shape), augmentation
        self.positions = [annotated_positions(section.labels, section.mask) for section in sections]
        if sum(len(p) for p in self.positions) == 0:
            raise InputError(
                "the annotation holds no labelled voxel to train on",
                allowed="at least one labelled voxel outside the validation part",
                remedy="paint more, or change `annotation` of the annotated volumes",
            )
        self.shares = shares(self.positions, [section.weight for section in sections])

    def draw(self, rng: np.random.Generator) -> Sample:
        """A crop around a random voxel of a random object."""
        number = rng.choice(len(self.sections), p=self.shares)
        section = self.sections[number]
        jitter = rng.uniform(-0.25, 0.25, 2) * self.shape
        return self.at(section, self.positions[number].draw(rng) + jitter, rng)

    def at(self, section: SectionData, centre: NDArray, rng: np.random.Generator) -> Sample:
        """The crop of `section` around `centre`."""
        margin = self.targets.margin
        grown = [n + 2 * m for n, m in zip(self.shape, margin, strict=True)]
        warp = draw_warp(grown, centre, rng, self.augmentation)
        labels, mask = sample_labels(section.labels, warp), sample_labels(section.mask, warp)
        inner = tuple(slice(m, m + n) for n, m in zip(self.shape, margin, strict=True))
        coordinates = warp.coordinates[(slice(None), *inner)]
        middle = len(section.raw) // 2
        slices = []
        for z, image in enumerate(normalised(section.raw)):
            shift = np.zeros((2, 1, 1), np.float32)
            if z != middle and rng.random() < self.augmentation.shift:
                shift[:, 0, 0] = rng.normal(0, self.augmentation.shift_voxels, 2)
            slices.append(sample_image(image, replace(warp, coordinates=coordinates + shift)))
        image = shade(np.stack(slices), rng, self.augmentation)
        return self.sample(image, labels, mask, sample_labels(section.scope, warp) > 0)


class LiftSamples:
    """Samples of synthetic labels for the net that turns stacked 2D predictions into 3D affinities.

    The input is computed from a corrupted copy of the labels and degraded, the target from the labels themselves.
    """

    def __init__(
        self,
        net: NetDescription,
        shape: Sequence[int],
        synthetic: Mapping[str, Any],
        settings: Mapping[str, Any],
        degradation: Degradation | None = None,
    ) -> None:
        self.net, self.shape = net, tuple(shape)
        self.synthetic, self.settings, self.degradation = dict(synthetic), settings, degradation

    def draw(self, rng: np.random.Generator) -> Sample:
        """Synthetic labels, seen as a 2D net would see them."""
        inputs = KINDS[self.net.kind].inputs
        margin = _longest(self.net.offsets)
        if "descriptors" in inputs:
            margin = tuple(map(max, margin, (0, *_window(self.net.sigma[-2:], self.settings["downsample"]))))
        depth, height, width = (n + 2 * m for n, m in zip(self.shape, margin, strict=True))
        labels = synthetic_labels((depth, height, width), rng, **self.synthetic)
        inner = tuple(slice(m, m + n) for n, m in zip(self.shape, margin, strict=True))
        seen = corrupt(labels, rng)
        first = len(descriptor_channels(2)) if "descriptors" in inputs else 0
        predicted = np.empty((first + len(self.net.input_offsets), *self.shape), np.float32)
        if "descriptors" in inputs:
            predicted[:first] = section_descriptors(seen, self.net.sigma[-2:], self.settings["downsample"], inner)
        if "affinities" in inputs:
            grown = grow_boundary(seen, self.settings["input_grow_boundary"], only_xy=True)
            predicted[first:] = affinities(grown, [(0, *offset) for offset in self.net.input_offsets], inner)
        objects = grow_boundary(labels, self.settings["grow_boundary"], only_xy=True)
        target = affinities(objects, self.net.offsets, inner)
        # everything is known, and the margin holds the partner of every voxel
        pairs = np.ones(target.shape, np.uint8)
        return Sample(
            degrade(predicted, rng, range(first, len(predicted)), self.degradation, overwrite=True),
            {"affinities": target.astype(np.float32)},
            {"affinities": balance_weights(target, pairs, groups=_singly(len(target)))},
        )


class VolumeSamples(AnnotatedSamples):
    """Samples of labelled volumes for a 3D net on raw data, on what another net predicts of them, or on both.

    Parameters
    ----------
    volumes
        Raw, labels and mask of every volume; labels and mask have the shape of raw.
    sections
        For every volume the range of z that may be learnt from: samples are centred in it, and nothing beyond counts.
    descriptors
        For every volume the predicted descriptors (10, z, y, x) that the net reads; None for a net on raw alone.
    weights
        For every volume how often samples are drawn from it, relative to others with as many objects; None for equally
        often.
    """

    def __init__(
        self,
        volumes: Sequence[tuple[Volume, Volume, Volume]],
        targets: Targets,
        shape: Sequence[int],
        augmentation: Augmentation,
        sections: Sequence[slice],
        descriptors: Sequence[Volume] | None = None,
        weights: Sequence[float] | None = None,
    ) -> None:
        self.targets, self.shape, self.augmentation = targets, tuple(shape), augmentation
        self.volumes = [tuple(_in_memory_if_small(volume) for volume in triple) for triple in volumes]
        self.descriptors = [_in_memory_if_small(volume) for volume in descriptors or ()]
        self.sections = sections
        self.isotropic = all(max(raw.voxel_size) <= 1.5 * min(raw.voxel_size) for raw, _, _ in volumes)
        self.positions = [
            volume_positions(labels, mask, z) for (_, labels, mask), z in zip(volumes, sections, strict=True)
        ]
        if sum(len(p) for p in self.positions) == 0:
            raise InputError(
                "no labelled voxel to train a 3D net on",
                allowed="pseudo ground truth or truth with at least one object",
                remedy="loosen the filters of `pseudo_truth`, or look at the segmentation they were given",
            )
        self.shares = shares(self.positions, weights or [1.0] * len(volumes))

    def draw(self, rng: np.random.Generator) -> Sample:
        """A crop around a random voxel of a random object."""
        number = rng.choice(len(self.volumes), p=self.shares)
        raw, labels, mask = self.volumes[number]
        jitter = rng.uniform(-0.25, 0.25, 3) * self.shape
        margin = self.targets.margin
        grown = [n + 2 * m for n, m in zip(self.shape, margin, strict=True)]
        centre = self.positions[number].draw(rng) + jitter
        warp = draw_warp(grown, centre, rng, self.augmentation, isotropic=self.isotropic)
        inner = tuple(slice(m, m + n) for n, m in zip(self.shape, margin, strict=True))
        seen = replace(warp, coordinates=warp.coordinates[(slice(None), *inner)])
        channels = []
        for name in KINDS[self.targets.kind].inputs:
            if name == "raw":
                channels.append(shade(_interpolate(raw, seen), rng, self.augmentation)[None])
            else:
                predicted = _interpolate(self.descriptors[number], seen)
                channels.append(turned_descriptors(predicted, warp.turn, self.targets.sigma))
        scope = inside(mask.shape, warp) & _among(self.sections[number], warp)
        return self.sample(np.concatenate(channels), _lookup(labels, warp), _lookup(mask, warp), scope)


def _among(sections: slice, warp: Warp) -> NDArray[np.bool_]:
    """Which voxels of the crop that `warp` maps come from these sections."""
    z = warp.coordinates[0]
    return (z >= sections.start - 0.5) & (z < sections.stop - 0.5)


def volume_positions(labels: Volume, mask: Volume, sections: slice, slab: int = 32) -> Positions:
    """Annotated voxels of a volume, slab by slab, so that no more than a slab is in memory."""
    parts: dict[int, list[NDArray[np.int32]]] = {}
    rng = np.random.default_rng(0)
    for start in range(sections.start, sections.stop, slab):
        box = slice(start, min(start + slab, sections.stop))
        values = labels[box]
        found = annotated_positions(values, (mask[box] > 0) & (values > 0), limit_per_object=500, rng=rng)
        for first, last in zip(found.starts[:-1], found.starts[1:], strict=True):
            voxels = found.voxels[first:last]
            identity = int(values[tuple(voxels[0])])
            parts.setdefault(identity, []).append(voxels + np.array([start, 0, 0], np.int32))
    runs = [np.concatenate(pieces) for _, pieces in sorted(parts.items())]
    starts = np.concatenate([[0], np.cumsum([len(run) for run in runs])]).astype(np.int64)
    return Positions(np.concatenate(runs) if runs else np.empty((0, 3), np.int32), starts)


SMALL = 512 * 2**20  # bytes; what fits beside a net in any machine's memory and spares reading chunks again and again


def _in_memory_if_small(volume: Volume) -> Any:
    return volume[...] if volume.dtype.itemsize * np.prod(volume.shape) <= SMALL else volume


def _bounds(warp: Warp, shape: Sequence[int]) -> tuple[slice, ...]:
    """The part of an array of `shape` that `warp` looks at; at least one voxel of every axis."""
    low = np.floor(warp.coordinates.reshape(len(shape), -1).min(axis=1)).astype(int) - 1
    high = np.ceil(warp.coordinates.reshape(len(shape), -1).max(axis=1)).astype(int) + 2
    return tuple(
        slice(int(np.clip(a, 0, n - 1)), int(np.clip(b, 1, n))) for a, b, n in zip(low, high, shape, strict=True)
    )


def _moved(warp: Warp, box: tuple[slice, ...]) -> Warp:
    start = np.array([side.start for side in box], np.float32).reshape(-1, *[1] * len(box))
    return replace(warp, coordinates=warp.coordinates - start)


def _lookup(source: Any, warp: Warp) -> NDArray:
    box = _bounds(warp, source.shape)
    return sample_labels(source[box], _moved(warp, box))


def _interpolate(source: Any, warp: Warp) -> Floats:
    """The crop of `source`, with its channels where it has some."""
    box = _bounds(warp, source.shape[-len(warp.coordinates) :])
    values, moved = normalised(source[(..., *box)]), _moved(warp, box)
    if values.ndim == len(box):
        return sample_image(values, moved)
    return np.stack([sample_image(channel, moved) for channel in values])
