"""Filters that turn a segmentation into a pseudo ground truth: keep what is likely a whole object."""

from collections.abc import Iterable
from dataclasses import dataclass

import fastremap
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Objects",
    "Profiles",
    "join_objects",
    "keep_objects",
    "objects_of",
    "profiles_of",
    "without_brief",
    "without_dust",
    "without_outliers",
]


@dataclass(frozen=True)
class Profiles:
    """What objects show in single sections, one row per object and section.

    Parameters
    ----------
    ids
        uint64, without 0.
    sections
        int64: number of the section (z).
    voxels
        int64: size in that section.
    """

    ids: NDArray[np.uint64]
    sections: NDArray[np.int64]
    voxels: NDArray[np.int64]


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


def profiles_of(labels: NDArray, first_section: int = 0) -> Profiles:
    """Count the voxels of every object in every section of `labels` (z, y, x), any unsigned integers; 0 is no object.

    `first_section` is the number of the first one, for a part of a volume.
    """
    found = [fastremap.unique(np.ascontiguousarray(section), return_counts=True) for section in labels]
    ids = np.concatenate([np.zeros(0, np.uint64), *(ids.astype(np.uint64) for ids, _ in found)])
    voxels = np.concatenate([np.zeros(0, np.int64), *(counts.astype(np.int64) for _, counts in found)])
    sections = np.repeat(np.arange(len(labels)) + first_section, [len(ids) for ids, _ in found])
    return Profiles(ids[ids != 0], sections[ids != 0], voxels[ids != 0])


def objects_of(parts: Iterable[Profiles]) -> Objects:
    """Put objects together from their profiles in one or more parts of a volume; the cut may go through profiles."""
    rows = [(part.ids, part.sections, part.voxels) for part in parts]
    ids, sections, voxels = map(np.concatenate, zip(*rows, strict=True))
    order = np.lexsort((sections, ids))
    ids, sections, voxels = ids[order], sections[order], voxels[order]
    new = np.ones(len(ids), np.int64)
    new[1:] = (ids[1:] != ids[:-1]) | (sections[1:] != sections[:-1])
    return _added(ids, voxels, new)


def join_objects(parts: Iterable[Objects]) -> Objects:
    """Put objects together from one or more parts of a volume that have no section in common."""
    rows = [(part.ids, part.voxels, part.sections) for part in parts]
    return _added(*map(np.concatenate, zip(*rows, strict=True)))


def _added(ids: NDArray[np.uint64], voxels: NDArray[np.int64], sections: NDArray[np.int64]) -> Objects:
    found, inverse = np.unique(ids, return_inverse=True)
    sums = np.zeros((2, len(found)), np.int64)
    np.add.at(sums[0], inverse, voxels)
    np.add.at(sums[1], inverse, sections)
    return Objects(found, *sums)


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
    found = fastremap.unique(labels).astype(np.uint64)
    before, after = (np.searchsorted(objects.ids, found, side) for side in ("left", "right"))
    return fastremap.mask(np.ascontiguousarray(labels), found[before == after].tolist())
