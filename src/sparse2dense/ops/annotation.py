"""Sparse annotations: drawn from dense truth for studies, or painted by hand.

What to draw is decided once for a whole volume (`draw_disks`, `draw_objects`, `split_objects`); the functions that then
draw it work on any block of the volume, given where the block begins, and blocks put together equal the whole.
Every one of them returns labels (uint64) and mask (uint8, 1 where the annotation speaks); where the mask is 0, so are
the labels.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = [
    "Annotation",
    "Zero",
    "count_labels",
    "dense",
    "disks",
    "draw_disks",
    "draw_objects",
    "in_disks",
    "label_statistics",
    "objects",
    "painted",
    "remove_labels",
    "sections",
    "small_objects",
    "split_objects",
    "sum_counts",
]

Zero = Literal["unlabelled", "background"]
Annotation = tuple[NDArray[np.uint64], NDArray[np.uint8]]


def painted(labels: NDArray, mask: NDArray | None = None, *, zero: Zero = "unlabelled") -> Annotation:
    """Hand-made labels as an annotation.

    Parameters
    ----------
    labels
        Integer ids of any shape.
    mask
        Not 0 where the annotation speaks, same shape; decides alone what 0 means where it is given.
    zero
        Without a mask: whether label 0 is unknown (`unlabelled`), or known to be no object (`background`).
    """
    if mask is not None:
        spoken = mask != 0
    elif zero == "background":
        spoken = np.ones(labels.shape, bool)
    else:
        spoken = labels != 0
    return _within(labels, spoken)


def dense(truth: NDArray, *, zero: Zero = "unlabelled") -> Annotation:
    """All of the truth (z, y, x); `zero` as in `painted`."""
    return painted(truth, zero=zero)


def sections(
    truth: NDArray, chosen: Collection[int], *, zero: Zero = "unlabelled", first_section: int = 0
) -> Annotation:
    """Whole sections of the truth.

    Parameters
    ----------
    truth
        Labels (z, y, x) of a block.
    chosen
        Numbers of sections in the volume.
    zero
        As in `painted`, within the chosen sections.
    first_section
        Number of the block's first section.
    """
    numbers = first_section + np.arange(len(truth))
    spoken = np.broadcast_to(np.isin(numbers, list(chosen))[:, None, None], truth.shape)
    return _within(truth, spoken & _speaks(truth, zero))


def draw_disks(
    shape: Sequence[int], count: int, rng: np.random.Generator, *, chosen: Sequence[int] | None = None
) -> NDArray[np.int64]:
    """Draw centres (count, 3) of disks uniformly from the voxels of a volume, or of its `chosen` sections."""
    numbers = np.arange(shape[0]) if chosen is None else np.unique(np.asarray(chosen, np.int64))
    place = [rng.choice(numbers, count), rng.integers(0, shape[1], count), rng.integers(0, shape[2], count)]
    return np.stack(place, axis=1).astype(np.int64)


def in_disks(
    shape: Sequence[int], centres: NDArray[np.int64], radius: float, *, begin: Sequence[int] = (0, 0, 0)
) -> NDArray[np.bool_]:
    """Which voxels of a block of `shape` lie in a disk; the rest as for `disks`."""
    found = np.zeros(shape, bool)
    rows = begin[1] + np.arange(shape[1])[:, None]
    columns = begin[2] + np.arange(shape[2])[None, :]
    for section, y, x in centres:
        if begin[0] <= section < begin[0] + shape[0]:
            found[section - begin[0]] |= (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
    return found


def disks(
    truth: NDArray,
    centres: NDArray[np.int64],
    radius: float,
    *,
    zero: Zero = "unlabelled",
    begin: Sequence[int] = (0, 0, 0),
) -> Annotation:
    """The truth within disks, each in one section.

    Parameters
    ----------
    truth
        Labels (z, y, x) of a block.
    centres
        Voxels (n, 3) in the volume, see `draw_disks`.
    radius
        Voxels; a voxel at this distance still belongs.
    zero
        As in `painted`, within the disks.
    begin
        Position (z, y, x) of the block's first voxel in the volume.
    """
    return _within(truth, in_disks(truth.shape, centres, radius, begin=begin) & _speaks(truth, zero))


def draw_objects(statistics: pd.DataFrame, count: int, rng: np.random.Generator) -> NDArray[np.uint64]:
    """Draw `count` different objects, all equally likely: ids ascending. ValueError if there are fewer."""
    ids = statistics["object"].to_numpy(np.uint64)
    return np.sort(rng.choice(ids, count, replace=False))


def split_objects(statistics: pd.DataFrame, parts: int) -> list[NDArray[np.uint64]]:
    """Split objects into parts of about equal voxel count: the largest object left goes to the smallest part so far.

    Returns the ids of every part, ascending. Ties go to the lower id and to the first part.
    """
    ordered = statistics.sort_values(["voxels", "object"], ascending=[False, True])
    sizes = [0] * parts
    members: list[list[int]] = [[] for _ in range(parts)]
    for number, voxels in zip(ordered["object"].tolist(), ordered["voxels"].tolist(), strict=True):
        smallest = sizes.index(min(sizes))
        sizes[smallest] += voxels
        members[smallest].append(number)
    return [np.array(sorted(part), np.uint64) for part in members]


def objects(truth: NDArray, ids: NDArray[np.uint64]) -> Annotation:
    """Whole objects; nothing is said about the rest of the volume, be it background or not."""
    labels = truth.astype(np.uint64, copy=False)
    return _within(labels, np.isin(labels, ids) & (labels != 0))


def remove_labels(labels: NDArray, mask: NDArray, ids: NDArray[np.uint64]) -> Annotation:
    """Take objects out of an annotation: their voxels become unlabelled, not background."""
    labels = labels.astype(np.uint64, copy=False)
    return _within(labels, (mask != 0) & ~np.isin(labels, ids))


def small_objects(statistics: pd.DataFrame, minimum_size: int) -> NDArray[np.uint64]:
    """Ids of the objects of fewer than `minimum_size` voxels."""
    return statistics.loc[statistics["voxels"] < minimum_size, "object"].to_numpy(np.uint64)


def count_labels(labels: NDArray, *, first_section: int = 0) -> pd.DataFrame:
    """Voxels of every object in every section of a block (z, y, x); blocks are put together by `sum_counts`.

    Returns columns object (uint64), section and voxels (int64). Label 0 is no object.
    """
    parts = []
    for number, section in enumerate(labels):
        ids, voxels = np.unique(section, return_counts=True)
        known = ids != 0
        parts.append(
            pd.DataFrame(
                {
                    "object": ids[known].astype(np.uint64),
                    "section": np.full(int(known.sum()), first_section + number, np.int64),
                    "voxels": voxels[known].astype(np.int64),
                }
            )
        )
    return sum_counts(parts)


def sum_counts(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Add tables of `count_labels`; the order of blocks doesn't matter."""
    empty = pd.DataFrame(
        {"object": np.array([], np.uint64), "section": np.array([], np.int64), "voxels": np.array([], np.int64)}
    )
    present = [part for part in parts if len(part)]
    if not present:
        return empty
    return pd.concat(present).groupby(["object", "section"], as_index=False).agg(voxels=("voxels", "sum"))


def label_statistics(counts: pd.DataFrame) -> pd.DataFrame:
    """Size and extent of every object, from the table of `count_labels`.

    Returns columns object (uint64), voxels, sections (number of sections it is in), first_section, last_section.
    """
    grouped = counts.groupby("object", as_index=False)
    return grouped.agg(
        voxels=("voxels", "sum"),
        sections=("section", "nunique"),
        first_section=("section", "min"),
        last_section=("section", "max"),
    )


def _speaks(truth: NDArray, zero: Zero) -> NDArray[np.bool_]:
    return np.ones(truth.shape, bool) if zero == "background" else truth != 0


def _within(labels: NDArray, spoken: NDArray[np.bool_]) -> Annotation:
    labels = labels.astype(np.uint64, copy=False)
    return np.where(spoken, labels, np.uint64(0)), spoken.astype(np.uint8)
