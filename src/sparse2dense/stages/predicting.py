"""Predict volumes with a trained net, block by block, without seams.

A net runs unpadded here: every block reads the context it needs, mirrored beyond the volume's edge, and begins at a
multiple of the net's total pooling. So each voxel is computed from the same input in any cut of the volume.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.ops.unet import UNet
from sparse2dense.ops.views import ORIENTATIONS, View
from sparse2dense.stages.answering import Precision, answer, choose_precision
from sparse2dense.stages.net_kinds import KINDS, NetDescription
from sparse2dense.stages.nets import check_input, fastest, load_net
from sparse2dense.stages.orienting import block_unit, oriented_answer, seen_across, stack_name
from sparse2dense.stages.sourcecode import resume_key
from sparse2dense.stages.viewing import views_of
from sparse2dense.volumes.blockwise import Part, run_blockwise
from sparse2dense.volumes.grid import Block, blocks, chunk_shape, common_multiple, shard_shape, snap_up
from sparse2dense.volumes.provenance import identity, provenance
from sparse2dense.volumes.volume import Volume, create_volume, open_volume

__all__ = ["predict"]

log = logging.getLogger(__name__)

LEVEL = 1
"""Of compression: what a 2D net predicts of FIB-SEM takes 66 % of its voxels, 64 % at level 3, in 0.4 of the time."""


def predict(
    inputs: Mapping[str, Path],
    checkpoint: Path,
    outputs: Mapping[str, Path],
    *,
    block_shape: Sequence[int],
    flips: Sequence[str] = (),
    transpose: bool = False,
    members: Sequence[Path] = (),
    across: str = "z",
    precision: Precision | Literal["auto"] = "float32",
    threads: int = 1,
    part: Part | None = None,
) -> None:
    """Predict every head of a net for a whole volume.

    Parameters
    ----------
    inputs
        All that the net reads: `raw`, or what other nets predict, `descriptors` and `affinities`. A 2D-to-3D net may
        be given what was predicted `across` other axes too, as `descriptors.y`; the mean of what it makes of each
        stack is kept.
    checkpoint
        A trained net.
    outputs
        For every head of the net the store to write: uint8 (channels, z, y, x), 255 times the prediction; affinities
        carry their offsets in the volume.
    block_shape
        Voxels (z, y, x) to predict at once; rounded up to multiples of chunks and of the net's total pooling.
    flips, transpose
        Axes (`z`, `y`, `x`) along all combinations of which the volume is also predicted mirrored, and whether with y
        and x exchanged too; the mean of all predictions is kept.
    members
        Further nets of the same description, trained with other seeds, whose predictions enter the mean.
    across
        The axis that the sections of a 2D net lie across. Its channels are along the sections' own axes, which are
        (y, x), (x, z) and (z, y) across z, y and x.
    precision
        Of the convolutions; `auto` for what `choose_precision` finds. The choice is kept in the outputs, where every
        job that works on them reads it, one that goes on with them too.
    threads
        Threads of the arithmetic.
    part
        Compute this share of the blocks only, see `volumes.blockwise`.
    """
    start = time.monotonic()
    torch.set_num_threads(threads)
    net, description = load_net(checkpoint)
    nets = [net, *(_load_member(path, checkpoint, description) for path in members)]
    views = views_of(description, flips, transpose)
    stacks = _open_stacks(inputs, description, checkpoint, across)
    heads = KINDS[description.kind].heads
    if set(outputs) != set(heads):
        raise InputError(
            f"{checkpoint} predicts {', '.join(heads)}, but {', '.join(outputs)} are wanted",
            allowed="an output for every head of the net",
            remedy="train a net of a kind that predicts them, or adapt the rule",
        )
    grid = next(volume for sources in stacks.values() for volume in sources.values())
    chunks = chunk_shape(grid.spatial_shape, grid.voxel_size)
    unit = block_unit(description.architecture.stride, [ORIENTATIONS[axis] for axis in stacks])
    tile = snap_up(block_shape, common_multiple(chunks, unit))
    settings = _settings(checkpoint, description.kind, views, members, precision, across)
    record = provenance("predict", settings, {**inputs, "checkpoint": checkpoint})

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    nets = [fastest(one.to(device)) for one in nets]
    alone = len(nets) == len(views) == len(stacks) == 1
    opened = lru_cache(lambda path: open_volume(path, "r+"))
    turn = ThreadPoolExecutor(1)

    def create(paths: Sequence[Path]) -> None:
        chosen = precision
        if chosen == "auto":
            axis, sources = next(iter(stacks.items()))
            seen, lengths = seen_across(sources, ORIENTATIONS[axis], grid.spatial_shape)
            sides = [tile[own] for own in ORIENTATIONS[axis].axes]
            chosen = choose_precision(nets[0], description, seen, lengths, sides, turn)
        _create_outputs(paths, description, grid, tile, across, {"precision": chosen, "provenance": record})

    def work(paths: Sequence[Path], block: Block) -> None:
        chosen, dtype = opened(paths[0]).attributes["precision"], torch.uint8 if alone else torch.float32
        asked = [partial(answer, one, description, precision=chosen, dtype=dtype, turn=turn) for one in nets]
        predicted = oriented_answer(asked, description, stacks, block, grid.spatial_shape, views)
        for head, path in zip(heads, paths, strict=True):
            opened(path)[(slice(None), *block.write)] = _as_bytes(predicted[head])

    tiles = blocks(grid.spatial_shape, tile)
    key = resume_key(__name__, record, inputs.values())
    sections = "" if across == "z" else f" across {across}"
    name = f"predict {grid.path.parent.name} with {checkpoint.parent.name}{sections}"
    written = [outputs[head] for head in heads]
    with turn:
        computed = run_blockwise(written, key, create, work, tiles, label=name, overlapping=alone, part=part)
    voxels = int(np.prod(grid.spatial_shape))
    log.info(
        "%d of %d blocks of %s voxels, %.2f Mvoxel in %.1f s",
        computed,
        len(tiles),
        tile,
        voxels / 1e6,
        time.monotonic() - start,
    )


def _create_outputs(
    paths: Sequence[Path],
    description: NetDescription,
    grid: Volume,
    tile: Sequence[int],
    across: str,
    attributes: Mapping[str, Any],
) -> None:
    """Make an empty volume for every head, in the place of `grid`, to be written in blocks of `tile`."""
    chunks = chunk_shape(grid.spatial_shape, grid.voxel_size)
    for head, path in zip(KINDS[description.kind].heads, paths, strict=True):
        shape = (description.architecture.heads[head], *grid.spatial_shape)
        extra = (
            {"offsets": _offsets(description, across)} if head == "affinities" else {"sigma": list(description.sigma)}
        )
        create_volume(
            path,
            shape,
            "uint8",
            voxel_size=grid.voxel_size,
            offset=grid.offset,
            axes="czyx",
            chunks=chunks,
            shards=shard_shape(shape, tile, chunks),
            level=LEVEL,
            attributes={**extra, **attributes},
        )


def _settings(
    checkpoint: Path, kind: str, views: Sequence[View], members: Sequence[Path], precision: str, across: str
) -> dict[str, Any]:
    """What a prediction depends on besides its inputs; views, members and sections only where they are others."""
    settings: dict[str, Any] = {"checkpoint": identity(checkpoint), "kind": kind, "precision": precision}
    if len(views) > 1:
        settings["views"] = [asdict(view) for view in views]
    if members:
        settings["members"] = [identity(path) for path in members]
    if across != "z":
        settings["across"] = across
    return settings


def _load_member(path: Path, checkpoint: Path, description: NetDescription) -> UNet:
    """The net in `path`, which must be of the kind and shape of that in `checkpoint`."""
    net, found = load_net(path)
    if found != description:
        raise InputError(
            f"{path} and {checkpoint} hold nets of different descriptions",
            allowed="nets that differ in nothing but the seed of their training",
            remedy="train both with the same settings on the same volumes",
        )
    return net


def _as_bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    """255 times `values`, rounded; as they are where they are bytes already."""
    return values if values.dtype == np.uint8 else np.rint(values * 255).astype(np.uint8)


def _offsets(description: NetDescription, across: str) -> list[list[int]]:
    """Offsets in z, y, x of the volume; those of a 2D net lie in its sections."""
    deep = ((*(0,) * (3 - len(offset)), *offset) for offset in description.offsets)
    return [list(ORIENTATIONS[across].step(offset)) for offset in deep]


def _open_stacks(
    inputs: Mapping[str, Path], description: NetDescription, checkpoint: Path, across: str
) -> dict[str, dict[str, Volume]]:
    """Open what the net reads, by the axis that its sections lie across, and refuse what doesn't fit it."""
    kind = KINDS[description.kind]
    axes = list(ORIENTATIONS) if kind.ndim == 2 else ["z"]
    if across not in axes:
        raise InputError(
            f"sections across {across} for {checkpoint} of kind {description.kind}",
            allowed=" or ".join(axes),
            remedy="leave `across` out for a net that sees more than sections",
        )
    if kind.source == "2d":
        axes = [axis for axis in ORIENTATIONS if any(stack_name(name, axis) in inputs for name in kind.inputs)]
        wanted = {axis: {name: stack_name(name, axis) for name in kind.inputs} for axis in dict.fromkeys(["z", *axes])}
    else:
        wanted = {across: {name: name for name in kind.inputs}}
    missing = [name for names in wanted.values() for name in names.values() if name not in inputs]
    if missing:
        raise InputError(
            f"{checkpoint} of kind {description.kind} reads {', '.join(kind.inputs)}; given: {', '.join(inputs)}",
            allowed="all inputs that the net was trained on",
            remedy="choose kinds of nets that fit each other, below `nets`",
        )
    stacks = {
        axis: {name: open_volume(inputs[given]) for name, given in names.items()} for axis, names in wanted.items()
    }
    for axis, sources in stacks.items():
        for name, volume in sources.items():
            check_input(volume, name, description, str(checkpoint), ORIENTATIONS[axis])
    shapes = [volume.spatial_shape for sources in stacks.values() for volume in sources.values()]
    if len(set(shapes)) != 1:
        raise InputError(
            f"what {checkpoint} reads has the shapes {shapes}",
            allowed="volumes of one shape",
            remedy="predict all of them from one image",
        )
    return stacks
