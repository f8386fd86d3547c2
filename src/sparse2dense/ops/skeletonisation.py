"""Skeletons from dense labels: thin every object to its midline, and set nodes along it."""

import heapq
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cc3d
import edt
import numba
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import minimum_spanning_tree
from skimage.morphology import skeletonize

from sparse2dense.errors import InputError
from sparse2dense.ops.object_boxes import object_boxes
from sparse2dense.ops.skeletons import Skeletons, consolidate, join

__all__ = ["skeletonise", "skeletonise_object"]

STEPS = [step for step in itertools.product((-1, 0, 1), repeat=3) if step > (0, 0, 0)]
"""One of every two opposite steps to the 26 neighbours of a voxel."""
SPUR = 1.5
"""A side branch shorter than this times the distance to the surface at its fork is a bump of the surface."""


def skeletonise(
    labels: NDArray, voxel_size: Sequence[float], *, node_distance_nm: float, offset_nm: Sequence[float] = (0, 0, 0)
) -> Skeletons:
    """Return a skeleton for every object of dense labels.

    Parameters
    ----------
    labels
        (z, y, x), any integers; 0 is background.
    voxel_size
        z, y, x in nm.
    node_distance_nm
        Farthest distance of two nodes along the line, up to a voxel. Ends and branching points have nodes too.
    offset_nm
        Corner of the first voxel; nodes lie in centres of voxels.

    Returns
    -------
    Skeletons named by their labels, as `skeletonise_object` makes them, in the order of their labels; nodes are
    numbered from 1.

    Raises InputError when labels aren't (z, y, x) integers or a length isn't above 0.
    """
    if labels.ndim != 3 or labels.dtype.kind not in "ui" or labels.min(initial=0) < 0:
        raise InputError(
            f"labels of {labels.ndim} dimensions and type {labels.dtype}, from {labels.min(initial=0)} on",
            allowed="integers of at least 0, (z, y, x)",
            remedy="pass a volume of labels; a section as a volume of one",
        )
    _check_lengths(voxel_size, node_distance_nm)

    def parts() -> Iterator[Skeletons]:
        for label, box in object_boxes(labels).items(margin=1, shape=labels.shape):
            corner = [side.start * size + at for side, size, at in zip(box, voxel_size, offset_nm, strict=True)]
            yield skeletonise_object(
                labels[box] == label, voxel_size, label=label, node_distance_nm=node_distance_nm, offset_nm=corner
            )

    return join(parts())


def skeletonise_object(
    inside: NDArray[np.bool_],
    voxel_size: Sequence[float],
    *,
    label: int,
    node_distance_nm: float,
    offset_nm: Sequence[float] = (0, 0, 0),
) -> Skeletons:
    """Return the skeleton of one object.

    Every connected piece of an object is thinned to a line of voxels (Lee, Kashyap and Chu 1994), whose minimum
    spanning tree has no loops. Side branches that are shorter than 1.5 times the distance to the surface where they
    leave are but bumps of the surface, and go. Thinning knows nothing of the size of voxels, so the line lies less
    well in the middle where voxels are strongly anisotropic; lengths and distances are in nm.

    Parameters
    ----------
    inside
        (z, y, x), true inside the object: the volume, or its box in the volume with a voxel more on each side where the
        volume goes on. The object doesn't end where the array ends.
    label
        Name of the skeleton.
    voxel_size, node_distance_nm, offset_nm
        As in `skeletonise`.

    Returns
    -------
    One skeleton, nodes numbered from 1. Each piece of the object has one node at least.

    Raises InputError when a length isn't above 0.
    """
    _check_lengths(voxel_size, node_distance_nm)
    scale = np.array([float(size) for size in voxel_size])
    voxels, piece, thickness = _midlines(inside, scale)
    tree = _spanning_tree(voxels, piece, scale)
    _prune(tree, thickness)
    edges = _resampled(tree, node_distance_nm)
    used = np.unique(np.concatenate([edges.reshape(-1), np.flatnonzero(tree.alive & (tree.degree == 0))]))
    return consolidate(
        Skeletons(
            np.arange(1, len(used) + 1, dtype=np.uint64),
            np.full(len(used), label, np.uint64),
            (voxels[used] + 0.5) * scale + np.asarray(offset_nm, np.float64),
            np.searchsorted(used, edges).astype(np.int64),
        )
    )


def _check_lengths(voxel_size: Sequence[float], node_distance_nm: float) -> None:
    if not (node_distance_nm > 0 and all(size > 0 for size in voxel_size)):
        raise InputError(
            f"a node every {node_distance_nm} nm in voxels of {tuple(voxel_size)} nm",
            allowed="lengths above 0",
            remedy="correct node_distance_nm or voxel_size",
        )


