"""Import volumes of any known format to OME-Zarr, slab by slab, in little memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf, isclose, prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.stages.sourcecode import resume_key
from sparse2dense.volumes.blockwise import Part, run_blockwise
from sparse2dense.volumes.grid import Block, blocks, chunk_shape, shard_shape
from sparse2dense.volumes.provenance import provenance
from sparse2dense.volumes.readers import Source, open_source
from sparse2dense.volumes.readers.hdf5 import read_table
from sparse2dense.volumes.volume import Volume, create_volume, open_volume
from sparse2dense.volumes.voxel_hash import pieces, voxel_hash

__all__ = [
    "ImportPlan", "check_overlap", "check_source", "import_volume", "is_voxel_size", "plan_import", "same_place",
    "slab_shape",
]  # fmt: skip

SLAB_BYTES = 64 * 2**20
"""Voxels held at a time; decoding, conversion and compression need a few times as much."""
THINNEST = 8
"""Sections: chunks are made no thinner than this for the sake of sections that must be decoded whole."""

Crop = Sequence[Sequence[int]]


@dataclass(frozen=True)
class ImportPlan:
    """What an import will write, known without reading a voxel.

    Parameters
    ----------
    source, dataset
        Where the voxels come from.
    start, shape
        First voxel of the crop in the source, and shape of the crop: z, y, x.
    dtype
        Of the result.
    voxel_size, offset
        Of the result, nm; the offset is that of the crop.
    labels
        Whether the voxels are ids of objects.
    whole_sections
        See `Source`.
    whole
        Shape of the source.
    placed
        Whether anything says where the voxels lie: a crop, an offset in the configuration, or one of the file that
        isn't 0, which many programs write without knowing.
    """

    source: Path
    dataset: str | None
    start: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    voxel_size: tuple[float, ...]
    offset: tuple[float, ...]
    labels: bool
    whole_sections: bool
    whole: tuple[int, ...]
    placed: bool

    @property
    def extent(self) -> tuple[tuple[float, float], ...]:
        """Begin and end of every axis, nm."""
        sides = zip(self.offset, self.shape, self.voxel_size, strict=True)
        return tuple((start, start + count * size) for start, count, size in sides)

    @property
    def corner(self) -> tuple[float, ...]:
        """Where the source begins, nm."""
        sides = zip(self.offset, self.start, self.voxel_size, strict=True)
        return tuple(place - first * size for place, first, size in sides)


def plan_import(
    source: Path,
    *,
    dataset: str | None = None,
    voxel_size: Sequence[float] | None = None,
    offset: Sequence[float] | None = None,
    crop: Crop | None = None,
    labels: bool = False,
) -> ImportPlan:
    """Work out what an import will write; parameters and errors as for `import_volume`."""
    opened = open_source(source, dataset)
    size = tuple(float(side) for side in voxel_size) if voxel_size is not None else opened.voxel_size
    if size is None or not is_voxel_size(size):
        raise InputError(
            f"{source}: voxel size {'absent in the file and in the config' if size is None else size}",
            allowed="three lengths above 0 in nm, z y x",
            remedy="set `voxel_size` in the config, for example [40, 4, 4]",
        )
    corner = tuple(float(side) for side in offset) if offset is not None else opened.offset or (0.0,) * 3
    start, shape = crop_box(source, opened.shape, crop)
    moved = tuple(place + first * side for place, first, side in zip(corner, start, size, strict=True))
    dtype = label_type(source, opened) if labels else image_type(source, opened)
    placed = crop is not None or offset is not None or any(opened.offset or ())
    return ImportPlan(
        source, dataset, start, shape, dtype, size, moved, labels, opened.whole_sections, opened.shape, placed
    )


def is_voxel_size(size: Sequence[float]) -> bool:
    """Return whether a voxel size is three lengths."""
    return len(size) == 3 and all(0 < side < inf for side in size)


def crop_box(source: Path, shape: Sequence[int], crop: Crop | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return start and shape of the crop; InputError when it leaves the volume."""
    if crop is None:
        return (0, 0, 0), tuple(shape)
    sides = [tuple(side) for side in crop]
    if len(sides) != 3 or any(
        len(side) != 2 or not 0 <= side[0] < side[1] <= most for side, most in zip(sides, shape, strict=False)
    ):
        raise InputError(
            f"{source}: crop {[list(side) for side in sides]}",
            allowed=f"[[z0, z1], [y0, y1], [x0, x1]] in voxels inside {[[0, most] for most in shape]}",
            remedy="correct `crop` in the config",
        )
    return tuple(side[0] for side in sides), tuple(side[1] - side[0] for side in sides)


