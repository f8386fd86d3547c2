"""Files that stand in for public data: the right names, formats, shapes and places, and next to no bytes."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import tifffile
import yaml
import zarr

ROOT = Path(__file__).parents[1]
LOCAL = {
    "cremi": ("config/cremi.yaml", "config/cremi_local.yaml"),
    "hemibrain": ("config/hemibrain.yaml",),
    "snemi3d": ("config/snemi3d.yaml",),
    "zebrafinch": ("config/zebrafinch.yaml",),
}
"""Configurations that read public data from files on this machine."""
CREMI_SHAPE = (125, 1250, 1250)
SNEMI3D_SHAPE = (100, 1024, 1024)
HEMIBRAIN_SHAPE = (520, 520, 520)
ZEBRAFINCH_CONTEXT = (100, 200, 200)


def configuration(*files: str) -> dict[str, Any]:
    """Configuration files of the project as Snakemake merges them: the later one wins, block by block."""
    config: dict[str, Any] = {}
    for file in files:
        config = merged(config, yaml.safe_load((ROOT / file).read_text()))
    return config


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Two configurations as Snakemake merges them."""
    both = dict(below)
    for key, value in above.items():
        old = both.get(key)
        both[key] = merged(old, value) if isinstance(value, dict) and isinstance(old, dict) else value
    return both


def write_stand_ins(config: Mapping[str, Any], folder: Path) -> None:
    """Write a file below `folder` for every source of a configuration that is read from this machine."""
    for volume in config["volumes"].values():
        for kind in ("raw", "truth"):
            source = volume.get(kind, {})
            if "path" in source:
                write_stand_in(folder / source["path"], kind, source)


def write_stand_in(file: Path, kind: str, source: Mapping[str, Any]) -> None:
    """Write an empty image or empty labels in the format that the name tells."""
    file.parent.mkdir(parents=True, exist_ok=True)
    dtype = "uint8" if kind == "raw" else "uint64"
    if file.suffix == ".tif":
        tifffile.memmap(file, shape=SNEMI3D_SHAPE, dtype="uint8" if kind == "raw" else "uint16")
    elif file.suffix == ".hdf":
        with h5py.File(file, "a") as root:
            if source["dataset"] not in root:
                array = root.create_dataset(source["dataset"], CREMI_SHAPE, dtype, chunks=(25, 125, 125))
                array.attrs["resolution"] = (40.0, 4.0, 4.0)
    else:
        shape, offset = zarr_geometry(file.stem, kind, source["voxel_size"])
        array = zarr.create_array(
            file, name=source["dataset"], shape=shape, dtype=dtype, chunks=(64,) * 3, zarr_format=2, overwrite=True
        )
        array.attrs.update(resolution=source["voxel_size"], offset=offset)


def zarr_geometry(name: str, kind: str, voxel_size: Sequence[int]) -> tuple[tuple[int, ...], list[int]]:
    """Shape, and offset in nm: labels of the zebra finch lie where their name says, inside a larger image."""
    named = re.fullmatch(r"gt_z(\d+)-(\d+)_y(\d+)-(\d+)_x(\d+)-(\d+)", name)
    if named is None:
        return HEMIBRAIN_SHAPE, [0, 0, 0]
    numbers = [int(number) for number in named.groups()]
    begin, end = numbers[::2], numbers[1::2]
    margin = ZEBRAFINCH_CONTEXT if kind == "raw" else (0, 0, 0)
    shape = tuple(stop - start + 2 * more for start, stop, more in zip(begin, end, margin, strict=True))
    return shape, [(start - more) * size for start, more, size in zip(begin, margin, voxel_size, strict=True)]
