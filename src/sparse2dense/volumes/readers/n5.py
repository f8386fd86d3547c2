"""N5, through tensorstore. N5 counts x first; so do its attributes, unless they name their axes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.volumes.readers.source import Source, array_source, choose_dataset, nanometres

__all__ = ["is_n5", "open_n5"]


def is_n5(path: Path) -> bool:
    """Whether a directory is an N5 container, group or dataset."""
    return path.suffix == ".n5" or (path / "attributes.json").is_file()


def open_n5(path: Path, dataset: str | None) -> Source:
    """Open one dataset, or the full resolution `s0` of a pyramid."""
    found = datasets(path)
    if "" in found:
        folder = path
    else:
        scales = [name for name in found if name == f"{dataset or ''}/s0".lstrip("/")]
        folder = path / (scales[0] if scales else choose_dataset(path, dataset, found))
    try:
        store = tensorstore.open(
            {"driver": "n5", "kvstore": {"driver": "file", "path": str(folder.resolve())}}, read=True
        ).result()
    except ValueError as error:
        raise InputError(
            f"{folder} can't be opened as N5: {error}",
            allowed="a dataset with compression raw, gzip, bzip2, xz or blosc",
            remedy="check its attributes.json",
        ) from error
    metadata = attributes(folder)
    return array_source(path, Transposed(store), *geometry(metadata))


class Transposed:
    """An N5 dataset with its axes in the order of this project."""

    def __init__(self, store: Any) -> None:
        self.store = store.T
        self.shape = tuple(self.store.shape)
        self.dtype = self.store.dtype.numpy_dtype

    def __getitem__(self, selection: Any) -> NDArray[Any]:
        return np.asarray(self.store[selection].read().result())


def attributes(folder: Path) -> dict[str, Any]:
    """Return what attributes.json says; nothing where there is none."""
    file = folder / "attributes.json"
    return dict(json.loads(file.read_text())) if file.is_file() else {}


def datasets(path: Path, prefix: str = "") -> list[str]:
    """Return the paths of all datasets below `path`; an empty path when it is one itself."""
    if "dimensions" in attributes(path):
        return [prefix]
    folders = sorted(folder for folder in path.iterdir() if folder.is_dir())
    return [name for folder in folders for name in datasets(folder, f"{prefix}/{folder.name}".lstrip("/"))]


def geometry(metadata: dict[str, Any]) -> tuple[list[float] | None, list[float] | None]:
    """Return voxel size and offset in nm, z first, from the three ways in use to write them."""
    if "transform" in metadata:
        transform = metadata["transform"]
        order = [transform["axes"].index(axis) for axis in "zyx"]
        units = [transform["units"][index] for index in order]
        scale = nanometres([transform["scale"][index] for index in order], units)
        return scale, nanometres([transform.get("translate", (0, 0, 0))[index] for index in order], units)
    if "pixelResolution" in metadata:
        resolution = metadata["pixelResolution"]
        return nanometres(resolution["dimensions"][::-1], resolution.get("unit")), None
    if "resolution" in metadata:
        return metadata["resolution"][::-1], metadata["offset"][::-1] if "offset" in metadata else None
    return None, None
