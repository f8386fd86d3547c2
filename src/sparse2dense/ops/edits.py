"""How many cuts and joins turn a segmentation into the skeletons of the truth, by minimum cuts of merged segments."""

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components, maximum_flow
from scipy.spatial import KDTree

from sparse2dense.errors import InputError
from sparse2dense.ops.overlaps import look_up
from sparse2dense.ops.skeleton_scores import merging_segments
from sparse2dense.ops.skeletons import Skeletons

__all__ = ["Edits", "Terminals", "count_edits"]

Terminals = Literal["closest", "all"]
LARGE = 50_000
"""Contacts of fragments, from which on a minimum cut gets a process of its own, so that it can be ended midway."""


@dataclass(frozen=True)
class Edits:
    """What a proofreader would have to do.

    Parameters
    ----------
    splits
        Cuts that separate the skeletons in merged segments.
    merges
        Joins of the pieces of one skeleton: one less than there are pieces after all cuts.
    unsplittable
        Fragments that hold nodes of several skeletons, so that no cut between fragments helps.
    unfinished
        Segments for which the time didn't suffice; they count with the fewest cuts that can be left.
    """

    splits: int
    merges: int
    unsplittable: int
    unfinished: int

    @property
    def total(self) -> int:
        """Cuts and joins."""
        return self.splits + self.merges


@dataclass(frozen=True)
class _Segment:
    """One merged segment: its fragments numbered from 0, and the nodes in them that a cut can separate."""

    contacts: csr_array
    fragment: NDArray[np.int64]
    skeleton: NDArray[np.uint64]
    position: NDArray[np.float64]


def count_edits(
    skeletons: Skeletons,
    node_fragments: NDArray[np.uint64],
    fragments: NDArray[np.uint64],
    segments: NDArray[np.uint64],
    contacts: tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.floating]],
    *,
    terminals: Terminals = "closest",
    time_limit_s: float = 60.0,
) -> Edits:
    """Count the cuts and joins that a proofreader with a tool for minimum cuts needs (Sheridan et al. 2023, MCM).

    In a segment with several skeletons, the two that lie in the most fragments are cut apart by a minimum cut through
    the contacts of fragments. The pieces go on like this, until none holds two skeletons; k pieces cost k - 1 cuts.
    Then a skeleton in k pieces needs k - 1 joins, also where k is 2, which the published count takes for none.

    Parameters
    ----------
    skeletons
        The truth.
    node_fragments
        uint64 (n,): the fragment of every node, 0 in background, where nodes need no edit.
    fragments, segments
        The look-up table to score, `fragments` ascending.
    contacts
        Edges of the region graph: two arrays of fragment ids and one of affinities, 0 to 1, the strength of each
        contact. Contacts between segments play no part.
    terminals
        What is cut apart: `closest`, the fragments of the closest two nodes, as published; or `all` fragments with
        nodes of either skeleton, as if a proofreader marked both objects all along. Where two objects touch by many
        contacts, the weakest cut around one fragment is weaker than that between the objects; `closest` then takes
        off fragment by fragment.
    time_limit_s
        Seconds for one segment. Where they end a search, the result depends on the machine, and `unfinished` says so.

    Raises InputError when `terminals` is neither, a fragment has no segment, an affinity isn't a number from 0 on, or
    contacts don't connect a merged segment.
    """
    if terminals not in ("closest", "all"):
        raise InputError(f"terminals {terminals!r}", allowed="closest or all", remedy="correct terminals")
    segment_of_node = look_up(node_fragments, fragments, segments)
    pieces = np.zeros(len(skeletons), np.int64)
    pieces_before = np.unique(segment_of_node, return_inverse=True)[1]
    shared = _shared_fragments(skeletons, node_fragments)
    counted = (node_fragments != 0) & ~np.isin(node_fragments, shared)
    splits = unfinished = 0
    merging = merging_segments(skeletons, segment_of_node)
    for nodes, segment in _segments(
        merging, skeletons, node_fragments, segment_of_node, counted, fragments, segments, contacts
    ):
        found, cuts, finished = _cut_apart(segment, terminals, time_limit_s)
        pieces[nodes] = found[segment.fragment]
        splits += cuts
        unfinished += not finished
    held = np.stack([skeletons.skeleton, pieces_before.astype(np.uint64), pieces.astype(np.uint64)], axis=1)[counted]
    distinct = np.unique(held, axis=0)[:, 0]
    return Edits(splits, len(distinct) - len(np.unique(distinct)), len(shared), unfinished)


