"""What to annotate next: every region of a volume measured, block by block, and the best of all volumes in a table."""

import csv
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse2dense.ops.disagreement import affinity_error, affinity_halo
from sparse2dense.ops.overlaps import look_up
from sparse2dense.ops.regions import (
    LAGS,
    MEASURED,
    TEXTURES,
    RegionSums,
    binary_entropy,
    correlations,
    describe_regions,
    lag_sums,
    merge_regions,
    region_edges,
    sum_regions,
)
from sparse2dense.ops.suggestions import PARTS, Regions, Suggestion, suggest
from sparse2dense.stages.comparing import shared_boxes
from sparse2dense.stages.segmenting import offsets_of
from sparse2dense.stages.sourcecode import resume_key
from sparse2dense.volumes.blockwise import Part, run_blockwise
from sparse2dense.volumes.grid import Block, Box, blocks, clip, moved, within
from sparse2dense.volumes.provenance import provenance
from sparse2dense.volumes.replacing import atomic_file
from sparse2dense.volumes.tables import read_table, table_facts, write_table
from sparse2dense.volumes.volume import Volume, open_beside, open_volume

__all__ = ["KINDS", "SUGGESTED", "measure_regions", "suggest_painting"]

log = logging.getLogger(__name__)

PLACE = ("section", "row", "column")
KINDS = ("section", "region")
SIDES = ("begin", "end")
SUGGESTED = (
    "kind", "rank", "volume", "section", "section_nm",
    *(f"{side}_{axis}{unit}" for unit in ("", "_nm") for side in SIDES for axis in "yx"),
    "gain", *PARTS, *(f"{part}_score" for part in PARTS), "closeness",
)  # fmt: skip
"""Columns of the table of suggestions."""


def measure_regions(
    raw: Path,
    affinities: Path,
    fragments: Path,
    lut: Path,
    output: Path,
    *,
    mask: Path | None = None,
    tissue: Path | None = None,
    region: Sequence[int] = (256, 256),
    block_shape: Sequence[int] = (128, 256, 256),
    workers: int = 1,
    part: Part | None = None,
) -> None:
    """Measure how sure a net is in every region of every section, whether it is believed, and what stands there.

    Parameters
    ----------
    raw
        Image volume.
    affinities
        What the net predicted in its place; carries its `offsets`.
    fragments, lut
        In the same place, and the segment of each, as `agglomerating.make_lut` writes it.
    output
        Parquet file, a row per region: section, row, column and `ops.regions.MEASURED`. Metadata: shape, voxel_size
        and offset (nm) of raw; region; correlations, of sections `ops.regions.LAGS` apart.
    mask
        1 where the annotation speaks; may be a crop of raw with its own offset. None where nothing is annotated.
    tissue
        Not 0 where voxels count, in the place of raw; None where all do.
    region
        About how many voxels (y, x) a region has: sections are divided evenly.
    block_shape
        Voxels (z, y, x) of a block; no matter for the result.
    workers, part
        As in `agglomerating.make_graph`.

    Raises InputError when volumes lie elsewhere, or the affinities carry no offsets.
    """
    grid = open_volume(raw)
    offsets = offsets_of(open_beside(grid, affinities))
    others = [path for path in (fragments, tissue) if path is not None]
    for path in others:
        open_beside(grid, path)
    steps = None if mask is None else _steps(grid, open_volume(mask))
    segments_of = read_table(lut, "fragment", "segment")
    height, width = (region_edges(length, side) for length, side in zip(grid.shape[1:], region, strict=True))
    inputs = {"raw": raw, "affinities": affinities, "fragments": fragments, "lut": lut}
    inputs |= {name: path for name, path in {"mask": mask, "tissue": tissue}.items() if path is not None}
    record = provenance("measure_regions", {"region": list(region)}, inputs)

    def create(paths: Sequence[Path]) -> None:
        _pieces_beside(paths).mkdir()

    def work(paths: Sequence[Path], block: Block) -> None:
        begin = [side.start for side in block.write]
        image, counted = _image_behind(open_volume(raw), tissue, block.write)
        depth = block.write_shape[0]
        read = clip(block.read, grid.shape)
        inner = within(block.write, read)
        predicted = open_volume(affinities)[(slice(None), *read)]
        segments = look_up(open_volume(fragments)[read], *segments_of)
        error = affinity_error(predicted, segments, offsets, inner)
        speaks = np.zeros(block.write_shape, np.uint8)
        if mask is not None and steps is not None:
            speaks = open_volume(mask).read(moved(block.write, steps), mode="constant")
        entropy = binary_entropy(predicted[(slice(None), *inner)])
        found = sum_regions(image[:depth], entropy, error, counted[:depth], speaks, begin, (height, width))
        behind = image[:, : -max(TEXTURES), : -max(TEXTURES)]
        alike = lag_sums(behind, counted, begin[0], depth)
        write_regions(found, _pieces_beside(paths) / f"{block.index}.parquet", {"lags": alike.tolist()})

    def conclude(paths: Sequence[Path]) -> None:
        files = sorted(_pieces_beside(paths).glob("*.parquet"))
        sums = np.array([table_facts(file)["lags"] for file in files], np.int64).sum(axis=0)
        alike = correlations(sums).tolist()
        facts: dict[str, Any] = {"shape": grid.shape, "voxel_size": grid.voxel_size, "offset": grid.offset}
        facts |= {"region": list(region), "correlations": alike, "provenance": record}
        write_regions(merge_regions([read_regions(file) for file in files]), paths[0], facts)
        log.info("%s: sections %s apart correlate by %s", output, LAGS, [round(value, 2) for value in alike])

    key = resume_key(__name__, record, inputs.values())
    tiles = blocks(grid.shape, block_shape, affinity_halo(offsets))
    label = f"regions {output.parent.parent.name}"
    run_blockwise(output, key, create, work, tiles, label=label, workers=workers, conclude=conclude, part=part)


