"""Tables of results as Parquet: typed columns, and beside them what made the table."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.volumes.replacing import atomic_file

__all__ = ["BATCH", "growing_table", "read_table", "table_batches", "table_facts", "table_length", "write_table"]

ROW_GROUP = 2**20
"""Rows that are compressed together, as many as pyarrow takes by default."""
BATCH = 2**16
"""Rows that are read at a time where all of them would be too much."""

Append = Callable[[Mapping[str, NDArray[Any]]], None]


@contextmanager
def growing_table(path: Path, facts: Mapping[str, Any]) -> Iterator[Append]:
    """Yield a function that appends rows, given as columns of equal length; to be called at least once.

    The file is that of `write_table` for all rows at once. No more is held than what was last appended and less than
    `ROW_GROUP` rows besides.
    """
    metadata = {name: json.dumps(value) for name, value in facts.items()}
    waiting: list[pa.Table] = []
    writers: list[pq.ParquetWriter] = []

    def write(rows: pa.Table) -> None:
        if not writers:
            writers.append(stack.enter_context(pq.ParquetWriter(partial, rows.schema, compression="zstd")))
        # one piece of memory per column: pages would end where pieces do
        writers[0].write_table(rows.combine_chunks(), ROW_GROUP)

    def append(columns: Mapping[str, NDArray[Any]]) -> None:
        table = pa.table({name: pa.array(values) for name, values in columns.items()})
        rows = pa.concat_tables([*waiting, table.replace_schema_metadata(metadata)])
        whole = rows.num_rows // ROW_GROUP * ROW_GROUP
        if whole > 0:
            write(rows.slice(0, whole))
        waiting[:] = [rows.slice(whole)]

    with atomic_file(path) as partial, ExitStack() as stack:
        yield append
        if waiting[0].num_rows > 0 or not writers:
            write(waiting[0])


def write_table(path: Path, columns: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> None:
    """Write columns of equal length, and `facts` (types of JSON) into the metadata of the file."""
    with growing_table(path, facts) as append:
        append(columns)


def read_table(path: Path, *columns: str, where: tuple[str, Any] | None = None) -> tuple[NDArray[Any], ...]:
    """Return the named columns as arrays, of all rows or of those `where` a column has a value (its name, the value).

    Raises InputError when the file or a column is missing.
    """
    with _opened(path, *columns, *(where or ())[:1]) as file:
        rows = None if where is None else pc.equal(file.read(columns=[where[0]]).column(0), where[1])
        return tuple(_column(file, column, rows) for column in columns)


def table_batches(path: Path, *columns: str) -> Iterator[tuple[NDArray[Any], ...]]:
    """Yield the named columns as arrays of `BATCH` rows at most, in the memory of these; errors as of `read_table`."""
    with _opened(path, *columns) as file:
        for rows in file.iter_batches(BATCH, columns=list(columns)):
            yield tuple(rows.column(name).to_numpy(zero_copy_only=False) for name in columns)


def table_length(path: Path) -> int:
    """Return the number of rows; InputError when the file is missing."""
    with _opened(path) as file:
        return int(file.metadata.num_rows)


def _opened(path: Path, *columns: str) -> pq.ParquetFile:
    """Return the file of a table, to be closed; InputError when it or one of the columns is missing."""
    problem = "doesn't exist"
    if path.is_file():
        # not `pq.read_table`, which looks for data sets of many files first, and is slow on many small tables
        file = pq.ParquetFile(path)
        missing = [name for name in columns if name not in file.schema_arrow.names]
        if not missing:
            return file
        file.close()
        problem = f"has no column {missing[0]!r}"
    raise InputError(
        f"{path} {problem}",
        allowed=f"a Parquet file with the columns {', '.join(columns)}",
        remedy="let the workflow make the file: ask for it by name",
    )


def _column(file: pq.ParquetFile, name: str, rows: pa.ChunkedArray | None) -> NDArray[Any]:
    """Return one column, so that only one at a time is there as the table and as the array."""
    column = file.read(columns=[name]).column(0)
    return np.asarray((column if rows is None else column.filter(rows)).to_numpy(zero_copy_only=False))


def table_facts(path: Path) -> dict[str, Any]:
    """Return what was stored beside the columns."""
    metadata = pq.read_schema(path).metadata or {}
    return {name.decode(): json.loads(value) for name, value in metadata.items() if name != b"ARROW:schema"}