def _midlines(
    inside: NDArray[np.bool_], scale: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the voxels (n, 3) of all midlines in C order, the piece and the distance to its surface in nm of each."""
    pieces = cc3d.connected_components(np.ascontiguousarray(inside), connectivity=26)
    # in an object that fills it all, nothing is near a surface
    depth = edt.edt(pieces, anisotropy=tuple(scale), black_border=False)
    midline = np.zeros(inside.shape, np.bool_)
    for number, box in enumerate(find_objects(pieces), start=1):
        alone = pieces[box] == number
        thin = skeletonize(alone).astype(np.bool_)
        if not thin.any():
            # thinning can lose small pieces, such as cubes of two voxels a side
            thin.reshape(-1)[np.argmax(np.where(alone, depth[box], -1))] = True
        midline[box] |= thin
    voxels = np.argwhere(midline)
    at = tuple(voxels.T)
    thickness = depth[at].astype(np.float64)
    return voxels, pieces[at].astype(np.int64), np.where(np.isfinite(thickness), thickness, 0.0)


@dataclass
class _Tree:
    """A forest of voxels: neighbours as in `csr_array`, which voxels haven't been removed, and their neighbours."""

    links: csr_array
    alive: NDArray[np.bool_]
    degree: NDArray[np.int64]

    def branch(self, start: int, first: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the voxels from `start` by way of `first` to the next end or fork, and how far each is from start."""
        return _branch(self.links.indptr, self.links.indices, self.links.data, self.alive, self.degree, start, first)

    def neighbours(self, voxel: int) -> list[int]:
        """Return the neighbours that haven't been removed."""
        around = self.links.indices[self.links.indptr[voxel] : self.links.indptr[voxel + 1]]
        return [int(other) for other in around[self.alive[around]]]


def _spanning_tree(voxels: NDArray[np.int64], piece: NDArray[np.int64], scale: NDArray[np.float64]) -> _Tree:
    """Join neighbouring voxels of a piece by the shortest forest."""
    # a margin of one voxel keeps neighbours in the flat order from being those of the next row
    shape = tuple(voxels.max(axis=0, initial=0) + 3)
    flat = np.ravel_multi_index(tuple((voxels + 1).T), shape)
    rows, columns, lengths = [], [], []
    for step in STEPS:
        wanted = (
            flat
            + int(np.ravel_multi_index(tuple(np.array(step) + 1), shape))
            - int(np.ravel_multi_index((1, 1, 1), shape))
        )
        other = np.minimum(np.searchsorted(flat, wanted), max(len(flat) - 1, 0))
        joined = np.flatnonzero((flat[other] == wanted) & (piece[other] == piece))
        rows.append(joined)
        columns.append(other[joined])
        lengths.append(np.full(len(joined), np.linalg.norm(step * scale)))
    edges = np.concatenate(rows), np.concatenate(columns)
    graph = coo_array((np.concatenate(lengths), edges), shape=(len(flat), len(flat)))
    tree = coo_array(minimum_spanning_tree(graph))
    ends = np.concatenate([tree.row, tree.col]), np.concatenate([tree.col, tree.row])
    links = csr_array(coo_array((np.tile(tree.data, 2), ends), shape=tree.shape))
    return _Tree(links, np.ones(len(flat), np.bool_), np.diff(links.indptr).astype(np.int64))


@numba.njit(cache=True)
def _branch(indptr, indices, lengths, alive, degree, start, first):  # type: ignore[no-untyped-def]
    path, distance = [np.int64(start)], [0.0]
    before, here = np.int64(start), np.int64(first)
    while True:
        for k in range(indptr[before], indptr[before + 1]):
            if indices[k] == here:
                distance.append(distance[-1] + lengths[k])
        path.append(here)
        if degree[here] != 2:
            return np.array(path), np.array(distance)
        for k in range(indptr[here], indptr[here + 1]):
            if alive[indices[k]] and indices[k] != before:
                before, here = here, np.int64(indices[k])
                break


def _prune(tree: _Tree, thickness: NDArray[np.float64]) -> None:
    """Remove side branches that hardly leave the object's body, whose thickness at every voxel is given.

    The shortest go first; where a fork has but two branches left, these go on as one.
    """
    waiting = []
    for leaf in np.flatnonzero(tree.degree == 1).tolist():
        path, distance = tree.branch(leaf, tree.neighbours(leaf)[0])
        waiting.append((float(distance[-1]), leaf, int(path[-1])))
    heapq.heapify(waiting)
    while waiting:
        length, leaf, fork = heapq.heappop(waiting)
        if tree.degree[fork] == 2:
            path, distance = tree.branch(leaf, tree.neighbours(leaf)[0])
            heapq.heappush(waiting, (float(distance[-1]), leaf, int(path[-1])))
        elif tree.degree[fork] > 2 and length < SPUR * thickness[fork]:
            path, _ = tree.branch(leaf, tree.neighbours(leaf)[0])
            tree.alive[path[:-1]] = False
            tree.degree[fork] -= 1


def _resampled(tree: _Tree, step: float) -> NDArray[np.int64]:
    """Return edges (m, 2) between voxels at most about `step` apart along every branch."""
    edges = [np.zeros((0, 2), np.int64)]
    for start in np.flatnonzero(tree.alive & (tree.degree != 2)).tolist():
        for first in tree.neighbours(start):
            path, distance = tree.branch(start, first)
            if path[-1] < start:
                continue  # seen from the other end
            wanted = np.linspace(0, distance[-1], max(1, int(np.ceil(distance[-1] / step))) + 1)
            chosen = np.unique(np.searchsorted((distance[1:] + distance[:-1]) / 2, wanted))
            edges.append(np.stack([path[chosen[:-1]], path[chosen[1:]]], axis=1))
    return np.concatenate(edges)
