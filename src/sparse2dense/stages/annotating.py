"""The annotation that the 2D net may see: labels, mask and scope, and tables of what they hold; the tissue mask."""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from sparse2dense.errors import InputError
from sparse2dense.ops import annotation
from sparse2dense.ops.annotation import Annotation, Zero
from sparse2dense.ops.tissue import tissue_halo, tissue_mask
from sparse2dense.stages.sourcecode import resume_key
from sparse2dense.volumes.blockwise import run_blockwise
from sparse2dense.volumes.grid import Block, blocks, chunk_shape, grow, shard_shape, snap_up
from sparse2dense.volumes.progress import with_progress
from sparse2dense.volumes.provenance import provenance
from sparse2dense.volumes.replacing import atomic_file
from sparse2dense.volumes.volume import Volume, create_volume, open_volume

__all__ = ["DRAWS", "annotate", "mask_tissue", "tile_shape"]

log = logging.getLogger(__name__)

DRAWS = ("painted", "sections", "disks", "objects", "fraction", "dense")
ZEROS = ("unlabelled", "background")
VOXELS_PER_BLOCK = 2**22  # 32 MiB of ids


@dataclass(frozen=True)
class Drawing:
    """What is drawn of a source, decided for the whole volume: `apply` needs no more than a block of labels."""

    draw: str
    zero: Zero
    sections: tuple[int, ...] | None
    radius: int
    centres: np.ndarray | None = None
    ids: np.ndarray | None = None
    removed: np.ndarray | None = None

    def touches(self, block: Block) -> bool:
        """Whether the annotation can say anything in a block."""
        numbers = self.sections if self.centres is None else self.centres[:, 0]
        return numbers is None or any(block.write[0].start <= n < block.write[0].stop for n in numbers)

    def apply(self, labels: np.ndarray, mask: np.ndarray | None, block: Block) -> Annotation:
        """Labels and mask of a block."""
        begin = tuple(side.start for side in block.write)
        if self.centres is not None:
            drawn, spoken = annotation.disks(labels, self.centres, self.radius, zero=self.zero, begin=begin)
        elif self.ids is not None:
            drawn, spoken = annotation.objects(labels, self.ids)
        else:
            drawn, spoken = annotation.painted(labels, mask, zero=self.zero)
        if self.sections is not None:
            # The mask has decided already where the annotation speaks; a 0 that is left there is background.
            inside, _ = annotation.sections(spoken, self.sections, first_section=begin[0])
            drawn, spoken = annotation.painted(drawn, inside)
        if self.removed is not None:
            drawn, spoken = annotation.remove_labels(drawn, spoken, self.removed)
        return drawn, spoken

    def scope(self, mask: np.ndarray | None, block: Block) -> np.ndarray:
        """Where in a block an object that goes on would be labelled: only there does the end of its paint say a thing.

        Everywhere, because paint ends with the object; but only in the disks, and only where a given mask speaks.
        """
        shape = tuple(side.stop - side.start for side in block.write)
        if self.centres is not None:
            begin = tuple(side.start for side in block.write)
            return annotation.in_disks(shape, self.centres, self.radius, begin=begin).astype(np.uint8)
        return np.ones(shape, np.uint8) if mask is None else (mask != 0).astype(np.uint8)


