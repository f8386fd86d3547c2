"""Sorted tables of blocks on disk, put together range by range, in the memory of a few of them."""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from sparse2dense.ops.row_sums import sum_rows
from sparse2dense.volumes.replacing import atomic_file

__all__ = ["Piece", "SortedRows", "open_rows", "pieces_beside", "ranges", "save_rows", "summed_rows"]

ROWS = 2**22
"""Rows of pieces that are put together at a time, at some 125 bytes each: half a gigabyte."""
STEP = 256
"""One in so many rows is looked at to part them; some 0.4 bytes per row, all that is ever held of the whole."""

Key = tuple[float, ...]
END: Key = (math.inf,)
"""Beyond all keys."""
Rows = TypeVar("Rows")


@dataclass(frozen=True)
class SortedRows:
    """What says where in a table a range begins.

    Parameters
    ----------
    keys
        Integer columns by which the rows ascend, the first decides first; memory-mapped.
    starts
        How many rows of another table belong to the rows before each, and to all; none by default.
    """

    keys: tuple[NDArray[np.integer], ...]
    starts: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.keys[0])

    def key(self, row: int) -> Key:
        """Return the key of a row; the key of one behind the last is `END`."""
        return tuple(int(column[row]) for column in self.keys) if row < len(self) else END

    def place(self, key: Key, first: int) -> int:
        """Return the first row, from `first` on, that isn't before `key`."""
        # not searchsorted, which reads all of an array that isn't in one piece, and knows one column only
        return bisect_left(range(len(self)), key, first, key=self.key)


@dataclass(frozen=True)
class Piece(Generic[Rows]):
    """What a block gave.

    Parameters
    ----------
    tables
        Their keys have to do with each other: a range has the rows of all tables between two keys.
    taken
        Returns the rows in a slice of each table, in memory.
    """

    tables: Sequence[SortedRows]
    taken: Callable[..., Rows]


def pieces_beside(output: Path) -> Path:
    """Return the folder for the pieces of an unfinished output; `run_blockwise` removes it when the output is whole."""
    return output.with_name("pieces")


def save_rows(columns: Mapping[str, NDArray[Any]], folder: Path, table: str, index: int) -> None:
    """Write columns of equal length as one table of a piece; what lies together in it is read together."""
    types = [(name, values.dtype) for name, values in columns.items()]
    rows = np.empty(len(next(iter(columns.values()))), types)
    for name, values in columns.items():
        rows[name] = values
    with atomic_file(_file(folder, table, index), shared=True) as partial:
        np.save(partial, rows)


def open_rows(folder: Path, table: str, index: int) -> NDArray[np.void] | None:
    """Return the table of a piece, memory-mapped, with its columns as fields; None where the piece has none."""
    file = _file(folder, table, index)
    return np.load(file, mmap_mode="r") if file.exists() else None


def ranges(count: int, opened: Callable[[int], Piece[Rows]]) -> Iterator[list[Rows]]:
    """Yield the rows of pieces in ascending ranges of keys, of about `ROWS` rows each, from every piece that has any.

    All rows of one key are in one range. One piece is open at a time, and only while a range has rows of it. Where no
    piece has any row, the first stands for all.

    Parameters
    ----------
    count
        Of the pieces, at least one.
    opened
        Returns a piece by its index.
    """
    places = [[0] * len(opened(index).tables) for index in range(count)]
    heads = [_head(opened(index).tables, places[index]) for index in range(count)]
    if min(heads) == END:
        yield [opened(0).taken(*(slice(0, 0) for _ in places[0]))]
        return
    for high in [*_borders(opened(index).tables for index in range(count)), END]:
        parts = []
        for index, head in enumerate(heads):
            if head < high:
                piece, first = opened(index), places[index]
                places[index] = [table.place(high, row) for table, row in zip(piece.tables, first, strict=True)]
                heads[index] = _head(piece.tables, places[index])
                parts.append(piece.taken(*map(slice, first, places[index])))
        if parts:
            yield parts


def summed_rows(folder: Path, table: str, count: int, keys: Sequence[str]) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the table of all pieces in ascending ranges, rows of equal keys added up; at least one range.

    Parameters
    ----------
    folder, table
        Where `save_rows` wrote the pieces 0..count - 1, each in the order of its keys.
    keys
        Columns, the first of the table; all others are added up.
    """

    def opened(index: int) -> Piece[NDArray[np.void]]:
        rows = open_rows(folder, table, index)
        assert rows is not None, f"{table} of block {index} is missing"
        return Piece([SortedRows(tuple(rows[key] for key in keys))], lambda some: np.array(rows[some]))

    for parts in ranges(count, opened):
        rows = np.concatenate(parts)
        names = rows.dtype.names or ()
        added = sum_rows([rows[key] for key in keys], [rows[name] for name in names[len(keys) :]])
        yield dict(zip(names, [*added[0], *added[1]], strict=True))


def _file(folder: Path, table: str, index: int) -> Path:
    return folder / f"{index}.{table}.npy"


def _head(tables: Sequence[SortedRows], rows: Sequence[int]) -> Key:
    """Return the lowest key of some rows, one of each table."""
    return min(table.key(row) for table, row in zip(tables, rows, strict=True))


def _borders(pieces: Iterator[Sequence[SortedRows]]) -> list[Key]:
    """Return the keys that part the rows of all pieces into ranges of about `ROWS`."""
    sampled: list[list[NDArray[np.integer]]] = []
    weights = []
    for table in (table for tables in pieces for table in tables):
        places = np.append(np.arange(0, len(table), STEP), len(table))
        sampled.append([column[places[:-1]] for column in table.keys])
        weights.append(np.diff(places) if table.starts is None else np.diff(places + table.starts[places]))
    keys, rows = [np.concatenate(columns) for columns in zip(*sampled, strict=True)], np.concatenate(weights)
    order = np.lexsort(keys[::-1])
    number = (np.cumsum(rows[order]) - 1) // ROWS
    places = order[1:][number[1:] > number[:-1]]
    return sorted(set(zip(*(column[places].tolist() for column in keys), strict=True)))
