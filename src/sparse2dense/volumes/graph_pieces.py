"""The region graphs of blocks on disk, and their sum in the memory of a few of them."""

from collections.abc import Iterator
from pathlib import Path

from sparse2dense.ops.graph import RegionGraph, graph_rows, merge_graphs
from sparse2dense.volumes.sorted_pieces import Piece, SortedRows, open_rows, ranges, save_rows

__all__ = ["save_piece", "sums_of_pieces"]

TABLES = {
    "edges": ("u", "v", "count", "total", "far_count", "far_total"),
    "fragments": ("fragments", "sizes"),
    "starts": ("bin_start",),
    "bins": ("bin", "bin_count"),
}
"""Arrays of a graph of equal length, which are the fields of one file."""


def save_piece(graph: RegionGraph, folder: Path, index: int) -> None:
    """Write the graph of a block into the folder of all pieces."""
    for table, fields in TABLES.items():
        columns = {field: values for field in fields if (values := getattr(graph, field)) is not None}
        if columns:
            save_rows(columns, folder, table, index)


def sums_of_pieces(folder: Path, count: int, scale: int) -> Iterator[RegionGraph]:
    """Yield the sum of the pieces 0..count - 1 in ascending ranges of fragments, see `sorted_pieces.ranges`.

    Edges are in the range of their u; a histogram counts as many rows as it has bins.

    Parameters
    ----------
    folder
        Where `save_piece` wrote them, all with the same statistics.
    scale
        That of the graphs.
    """

    def opened(index: int) -> Piece[RegionGraph]:
        tables = [rows for table in TABLES if (rows := open_rows(folder, table, index)) is not None]
        graph = RegionGraph(**{field: rows[field] for rows in tables for field in rows.dtype.names or ()}, scale=scale)
        keys = [SortedRows((graph.u,), graph.bin_start), SortedRows((graph.fragments,))]
        return Piece(keys, lambda edges, nodes: graph_rows(graph, edges, nodes))

    return map(merge_graphs, ranges(count, opened))
