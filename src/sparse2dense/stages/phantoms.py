"""Generated volumes, written as a microscope would deliver them."""

import logging
from collections.abc import Mapping
from dataclasses import fields
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import numpy as np
import tifffile

from sparse2dense.errors import InputError
from sparse2dense.ops.phantom import PhantomSettings, phantom
from sparse2dense.volumes.replacing import atomic_file

__all__ = ["write_phantom"]

log = logging.getLogger(__name__)


def write_phantom(raw_tif: Path, truth_tif: Path, *, settings: Mapping[str, Any]) -> None:
    """Make a phantom and write raw (uint8) and truth (uint32) as OME-TIFF stacks with their voxel size.

    Parameters
    ----------
    raw_tif, truth_tif
        Files to write; both appear under their names only when whole.
    settings
        The block `phantom` of a volume: `shape` and what else differs from the defaults of `PhantomSettings`, with
        `voxel_size` (nm) and `seed`.

    Raises
    ------
    InputError
        A key that doesn't exist, or a value that the generator can't use.
    """
    known = {field.name for field in fields(PhantomSettings)}
    unknown = sorted(set(settings) - known - {"shape", "voxel_size", "seed"})
    if unknown or "shape" not in settings:
        raise InputError(
            f"phantom: {unknown[0]!r} is not a setting" if unknown else "phantom: `shape` is missing",
            allowed=", ".join(["shape", "voxel_size", "seed", *sorted(known)]),
            remedy="correct the block `phantom` of the volume",
        )
    options = {key: _frozen(value) for key, value in settings.items() if key in known}
    voxel_size = tuple(float(size) for size in settings.get("voxel_size", (8.0, 8.0, 8.0)))
    shape = tuple(int(side) for side in settings["shape"])
    try:
        raw, truth = phantom(
            shape,  # type: ignore[arg-type]
            voxel_size=voxel_size,  # type: ignore[arg-type]
            seed=int(settings.get("seed", 0)),
            settings=PhantomSettings(**options),
        )
    except ValueError as error:
        raise InputError(
            f"phantom: {error}",
            allowed="three positive numbers for shape and voxel_size, damaged sections within the volume",
            remedy="correct the block `phantom` of the volume",
        ) from error
    log.info("phantom of %d objects, %d x %d x %d voxels", int(truth.max()), *shape)
    with atomic_file(raw_tif) as raw_part, atomic_file(truth_tif) as truth_part:
        _write_stack(raw_part, raw, voxel_size)
        _write_stack(truth_part, truth.astype(np.uint32), voxel_size)


def _frozen(value: Any) -> Any:
    """Lists as tuples, so that settings stay hashable."""
    return tuple(value) if isinstance(value, list) else value


def _write_stack(path: Path, stack: np.ndarray, voxel_size: tuple[float, ...]) -> None:
    """One page per section; the OME header carries the voxel size and keeps integers of 32 bits as they are."""
    # By default the header holds a random number, and equal phantoms would differ.
    identity = uuid5(NAMESPACE_OID, sha256(stack.tobytes()).hexdigest())
    metadata: dict[str, Any] = {"axes": "ZYX", "UUID": f"urn:uuid:{identity}"}
    for axis, size in zip("ZYX", voxel_size, strict=True):
        metadata |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": "nm"}
    tifffile.imwrite(path, stack, ome=True, metadata=metadata, photometric="minisblack", compression="zlib")
