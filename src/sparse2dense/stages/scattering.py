"""Jobs that share the blocks of one output: which part a job computes, and the record it leaves of it."""

import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sparse2dense.errors import InputError
from sparse2dense.volumes.blockwise import Part
from sparse2dense.volumes.replacing import atomic_file

__all__ = ["part_records", "shared_output"]


def part_records(output: str, jobs: int) -> list[str]:
    """Return the names of the records of all parts of an output: none where one job makes it alone."""
    return [f"{output}.parts/{number}-of-{jobs}.json" for number in range(jobs)] if jobs > 1 else []


@contextmanager
def shared_output(declared: Path, records: Sequence[str] = ()) -> Iterator[tuple[Path, Part | None]]:
    """Yield the output that a job works on, and its part of the blocks; leave a record at the end.

    Parameters
    ----------
    declared
        What the job declares: the output itself, `affinities.zarr`, or the record of a part of it,
        `affinities.zarr.parts/3-of-10.json`.
    records
        Of all parts, where the job declares the output itself. The part is then that of the job that gathers them, see
        `volumes.blockwise.Part`, and None without records.

    Raises InputError when the name of the record isn't one.
    """
    if declared.parent.suffix != ".parts":
        yield declared, (len(records), len(records)) if records else None
        return
    named = re.fullmatch(r"(\d+)-of-(\d+)", declared.stem)
    if named is None or int(named[1]) >= int(named[2]):
        raise InputError(
            f"{declared} names no part of {declared.parent.stem}",
            allowed="<number>-of-<jobs>.json, numbers from 0",
            remedy="ask for the whole output, which brings its parts",
        )
    start = time.monotonic()
    yield declared.parent.with_suffix(""), (int(named[1]), int(named[2]))
    with atomic_file(declared) as file:
        record = {"part": int(named[1]), "parts": int(named[2]), "seconds": round(time.monotonic() - start, 3)}
        file.write_text(json.dumps(record) + "\n")
