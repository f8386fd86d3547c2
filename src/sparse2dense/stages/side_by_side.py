"""Raw, truth and the segmentation of every track on the same sections, each a picture of its own to zoom into."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from sparse2dense.stages.colours import Matching, label_colours, match_labels, matched_colours
from sparse2dense.stages.pictures import choose_planes, grey_pictures, outlined, read_plane, read_segments
from sparse2dense.volumes.replacing import atomic_file
from sparse2dense.volumes.tables import read_table
from sparse2dense.volumes.volume import open_volume

__all__ = ["LISTED", "matching_in_sections", "write_panes"]

SECTIONS = 3  # so many, spread over the depth
LISTED = "panes.json"


def write_panes(raw: Path, truth: Path, fragments: Mapping[str, Path], luts: Mapping[str, Path], output: Path) -> None:
    """Write some sections of a test volume as pictures of equal size, without margins, a pixel per voxel.

    A segment wears the colour of the truth object it overlaps most in these sections, one segment per object.

    Parameters
    ----------
    raw, truth
        Volumes of one voxel size.
    fragments, luts
        Track and its fragments; track and the segments of its threshold, as `agglomerating.make_lut` writes them.
    output
        Directory. `panes.json` lists the `sections`: `number`, size of a voxel (`voxel_size_nm`: y, x), and `panes`,
        each with `name` (raw, truth or a track) and `file`.
    """
    grid, reference = open_volume(raw), open_volume(truth)
    planes = choose_planes(grid, SECTIONS, cross=False)
    objects = [read_plane(reference, grid, plane) for plane in planes]
    panes = {"raw": [np.repeat(grey[..., None], 3, axis=-1) for grey in grey_pictures(grid, planes)]}
    panes["truth"] = [outlined(label_colours(ids), ids) for ids in objects]
    for track, path in fragments.items():
        segments_of = read_table(luts[track], "fragment", "segment")
        found = open_volume(path)
        segments = [read_segments(found, (segments_of[0], segments_of[1]), grid, plane) for plane in planes]
        matching = _matching(segments, objects)
        panes[track] = [outlined(matched_colours(ids, matching), ids) for ids in segments]
    output.mkdir(parents=True, exist_ok=True)
    listed = []
    for place, plane in enumerate(planes):
        number = plane.box[0].start
        files = {name: f"section_{number}_{name}.png" for name in panes}
        for name, file in files.items():
            _save(panes[name][place], plane.size, output / file)
        entries = [{"name": name, "file": file} for name, file in files.items()]
        listed.append({"number": number, "voxel_size_nm": list(plane.size), "panes": entries})
    with atomic_file(output / LISTED) as unfinished:
        unfinished.write_text(json.dumps({"sections": listed}, indent=1) + "\n")


def matching_in_sections(raw: Path, truth: Path, fragments: Path, lut: Path) -> Matching:
    """Which segment wears whose colour in the sections that `write_panes` shows."""
    grid, reference, found = open_volume(raw), open_volume(truth), open_volume(fragments)
    segments_of = read_table(lut, "fragment", "segment")
    planes = choose_planes(grid, SECTIONS, cross=False)
    segments = [read_segments(found, (segments_of[0], segments_of[1]), grid, plane) for plane in planes]
    return _matching(segments, [read_plane(reference, grid, plane) for plane in planes])


def _matching(segments: list[np.ndarray], objects: list[np.ndarray]) -> Matching:
    return match_labels(*(np.concatenate([ids.ravel() for ids in group]) for group in (segments, objects)))


def _save(picture: np.ndarray, size: tuple[float, float], output: Path) -> None:
    """Write a picture (rows, columns, 3) in 0..1 with square pixels, in as many colours as a byte can name."""
    image = Image.fromarray(np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8))
    finest = min(size)
    wanted = (round(image.width * size[1] / finest), round(image.height * size[0] / finest))
    image = image.resize(wanted, Image.Resampling.NEAREST) if wanted != image.size else image
    reduced = image.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    with atomic_file(output) as unfinished:
        reduced.save(unfinished, format="png", optimize=True)
