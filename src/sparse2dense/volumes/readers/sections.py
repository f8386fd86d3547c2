"""Directories of numbered sections, one TIFF, PNG or JPEG image each."""

import io
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from sparse2dense.errors import InputError
from sparse2dense.volumes.grid import Box
from sparse2dense.volumes.readers.source import Source
from sparse2dense.volumes.readers.tiff import open_tiff

__all__ = ["natural_order", "open_section_files", "section_files"]

FAMILIES = {".tif": "TIFF", ".tiff": "TIFF", ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
PNG_COLOURS = {2: "RGB", 4: "grey with transparency", 6: "RGB with transparency"}
JPEG_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}


@dataclass(frozen=True)
class Header:
    """What an image file says of itself: shape y, x and type."""

    shape: tuple[int, int]
    dtype: np.dtype[Any]


def natural_order(name: str) -> list[tuple[int, int, str]]:
    """Return a key that sorts z2 before z10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]


def section_files(folder: Path) -> list[Path]:
    """Return the sections of a directory in natural order; other files are passed over.

    Raises
    ------
    InputError
        When there are none, formats or patterns of names mix, or a numbered series has a gap.
    """
    files = [file for file in folder.iterdir() if file.suffix.lower() in FAMILIES and not file.name.startswith(".")]
    if not files:
        raise InputError(
            f"{folder} holds no sections, and is no Zarr or N5 either",
            allowed="TIFF, PNG or JPEG files, one per section",
            remedy="correct the path in the config",
        )
    families = sorted({FAMILIES[file.suffix.lower()] for file in files})
    if len(families) > 1:
        raise InputError(
            f"{folder} mixes {' and '.join(families)}", allowed="one format", remedy="move what is no section elsewhere"
        )
    files.sort(key=lambda file: natural_order(file.name))
    check_series(folder, files)
    return files


def check_series(folder: Path, files: Sequence[Path]) -> None:
    """Raise InputError when names follow several patterns, or when one number that varies doesn't grow evenly."""
    patterns: dict[str, Path] = {}
    for file in files:
        patterns.setdefault(re.sub(r"\d+", "#", file.name), file)
    if len(patterns) > 1:
        examples = ", ".join(file.name for file in list(patterns.values())[:4])
        raise InputError(
            f"{folder} holds sections named in {len(patterns)} ways: {examples}",
            allowed="names that differ only in their numbers",
            remedy="move what is no section elsewhere",
        )
    numbers = np.array([[int(number) for number in re.findall(r"\d+", file.name)] for file in files], dtype=object)
    varying = [column for column in numbers.T if len(set(column)) > 1]
    if len(files) > 1 and not varying:
        raise InputError(
            f"{folder}: {files[0].name} and {files[1].name} are both section {numbers[0][-1]}",
            allowed="each number once",
            remedy="remove one of them",
        )
    if len(varying) != 1:
        return
    steps = np.diff(varying[0])
    step = min(steps)
    uneven = [index for index, found in enumerate(steps) if found != step or step == 0]
    for index in uneven[:1]:
        problem = f"misses section {varying[0][index] + step}" if step > 0 else "has a section twice"
        raise InputError(
            f"{folder} {problem}: {files[index].name} is followed by {files[index + 1].name}",
            allowed="a series of numbers without gaps",
            remedy="fetch the missing sections, or move what is no section elsewhere",
        )


def open_section_files(path: Path, files: Sequence[Path]) -> Source:
    """Open sections as one volume; headers are read now, and must agree, voxels when asked for."""
    first = read_header(files[0])
    for file in files[1:]:
        header = read_header(file)
        if header != first:
            raise InputError(
                f"{file} is {header.shape} {header.dtype}, but {files[0].name} is {first.shape} {first.dtype}",
                allowed="sections of one shape and type",
                remedy="pad, crop or convert the sections that differ",
            )

    def read_box(box: Box) -> NDArray[Any]:
        planes, rows, columns = box
        values = np.empty(tuple(side.stop - side.start for side in box), first.dtype)
        for index, file in enumerate(files[planes]):
            values[index] = read_section(file)[rows, columns]
        return values

    shape = (len(files), *first.shape)
    return Source(path, shape, first.dtype, None, None, read_box, whole_sections=True)


