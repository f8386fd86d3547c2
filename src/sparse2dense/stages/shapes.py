"""3D pictures of the largest segments, and of the objects of the truth that they stand for."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.colors import LightSource
from mpl_toolkits.mplot3d.art3d import Poly3DCollection
from skimage.measure import marching_cubes

from sparse2dense.stages.colours import label_colours, match_labels, matched_colours
from sparse2dense.stages.pictures import FIGURE_WIDTH, Plane, read_plane, read_segments, save_png, style
from sparse2dense.stages.side_by_side import matching_in_sections
from sparse2dense.volumes.tables import read_table
from sparse2dense.volumes.volume import Volume, open_volume

__all__ = ["figure_shapes", "surface"]

LARGEST = 6  # objects
READ = 1024  # voxels a side around the middle of the volume: no more can be told apart at this size
SAMPLES = 56  # along the longest side: every further one costs drawing and shows little
VIEW = {"elev": 24, "azim": -58}
LIGHT = {"azdeg": 10, "altdeg": -50}  # from above and beside the viewer: z and y point down and to the front


def figure_shapes(raw: Path, truth: Path, fragments: Path, lut: Path, output: Path) -> None:
    """Show the largest segments of a test volume in 3D beside the truth, in the colours of the sections shown.

    Both are sampled at reduced resolution in the middle of the volume, 1024 voxels a side at most, and their surfaces
    are found by marching cubes (Lewiner et al. 2003). On the side of the truth stand the objects that these segments
    share most voxels with: a segment without an object of its shape is an error.

    Parameters
    ----------
    raw, truth, fragments
        Volumes of one voxel size.
    lut
        As `agglomerating.make_lut` writes it.
    output
        PNG file.
    """
    grid, reference, found = open_volume(raw), open_volume(truth), open_volume(fragments)
    known = read_table(lut, "fragment", "segment")
    segments, spacing = _sampled(grid, lambda plane: read_segments(found, (known[0], known[1]), grid, plane))
    objects, _ = _sampled(grid, lambda plane: read_plane(reference, grid, plane))
    ids, counts = np.unique(segments[segments != 0], return_counts=True)
    largest = ids[np.argsort(-counts, kind="stable")][:LARGEST]
    matching = match_labels(segments, objects)
    partners = matching.main_truth[np.searchsorted(matching.segments, largest)]
    distinct = np.array([label for label in dict.fromkeys(partners.tolist()) if label], objects.dtype)
    in_sections = matching_in_sections(raw, truth, fragments, lut)
    extent = np.array(segments.shape) * spacing / 1000
    with style():
        # a flat volume needs less room above and below
        figure = pyplot.figure(figsize=(FIGURE_WIDTH, 3.2 + 1.8 * _flatness(extent)))
        for place, (title, labels, chosen, colours) in enumerate(
            (
                (f"the {len(largest)} largest segments", segments, largest, matched_colours(largest, in_sections)),
                ("the objects they stand for", objects, distinct, label_colours(distinct)),
            ),
            start=1,
        ):
            numbers = [str(rank) for rank in range(1, len(largest) + 1)]
            if labels is objects:
                numbers = [_ranks(partners, label) for label in distinct]
            axes: Any = figure.add_subplot(1, 2, place, projection="3d")
            _draw(axes, labels, spacing, chosen, colours, numbers)
            axes.set_title(title)
            _frame(axes, extent)
        figure.subplots_adjust(0.01, 0.04, 0.97, 0.95, 0.06)
        save_png(figure, output)


def surface(mask: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Return triangles (n, 3, 3) around the true voxels of `mask`, in the unit of `spacing`, closed at its border.

    The corner of the first voxel is the origin; the corners of a triangle turn right-handed about outside. By marching
    cubes (Lewiner et al. 2003); no triangle where no voxel is.
    """
    if not mask.any():
        return np.zeros((0, 3, 3), np.float32)
    corners, faces, _, _ = marching_cubes(np.pad(mask, 1).astype(np.float32), 0.5, spacing=tuple(spacing))
    # a voxel's value stands for its middle, and the padding begins one voxel before the first
    triangles = np.asarray((corners - 0.5 * np.asarray(spacing))[faces], np.float32)
    inside_out = np.einsum("ij,ij", triangles[:, 0], np.cross(triangles[:, 1], triangles[:, 2])) < 0
    return triangles[:, ::-1] if inside_out else triangles


def _sampled(grid: Volume, read: Callable[[Plane], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The middle of a volume at reduced resolution, about equal along all axes, read by section; and its spacing."""
    size = np.array(grid.voxel_size[-3:])
    window = []
    for length in grid.shape[-3:]:
        first = max(0, (length - READ) // 2)
        window.append(slice(first, min(length, first + READ)))
    sides = np.array([side.stop - side.start for side in window])
    step = np.maximum(1, np.rint((sides * size).max() / SAMPLES / size)).astype(int)
    layers = []
    for z in range(window[0].start, window[0].stop, step[0]):
        plane = Plane(0, (slice(z, z + 1), window[1], window[2]), (size[1], size[2]), f"section {z}")
        layers.append(read(plane)[:: step[1], :: step[2]])
    return np.stack(layers), step * size


def _draw(
    axes: Any, labels: np.ndarray, spacing: np.ndarray, chosen: np.ndarray, colours: np.ndarray, numbers: list[str]
) -> None:
    """Draw the surfaces of some labels, each with its number; axes are x, y, z in µm."""
    # in one collection, so that what is in front hides what is behind, triangle by triangle
    parts, faces = [], []
    for label, colour, number in zip(chosen, colours, numbers, strict=True):
        # x, y, z; that mirrors the surface, and corners in the other order keep its outside outside
        triangles = surface(labels == label, (spacing / 1000).tolist())[:, ::-1, ::-1]
        if len(triangles):
            parts.append(triangles)
            faces.append(np.repeat(colour[None], len(triangles), axis=0))
            points = triangles.reshape(-1, 3)
            middle = points[np.argmin(((points - points.mean(axis=0)) ** 2).sum(axis=1))]  # on it, however it bends
            box = {"facecolor": "white", "alpha": 0.8, "pad": 1, "linewidth": 0}
            axes.text(*middle, number, fontsize=8, zorder=10**6, bbox=box, ha="center", va="center")
    if parts:
        look = {"facecolors": np.concatenate(faces), "shade": True, "lightsource": LightSource(**LIGHT)}
        axes.add_collection3d(Poly3DCollection(np.concatenate(parts), **look))


def _frame(axes: Any, extent: np.ndarray) -> None:
    depth, height, width = extent
    axes.set(xlim=(0, width), ylim=(height, 0), zlim=(depth, 0), xlabel="x (µm)", ylabel="y (µm)", zlabel="z (µm)")
    axes.set_box_aspect((width, height, depth), zoom=1.3 - 0.35 * _flatness(extent))
    axes.view_init(**VIEW)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_major_locator(pyplot.MaxNLocator(3))


def _flatness(extent: np.ndarray) -> float:
    """How high a volume is for its sides, 1 at most."""
    return float(min(1.0, extent[0] / extent[1:].max()))


def _ranks(partners: np.ndarray, label: int) -> str:
    """The numbers of the segments that stand for an object."""
    return ", ".join(str(rank) for rank, partner in enumerate(partners, start=1) if partner == label)
