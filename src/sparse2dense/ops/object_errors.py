"""Which objects are split and which segments merge, from a table of overlaps, and where in the volume."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.ops.overlaps import OverlapTable

__all__ = ["MERGE", "SPLIT", "ObjectErrors", "error_volume", "merge_errors", "split_errors"]

SPLIT, MERGE = 1, 2
"""Bits of the codes of `error_volume`."""


@dataclass(frozen=True)
class ObjectErrors:
    """What each object's splits, or each segment's merges, add to the variation of information; a row per label.

    Parameters
    ----------
    label
        uint64, ascending: the true object, or the segment.
    bits
        float64: its part of voi_split, or of voi_merge; all parts add up to it.
    voxels
        int64: voxels of it that count.
    partners
        int64: segments that share the object, or objects that share the segment; background (0) is one of them.
    main
        uint64: the partner that shares most voxels, the smallest of equal ones, 0 only where there is no other.
    main_voxels
        int64: how many voxels both share.
    """

    label: NDArray[np.uint64]
    bits: NDArray[np.float64]
    voxels: NDArray[np.int64]
    partners: NDArray[np.int64]
    main: NDArray[np.uint64]
    main_voxels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.label)

    def select(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> "ObjectErrors":
        """Return the rows where `rows` is true, or the rows at those places."""
        return ObjectErrors(
            self.label[rows], self.bits[rows], self.voxels[rows], self.partners[rows], self.main[rows],
            self.main_voxels[rows],
        )  # fmt: skip

    def worst(self, count: int) -> "ObjectErrors":
        """Return at most `count` labels with errors, most bits first, equal ones by label; background isn't listed."""
        order = np.lexsort((self.label, -self.bits))
        wrong = (self.partners[order] > 1) & (self.label[order] != 0)
        return self.select(order[wrong][:count])


def split_errors(table: OverlapTable) -> ObjectErrors:
    """Return how every true object is split; truth 0 doesn't count, segment 0 is a segment like any other.

    A table of fragments becomes one of segments by `ops.overlaps.relabel` and a look-up table.
    """
    table = table.select(table.truth != 0)
    return _errors(table.truth, table.segment, table.voxels)


def merge_errors(table: OverlapTable) -> ObjectErrors:
    """Return how every segment merges true objects; conventions as in `split_errors`."""
    table = table.select(table.truth != 0)
    return _errors(table.segment, table.truth, table.voxels)


def _errors(labels: NDArray[np.uint64], partner: NDArray[np.uint64], voxels: NDArray[np.int64]) -> ObjectErrors:
    # by label; within one the main partner first: no background, most voxels, smallest id
    order = np.lexsort((partner, -voxels, partner == 0, labels))
    labels, partner, voxels = labels[order], partner[order], voxels[order]
    ids, first, inverse, partners = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    sizes = np.zeros(len(ids), np.int64)
    np.add.at(sizes, inverse, voxels)
    bits = np.bincount(inverse, -voxels * np.log2(voxels / sizes[inverse]), len(ids)) / max(int(voxels.sum()), 1)
    # + 0 turns the -0 of an undivided object into 0
    return ObjectErrors(ids, bits + 0.0, sizes, partners.astype(np.int64), partner[first], voxels[first])


def error_volume(
    truth: NDArray,
    segmentation: NDArray,
    splits: ObjectErrors,
    merges: ObjectErrors,
    counted: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """Say of every voxel whether it is where most of its object and of its segment is.

    Needs nothing but the voxel itself and the tables of the whole volume, so any block can be done alone.

    Parameters
    ----------
    truth, segmentation
        Unsigned integers of the same shape: the whole volume, or a block of it.
    splits, merges
        As `split_errors` and `merge_errors` return for the whole volume.
    counted
        Voxels that the table counted, where it didn't count all.

    Returns
    -------
    uint8: 0 where the voxel is right, truth is 0 or nothing was counted; the sum of SPLIT (1), not in the main segment
    of its object, and MERGE (2), not of the main object of its segment. Background holds no objects: a voxel of an
    object in segment 0 is a split only.

    Raises InputError when shapes differ, or the tables don't know a label that counts.
    """
    counts = truth != 0 if counted is None else (truth != 0) & counted
    if not truth.shape == segmentation.shape == counts.shape:
        raise InputError(
            f"truth of shape {truth.shape} beside a segmentation of shape {segmentation.shape}",
            allowed="equal shapes",
            remedy="crop both to the region they share",
        )
    objects, segments = truth[counts].astype(np.uint64), segmentation[counts].astype(np.uint64)
    codes = np.zeros(truth.shape, np.uint8)
    split = (_main("truth", splits, objects) != segments) | (segments == 0)
    merged = (_main("segmentation", merges, segments) != objects) & (segments != 0)
    codes[counts] = SPLIT * split.astype(np.uint8) + MERGE * merged.astype(np.uint8)
    return codes


def _main(name: str, errors: ObjectErrors, labels: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the main partner of every label."""
    place = np.minimum(np.searchsorted(errors.label, labels), max(len(errors) - 1, 0))
    unknown = errors.label[place] != labels if len(errors) else np.ones(labels.shape, np.bool_)
    if unknown.any():
        raise InputError(
            f"{name} holds label {labels[unknown][0]}, which the table of overlaps doesn't know",
            allowed="labels that were counted when the table was made",
            remedy="make the table from these volumes, and pass what counted then",
        )
    return errors.main[place] if len(errors) else np.zeros(labels.shape, np.uint64)
