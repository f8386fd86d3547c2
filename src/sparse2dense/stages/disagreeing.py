"""How far segmentations contradict what the nets predicted: at every threshold, and at one per object and section."""

import csv
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.ops.disagreement import (
    affinity_error,
    affinity_halo,
    descriptor_error,
    descriptor_halo,
    mean_errors,
    sum_errors,
)
from sparse2dense.ops.far_links import FarLinks, far_channels, far_links
from sparse2dense.ops.graph import scale_of
from sparse2dense.ops.overlaps import look_up
from sparse2dense.ops.thresholds import Threshold, threshold_name
from sparse2dense.stages.agglomerating import read_partitions
from sparse2dense.stages.segmenting import offsets_of
from sparse2dense.stages.sourcecode import resume_key
from sparse2dense.volumes.blockwise import Part, run_blockwise
from sparse2dense.volumes.grid import Block, Box, blocks, clip, snap_up, within
from sparse2dense.volumes.provenance import provenance
from sparse2dense.volumes.replacing import atomic_file
from sparse2dense.volumes.sorted_pieces import pieces_beside, save_rows, summed_rows
from sparse2dense.volumes.tables import growing_table, read_table, table_facts
from sparse2dense.volumes.volume import Volume, open_beside, open_volume

__all__ = ["choose_agreeing", "count_links", "measure_disagreement", "read_sweep", "sweep_disagreement"]

log = logging.getLogger(__name__)

LINKS = ("u", "v", "pairs", "total")
COLUMNS = ("volume", "track", "threshold", "disagreement_split", "disagreement_merge", "disagreement")
OBJECTS = ("prediction", "segment", "disagreement", "voxels")
SECTIONS = ("prediction", "section", "disagreement", "voxels")


def count_links(
    affinities: Path,
    fragments: Path,
    output: Path,
    *,
    block_shape: Sequence[int] = (128, 256, 256),
    workers: int = 1,
    part: Part | None = None,
) -> None:
    """Count and sum the affinities of far channels between every two fragments, block by block.

    The table doesn't depend on the blocks, and every threshold is judged from it alone.

    Parameters
    ----------
    affinities, fragments
        Volumes of the same place and shape; the affinities carry their `offsets`.
    output
        Parquet file of the columns u, v, pairs and total, see `ops.far_links.FarLinks`; metadata: scale, offsets.
    block_shape, workers, part
        As in `agglomerating.make_graph`.

    Raises InputError when offsets are missing, or the fragments lie elsewhere.
    """
    source = open_volume(affinities)
    offsets, shape = offsets_of(source), source.spatial_shape
    open_beside(source, fragments)
    channels = far_channels(offsets, source.voxel_size)
    far = [offsets[channel] for channel in channels]
    inputs = {"affinities": affinities, "fragments": fragments}
    record = provenance("count_links", {"offsets": far}, inputs)

    def create(paths: Sequence[Path]) -> None:
        pieces_beside(paths[0]).mkdir()

    def work(paths: Sequence[Path], block: Block) -> None:
        values, read = open_volume(affinities), clip(block.read, shape)
        predicted = np.stack([values[(channel, *read)] for channel in channels])
        found = far_links(open_volume(fragments)[read], predicted, far, within(block.write, read))
        save_rows({name: getattr(found, name) for name in LINKS}, pieces_beside(paths[0]), "links", block.index)

    tiles = blocks(shape, block_shape, np.abs(far).max(axis=0).tolist())

    def conclude(paths: Sequence[Path]) -> None:
        linked = voxels = 0
        facts = {"scale": scale_of(source.dtype), "offsets": far, "provenance": record}
        with growing_table(paths[0], facts) as append:
            for links in summed_rows(pieces_beside(paths[0]), "links", len(tiles), LINKS[:2]):
                append(links)
                linked, voxels = linked + len(links["u"]), voxels + int(links["pairs"].sum())
        log.info("%s: %d pairs of fragments, %d of voxels", output, linked, voxels)

    key = resume_key(__name__, record, inputs.values())
    label = f"far links {output.parent.name}"
    run_blockwise(output, key, create, work, tiles, label=label, workers=workers, conclude=conclude, part=part)


def read_links(path: Path) -> FarLinks:
    """Return the table that `count_links` wrote."""
    u, v, pairs, total = read_table(path, *LINKS)
    return FarLinks(u, v, pairs, total, table_facts(path)["scale"])


