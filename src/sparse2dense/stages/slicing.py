"""One 2D data set per annotated section: written once, read by the training of the 2D net."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.volumes.progress import with_progress
from sparse2dense.volumes.replacing import directory_output
from sparse2dense.volumes.volume import Volume, open_volume

__all__ = ["SectionData", "read_sections", "slice_sections"]

log = logging.getLogger(__name__)

TILE = 512  # pixels a side of a chunk


@dataclass(frozen=True)
class SectionData:
    """An annotated section with its neighbours.

    Parameters
    ----------
    section
        Its number in the annotation, the first one 0.
    raw
        (2 * adjacent + 1, y, x), the section itself in the middle.
    labels
        uint64 (y, x).
    mask
        uint8 (y, x), 1 where the annotation speaks.
    scope
        uint8 (y, x), 1 where an object that goes on would be labelled; beyond it no object ends.
    voxel_size
        nm (z, y, x).
    weight
        How often samples are drawn from it, relative to others with as many objects.
    """

    section: int
    raw: NDArray[Any]
    labels: NDArray[np.uint64]
    mask: NDArray[np.uint8]
    scope: NDArray[np.uint8]
    voxel_size: tuple[float, ...]
    weight: float = 1


def slice_sections(
    raw: Path,
    labels: Path,
    mask: Path,
    scope: Path,
    output: Path,
    *,
    adjacent: int = 1,
    maximum_sections: int | None = None,
) -> None:
    """Write every section in which the annotation speaks as a 2D Zarr group `<section>.zarr` in the directory `output`.

    A group holds `raw` (2 * adjacent + 1, y, x), the volume mirrored beyond its first and last section, `labels`
    uint64, `mask` and `scope` uint8 (y, x), all over the whole extent of raw; and the attributes section, z_nm,
    voxel_size and offset.

    Parameters
    ----------
    raw, labels, mask, scope
        Volumes (z, y, x), see `annotating.annotate`; the annotation may be a crop of raw with its own offset.
    output
        Directory to write.
    adjacent
        Sections above and below that are shown with each.
    maximum_sections
        Keep only so many sections, those with the most labelled voxels.

    Raises
    ------
    InputError
        Labels that aren't on the voxel grid of raw or lie outside of it, or an annotation that is empty.
    """
    image, ids, spoken, seen = (open_volume(path) for path in (raw, labels, mask, scope))
    shift = _shift(image, ids)
    chosen = _annotated(ids, spoken, maximum_sections)
    if not chosen:
        raise InputError(
            f"{mask}: the annotation is empty",
            allowed="at least one annotated section",
            remedy="correct `annotation` of the volume in the config",
        )
    with directory_output(output) as partial:
        for number in with_progress(chosen, "slice sections", len(chosen)):
            z = number + shift[0]
            if not 0 <= z < image.shape[0]:
                raise InputError(
                    f"{labels}: section {number} lies outside of {raw}",
                    allowed=f"annotated sections that are sections 0 to {image.shape[0] - 1} of raw",
                    remedy="correct the offset or crop of raw or of the labels in the config",
                )
            frame = (slice(0, image.shape[1]), slice(0, image.shape[2]))
            window = (
                slice(number, number + 1),
                *(slice(f.start - s, f.stop - s) for f, s in zip(frame, shift[1:], strict=True)),
            )
            group = zarr.create_group(
                partial / f"{number}.zarr",
                attributes={
                    "section": number,
                    "z_nm": image.offset[0] + z * image.voxel_size[0],
                    "voxel_size": list(image.voxel_size),
                    "offset": [image.offset[0] + z * image.voxel_size[0], *image.offset[1:]],
                },
            )
            _store(group, "raw", image.read((slice(z - adjacent, z + adjacent + 1), *frame)))
            _store(group, "labels", ids.read(window, mode="constant")[0])
            _store(group, "mask", spoken.read(window, mode="constant")[0])
            _store(group, "scope", seen.read(window, mode="constant")[0])
    log.info("%d sections in %s", len(chosen), output)


def read_sections(path: Path) -> list[SectionData]:
    """Read all sections that `slice_sections` wrote into a directory, by ascending number."""
    stores = sorted(path.glob("*.zarr"), key=lambda store: int(store.stem))
    if not stores:
        raise InputError(
            f"{path}: no sections", allowed="a directory of <section>.zarr", remedy="let the workflow make it again"
        )
    return [_read(store) for store in stores]


def _read(store: Path) -> SectionData:
    group = zarr.open_group(store, mode="r")
    attributes: dict[str, Any] = group.attrs.asdict()
    names = ("raw", "labels", "mask", "scope")
    raw, labels, mask, scope = (np.asarray(group[name][:]) for name in names)  # type: ignore[index]
    return SectionData(attributes["section"], raw, labels, mask, scope, tuple(map(float, attributes["voxel_size"])))


def _store(group: zarr.Group, name: str, values: NDArray[Any]) -> None:
    chunks = (*values.shape[:-2], *(min(TILE, side) for side in values.shape[-2:]))
    group.create_array(name, data=values, chunks=chunks)


def _shift(image: Volume, ids: Volume) -> tuple[int, ...]:
    """Voxels from the corner of raw to the corner of the annotation."""
    exact = [(a - b) / size for a, b, size in zip(ids.offset, image.offset, image.voxel_size, strict=True)]
    shift = tuple(round(value) for value in exact)
    same_grid = np.allclose(exact, shift, atol=1e-3) and np.allclose(ids.voxel_size, image.voxel_size)
    if not same_grid:
        raise InputError(
            f"{ids.path}: voxel size {ids.voxel_size} and offset {ids.offset}",
            allowed=f"the voxel size of raw {image.voxel_size}, and whole voxels from its offset {image.offset}",
            remedy="correct voxel_size or offset of raw or of the labels in the config",
        )
    return shift


def _annotated(ids: Volume, spoken: Volume, maximum: int | None) -> list[int]:
    """Numbers of the sections in which the mask speaks, at most `maximum`: those with the most labelled voxels."""
    speaks = np.zeros(ids.shape[0], bool)
    labelled = np.zeros(ids.shape[0], np.int64)
    for box in _slabs(spoken):
        mask = spoken[box] != 0
        speaks[box[0]] |= mask.any(axis=(1, 2))
        if mask.any():
            labelled[box[0]] += ((ids[box] != 0) & mask).sum(axis=(1, 2))
    numbers = np.flatnonzero(speaks)
    if maximum is not None and len(numbers) > maximum:
        numbers = np.sort(numbers[np.argsort(-labelled[numbers], kind="stable")[:maximum]])
    return numbers.tolist()


def _slabs(volume: Volume) -> Iterator[tuple[slice, ...]]:
    """Boxes of whole chunks in z and of a bounded size in the plane."""
    depth, side = int(volume.array.chunks[0]), 2048
    for z in range(0, volume.shape[0], depth):
        for y in range(0, volume.shape[1], side):
            for x in range(0, volume.shape[2], side):
                ends = zip((z, y, x), (depth, side, side), volume.shape, strict=True)
                yield tuple(slice(start, min(start + step, size)) for start, step, size in ends)
