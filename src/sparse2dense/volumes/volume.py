"""Volumes as OME-Zarr 0.5 stores: create, open, read beyond the edge."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import DTypeLike, NDArray
from zarr.codecs import ZstdCodec

from sparse2dense.errors import InputError
from sparse2dense.volumes.grid import Box, chunk_shape

__all__ = ["Volume", "create_volume", "open_beside", "open_volume", "pad_indices"]

LEVEL = "0"
OWN_ATTRIBUTES = ("voxel_size", "offset", "axis_names", "units")


@dataclass(frozen=True)
class Volume:
    """An array on disk with its place in the world.

    Parameters
    ----------
    path
        The OME-Zarr store.
    array
        Its full resolution, level `0`.
    voxel_size, offset
        Size of a voxel and corner of the first voxel, nm, one number per spatial axis.
    axes
        `zyx`, `czyx`, `yx` or `cyx`.
    """

    path: Path
    array: zarr.Array[Any]
    voxel_size: tuple[float, ...]
    offset: tuple[float, ...]
    axes: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array, channels included."""
        return tuple(self.array.shape)

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """Shape without channels."""
        return self.shape[-len(self.voxel_size) :]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a voxel."""
        return np.dtype(self.array.dtype)

    @property
    def attributes(self) -> dict[str, Any]:
        """What was stored beside the array: `offsets`, `provenance` and the like."""
        return {name: value for name, value in self.array.attrs.asdict().items() if name not in OWN_ATTRIBUTES}

    @property
    def extent(self) -> tuple[tuple[float, float], ...]:
        """Begin and end of every spatial axis, nm."""
        return tuple(
            (start, start + count * size)
            for start, count, size in zip(self.offset, self.spatial_shape, self.voxel_size, strict=True)
        )

    def __getitem__(self, selection: Any) -> NDArray[Any]:
        return np.asarray(self.array[selection])

    def __setitem__(self, selection: Any, value: Any) -> None:
        self.array[selection] = value

    def read(self, box: Box, mode: Literal["reflect", "constant"] = "reflect") -> NDArray[Any]:
        """Read a box of voxels, all channels, that may leave the volume.

        Parameters
        ----------
        box
            One slice per spatial axis, with start and stop; start may be negative, stop beyond the volume.
        mode
            What stands outside: the volume mirrored at its outermost voxels, as often as it takes, or 0.
        """
        channels = len(self.shape) - len(self.spatial_shape)
        if mode == "constant":
            return self._read_constant(box, channels)
        indices = [pad_indices(side, size) for side, size in zip(box, self.spatial_shape, strict=True)]
        bounds = tuple(slice(int(index.min()), int(index.max()) + 1) for index in indices)
        values = self[(slice(None),) * channels + bounds]
        for axis, (index, bound) in enumerate(zip(indices, bounds, strict=True), start=channels):
            if len(index) != bound.stop - bound.start:
                values = np.take(values, index - bound.start, axis=axis)
        return values

    def _read_constant(self, box: Box, channels: int) -> NDArray[Any]:
        shape = self.shape[:channels] + tuple(side.stop - side.start for side in box)
        values = np.zeros(shape, self.dtype)
        source = tuple(
            slice(min(max(side.start, 0), size), max(0, min(side.stop, size)))
            for side, size in zip(box, self.spatial_shape, strict=True)
        )
        if all(part.start < part.stop for part in source):
            target = tuple(
                slice(part.start - side.start, part.stop - side.start) for part, side in zip(source, box, strict=True)
            )
            every = (slice(None),) * channels
            values[every + target] = self[every + source]
        return values


def pad_indices(side: slice, size: int) -> NDArray[np.int64]:
    """Return for every position of `side` the position in 0..size-1 that mirrors it, as `np.pad(mode="reflect")`."""
    position = np.arange(side.start, side.stop, dtype=np.int64)
    if size == 1:
        return np.zeros_like(position)
    period = 2 * (size - 1)
    position %= period
    return np.minimum(position, period - position)


def create_volume(
    path: Path,
    shape: Sequence[int],
    dtype: DTypeLike,
    *,
    voxel_size: Sequence[float],
    offset: Sequence[float] | None = None,
    axes: str = "zyx",
    chunks: Sequence[int] | None = None,
    shards: Sequence[int] | None = None,
    labels: bool = False,
    level: int | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> Volume:
    """Create a store full of zeros; whatever was at `path` is replaced.

    Parameters
    ----------
    path
        The OME-Zarr store to create.
    shape, dtype
        Of the whole array, channels first.
    voxel_size, offset
        nm, one number per spatial axis, fractions allowed; the offset is 0 by default.
    axes
        One letter per axis: `zyx`, `czyx`, `yx` or `cyx`.
    chunks, shards
        Voxels per spatial axis (or per axis). Chunks hold one channel and about 64 voxels a side by default;
        shards, where wanted, hold all channels of one write block.
    labels
        Object ids: compressed harder, and marked as an image label.
    level
        Of Zstandard's compression; 5 for labels and 3 for others by default.
    attributes
        Whatever else belongs to the array, in types of JSON.
    """
    spatial = len(axes.removeprefix("c"))
    channels = tuple(shape[: len(axes) - spatial])
    place = tuple(float(value) for value in (offset if offset is not None else (0,) * spatial))
    scale = tuple(float(value) for value in voxel_size)
    check_geometry(path, shape, axes, scale, place)
    chunks = tuple(chunks) if chunks is not None else chunk_shape(shape[-spatial:], scale)
    if len(chunks) == spatial:
        chunks = (1,) * len(channels) + chunks
    if shards is not None and len(shards) == spatial:
        shards = channels + tuple(shards)
    group = zarr.create_group(path, overwrite=True, attributes={"ome": ome_metadata(path, axes, scale, place, labels)})
    array = group.create_array(
        LEVEL,
        shape=tuple(int(side) for side in shape),
        dtype=np.dtype(dtype),
        chunks=tuple(int(side) for side in chunks),
        shards=tuple(int(side) for side in shards) if shards is not None else None,
        # No shuffle: separating the bytes of an id hides the long runs that make labels small, and images of one
        # byte a voxel, or quantised to it, don't gain from it.
        compressors=ZstdCodec(level=level if level is not None else 5 if labels else 3),
        fill_value=0,
        dimension_names=tuple(axes),
        attributes={
            **dict(attributes or {}),
            "voxel_size": list(scale),
            "offset": list(place),
            "axis_names": ["c^" if axis == "c" else axis for axis in axes],
            "units": ["nm"] * spatial,
        },
    )
    return Volume(Path(path), array, scale, place, axes)


def check_geometry(
    path: Path, shape: Sequence[int], axes: str, voxel_size: Sequence[float], offset: Sequence[float]
) -> None:
    """Raise InputError when shape, axes, voxel size and offset don't fit each other."""
    spatial = len(axes.removeprefix("c"))
    if axes not in ("zyx", "czyx", "yx", "cyx") or len(shape) != len(axes) or any(side < 1 for side in shape):
        raise InputError(
            f"{path}: shape {tuple(shape)} with axes {axes!r}",
            allowed="zyx, czyx, yx or cyx, one side of at least one voxel for each",
            remedy="give one letter per axis of the array",
        )
    if len(voxel_size) != spatial or len(offset) != spatial or any(not size > 0 for size in voxel_size):
        raise InputError(
            f"{path}: voxel size {tuple(voxel_size)} and offset {tuple(offset)} for axes {axes!r}",
            allowed=f"{spatial} numbers each, in nm, voxel sizes above 0",
            remedy="correct voxel_size and offset",
        )


