"""Planes of volumes laid out in a grid with scale bars, and saved as small PNG files."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation
from PIL import Image
from skimage.segmentation import find_boundaries

from sparse2dense.errors import InputError
from sparse2dense.ops.overlaps import look_up
from sparse2dense.stages.colours import ORANGE
from sparse2dense.volumes.replacing import atomic_file
from sparse2dense.volumes.volume import Volume

__all__ = [
    "Plane",
    "Row",
    "choose_planes",
    "grey_pictures",
    "montage",
    "outlined",
    "read_plane",
    "read_segments",
    "save_png",
    "stretched",
    "style",
    "tinted",
    "traced",
]

LARGEST_FILE = 290_000  # bytes of a PNG; a report holds dozens of them
WINDOW = 640  # voxels a side: more than that can't be seen in a panel, and a section may have 100 000
FIGURE_WIDTH = 10.0  # inches
RESOLUTION = 110  # dots per inch
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "figure.facecolor": "white",
}


@contextmanager
def style() -> Iterator[None]:
    """Draw with the settings that every figure shares."""
    with pyplot.rc_context(STYLE):
        yield


@dataclass(frozen=True)
class Plane:
    """A window of one plane of a volume: axis 0 is a section (y, x), axis 1 a cut across the sections (z, x)."""

    axis: int
    box: tuple[slice, slice, slice]
    size: tuple[float, float]  # nm per voxel, down and across
    name: str


@dataclass(frozen=True)
class Row:
    """Pictures side by side: RGB or grey arrays (rows, columns[, 3]) in 0..1, None where absent."""

    name: str
    size: tuple[float, float]  # nm per pixel, down and across
    pictures: Sequence[np.ndarray | None]


def choose_planes(volume: Volume, sections: Sequence[int] | int = 3, cross: bool = True) -> list[Plane]:
    """Planes to show: `sections` (their numbers, or how many to spread over the depth) and one xz cut.

    Raises `InputError` for a section outside the volume.
    """
    depth, height, width = volume.shape[-3:]
    dz, dy, dx = (float(size) for size in volume.voxel_size[-3:])
    if isinstance(sections, int):
        sections = sorted({int((2 * i + 1) * depth / (2 * sections)) for i in range(sections)})
    for section in sections:
        if not 0 <= section < depth:
            raise InputError(
                f"section {section} can't be shown",
                allowed=f"0 to {depth - 1}, the sections of the volume",
                remedy="choose sections of the volume",
            )
    rows, columns = _middle(height, WINDOW), _middle(width, WINDOW)
    planes = [Plane(0, (slice(z, z + 1), rows, columns), (dy, dx), f"section {z}") for z in sections]
    if cross and depth > 1:
        layers = _middle(depth, max(1, int(WINDOW * dx / dz)))
        cut = height // 2
        planes.append(Plane(1, (layers, slice(cut, cut + 1), columns), (dz, dx), f"xz cut\ny = {cut}"))
    return planes


def _middle(length: int, window: int) -> slice:
    first = max(0, (length - window) // 2)
    return slice(first, min(length, first + window))


def read_plane(volume: Volume, grid: Volume, plane: Plane) -> np.ndarray:
    """The voxels of `volume` in a plane of `grid`, ([c,] rows, columns); 0 where `volume` doesn't reach.

    Raises `InputError` where the voxel sizes differ.
    """
    size, offset = np.asarray(volume.voxel_size[-3:], float), np.asarray(volume.offset[-3:], float)
    if not np.allclose(size, grid.voxel_size[-3:], rtol=1e-6):
        raise InputError(
            f"voxel sizes differ: {tuple(size)} nm and {tuple(grid.voxel_size[-3:])} nm",
            allowed="volumes of one voxel size in one figure",
            remedy="import both volumes with the same voxel size",
        )
    shift = np.rint((offset - np.asarray(grid.offset[-3:], float)) / size).astype(int)
    box = tuple(slice(s.start - int(d), s.stop - int(d)) for s, d in zip(plane.box, shift, strict=True))
    return volume.read(box, mode="constant").squeeze(axis=plane.axis - 3)


def read_segments(fragments: Volume, lut: tuple[np.ndarray, np.ndarray], grid: Volume, plane: Plane) -> np.ndarray:
    """The segments (uint64) in a plane of `grid`, from `fragments` and the segment of each (fragments, segments)."""
    return look_up(read_plane(fragments, grid, plane).astype(np.uint64), *lut)


def grey_pictures(grid: Volume, planes: Sequence[Plane]) -> list[np.ndarray]:
    """Raw in 0..1, stretched between its 1st and 99th percentile over all planes shown; constant raw is 0."""
    return stretched([read_plane(grid, grid, plane) for plane in planes])


def stretched(pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Pictures in 0..1, stretched between the 1st and 99th percentile of all of them; constant ones are 0."""
    values = [picture.astype(np.float32) for picture in pictures]
    low, high = np.percentile(np.concatenate([value.ravel() for value in values]), (1, 99))
    # 32 shades are enough beside colours, and noise in fewer shades makes a much smaller file
    return [np.rint(np.clip((v - low) / max(high - low, 1e-9), 0, 1) * 31).astype(np.float32) / 31 for v in values]


def outlined(colours: np.ndarray, labels: np.ndarray, grey: np.ndarray | None = None, alpha: float = 0.5) -> np.ndarray:
    """Label colours (over a grey picture in 0..1, where given), with a dark line around every label."""
    mixed = colours.copy()
    if grey is not None:
        under = np.repeat(grey[..., None], 3, axis=-1).astype(np.float32)
        mixed = np.where((labels != 0)[..., None], (1 - alpha) * under + alpha * colours, under)
    mixed[find_boundaries(labels, mode="inner")] *= 0.35
    return np.asarray(mixed)


