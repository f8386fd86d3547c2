"""The pictures of every stage, each one PNG file made from the volumes that the stage leaves."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sparse2dense.ops.regions import binary_entropy
from sparse2dense.stages.charts import figure_losses, figure_resources, figure_scores
from sparse2dense.stages.colours import (
    BLUE,
    DISAGREEMENT_COLOURS,
    ORANGE,
    VERMILLION,
    disagreement,
    label_colours,
    match_labels,
    matched_colours,
)
from sparse2dense.stages.pictures import (
    Plane,
    Row,
    choose_planes,
    grey_pictures,
    montage,
    outlined,
    read_plane,
    tinted,
    traced,
)
from sparse2dense.volumes.volume import Volume, open_volume

__all__ = [
    "figure_affinities",
    "figure_annotation",
    "figure_fragments",
    "figure_losses",
    "figure_paint_next",
    "figure_prediction",
    "figure_pseudo_truth",
    "figure_resources",
    "figure_scores",
    "figure_segmentation",
]

PAINTED_SECTIONS = 4  # at most so many painted sections are shown
SUGGESTIONS = 2  # so many sections, and so many regions
UNSURE = 0.1  # share of the voxels that are marked


def figure_prediction(
    raw: Path,
    stacked_affinities: Path | None,
    stacked_descriptors: Path | None,
    output: Path,
    sections: Sequence[int] | int = 3,
) -> None:
    """Show what the 2D net sees: raw, its shortest and longest affinities, and three descriptors as RGB.

    `sections` are section numbers of `raw`, or how many to spread over its depth; an absent volume has no column.
    """
    grid = open_volume(raw)
    planes = choose_planes(grid, sections, cross=False)
    columns: list[list[np.ndarray | None]] = [list(grey_pictures(grid, planes))]
    titles = ["raw"]
    if stacked_affinities is not None:
        affinities = open_volume(stacked_affinities)
        values = [_fractions(read_plane(affinities, grid, plane)) for plane in planes]
        lengths = _lengths(affinities)
        for name, length in (("shortest", lengths.min()), ("longest", lengths.max())):
            chosen = np.flatnonzero(lengths == length)
            columns.append([plane[chosen].mean(axis=0) for plane in values])
            titles.append(f"{name} affinities ({length:g} voxel{'s' if length != 1 else ''}), mean")
            if lengths.min() == lengths.max():
                break
    if stacked_descriptors is not None:
        descriptors = open_volume(stacked_descriptors)
        columns.append([_rgb(_fractions(read_plane(descriptors, grid, plane))[:3]) for plane in planes])
        titles.append("descriptors: offset y, x; variance y")
    montage(_rows(planes, *columns), titles, output)


def figure_affinities(raw: Path, affinities: Path, output: Path, sections: Sequence[int] | int = 3) -> None:
    """Show 3D affinities to the nearest neighbours (red z, green y, blue x) on some sections and one xz cut."""
    grid, predicted = open_volume(raw), open_volume(affinities)
    planes = choose_planes(grid, sections)
    nearest = _nearest_channels(predicted)
    values = [_fractions(read_plane(predicted, grid, plane))[nearest] for plane in planes]
    titles = ["raw", "affinities: red z, green y, blue x", "lowest of the three: boundaries are dark"]
    colours, lowest = [_rgb(value) for value in values], [value.min(axis=0) for value in values]
    montage(_rows(planes, grey_pictures(grid, planes), colours, lowest), titles, output)


def figure_fragments(raw: Path, fragments: Path, output: Path, sections: Sequence[int] | int = 3) -> None:
    """Show the fragments beside and over raw, on some sections and one xz cut; the same id has the same colour."""
    grid, volume = open_volume(raw), open_volume(fragments)
    planes = choose_planes(grid, sections)
    greys, labels = grey_pictures(grid, planes), [read_plane(volume, grid, plane) for plane in planes]
    coloured = [outlined(label_colours(ids), ids) for ids in labels]
    over = [traced(ids, grey) for ids, grey in zip(labels, greys, strict=True)]
    counts = " / ".join(str(_count(ids)) for ids in labels)
    titles = ["raw", f"fragments: {counts} in these planes", "fragments traced on raw"]
    montage(_rows(planes, greys, coloured, over), titles, output)


def figure_segmentation(
    raw: Path, segmentation: Path, truth: Path | None, output: Path, sections: Sequence[int] | int = 3
) -> None:
    """Show raw, truth and a segmentation on some sections and one xz cut, and where the last two disagree.

    A segment wears the colour of the truth object it overlaps most, one segment per object, matched within the
    planes shown: a colour that differs from the truth beside it is an error. Without truth, segments wear
    the colour of their id.
    """
    grid, volume = open_volume(raw), open_volume(segmentation)
    planes = choose_planes(grid, sections)
    greys, labels = grey_pictures(grid, planes), [read_plane(volume, grid, plane) for plane in planes]
    if truth is None:
        coloured = [outlined(label_colours(ids), ids) for ids in labels]
        over = [traced(ids, grey) for ids, grey in zip(labels, greys, strict=True)]
        counts = " / ".join(str(_count(ids)) for ids in labels)
        montage(_rows(planes, greys, coloured, over), ["raw", f"segments: {counts}", "segments traced on raw"], output)
        return
    reference = open_volume(truth)
    objects = [read_plane(reference, grid, plane) for plane in planes]
    matching = match_labels(np.concatenate([a.ravel() for a in labels]), np.concatenate([a.ravel() for a in objects]))
    columns: list[list[np.ndarray]] = [greys, [], [], []]
    for grey, ids, true in zip(greys, labels, objects, strict=True):
        columns[1].append(outlined(label_colours(true), true))
        columns[2].append(outlined(matched_colours(ids, matching), ids))
        errors = disagreement(ids, true, matching)
        # gaps between segments are everywhere and rarely matter
        shares = {"split": 0.65, "merged": 0.65, "missing": 0.3}
        columns[3].append(tinted(grey, [(errors[kind], DISAGREEMENT_COLOURS[kind], shares[kind]) for kind in errors]))
    legend = [
        ("split off its object", DISAGREEMENT_COLOURS["split"]),
        ("merged into another object's segment", DISAGREEMENT_COLOURS["merged"]),
        ("no segment", DISAGREEMENT_COLOURS["missing"]),
    ]
    montage(_rows(planes, *columns), ["raw", "truth", "segmentation", "where they disagree"], output, legend)


def figure_annotation(raw: Path, labels: Path, mask: Path, output: Path, sections: Sequence[int] | None = None) -> None:
    """Show the painted sections, at most four: raw, and the painted objects with all that isn't painted dimmed.

    `sections` are section numbers; by default the mask is searched for them.
    """
    grid, painted, speaks = open_volume(raw), open_volume(labels), open_volume(mask)
    if sections is None:
        sections = _sections_of(speaks)
    if not sections:
        sections = [grid.shape[-3] // 2]
    picked = [sections[i] for i in np.linspace(0, len(sections) - 1, min(PAINTED_SECTIONS, len(sections))).astype(int)]
    planes = choose_planes(grid, picked, cross=False)
    greys = grey_pictures(grid, planes)
    pictures, counts = [], []
    for grey, plane in zip(greys, planes, strict=True):
        ids, known = read_plane(painted, grid, plane), read_plane(speaks, grid, plane)
        pictures.append(outlined(label_colours(ids), ids, np.where(known != 0, grey, 0.35 * grey)))
        counts.append(_count(ids))
    rows = [Row("raw", planes[0].size, greys), Row("painted (dark: nothing said)", planes[0].size, pictures)]
    titles = [f"{p.name}: {n} object{'' if n == 1 else 's'}" for p, n in zip(planes, counts, strict=True)]
    montage(rows, titles, output)


def figure_pseudo_truth(
    raw: Path,
    segmentation: Path,
    pseudo_truth: Path,
    output: Path,
    counts: Path | None = None,
    sections: Sequence[int] | int = 3,
) -> None:
    """Show a segmentation before and after the filters that make it pseudo truth, and what they took away or added.

    `counts` is the table `pseudo_truth.csv`: where it has a column `objects`, its first and last row stand
    in the titles.
    """
    grid, before, after = open_volume(raw), open_volume(segmentation), open_volume(pseudo_truth)
    planes = choose_planes(grid, sections)
    greys = grey_pictures(grid, planes)
    columns: list[list[np.ndarray]] = [greys, [], [], []]
    seen = np.zeros(2, int)
    for grey, plane in zip(greys, planes, strict=True):
        old, new = read_plane(before, grid, plane), read_plane(after, grid, plane)
        taken, added = (old != 0) & (new == 0), (old == 0) & (new != 0)
        columns[1].append(outlined(label_colours(old), old))
        columns[2].append(outlined(label_colours(new), new))
        columns[3].append(tinted(grey, [(taken, VERMILLION, 0.65), (added, BLUE, 0.65)]))
        seen += (_count(old), _count(new))
    where = "in these planes"
    totals = pd.read_csv(counts) if counts is not None else pd.DataFrame()
    if "objects" in totals and len(totals):
        seen, where = np.array([totals["objects"].iloc[0], totals["objects"].iloc[-1]]), "objects"
    titles = ["raw", f"before: {seen[0]} {where}", f"after: {seen[1]} {where}", "what the filters changed"]
    legend = [("taken away", VERMILLION), ("added", BLUE)]
    montage(_rows(planes, *columns), titles, output, legend)


def figure_paint_next(raw: Path, affinities: Path, suggestions: Path, output: Path, *, volume: str) -> None:
    """Show the first sections and regions of a volume that are suggested, and where the net is least sure in them.

    `suggestions` is the table `paint_next.csv`. Where it suggests nothing of the volume, its middle section is shown.
    """
    grid, predicted = open_volume(raw), open_volume(affinities)
    table = pd.read_csv(suggestions, dtype={"volume": str})
    first = table[table["volume"] == volume].groupby("kind", sort=False).head(SUGGESTIONS)
    planes = [_suggested_plane(grid, row) for row in first.to_dict("records")]
    planes = planes or choose_planes(grid, 1, cross=False)
    greys, values = grey_pictures(grid, planes), [read_plane(predicted, grid, plane) for plane in planes]
    entropy = [binary_entropy(value) for value in values]
    # never more than that share, and no voxel of which the net is sure, even where hardly any are unsure
    above = max(float(np.quantile(np.concatenate([bits.ravel() for bits in entropy]), 1 - UNSURE)), 0.01)
    marked = [tinted(grey, [(bits > above, ORANGE, 0.7)]) for grey, bits in zip(greys, entropy, strict=True)]
    means = [_fractions(value).mean(axis=0) for value in values]
    titles = ["raw", "affinities, mean: white where sure of one object", "where the net is least sure"]
    montage(_rows(planes, greys, means, marked), titles, output)


def _suggested_plane(grid: Volume, row: dict[Any, Any]) -> Plane:
    """The plane of a row of suggestions; of a section larger than a picture its middle."""
    z = int(row["section"])
    (whole,) = choose_planes(grid, [z], cross=False)
    if row["kind"] == "section":
        return replace(whole, name=f"no. {row['rank']}: section {z}")
    y, x = (slice(int(row[f"begin_{axis}"]), int(row[f"end_{axis}"])) for axis in "yx")
    name = f"no. {row['rank']}: region at y {y.start}, x {x.start}\nof section {z}"
    return replace(whole, box=(whole.box[0], y, x), name=name)


def _rows(planes: Sequence[Plane], *columns: Sequence[np.ndarray | None]) -> list[Row]:
    return [Row(plane.name, plane.size, pictures) for plane, *pictures in zip(planes, *columns, strict=True)]


def _fractions(values: np.ndarray) -> np.ndarray:
    """Predictions in 0..1: integers are fractions of the largest number of their type."""
    if np.issubdtype(values.dtype, np.integer):
        return values.astype(np.float32) / np.iinfo(values.dtype).max
    return np.clip(values.astype(np.float32), 0, 1)


def _rgb(channels: np.ndarray) -> np.ndarray:
    """Up to three channels (c, rows, columns) as RGB (rows, columns, 3); a missing colour is 0."""
    missing = np.zeros((3 - len(channels), *channels.shape[1:]), channels.dtype)
    return np.moveaxis(np.concatenate([channels, missing]), 0, -1)


def _lengths(affinities: Volume) -> np.ndarray:
    """Length of every channel's offset in voxels; 1 for all where the offsets aren't stored."""
    offsets = affinities.attributes.get("offsets")
    if not offsets:
        return np.ones(affinities.shape[0])
    return np.abs(np.asarray(offsets)).max(axis=1)


def _nearest_channels(affinities: Volume) -> list[int]:
    """Channels of the nearest neighbours in z, y, x: the first three where the offsets don't name them."""
    offsets = [tuple(offset) for offset in affinities.attributes.get("offsets") or []]
    nearest = [(-1, 0, 0), (0, -1, 0), (0, 0, -1)]
    if all(offset in offsets for offset in nearest):
        return [offsets.index(offset) for offset in nearest]
    return list(range(min(3, affinities.shape[0])))


def _count(labels: np.ndarray) -> int:
    return int(np.count_nonzero(np.unique(labels)))


def _sections_of(mask: Volume) -> list[int]:
    """Numbers of the sections where the mask isn't empty, read one layer of chunks at a time."""
    step = mask.array.chunks[0]
    found: list[int] = []
    for first in range(0, mask.shape[0], step):
        layer = mask[first : first + step]
        found.extend(first + int(z) for z in np.flatnonzero(layer.any(axis=(1, 2))))
    return found
