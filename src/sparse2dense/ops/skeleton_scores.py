"""Scores of a segmentation from skeletons of the truth: how far one gets along them without an error."""

import numpy as np
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.ops.overlaps import overlaps
from sparse2dense.ops.scores import score
from sparse2dense.ops.skeletons import Skeletons, component_of_nodes, edge_lengths

__all__ = ["expected_run_length", "held_skeletons", "merging_segments", "score_skeletons"]


def held_skeletons(
    skeletons: Skeletons, segments: NDArray[np.uint64], minimum_nodes: int = 1
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return every pair of a segment and a skeleton it holds, ordered by both; background (0) holds none.

    Parameters
    ----------
    skeletons
        The truth.
    segments
        uint64 (n,): the segment of every node, 0 where there is none.
    minimum_nodes
        A segment holds a skeleton when that many nodes of it are inside. More than 1 forgives strays: single nodes
        that were clicked beside their object, or whose place is a voxel off.

    Raises InputError when `segments` doesn't have one label per node.
    """
    if segments.shape != (len(skeletons),):
        raise InputError(
            f"segments of shape {segments.shape} for {len(skeletons)} nodes",
            allowed="one segment per node",
            remedy="look the segment of every node up, 0 outside the volume",
        )
    table = overlaps(segments, skeletons.skeleton)
    held = table.select((table.truth != 0) & (table.voxels >= minimum_nodes))
    return held.truth, held.segment


def merging_segments(skeletons: Skeletons, segments: NDArray[np.uint64], minimum_nodes: int = 1) -> NDArray[np.uint64]:
    """Return the segments that hold nodes of two skeletons or more, ascending; parameters as in `held_skeletons`."""
    found, counts = np.unique(held_skeletons(skeletons, segments, minimum_nodes)[0], return_counts=True)
    return found[counts > 1]


def expected_run_length(
    skeletons: Skeletons, segments: NDArray[np.uint64], *, connected: bool = False, minimum_nodes: int = 1
) -> float:
    """Return how long, on average, the error-free run around a random point of the skeletons is, in nm.

    An edge is right when both ends lie in the same segment, which isn't background and merges nothing. A run is what
    one segment covers of one skeleton by right edges; a point on a wrong edge has a run of 0 (Januszewski et al.,
    Nature Methods 2018).

    Parameters
    ----------
    skeletons
        The truth; long skeletons weigh more, skeletons of one node nothing.
    segments, minimum_nodes
        As in `held_skeletons`.
    connected
        Whether stretches of one segment that aren't connected along the skeleton are runs of their own. Else they
        add up to one run, as in funlib.evaluate: a process that leaves its segment and comes back to it isn't split.

    nan where there is no length to run along.
    """
    merging = merging_segments(skeletons, segments, minimum_nodes)
    at = segments[skeletons.edges]
    right = (at[:, 0] == at[:, 1]) & (at[:, 0] != 0) & ~np.isin(at[:, 0], merging)
    return _expected_run_length(skeletons, at[:, 0], right, connected)


def _expected_run_length(
    skeletons: Skeletons, segment_of_edge: NDArray[np.uint64], right: NDArray[np.bool_], connected: bool
) -> float:
    lengths = edge_lengths(skeletons)
    total = float(lengths.sum())
    if not total > 0:
        return float("nan")
    edges = skeletons.edges[right]
    if connected:
        run = component_of_nodes(len(skeletons), edges)[edges[:, 0]]
    else:
        labels, segment = np.unique(segment_of_edge[right], return_inverse=True)
        run = np.unique(skeletons.skeleton[edges[:, 0]], return_inverse=True)[1] * len(labels) + segment
    _, place = np.unique(run, return_inverse=True)
    runs = np.bincount(place, lengths[right])
    return float(np.sum(runs**2)) / total


def score_skeletons(skeletons: Skeletons, segments: NDArray[np.uint64], *, minimum_nodes: int = 1) -> dict[str, float]:
    """Score a segmentation against skeletons of the truth; every node and edge counts, so crop them first.

    Parameters
    ----------
    skeletons, segments, minimum_nodes
        As in `held_skeletons`.

    Returns
    -------
    erl_nm, erl_runs_nm
        Expected run length per segment, and per connected run of a segment (`expected_run_length`).
    erl_max_nm, erl_runs_max_nm
        The same of a perfect segmentation; they differ where skeletons consist of several pieces.
    erl_normalised, erl_runs_normalised
        Each divided by its maximum; 1 is best.
    path_length_nm
        Length of all skeletons together.
    voi_split, voi_merge, voi_sum
        Variation of information over nodes in bits; nodes in background count as one segment. Every node weighs the
        same, so it depends on how densely nodes are set.
    splits
        Edges between two segments; edges into background don't count.
    merging_segments, mergers
        Segments that hold several skeletons, and the pairs of such a segment and a skeleton it holds. Background
        isn't among them.
    lost_nodes
        Nodes in background.

    nan where there is no length, or no node, to score by.
    """
    segment, _ = held_skeletons(skeletons, segments, minimum_nodes)
    merging, counts = np.unique(segment, return_counts=True)
    merging, counts = merging[counts > 1], counts[counts > 1]
    found: dict[str, float] = {}
    everything = np.ones(len(skeletons.edges), np.bool_)
    for name, connected in (("erl", False), ("erl_runs", True)):
        length = expected_run_length(skeletons, segments, connected=connected, minimum_nodes=minimum_nodes)
        best = _expected_run_length(skeletons, np.zeros(len(everything), np.uint64), everything, connected)
        found |= {f"{name}_nm": length, f"{name}_max_nm": best, f"{name}_normalised": length / best}
    # skeletons are numbered from 1, because 0 would be left out
    numbered = np.unique(skeletons.skeleton, return_inverse=True)[1].astype(np.uint64) + np.uint64(1)
    voi = score(overlaps(numbered, segments))
    at = segments[skeletons.edges]
    return {
        **found,
        "path_length_nm": float(edge_lengths(skeletons).sum()),
        **{name: voi[name] for name in ("voi_split", "voi_merge", "voi_sum")},
        "splits": float(np.sum((at[:, 0] != at[:, 1]) & (at != 0).all(axis=1))),
        "merging_segments": float(len(merging)),
        "mergers": float(counts.sum()),
        "lost_nodes": float(np.sum(segments == 0)),
    }