def annotate(
    source: Path,
    labels: Path,
    mask: Path,
    scope: Path,
    statistics_csv: Path,
    totals_json: Path,
    *,
    draw: str,
    zero: str,
    volume: str = "<name>",
    sections: Sequence[int] | None = None,
    count: int | None = None,
    radius: int | None = None,
    objects: int | None = None,
    parts: int | None = None,
    part: int | None = None,
    seed: int = 0,
    minimum_size: int = 0,
    painted_mask: Path | None = None,
    workers: int = 1,
) -> None:
    """Draw the annotation of a volume and count what it holds.

    Nothing holds the whole volume: it is read block by block, once to count what would be drawn, then to write it.

    Parameters
    ----------
    source
        Painted labels for `draw="painted"`, dense truth for all else (z, y, x).
    labels, mask, scope
        Volumes to write in the frame of `source`: ids (uint64), 1 where the annotation speaks (uint8), and 1 where an
        object that goes on would be labelled (uint8; said of sections that are annotated).
    statistics_csv, totals_json
        Tables to write: a row per object (object, voxels, sections, first_section, last_section); their sums.
    draw, zero, sections, count, radius, objects, parts, part, seed, minimum_size
        The block `annotation` of a volume; `sections` restricts every way of drawing.
    volume
        Name of the volume in the configuration, for messages.
    painted_mask
        1 where painted labels speak; decides what 0 means in place of `zero`.
    workers
        Processes that write.

    Raises
    ------
    InputError
        Naming the key of the configuration: an unknown way of drawing, a missing setting, sections, objects or parts
        that the source doesn't have, or an annotation without a labelled voxel.
    """
    settings = {
        "draw": draw, "zero": zero, "sections": sections, "count": count, "radius": radius, "objects": objects,
        "parts": parts, "part": part, "seed": seed, "minimum_size": minimum_size,
    }  # fmt: skip
    config = _Config(f"volumes.{volume}.annotation", settings)
    volume_in = open_volume(source)
    paint_mask = _open_mask(painted_mask, volume_in, volume) if draw == "painted" else None
    config.check(volume_in.shape)
    tile = tile_shape(volume_in.shape, volume_in.voxel_size)
    plan = blocks(volume_in.shape, tile)
    drawing = _decide(config, volume_in, plan)
    counts = _count(volume_in, paint_mask, drawing, plan, "count annotated voxels")
    statistics = annotation.label_statistics(counts)
    if minimum_size > 1:
        removed = annotation.small_objects(statistics, minimum_size)
        drawing = replace(drawing, removed=removed)
        counts = counts[~counts["object"].isin(removed)]
        statistics = annotation.label_statistics(counts)
    if statistics.empty:
        config.refuse(
            "draw", "annotations with at least one labelled voxel", "choose other sections, or a smaller minimum_size"
        )

    inputs = {"source": source} | ({"painted_mask": painted_mask} if painted_mask else {})
    record = provenance("annotate", settings, inputs)
    _write(volume_in, paint_mask, (labels, mask, scope), drawing, tile, record, workers)
    with atomic_file(statistics_csv) as file:
        statistics.to_csv(file, index=False)
    with atomic_file(totals_json) as file:
        file.write_text(json.dumps(_totals(counts, volume_in.shape) | {"provenance": record}, indent=2) + "\n")


class _Config:
    """The block `annotation` of one volume, and how to complain about it."""

    def __init__(self, where: str, settings: dict[str, Any]) -> None:
        self.where, self.settings = where, settings

    def refuse(self, key: str, allowed: str, remedy: str | None = None) -> NoReturn:
        """Raise InputError about a key."""
        raise InputError(
            f"{self.where}.{key}: {self.settings[key]!r}"
            + ("" if key == "draw" else f" for draw: {self.settings['draw']}"),
            allowed=allowed,
            remedy=remedy or f"correct {self.where}.{key} in the config",
        )

    def check(self, shape: Sequence[int]) -> None:
        """Refuse what can be seen to be wrong without reading the source."""
        settings = self.settings
        draw, chosen = settings["draw"], settings["sections"]
        if draw not in DRAWS:
            self.refuse("draw", ", ".join(DRAWS))
        if settings["zero"] not in ZEROS:
            self.refuse("zero", ", ".join(ZEROS))
        if draw == "sections" and not chosen:
            self.refuse("sections", "a list of section numbers")
        if chosen is not None and any(not 0 <= number < shape[0] for number in chosen):
            self.refuse("sections", f"numbers from 0 to {shape[0] - 1}, the sections that the labels have")
        for key in {"disks": ("count", "radius"), "objects": ("objects",), "fraction": ("parts",)}.get(draw, ()):
            if settings[key] is None or settings[key] < 1:
                self.refuse(key, "a whole number of at least 1")
        if draw == "fraction" and (settings["part"] is None or not 0 <= settings["part"] < settings["parts"]):
            self.refuse("part", f"0 to {settings['parts'] - 1}, because parts: {settings['parts']}")


def _decide(config: _Config, source: Volume, plan: Sequence[Block]) -> Drawing:
    """Choose disks or objects for the whole volume."""
    settings = config.settings
    chosen = None if settings["sections"] is None else tuple(sorted(set(settings["sections"])))
    drawing = Drawing(settings["draw"], settings["zero"], chosen, settings["radius"] or 0)
    rng = np.random.default_rng(settings["seed"])
    if drawing.draw == "disks":
        centres = annotation.draw_disks(source.shape, settings["count"], rng, chosen=chosen)
        return replace(drawing, centres=centres)
    if drawing.draw not in ("objects", "fraction"):
        return drawing
    everything = _count(source, None, drawing, plan, "count objects")
    statistics = annotation.label_statistics(everything)
    if drawing.draw == "objects":
        if settings["objects"] > len(statistics):
            config.refuse("objects", f"at most {len(statistics)}, the objects that the truth has there")
        ids = annotation.draw_objects(statistics, settings["objects"], rng)
    else:
        if settings["parts"] > len(statistics):
            config.refuse("parts", f"at most {len(statistics)}, the objects that the truth has there")
        ids = annotation.split_objects(statistics, settings["parts"])[settings["part"]]
    return replace(drawing, ids=ids)


def tile_shape(shape: Sequence[int], voxel_size: Sequence[float]) -> tuple[int, ...]:
    """The shape of blocks of whole chunks with a bounded number of voxels."""
    chunks = chunk_shape(shape, voxel_size)
    side = chunks
    while True:
        larger = (side[0], 2 * side[1], 2 * side[2])
        if np.prod(larger) > VOXELS_PER_BLOCK or all(a >= b for a, b in zip(side[1:], shape[1:], strict=True)):
            return snap_up(side, chunks)
        side = larger


