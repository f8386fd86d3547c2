"""Share of a training step that is spent waiting for samples, on two cores.

    python -m benchmarks.waiting
    python -m benchmarks.waiting --steps 200 --nets 2d

The nets are those of config/presets/isotropic_cpu.yaml, trained as the workflow trains them with two CPUs: the net in
two threads, the samples in a process beside it, both on the same two cores. The volume is generated, of the size of
cube 2 of FIB-25, four of its sections painted for the 2D net and all of it labelled for the 3D net. The trainer itself
measures how long it waits; the first sample, which loading begins with, doesn't count, nor does validation.

Exit status 1 when one of the nets waits for more than 5 % of its steps. That the process beside it takes its part of
the cores is not waiting: it makes steps longer. Cores are kept to two by Linux alone.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks._preset import preset_nets
from benchmarks.samples import OBJECTS, PAINTED, VOLUME, write_inputs
from sparse2dense.stages.trainer import TrainingOutputs
from sparse2dense.stages.training import train_lift, train_sections, train_volume
from sparse2dense.volumes.volume import create_volume, open_volume

BRIEFLY = ("--steps", "12")
"""What `make benchmark` runs."""
LIMIT = 0.05
THREADS = 2
NETS = ("2d", "2d_to_3d", "3d")


def main(argv: Sequence[str] | None = None) -> None:
    """Print for every net what a step takes and how much of it is waiting; exit with 1 where that is too much."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60, help="of each training")
    parser.add_argument("--nets", nargs="+", choices=NETS, default=NETS)
    options = parser.parse_args(argv)
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(every)[:THREADS])  # for the loading process, too, which inherits it
    try:
        with tempfile.TemporaryDirectory() as name:
            write_inputs(Path(name), VOLUME, OBJECTS, PAINTED)
            kept = [report(net, *train(net, Path(name), options.steps), options.steps) for net in options.nets]
    finally:
        os.sched_setaffinity(0, every)
    sys.exit(not all(kept))


def train(net: str, folder: Path, steps: int) -> tuple[float, float]:
    """Train a net; return the seconds spent in steps and those spent waiting."""
    nets = preset_nets()
    settings = {**nets[net], "iterations": steps, "validate_every": steps, "checkpoint_every": steps}
    trained = folder / net
    outputs = TrainingOutputs(*(trained / name for name in ("checkpoint.pt", "losses.csv", "snapshots.png", "board")))
    TRAININGS[net](folder, outputs, {"settings": settings, "seed": 1, "threads": THREADS}, nets)
    run = torch.load(outputs.checkpoint, weights_only=True)["provenance"]["run"]
    return run["stepping"], run["waiting"]


def on_sections(folder: Path, outputs: TrainingOutputs, how: dict[str, Any], _: dict[str, Any]) -> None:
    """Train on the painted sections."""
    train_sections({"painted": folder / "sections"}, outputs, validation={"painted": None}, **how)


def on_synthetic_labels(_: Path, outputs: TrainingOutputs, how: dict[str, Any], nets: dict[str, Any]) -> None:
    """Train on labels that are drawn as it goes."""
    train_lift(outputs, section_settings=nets["2d"], **how)


def on_volume(folder: Path, outputs: TrainingOutputs, how: dict[str, Any], _: dict[str, Any]) -> None:
    """Train on the whole volume, all of it labelled."""
    raw, mask = open_volume(folder / "raw"), folder / "everywhere"
    labels = folder / "every_label"
    place: dict[str, Any] = {"voxel_size": raw.voxel_size, "offset": raw.offset}
    create_volume(mask, raw.shape, "uint8", **place)[...] = np.ones(raw.shape, np.uint8)
    # as `write_inputs` made the image of them
    painted = open_volume(folder / "labels")[sorted(PAINTED)]
    repeated = np.repeat(painted, -(-raw.shape[0] // len(painted)), axis=0)[: raw.shape[0]]
    create_volume(labels, raw.shape, "uint64", labels=True, **place)[...] = repeated
    train_volume({"volume": (raw.path, labels, mask)}, outputs, **how)


TRAININGS: dict[str, Callable[[Path, TrainingOutputs, dict[str, Any], dict[str, Any]], None]] = {
    "2d": on_sections,
    "2d_to_3d": on_synthetic_labels,
    "3d": on_volume,
}


def report(net: str, stepping: float, waiting: float, steps: int) -> bool:
    """Print what was found; return whether the limit is kept."""
    share = waiting / (stepping + waiting)
    kept = share <= LIMIT
    print(
        f"{net:10} {(stepping + waiting) / steps:7.3f} s per step, {100 * share:5.2f} % of it waiting, "
        f"{'within' if kept else 'NOT within'} {100 * LIMIT:.0f} %",
        flush=True,
    )
    return kept


if __name__ == "__main__":
    main()
