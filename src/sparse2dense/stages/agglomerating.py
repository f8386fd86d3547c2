"""From fragments to segments: the region graph, extracted block by block, its merge tree, and the tree's cuts."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse2dense.ops.agglomeration import MergeTree, cuts, merge_tree
from sparse2dense.ops.fragments import nearest_channels
from sparse2dense.ops.graph import RegionGraph, region_graph, scale_of
from sparse2dense.ops.mutex_sweep import MutexSweep
from sparse2dense.ops.thresholds import Threshold, threshold_name
from sparse2dense.stages.segmenting import offsets_of
from sparse2dense.stages.sourcecode import resume_key
from sparse2dense.volumes.blockwise import Part, run_blockwise
from sparse2dense.volumes.graph_pieces import save_piece, sums_of_pieces
from sparse2dense.volumes.grid import Block, blocks, clip, within
from sparse2dense.volumes.provenance import provenance
from sparse2dense.volumes.sorted_pieces import pieces_beside
from sparse2dense.volumes.tables import (
    BATCH,
    growing_table,
    read_table,
    table_batches,
    table_facts,
    table_length,
    write_table,
)
from sparse2dense.volumes.volume import open_beside, open_volume

__all__ = ["make_graph", "make_lut", "make_luts", "make_merge_tree", "read_graph", "read_merge_tree", "read_partitions"]

log = logging.getLogger(__name__)

EDGES = ("u", "v", "count", "total", "far_count", "far_total")


def make_graph(
    affinities: Path,
    fragments: Path,
    output: Path,
    *,
    histogram: bool = False,
    long_range: bool = False,
    block_shape: Sequence[int] = (128, 256, 256),
    workers: int = 1,
    part: Part | None = None,
) -> None:
    """Extract the region graph, block by block; it doesn't depend on the blocks.

    Parameters
    ----------
    affinities, fragments
        Volumes of the same place and shape; the affinities carry their `offsets`.
    output
        Directory of tables, a column per statistic of `ops.graph.RegionGraph`: `edges.parquet`, `fragments.parquet`
        and, with `histogram`, `histograms.parquet` (edge, bin, bin_count).
    histogram, long_range
        As in `ops.graph.region_graph`.
    block_shape
        Voxels (z, y, x) of a block.
    workers
        Processes that work on blocks, where there is work for them.
    part
        Extract this share of the blocks only, see `volumes.blockwise`.

    Raises InputError when offsets are missing, or the fragments lie elsewhere.
    """
    source = open_volume(affinities)
    offsets, shape = offsets_of(source), source.spatial_shape
    open_beside(source, fragments)
    channels = list(range(len(offsets))) if long_range else nearest_channels(offsets)
    links = [offsets[channel] for channel in channels]
    settings = {"histogram": histogram, "long_range": long_range, "offsets": links}
    record = provenance("make_graph", settings, {"affinities": affinities, "fragments": fragments})

    def create(paths: Sequence[Path]) -> None:
        paths[0].mkdir(parents=True)
        pieces_beside(paths[0]).mkdir()

    def work(paths: Sequence[Path], block: Block) -> None:
        values, labels, read = open_volume(affinities), open_volume(fragments), clip(block.read, shape)
        graph = region_graph(
            labels[read],
            np.stack([values[(channel, *read)] for channel in channels]),
            offsets=links,
            histogram=histogram,
            long_range=long_range,
            owned=within(block.write, read),
        )
        save_piece(graph, pieces_beside(paths[0]), block.index)

    tiles = blocks(shape, block_shape, np.abs(links).max(axis=0).tolist())

    def conclude(paths: Sequence[Path]) -> None:
        scale = scale_of(source.dtype)
        graphs = sums_of_pieces(pieces_beside(paths[0]), len(tiles), scale)
        rows = write_graph(graphs, paths[0], {"scale": scale, **settings, "provenance": record})
        log.info("%s: %d fragments, %d edges", output, *rows)

    key = resume_key(__name__, record, (affinities, fragments))
    label = f"region graph {output.parent.name}"
    run_blockwise(
        output, key, create, work, tiles, label=label, workers=workers, quick=True, conclude=conclude, part=part
    )


def write_graph(graphs: Iterable[RegionGraph], folder: Path, facts: Mapping[str, Any]) -> tuple[int, int]:
    """Write a graph that comes in ascending ranges of fragments; return the number of fragments and of edges.

    Parameters
    ----------
    folder, facts
        What tables go into it, and what is known of the edges: see `make_graph`.
    """
    nodes = edges = 0
    with ExitStack() as stack:
        add_edges = stack.enter_context(growing_table(folder / "edges.parquet", facts))
        add_nodes = stack.enter_context(growing_table(folder / "fragments.parquet", {}))
        add_bins = stack.enter_context(growing_table(folder / "histograms.parquet", {})) if facts["histogram"] else None
        for graph in graphs:
            add_edges({name: getattr(graph, name) for name in EDGES if getattr(graph, name) is not None})
            add_nodes({"fragment": graph.fragments, "voxels": graph.sizes})
            if add_bins and graph.bin_start is not None and graph.bin is not None and graph.bin_count is not None:
                edge = np.repeat(np.arange(edges, edges + len(graph)), np.diff(graph.bin_start))
                add_bins({"edge": edge, "bin": graph.bin, "bin_count": graph.bin_count})
            nodes, edges = nodes + len(graph.fragments), edges + len(graph)
    return nodes, edges


def read_graph(folder: Path) -> RegionGraph:
    """Return the graph that `make_graph` wrote; InputError when a table is missing."""
    file = folder / "edges.parquet"
    statistics = dict(zip(EDGES[:4], read_table(file, *EDGES[:4]), strict=True))
    facts = table_facts(file)
    if facts["long_range"]:
        statistics |= zip(EDGES[4:], read_table(file, *EDGES[4:]), strict=True)
    fragments, sizes = read_table(folder / "fragments.parquet", "fragment", "voxels")
    if facts["histogram"]:
        file = folder / "histograms.parquet"
        (edge,) = read_table(file, "edge")
        statistics["bin_start"] = np.searchsorted(edge, np.arange(len(statistics["u"]) + 1))
        statistics["bin"], statistics["bin_count"] = read_table(file, "bin", "bin_count")
    return RegionGraph(fragments=fragments, sizes=sizes, scale=facts["scale"], **statistics)


def make_merge_tree(graph: Path, output: Path, *, merge_function: str = "mean") -> None:
    """Agglomerate fragments once and keep the order in which they merge.

    Parameters
    ----------
    graph
        As `make_graph` writes it, with histograms if the merge function is a quantile.
    output
        Parquet file of the columns a, b (uint64 fragment ids) and score (float64), a row per merge in the order of
        merging. A fragment that never merges is a row at the end with a = b and an infinite score.
    merge_function
        As in `ops.agglomeration.merge_tree`.
    """
    tree = merge_tree(read_graph(graph), merge_function)
    alone = np.setdiff1d(tree.fragments, np.concatenate([tree.a, tree.b]))
    record = provenance("make_merge_tree", {"merge_function": merge_function}, {"graph": graph})
    write_table(
        output,
        {
            "a": np.concatenate([tree.a, alone]),
            "b": np.concatenate([tree.b, alone]),
            "score": np.concatenate([tree.score, np.full(len(alone), np.inf)]),
        },
        {"method": merge_function, "provenance": record},
    )
    log.info("%s: %d merges of %d fragments, %d alone", output, len(tree.a), len(tree.fragments), len(alone))


def read_merge_tree(path: Path) -> MergeTree:
    """Return the merge tree that `make_merge_tree` wrote."""
    fragments = _fragments(path)
    a, b, score = read_table(path, "a", "b", "score")
    merged = a != b
    return MergeTree(fragments, a[merged], b[merged], score[merged])


def _fragments(tree: Path) -> NDArray[np.uint64]:
    """Return every fragment of a merge tree on disk, ascending, in the memory of its columns a and b."""
    ids, done = np.empty(2 * table_length(tree), np.uint64), 0
    for column in (column for columns in table_batches(tree, "a", "b") for column in columns):
        ids[done : done + len(column)] = column
        done += len(column)
    ids.sort()
    ids.resize(_keep_distinct(ids), refcheck=False)
    return ids


def _keep_distinct(ids: NDArray[np.uint64]) -> int:
    """Move the first of equal ids, which ascend, to the beginning; return how many there are."""
    kept = min(1, len(ids))
    for start in range(1, len(ids), BATCH):
        some = ids[start : start + BATCH]
        # the id before `start` is still in its place, or was moved there from it
        new = some[some != ids[start - 1 : start - 1 + len(some)]]
        ids[kept : kept + len(new)] = new
        kept += len(new)
    return kept


def read_partitions(path: Path, repulsion: float | None = None) -> MergeTree | MutexSweep:
    """Return what gives a partition for every threshold: a merge tree, or the mutex watersheds of a graph.

    Parameters
    ----------
    path
        As `make_merge_tree` or `make_graph` wrote it.
    repulsion
        Of the mutex watersheds, that of `ops.mutex_sweep.MutexSweep` by default; a tree has none.
    """
    return _mutex_sweep(path, repulsion) if path.is_dir() else read_merge_tree(path)


def _mutex_sweep(graph: Path, repulsion: float | None) -> MutexSweep:
    return MutexSweep(read_graph(graph)) if repulsion is None else MutexSweep(read_graph(graph), repulsion)


def make_lut(source: Path, output: Path, *, threshold: Threshold, repulsion: float | None = None) -> None:
    """Write the segment of every fragment at a threshold: `make_luts` for one."""
    make_luts(source, {threshold: output}, repulsion=repulsion)


def make_luts(source: Path, outputs: Mapping[Threshold, Path], *, repulsion: float | None = None) -> None:
    """Write the segment of every fragment at every threshold, in one pass over the merges.

    Parameters
    ----------
    source, repulsion
        As in `read_partitions`.
    outputs
        For every threshold the Parquet file of the columns fragment and segment (uint64), ordered by fragment; segments
        are 1..K. The exact decimal of the threshold goes into the metadata.
    """
    files = {threshold_name(threshold): path for threshold, path in outputs.items()}
    names = sorted(files, key=float)
    settings: dict[str, Any] = {}
    partitions: Iterator[tuple[NDArray[np.uint64], NDArray[np.integer]]]
    if source.is_dir():
        sweep = _mutex_sweep(source, repulsion)
        settings, partitions = {"repulsion": sweep.repulsion}, map(sweep.cut, names)
    else:
        fragments = _fragments(source)
        found = cuts(len(fragments), _merges(source, fragments), names)
        partitions = ((fragments, segments) for segments in found)
    for name in names:
        record = provenance("make_lut", {"threshold": name, **settings}, {"source": source})
        # not as a variable, so that one is gone before the next is made
        _write_lut(files[name], *next(partitions), {"threshold": name, "provenance": record})


def _write_lut(
    output: Path, fragments: NDArray[np.uint64], segments: NDArray[np.integer], facts: Mapping[str, Any]
) -> None:
    with growing_table(output, facts) as append:
        for start in range(0, max(1, len(fragments)), BATCH):
            some = slice(start, start + BATCH)
            append({"fragment": fragments[some], "segment": segments[some].astype(np.uint64)})
    log.info("%s: %d fragments in %d segments", output, len(fragments), segments.max(initial=0))


def _merges(tree: Path, fragments: NDArray[np.uint64]) -> Iterator[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]:
    """Yield the merges of a tree on disk, a few at a time, as `ops.agglomeration.cuts` takes them."""
    for a, b, score in table_batches(tree, "a", "b", "score"):
        yield np.searchsorted(fragments, a), np.searchsorted(fragments, b), score
