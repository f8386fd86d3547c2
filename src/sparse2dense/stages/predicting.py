"""Predict volumes with a trained net, block by block, without seams.

A net runs unpadded here: every block reads the context it needs, mirrored beyond the volume's edge, and begins at a
multiple of the net's total pooling. So each voxel is computed from the same input in any cut of the volume.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.ops.unet import UNet
from sparse2dense.ops.views import ORIENTATIONS, View
from sparse2dense.stages.net_kinds import KINDS, NetDescription
from sparse2dense.stages.nets import check_input, fastest, load_net, normalised
from sparse2dense.stages.orienting import block_unit, oriented_answer, stack_name
from sparse2dense.stages.viewing import Source, views_of
from sparse2dense.volumes.blockwise import Part, run_blockwise
from sparse2dense.volumes.grid import Block, blocks, chunk_shape, common_multiple, shard_shape, snap_up
from sparse2dense.volumes.provenance import identity, provenance
from sparse2dense.volumes.volume import Volume, create_volume, open_volume

__all__ = ["answer", "predict"]

log = logging.getLogger(__name__)

Floats = NDArray[np.float32]


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
    settings = _settings(checkpoint, description.kind, views, members, across)
    record = provenance("predict", settings, {**inputs, "checkpoint": checkpoint})

    def create(paths: Sequence[Path]) -> None:
        for head, path in zip(heads, paths, strict=True):
            shape = (description.architecture.heads[head], *grid.spatial_shape)
            offsets, sigma = {"offsets": _offsets(description, across)}, {"sigma": list(description.sigma)}
            create_volume(
                path,
                shape,
                "uint8",
                voxel_size=grid.voxel_size,
                offset=grid.offset,
                axes="czyx",
                chunks=chunks,
                shards=shard_shape(shape, tile, chunks),
                attributes={**(offsets if head == "affinities" else sigma), "provenance": record},
            )

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    asked = [partial(answer, fastest(one.to(device)), description) for one in nets]
    opened = lru_cache(lambda path: open_volume(path, "r+"))

    def work(paths: Sequence[Path], block: Block) -> None:
        predicted = oriented_answer(asked, description, stacks, block, grid.spatial_shape, views)
        for head, path in zip(heads, paths, strict=True):
            opened(path)[(slice(None), *block.write)] = _quantised(predicted[head])

    tiles = blocks(grid.spatial_shape, tile)
    key = {**settings, "inputs": {name: identity(path) for name, path in inputs.items()}}
    sections = "" if across == "z" else f" across {across}"
    name = f"predict {grid.path.parent.name} with {checkpoint.parent.name}{sections}"
    computed = run_blockwise([outputs[head] for head in heads], key, create, work, tiles, label=name, part=part)
    voxels = int(np.prod(grid.spatial_shape))
    log.info(
        "%d of %d blocks of %s voxels, %.2f Mvoxel in %.1f s",
        computed,
        len(tiles),
        tile,
        voxels / 1e6,
        time.monotonic() - start,
    )


def answer(net: UNet, description: NetDescription, sources: Mapping[str, Source], block: Block) -> dict[str, Floats]:
    """What the net predicts for the voxels of `block`: for every head float32 (channels, z, y, x) in [0, 1]."""
    architecture = description.architecture
    plane = architecture.ndim == 2
    context = (description.adjacent, *architecture.context) if plane else architecture.context
    wanted = architecture.input_shape(block.write_shape[1:] if plane else block.write_shape)
    lengths = (block.write_shape[0] + 2 * description.adjacent, *wanted) if plane else wanted
    box = tuple(
        slice(side.start - margin, side.start - margin + length)
        for side, margin, length in zip(block.write, context, lengths, strict=True)
    )
    values = [normalised(sources[name].read(box)) for name in KINDS[description.kind].inputs]
    if plane:
        window = 2 * description.adjacent + 1
        stacked = np.lib.stride_tricks.sliding_window_view(values[0], window, axis=0)  # (z, y, x, window)
        batches = [torch.from_numpy(np.moveaxis(section, -1, 0)[None].copy()) for section in stacked]
    else:
        channels = [value if value.ndim == 4 else value[None] for value in values]
        batches = [torch.from_numpy(np.concatenate(channels)[None])]
    device = next(net.parameters()).device
    parts: dict[str, list[Floats]] = {head: [] for head in architecture.heads}
    crop = tuple(slice(0, n) for n in block.write_shape)
    with torch.inference_mode():
        for batch in batches:
            for head, value in net(batch.to(device), padded=False).items():
                parts[head].append(value[0].float().sigmoid().cpu().numpy())
    if plane:
        return {head: np.stack(pieces, axis=1)[(slice(None), *crop)] for head, pieces in parts.items()}
    return {head: pieces[0][(slice(None), *crop)] for head, pieces in parts.items()}


def _settings(
    checkpoint: Path, kind: str, views: Sequence[View], members: Sequence[Path], across: str
) -> dict[str, Any]:
    """What a prediction depends on besides its inputs; views, members and sections only where they are others."""
    settings: dict[str, Any] = {"checkpoint": identity(checkpoint), "kind": kind}
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


def _quantised(values: Floats) -> NDArray[np.uint8]:
    return np.rint(values * 255).astype(np.uint8)


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
