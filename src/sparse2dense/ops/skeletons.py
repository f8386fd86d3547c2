"""Skeletons: nodes along the midlines of objects, joined by edges, as flat arrays."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from sparse2dense.errors import InputError

__all__ = ["Skeletons", "component_of_nodes", "consolidate", "crop", "edge_lengths", "join", "mask"]


@dataclass(frozen=True)
class Skeletons:
    """The skeletons of many objects; nodes and edges may be in any order, and there may be none.

    Parameters
    ----------
    node
        uint64 (n,): the id of every node.
    skeleton
        uint64 (n,): the skeleton that every node belongs to.
    position
        float64 (n, 3): z, y, x of every node in nm, in the same world as the volumes.
    edges
        int64 (m, 2): the two ends of every edge, as places in `node`, not as ids.
    """

    node: NDArray[np.uint64]
    skeleton: NDArray[np.uint64]
    position: NDArray[np.float64]
    edges: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.node)


def edge_lengths(skeletons: Skeletons) -> NDArray[np.float64]:
    """Return the Euclidean length of every edge in nm, float64 (m,)."""
    ends = skeletons.position[skeletons.edges]
    return np.linalg.norm(ends[:, 0] - ends[:, 1], axis=-1)


def component_of_nodes(count: int, edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each of `count` nodes which connected component it is in: int64 (count,), numbered from 0.

    `edges` is (m, 2), places of nodes; components are in the order of their first nodes.
    """
    graph = coo_array((np.ones(len(edges), np.int8), (edges[:, 0], edges[:, 1])), shape=(count, count))
    found = connected_components(graph, directed=False)[1]
    first, inverse = np.unique(found, return_index=True, return_inverse=True)[1:]
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)


def consolidate(skeletons: Skeletons, by_component: bool = False) -> Skeletons:
    """Return the same skeletons with every node and every edge once, nodes ascending by id.

    Edges from a node to itself go; an edge is the same both ways, and stands with its earlier node first.

    Parameters
    ----------
    skeletons
        Nodes that occur more than once, with the same position and skeleton, are one.
    by_component
        Forget the given skeletons: every connected component becomes one, numbered from 1 in the order of their
        smallest node ids. Else a skeleton may consist of several pieces, but no edge may join two skeletons.

    Raises InputError when arrays don't fit each other, a position isn't finite, an edge ends nowhere or joins two
    skeletons, or nodes of one id differ.
    """
    _check(skeletons)
    node, first, place = np.unique(skeletons.node, return_index=True, return_inverse=True)
    position, skeleton = skeletons.position[first], skeletons.skeleton[first]
    other = (skeletons.position != position[place]).any(axis=1)
    if not by_component:
        other |= skeletons.skeleton != skeleton[place]
    if other.any():
        raise InputError(
            f"node {skeletons.node[other][0]} occurs twice, at two positions or in two skeletons",
            allowed="ids that name one node each",
            remedy="number the nodes of all skeletons together",
        )
    edges = np.sort(place[skeletons.edges].reshape(-1, 2), axis=1).astype(np.int64)
    edges = np.unique(edges[edges[:, 0] != edges[:, 1]], axis=0)
    if by_component:
        skeleton = component_of_nodes(len(node), edges).astype(np.uint64) + np.uint64(1)
    joined = skeleton[edges[:, 0]] != skeleton[edges[:, 1]]
    if joined.any():
        one, two = edges[joined][0]
        raise InputError(
            f"an edge joins node {node[one]} of skeleton {skeleton[one]} to node {node[two]} of {skeleton[two]}",
            allowed="edges within one skeleton",
            remedy="remove the edge, or let every connected component be a skeleton",
        )
    return Skeletons(node, skeleton, position, edges)


def _check(skeletons: Skeletons) -> None:
    count = len(skeletons.node)
    shapes = [array.shape for array in (skeletons.skeleton, skeletons.position, skeletons.edges)]
    if shapes[:2] != [(count,), (count, 3)] or shapes[2][1:] != (2,):
        raise InputError(
            f"{count} nodes with skeletons, positions and edges of shapes {shapes}",
            allowed="n nodes with shapes (n,), (n, 3) and (m, 2)",
            remedy="give one skeleton and one position z, y, x per node, and two nodes per edge",
        )
    lost = ~np.isfinite(skeletons.position).all(axis=1)
    if lost.any():
        raise InputError(
            f"node {skeletons.node[lost][0]} is at {skeletons.position[lost][0].tolist()}",
            allowed="three finite numbers, in nm",
            remedy="remove the node, or give its position",
        )
    if skeletons.edges.size and not (skeletons.edges.min() >= 0 and skeletons.edges.max() < count):
        raise InputError(
            f"an edge ends at place {skeletons.edges.min()} or {skeletons.edges.max()} of {count} nodes",
            allowed=f"0 to {count - 1}: edges name places in the list of nodes, not ids",
            remedy="look the ids up in the list of nodes",
        )


def join(parts: Iterable[Skeletons]) -> Skeletons:
    """Return skeletons of several tables as one, nodes numbered anew from 1 in the order of the parts."""
    tables = [Skeletons(*(np.zeros(0, np.uint64),) * 2, np.zeros((0, 3)), np.zeros((0, 2), np.int64)), *parts]
    before = np.cumsum([0, *map(len, tables)])
    return Skeletons(
        np.arange(1, before[-1] + 1, dtype=np.uint64),
        np.concatenate([table.skeleton for table in tables]),
        np.concatenate([table.position for table in tables]),
        np.concatenate([table.edges + first for table, first in zip(tables, before, strict=False)]),
    )


def mask(skeletons: Skeletons, keep: NDArray[np.bool_]) -> Skeletons:
    """Return the nodes where `keep`, bool (n,), is true, and the edges between them.

    A skeleton that falls apart stays one skeleton of several pieces; `consolidate` can tell them apart.
    """
    place = np.cumsum(keep) - 1
    edges = skeletons.edges[keep[skeletons.edges].all(axis=1)]
    return Skeletons(
        skeletons.node[keep], skeletons.skeleton[keep], skeletons.position[keep], place[edges].astype(np.int64)
    )


def crop(skeletons: Skeletons, begin_nm: Sequence[float], end_nm: Sequence[float]) -> Skeletons:
    """Return the nodes from `begin_nm` up to but without `end_nm` (z, y, x), and the edges between them."""
    inside = (skeletons.position >= np.asarray(begin_nm)) & (skeletons.position < np.asarray(end_nm))
    return mask(skeletons, np.all(inside, axis=1))
