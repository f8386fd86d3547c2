"""TIFF: one section, a stack, BigTIFF, ImageJ and OME; read page by page."""

import struct
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.volumes.grid import Box
from sparse2dense.volumes.readers.source import NANOMETRES, Source, file_source, nanometres, three, volume_shape

__all__ = ["imagej_unit", "ome_sizes", "open_tiff"]

MOST_CHANNELS = 7
"""What ImageJ can show; a stack of more `channels` is a stack of sections that was saved without naming its axes."""


def open_tiff(path: Path) -> Source:
    """Open a TIFF as one grey volume; pages are read when asked for."""
    try:
        file = tifffile.TiffFile(path)
        series = file.series
    except (tifffile.TiffFileError, ValueError, OSError, LookupError, struct.error) as error:
        raise InputError(
            f"{path} can't be opened as TIFF: {error}",
            allowed="a whole TIFF file",
            remedy="open it in Fiji and save it again, or fetch it again",
        ) from error
    with file:
        check_series(path, series)
        image = series[0]
        voxel_size = tiff_voxel_size(file)
        shape = tuple(side for side, axis in zip(image.shape, image.axes, strict=True) if side > 1 or axis in "YX")
        dtype = np.dtype(image.dtype)
        if len(series) > 1:
            shape = (len(series), *shape)
        elif image.dataoffset is not None:
            stored = dtype.newbyteorder(file.byteorder)
            return file_source(path, path, int(image.dataoffset), shape, stored, voxel_size)
        count = sum(len(image.pages) for image in series)
    deep = volume_shape(path, shape)
    if count != deep[0]:
        raise InputError(
            f"{path} has {count} pages for {deep[0]} sections",
            allowed="one page per section",
            remedy="save the stack again, one page per section",
        )
    return Source(path, deep, dtype, three(voxel_size), None, page_reader(path, dtype), whole_sections=True)


def check_series(path: Path, series: list[Any]) -> None:
    """Raise InputError for pages of different shape or type, colour, and channels.

    Sections that were written one by one are as many series of one page each; that is a stack too.
    """
    kinds = sorted({f"{tuple(image.shape)} {image.dtype}" for image in series})
    if len(kinds) != 1 or (len(series) > 1 and len(series[0].pages) > 1):
        raise InputError(
            f"{path} mixes pages: {', '.join(kinds)}" if series else f"{path} holds no image",
            allowed="sections of one shape and type",
            remedy="save the sections that belong together in a file of their own",
        )
    image = series[0]
    page = image.keyframe
    if page.samplesperpixel > 1 or page.photometric in (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR):
        raise InputError(
            f"{path} is in colour ({page.samplesperpixel} values per pixel)",
            allowed="grey images, and labels as integers",
            remedy="make an image grey (in Fiji: Image > Type > 8-bit); never so labels, where objects would become "
            "one: export their ids, uncoloured",
        )
    channels = [side for side, axis in zip(image.shape, image.axes, strict=True) if axis == "C" and side > 1]
    if channels and (len(image.shape) > 3 or channels[0] <= MOST_CHANNELS):
        raise InputError(
            f"{path} has {channels[0]} channels (axes {image.axes}, shape {tuple(image.shape)})",
            allowed="one channel",
            remedy="export one channel; in Fiji: Image > Color > Split Channels",
        )


def page_reader(path: Path, dtype: np.dtype[Any]) -> Any:
    """Return a function that decodes the pages of a box, one after another."""

    @cache
    def pages() -> list[Any]:
        # Opened by the first box and kept: finding the pages of a long stack takes as long as decoding some of them.
        return [page for image in tifffile.TiffFile(path).series for page in image.pages]

    def read_box(box: Box) -> NDArray[Any]:
        planes, rows, columns = box
        values = np.empty(tuple(side.stop - side.start for side in box), dtype)
        for index, page in enumerate(pages()[planes]):
            values[index] = read_page(path, page)[rows, columns]
        return values

    return read_box


def read_page(path: Path, page: Any) -> NDArray[Any]:
    """Decode one page; InputError when it is missing from a series."""
    if page is None:
        raise InputError(
            f"{path} misses a page", allowed="one page per section", remedy="export the volume again, with all pages"
        )
    values = page.asarray(maxworkers=1)
    return np.asarray(values).reshape(values.shape[-2:])


def tiff_voxel_size(file: tifffile.TiffFile) -> list[float] | None:
    """Return the voxel size in nm as OME or ImageJ write it; other resolutions are those of printers and scanners."""
    if file.is_ome and file.ome_metadata:
        return ome_voxel_size(file.ome_metadata)
    facts = file.imagej_metadata
    page = file.pages.first
    if not facts or "spacing" not in facts or "XResolution" not in page.tags or "YResolution" not in page.tags:
        return None
    unit = imagej_unit(facts)
    sides = [float(facts["spacing"])]
    for name in ("YResolution", "XResolution"):
        pixels, lengths = page.tags[name].value
        if not pixels:
            return None
        # The tag holds pixels per unit as a fraction: 4.5 nm may read 222222/1000000, so the last digits are noise.
        sides.append(float(f"{lengths / pixels:.6g}"))
    return nanometres(sides, unit) if unit in NANOMETRES else None


def imagej_unit(facts: Mapping[str, Any]) -> str:
    """Return the unit of length in the metadata of ImageJ, which escapes the sign of micro; "" where there is none."""
    return str(facts.get("unit", "")).strip().lower().replace("\\u00b5", "µ")


def ome_voxel_size(xml: str) -> list[float] | None:
    """Return the voxel size in nm; None where OME doesn't say all of it."""
    sizes = [size for size in ome_sizes(xml) if size is not None]
    return sizes if len(sizes) == 3 else None


def ome_sizes(xml: str) -> list[float | None]:
    """Return PhysicalSizeZ, Y and X in nm, None for each that isn't given; their unit is µm unless it is given."""
    for node in ElementTree.fromstring(xml).iter():
        if node.tag.rsplit("}", 1)[-1] == "Pixels":
            given = [(node.get(f"PhysicalSize{axis}"), node.get(f"PhysicalSize{axis}Unit", "µm")) for axis in "ZYX"]
            found = [nanometres([float(size)], unit) if size is not None else None for size, unit in given]
            return [size[0] if size is not None else None for size in found]
    return [None] * 3
