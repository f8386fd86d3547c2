"""From a segmentation to pseudo ground truth: the objects that are good enough to train on."""

import csv
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparse2dense.ops.filters import (
    Objects,
    Profiles,
    join_objects,
    keep_objects,
    objects_of,
    profiles_of,
    without_brief,
    without_dust,
    without_outliers,
)
from sparse2dense.stages.hole_filling import Read, without_holes
from sparse2dense.stages.sourcecode import resume_key
from sparse2dense.volumes.blockwise import run_blockwise
from sparse2dense.volumes.grid import Block, blocks, layers, shard_shape, snap_up
from sparse2dense.volumes.passes import Passes, passes_for
from sparse2dense.volumes.provenance import provenance
from sparse2dense.volumes.volume import create_volume, open_volume

__all__ = ["make_pseudo_truth"]

log = logging.getLogger(__name__)

Steps = dict[str, Objects]
"""What is left after each filter, by its name."""


def make_pseudo_truth(
    segmentation: Path,
    output: Path,
    output_mask: Path,
    output_counts: Path,
    *,
    dust: int = 0,
    outlier_deviations: float | None = None,
    minimum_sections: int = 1,
    fill_holes: bool = False,
    block_shape: Sequence[int] = (128, 256, 256),
    workers: int = 1,
) -> None:
    """Keep the objects of a segmentation that pass every filter, in the order of the parameters, block by block.

    The volume is read several times: to count its objects; with `fill_holes`, to find the regions of objects and
    background, in sections and in 3D; and to write what is left. The result is that of the whole volume at once.

    Parameters
    ----------
    segmentation
        Volume of labels (z, y, x).
    output
        Volume to write, the type of `segmentation`, ids unchanged.
    output_mask
        Volume to write, uint8, 1 where there is a label: whatever the filters removed counts as unlabelled.
    output_counts
        CSV file of the columns step, objects and voxels, before and after every filter.
    dust
        Objects of fewer voxels are removed.
    outlier_deviations
        Objects the logarithm of whose size is further from the mean of those left than so many standard deviations
        are removed; None keeps them.
    minimum_sections
        Objects in fewer sections are removed.
    fill_holes
        Fill background that an object encloses in a section, and objects that it encloses in 3D.
    block_shape
        Voxels (z, y, x) of a block, rounded up to whole chunks; no matter for the result.
    workers
        Processes that work on blocks.
    """
    source = open_volume(segmentation)
    settings = {
        "dust": dust,
        "outlier_deviations": outlier_deviations,
        "minimum_sections": minimum_sections,
        "fill_holes": fill_holes,
    }
    record = provenance("make_pseudo_truth", settings, {"segmentation": segmentation})
    key = resume_key(__name__, record, (segmentation,))
    chunks = source.array.chunks
    tile = snap_up(block_shape, chunks)
    tiles = blocks(source.shape, tile)

    def create(paths: Sequence[Path]) -> None:
        for path, dtype in zip(paths, (source.dtype, np.dtype(np.uint8)), strict=False):
            create_volume(
                path, source.shape, dtype, voxel_size=source.voxel_size, offset=source.offset, labels=True,
                chunks=chunks, shards=shard_shape(source.shape, tile, chunks), attributes={"provenance": record},
            )  # fmt: skip
        if fill_holes:
            _profiles_beside(paths).mkdir()

    with passes_for(output, key, tiles, workers=workers) as passes:
        steps = _filtered(passes, segmentation, dust, outlier_deviations, minimum_sections)
        read = _kept(segmentation, list(steps.values())[-1])
        if fill_holes:
            # last, so that holes which removed objects leave in others are closed too
            read = without_holes(passes, "holes_in_sections", read, per_section=True, objects=False)
            read = without_holes(passes, "holes", read, per_section=False, objects=True)

        def work(paths: Sequence[Path], block: Block) -> None:
            labels = read(block)
            if fill_holes:
                _save_profiles(_profiles_beside(paths), block, labels)
            open_volume(paths[0], "r+")[block.write] = labels
            open_volume(paths[1], "r+")[block.write] = (labels != 0).astype(np.uint8)

        def conclude(paths: Sequence[Path]) -> None:
            filled = {"fill_holes": _objects_in(_profiles_beside(paths), tiles)} if fill_holes else {}
            _write_counts(paths[2], steps | filled, output)

        outputs, label = (output, output_mask, output_counts), f"pseudo truth {output.parent.name}"
        run_blockwise(outputs, key, create, work, tiles, label=label, workers=workers, conclude=conclude)


def _filtered(
    passes: Passes, segmentation: Path, dust: int, outlier_deviations: float | None, minimum_sections: int
) -> Steps:
    """Return the objects of a segmentation, and those that are left after each of the filters by size."""

    def count(paths: Sequence[Path], block: Block) -> None:
        _save_profiles(paths[0], block, open_volume(segmentation)[block.write])

    objects = _objects_in(passes.run("objects", count), passes.blocks)
    steps = {"segmentation": objects}
    steps["dust"] = objects = without_dust(objects, dust)
    if outlier_deviations is not None:
        steps["outlier_deviations"] = objects = without_outliers(objects, outlier_deviations)
    steps["minimum_sections"] = without_brief(objects, minimum_sections)
    return steps


def _kept(segmentation: Path, objects: Objects) -> Read:
    """Return a way to read the blocks of a segmentation without all but the given objects."""
    return lambda block: keep_objects(open_volume(segmentation)[block.write], objects)


def _profiles_beside(paths: Sequence[Path]) -> Path:
    """Return the folder of the profiles of filled objects, which is gone when the outputs are whole."""
    return paths[0].with_name("profiles")


def _save_profiles(folder: Path, block: Block, labels: NDArray) -> None:
    """Write what objects show in the sections of a block."""
    found = profiles_of(labels, block.write[0].start)
    np.savez(folder / f"{block.index}.npz", ids=found.ids, sections=found.sections, voxels=found.voxels)


def _objects_in(folder: Path, tiles: Sequence[Block]) -> Objects:
    """Return the objects whose profiles a pass wrote; holds those of one layer of blocks at a time."""

    def profiles(block: Block) -> Profiles:
        with np.load(folder / f"{block.index}.npz") as found:
            return Profiles(**found)

    return join_objects(objects_of(map(profiles, layer)) for layer in layers(tiles))


def _write_counts(path: Path, steps: Steps, output: Path) -> None:
    """Write how many objects and voxels are left after every step, and warn where nothing is."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["step", "objects", "voxels"])
        for step, objects in steps.items():
            rows.writerow((step, len(objects), int(objects.voxels.sum())))
            log.info("%s, %s: %d objects, %d voxels", output, step, len(objects), objects.voxels.sum())
    if len(list(steps.values())[-1]) == 0:
        log.warning("%s: no object passed the filters, so a net trained on it sees nothing; relax them", output)