def image_type(source: Path, opened: Source) -> np.dtype[Any]:
    """Return the type an image is stored in: uint8 and uint16 as they are, bool as uint8, floats as float32."""
    if opened.dtype.kind == "f":
        return np.dtype(np.float32)
    if opened.dtype.kind == "b" or (opened.dtype.kind == "u" and opened.dtype.itemsize <= 2):
        return np.dtype(f"u{opened.dtype.itemsize}")
    raise InputError(
        f"{source}: an image of type {opened.dtype}",
        allowed="uint8, uint16, bool, or floats from 0 to 1",
        remedy="rescale it to uint8 or uint16 first; if it holds ids of objects, name it as `truth` or `painted`",
    )


def label_type(source: Path, opened: Source) -> np.dtype[Any]:
    """Return uint64; InputError for labels that aren't integers."""
    if opened.dtype.kind == "f":
        raise InputError(
            f"{source}: labels of type {opened.dtype}",
            allowed="integers; floats can't hold large ids",
            remedy="export the labels as integers, or name the right dataset",
        )
    return np.dtype(np.uint64)


def slab_shape(
    shape: Sequence[int], chunk: Sequence[int], itemsize: int, whole_sections: bool, limit: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Choose blocks of whole chunks that hold at most `limit` bytes, and the chunks.

    Where sections are decoded whole, splitting a section into blocks decodes it again for each, so chunks are made
    thinner in z and wider in y and x first, down to 8 sections. A block holds at least one chunk.

    Returns
    -------
    tuple
        Shape of a block, and of a chunk.
    """
    sides = list(chunk)
    section = shape[1] * shape[2] * itemsize
    wide = 1
    while whole_sections and sides[0] > THINNEST and sides[0] * section > limit:
        sides[0] //= 2
        sides[wide] *= 2
        wide = 3 - wide
    block = [sides[0]] + [-(-side // step) * step for side, step in zip(shape[1:], sides[1:], strict=True)]
    for axis in (1, 2):
        others = prod(block) // block[axis] * itemsize
        block[axis] = min(block[axis], max(1, limit // others // sides[axis]) * sides[axis])
    return tuple(block), tuple(sides)


def import_volume(
    source: Path,
    output: Path,
    *,
    dataset: str | None = None,
    voxel_size: Sequence[float] | None = None,
    offset: Sequence[float] | None = None,
    crop: Crop | None = None,
    labels: bool = False,
    sha256: str | None = None,
    mapping: str | None = None,
    reference: Path | None = None,
    workers: int = 1,
    part: Part | None = None,
) -> None:
    """Write a volume as OME-Zarr; an attempt that was stopped is gone on with.

    Parameters
    ----------
    source
        File or directory of any format of `volumes.readers`.
    output
        The store to write.
    dataset
        Array inside HDF5, Zarr, N5 or NPZ.
    voxel_size, offset
        nm, z y x; what the source says of itself by default. The offset is that of the whole source.
    crop
        `[[z0, z1], [y0, y1], [x0, x1]]` in voxels of the source.
    labels
        Ids of objects: any integer in, uint64 out. Images stay uint8 or uint16; floats from 0 to 1 become float32.
    sha256
        Of the imported voxels, see `voxel_hash`.
    mapping
        Table of two columns that maps each id to another: a dataset of the same HDF5 file, or a .npy or .csv file.
    reference
        A volume that this one must overlap, with the same voxel size.
    workers
        Number of processes.
    part
        Import this share of the blocks only, see `volumes.blockwise`.

    Raises
    ------
    InputError
        When the source can't be read, lacks a voxel size or holds values that don't fit, or when `sha256`, `mapping`
        or `reference` disagree with it.
    """
    plan = plan_import(source, dataset=dataset, voxel_size=voxel_size, offset=offset, crop=crop, labels=labels)
    if reference is not None:
        check_overlap(output, plan, reference, open_volume(reference))
    table = read_mapping(source, mapping) if mapping is not None else None
    block_shape, chunks = slab_shape(
        plan.shape, chunk_shape(plan.shape, plan.voxel_size), plan.dtype.itemsize, plan.whole_sections, SLAB_BYTES
    )
    state = fingerprint(source)
    settings = {
        "source": source, "dataset": dataset, "voxel_size": plan.voxel_size, "offset": plan.offset, "crop": crop,
        "labels": labels, "mapping": mapping,
    }  # fmt: skip

    def create(paths: Sequence[Path]) -> None:
        create_volume(
            paths[0],
            plan.shape,
            plan.dtype,
            voxel_size=plan.voxel_size,
            offset=plan.offset,
            chunks=chunks,
            shards=shard_shape(plan.shape, block_shape, chunks),
            labels=labels,
            attributes={"provenance": provenance("import", settings, {"source": source})},
        )

    def work(paths: Sequence[Path], block: Block) -> None:
        open_volume(paths[0], "r+")[block.write] = read_block(plan, block, table, state)

    def conclude(paths: Sequence[Path]) -> None:
        if sha256 is not None:
            check_hash(source, open_volume(paths[0]), labels, sha256)

    run_blockwise(
        output,
        {**resume_key(__name__, settings, ()), "state": state, "chunks": chunks, "table": table},
        create,
        work,
        blocks(plan.shape, block_shape),
        label=f"import {output.parent.name} {output.stem}",
        workers=workers,
        conclude=conclude,
        part=part,
    )


@lru_cache(maxsize=1)
def opened_source(path: Path, dataset: str | None, state: tuple[int, int, int]) -> Source:
    """Open a source once per process: a packed one must not be unpacked for every block."""
    return open_source(path, dataset)


def read_block(
    plan: ImportPlan, block: Block, table: NDArray[np.uint64] | None, state: tuple[int, int, int]
) -> NDArray[Any]:
    """Read the source's voxels for a block, checked and converted to the type of the result."""
    source = opened_source(plan.source, plan.dataset, state)
    box = tuple(
        slice(side.start + start, side.stop + start) for side, start in zip(block.write, plan.start, strict=True)
    )
    values = source.read(box)
    if plan.labels:
        ids = exact_ids(plan.source, values)
        return ids if table is None else map_ids(plan.source, ids, table)
    if values.dtype.kind == "f" and not bool(((values >= 0) & (values <= 1)).all()):
        raise InputError(
            f"{plan.source} holds values from {values.min()} to {values.max()}",
            allowed="uint8, uint16, or floats from 0 to 1 without NaN",
            remedy="rescale it, or convert it to uint8 or uint16",
        )
    return values.astype(plan.dtype, copy=False)


def exact_ids(source: Path, values: NDArray[Any]) -> NDArray[np.uint64]:
    """Return integers as uint64; InputError for negative ones."""
    if values.dtype.kind == "i" and values.size and int(values.min()) < 0:
        raise InputError(
            f"{source} holds the negative id {int(values.min())}",
            allowed="ids from 0, where 0 is no object",
            remedy="renumber the labels",
        )
    return values.astype(np.uint64, copy=False)


def read_mapping(source: Path, mapping: str) -> NDArray[np.uint64]:
    """Read a table of two columns, sorted by the first; a file where there is one of that name, else a dataset."""
    file = Path(mapping)
    if file.suffix in (".npy", ".csv", ".txt"):
        if not file.exists():
            raise InputError(f"mapping {mapping} doesn't exist", allowed=".npy or .csv", remedy="correct the path")
        table = np.load(file) if file.suffix == ".npy" else np.loadtxt(file, np.uint64, delimiter=",", ndmin=2)
    else:
        table = read_table(source, mapping)
    if table.ndim != 2 or table.shape[1] != 2 or table.dtype.kind not in "ui":
        raise InputError(
            f"mapping {mapping} of {source} has shape {table.shape} and type {table.dtype}",
            allowed="two columns of integers: id in the volume, id it becomes",
            remedy="name another dataset or file",
        )
    rows = np.unique(exact_ids(source, table), axis=0)
    if len(np.unique(rows[:, 0])) < len(rows):
        raise InputError(
            f"mapping {mapping} of {source} maps an id to two others", allowed="one row per id", remedy="remove one"
        )
    return rows


def map_ids(source: Path, ids: NDArray[np.uint64], table: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Replace ids by the second column of `table`; 0 stays 0 unless the table says otherwise."""
    if len(table) == 0 or table[0, 0] != 0:
        table = np.concatenate([np.zeros((1, 2), np.uint64), table])
    mapped = np.empty_like(ids)
    for piece, target in zip(pieces(ids), pieces(mapped), strict=True):
        names, inverse = np.unique(piece, return_inverse=True)
        row = np.minimum(np.searchsorted(table[:, 0], names), len(table) - 1)
        missing = names[table[row, 0] != names]
        if len(missing):
            raise InputError(
                f"{source} holds ids that the mapping lacks: {', '.join(map(str, missing[:5].tolist()))}",
                allowed="a row for every id but 0",
                remedy="complete the mapping",
            )
        target[:] = table[row, 1][inverse]
    return mapped


def check_hash(source: Path, volume: Volume, labels: bool, sha256: str) -> None:
    """Raise InputError when the voxels aren't those that `sha256` was taken of."""
    found = voxel_hash(volume, labels)
    if found != sha256.lower():
        raise InputError(
            f"{source}: the voxels have sha256 {found}",
            allowed=sha256,
            remedy="fetch the data again and check dataset, crop and mapping; if they are right, correct `sha256`",
        )


def check_overlap(path: Path, plan: ImportPlan, reference: Path, volume: Volume | ImportPlan) -> None:
    """Raise InputError unless `plan` and `volume` have the same voxel size and share voxels."""
    if not all(isclose(one, two, rel_tol=1e-6) for one, two in zip(plan.voxel_size, volume.voxel_size, strict=True)):
        raise InputError(
            f"{path}: voxel size {plan.voxel_size} nm, but {reference} has {volume.voxel_size} nm",
            allowed="the same voxel size",
            remedy="correct `voxel_size` of one of them, or resample the labels",
        )
    pairs = zip(plan.extent, volume.extent, strict=True)
    if not all(max(one[0], two[0]) < min(one[1], two[1]) for one, two in pairs):
        raise InputError(
            f"{path} lies at {in_words(plan.extent)}, {reference} at {in_words(volume.extent)}",
            allowed="labels that overlap the raw volume",
            remedy="correct `offset`, `voxel_size` or `crop` of one of them",
        )


def check_placement(path: Path, plan: ImportPlan, image: ImportPlan) -> None:
    """Raise InputError for labels that lie elsewhere than the image, or have another shape, though nobody said so.

    Labels of the whole image, or of its crop, need no word: they begin where it begins.
    """
    places = ((image.whole, image.corner), (image.shape, image.offset))
    if plan.placed or any(plan.shape == shape and same_place(plan.offset, corner) for shape, corner in places):
        return
    raise InputError(
        f"{path} has {plan.shape} voxels at {in_words(plan.extent)}, {image.source} {image.shape} at "
        f"{in_words(image.extent)}, and nothing says that the labels lie there",
        allowed="labels of the shape of the image that begin where it begins, or labels with `offset` or `crop`",
        remedy="correct the file; of labels on another part of the image, set the `offset` in nm, [0, 0, 0] too",
    )


def same_place(one: Sequence[float], two: Sequence[float]) -> bool:
    """Return whether two offsets in nm are the same but for rounding."""
    return all(isclose(a, b, rel_tol=1e-6, abs_tol=1e-3) for a, b in zip(one, two, strict=True))


def in_words(extent: Sequence[tuple[float, float]]) -> str:
    """Return an extent for a message."""
    return ", ".join(f"{axis} {start:g}-{stop:g} nm" for axis, (start, stop) in zip("zyx", extent, strict=True))


def check_source(source: Path, settings: Mapping[str, Any], reference: ImportPlan | None = None) -> list[InputError]:
    """Return what is wrong with a source, without reading voxels: existence, format, shape, type, voxel size, place.

    `settings` holds the arguments of `import_volume` from `dataset` to `mapping`.
    """
    known = {name: settings[name] for name in ("dataset", "voxel_size", "offset", "crop", "labels") if name in settings}
    try:
        plan = plan_import(source, **known)
        if settings.get("mapping") is not None:
            read_mapping(source, settings["mapping"])
        if reference is not None:
            check_overlap(source, plan, reference.source, reference)
            check_placement(source, plan, reference)
    except InputError as error:
        return [error]
    return []


def fingerprint(path: Path) -> tuple[int, int, int]:
    """Return number, bytes and newest time in ns of the files at `path`: what changes when the source does."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    facts = [file.stat() for file in files]
    return len(facts), sum(fact.st_size for fact in facts), max((fact.st_mtime_ns for fact in facts), default=0)
