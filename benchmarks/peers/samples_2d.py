"""Seconds per training sample of Bootstrapper's 2D net, by a stand-in of gunpowder 1.4.4 and lsds 0.1.3, as JSON.

Run from the root of the project by the peers' Python: `python -m benchmarks.peers.samples_2d STORE --count 5`, STORE a
Zarr group with `raw` uint8, `labels` and `unlabelled` (z, y, x), the last 1 where the labels are painted.

Bootstrapper 0.3.2 is in no package index. The stand-in has the nodes of its net 2d_mtlsd in their order, with its
shapes, ranges and probabilities; those that gunpowder and lsds lack are written anew in `_nodes`. One process, nothing
cached between samples. Lengths that Bootstrapper derives from the voxel size are those of 8 nm.
"""

import argparse

import gunpowder as gp

from benchmarks._samples import DOWNSAMPLE, SECTION_INPUT, SECTION_OFFSETS, SECTION_OUTPUT, SIGMA, VOXEL_SIZE, timed
from benchmarks.peers._nodes import Blur, Gamma, Impulses, Renumber, SectionDescriptors, seed

RAW, LABELS, UNLABELLED = gp.ArrayKey("RAW"), gp.ArrayKey("LABELS"), gp.ArrayKey("UNLABELLED")
DESCRIPTORS, DESCRIPTORS_MASK = gp.ArrayKey("DESCRIPTORS"), gp.ArrayKey("DESCRIPTORS_MASK")
AFFINITIES, AFFINITIES_MASK = gp.ArrayKey("AFFINITIES"), gp.ArrayKey("AFFINITIES_MASK")
WEIGHTS = gp.ArrayKey("WEIGHTS")
BEYOND = gp.Coordinate(0, 64, 64) * gp.Coordinate(VOXEL_SIZE)
"""How far labels may be asked for outside of the volume; a rotated crop needs more than it has in the plane."""


def source(store: str, prefix: str = "") -> gp.Pipeline:
    """Random places of a volume, at least a twentieth of which is painted: others are drawn and thrown away."""
    return (
        gp.ZarrSource(
            store,
            {RAW: "raw", LABELS: f"{prefix}labels", UNLABELLED: f"{prefix}unlabelled"},
            {
                RAW: gp.ArraySpec(interpolatable=True),
                LABELS: gp.ArraySpec(interpolatable=False),
                UNLABELLED: gp.ArraySpec(interpolatable=False),
            },
        )
        + gp.Normalize(RAW)
        + Renumber(LABELS)
        + gp.Pad(RAW, None)
        + gp.Pad(LABELS, BEYOND)
        + gp.Pad(UNLABELLED, BEYOND)
        + gp.RandomLocation()
        + gp.Reject(UNLABELLED, min_masked=0.05)
    )


def augmentation() -> list[gp.BatchFilter]:
    """Augmentation of place, then of intensity."""
    spacing = [size * VOXEL_SIZE[0] for size in VOXEL_SIZE[1:]]
    jitter = [2.0 * size for size in VOXEL_SIZE[1:]]
    return [
        gp.SimpleAugment(transpose_only=[1, 2]),
        gp.DeformAugment(spacing, jitter, scale_interval=(0.9, 1.1), spatial_dims=2, p=0.5),
        gp.ShiftAugment(prob_slip=0.2, prob_shift=0.2, sigma=3),
        gp.NoiseAugment(RAW, var=0.01, p=0.5),
        gp.IntensityAugment(RAW, 0.9, 1.1, -0.1, 0.1, slab=(1, -1, -1), p=0.5),
        Gamma(RAW, p=0.5),
        Impulses(RAW, p=0.5),
        Blur(RAW, p=0.5),
        gp.DefectAugment(RAW, prob_missing=0.05, prob_low_contrast=0.1),
    ]


def targets() -> list[gp.BatchFilter]:
    """Descriptors, then affinities of labels with a boundary between them, and weights."""
    return [
        SectionDescriptors(LABELS, DESCRIPTORS, SIGMA, DOWNSAMPLE, UNLABELLED, DESCRIPTORS_MASK),
        gp.GrowBoundary(LABELS, UNLABELLED, steps=1, only_xy=True),
        gp.AddAffinities(
            [(0, *offset) for offset in SECTION_OFFSETS],
            LABELS,
            AFFINITIES,
            unlabelled=UNLABELLED,
            affinities_mask=AFFINITIES_MASK,
        ),
        gp.BalanceLabels(AFFINITIES, WEIGHTS, AFFINITIES_MASK),
    ]


def main() -> None:
    """Print seconds per sample."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store")
    parser.add_argument("--prefix", default="", help="of the names of labels and unlabelled")
    parser.add_argument("--count", type=int, default=5, help="samples that are timed")
    parser.add_argument("--warm-up", type=int, default=1, help="samples before them")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    seed(options.seed)
    pipeline = source(options.store, options.prefix)
    for node in (*augmentation(), *targets()):
        pipeline += node
    request = gp.BatchRequest()
    size = gp.Coordinate(VOXEL_SIZE)
    request.add(RAW, gp.Coordinate(3, *SECTION_INPUT) * size)
    for key in (DESCRIPTORS, DESCRIPTORS_MASK, AFFINITIES, AFFINITIES_MASK, WEIGHTS):
        request.add(key, gp.Coordinate(1, *SECTION_OUTPUT) * size)
    with gp.build(pipeline):
        report = timed(
            lambda: {key.identifier: array.data for key, array in pipeline.request_batch(request).items()},
            options.warm_up,
            options.count,
        )
    print(report)


if __name__ == "__main__":
    main()