def _shared_fragments(skeletons: Skeletons, node_fragments: NDArray[np.uint64]) -> NDArray[np.uint64]:
    pairs = np.unique(np.stack([node_fragments, skeletons.skeleton], axis=1), axis=0)[:, 0]
    ids, counts = np.unique(pairs[pairs != 0], return_counts=True)
    return ids[counts > 1]


def _segments(
    merging: NDArray[np.uint64],
    skeletons: Skeletons,
    node_fragments: NDArray[np.uint64],
    segment_of_node: NDArray[np.uint64],
    counted: NDArray[np.bool_],
    fragments: NDArray[np.uint64],
    segments: NDArray[np.uint64],
    contacts: tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.floating]],
) -> Iterator[tuple[NDArray[np.int64], _Segment]]:
    """Yield every merging segment, and which nodes it concerns."""
    a, b, affinity = contacts
    if not (np.isfinite(affinity) & (affinity >= 0)).all():
        raise InputError(
            f"contacts have affinities from {affinity.min()} to {affinity.max()}",
            allowed="numbers from 0 to 1",
            remedy="give the mean affinity of every contact",
        )
    of_contact = look_up(a, fragments, segments)
    inside = (of_contact == look_up(b, fragments, segments)) & np.isin(of_contact, merging) & (a != b)
    a, b, affinity, of_contact = a[inside], b[inside], affinity[inside], of_contact[inside]
    members, links, terminals = (
        _groups(labels, merging) for labels in (segments, of_contact, np.where(counted, segment_of_node, np.uint64(0)))
    )
    for segment, parts, edges, nodes in zip(merging, members, links, terminals, strict=True):
        ids = fragments[parts]
        graph = _graph(len(ids), np.searchsorted(ids, a[edges]), np.searchsorted(ids, b[edges]), affinity[edges])
        if connected_components(graph, directed=False)[0] > 1:
            raise InputError(
                f"contacts don't connect the {len(ids)} fragments of segment {segment}",
                allowed="a region graph in which every segment is connected",
                remedy="give the contacts of the region graph that the merge tree was made from",
            )
        place = np.searchsorted(ids, node_fragments[nodes])
        yield nodes, _Segment(graph, place, skeletons.skeleton[nodes], skeletons.position[nodes])


def _groups(labels: NDArray[np.uint64], wanted: NDArray[np.uint64]) -> list[NDArray[np.int64]]:
    """Return the places of every wanted label, ascending."""
    order = np.argsort(labels, kind="stable")
    start, stop = (np.searchsorted(labels[order], wanted, side=side) for side in ("left", "right"))
    return [order[i:j] for i, j in zip(start, stop, strict=True)]


def _graph(count: int, a: NDArray[np.int64], b: NDArray[np.int64], affinity: NDArray[np.floating]) -> csr_array:
    """Return contacts both ways with capacities in int32, which is what the flow is computed in."""
    # no flow can exceed the sum of all capacities, so that sum has to fit
    scale = min(2.0**16, 2.0**29 / max(float(affinity.sum()), 1.0))
    capacity = np.maximum(np.rint(affinity * scale), 1).astype(np.int32)
    both = np.concatenate([a, b]), np.concatenate([b, a])
    return csr_array(coo_array((np.tile(capacity, 2), both), shape=(count, count)))


