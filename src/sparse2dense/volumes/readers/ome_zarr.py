"""OME-Zarr 0.4 and 0.5, and plain Zarr v2 and v3 with the attributes of funlib, CREMI and this project."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import zarr

from sparse2dense.errors import InputError
from sparse2dense.volumes.readers.source import Source, array_source, choose_dataset, nanometres

__all__ = ["is_zarr", "open_zarr"]


def is_zarr(path: Path) -> bool:
    """Whether a directory is a Zarr array or group."""
    return path.suffix == ".zarr" or any((path / name).is_file() for name in ("zarr.json", ".zarray", ".zgroup"))


def open_zarr(path: Path, dataset: str | None) -> Source:
    """Open an array, or the full resolution of a multiscale image."""
    node: Any
    try:
        node = zarr.open(path, mode="r")
    except (FileNotFoundError, KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"{path} can't be opened as Zarr: {error}",
            allowed="a whole array or group of Zarr v2 or v3",
            remedy="check that the copy is complete",
        ) from error
    if isinstance(node, zarr.Group) and dataset is not None and dataset.strip("/") in node:
        node = node[dataset.strip("/")]
    elif isinstance(node, zarr.Array) and dataset is not None:
        choose_dataset(path, dataset, [])
    elif isinstance(node, zarr.Group) and (dataset is not None or multiscales(node) is None):
        node = node[choose_dataset(path, dataset, arrays(node))]
    if isinstance(node, zarr.Array):
        return array_source(path, node, *array_geometry(node.attrs.asdict()))
    scales = multiscales(node)
    if scales is None:
        node = node[choose_dataset(path, None, arrays(node))]
        return array_source(path, node, *array_geometry(node.attrs.asdict()))
    array = node[scales["datasets"][0]["path"]]
    voxel_size, offset = scale_geometry(scales)
    if voxel_size is None:
        voxel_size, offset = array_geometry(array.attrs.asdict())
    return array_source(path, array, voxel_size, offset)


def arrays(group: zarr.Group) -> list[str]:
    """Return the paths of all arrays below a group."""
    return [name for name, member in group.members(max_depth=None) if isinstance(member, zarr.Array)]


def multiscales(group: zarr.Group) -> dict[str, Any] | None:
    """Return the first multiscale image of a group, as 0.5 or as 0.4 writes it."""
    attributes: Mapping[str, Any] = group.attrs.asdict()
    images = attributes.get("ome", attributes).get("multiscales")
    return dict(images[0]) if images else None


def scale_geometry(scales: Mapping[str, Any]) -> tuple[list[float] | None, list[float] | None]:
    """Return voxel size and offset of the full resolution in nm; None where the axes have no unit of length."""
    axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in scales.get("axes", [])]
    space = [index for index, axis in enumerate(axes) if axis["name"] in "zyx"]
    scale, shift = [1.0] * len(axes), [0.0] * len(axes)
    for step in scales["datasets"][0].get("coordinateTransformations", []) + scales.get(
        "coordinateTransformations", []
    ):
        if step["type"] == "scale":
            scale = [one * two for one, two in zip(scale, step["scale"], strict=True)]
            shift = [one * two for one, two in zip(shift, step["scale"], strict=True)]
        elif step["type"] == "translation":
            shift = [one + two for one, two in zip(shift, step["translation"], strict=True)]
    units = [axes[index].get("unit") for index in space]
    if not space:
        return None, None
    return nanometres([scale[index] for index in space], units), nanometres([shift[index] for index in space], units)


def array_geometry(attributes: Mapping[str, Any]) -> tuple[list[float] | None, list[float] | None]:
    """Return voxel size and offset in nm as funlib (`voxel_size`) and CREMI (`resolution`) write them."""
    voxel_size = attributes.get("voxel_size", attributes.get("resolution"))
    if voxel_size is None:
        return None, None
    units = attributes.get("units", "nm")
    offset = attributes.get("offset", [0] * len(voxel_size))
    return nanometres(voxel_size, units), nanometres(offset, units)
