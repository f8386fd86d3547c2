"""The region graphs of blocks on disk, and their sum in the memory of a few of them."""

from bisect import bisect_left
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from sparse2dense.ops.graph import RegionGraph, merge_graphs, rows_between
from sparse2dense.volumes.blockwise import atomic_file

__all__ = ["save_piece", "sums_of_pieces"]

TABLES = {
    "edges": ("u", "v", "count", "total", "far_count", "far_total"),
    "fragments": ("fragments", "sizes"),
    "starts": ("bin_start",),
    "bins": ("bin", "bin_count"),
}
"""Arrays of a graph of equal length, which are the fields of one file. So rows that lie together are read together."""
ROWS = 2**22
"""Edges, fragments and bins of pieces that are added up at a time, at some 125 bytes each: half a gigabyte."""
STEP = 256
"""One in so many rows is looked at to part them; some 0.3 bytes per edge, all that is ever held of the whole."""
END = 2**64
"""Beyond all ids."""


def save_piece(graph: RegionGraph, folder: Path, index: int) -> None:
    """Write the graph of a block into the folder of all pieces."""
    for name, fields in TABLES.items():
        columns = {field: values for field in fields if (values := getattr(graph, field)) is not None}
        if columns:
            types = [(field, values.dtype) for field, values in columns.items()]
            rows = np.empty(len(next(iter(columns.values()))), types)
            for field, values in columns.items():
                rows[field] = values
            with atomic_file(_file(folder, index, name)) as piece:
                np.save(piece, rows)


def sums_of_pieces(folder: Path, count: int, scale: int) -> Iterator[RegionGraph]:
    """Yield the sum of the pieces 0..count - 1 in parts of about `ROWS` rows, ascending ranges of fragments.

    Edges are in the part of their u. One piece is open at a time, and only while a range has rows of it.

    Parameters
    ----------
    folder
        Where `save_piece` wrote them, all with the same statistics.
    scale
        That of the graphs.
    """
    heads = [_first_id(_opened(folder, index, scale), 0) for index in range(count)]
    if min(heads) == END:
        yield merge_graphs([_opened(folder, 0, scale)])
        return
    for low, high in pairwise([0, *_borders(_opened(folder, index, scale) for index in range(count)), END]):
        parts = []
        for index, head in enumerate(heads):
            if head < high:
                piece = _opened(folder, index, scale)
                parts.append(rows_between(piece, low, high))
                heads[index] = _first_id(piece, high)
        if parts:
            yield merge_graphs(parts)


def _file(folder: Path, index: int, table: str) -> Path:
    return folder / f"{index}.{table}.npy"


def _opened(folder: Path, index: int, scale: int) -> RegionGraph:
    """Return a piece whose arrays are memory-mapped."""
    files = [file for name in TABLES if (file := _file(folder, index, name)).exists()]
    rows = [np.load(file, mmap_mode="r") for file in files]
    return RegionGraph(**{field: table[field] for table in rows for field in table.dtype.names}, scale=scale)


def _first_id(piece: RegionGraph, low: int) -> int:
    """Return the first id from `low` on of which a piece has rows, `END` if there is none."""
    places = ((ids, bisect_left(ids, low)) for ids in (piece.u, piece.fragments))
    return min((int(ids[place]) for ids, place in places if place < len(ids)), default=END)


def _borders(pieces: Iterator[RegionGraph]) -> list[int]:
    """Return the ids that part the rows of all pieces into ranges of about `ROWS`."""
    ids, weights = [], []
    for piece in pieces:
        for column in (piece.u, piece.fragments):
            places = np.append(np.arange(0, len(column), STEP), len(column))
            ids.append(column[places[:-1]])
            weights.append(np.diff(places))
            if column is piece.u and piece.bin_start is not None:
                weights[-1] = weights[-1] + np.diff(piece.bin_start[places])
    known, rows = np.concatenate(ids), np.concatenate(weights)
    order = np.argsort(known)
    number = (np.cumsum(rows[order]) - 1) // ROWS
    return np.unique(known[order[1:]][number[1:] > number[:-1]]).tolist()
