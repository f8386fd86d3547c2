"""Pictures of the worst splits and merges: raw, truth and segmentation around each."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot
from scipy.ndimage import distance_transform_edt

from sparse2dense.stages.colours import DISAGREEMENT_COLOURS, label_colours, match_labels, matched_colours
from sparse2dense.stages.error_tables import read_errors
from sparse2dense.stages.pictures import (
    FIGURE_WIDTH,
    Plane,
    Row,
    montage,
    outlined,
    read_plane,
    read_segments,
    save_png,
    stretched,
    style,
    tinted,
)
from sparse2dense.volumes.tables import read_table
from sparse2dense.volumes.volume import Volume, open_volume

__all__ = ["figure_errors"]

WORST = 5  # of each kind, as many as the table of the report shows
LOOKED_AT = 9  # planes through the box of an error, along each axis, of which the most telling one is shown
SEARCHED = 1024  # voxels a side of the box that are read of a plane: an object may cross a whole volume
SHOWN = 192  # voxels a side of a picture, at most
COLOURS = {"split": DISAGREEMENT_COLOURS["split"], "merge": DISAGREEMENT_COLOURS["merged"]}


@dataclass(frozen=True)
class View:
    """A plane through an error: truth and segments in it, and which voxels of the label are wrong and which right."""

    plane: Plane
    objects: np.ndarray
    segments: np.ndarray
    wrong: np.ndarray
    right: np.ndarray

    @property
    def telling(self) -> tuple[int, int]:
        """The more the better: how many voxels of both sides it shows, then how many wrong ones."""
        wrong, right = (int(np.count_nonzero(voxels)) for voxels in (self.wrong, self.right))
        return min(wrong, right), wrong


def figure_errors(
    raw: Path, truth: Path, fragments: Path, lut: Path, errors: Path, outputs: Mapping[str, Path]
) -> None:
    """Show the worst splits and merges in raw, truth and segmentation, each in the plane that tells most of it.

    That is the section through its box that shows most of both the wrong and the right voxels, or a cut across the
    sections where none shows both. The object that is split and its segments, or the segment that merges and its
    objects, are coloured, a segment like the object it shares most voxels with; all else is left grey.

    Parameters
    ----------
    raw, truth, fragments
        Volumes of one voxel size.
    lut
        As `agglomerating.make_lut` writes it, of the threshold of `errors`.
    errors
        The table that `locating.rank_errors` writes.
    outputs
        Kind (`split`, `merge`) and its picture, PNG. Where there is no such error, the picture says so.
    """
    grid = open_volume(truth)
    volumes = open_volume(raw), open_volume(fragments)
    segments_of = read_table(lut, "fragment", "segment")
    table = read_errors(errors, "uint64")
    for kind, output in outputs.items():
        rows = table[table["kind"] == kind].head(WORST).to_dict("records")
        if rows:
            views = [_view(grid, volumes[1], segments_of, row) for row in rows]
            _draw(kind, rows, [_around(view) for view in views], grid, volumes[0], output)
        else:
            _say_none(kind, output)


def _view(grid: Volume, fragments: Volume, segments_of: tuple[np.ndarray, ...], row: Mapping[Any, Any]) -> View:
    """The most telling plane of an error; a cut across the sections only where no section shows both sides."""
    best: View | None = None
    for axis in (0, 1):
        for plane in _planes(grid, row, axis):
            objects = read_plane(grid, grid, plane)
            segments = read_segments(fragments, (segments_of[0], segments_of[1]), grid, plane)
            this, other = (objects, segments) if row["kind"] == "split" else (segments, objects)
            own = this == np.uint64(row["label"])
            right = own & (other == np.uint64(row["main"]))
            # what lies in no object of the truth isn't wrong; what lies in no segment is split off
            wrong = own & ~right & ((other != 0) | (row["kind"] == "split"))
            view = View(plane, objects, segments, wrong, right)
            if best is None or view.telling > best.telling:
                best = view
        if best is not None and best.telling[0] > 0:
            break
    assert best is not None, "a box holds a plane"
    return best


def _planes(grid: Volume, row: Mapping[Any, Any], axis: int) -> Iterator[Plane]:
    """Planes across an axis (0 is z, 1 is y), spread over the box of an error."""
    begin, end = ([int(row[f"{side}_{name}"]) for name in "zyx"] for side in ("begin", "end"))
    inside = []
    for first, last, side in zip(begin, end, grid.shape, strict=True):
        # a picture has room around a small object; of a large one the middle is searched
        length = min(max(last - first, SHOWN), SEARCHED)
        inside.append(_window((first + last) // 2, length, side))
    places = np.unique(np.linspace(begin[axis], end[axis] - 1, LOOKED_AT + 2).round().astype(int))
    dz, dy, dx = grid.voxel_size
    for place in places[1:-1] if len(places) > 2 else places:
        whole = list(inside)
        whole[axis] = slice(int(place), int(place) + 1)
        name = f"section {place}" if axis == 0 else f"xz cut at y {place}"
        yield Plane(axis, (whole[0], whole[1], whole[2]), (dy, dx) if axis == 0 else (dz, dx), name)


def _window(middle: int, length: int, side: int) -> slice:
    """So many voxels around one, moved inside an axis of `side` voxels, or all of it."""
    first = min(max(middle - length // 2, 0), max(side - length, 0))
    return slice(first, min(first + length, side))


def _around(view: View) -> View:
    """The part of a view where wrong voxels come nearest to right ones, `SHOWN` voxels a side at most."""
    places = np.argwhere(view.wrong if view.wrong.any() else np.ones_like(view.wrong))
    far = distance_transform_edt(~view.right) if view.right.any() else np.zeros(view.right.shape)
    nearest = far[tuple(places.T)]
    places = places[nearest <= nearest.min() + 0.5]
    focus = places[np.argmin(((places - places.mean(axis=0)) ** 2).sum(axis=1))]
    part = []
    for middle, length in zip(focus, view.wrong.shape, strict=True):
        part.append(_window(int(middle), SHOWN, length))
    rows, columns = part
    box, (down, across) = list(view.plane.box), ((1, 2) if view.plane.axis == 0 else (0, 2))
    for axis, side in ((down, rows), (across, columns)):
        start = box[axis].start
        box[axis] = slice(start + side.start, start + side.stop)
    plane = replace(view.plane, box=(box[0], box[1], box[2]))
    arrays = (array[rows, columns] for array in (view.objects, view.segments, view.wrong, view.right))
    return View(plane, *arrays)


def _draw(kind: str, rows: list[dict[Any, Any]], views: list[View], grid: Volume, raw: Volume, output: Path) -> None:
    greys = [stretched([read_plane(raw, grid, view.plane)])[0] for view in views]
    pictures = []
    for number, (row, view, grey) in enumerate(zip(rows, views, greys, strict=True), start=1):
        own = (view.objects if kind == "split" else view.segments) == np.uint64(row["label"])
        objects = _concerned(view.objects, own)
        segments = _concerned(view.segments, own)
        matching = match_labels(np.where(own, segments, 0), np.where(own, objects, 0))
        columns = [
            grey,
            outlined(label_colours(objects), objects, grey, 0.6),
            outlined(matched_colours(segments, matching), segments, grey, 0.6),
            tinted(grey, [(view.wrong, COLOURS[kind], 0.65)]),
        ]
        pictures.append(Row(f"no. {number}: {row['bits']:.3f} bits\n{view.plane.name}", view.plane.size, columns))
    part = {"split": "not in its main segment", "merge": "not of its main object"}[kind]
    titles = ["raw", "truth", "segmentation", part]
    montage(pictures, titles, output, [(part, COLOURS[kind])])


def _concerned(labels: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Labels that an error concerns, whole; all others as 0."""
    return np.where(np.isin(labels, np.unique(labels[own])), labels, 0).astype(labels.dtype)


def _say_none(kind: str, output: Path) -> None:
    with style():
        figure = pyplot.figure(figsize=(FIGURE_WIDTH, 0.5))
        said = {"split": "No object is split.", "merge": "No segment holds two objects."}[kind]
        figure.text(0.5, 0.5, said, ha="center", va="center", fontsize=11)
        save_png(figure, output)
