"""Pictures as they stand in the report: within the page, and small enough for all of them together."""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from sparse2dense.stages.side_by_side import LISTED

__all__ = ["FIGURE_SECTIONS", "Figure", "Picture", "compared", "embed"]

# base64 makes 4/3 of both, and the page stays under 20 MB
PICTURE_BYTES = 11_000_000
PANE_BYTES = 3_000_000
FIGURE_SECTIONS = {
    "segmentation": "Best segmentation",
    "errors": "Worst errors",
    "shapes": "Largest objects in 3D",
    "annotation": "Annotation",
    "paint_next": "Where to paint next",
    "prediction": "2D prediction",
    "affinities": "3D affinities",
    "fragments": "Fragments",
    "pseudo_truth": "Pseudo ground truth",
    "scores": "Scores",
    "losses": "Training",
    "snapshots": "Samples near the end of training",
    "resources": "Time and memory",
}
Figure = tuple[str, str, Path]


@dataclass(frozen=True)
class Picture:
    """A picture as it stands in the page; the foremost are shown, the others can be opened."""

    title: str
    caption: str
    foremost: bool
    source: str  # a data URI
    width: int
    height: int


def embed(figures: Mapping[str, Sequence[Figure]], tests: set[str]) -> dict[str, list[Picture]]:
    """The pictures of every section as data URIs, made smaller where all together would make the page too large.

    Pictures in directories of the volumes `tests` are the foremost; in a section without any, all are.
    """
    files = [figure[2] for group in figures.values() for figure in group]
    total = sum(file.stat().st_size for file in files)
    share = PICTURE_BYTES // len(files) if total > PICTURE_BYTES else total
    embedded = {}
    for section in FIGURE_SECTIONS:
        group = figures.get(section, ())
        tested = [bool(tests & set(file.parts)) for _, _, file in group]
        embedded[section] = [
            Picture(title, caption, first or not any(tested), *data_uri(file, share))
            for (title, caption, file), first in zip(group, tested, strict=True)
        ]
    return embedded


def data_uri(file: Path, limit: int) -> tuple[str, int, int]:
    """A picture as data URI with its width and height in pixels; a file above `limit` bytes becomes a smaller JPEG."""
    content, kind = file.read_bytes(), "png"
    with Image.open(io.BytesIO(content)) as opened:
        picture = opened.convert("RGB") if len(content) > limit else opened.copy()
    while len(content) > limit and min(picture.size) > 32:
        buffer = io.BytesIO()
        picture.save(buffer, format="jpeg", quality=80)
        content, kind = buffer.getvalue(), "jpeg"
        if len(content) > limit:
            picture = picture.resize((picture.width * 4 // 5, picture.height * 4 // 5), Image.Resampling.LANCZOS)
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}", picture.width, picture.height


def compared(directories: Sequence[Path]) -> list[dict[str, Any]]:
    """The sections of every volume that are shown side by side: `volume`, `names` of the panes, and `sections`.

    A section has `number`, `voxel_size_nm` (y, x) and `panes`: pictures titled by their names. `directories` are what
    `side_by_side.write_panes` leaves, as `<volume>/figures/side_by_side`.
    """
    listed = {directory: json.loads((directory / LISTED).read_text())["sections"] for directory in directories}
    many = sum(len(section["panes"]) for sections in listed.values() for section in sections)
    volumes = []
    for directory, sections in listed.items():
        volume = directory.parts[-3]
        shown = []
        for section in sections:
            panes = [
                Picture(
                    pane["name"],
                    f"{pane['name']}, section {section['number']} of {volume}",
                    True,
                    *data_uri(directory / pane["file"], PANE_BYTES // many),
                )
                for pane in section["panes"]
            ]
            shown.append({"number": section["number"], "voxel_size_nm": section["voxel_size_nm"], "panes": panes})
        volumes.append({"volume": volume, "names": [pane.title for pane in shown[0]["panes"]], "sections": shown})
    return volumes
