"""Hierarchical agglomeration of a region graph: run once, its history is a tree that every threshold cuts."""

import re
from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.ops.contacts import between, change, contacts, link, remove, unlink
from sparse2dense.ops.graph import RegionGraph
from sparse2dense.ops.thresholds import Threshold, threshold_name

__all__ = ["MergeTree", "merge_tree"]

QUANTILES = (10, 25, 50, 75, 90)


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
        reached = np.maximum.accumulate(self.score)
        done = int(np.searchsorted(reached, float(threshold_name(threshold)), side="left"))
        a = np.searchsorted(self.fragments, self.a[:done])
        b = np.searchsorted(self.fragments, self.b[:done])
        return self.fragments, _segments(len(self.fragments), a, b)


@numba.njit(cache=True)
def _segments(count: int, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Number the sets that the pairs a, b connect 1..K in the order of their smallest member."""
    parent = np.arange(count)
    for i in range(a.size):
        u, v = a[i], b[i]
        while parent[u] != u:
            parent[u] = parent[parent[u]]
            u = parent[u]
        while parent[v] != v:
            parent[v] = parent[parent[v]]
            v = parent[v]
        # the smaller member stays the root, so roots come before their sets
        if u < v:
            parent[v] = u
        else:
            parent[u] = v
    segments = np.zeros(count, np.uint64)
    last = np.uint64(0)
    for i in range(count):
        if parent[i] == i:
            last += np.uint64(1)
            segments[i] = last
        else:
            parent[i] = parent[parent[i]]
            segments[i] = segments[parent[i]]
    return segments


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
    in waterz (Funke et al. 2018); after a merge, the contacts of both regions with a third are one. The pair of the
    lowest score merges next. Equal scores are decided by the higher mean affinity, then the larger contact, then the
    smaller pair of fragments that touch there, so the tree is a function of the graph alone.

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
    chosen, ends = _order(graph)
    area, total = graph.count[chosen], graph.total[chosen]
    area = area.astype(_integer(int(area.sum())))
    bins = _bins(graph, chosen, initmax) if quantile else _no_bins()
    affinity = _Affinity(area, total, *bins, graph.scale, quantile)
    a, b, score = _merges(contacts(ends, area, _keys(affinity)), affinity, len(graph.fragments))
    return MergeTree(graph.fragments, graph.fragments[a], graph.fragments[b], score)


def _order(graph: RegionGraph) -> tuple[NDArray[np.int64], NDArray]:
    """Return the edges that have a face, in the order that decides between equals, and the places of their fragments.

    Fragments take sides 2i and 2i + 1 for edge i.
    """
    touching = np.flatnonzero(graph.count > 0)
    places = np.empty((len(touching), 2), _integer(max(2 * len(touching), len(graph.fragments))))
    for side, ids in enumerate((graph.u[touching], graph.v[touching])):
        found = np.searchsorted(graph.fragments, ids)
        lost = np.append(graph.fragments, np.uint64(0))[found] != ids
        if lost.any():
            raise InputError(
                f"fragment {ids[lost][0]} has an edge, but no voxel in the region graph",
                allowed="the graph of a whole volume",
                remedy="merge the graphs of all blocks first",
            )
        places[:, side] = found
    sizes = np.sort(graph.sizes[places], axis=1)
    order = np.lexsort((sizes[:, 1], sizes[:, 0]))  # keeps the order of ids
    return touching[order], places[order].reshape(-1)


def _integer(largest: int) -> type[np.signedinteger]:
    return np.int32 if largest <= np.iinfo(np.int32).max else np.int64


class _Affinity(NamedTuple):
    """What is known of the affinities across every contact; quantile 0 is the mean.

    The bins of a contact are a chain of entries, ascending: the first is `first[contact]`, entry i is followed by
    `following[i]`, -1 is the end. Two chains become one without a new entry.
    """

    area: NDArray
    total: NDArray[np.int64]
    first: NDArray
    following: NDArray
    bin: NDArray[np.uint8]
    number: NDArray
    scale: int
    quantile: int


def _no_bins() -> tuple[NDArray, NDArray, NDArray, NDArray]:
    nothing = np.zeros(0, np.int32)
    return nothing, nothing, np.zeros(0, np.uint8), nothing


def _bins(graph: RegionGraph, chosen: NDArray[np.int64], initmax: bool) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Return the chains of bins of the chosen edges: first, following, bin and number."""
    assert graph.bin_start is not None and graph.bin is not None and graph.bin_count is not None
    start, end = graph.bin_start[:-1][chosen], graph.bin_start[1:][chosen]
    if initmax:
        ones = np.ones(len(end), _integer(len(end)))
        return np.arange(len(end), dtype=ones.dtype), -ones, graph.bin[end - 1], ones
    entry = _integer(len(graph.bin))
    following = np.arange(1, len(graph.bin) + 1, dtype=entry)
    following[end - 1] = -1
    number = graph.bin_count.astype(_integer(int(graph.bin_count.sum())))
    return start.astype(entry), following, graph.bin.copy(), number


@numba.njit(cache=True)
def _join_bins(affinity, kept, gone):  # type: ignore[no-untyped-def]
    """Add the bins of one contact to those of another, in place."""
    first, following, bins, number = affinity.first, affinity.following, affinity.bin, affinity.number
    before, at, other = np.int64(-1), np.int64(first[kept]), np.int64(first[gone])
    while other >= 0:
        if at >= 0 and bins[at] <= bins[other]:
            if bins[at] == bins[other]:
                number[at] += number[other]
                other = np.int64(following[other])
            before, at = at, np.int64(following[at])
        else:
            # the other chain's entry comes between before and at
            if before < 0:
                first[kept] = other
            else:
                following[before] = other
            before, other = other, np.int64(following[other])
            following[before] = at


@numba.njit(cache=True)
def _quantile_bin(affinity, contact):  # type: ignore[no-untyped-def]
    """Return the bin of the quantile, as waterz counts."""
    entries = np.int64(0)
    at = np.int64(affinity.first[contact])
    while at >= 0:
        entries += affinity.number[at]
        at = np.int64(affinity.following[at])
    wanted = affinity.quantile * entries // 100 + 1
    at = np.int64(affinity.first[contact])
    while True:
        wanted -= affinity.number[at]
        if wanted <= 0:
            return np.int64(affinity.bin[at])
        at = np.int64(affinity.following[at])


@numba.njit(cache=True)
def _distance(affinity, contact):  # type: ignore[no-untyped-def]
    """Return one minus the mean affinity, rounded once."""
    whole = np.int64(affinity.area[contact]) * affinity.scale
    return np.float64(whole - affinity.total[contact]) / np.float64(whole)


@numba.njit(cache=True)
def _key(affinity, contact):  # type: ignore[no-untyped-def]
    """Return a number that orders contacts by their score, then by their mean affinity."""
    distance = _distance(affinity, contact)
    if affinity.quantile == 0:
        return np.int64(distance * 2.0**62)
    return (255 - _quantile_bin(affinity, contact)) * 2**55 + np.int64(distance * 2.0**54)


@numba.njit(cache=True)
def _keys(affinity):  # type: ignore[no-untyped-def]
    keys = np.empty(affinity.area.size, np.int64)
    for contact in range(keys.size):
        keys[contact] = _key(affinity, contact)
    return keys


@numba.njit(cache=True)
def _join(contacts, affinity, kept, gone):  # type: ignore[no-untyped-def]
    """Add one contact to another between the same regions."""
    remove(contacts, gone)
    affinity.area[kept] += affinity.area[gone]
    affinity.total[kept] += affinity.total[gone]
    if affinity.quantile > 0:
        _join_bins(affinity, kept, gone)
    change(contacts, kept, _key(affinity, kept))


@numba.njit(cache=True)
def _neighbours(ends, regions):  # type: ignore[no-untyped-def]
    """Return the sides at each region as chains: the first, what follows each (-1 is the end), and their number."""
    first, following = np.full(regions, -1, ends.dtype), np.empty(ends.size, ends.dtype)
    number = np.zeros(regions, ends.dtype)
    for side in range(ends.size):
        region = ends[side]
        following[side] = first[region]
        first[region] = side
        number[region] += 1
    return first, following, number


@numba.njit(cache=True, nogil=True)
def _merges(contacts, affinity, fragments):  # type: ignore[no-untyped-def]
    """Merge until no contact is left; return the first fragments of the two regions of each merge, and the scores."""
    ends = contacts.ends
    first, following, number = _neighbours(ends, fragments)
    name = np.arange(fragments).astype(ends.dtype)
    low, high = np.empty(max(fragments - 1, 0), ends.dtype), np.empty(max(fragments - 1, 0), ends.dtype)
    score = np.empty(low.size)
    done = 0
    while contacts.queued[0] > 0:
        best = np.int64(contacts.queue[0])
        a, b = np.int64(ends[2 * best]), np.int64(ends[2 * best + 1])
        low[done], high[done] = min(name[a], name[b]), max(name[a], name[b])
        if affinity.quantile == 0:
            score[done] = _distance(affinity, best)
        else:
            score[done] = 1 - (_quantile_bin(affinity, best) + 0.5) / 256
        remove(contacts, best)
        unlink(contacts, best)
        # each side moves to a region of at least twice as many: log2 of their number times at most
        if number[a] < number[b]:
            a, b = b, a
        name[a] = low[done]
        side = np.int64(first[b])
        while side >= 0:
            after = np.int64(following[side])
            if _moved(contacts, affinity, side, a):
                following[side] = first[a]
                first[a] = side
                number[a] += 1
            side = after
        done += 1
    return low[:done], high[:done], score[:done]


@numba.njit(cache=True)
def _moved(contacts, affinity, side, region):  # type: ignore[no-untyped-def]
    """Move a side of a contact to another region; return False if no contact is left there of which it is a side."""
    contact = side >> 1
    if contacts.place[contact] < 0:
        return False
    unlink(contacts, contact)
    slot = between(contacts, region, contacts.ends[side ^ 1])
    if slot < 0:
        contacts.ends[side] = region
        link(contacts, contact)
        return True
    other = np.int64(contacts.slots[slot])
    if other < contact:
        _join(contacts, affinity, other, contact)
        return False
    _join(contacts, affinity, contact, other)
    contacts.ends[side] = region
    contacts.slots[slot] = contact
    return True
