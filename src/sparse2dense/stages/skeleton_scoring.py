"""Scores of every threshold by skeletons: fragments are looked up once, everything else is look-up tables."""

import csv
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparse2dense.ops.edits import count_edits
from sparse2dense.ops.graph import RegionGraph
from sparse2dense.ops.overlaps import look_up
from sparse2dense.ops.skeleton_scores import score_skeletons
from sparse2dense.ops.skeletons import Skeletons
from sparse2dense.ops.thresholds import Threshold, threshold_name
from sparse2dense.stages.agglomerating import read_graph, read_partitions
from sparse2dense.volumes.replacing import atomic_file
from sparse2dense.volumes.skeleton_files import crop_to_volume, read_skeletons
from sparse2dense.volumes.volume import Volume, open_volume

__all__ = ["COLUMNS", "EDITS", "fragments_of_nodes", "score_by_skeletons"]

log = logging.getLogger(__name__)

SCORES = (
    "erl_nm", "erl_max_nm", "erl_normalised", "erl_runs_nm", "erl_runs_max_nm", "erl_runs_normalised", "path_length_nm",
    "voi_split", "voi_merge", "voi_sum", "splits", "merging_segments", "mergers", "lost_nodes",
)  # fmt: skip
COLUMNS = ("volume", "track", "threshold", "nodes", *SCORES)
EDITS = ("edits", "edit_cuts", "edit_joins", "unsplittable", "unfinished")


def fragments_of_nodes(fragments: Volume, skeletons: Skeletons) -> NDArray[np.uint64]:
    """Return the fragment that every node lies in, uint64 (n,), 0 in background; nodes lie inside the volume.

    Every chunk of the volume that holds nodes is read once, the others aren't.
    """
    found = np.zeros(len(skeletons), np.uint64)
    scale, corner = np.array(fragments.voxel_size), np.array(fragments.offset)
    # a node on the face of a voxel belongs to the voxel above, also where division rounds it down
    voxel = np.floor((skeletons.position - corner) / scale + 1e-6).astype(np.int64)
    voxel = np.clip(voxel, 0, np.array(fragments.shape) - 1)
    chunk = np.array(fragments.array.chunks)
    places, chunk_of_node = np.unique(voxel // chunk, axis=0, return_inverse=True)
    order = np.argsort(chunk_of_node.reshape(-1), kind="stable")
    ends = np.cumsum(np.bincount(chunk_of_node.reshape(-1), minlength=len(places)))
    for place, nodes in zip(places, np.split(order, ends[:-1]) if len(places) else [], strict=True):
        begin = place * chunk
        box = tuple(slice(int(low), int(low + side)) for low, side in zip(begin, chunk, strict=True))
        found[nodes] = fragments[box][tuple((voxel[nodes] - begin).T)]
    return found


def score_by_skeletons(
    fragments: Path,
    partitions: Path,
    skeletons: Path,
    output: Path,
    *,
    thresholds: Sequence[Threshold],
    volume: str,
    track: str,
    repulsion: float | None = None,
    minimum_nodes: int = 1,
    graph: Path | None = None,
    edits_seconds: float = 60.0,
) -> None:
    """Score the segmentation of every threshold by skeletons of the truth.

    Parameters
    ----------
    fragments
        Volume uint64 (z, y, x). What lies outside it is cut off: nodes, and edges to them.
    partitions, repulsion
        As in `agglomerating.read_partitions`.
    skeletons
        File of skeletons in nm, as `volumes.skeleton_files.read_skeletons` reads them.
    output
        CSV file, a row per threshold: volume, track, threshold (an exact decimal), nodes (inside the volume), the
        scores of `ops.skeleton_scores.score_skeletons` and, with `graph`, the columns `EDITS`.
    thresholds
        Merge thresholds.
    volume, track
        What is scored, for the first columns.
    minimum_nodes
        As in `ops.skeleton_scores.held_skeletons`; edits know no strays and take it for 1.
    graph
        Region graph, as `agglomerating.make_graph` writes it; edits are counted where it is given.
    edits_seconds
        Time limit for cutting one segment apart, see `ops.edits.count_edits`.

    Raises InputError when no node lies in the volume.
    """
    source, partition = open_volume(fragments), read_partitions(partitions, repulsion)
    truth = crop_to_volume(read_skeletons(skeletons), skeletons, source)
    of_node = fragments_of_nodes(source, truth)
    contacts = None if graph is None else _contacts(read_graph(graph))
    with atomic_file(output) as partial, partial.open("w", newline="") as file:
        rows = csv.DictWriter(file, COLUMNS + (() if contacts is None else EDITS), lineterminator="\n")
        rows.writeheader()
        for threshold in map(threshold_name, thresholds):
            lut = partition.cut(threshold)
            segments = look_up(of_node, *lut)
            row = {"volume": volume, "track": track, "threshold": threshold, "nodes": len(truth)}
            row |= score_skeletons(truth, segments, minimum_nodes=minimum_nodes)
            if contacts is not None:
                edits = count_edits(truth, of_node, *lut, contacts, time_limit_s=edits_seconds)
                counts = (edits.total, edits.splits, edits.merges, edits.unsplittable, edits.unfinished)
                row |= dict(zip(EDITS, counts, strict=True))
            rows.writerow(row)
    log.info("%s: %d nodes lie in %s", output, len(truth), fragments)


def _contacts(graph: RegionGraph) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.float64]]:
    """Return the fragments that touch, and the mean affinity across each contact."""
    touch = graph.count > 0  # other edges are of longer range
    mean = graph.total[touch] / (graph.count[touch] * graph.scale)
    return graph.u[touch], graph.v[touch], mean
