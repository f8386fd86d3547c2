"""A look at somebody's image and painted labels: what their headers say, and which sections are painted how."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tifffile
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.ops.painting import PaintedSection, describe_section, scant_sections
from sparse2dense.stages.importing import exact_ids, is_voxel_size, plan_import, same_place
from sparse2dense.volumes.progress import with_progress
from sparse2dense.volumes.readers import Source, open_source
from sparse2dense.volumes.readers.source import nanometres
from sparse2dense.volumes.readers.tiff import imagej_unit, ome_sizes

__all__ = ["Survey", "survey"]

SLAB_BYTES = 64 * 2**20
"""Labels held at a time."""
CHUNK = 64
"""Sections read at a time at most: chunked formats decode about so many at once anyway."""
COARSE = 1000.0
"""nm; larger pixels are those of printers and scanners, which write their resolution into the same tags."""
DIM = 0.125
"""An image that uses a smaller part of the range of uint16 is nearly black to a net."""


@dataclass(frozen=True)
class Survey:
    """What is known of an image and its painted labels.

    Parameters
    ----------
    raw, raw_dataset, painted, painted_dataset
        The files, as given.
    shape, dtype
        Of the image: z, y, x.
    values
        Lowest and highest value of the middle section.
    voxel_size
        nm; None where nobody says it.
    origin
        Who says it.
    offset
        nm, where a file says one that isn't 0: that of both, since both have one shape; None where both begin at 0.
    sections
        The painted ones, at least one.
    remarks
        What a reader should look at, a sentence each.
    """

    raw: Path
    raw_dataset: str | None
    painted: Path
    painted_dataset: str | None
    shape: tuple[int, int, int]
    dtype: str
    values: tuple[float, float]
    voxel_size: tuple[float, ...] | None
    origin: str
    offset: tuple[float, ...] | None
    sections: list[PaintedSection]
    remarks: list[str]


def survey(
    raw: Path,
    painted: Path,
    *,
    raw_dataset: str | None = None,
    painted_dataset: str | None = None,
    voxel_size: Sequence[float] | None = None,
) -> Survey:
    """Look at an image and at labels painted on it; all labels are read, of the image one section.

    Parameters
    ----------
    raw, painted
        File or directory of any format of `volumes.readers`, both of one shape.
    raw_dataset, painted_dataset
        Arrays inside HDF5, Zarr, N5 or NPZ; needed where there are several.
    voxel_size
        nm, z y x, instead of what the files say.

    Raises
    ------
    InputError
        When a file can't be read or used, shapes or places differ, or nothing is painted.
    """
    image, labels = open_source(raw, raw_dataset), open_source(painted, painted_dataset)
    size, origin = _voxel_size(image, labels, voxel_size)
    # Types and the voxel size itself are checked here; its absence is for the user to mend.
    stated = size or (1.0, 1.0, 1.0)
    plan_import(raw, dataset=raw_dataset, voxel_size=stated)
    plan_import(painted, dataset=painted_dataset, voxel_size=stated, labels=True)
    if labels.shape != image.shape:
        raise InputError(
            f"{painted} has {labels.shape} voxels, but {raw} has {image.shape}",
            allowed="labels of the shape of the image",
            remedy="save the labels on the whole image; for labels of a part of it write the configuration yourself, "
            "with `offset` or `crop`",
        )
    if image.shape[0] < 2:
        raise InputError(
            f"{raw} has one section",
            allowed="a volume of two sections or more",
            remedy="name the whole stack, or the directory of its sections",
        )
    offset = _offset(image, labels)
    sections = list(_painted_sections(labels))
    if not sections:
        raise InputError(
            f"{painted} holds nothing but 0",
            allowed="ids above 0 on the painted sections",
            remedy="save the labels, not an empty layer; or name another file or dataset",
        )
    middle = _sections(image, image.shape[0] // 2, image.shape[0] // 2 + 1)
    values = (float(middle.min()), float(middle.max()))
    remarks = list(_remarks(image, labels, size, offset, values, sections))
    return Survey(
        raw, raw_dataset, painted, painted_dataset, image.shape, str(image.dtype), values, size, origin, offset,
        sections, remarks,
    )  # fmt: skip


def _voxel_size(image: Source, labels: Source, given: Sequence[float] | None) -> tuple[tuple[float, ...] | None, str]:
    """Return the voxel size in nm, and who says so; InputError where it can't be one."""
    said = [(given, "as you gave it")] if given is not None else []
    said += [(source.voxel_size, f"so says {source.path}") for source in (image, labels) if source.voxel_size]
    if not said:
        return None, "the files don't say it"
    size, origin = tuple(float(side) for side in said[0][0]), said[0][1]
    if not is_voxel_size(size):
        raise InputError(
            f"a voxel size of {list(size)} nm, {origin}",
            allowed="three lengths above 0 in nm, z y x",
            remedy="give the right one: --voxel-size 40 4 4",
        )
    return size, origin


