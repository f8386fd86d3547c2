"""NumPy arrays, one to a file or several in an archive."""

import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from sparse2dense.errors import InputError
from sparse2dense.volumes.readers.source import Source, array_source, choose_dataset, file_source, scratch_file

__all__ = ["open_npy", "open_npz"]


def open_npy(path: Path) -> Source:
    """Open one array; rows are read when asked for."""
    with path.open("rb") as stream:
        return from_stream(path, stream, path)


def open_npz(path: Path, dataset: str | None) -> Source:
    """Open one array of an archive; it is unpacked to a temporary file, not into memory."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
            with archive.open(choose_dataset(path, dataset, names) + ".npy") as packed:
                stream = scratch_file(packed)
    except zipfile.BadZipFile as error:
        raise not_numpy(path) from error
    return from_stream(path, stream, stream)


def from_stream(path: Path, stream: IO[bytes], file: Path | IO[bytes]) -> Source:
    """Read the header and leave the voxels where they are."""
    try:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read_header(stream)
    except ValueError as error:
        raise not_numpy(path) from error
    if dtype.hasobject:
        raise not_numpy(path)
    if fortran:
        values = np.memmap(file, dtype, "r", stream.tell(), shape, order="F")
        return array_source(path, values)
    return file_source(file, path, stream.tell(), shape, dtype)


def not_numpy(path: Path) -> InputError:
    """Return the error for a file that only has the suffix."""
    return InputError(
        f"{path} is no array of numbers in NumPy's format",
        allowed="a file written by numpy.save or numpy.savez",
        remedy="write it again, or correct the path",
    )
