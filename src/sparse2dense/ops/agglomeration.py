"""Hierarchical agglomeration of a region graph: run once, its history is a tree that every threshold cuts."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numba
import numpy as np
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.ops.graph import RegionGraph
from sparse2dense.ops.merging import bin_type, contact_type, merges
from sparse2dense.ops.thresholds import Threshold, threshold_name

__all__ = ["MergeTree", "cuts", "merge_tree"]

QUANTILES = (10, 25, 50, 75, 90)
INT32 = 2**31 - 1
EDGES = 2**16
"""Edges that are looked up at a time."""


@dataclass(frozen=True)
class MergeTree:
    """The history of an agglomeration.

    Parameters
    ----------
    fragments
        uint64, ascending: every fragment there is, merged or not.
    a, b
        uint64: representatives (fragment ids) of the two segments of each merge, in merge order.
    score
        float64: the score at which each merge happened; 0 merges first.
    """

    fragments: NDArray[np.uint64]
    a: NDArray[np.uint64]
    b: NDArray[np.uint64]
    score: NDArray[np.float64]

    def cut(self, threshold: Threshold) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Return the fragments and the segment of each after all merges of a score below `threshold`.

        A merge of a score below that of an earlier one comes with the earlier one, as the agglomeration stops at the
        first score that reaches the threshold. Segments are 1..K in the order of their smallest fragment id.
        """
        segments = next(cuts(len(self.fragments), [(*self._places, self._reached)], [threshold]))
        return self.fragments, segments.astype(np.uint64)

    @cached_property
    def _reached(self) -> NDArray[np.float64]:
        """The highest score up to each merge."""
        return np.maximum.accumulate(self.score)

    @cached_property
    def _places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where a and b are among the fragments; most of the work of a cut, and the same for all."""
        return np.searchsorted(self.fragments, self.a), np.searchsorted(self.fragments, self.b)


def cuts(
    count: int,
    batches: Iterable[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]],
    thresholds: Sequence[Threshold],
) -> Iterator[NDArray[np.integer]]:
    """Yield the segments of a tree at ascending thresholds, in one pass over its merges.

    Parameters
    ----------
    count
        Of the fragments.
    batches
        Merges in their order, a few at a time: places of a and b among the fragments, and scores, as in `MergeTree`.
    thresholds
        As in `MergeTree.cut`, whose segments these are.
    """
    sets, left = Sets(count), [float(threshold_name(threshold)) for threshold in thresholds]
    for a, b, score in batches:
        # the merges before have reached none of those that are left
        ends, start = np.searchsorted(np.maximum.accumulate(score), left), 0
        for end in ends[ends < len(score)].tolist():
            sets.join(a[start:end], b[start:end])
            start, left = end, left[1:]
            yield sets.numbers(last=not left)
        if not left:
            return
        sets.join(a[start:], b[start:])
    while left:
        left = left[1:]
        yield sets.numbers(last=not left)


class Sets:
    """Disjoint sets of 0..count - 1, each member alone at first (union-find, Tarjan 1975).

    Parameters
    ----------
    count
        Of the members of all sets.
    """

    def __init__(self, count: int) -> None:
        self._parents: NDArray[np.signedinteger] = np.arange(count, dtype=_integer(count))

    def join(self, a: NDArray[np.int64], b: NDArray[np.int64]) -> None:
        """Make the sets of the two members of each pair one."""
        _join(self._parents, a, b)

    def numbers(self, last: bool = False) -> NDArray[np.signedinteger]:
        """Return the set of each member, 1..K in the order of their smallest; int32, or int64 where too many.

        The `last` time it is written over what is known of the sets, and takes no memory besides.
        """
        numbers = self._parents if last else self._parents.copy()
        _number(numbers)
        return numbers


@numba.njit(cache=True)
def _join(parent, a, b):  # type: ignore[no-untyped-def]
    """Join the trees of each pair; a member without a parent is its own."""
    for i in range(a.size):
        u, v = a[i], b[i]
        while parent[u] != u:
            parent[u] = parent[parent[u]]
            u = parent[u]
        while parent[v] != v:
            parent[v] = parent[parent[v]]
            v = parent[v]
        # the smaller member stays the root, so parents come before their children
        if u < v:
            parent[v] = u
        else:
            parent[u] = v


@numba.njit(cache=True)
def _number(parent):  # type: ignore[no-untyped-def]
    """Put the number of its tree in the place of the parent of each member."""
    last = 0
    for i in range(parent.size):
        if parent[i] == i:
            last += 1
            parent[i] = last
        else:
            parent[i] = parent[parent[i]]


def _quantile(merge_function: str) -> tuple[int, bool]:
    """Return the quantile in percent, 0 for the mean, and whether histograms begin with their maximum."""
    if merge_function == "mean":
        return 0, False
    quantile = re.fullmatch(r"hist_quant_(\d+)(_initmax)?", merge_function)
    if quantile is None or int(quantile[1]) not in QUANTILES:
        names = [f"hist_quant_{q}" for q in QUANTILES]
        raise InputError(
            f"merge function {merge_function!r} is unknown",
            allowed=", ".join(["mean", *names]) + ", and the quantiles with _initmax behind",
            remedy="correct segment.merge_function in the configuration",
        )
    return int(quantile[1]), quantile[2] is not None


def merge_tree(graph: RegionGraph, merge_function: str = "mean") -> MergeTree:
    """Merge fragments, the most similar neighbours first, until no two touch.

    The score of two touching regions is one minus the mean, or a quantile, of all affinities across their contact, as
    in waterz (Funke et al. 2018); after a merge, the contacts of both regions with a third are one. The two regions of
    the lowest score merge next. Where waterz leaves it to the order of its queue which of equal scores that is, here
    it is the one of the higher mean affinity, then of the larger contact, then the one with the first pair of
    fragments that touch across it: that of the smaller small fragment, then of the smaller large one (contacts of
    equal area are more of the surface of small fragments), then of the lower ids. So the tree depends on the graph
    alone, and on its ids hardly ever.

    The memory of a graph that the caller keeps no name for is free once its contacts are known.

    Parameters
    ----------
    graph
        Of a whole volume, with histograms if the merge function is a quantile; edges without a face don't count.
    merge_function
        `mean`, `hist_quant_<q>` or `hist_quant_<q>_initmax`, q one of 10, 25, 50, 75, 90. Higher quantiles merge more
        readily. With `_initmax` two touching fragments begin with one affinity, their highest bin.

    Raises InputError when the merge function is unknown, histograms are missing, or the graph isn't whole.
    """
    quantile, initmax = _quantile(merge_function)
    if quantile and graph.bin is None:
        raise InputError(
            f"merge function {merge_function!r} for a region graph without histograms",
            allowed="mean, or a graph with histograms",
            remedy="extract the graph with histogram=True",
        )
    touching, fragments, sizes, scale = graph.count > 0, graph.fragments, graph.sizes, graph.scale
    bin_count = len(graph.bin) if quantile and graph.bin is not None else 0
    index = _integer(max(2 * int(np.count_nonzero(touching)), len(fragments), bin_count))
    contacts, bins = _contacts(graph, touching, index), np.empty(0, bin_type(index, index))
    if quantile:
        contacts["chain"], bins = _chains(graph, touching, initmax, index)
    del graph, touching
    contacts["rank"] = _ranks(contacts, sizes)
    a, b, score = merges(contacts, bins, len(fragments), scale, quantile)
    return MergeTree(fragments, fragments[a], fragments[b], score)


def _integer(largest: int) -> type[np.signedinteger]:
    """Return the narrower type that holds such a number."""
    return np.int32 if largest <= INT32 else np.int64


def _contacts(graph: RegionGraph, touching: NDArray[np.bool_], index: type[np.signedinteger]) -> NDArray:
    """Return a contact per edge that touches, all but its rank; regions are the places of fragments in the graph."""
    contacts = np.zeros(np.count_nonzero(touching), contact_type(index, _integer(int(graph.count.sum()))))
    known = np.append(graph.fragments, np.uint64(0))
    done = 0
    for start in range(0, len(graph), EDGES):
        edges = start + np.flatnonzero(touching[start : start + EDGES])
        some = contacts[done : done + len(edges)]
        for side, column in (("u", graph.u), ("v", graph.v)):
            ids = column[edges]
            places = np.searchsorted(graph.fragments, ids)
            lost = known[places] != ids
            if lost.any():
                raise InputError(
                    f"fragment {ids[lost][0]} has an edge, but no voxel in the region graph",
                    allowed="the graph of a whole volume",
                    remedy="merge the graphs of all blocks first",
                )
            some[side] = places
        some["area"], some["total"] = graph.count[edges], graph.total[edges]
        done += len(edges)
    return contacts


def _ranks(contacts: NDArray, sizes: NDArray[np.int64]) -> NDArray:
    """Return the place of each contact by the smaller size of its regions, then the larger, then as they come."""
    # different sizes are fewer than 2^32, or there would be more than 2^63 voxels
    by_size = np.unique(sizes, return_inverse=True)[1].astype(np.uint32)
    u, v = by_size[contacts["u"]], by_size[contacts["v"]]
    keys = np.minimum(u, v).astype(np.uint64)
    keys <<= np.uint64(32)
    keys |= np.maximum(u, v)
    del u, v
    order = np.argsort(keys, kind="stable")
    del keys
    ranks = np.empty(len(order), contacts.dtype["rank"])
    ranks[order] = np.arange(len(order), dtype=ranks.dtype)
    return ranks


def _chains(
    graph: RegionGraph, touching: NDArray[np.bool_], initmax: bool, index: type[np.signedinteger]
) -> tuple[NDArray, NDArray]:
    """Return the first bin of the histogram of each edge that touches, and all bins."""
    assert graph.bin_start is not None and graph.bin is not None and graph.bin_count is not None
    first, last = graph.bin_start[:-1][touching], graph.bin_start[1:][touching] - 1
    if initmax:
        bins = np.empty(len(first), bin_type(index, index))
        bins["number"], bins["following"], bins["bin"] = 1, -1, graph.bin[last]
        return np.arange(len(first), dtype=index), bins
    bins = np.empty(len(graph.bin), bin_type(index, _integer(int(graph.bin_count.sum()))))
    bins["number"], bins["bin"] = graph.bin_count, graph.bin
    bins["following"] = np.arange(1, len(bins) + 1, dtype=index)
    bins["following"][last] = -1
    return first, bins
