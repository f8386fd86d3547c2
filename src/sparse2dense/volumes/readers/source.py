"""What every format is read as: shape, type, place in the world, and a function that reads a box."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.volumes.grid import Box

__all__ = [
    "NANOMETRES",
    "Array",
    "Source",
    "array_source",
    "choose_dataset",
    "file_source",
    "nanometres",
    "scratch_file",
]

NANOMETRES = {
    "pm": 1e-3, "picometer": 1e-3,
    "angstrom": 0.1, "å": 0.1,
    "nm": 1.0, "nanometer": 1.0, "nanometre": 1.0, "nanometers": 1.0,
    "um": 1e3, "µm": 1e3, "μm": 1e3, "micron": 1e3, "microns": 1e3, "micrometer": 1e3, "micrometre": 1e3,
    "mm": 1e6, "millimeter": 1e6, "millimetre": 1e6,
    "cm": 1e7, "centimeter": 1e7, "m": 1e9, "meter": 1e9,
}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """A grey volume in somebody else's format.

    Parameters
    ----------
    path
        File or directory.
    shape, dtype
        z, y, x; a single section has one voxel in z.
    voxel_size, offset
        nm, where the format says so.
    read_box
        Reads z, y, x slices.
    whole_sections
        Whether a part of a section costs as much as the section, as in compressed images.
    """

    path: Path
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    voxel_size: tuple[float, ...] | None
    offset: tuple[float, ...] | None
    read_box: Callable[[Box], NDArray[Any]]
    whole_sections: bool = False

    def read(self, box: Box) -> NDArray[Any]:
        """Read a box inside the volume, in the byte order of this machine."""
        values = self.read_box(box)
        return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))


class Array(Protocol):
    """What Zarr, HDF5, N5 and NumPy arrays have in common."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of voxels per axis."""

    @property
    def dtype(self) -> Any:
        """Type of a voxel."""

    def __getitem__(self, selection: Any) -> Any: ...


def array_source(
    path: Path, array: Array, voxel_size: Sequence[float] | None = None, offset: Sequence[float] | None = None
) -> Source:
    """Wrap an array of z, y, x or y, x; further axes in front (time, channel) must have length 1.

    `voxel_size` and `offset`, in nm, may cover all axes of the array: the last three count.
    """
    shape = tuple(array.shape)
    extra = (0,) * max(0, len(shape) - 3)

    def read_box(box: Box) -> NDArray[Any]:
        if len(shape) == 2:
            return np.asarray(array[box[1:]])[None]
        return np.asarray(array[extra + box])

    native = np.dtype(array.dtype).newbyteorder("=")
    return Source(path, volume_shape(path, shape), native, three(voxel_size), three(offset), read_box)


def file_source(
    file: Path | IO[bytes],
    path: Path,
    start: int,
    shape: Sequence[int],
    dtype: np.dtype[Any],
    voxel_size: Sequence[float] | None = None,
) -> Source:
    """Read uncompressed voxels that lie in C order from byte `start`.

    Rows are read, not mapped: pages of a mapped file count as memory of the process.
    """
    depth, height, width = volume_shape(path, shape)

    def read_box(box: Box) -> NDArray[Any]:
        planes, rows, columns = box
        values = np.empty(tuple(side.stop - side.start for side in box), dtype)
        with file.open("rb") if isinstance(file, Path) else nullcontext(file) as stream:
            for index, plane in enumerate(range(planes.start, planes.stop)):
                stream.seek(start + (plane * height + rows.start) * width * dtype.itemsize)
                part = stream.read((rows.stop - rows.start) * width * dtype.itemsize)
                values[index] = np.frombuffer(part, dtype).reshape(-1, width)[:, columns]
        return values

    return Source(path, (depth, height, width), dtype.newbyteorder("="), three(voxel_size), None, read_box)


def volume_shape(path: Path, shape: Sequence[int]) -> tuple[int, int, int]:
    """Return `shape` as z, y, x; InputError when it is no such thing."""
    if len(shape) < 2 or any(side != 1 for side in shape[:-3]) or 0 in shape:
        raise InputError(
            f"{path} holds an array of shape {tuple(shape)}",
            allowed="z, y, x or y, x; more axes in front only with length 1",
            remedy="name the dataset of one channel, or export one channel",
        )
    depth = shape[-3] if len(shape) > 2 else 1
    return int(depth), int(shape[-2]), int(shape[-1])


def three(values: Sequence[float] | None) -> tuple[float, ...] | None:
    """Return the last three numbers, None when there aren't three."""
    return tuple(float(value) for value in values[-3:]) if values is not None and len(values) >= 3 else None


def nanometres(values: Sequence[Any], units: Sequence[str | None] | str | None) -> list[float] | None:
    """Convert lengths to nm; None when a unit is missing or isn't one of length.

    Decimal arithmetic: 0.0045 µm is 4.5 nm, not 4.499999999999999.
    """
    names = [units] * len(values) if units is None or isinstance(units, str) else list(units)
    factors = [NANOMETRES.get(name.strip().lower()) if name is not None else None for name in names]
    if len(names) != len(values) or None in factors:
        return None
    pairs = zip(values, factors, strict=True)
    return [float(Decimal(str(float(value))) * Decimal(str(factor))) for value, factor in pairs]


def choose_dataset(path: Path, dataset: str | None, found: Sequence[str]) -> str:
    """Return the dataset asked for, or the only one; InputError lists what there is."""
    names = sorted(found)
    if dataset is not None:
        if dataset.strip("/") in names:
            return dataset.strip("/")
        problem = f"{path} has no dataset {dataset!r}"
    elif len(names) == 1:
        return names[0]
    else:
        problem = f"{path} holds {len(names)} datasets, and none is named in the config"
    listed = ", ".join(names[:30]) + (", ..." if len(names) > 30 else "")
    raise InputError(problem, allowed=listed or "nothing: the file is empty", remedy="set `dataset` to one of these")


def scratch_file(packed: IO[bytes]) -> IO[bytes]:
    """Unpack a stream into a file without a name, on disk, that vanishes with this process."""
    unpacked = tempfile.TemporaryFile()  # noqa: SIM115
    shutil.copyfileobj(packed, unpacked, 2**20)
    unpacked.seek(0)
    return unpacked