def tinted(grey: np.ndarray, tints: Sequence[tuple[np.ndarray, str, float]]) -> np.ndarray:
    """A grey picture in 0..1 with colours mixed in: where (boolean), colour, and its share of the mixture."""
    picture = np.repeat(grey[..., None], 3, axis=-1).astype(np.float32)
    for where, colour, share in tints:
        picture[where] = (1 - share) * picture[where] + share * np.array(to_rgb(colour), np.float32)
    return picture


def traced(labels: np.ndarray, grey: np.ndarray) -> np.ndarray:
    """A grey picture in 0..1 with an orange line around every label."""
    picture = np.repeat(grey[..., None], 3, axis=-1).astype(np.float32)
    picture[find_boundaries(labels, mode="inner")] = to_rgb(ORANGE)
    return picture


def montage(rows: Sequence[Row], titles: Sequence[str], output: Path, legend: Sequence[tuple[str, str]] = ()) -> None:
    """Write a grid of pictures, true to scale, with a scale bar per row and `legend` (text, colour) below, as PNG."""
    columns, left, gap, top = len(titles), 0.4, 0.06, 0.28
    across = (FIGURE_WIDTH - left - gap * columns) / columns
    heights = [across * _aspect(row) for row in rows]
    bottom = 0.3 if legend else 0.05
    total = top + sum(heights) + gap * len(rows) + bottom
    with style():
        figure = pyplot.figure(figsize=(FIGURE_WIDTH, total), dpi=RESOLUTION)
        y = total - top
        for number, (row, height) in enumerate(zip(rows, heights, strict=True)):
            y -= height
            for column, picture in enumerate(row.pictures):
                x = left + column * (across + gap)
                axes = figure.add_axes((x / FIGURE_WIDTH, y / total, across / FIGURE_WIDTH, height / total))
                _show(axes, picture, scale_bar=row.size if column == 0 else None)
                if number == 0:
                    axes.set_title(titles[column], pad=4)
                if column == 0:
                    axes.set_ylabel(row.name, labelpad=4)
            y -= gap
        for place, (text, colour) in enumerate(legend):
            x = (left + place * (FIGURE_WIDTH - left) / len(legend)) / FIGURE_WIDTH
            figure.text(x, 0.1 / total, "■", color=colour, fontsize=12, va="baseline")
            figure.text(x + 0.017, 0.1 / total, text, va="baseline")
        save_png(figure, output)


def _aspect(row: Row) -> float:
    shape = next((picture.shape for picture in row.pictures if picture is not None), (1, 1))
    exact = shape[0] * row.size[0] / (shape[1] * row.size[1])
    return min(max(exact, 0.12), 3.0)  # a sliver or a tower is cut or stretched to something that can be seen


def _show(axes: Axes, picture: np.ndarray | None, scale_bar: tuple[float, float] | None) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    if picture is None:
        axes.set_facecolor("#eeeeee")
        axes.text(0.5, 0.5, "not there", ha="center", va="center", transform=axes.transAxes, color="#555555")
        return
    axes.imshow(np.clip(picture, 0, 1), cmap="gray", vmin=0, vmax=1, aspect="auto", interpolation="auto")
    if scale_bar is not None:
        _draw_scale_bar(axes, picture.shape[1] * scale_bar[1])


def _draw_scale_bar(axes: Axes, across: float) -> None:
    """Draw a bar of a round length, its length written above, in the corner of a picture `across` nm wide."""
    length = _round_length(across / 4)
    text = f"{length / 1000:g} µm" if length >= 1000 else f"{length:g} nm"
    box = {"facecolor": "black", "alpha": 0.55, "pad": 1.5, "linewidth": 0}
    # heights in points, so that the bar stays within a picture of few layers
    corner = axes.transAxes + ScaledTranslation(0, 6 / 72, axes.figure.dpi_scale_trans)
    axes.plot([0.04, 0.04 + length / across], [0, 0], transform=corner, color="white", linewidth=3)
    above = axes.transAxes + ScaledTranslation(0, 10 / 72, axes.figure.dpi_scale_trans)
    axes.text(0.04, 0, text, transform=above, color="white", fontsize=8, va="bottom", bbox=box)


def _round_length(length: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that isn't above `length`."""
    power = 10.0 ** np.floor(np.log10(length))
    return float(max(step * power for step in (1, 2, 5) if step * power <= length * (1 + 1e-9)))


def save_png(figure: Figure, output: Path) -> None:
    """Write `figure` under a temporary name and rename it; colours, then pixels, are saved until it is small enough."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=RESOLUTION, metadata={"Software": ""})
    pyplot.close(figure)
    content = buffer.getvalue()
    picture = Image.open(buffer).convert("RGB")
    full = picture
    for colours, scale in (
        (256, 1.0),
        (128, 1.0),
        (256, 0.85),
        (128, 0.85),
        (128, 0.7),
        (64, 0.7),
        (64, 0.6),
        (32, 0.5),
    ):
        if len(content) <= LARGEST_FILE:
            break
        if scale < 1:
            size = (int(full.width * scale), int(full.height * scale))
            picture = full.resize(size, Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        reduced = picture.quantize(colours, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        reduced.save(buffer, format="png", optimize=True)
        content = buffer.getvalue()
    with atomic_file(output) as unfinished:
        unfinished.write_bytes(content)
