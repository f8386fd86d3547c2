"""Where objects are: bounding boxes, found block by block."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import fastremap
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from sparse2dense.errors import InputError

__all__ = ["ObjectBoxes", "merge_boxes", "object_boxes"]


@dataclass(frozen=True)
class ObjectBoxes:
    """The smallest boxes that hold each object.

    Parameters
    ----------
    label
        uint64, ascending; background (0) has no box.
    begin, end
        int64 (n, dimensions): the first voxel inside and the first beyond, per axis.
    """

    label: NDArray[np.uint64]
    begin: NDArray[np.int64]
    end: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.label)

    def slices(self, label: int) -> tuple[slice, ...]:
        """Return the box of one object; InputError when there is none of that label."""
        found = np.flatnonzero(self.label == np.uint64(label))
        if len(found) == 0:
            raise InputError(
                f"object {label} is in none of {len(self)} boxes",
                allowed="a label of the volume other than 0",
                remedy="look for the object in the volume whose boxes these are",
            )
        return self._box(found[0])

    def items(self, margin: int, shape: Sequence[int]) -> Iterator[tuple[int, tuple[slice, ...]]]:
        """Yield each label with its box, `margin` voxels larger on every side as far as a volume of `shape` goes."""
        for row, label in enumerate(self.label.tolist()):
            box = zip(self._box(row), shape, strict=True)
            yield label, tuple(slice(max(side.start - margin, 0), min(side.stop + margin, end)) for side, end in box)

    def _box(self, row: int) -> tuple[slice, ...]:
        return tuple(slice(int(a), int(b)) for a, b in zip(self.begin[row], self.end[row], strict=True))


def object_boxes(labels: NDArray, start: Sequence[int] | None = None) -> ObjectBoxes:
    """Return the bounding box of every label, of a volume or of a block of it.

    Parameters
    ----------
    labels
        Any integers of at least 0, any number of dimensions.
    start
        Where the block begins in the volume, in voxels; boxes count from the volume's first voxel.
    """
    dense, ids = fastremap.renumber(np.ascontiguousarray(labels), preserve_zero=True, in_place=False)
    names = {number: label for label, number in ids.items() if number != 0}
    shift = np.zeros(labels.ndim, np.int64) if start is None else np.asarray(start, np.int64)
    boxes = find_objects(dense) if names else []
    label = np.array([names[number] for number in range(1, len(boxes) + 1)], np.uint64)
    begin, end = (
        np.array([[getattr(side, name) for side in box] for box in boxes], np.int64).reshape(-1, labels.ndim) + shift
        for name in ("start", "stop")
    )
    order = np.argsort(label)
    return ObjectBoxes(label[order], begin[order], end[order])


def merge_boxes(parts: Iterable[ObjectBoxes]) -> ObjectBoxes:
    """Return the boxes of a volume from those of parts that cover it, in any order.

    Raises InputError when there are no parts at all, as nothing says how many axes there are.
    """
    tables = list(parts)
    if not tables:
        raise InputError("no boxes to merge", allowed="at least one block", remedy="pass the boxes of every block")
    label, inverse = np.unique(np.concatenate([table.label for table in tables]), return_inverse=True)
    begin, end = (np.concatenate([getattr(table, name) for table in tables]) for name in ("begin", "end"))
    first = np.full((len(label), begin.shape[1]), np.iinfo(np.int64).max)
    last = np.full_like(first, np.iinfo(np.int64).min)
    np.minimum.at(first, inverse, begin)
    np.maximum.at(last, inverse, end)
    return ObjectBoxes(label, first, last)