def sweep_disagreement(
    links: Path,
    partitions: Path,
    output: Path,
    *,
    thresholds: Sequence[Threshold],
    volume: str,
    track: str,
    repulsion: float | None = None,
) -> None:
    """Write how far the segmentation of every threshold contradicts the far affinities.

    Parameters
    ----------
    links
        As `count_links` writes it.
    partitions, repulsion
        As in `agglomerating.read_partitions`.
    output
        CSV file, a row per threshold: volume, track, threshold (an exact decimal), disagreement_split and
        disagreement_merge as `ops.far_links.FarLinks.disagreement` returns them, disagreement (their sum). All are 0
        where no two fragments are linked: nothing contradicts.
    thresholds
        Merge thresholds.
    volume, track
        What is judged, for the first columns.
    """
    table, known = read_links(links), read_partitions(partitions, repulsion)
    with atomic_file(output) as partial, partial.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(COLUMNS)
        for threshold in map(threshold_name, thresholds):
            split, merge = table.disagreement(*known.cut(threshold)) if len(table) else (0.0, 0.0)
            rows.writerow((volume, track, threshold, split, merge, split + merge))


def read_sweep(path: Path) -> list[dict[str, Any]]:
    """Return the rows that `sweep_disagreement` wrote, numbers as floats, the threshold as its exact decimal."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or set(COLUMNS) - set(rows[0]):
        raise InputError(
            f"{path} holds no disagreement",
            allowed=f"a CSV file of the columns {', '.join(COLUMNS)}",
            remedy="let the workflow make the file: ask for it by name",
        )
    return [{**row, **{name: float(row[name]) for name in COLUMNS[3:]}} for row in rows]


def choose_agreeing(sweeps: Sequence[Path]) -> dict[str, Any]:
    """Choose the threshold that contradicts the far affinities least; no truth and no annotation is looked at.

    Parameters
    ----------
    sweeps
        As `sweep_disagreement` writes them of a track, a file per volume.

    Returns
    -------
    dict
        threshold (of equally good ones the lowest), reason, disagreement (mean over the volumes) and volumes.

    Raises InputError when no threshold is in all files.
    """
    found: dict[str, list[float]] = {}
    volumes = []
    for path in sweeps:
        rows = read_sweep(path)
        volumes.append(rows[0]["volume"])
        for row in rows:
            found.setdefault(row["threshold"], []).append(row["disagreement"])
    means = {name: float(np.mean(values)) for name, values in found.items() if len(values) == len(sweeps)}
    if not means:
        raise InputError(
            f"no threshold is in all of {', '.join(map(str, sweeps))}",
            allowed="at least one threshold that is judged on every volume",
            remedy="delete the files: they are made again with the same thresholds",
        )
    threshold = min(means, key=lambda name: (means[name], float(name)))
    least = f"{'a mean of ' if len(sweeps) > 1 else ''}{means[threshold]:.4f}"
    return {
        "threshold": float(threshold),
        "reason": f"lowest disagreement with the affinities that reach farthest, {least}, on {', '.join(volumes)}",
        "disagreement": means[threshold],
        "volumes": volumes,
    }


def measure_disagreement(
    fragments: Path,
    lut: Path,
    predictions: Mapping[str, Path],
    outputs: tuple[Path, Path],
    *,
    downsample: int = 1,
    block_shape: Sequence[int] = (128, 256, 256),
    workers: int = 1,
    part: Part | None = None,
) -> None:
    """Write how far every object and every section of a segmentation contradicts what nets predicted.

    Parameters
    ----------
    fragments, lut
        Volume of fragments, and the segment of each as `agglomerating.make_lut` writes it.
    predictions
        By name, volumes of affinities, which carry their `offsets`, or of descriptors, which carry their `sigma`, in
        the place of the fragments.
    outputs
        Parquet file of the objects, with the columns prediction, segment (0 is background), disagreement and voxels;
        CSV file of the sections, with section instead of segment. The disagreement is the mean absolute difference to
        the affinities or descriptors of the segmentation, from 0 to 1, over all channels and over the voxels that
        count: for descriptors those in segments, for affinities those with a partner in the volume.
    downsample
        Of the descriptors that the net was trained with.
    block_shape
        Voxels (z, y, x) of a block, rounded up to multiples of `downsample`; no matter for the result.
    workers, part
        As in `agglomerating.make_graph`.

    Raises InputError when a prediction lies elsewhere, or carries neither offsets nor sigma.
    """
    grid = open_volume(fragments)
    halos = [_halo(open_beside(grid, path), downsample) for path in predictions.values()]
    segments_of = read_table(lut, "fragment", "segment")
    inputs = {"fragments": fragments, "lut": lut, **predictions}
    record = provenance("measure_disagreement", {"downsample": downsample}, inputs)

    def create(paths: Sequence[Path]) -> None:
        pieces_beside(paths[0]).mkdir()

    def work(paths: Sequence[Path], block: Block) -> None:
        read = clip(block.read, grid.shape)
        inner = within(block.write, read)
        segments = look_up(open_volume(fragments)[read], *segments_of)
        sums = []
        for path in predictions.values():
            error = _error(open_volume(path), read, segments, inner, downsample)
            sums.append(sum_errors(error, segments[inner], block.write[0].start))
            del error
        _save_sums("segment", [found.object_sums() for found in sums], pieces_beside(paths[0]), block.index)
        _save_sums("section", [found.section_sums() for found in sums], pieces_beside(paths[0]), block.index)

    step = (downsample,) * 3
    halo = snap_up(np.max(halos, axis=0).tolist(), step)
    tiles = blocks(grid.shape, snap_up(block_shape, step), halo)
    names = np.array(list(predictions), object)

    def conclude(paths: Sequence[Path]) -> None:
        pieces, errors = pieces_beside(paths[0]), np.zeros((2, len(names)), np.int64)
        with growing_table(paths[0], {"provenance": record}) as append:
            for rows in summed_rows(pieces, "segment", len(tiles), OBJECTS[:2]):
                append(dict(zip(OBJECTS, _means(rows, "segment", names), strict=True)))
        with atomic_file(paths[1]) as partial, partial.open("w", newline="") as file:
            lines = csv.writer(file, lineterminator="\n")
            lines.writerow(SECTIONS)
            for rows in summed_rows(pieces, "section", len(tiles), SECTIONS[:2]):
                lines.writerows(zip(*(column.tolist() for column in _means(rows, "section", names)), strict=True))
                np.add.at(errors.T, rows["prediction"], np.stack([rows["error"], rows["voxels"]], axis=1))
        log.info("%s: %s", outputs[0], json.dumps(dict(zip(names, mean_errors(*errors).tolist(), strict=True))))

    key = resume_key(__name__, record, inputs.values())
    label = f"disagreement {outputs[0].parent.name}"
    run_blockwise(list(outputs), key, create, work, tiles, label=label, workers=workers, conclude=conclude, part=part)


def _halo(predicted: Volume, downsample: int) -> tuple[int, ...]:
    """Return how far around a block its errors depend on the segmentation."""
    if "offsets" in predicted.attributes:
        return affinity_halo(offsets_of(predicted))
    if "sigma" not in predicted.attributes:
        raise InputError(
            f"{predicted.path} carries neither offsets nor sigma",
            allowed="predicted affinities with the attribute offsets, or descriptors with the attribute sigma",
            remedy="delete the volume: it is predicted again with its attributes",
        )
    return descriptor_halo(predicted.attributes["sigma"], predicted.shape[0], downsample)


def _error(predicted: Volume, read: Box, segments: NDArray, inner: Box, downsample: int) -> NDArray[np.float32]:
    """Return the error of every voxel of a block, from the box that its errors depend on."""
    values = predicted[(slice(None), *read)]
    if "offsets" in predicted.attributes:
        return affinity_error(values, segments, offsets_of(predicted), inner)
    return descriptor_error(values, segments, predicted.attributes["sigma"], inner, downsample=downsample)


def _save_sums(kind: str, sums: Sequence[tuple[NDArray, ...]], folder: Path, index: int) -> None:
    """Write what a block adds to every segment or section, given their sums for every prediction."""
    prediction = np.repeat(np.arange(len(sums)), [len(ids) for ids, _, _ in sums])
    ids, error, voxels = map(np.concatenate, zip(*sums, strict=True))
    columns = {"prediction": prediction, kind: ids, "error": error, "voxels": voxels}
    save_rows(columns, folder, kind, index)


def _means(rows: Mapping[str, NDArray], kind: str, names: NDArray[np.object_]) -> tuple[NDArray, ...]:
    """Return prediction, segment or section, disagreement and voxels of rows that are added up."""
    return names[rows["prediction"]], rows[kind], mean_errors(rows["error"], rows["voxels"]), rows["voxels"]