def _offset(image: Source, labels: Source) -> tuple[float, ...] | None:
    """Return where both lie, in nm, if only one file says it; InputError where they say different things.

    0 counts as unsaid, because many programs write it without knowing.
    """
    said = [source.offset for source in (image, labels) if source.offset is not None and any(source.offset)]
    if not said or (len(said) == 2 and same_place(*said)):
        return None
    if len(said) == 2:
        raise InputError(
            f"{labels.path} lies at {list(said[1])} nm, but {image.path} of the same shape at {list(said[0])} nm",
            allowed="labels that begin where the image begins",
            remedy="correct the file that is wrong; for labels of another part write the configuration yourself, with "
            "`offset` or `crop`",
        )
    return said[0]


def _sections(source: Source, start: int, stop: int) -> NDArray[Any]:
    """Read whole sections."""
    return source.read((slice(start, stop), slice(0, source.shape[1]), slice(0, source.shape[2])))


def _painted_sections(labels: Source) -> Iterator[PaintedSection]:
    """Yield every painted section, reading labels slab by slab."""
    depth, height, width = labels.shape
    step = max(1, min(CHUNK, SLAB_BYTES // (height * width * labels.dtype.itemsize)))
    starts = range(0, depth, step)
    for start in with_progress(starts, f"look at {labels.path.name}", len(starts)):
        stop = min(start + step, depth)
        slab = exact_ids(labels.path, _sections(labels, start, stop))
        for number in range(start, stop):
            section = describe_section(slab[number - start], number)
            if section is not None:
                yield section


def _remarks(
    image: Source,
    labels: Source,
    size: tuple[float, ...] | None,
    offset: tuple[float, ...] | None,
    values: tuple[float, float],
    sections: Sequence[PaintedSection],
) -> Iterator[str]:
    """Yield what is allowed but hardly meant."""
    for section in scant_sections(sections):
        yield f"section {section.number} is hardly painted ({section.painted:.2%}): by accident? Then leave it out."
    if len(sections) < 3:
        yield "Fewer than three sections are painted; three to five, spread over the volume, are a good start."
    if offset is not None:
        yield f"only one of the files says where it lies: both, having one shape, are laid at {list(offset)} nm."
    if labels.voxel_size is not None and size is not None and not same_place(labels.voxel_size, size):
        yield f"{labels.path} says that its voxels have {list(labels.voxel_size)} nm."
    if image.dtype.kind == "u" and image.dtype.itemsize == 2 and values[1] < DIM * 2**16:
        yield f"{image.path} has values up to {values[1]:g} of 65535, nearly black to a net: rescale it first."
    if image.dtype.kind == "f" and not 0 <= values[0] <= values[1] <= 1:
        yield f"{image.path} has values from {values[0]:g} to {values[1]:g}; floats must be from 0 to 1: rescale it."
    pixel = pixel_size(image.path) if size is None else None
    if pixel is not None:
        yield f"{image.path} says that pixels have {pixel[0]:g} x {pixel[1]:g} nm, but not how thick sections are."


def pixel_size(path: Path) -> tuple[float, float] | None:
    """Return height and width of a pixel in nm, where a TIFF says at least these; not those of printers."""
    if path.suffix.lower() not in (".tif", ".tiff") or not path.is_file():
        return None
    with tifffile.TiffFile(path) as file:
        _, height, width = ome_sizes(file.ome_metadata) if file.ome_metadata else (None,) * 3
        if height is not None and width is not None:
            return height, width
        tags, facts = file.pages.first.tags, file.imagej_metadata or {}
        found = [tags[name].value for name in ("YResolution", "XResolution", "ResolutionUnit") if name in tags]
    if len(found) < 3 or 0 in found[0] or 0 in found[1]:
        return None
    factor, unit = {2: (2.54, "cm"), 3: (1.0, "cm")}.get(int(found[2]), (1.0, ""))
    if "unit" in facts:
        factor, unit = 1.0, imagej_unit(facts)
    # Pixels per unit, as fractions whose last digits are noise.
    sides = nanometres([float(f"{factor * lengths / pixels:.6g}") for pixels, lengths in found[:2]], unit)
    if sides is None or (max(sides) > COARSE and "unit" not in facts):
        return None
    return sides[0], sides[1]
