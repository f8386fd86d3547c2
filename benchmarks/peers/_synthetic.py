"""Synthetic labels as Bootstrapper draws them and the errors it puts into a copy, after a description of both."""

from typing import Any

import gunpowder as gp
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.draw import ellipse
from skimage.morphology import disk, footprint_rectangle, star
from skimage.segmentation import expand_labels, relabel_sequential, watershed

from benchmarks.peers._nodes import Change, chance

Labels = NDArray[np.uint32]


class SyntheticLabels(gp.BatchProvider):
    """A new volume of labels for every sample, its origin at 0."""

    def __init__(self, array: gp.ArrayKey, shape: tuple[int, int, int]) -> None:
        self.array, self.shape = array, shape

    def setup(self) -> None:
        """Declare labels of 1 nm a voxel."""
        roi = gp.Roi((0, 0, 0), self.shape)
        self.provides(self.array, gp.ArraySpec(roi, (1, 1, 1), interpolatable=False, dtype=np.uint32))

    def provide(self, request: gp.BatchRequest) -> gp.Batch:
        """Draw the volume and return what is asked for."""
        roi = request[self.array].roi
        spec = self.spec[self.array].copy()
        spec.roi = roi
        batch = gp.Batch()
        batch[self.array] = gp.Array(draw_labels(self.shape)[roi.to_slices()], spec)
        return batch


def draw_labels(shape: tuple[int, int, int]) -> Labels:
    """Tubes or a tessellation, on a grid of 2 to 4 times the sections, of which every so many are kept."""
    finer = int(chance.integers(2, 5))
    grid = (finer * shape[0], *shape[1:])
    labels = draw_tubes(grid, finer) if chance.random() < 0.5 else draw_tessellation(grid)
    for divisor in (3, 5):
        if chance.random() < 0.2:
            labels[labels % divisor == 0] = 0
    return labels[::finer]


def draw_tubes(grid: tuple[int, int, int], finer: int) -> Labels:
    """Points dilated at random in every section; those that touch are one object, which takes what is nearest to it."""
    seeds = np.zeros(grid, bool)
    for _ in range(chance.integers(5, 5 * finer + 1)):
        seeds[tuple(chance.integers(1, side) for side in grid)] = True
    for z, section in enumerate(seeds):
        seeds[z] = ndimage.binary_dilation(section, draw_shape(), iterations=chance.integers(1, 11))
    pieces, _ = ndimage.label(seeds, np.ones((3, 3, 3)))
    labels = expand_labels(pieces, grid[0])
    labels[labels == 0] = labels.max() + 1
    return np.asarray(relabel_sequential(labels)[0], np.uint32)


def draw_tessellation(grid: tuple[int, int, int]) -> Labels:
    """A watershed of blurred noise from its maxima."""
    peaks = ndimage.gaussian_filter(chance.random(grid).astype(np.float32), 10)
    seeds, _ = ndimage.label(ndimage.maximum_filter(peaks, 15) == peaks)
    return np.asarray(watershed(1 - peaks, seeds), np.uint32)


def draw_shape() -> NDArray[np.uint8]:
    """What a section is dilated with."""
    kind = chance.integers(7)
    if kind == 0:
        return np.asarray(star(chance.integers(4, 7)))
    if kind == 1:
        return np.asarray(footprint_rectangle((3, 3)))
    if kind == 2:
        return np.asarray(star(chance.integers(3, 6)))
    if kind == 3:
        return np.asarray(disk(chance.integers(1, 5)))
    if kind == 4:
        return np.asarray(star(chance.integers(2, 5)))
    if kind == 5:
        return oval(*chance.integers(2, 5, 2))
    return np.asarray(star(chance.integers(6, 9)))


def oval(height: int, width: int) -> NDArray[np.uint8]:
    """An ellipse of these half axes."""
    footprint = np.zeros((2 * height + 1, 2 * width + 1), np.uint8)
    footprint[ellipse(height, width, height + 0.5, width + 0.5)] = 1
    return footprint


class Obfuscate(Change):
    """Five times, each with a chance of a tenth: an object split, two merged and an artefact in one or two sections."""

    def changed(self, data: NDArray[Any]) -> NDArray[Any]:
        """Labels."""
        for _ in range(5):
            if chance.random() < 0.1:
                split(data)
                merge(data)
                stamp(data)
        return data


def split(labels: NDArray[Any]) -> None:
    """Split an object by a watershed of its distance from outside, in one or two sections."""
    identities = np.unique(labels[labels > 0])
    if not len(identities):
        return
    chosen = chance.choice(identities)
    box = ndimage.find_objects((labels == chosen).astype(np.uint8))[0]
    inside = labels[box] == chosen
    distance = ndimage.distance_transform_edt(inside)
    window = int(chance.integers(15, 51))
    seeds, _ = ndimage.label((ndimage.maximum_filter(distance, window) == distance) & inside)
    fragments = watershed(-distance, seeds, mask=inside)
    for z in some_sections(inside):
        here = inside[z]
        labels[box][z][here] = labels.max() + fragments[z][here]


def merge(labels: NDArray[Any]) -> None:
    """Give an object the label of another in one or two sections."""
    identities = np.unique(labels[labels > 0])
    if len(identities) < 2:
        return
    one, other = chance.choice(identities, 2, replace=False)
    for z in some_sections(labels):
        labels[z][labels[z] == other] = one


def stamp(labels: NDArray[Any]) -> None:
    """Put a shape with a label of its own into one or two sections."""
    for z in some_sections(labels):
        shape = draw_shape()
        y, x = (chance.integers(0, side - n + 1) for side, n in zip(labels.shape[1:], shape.shape, strict=True))
        labels[z, y : y + shape.shape[0], x : x + shape.shape[1]][shape > 0] = labels.max() + 1


def some_sections(volume: NDArray[Any]) -> NDArray[np.int64]:
    """One or two sections."""
    return chance.choice(len(volume), min(len(volume), int(chance.integers(1, 3))), replace=False)
