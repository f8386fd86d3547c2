"""Read image volumes of other formats, piece by piece."""

from pathlib import Path

from sparse2dense.errors import InputError
from sparse2dense.volumes.readers.hdf5 import open_hdf5
from sparse2dense.volumes.readers.n5 import is_n5, open_n5
from sparse2dense.volumes.readers.numpy_files import open_npy, open_npz
from sparse2dense.volumes.readers.ome_zarr import is_zarr, open_zarr
from sparse2dense.volumes.readers.sections import open_section_files, section_files
from sparse2dense.volumes.readers.source import Source
from sparse2dense.volumes.readers.tiff import open_tiff

__all__ = ["FORMATS", "Source", "open_source"]

FORMATS = (
    "OME-Zarr or Zarr, N5, HDF5 (.h5 .hdf .hdf5, also with .gz), TIFF (.tif .tiff), PNG and JPEG (.png .jpg .jpeg), "
    "a directory of TIFF, PNG or JPEG sections, NumPy (.npy .npz)"
)


def open_source(path: Path, dataset: str | None = None) -> Source:
    """Open an image volume without reading its voxels.

    Parameters
    ----------
    path
        File or directory, see `FORMATS`; recognised by its content or suffix.
    dataset
        Path of the array inside HDF5, Zarr, N5 or NPZ; needed where there are several.

    Raises
    ------
    InputError
        When there is nothing at `path`, or it is nothing that can be read as one grey volume.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} doesn't exist", allowed=FORMATS, remedy="correct the path in the config")
    source = open_directory(path, dataset) if path.is_dir() else open_file(path, dataset)
    if source.dtype.kind not in "buif" or (source.dtype.itemsize < 4 and source.dtype.kind == "f"):
        raise InputError(
            f"{path} holds voxels of type {source.dtype}",
            allowed="bool, integers of 8 to 64 bits, float32 and float64",
            remedy="convert the file to one of these types",
        )
    return source


def open_directory(path: Path, dataset: str | None) -> Source:
    """Open a directory by what lies in it."""
    if is_zarr(path):
        return open_zarr(path, dataset)
    if is_n5(path):
        return open_n5(path, dataset)
    refuse_dataset(path, dataset)
    return open_section_files(path, section_files(path))


def open_file(path: Path, dataset: str | None) -> Source:
    """Open a file by its suffix."""
    name = path.name.lower()
    if name.endswith((".h5", ".hdf", ".hdf5", ".h5.gz", ".hdf.gz", ".hdf5.gz")):
        return open_hdf5(path, dataset)
    if name.endswith(".npz"):
        return open_npz(path, dataset)
    refuse_dataset(path, dataset)
    if name.endswith(".npy"):
        return open_npy(path)
    if name.endswith((".tif", ".tiff")):
        return open_tiff(path)
    if name.endswith((".png", ".jpg", ".jpeg")):
        return open_section_files(path, [path])
    raise InputError(f"{path} is of an unknown format", allowed=FORMATS, remedy="convert it to one of these formats")


def refuse_dataset(path: Path, dataset: str | None) -> None:
    """Raise InputError when a dataset is asked for in a format that has none."""
    if dataset is not None:
        raise InputError(
            f"{path}: dataset {dataset!r}",
            allowed="`dataset` only for HDF5, Zarr, N5 and NPZ",
            remedy="remove `dataset`, or correct the path",
        )