def ome_metadata(
    path: Path, axes: str, voxel_size: Sequence[float], offset: Sequence[float], labels: bool
) -> dict[str, Any]:
    """Return the `ome` attribute of NGFF 0.5: one resolution, scaled and moved in nm."""
    channel = len(axes) - len(voxel_size)
    ones, zeros = [1.0] * channel, [0.0] * channel
    metadata: dict[str, Any] = {
        "version": "0.5",
        "multiscales": [
            {
                "name": Path(path).name.split(".")[0],
                "axes": [
                    {"name": axis, "type": "channel"}
                    if axis == "c"
                    else {"name": axis, "type": "space", "unit": "nanometer"}
                    for axis in axes
                ],
                "datasets": [
                    {
                        "path": LEVEL,
                        "coordinateTransformations": [
                            {"type": "scale", "scale": ones + list(voxel_size)},
                            {"type": "translation", "translation": zeros + list(offset)},
                        ],
                    }
                ],
            }
        ],
    }
    if labels:
        metadata["image-label"] = {"version": "0.5"}
    return metadata


def open_volume(path: Path, mode: Literal["r", "r+"] = "r") -> Volume:
    """Open a store that `create_volume` wrote; InputError when `path` holds none."""
    path = Path(path)
    try:
        group = zarr.open_group(path, mode=mode, zarr_format=3)
        array = group[LEVEL]
    except (FileNotFoundError, KeyError, ValueError, TypeError, NotADirectoryError, json.JSONDecodeError) as error:
        raise not_a_volume(path) from error
    if not isinstance(array, zarr.Array) or any(name not in array.attrs for name in OWN_ATTRIBUTES):
        raise not_a_volume(path)
    facts: dict[str, Any] = array.attrs.asdict()
    axes = "".join(name.removesuffix("^") for name in facts["axis_names"])
    return Volume(path, array, tuple(map(float, facts["voxel_size"])), tuple(map(float, facts["offset"])), axes)


def open_beside(grid: Volume, path: Path) -> Volume:
    """Open the volume of the same place and voxels as another; InputError when it lies elsewhere."""
    volume = open_volume(path)
    if volume.spatial_shape != grid.spatial_shape or not np.allclose(volume.extent, grid.extent):
        raise InputError(
            f"{path} covers {volume.extent} nm, {grid.path} {grid.extent} nm: not the same place",
            allowed="the same place, voxel size and shape",
            remedy="make both from the same image: delete what was made from another one",
        )
    return volume


def not_a_volume(path: Path) -> InputError:
    """Return the error for a path that is missing or holds something else."""
    state = "doesn't exist" if not path.exists() else "is not a volume of this project"
    return InputError(
        f"{path} {state}",
        allowed="an OME-Zarr 0.5 store with an array `0` that carries voxel_size, offset, axis_names and units",
        remedy="import other formats first: name them as `raw`, `truth` or `painted` of a volume in the config",
    )
