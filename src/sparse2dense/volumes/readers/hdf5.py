"""HDF5 in the layouts in use for connectomics: CREMI (resolution and offset in nm), ilastik (element_size_um)."""

import gzip
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.volumes.readers.source import Source, array_source, choose_dataset, nanometres, scratch_file

__all__ = ["open_hdf5", "read_table"]


def open_hdf5(path: Path, dataset: str | None) -> Source:
    """Open one dataset; a `.gz` is unpacked to a temporary file first, not into memory."""
    file = open_file(path)
    node = file[choose_dataset(path, dataset, datasets(file))]
    attributes = node.attrs
    voxel_size = attributes.get("resolution")
    if voxel_size is None and "element_size_um" in attributes:
        voxel_size = nanometres(list(attributes["element_size_um"]), "um")
    offset = attributes.get("offset")
    return array_source(
        path,
        node,
        None if voxel_size is None else [float(value) for value in voxel_size],
        None if offset is None else [float(value) for value in offset],
    )


def read_table(path: Path, dataset: str) -> NDArray[Any]:
    """Read a whole small dataset."""
    with open_file(path) as file:
        if dataset.strip("/") not in datasets(file):
            choose_dataset(path, dataset, datasets(file))
        return np.asarray(file[dataset])


def open_file(path: Path) -> h5py.File:
    """Open a file, packed or not."""
    try:
        if path.suffix.lower() == ".gz":
            with gzip.open(path) as packed:
                return h5py.File(scratch_file(packed), "r")  # type: ignore[arg-type]
        return h5py.File(path, "r")
    except (OSError, EOFError) as error:
        raise InputError(
            f"{path} can't be opened as HDF5: {error}",
            allowed="a whole HDF5 file, or one packed by gzip",
            remedy="check the file with `h5ls`, or fetch it again",
        ) from error


def datasets(file: h5py.File) -> list[str]:
    """Return the paths of all datasets."""
    found: list[str] = []
    file.visititems(lambda name, node: found.append(name) if isinstance(node, h5py.Dataset) else None)
    return found
