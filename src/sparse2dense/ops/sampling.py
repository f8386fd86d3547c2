"""Where to train: positions in annotated voxels, balanced over objects."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Positions", "annotated_positions"]


@dataclass(frozen=True)
class Positions:
    """Annotated voxels grouped by object, so that a small object is drawn as often as a large one.

    Parameters
    ----------
    voxels
        int32 (n, axes): annotated voxels, those of one object in one run.
    starts
        int64 (objects + 1): where each object's run begins, and the end of the last.
    """

    voxels: NDArray[np.int32]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def draw(self, rng: np.random.Generator) -> NDArray[np.int32]:
        """A random voxel of a random object, int32 (axes)."""
        object_ = rng.integers(len(self))
        return self.voxels[rng.integers(self.starts[object_], self.starts[object_ + 1])]


def annotated_positions(
    labels: NDArray, mask: NDArray, limit_per_object: int = 5000, rng: np.random.Generator | None = None
) -> Positions:
    """Voxels that training samples may be centred on.

    Parameters
    ----------
    labels
        Instance ids (*axes), any integer dtype.
    mask
        1 where the annotation speaks (*axes). Annotated background counts as one object.
    limit_per_object
        Voxels kept of an object; a random choice of them where it has more, which bounds memory.

    Returns
    -------
    Positions; empty where nothing is annotated.
    """
    rng = rng or np.random.default_rng(0)
    where = np.flatnonzero(mask)
    ids = labels.reshape(-1)[where]
    shuffled = rng.permutation(len(where))  # so that the first ones of an object are a random choice of it
    order = shuffled[np.argsort(ids[shuffled], kind="stable")]
    where, ids = where[order], ids[order]
    _, first, counts = np.unique(ids, return_index=True, return_counts=True)
    kept = np.minimum(counts, limit_per_object)
    keep = np.concatenate([np.arange(a, a + n) for a, n in zip(first, kept, strict=True)] or [np.empty(0, np.int64)])
    voxels = np.stack(np.unravel_index(where[keep], labels.shape), axis=1).astype(np.int32)
    return Positions(voxels, np.concatenate([[0], np.cumsum(kept)]).astype(np.int64))
