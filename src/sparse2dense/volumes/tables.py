"""Tables of results as Parquet: typed columns, and beside them what made the table."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.volumes.blockwise import atomic_file

__all__ = ["read_table", "table_facts", "write_table"]


def write_table(path: Path, columns: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> None:
    """Write columns of equal length, and `facts` (types of JSON) into the metadata of the file."""
    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    metadata = {name: json.dumps(value) for name, value in facts.items()}
    with atomic_file(path) as partial:
        pq.write_table(table.replace_schema_metadata(metadata), partial, compression="zstd")


def read_table(path: Path, *columns: str) -> tuple[NDArray[Any], ...]:
    """Return the named columns as arrays; InputError when the file or a column is missing."""
    problem = "doesn't exist"
    if path.is_file():
        with pq.ParquetFile(path) as file:
            missing = [column for column in columns if column not in file.schema_arrow.names]
            if not missing:
                table = file.read(columns=list(columns))
                return tuple(np.asarray(table.column(column).to_numpy(zero_copy_only=False)) for column in columns)
        problem = f"has no column {missing[0]!r}"
    raise InputError(
        f"{path} {problem}",
        allowed=f"a Parquet file with the columns {', '.join(columns)}",
        remedy="let the workflow make the file: ask for it by name",
    )


def table_facts(path: Path) -> dict[str, Any]:
    """Return what was stored beside the columns."""
    metadata = pq.read_schema(path).metadata or {}
    return {name.decode(): json.loads(value) for name, value in metadata.items() if name != b"ARROW:schema"}