def _steps(grid: Volume, mask: Volume) -> tuple[int, ...]:
    """Return how a voxel of raw is moved to where it is in the mask."""
    here, there = shared_boxes(grid, mask)
    return tuple(theirs.start - ours.start for ours, theirs in zip(here, there, strict=True))


def _image_behind(raw: Volume, tissue: Path | None, box: Box) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the image of a box with what is behind it, sections and voxels, and which voxels count without the latter.

    Sections end where the volume does; voxels are mirrored there.
    """
    sections, down, across = box
    stack = slice(sections.start, min(sections.stop + max(LAGS), raw.shape[0]))
    beyond = max(TEXTURES)
    image = raw.read((stack, slice(down.start, down.stop + beyond), slice(across.start, across.stop + beyond)))
    if tissue is None:
        return image, np.ones((len(image), down.stop - down.start, across.stop - across.start), np.uint8)
    return image, open_volume(tissue)[stack, down, across]


def _pieces_beside(paths: Sequence[Path]) -> Path:
    """Return the folder of the blocks' tables, which is gone when the output is whole."""
    return paths[0].with_name("pieces")


def write_regions(regions: RegionSums, path: Path, facts: Mapping[str, Any]) -> None:
    """Write what was measured of regions as a table."""
    columns = {name: getattr(regions, name) for name in PLACE}
    write_table(path, columns | dict(zip(MEASURED, regions.sums.T, strict=True)), facts)


def read_regions(path: Path) -> RegionSums:
    """Return the table that `write_regions` wrote."""
    section, row, column, *sums = read_table(path, *PLACE, *MEASURED)
    return RegionSums(section, row, column, np.stack(sums, axis=1))


def suggest_painting(tables: Mapping[str, Path], output: Path, *, count: int = 10) -> None:
    """Write which sections, and which regions of sections, are most worth annotating next.

    Parameters
    ----------
    tables
        By the name of its volume, what `measure_regions` wrote; all annotation of these volumes is known to the choice.
    output
        CSV file of the columns `SUGGESTED`, sections first, best first. A section is that of raw; its box, or that of
        the region, is in voxels of raw, up to and without `end`, and in nm. What follows is explained in
        `ops.suggestions.Suggestion`.
    count
        How many sections, and how many regions, of a volume are suggested at most.
    """
    names, facts = list(tables), [table_facts(path) for path in tables.values()]
    edges = [
        [region_edges(length, side) for length, side in zip(fact["shape"][1:], fact["region"], strict=True)]
        for fact in facts
    ]
    regions = _together([read_regions(path) for path in tables.values()], edges)
    alike = [np.asarray(fact["correlations"], np.float64) for fact in facts]
    with atomic_file(output) as partial, partial.open("w", newline="") as file:
        rows = csv.DictWriter(file, SUGGESTED, lineterminator="\n")
        rows.writeheader()
        for kind in KINDS:
            chosen = suggest(regions, alike, count, whole_sections=kind == "section")
            for rank, suggestion in enumerate(chosen, start=1):
                number = int(regions.volume[suggestion.regions[0]])
                head = {"kind": kind, "rank": rank, "volume": names[number]}
                rows.writerow(head | _row(suggestion, regions, edges[number], facts[number]))
            log.info("%s: %d suggestions of a %s", output, len(chosen), kind)


def _together(tables: Sequence[RegionSums], edges: Sequence[Sequence[NDArray[np.int64]]]) -> Regions:
    """Return the regions of all volumes."""
    parts = []
    for number, (table, (rows, columns)) in enumerate(zip(tables, edges, strict=True)):
        counted, annotated = (table.sums[:, MEASURED.index(name)] for name in ("counted", "annotated"))
        voxels = np.diff(rows)[table.row] * np.diff(columns)[table.column]
        place = (np.full(len(table), number), table.section, table.row, table.column)
        parts.append((*place, voxels, counted, annotated > 0, *describe_regions(table)))
    if not parts:
        none, nothing = np.zeros(0, np.int64), np.zeros(0)
        return Regions(*(none,) * 6, none > 0, nothing, nothing, np.zeros((0, 1)))
    return Regions(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _row(
    suggestion: Suggestion, regions: Regions, edges: Sequence[NDArray[np.int64]], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what is written of a suggestion: where it is, and what speaks for it."""
    places = suggestion.regions
    section = int(regions.section[places[0]])
    sizes, corner = facts["voxel_size"], facts["offset"]
    row: dict[str, Any] = {"section": section, "section_nm": corner[0] + section * sizes[0]}
    for axis, name in enumerate("yx"):
        met = (regions.row, regions.column)[axis][places]
        for side, voxel in zip(SIDES, (edges[axis][met.min()], edges[axis][met.max() + 1]), strict=True):
            row[f"{side}_{name}"] = int(voxel)
            row[f"{side}_{name}_nm"] = corner[axis + 1] + int(voxel) * sizes[axis + 1]
    return row | dict(_numbers(suggestion))


def _numbers(suggestion: Suggestion) -> Iterator[tuple[str, float]]:
    """Yield what is known of a suggestion, rounded to what its sums hold."""
    yield "gain", round(suggestion.gain, 6)
    for part in PARTS:
        yield part, round(suggestion.parts[part], 6)
        yield f"{part}_score", round(suggestion.scores[part], 6)
    yield "closeness", round(suggestion.closeness, 6)
