"""Filters that turn a segmentation into a pseudo ground truth: keep what is likely a whole object."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cc3d
import fastremap
import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import expand_labels

__all__ = [
    "Objects",
    "fill_holes",
    "keep_objects",
    "objects_of",
    "without_brief",
    "without_dust",
    "without_outliers",
]


@dataclass(frozen=True)
class Objects:
    """The objects of a label volume.

    Parameters
    ----------
    ids
        uint64, ascending, without 0.
    voxels
        int64: size of each.
    sections
        int64: number of sections (z) in which each occurs.
    """

    ids: NDArray[np.uint64]
    voxels: NDArray[np.int64]
    sections: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, keep: NDArray[np.bool_]) -> "Objects":
        """Return the objects where `keep` is true."""
        return Objects(self.ids[keep], self.voxels[keep], self.sections[keep])


def objects_of(labels: NDArray) -> Objects:
    """Count voxels and sections of every object of `labels` (z, y, x), any unsigned integers; 0 is no object."""
    found = [fastremap.unique(np.ascontiguousarray(section), return_counts=True) for section in labels]
    every = np.concatenate([ids.astype(np.uint64) for ids, _ in found] or [np.zeros(0, np.uint64)])
    counts = np.concatenate([counts.astype(np.int64) for _, counts in found] or [np.zeros(0, np.int64)])
    ids, inverse, sections = np.unique(every, return_inverse=True, return_counts=True)
    voxels = np.zeros(len(ids), np.int64)
    np.add.at(voxels, inverse, counts)
    return Objects(ids, voxels, sections.astype(np.int64)).select(ids != 0)


def without_dust(objects: Objects, minimum_voxels: int) -> Objects:
    """Keep objects of at least `minimum_voxels` voxels."""
    return objects.select(objects.voxels >= minimum_voxels)


def without_outliers(objects: Objects, deviations: float) -> Objects:
    """Keep objects whose logarithm of size lies within `deviations` standard deviations of the mean of those given.

    Sizes of objects spread over orders of magnitude: on a plain scale the largest few, most of the volume in a crop,
    would be outliers. Give it what is left after the dust.
    """
    if len(objects) == 0:
        return objects
    size = np.log(objects.voxels.astype(np.float64))
    return objects.select(np.abs(size - size.mean()) <= deviations * size.std() + 1e-9)


def without_brief(objects: Objects, minimum_sections: int) -> Objects:
    """Keep objects that occur in at least `minimum_sections` sections."""
    return objects.select(objects.sections >= minimum_sections)


def keep_objects(labels: NDArray, objects: Objects) -> NDArray:
    """Return `labels` with 0 wherever there is none of `objects`; shape and type stay."""
    found, inverse = np.unique(labels, return_inverse=True)
    kept = np.where(np.isin(found.astype(np.uint64), objects.ids), found, found.dtype.type(0))
    return kept[inverse].reshape(labels.shape)


def fill_holes(labels: NDArray, *, per_section: bool = True, objects: bool = True) -> NDArray:
    """Fill what a single object encloses, background and where asked other objects, with that object.

    A region of background or of one object is enclosed when it touches no face of the array and one other region only
    (through faces of voxels); regions inside an enclosed region go with it. A background hole that contains objects
    is filled too; objects that lie in background which is itself not enclosed stay.

    Parameters
    ----------
    labels
        (z, y, x) unsigned integers, 0 is background; left as they are.
    per_section
        Look at every section alone, so that a tunnel through the sections is a hole in each; otherwise in 3D.
    objects
        Fill enclosed objects too, otherwise background only.
    """
    if per_section:
        return np.stack([_filled(section, objects) for section in labels]) if len(labels) else labels.copy()
    return _filled(labels, objects)


def grow_into_gaps(labels: NDArray, free: NDArray[np.bool_], distance: float, voxel_size: Sequence[float]) -> NDArray:
    """Grow objects into the background between them, each voxel going to the nearest object.

    Parameters
    ----------
    labels
        (z, y, x) unsigned integers, 0 is background; left as they are.
    free
        Which voxels of the background may be taken, of the shape of `labels`.
    distance
        How far to grow, in voxels of the axis with the smallest ones.
    voxel_size
        Of the three axes, in any unit.
    """
    if distance <= 0:
        return labels.copy()
    spacing = np.asarray(voxel_size, float) / min(voxel_size)
    return np.where(free, expand_labels(labels, distance, spacing=tuple(spacing)), labels)


def _filled(labels: NDArray, objects: bool) -> NDArray:
    if labels.size == 0:
        return labels.copy()
    connectivity: Literal[4, 6] = 4 if labels.ndim == 2 else 6
    regions = cc3d.connected_components(labels, connectivity=connectivity).astype(np.int64)
    holes = cc3d.connected_components(labels == 0, connectivity=connectivity).astype(np.int64)
    regions = np.where(holes > 0, holes + regions.max(), regions) - 1
    label_of = np.zeros(int(regions.max()) + 1, labels.dtype)
    label_of[regions.reshape(-1)] = labels.reshape(-1)
    parent = _enclosing(regions, len(label_of))
    if not parent:
        return labels.copy()
    filled = label_of.copy()
    # an object takes all that it encloses, at any depth; background takes nothing
    for region in parent:
        if label_of[region] != 0 and not objects:
            continue
        outer = region
        while outer in parent:
            outer = parent[outer]
            if label_of[outer] != 0:
                filled[region] = label_of[outer]
    return filled[regions]


def _enclosing(regions: NDArray[np.int64], count: int) -> dict[int, int]:
    """Return for every enclosed region the region that encloses it."""
    neighbours: list[set[int]] = [set() for _ in range(count)]
    open_regions: set[int] = set()
    for axis in range(regions.ndim):
        lines = np.moveaxis(regions, axis, 0)
        open_regions.update(np.unique(lines[[0, -1]]).tolist())
        differ = lines[1:] != lines[:-1]
        for u, v in _distinct_pairs(lines[1:][differ], lines[:-1][differ], count):
            neighbours[u].add(v)
            neighbours[v].add(u)
    leaves = deque(r for r in range(count) if len(neighbours[r]) == 1 and r not in open_regions)
    parent: dict[int, int] = {}
    while leaves:
        leaf = leaves.popleft()
        if not neighbours[leaf]:
            continue
        outer = neighbours[leaf].pop()
        parent[leaf] = outer
        neighbours[outer].discard(leaf)
        if len(neighbours[outer]) == 1 and outer not in open_regions:
            leaves.append(outer)
    return parent


def _distinct_pairs(u: NDArray[np.int64], v: NDArray[np.int64], count: int) -> list[list[int]]:
    """Return the distinct pairs of regions, which are numbered below `count`."""
    pairs = np.unique(u * count + v)
    return np.stack([pairs // count, pairs % count], axis=1).tolist()
