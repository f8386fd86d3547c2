"""From affinities to fragments, one merge tree, look-up tables and the segmentation of any threshold."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sparse2dense.errors import InputError
from sparse2dense.ops.agglomeration import MergeTree, merge_tree
from sparse2dense.ops.fragments import watershed_fragments
from sparse2dense.ops.graph import region_graph
from sparse2dense.ops.overlaps import look_up
from sparse2dense.ops.thresholds import Threshold, threshold_name
from sparse2dense.volumes.blockwise import directory_output
from sparse2dense.volumes.grid import blocks
from sparse2dense.volumes.progress import with_progress
from sparse2dense.volumes.provenance import provenance
from sparse2dense.volumes.tables import read_table, write_table
from sparse2dense.volumes.volume import Volume, create_volume, open_volume

__all__ = ["cut_merge_tree", "make_fragments", "make_merge_tree", "mask_of", "read_merge_tree", "write_segmentation"]

log = logging.getLogger(__name__)


def make_fragments(
    affinities: Path,
    output: Path,
    *,
    per_section: bool = False,
    seed_distance: int | Sequence[int] = 10,
    boundary_threshold: float = 0.5,
    minimum_affinity: float = 0.0,
    debris: int = 0,
    mask: Path | None = None,
) -> None:
    """Split the foreground of affinities into fragments.

    Parameters
    ----------
    affinities
        Volume (c, z, y, x) with the attribute `offsets`.
    output
        Volume to write, uint64 (z, y, x), 0 is background.
    per_section, seed_distance, boundary_threshold, minimum_affinity, debris
        As in `ops.fragments.watershed_fragments`.
    mask
        Volume of the same place and shape; where it is 0 there are no fragments.

    Raises InputError when offsets are missing, or the mask lies elsewhere.
    """
    source = open_volume(affinities)
    settings = {
        "per_section": per_section,
        "seed_distance": seed_distance,
        "boundary_threshold": boundary_threshold,
        "minimum_affinity": minimum_affinity,
        "debris": debris,
    }
    inputs = {"affinities": affinities, **({} if mask is None else {"mask": mask})}
    found = watershed_fragments(
        source[...],
        offsets=_offsets(source),
        per_section=per_section,
        seed_distance=seed_distance,
        boundary_threshold=boundary_threshold,
        minimum_affinity=minimum_affinity,
        debris=debris,
        voxel_size=source.voxel_size,
        mask=None if mask is None else mask_of(source, mask)[...],
    )
    record = provenance("make_fragments", settings, inputs)
    with directory_output(output) as partial:
        volume = create_volume(
            partial, found.shape, "uint64", voxel_size=source.voxel_size, offset=source.offset, labels=True,
            attributes={"provenance": record},
        )  # fmt: skip
        volume[...] = found
    log.info("%s: %d fragments, %.1f %% background", output, found.max(initial=0), 100 * np.mean(found == 0))


def _offsets(affinities: Volume) -> list[list[int]]:
    offsets = affinities.attributes.get("offsets")
    if not offsets or affinities.axes != "czyx":
        raise InputError(
            f"{affinities.path} with axes {affinities.axes} and offsets {offsets} holds no affinities",
            allowed="a volume czyx with the attribute offsets, one (z, y, x) per channel",
            remedy="predict the affinities with a net of this project, or add the attribute",
        )
    return [[int(step) for step in offset] for offset in offsets]


def mask_of(grid: Volume, mask: Path) -> Volume:
    """Open the mask of a volume; InputError when it lies elsewhere or has other voxels."""
    volume = open_volume(mask)
    if volume.spatial_shape != grid.spatial_shape or not np.allclose(volume.extent, grid.extent):
        raise InputError(
            f"mask {mask} covers {volume.extent} nm, {grid.path} {grid.extent} nm",
            allowed="the same place, voxel size and shape",
            remedy="make the mask from the volume it belongs to",
        )
    return volume


def make_merge_tree(affinities: Path, fragments: Path, output: Path, *, merge_function: str = "mean") -> None:
    """Agglomerate fragments once and keep the order in which they merge.

    Parameters
    ----------
    affinities, fragments
        Volumes of the same place and shape; the affinities carry their `offsets`.
    output
        Parquet file of the columns a, b (uint64 fragment ids) and score (float64), a row per merge in the order of
        merging. A fragment that never merges is a row at the end with a = b and an infinite score.
    merge_function
        As in `ops.agglomeration.merge_tree`.
    """
    source, parts = open_volume(affinities), open_volume(fragments)
    offsets = _offsets(source)
    graph = region_graph(parts[...], source[...], offsets=offsets, histogram=merge_function != "mean")
    tree = merge_tree(graph, merge_function)
    alone = np.setdiff1d(tree.fragments, np.concatenate([tree.a, tree.b]))
    record = provenance(
        "make_merge_tree", {"merge_function": merge_function}, {"affinities": affinities, "fragments": fragments}
    )
    write_table(
        output,
        {
            "a": np.concatenate([tree.a, alone]),
            "b": np.concatenate([tree.b, alone]),
            "score": np.concatenate([tree.score, np.full(len(alone), np.inf)]),
        },
        {"method": merge_function, "offsets": offsets, "provenance": record},
    )
    log.info("%s: %d merges of %d fragments, %d alone", output, len(tree.a), len(tree.fragments), len(alone))


def read_merge_tree(path: Path) -> MergeTree:
    """Return the merge tree that `make_merge_tree` wrote."""
    a, b, score = read_table(path, "a", "b", "score")
    merged = a != b
    return MergeTree(np.unique(np.concatenate([a, b])), a[merged], b[merged], score[merged])


def cut_merge_tree(tree: Path, output: Path, *, threshold: Threshold) -> None:
    """Write the segment of every fragment after all merges of a score below `threshold`.

    Parameters
    ----------
    tree
        As `make_merge_tree` writes it.
    output
        Parquet file of the columns fragment and segment (uint64), ordered by fragment; segments are 1..K.
    threshold
        Its exact decimal goes into the metadata.
    """
    fragments, segments = read_merge_tree(tree).cut(threshold)
    name = threshold_name(threshold)
    record = provenance("cut_merge_tree", {"threshold": name}, {"tree": tree})
    write_table(output, {"fragment": fragments, "segment": segments}, {"threshold": name, "provenance": record})
    log.info("%s: %d fragments in %d segments", output, len(fragments), segments.max(initial=0))


def write_segmentation(fragments: Path, lut: Path, output: Path) -> None:
    """Write the segmentation that a look-up table makes of fragments, chunk by chunk.

    Parameters
    ----------
    fragments
        Volume uint64 (z, y, x).
    lut
        Parquet file of the columns fragment, ascending, and segment.
    output
        Volume to write, uint64, in the place of the fragments; 0 stays 0.

    Raises InputError when a fragment is missing in the look-up table.
    """
    source = open_volume(fragments)
    table = read_table(lut, "fragment", "segment")
    record = provenance("write_segmentation", {}, {"fragments": fragments, "lut": lut})
    tiles = blocks(source.shape, source.array.chunks)
    with directory_output(output) as partial:
        target = create_volume(
            partial, source.shape, "uint64", voxel_size=source.voxel_size, offset=source.offset, labels=True,
            chunks=source.array.chunks, attributes={"provenance": record},
        )  # fmt: skip
        for tile in with_progress(tiles, f"segment {output.name}", len(tiles)):
            target[tile.write] = look_up(source[tile.write], *table)
