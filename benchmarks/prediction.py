"""Voxels per second of prediction beside those of the net alone, on the same blocks, in the same run.

    python -m benchmarks.prediction
    python -m benchmarks.prediction --shape 128 1024 1024 --block 64 256 256

Prediction is `predict`, as the workflow calls it: loading the net, reading blocks with their halo, the passes, rounding
and writing. The net alone has the same passes, on inputs that are in memory already, and nothing is done with what it
says. Both use the same threads, or the GPU where there is one, and take turns; the fastest turn of each counts. The
nets are those of config/presets/isotropic_cpu.yaml, not trained, which changes nothing in the time of a pass.

Exit status 1 when prediction of a stack of sections, or in 3D, has less than 0.9 of the voxels per second of the net.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks._cells import cells
from benchmarks._preset import VOXEL_SIZE, preset_nets
from benchmarks._ways import Taken, processor_seconds
from sparse2dense.ops.unet import UNet
from sparse2dense.stages.answering import block_inputs
from sparse2dense.stages.net_kinds import KINDS, describe_net
from sparse2dense.stages.nets import fastest, load_net, save_net
from sparse2dense.stages.predicting import predict
from sparse2dense.volumes.grid import blocks
from sparse2dense.volumes.volume import create_volume, open_volume

BRIEFLY = ("--shape", "64", "256", "256", "--rounds", "2")
"""What `make benchmark` runs."""
LIMIT = 0.9
NETS = {"2d": "a stack of sections", "3d": "3D"}


def main(argv: Sequence[str] | None = None) -> None:
    """Print voxels per second of both sides and the ratio; exit with 1 where it is below `LIMIT`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(64, 512, 512), help="voxels of the generated volume")
    parser.add_argument("--block", type=int, nargs=3, default=(64, 128, 128), help="multiples of 64 voxels")
    parser.add_argument("--rounds", type=int, default=3, help="both sides take turns so many times")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the net")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_raw(folder / "raw.zarr", options.shape)
        kept = [compare(net, folder, options.block, options.threads, options.rounds) for net in NETS]
    sys.exit(not all(kept))


def write_raw(path: Path, shape: Sequence[int]) -> None:
    """Write an image of cells with noise."""
    side = cells(tuple(shape[1:]), 200)
    noise = np.random.default_rng(0).integers(0, 64, shape, np.uint8)
    create_volume(path, shape, "uint8", voxel_size=VOXEL_SIZE)[...] = (side * 37 % 128).astype(np.uint8) + noise


def compare(net: str, folder: Path, block: Sequence[int], threads: int, rounds: int) -> bool:
    """Time both sides with one net; print, and return whether the limit is kept."""
    description = describe_net(preset_nets()[net], voxel_size=VOXEL_SIZE)
    torch.manual_seed(0)
    checkpoint = folder / net / "checkpoint.pt"
    checkpoint.parent.mkdir()
    save_net(checkpoint, UNet(description.architecture), description, {})
    outputs = {head: folder / net / f"{head}.zarr" for head in KINDS[description.kind].heads}

    def stage() -> None:
        predict({"raw": folder / "raw.zarr"}, checkpoint, outputs, block_shape=block, threads=threads)

    torch.set_num_threads(threads)
    alone = net_alone(folder / "raw.zarr", checkpoint, block)
    turns = [(timed(alone), timed(stage)) for _ in range(rounds)]
    voxels = int(np.prod(open_volume(folder / "raw.zarr").shape))
    bare, whole = (Taken(*map(min, zip(*side, strict=True))) for side in zip(*turns, strict=True))
    return report(NETS[net], voxels, bare, whole)


def report(title: str, voxels: int, bare: Taken, whole: Taken) -> bool:
    """Print the rates of both sides and their ratio; return whether the limit is kept."""
    for name, taken in (("the net alone", bare), ("prediction", whole)):
        rate = voxels / taken.seconds / 1e6
        print(f"{title:20} {name:14} {rate:8.3f} Mvoxel/s, {taken.processor:.2f} s of processors", flush=True)
    ratio = bare.seconds / whole.seconds
    kept = ratio >= LIMIT
    print(
        f"{title:20} {ratio:.3f} of the net's voxels per second ({bare.processor / whole.processor:.3f} by seconds of "
        f"processors), {'at least' if kept else 'NOT'} {LIMIT}"
    )
    return kept


def net_alone(raw: Path, checkpoint: Path, block: Sequence[int]) -> Callable[[], None]:
    """What passes the inputs of all blocks through the net; they are read here."""
    net, description = load_net(checkpoint)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net, volume = fastest(net.to(device)), open_volume(raw)
    tiles = blocks(volume.shape, block)
    inputs = [[batch.to(device) for batch in block_inputs(description, {"raw": volume}, tile)] for tile in tiles]

    def alone() -> None:
        with torch.inference_mode():
            for batches in inputs:
                for batch in batches:
                    net(batch, padded=False)
        if device.type == "cuda":
            torch.cuda.synchronize()

    return alone


def timed(work: Callable[[], None]) -> Taken:
    """What a call took."""
    start, before = time.perf_counter(), processor_seconds()
    work()
    return Taken(time.perf_counter() - start, processor_seconds() - before)


if __name__ == "__main__":
    main()