def _count(source: Volume, mask: Volume | None, drawing: Drawing, plan: Sequence[Block], label: str) -> pd.DataFrame:
    """Voxels per object and section of what is drawn."""

    def parts() -> Iterator[pd.DataFrame]:
        touched = [block for block in plan if drawing.touches(block)]
        for block in with_progress(touched, label, len(touched)):
            drawn, _ = drawing.apply(source[block.write], None if mask is None else mask[block.write], block)
            yield annotation.count_labels(drawn, first_section=block.write[0].start)

    return annotation.sum_counts(parts())


def _write(
    source: Volume,
    mask: Volume | None,
    outputs: tuple[Path, Path, Path],
    drawing: Drawing,
    tile: Sequence[int],
    record: dict[str, Any],
    workers: int,
) -> None:
    """Write labels, mask and scope block by block."""
    geometry: dict[str, Any] = {"voxel_size": source.voxel_size, "offset": source.offset}
    geometry["attributes"] = {"provenance": record}
    shape, source_path, mask_path = source.shape, source.path, None if mask is None else mask.path
    geometry["shards"] = shard_shape(shape, tile, chunk_shape(shape, source.voxel_size))

    def create(paths: Sequence[Path]) -> None:
        create_volume(paths[0], shape, np.uint64, labels=True, **geometry)
        create_volume(paths[1], shape, np.uint8, **geometry)
        create_volume(paths[2], shape, np.uint8, **geometry)

    def work(paths: Sequence[Path], block: Block) -> None:
        if not drawing.touches(block):
            return  # a new store holds 0 everywhere
        spoken = None if mask_path is None else open_volume(mask_path)[block.write]
        drawn = drawing.apply(open_volume(source_path)[block.write], spoken, block)
        for path, values in zip(paths, (*drawn, drawing.scope(spoken, block)), strict=True):
            open_volume(path, "r+")[block.write] = values

    key = resume_key(__name__, record, (path for path in (source_path, mask_path) if path is not None))
    run_blockwise(outputs, key, create, work, blocks(shape, tile), label="annotate", workers=workers)


def _open_mask(path: Path | None, source: Volume, volume: str) -> Volume | None:
    if path is None:
        return None
    mask = open_volume(path)
    if mask.shape != source.shape or mask.offset != source.offset or mask.voxel_size != source.voxel_size:
        raise InputError(
            f"volumes.{volume}.painted_mask: shape {mask.shape}, offset {mask.offset}, voxel size {mask.voxel_size}",
            allowed=f"those of painted: {source.shape}, {source.offset}, {source.voxel_size}",
            remedy="give a mask of the same crop as the painted labels",
        )
    return mask


def _totals(counts: pd.DataFrame, shape: Sequence[int]) -> dict[str, Any]:
    """Sums over the whole annotation."""
    voxels = int(counts["voxels"].sum())
    return {
        "sections": int(counts["section"].nunique()),
        "objects": int(counts["object"].nunique()),
        "voxels": voxels,
        "share_of_volume": voxels / float(np.prod(np.asarray(shape, float))),
    }


def mask_tissue(raw: Path, output: Path, *, radius: int, iterations: int, workers: int = 1) -> None:
    """Write where raw (z, y, x) shows tissue, uint8, section by section; blocks leave no seams.

    Parameters
    ----------
    raw
        Image volume, 0 where nothing was imaged.
    output
        Volume to write, in the frame of raw.
    radius, iterations
        See `ops.tissue.tissue_mask`; radius in voxels.
    workers
        Processes.
    """
    source = open_volume(raw)
    settings = {"radius": radius, "iterations": iterations}
    record = provenance("tissue", settings, {"raw": raw})
    halo = (0, tissue_halo(radius, iterations), tissue_halo(radius, iterations))
    shape, voxel_size, offset = source.shape, source.voxel_size, source.offset
    tile = tile_shape(shape, voxel_size)
    shards = shard_shape(shape, tile, chunk_shape(shape, voxel_size))

    def create(paths: Sequence[Path]) -> None:
        create_volume(
            paths[0], shape, np.uint8, voxel_size=voxel_size, offset=offset, shards=shards,
            attributes={"provenance": record},
        )  # fmt: skip

    def work(paths: Sequence[Path], block: Block) -> None:
        image = open_volume(raw).read(grow(block.write, halo), mode="constant")
        closed = np.stack([tissue_mask(section, radius=radius, iterations=iterations) for section in image])
        open_volume(paths[0], "r+")[block.write] = closed[block.inner]

    key = resume_key(__name__, record, (raw,))
    run_blockwise(output, key, create, work, blocks(shape, tile, halo), label="tissue mask", workers=workers)
