"""Clusters that may exclude each other: the union-find with constraints that mutex watersheds share."""

from collections.abc import Iterable

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["Edges", "exclusive_clusters"]

Edges = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]


def exclusive_clusters(nodes: NDArray[np.bool_], edges: Iterable[Edges]) -> NDArray[np.uint64]:
    """Cluster nodes by edges in the order given: join what attracts, unless an earlier edge keeps it apart.

    An attractive edge joins the clusters of its ends unless they exclude each other; a repulsive one makes the clusters
    of its ends exclude each other unless they are one.

    Parameters
    ----------
    nodes
        Bool (count,), count less than 2^31: where there is a node.
    edges
        Chunks of edges: both ends, int64 from 0 to count - 1, and whether they attract.

    Returns
    -------
    uint64 (count,): the cluster of each node, 1..K in the order of their smallest node, 0 where there is no node.
    """
    count = nodes.size
    parent = np.arange(count, dtype=np.int32)
    # what a cluster excludes: a list of nodes per root, and a table of all pairs of roots
    first, length = np.full(count, -1, np.int32), np.zeros(count, np.int32)
    links, pairs = np.empty((1024, 2), np.int32), np.zeros(1024, np.uint64)
    counters = np.array([-1, 0, 0])  # first free link, links used, pairs used
    for u, v, attractive in edges:
        links, pairs = _grow_clusters(u, v, attractive, parent, first, length, links, pairs, counters)
    return _numbered(parent, nodes)


@numba.njit(cache=True, nogil=True)
def _root(parent: NDArray[np.int32], node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@numba.njit(cache=True, nogil=True)
def _find(pairs, a, b):  # type: ignore[no-untyped-def]
    """Return the slot that holds a pair of roots or is free for it, and the pair as one number that isn't 0."""
    key = np.uint64(min(a, b)) << np.uint64(32) | np.uint64(max(a, b))
    last = np.uint64(pairs.size - 1)
    mixed = key * np.uint64(0x9E3779B97F4A7C15)
    slot = (mixed ^ (mixed >> np.uint64(32))) & last
    while pairs[slot] != 0 and pairs[slot] != key:
        slot = (slot + np.uint64(1)) & last
    return slot, key


@numba.njit(cache=True, nogil=True)
def _insert(pairs, a, b):  # type: ignore[no-untyped-def]
    """Put a pair of roots into the table; return whether it is new."""
    slot, key = _find(pairs, a, b)
    if pairs[slot] == key:
        return False
    pairs[slot] = key
    return True


@numba.njit(cache=True, nogil=True)
def _rebuilt(pairs, parent, wanted):  # type: ignore[no-untyped-def]
    """Return a table of the pairs whose nodes are roots still, at most a quarter full with `wanted` more; its count."""
    alive = 0
    for i in range(pairs.size):
        a, b = np.int64(pairs[i] >> np.uint64(32)), np.int64(pairs[i] & np.uint64(0xFFFFFFFF))
        if pairs[i] != 0 and parent[a] == a and parent[b] == b:
            pairs[alive] = pairs[i]
            alive += 1
    size = 1024
    while size < 4 * (alive + wanted):
        size *= 2
    table = np.zeros(size, np.uint64)
    for i in range(alive):
        _insert(table, np.int64(pairs[i] >> np.uint64(32)), np.int64(pairs[i] & np.uint64(0xFFFFFFFF)))
    return table, alive


@numba.njit(cache=True, nogil=True)
def _link(root, other, first, length, links, counters):  # type: ignore[no-untyped-def]
    """Append a node to the list of a root, in a link that is free."""
    link = counters[0]
    if link >= 0:
        counters[0] = links[link, 0]
    else:
        link = counters[1]
        counters[1] += 1
    links[link, 0], links[link, 1] = first[root], other
    first[root] = link
    length[root] += 1


@numba.njit(cache=True, nogil=True)
def _grow_clusters(u, v, attractive, parent, first, length, links, pairs, counters):  # type: ignore[no-untyped-def]
    """Let edges take their turn; return the links and the table, which may have grown.

    The cluster that excludes fewer joins the other one, so that an exclusion moves rarely. A list names any node of
    the cluster it excludes, and one that has been joined since may occur twice; the table alone says who excludes whom.
    """
    for i in range(u.size):
        a, b = _root(parent, u[i]), _root(parent, v[i])
        if a == b:
            continue
        if length[a] > length[b] or (length[a] == length[b] and a < b):
            a, b = b, a
        if length[a] > 0:
            slot, key = _find(pairs, a, b)
            if pairs[slot] == key:
                continue
        if not attractive[i]:
            if counters[2] + 1 > pairs.size // 2:
                pairs, counters[2] = _rebuilt(pairs, parent, 1)
            if counters[1] + 2 > links.shape[0]:
                longer = np.empty((links.shape[0] * 2, 2), np.int32)
                longer[: links.shape[0]] = links
                links = longer
            counters[2] += _insert(pairs, a, b)
            _link(a, b, first, length, links, counters)
            _link(b, a, first, length, links, counters)
            continue
        if counters[2] + length[a] > pairs.size // 2:
            pairs, counters[2] = _rebuilt(pairs, parent, length[a])
        parent[a] = b
        link = first[a]
        while link >= 0:
            following, other = links[link, 0], _root(parent, links[link, 1])
            if _insert(pairs, other, b):
                counters[2] += 1
                links[link, 0], links[link, 1] = first[b], other
                first[b] = link
                length[b] += 1
            else:
                links[link, 0] = counters[0]
                counters[0] = link
            link = following
    return links, pairs


@numba.njit(cache=True, nogil=True)
def _numbered(parent: NDArray[np.int32], nodes: NDArray[np.bool_]) -> NDArray[np.uint64]:
    labels = np.zeros(parent.size, np.uint64)
    last = np.uint64(0)
    for node in range(parent.size):
        if nodes[node]:
            root = _root(parent, node)
            if labels[root] == 0:
                last += np.uint64(1)
                labels[root] = last
            labels[node] = labels[root]
    return labels
