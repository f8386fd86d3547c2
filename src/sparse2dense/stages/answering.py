"""What a net answers for a block of a volume: what it is given, its passes, and the arithmetic they are done in."""

import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from sparse2dense.ops.unet import UNet
from sparse2dense.stages.net_kinds import KINDS, NetDescription
from sparse2dense.stages.nets import normalised
from sparse2dense.stages.viewing import Source
from sparse2dense.volumes.grid import Block

__all__ = ["Precision", "answer", "block_inputs", "choose_precision"]

log = logging.getLogger(__name__)

Precision = Literal["float32", "bfloat16"]

WITHIN = 1 / 255
"""By how much bfloat16 may differ from float32 where it is chosen: the step that predictions are stored in."""
FASTER = 0.9
"""The share of the time of float32 that it may take; a machine's mood alone should not decide."""
PROBED_SECTIONS = 4


def answer(
    net: UNet,
    description: NetDescription,
    sources: Mapping[str, Source],
    block: Block,
    *,
    precision: Precision = "float32",
    dtype: torch.dtype = torch.float32,
    turn: Executor | None = None,
) -> dict[str, NDArray[Any]]:
    """What the net predicts for the voxels of `block`: for every head (channels, z, y, x), in [0, 1].

    Parameters
    ----------
    net, description, sources
        A net, and all that it reads by name.
    block
        The voxels wanted, from a multiple of the net's total pooling on.
    precision
        Of the convolutions; everything after them is float32.
    dtype
        `torch.float32`, or `torch.uint8` for 255 times the prediction, rounded.
    turn
        An executor of one thread, which the passes of several blocks take turns in. So the net has one block at a time,
        and one set of threads, while others are read and written.
    """
    inputs = block_inputs(description, sources, block)
    work = partial(_passes, net, description, inputs, block.write_shape, precision, dtype)
    return work() if turn is None else turn.submit(work).result()


def block_inputs(description: NetDescription, sources: Mapping[str, Source], block: Block) -> list[torch.Tensor]:
    """What a net is given for `block`: float32 (1, channels, *spatial) for each pass, which is a section in 2D."""
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
        stack, window = torch.from_numpy(np.ascontiguousarray(values[0])), 2 * description.adjacent + 1
        return [stack[z : z + window][None] for z in range(block.write_shape[0])]
    channels = [value if value.ndim == 4 else value[None] for value in values]
    return [torch.from_numpy(np.concatenate(channels)[None])]


def choose_precision(
    net: UNet,
    description: NetDescription,
    sources: Mapping[str, Source],
    shape: Sequence[int],
    tile: Sequence[int],
    turn: Executor | None = None,
) -> Precision:
    """Return bfloat16 where it is faster than float32 and within 1/255 of it everywhere, else float32.

    Both are tried on a piece in the middle of a volume of `shape`: a few sections of a block of `tile` voxels, or of
    half its sides for a net of three axes. Whether bfloat16 is near enough is known for this piece only; the time
    depends on the machine and on what else it does, so the choice is to be made once and kept.
    """
    piece = _piece(description, shape, tile)
    exact, rough = (
        answer(net, description, sources, piece, precision=precision, turn=turn) for precision in _PRECISIONS
    )
    apart = max(float(np.abs(exact[head] - rough[head]).max()) for head in exact)
    if apart > WITHIN:
        log.info("float32: bfloat16 is up to %.1f / 255 from it, in the middle of the volume", 255 * apart)
        return "float32"
    seconds: dict[Precision, list[float]] = {precision: [] for precision in _PRECISIONS}
    for _ in range(3):
        for precision, taken in seconds.items():
            start = time.perf_counter()
            answer(net, description, sources, piece, precision=precision, turn=turn)
            taken.append(time.perf_counter() - start)
    share = min(seconds["bfloat16"]) / min(seconds["float32"])
    chosen: Precision = "bfloat16" if share < FASTER else "float32"
    log.info(
        "%s: bfloat16 takes %.2f times as long as float32 and is up to %.1f / 255 from it, in the middle of the volume",
        chosen,
        share,
        255 * apart,
    )
    return chosen


_PRECISIONS: tuple[Precision, Precision] = ("float32", "bfloat16")


def _piece(description: NetDescription, shape: Sequence[int], tile: Sequence[int]) -> Block:
    """What arithmetics are compared on: in the middle of the volume, from a multiple of the net's total pooling on."""
    plane = description.architecture.ndim == 2
    sides = (PROBED_SECTIONS, *tile[1:]) if plane else tuple(-(-side // 2) for side in tile)
    steps = (1,) * plane + description.architecture.stride
    box = []
    for side, step, whole in zip(sides, steps, shape, strict=True):
        length = min(side, whole)
        start = (whole - length) // 2 // step * step
        box.append(slice(start, start + length))
    return Block(0, (0, 0, 0), tuple(box), tuple(box))


def _passes(
    net: UNet,
    description: NetDescription,
    inputs: Sequence[torch.Tensor],
    shape: Sequence[int],
    precision: Precision,
    dtype: torch.dtype,
) -> dict[str, NDArray[Any]]:
    """Give the net its `inputs` and return the first voxels of `shape` of what it predicts, as in `answer`."""
    architecture = description.architecture
    plane = architecture.ndim == 2
    device = next(net.parameters()).device
    crop = tuple(slice(0, side) for side in (shape[1:] if plane else shape))
    found = {head: torch.empty((channels, *shape), dtype=dtype) for head, channels in architecture.heads.items()}
    low = precision == "bfloat16"
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=low):
        for number, batch in enumerate(inputs):
            for head, logits in net(batch.to(device), padded=False).items():
                values = logits[0].float().sigmoid()
                if dtype == torch.uint8:
                    # where the net is: with all its threads, and a quarter of the bytes to bring from a GPU
                    values = values.mul_(255).round_().to(dtype)
                place = found[head][:, number] if plane else found[head]
                place.copy_(values[(slice(None), *crop)])
    return {head: values.numpy() for head, values in found.items()}
