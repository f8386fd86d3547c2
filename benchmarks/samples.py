"""Seconds per training sample, ours and those of Bootstrapper's pipelines, in the same run, each in one process.

Bootstrapper 0.3.2 is in no package index. `benchmarks/peers` stands in for it: pipelines of gunpowder 1.4.4 and lsds
0.1.3 with its nodes, order, shapes and probabilities, run by a Python of their own because both need zarr < 3. They are
fair where they take about what Bootstrapper itself takes on two cores of an AMD EPYC: 0.47 s for a 2D sample, 1.0 to
1.2 s for one of 2D-to-3D; the table shows both. Without `make benchmark-peers` only our seconds are shown.

The volume is generated, of the size and with about as many objects as cube 2 of FIB-25, four of its 160 sections
painted. Bootstrapper draws places in all of it and throws away those without paint, which takes most of its time; we
draw painted voxels. So a second row shows a volume that is painted throughout, where none is thrown away; the target
is for the first row.

The same on both sides: the volume, a Zarr 2 store for the peers and sections of OME-Zarr for us; the shape of the
input; the channels of input and targets; offsets, sigma and downsampling of the descriptors; a boundary of one voxel;
weights; that nothing is kept between samples.

Not the same: our nets keep the size of their input, so our targets span all of it, the peers' 104 x 104 of 196 x 196
and 4 x 56 x 56 of 24 x 148 x 148, which is more work for us; we hold the sections in memory as in training, the peers
read a crop of their store; the augmentations differ in kind and probability, ours are the defaults of the
configuration; synthetic labels are drawn in other ways. Both end with the arrays of one sample, before a batch.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import zarr

from benchmarks._cells import cells
from benchmarks._peers import PEERS, in_child, installed
from benchmarks._samples import (
    DOWNSAMPLE,
    LIFT_INPUT,
    LIFT_OFFSETS,
    SECTION_INPUT,
    SECTION_OFFSETS,
    SIGMA,
    VOXEL_SIZE,
    timed,
)
from sparse2dense.ops.architecture import Architecture
from sparse2dense.ops.augmentation import Augmentation
from sparse2dense.stages.net_kinds import NetDescription
from sparse2dense.stages.samples import LiftSamples, Sample, Samples, SectionSamples, Targets
from sparse2dense.stages.slicing import read_sections, slice_sections
from sparse2dense.volumes.volume import create_volume

TIMES_AS_FAST = 10
VOLUME = (160, 250, 250)
OBJECTS = 48
"""In a section."""
PAINTED = (20, 60, 100, 140)
"""Sections."""

Taken = Mapping[str, list[float]]


class Task(NamedTuple):
    """What is drawn.

    Parameters
    ----------
    title
        In words.
    ours
        `section` or `lift`.
    peer
        Module of the peers and its options.
    bootstrapper
        Seconds that Bootstrapper itself takes; empty where they weren't measured.
    judged
        Whether it has a target.
    """

    title: str
    ours: str
    peer: tuple[str, ...]
    bootstrapper: str
    judged: bool


TASKS = (
    Task("2D, four of 160 sections painted", "section", ("benchmarks.peers.samples_2d", "peers.zarr"), "0.47", True),
    Task(
        "2D, every section painted",
        "section",
        ("benchmarks.peers.samples_2d", "peers.zarr", "--prefix", "all_"),
        "",
        False,
    ),
    Task("2D-to-3D", "lift", ("benchmarks.peers.samples_lift",), "1.0 to 1.2", True),
)


def main(argv: Sequence[str] | None = None) -> None:
    """Print a table of seconds per sample; exit with 1 where we aren't `TIMES_AS_FAST` times as fast as the peers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="both sides take turns so many times")
    parser.add_argument("--count", type=int, default=6, help="samples of a side per round")
    parser.add_argument("--peers", type=Path, default=PEERS, help="the environment that `make benchmark-peers` makes")
    parser.add_argument("--child", choices=("section", "lift"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child:
        print(draw_ours(options.child, options.folder, options.count, options.seed))
        return
    there = installed(options.peers)
    with tempfile.TemporaryDirectory() as name:
        write_inputs(Path(name), VOLUME, OBJECTS, PAINTED)
        found = measure(Path(name), options.rounds, options.count, options.peers if there else None)
    kept = [report(task, *taken) for task, taken in zip(TASKS, found, strict=True)]
    if not all(kept):
        sys.exit(1)


def measure(folder: Path, rounds: int, count: int, peers: Path | None) -> list[tuple[list[Taken], list[Taken]]]:
    """For every task what each round of ours and of the peers took, in turns."""
    found: list[tuple[list[Taken], list[Taken]]] = [([], []) for _ in TASKS]
    for seed in range(rounds):
        how = ("--seed", str(seed), "--count", str(count))
        for task, (ours, theirs) in zip(TASKS, found, strict=True):
            child = ("benchmarks.samples", "--child", task.ours, "--folder", str(folder))
            ours.append(in_child(sys.executable, "-m", *child, *how))
            if peers is not None:
                module, *options = (str(folder / word) if word.endswith(".zarr") else word for word in task.peer)
                theirs.append(in_child(str(peers / "bin/python"), "-E", "-m", module, *options, *how))
    return found


def report(task: Task, ours: Sequence[Taken], theirs: Sequence[Taken]) -> bool:
    """Print the mean of all samples of both sides and the ratio; return False only where a target is missed."""
    print(f"one training sample {task.title}")
    print(f"  ours       {mean(ours, 'seconds'):8.4f} s {mean(ours, 'processor'):8.4f} s of the processor")
    if not theirs:
        return True
    print(
        f"  stand-in   {mean(theirs, 'seconds'):8.4f} s {mean(theirs, 'processor'):8.4f} s of the processor"
        + (f"; Bootstrapper itself on two cores of an AMD EPYC {task.bootstrapper} s" if task.bootstrapper else "")
    )
    ratio = mean(theirs, "seconds") / mean(ours, "seconds")
    of_processor = mean(theirs, "processor") / mean(ours, "processor")
    kept = ratio >= TIMES_AS_FAST or not task.judged
    verdict = f", {'at least' if kept else 'NOT'} {TIMES_AS_FAST} times" if task.judged else ", no target"
    print(f"  {ratio:.1f} times as fast ({of_processor:.1f} of the processor){verdict}")
    return kept


def mean(rounds: Sequence[Taken], of: str) -> float:
    """Mean over the samples of all rounds."""
    return float(np.mean([value for taken in rounds for value in taken[of]]))


def write_inputs(folder: Path, shape: tuple[int, int, int], objects: int, painted: Sequence[int]) -> None:
    """Write a volume of which some sections are painted: `peers.zarr` for the peers, the folder `sections` for us."""
    depth = len(painted)
    labels = np.repeat(cells((depth, *shape[1:]), objects), -(-shape[0] // depth), axis=0)[: shape[0]].astype(np.uint64)
    noise = np.random.default_rng(0).integers(0, 64, shape, np.uint8)
    raw = (labels * 37 % 128).astype(np.uint8) + noise
    mask = np.zeros(shape, np.uint8)
    mask[list(painted)] = 1
    arrays = {"raw": raw, "labels": labels * mask, "unlabelled": mask}
    for name, values in arrays.items():
        create_volume(folder / name, shape, values.dtype, voxel_size=VOXEL_SIZE, labels=name == "labels")[...] = values
    mask_path = folder / "unlabelled"
    slice_sections(folder / "raw", folder / "labels", mask_path, mask_path, folder / "sections")
    group = zarr.create_group(folder / "peers.zarr", zarr_format=2)
    place: dict[str, Any] = {"resolution": list(VOXEL_SIZE), "offset": [0, 0, 0]}
    for name, values in {**arrays, "all_labels": labels, "all_unlabelled": np.ones_like(mask)}.items():
        group.create_array(name, data=values, chunks=(1, 128, 128), attributes=place)


def draw_ours(task: str, folder: Path, count: int, seed: int) -> str:
    """Draw samples as training does, and return how long that took, as JSON."""
    samples = section_samples(folder) if task == "section" else lift_samples()
    rng = np.random.default_rng(seed)
    return timed(lambda: arrays_of(samples.draw(rng)), 3, count)


def section_samples(folder: Path) -> Samples:
    """Samples for a 2D net, with the default augmentation."""
    targets = Targets("2d_mtlsd", SECTION_OFFSETS, (SIGMA, SIGMA), DOWNSAMPLE, 1, "boundary")
    return SectionSamples(read_sections(folder / "sections"), targets, SECTION_INPUT, Augmentation())


def lift_samples() -> Samples:
    """Samples for a 2D-to-3D net that reads descriptors and affinities."""
    pooling, kernels = ((1, 2, 2),), ((1, 3, 3), (3, 3, 3))
    architecture = Architecture(12, {"affinities": len(LIFT_OFFSETS)}, 9, 3, pooling, kernels)
    net = NetDescription("3d_affs_from_2d_mtlsd", architecture, 0, LIFT_OFFSETS, SECTION_OFFSETS, (SIGMA, SIGMA), None)
    settings = {"downsample": DOWNSAMPLE, "input_grow_boundary": 1, "grow_boundary": 0}
    return LiftSamples(net, LIFT_INPUT, {}, settings)


def arrays_of(sample: Sample) -> dict[str, Any]:
    """The arrays of a sample by name."""
    targets = {f"target {name}": array for name, array in sample.targets.items()}
    weights = {f"weight {name}": array for name, array in sample.weights.items()}
    return {"input": sample.input, **targets, **weights}


if __name__ == "__main__":
    main()