def _cut_apart(segment: _Segment, terminals: Terminals, time_limit_s: float) -> tuple[NDArray[np.int64], int, bool]:
    """Return the piece of every fragment after all cuts, how many cuts there were, and whether they suffice."""
    end = time.monotonic() + time_limit_s
    piece = np.zeros(segment.contacts.shape[0], np.int64)
    cuts, pieces, finished = 0, 0, True
    waiting = [np.arange(len(piece))]
    while waiting:
        members = waiting.pop()
        inside = np.isin(segment.fragment, members)
        occupied = np.unique(np.stack([segment.skeleton, segment.fragment.astype(np.uint64)])[:, inside], axis=1)[0]
        held, counts = np.unique(occupied, return_counts=True)
        left = end - time.monotonic()
        if len(held) > 1 and left > 0:
            one, two = held[np.argsort(-counts, kind="stable")[:2]]
            ends = inside & (segment.skeleton == one), inside & (segment.skeleton == two)
            if terminals == "closest":
                ends = _closest(segment, *ends)
            sources, sinks = (np.unique(segment.fragment[end]) for end in ends)
            parts = _cut_in_time(segment.contacts, members, sources, sinks, left)
            if parts is not None:
                waiting += parts
                cuts += len(parts) - 1
                continue
        piece[members] = pieces
        pieces += 1
        cuts += max(len(held) - 1, 0)
        finished &= len(held) < 2
    return piece, cuts, finished


def _closest(
    segment: _Segment, one: NDArray[np.bool_], two: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return where the closest two nodes of two sets are."""
    distance, nearest = KDTree(segment.position[two]).query(segment.position[one])
    at = int(np.argmin(distance))
    count = len(segment.fragment)
    chosen = np.flatnonzero(one)[at], np.flatnonzero(two)[np.asarray(nearest)[at]]
    return np.arange(count) == chosen[0], np.arange(count) == chosen[1]


def _cut_in_time(
    contacts: csr_array, members: NDArray[np.int64], sources: NDArray[np.int64], sinks: NDArray[np.int64], left: float
) -> list[NDArray[np.int64]] | None:
    """Return what `_minimum_cut` does, or None where that takes longer than `left` seconds; a small cut never does."""
    graph = contacts[members][:, members]
    if graph.nnz < 2 * LARGE:
        return _minimum_cut(graph, members, sources, sinks)
    return _in_time(left, _minimum_cut, graph, members, sources, sinks)


def _in_time(seconds: float, function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns, None where it doesn't within some seconds.

    The library searches in one call that nothing interrupts, so it is made in a process that an alarm ends. It is
    forked: a fresh one would run the main script anew.
    """
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)

    def answer(to: Connection) -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        to.send(function(*arguments))

    child = fork.Process(target=answer, args=(sender,))
    child.start()
    sender.close()
    try:
        with receiver:
            return receiver.recv()
    except EOFError:
        child.join()
        if child.exitcode != -signal.SIGALRM:
            raise RuntimeError(f"the search for a minimum cut ended with status {child.exitcode}") from None
        return None
    finally:
        child.join()


def _minimum_cut(
    contacts: csr_array, members: NDArray[np.int64], sources: NDArray[np.int64], sinks: NDArray[np.int64]
) -> list[NDArray[np.int64]]:
    """Return the connected pieces of `members` after the minimum cut between two sets of them, ascending places.

    `contacts` are those of `members` with each other.

    Every piece holds a source or a sink: each contact that is cut carries flow, all of which comes from a source and
    ends in a sink.
    """
    graph = coo_array(contacts)
    # all sources become one node, and so do all sinks
    node = np.arange(2, len(members) + 2)
    node[np.searchsorted(members, sources)] = 0
    node[np.searchsorted(members, sinks)] = 1
    a, b = node[graph.row], node[graph.col]
    between = a != b
    shape = (len(members) + 2,) * 2
    joined = csr_array(coo_array((graph.data[between], (a[between], b[between])), shape=shape))
    left = csr_array(joined - maximum_flow(joined, 0, 1).flow)
    left.eliminate_zeros()
    near = np.isin(node, breadth_first_order(left, 0, return_predecessors=False))
    kept = near[graph.row] == near[graph.col]
    rest = coo_array((graph.data[kept], (graph.row[kept], graph.col[kept])), shape=graph.shape)
    count, piece = connected_components(rest, directed=False)
    return [members[piece == number] for number in range(count)]