def read_header(file: Path) -> Header:
    """Read shape and type of one image; InputError for colour, several pages, or no image."""
    family = FAMILIES[file.suffix.lower()]
    if family == "TIFF":
        source = open_tiff(file)
        if source.shape[0] != 1:
            raise InputError(
                f"{file} has {source.shape[0]} pages",
                allowed="one page per file in a directory of sections",
                remedy="name the file itself as the volume, or split it",
            )
        return Header(source.shape[1:], source.dtype.newbyteorder("="))
    header = png_header(file) if family == "PNG" else jpeg_header(file)
    if header is None:
        raise InputError(
            f"{file} is no whole {family} image", allowed="grey images of 8 or 16 bits", remedy="fetch it again"
        )
    return header


def png_header(file: Path) -> Header | None:
    """Read the first chunk of a PNG."""
    with file.open("rb") as stream:
        start = stream.read(26)
    if len(start) < 26 or start[:8] != b"\x89PNG\r\n\x1a\n":
        return None
    width, height, bits, colour = struct.unpack(">IIBB", start[16:26])
    if colour in PNG_COLOURS:
        raise colour_error(file, PNG_COLOURS[colour])
    if bits in (2, 4) and colour == 0:
        raise InputError(f"{file} has {bits} bits per pixel", allowed="1, 8 or 16 bits", remedy="convert it to 8 bits")
    dtype = np.uint16 if bits == 16 else np.bool_ if bits == 1 and colour == 0 else np.uint8
    return Header((height, width), np.dtype(dtype))


def jpeg_header(file: Path) -> Header | None:
    """Walk over the segments of a JPEG to the one that describes its frame."""
    with file.open("rb") as stream:
        if stream.read(2) != b"\xff\xd8":
            return None
        while len(mark := stream.read(4)) == 4 and mark[0] == 0xFF:
            length = struct.unpack(">H", mark[2:])[0]
            if mark[1] in JPEG_FRAMES:
                bits, height, width, components = struct.unpack(">BHHB", stream.read(6))
                if components != 1:
                    raise colour_error(file, f"{components} values per pixel")
                return Header((height, width), np.dtype(np.uint16 if bits > 8 else np.uint8))
            stream.seek(length - 2, io.SEEK_CUR)
    return None


def colour_error(file: Path, kind: str) -> InputError:
    """Return the error for an image in colour."""
    return InputError(
        f"{file} is in colour ({kind})",
        allowed="grey images, and labels as integers",
        remedy="make the sections of an image grey; never so labels, where objects would become one: export their ids, "
        "uncoloured",
    )


def read_section(file: Path) -> NDArray[Any]:
    """Decode one image of y, x."""
    family = FAMILIES[file.suffix.lower()]
    try:
        if family == "TIFF":
            section = np.asarray(tifffile.imread(file, maxworkers=1))
            return section.reshape(section.shape[-2:])
        if family == "JPEG":
            return np.asarray(imagecodecs.jpeg_decode(file.read_bytes()))
        values = np.asarray(imagecodecs.png_decode(file.read_bytes()))
    except (ValueError, OSError, RuntimeError) as error:
        raise InputError(
            f"{file} can't be decoded: {error}", allowed="a whole image", remedy="fetch or export it again"
        ) from error
    if values.ndim == 3 or png_header(file) != Header(values.shape[:2], values.dtype):
        # A palette of object colours, or one bit per pixel: Pillow keeps the indices and the bits.
        with Image.open(file) as image:
            values = np.asarray(image)
    return values
