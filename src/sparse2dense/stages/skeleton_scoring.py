"""Scores of every threshold by skeletons: fragments are looked up once, everything else is look-up tables."""

import csv
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.ops.overlaps import look_up
from sparse2dense.ops.skeleton_scores import score_skeletons
from sparse2dense.ops.skeletons import Skeletons, crop
from sparse2dense.ops.thresholds import Threshold, threshold_name
from sparse2dense.stages.agglomerating import read_merge_tree
from sparse2dense.volumes.blockwise import atomic_file
from sparse2dense.volumes.skeleton_files import read_skeletons
from sparse2dense.volumes.volume import Volume, open_volume

__all__ = ["COLUMNS", "fragments_of_nodes", "score_by_skeletons"]

log = logging.getLogger(__name__)

SCORES = (
    "erl_nm", "erl_max_nm", "erl_normalised", "erl_runs_nm", "erl_runs_max_nm", "erl_runs_normalised", "path_length_nm",
    "voi_split", "voi_merge", "voi_sum", "splits", "merging_segments", "mergers", "lost_nodes",
)  # fmt: skip
COLUMNS = ("volume", "track", "threshold", "nodes", *SCORES)


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
    tree: Path,
    skeletons: Path,
    output: Path,
    *,
    thresholds: Sequence[Threshold],
    volume: str,
    track: str,
    minimum_nodes: int = 1,
) -> None:
    """Score the segmentation of every threshold by skeletons of the truth.

    Parameters
    ----------
    fragments
        Volume uint64 (z, y, x). What lies outside it is cut off: nodes, and edges to them.
    tree
        As `agglomerating.make_merge_tree` writes it.
    skeletons
        File of skeletons in nm, as `volumes.skeleton_files.read_skeletons` reads them.
    output
        CSV file, a row per threshold: volume, track, threshold (an exact decimal), nodes (inside the volume) and the
        scores of `ops.skeleton_scores.score_skeletons`.
    thresholds
        Merge thresholds.
    volume, track
        What is scored, for the first columns.
    minimum_nodes
        As in `ops.skeleton_scores.held_skeletons`.

    Raises InputError when no node lies in the volume.
    """
    source, merges, truth = open_volume(fragments), read_merge_tree(tree), read_skeletons(skeletons)
    begin, end = zip(*source.extent, strict=True)
    inside = crop(truth, begin, end)
    if len(inside) == 0:
        low, high = truth.position.min(axis=0).tolist(), truth.position.max(axis=0).tolist()
        raise InputError(
            f"{skeletons} has its {len(truth)} nodes from {low} to {high} nm, {fragments} covers {source.extent} nm",
            allowed="at least one node in the volume",
            remedy="give positions z, y, x in nm in the same world as the volume, or correct the volume's offset",
        )
    of_node = fragments_of_nodes(source, inside)
    with atomic_file(output) as partial, partial.open("w", newline="") as file:
        rows = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        rows.writeheader()
        for threshold in map(threshold_name, thresholds):
            segments = look_up(of_node, *merges.cut(threshold))
            head = {"volume": volume, "track": track, "threshold": threshold, "nodes": len(inside)}
            rows.writerow({**head, **score_skeletons(inside, segments, minimum_nodes=minimum_nodes)})
    log.info("%s: %d of %d nodes lie in %s", output, len(inside), len(truth), fragments)
