"""Seconds per training sample of Bootstrapper's 2D-to-3D net, by a stand-in of gunpowder 1.4.4 and lsds 0.1.3, as JSON.

Run from the root of the project by the peers' Python: `python -m benchmarks.peers.samples_lift --count 5`.

Bootstrapper 0.3.2 is in no package index. The stand-in has the nodes of its net 3d_affs_from_2d_mtlsd in their order,
with its shapes, ranges and probabilities: synthetic labels, an eroded copy with errors, descriptors and affinities of
the copy's sections as input, changed as if predicted, and affinities of the labels as target. What gunpowder and lsds
lack is written anew in `_nodes` and `_synthetic`. One process, nothing cached between samples.
"""

import argparse

import gunpowder as gp
import numpy as np

from benchmarks._samples import (
    DOWNSAMPLE,
    LIFT_INPUT,
    LIFT_OFFSETS,
    LIFT_OUTPUT,
    SECTION_OFFSETS,
    SIGMA,
    timed,
)
from benchmarks.peers._nodes import CopyOf, ErodeAtRandom, FaintSections, SectionBlur, SectionDescriptors, seed
from benchmarks.peers._synthetic import Obfuscate, SyntheticLabels

LABELS, SEEN = gp.ArrayKey("LABELS"), gp.ArrayKey("SEEN")
SEEN_DESCRIPTORS, SEEN_AFFINITIES = gp.ArrayKey("SEEN_DESCRIPTORS"), gp.ArrayKey("SEEN_AFFINITIES")
AFFINITIES, AFFINITIES_MASK, WEIGHTS = (
    gp.ArrayKey("AFFINITIES"),
    gp.ArrayKey("AFFINITIES_MASK"),
    gp.ArrayKey("WEIGHTS"),
)


def objects() -> gp.Pipeline:
    """Labels, and the copy that the input is made from."""
    return (
        SyntheticLabels(LABELS, LIFT_INPUT)
        + gp.Pad(LABELS, None)
        + gp.SimpleAugment(transpose_only=[1, 2])
        + gp.DeformAugment((4, 10, 10), (1, 2, 2), scale_interval=(0.8, 1.2), rotation_axes=[1, 2])
        + gp.ShiftAugment(prob_slip=0.1, prob_shift=0.1, sigma=3, p=0.8)
        + CopyOf(LABELS, SEEN)
        + ErodeAtRandom(SEEN, 1)
        + Obfuscate(SEEN)
    )


def as_predicted(array: gp.ArrayKey) -> list[gp.BatchFilter]:
    """Changes of an input array."""
    return [
        gp.NoiseAugment(array, p=0.1),
        gp.IntensityAugment(array, 0.9, 1.1, -0.1, 0.1, slab=(1, -1, -1, -1), p=0.5),
        gp.IntensityAugment(array, 0.9, 1.1, -0.1, 0.1, slab=(-1, 1, -1, -1), p=0.5),
        SectionBlur(array, p=0.5),
        FaintSections(array),
    ]


def main() -> None:
    """Print seconds per sample."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=5, help="samples that are timed")
    parser.add_argument("--warm-up", type=int, default=1, help="samples before them")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    seed(options.seed)
    pipeline = objects() + SectionDescriptors(SEEN, SEEN_DESCRIPTORS, SIGMA, DOWNSAMPLE)
    flat = [(0, *offset) for offset in SECTION_OFFSETS]
    pipeline += gp.AddAffinities(flat, SEEN, SEEN_AFFINITIES, dtype=np.float32)
    for node in (*as_predicted(SEEN_DESCRIPTORS), *as_predicted(SEEN_AFFINITIES)):
        pipeline += node
    pipeline += gp.AddAffinities(LIFT_OFFSETS, LABELS, AFFINITIES, affinities_mask=AFFINITIES_MASK)
    pipeline += gp.BalanceLabels(AFFINITIES, WEIGHTS, AFFINITIES_MASK, slab=(3, -1, -1, -1))
    request = gp.BatchRequest()
    for key in (SEEN_DESCRIPTORS, SEEN_AFFINITIES):
        request.add(key, LIFT_INPUT)
    for key in (AFFINITIES, WEIGHTS):
        request.add(key, LIFT_OUTPUT)
    with gp.build(pipeline):
        report = timed(
            lambda: {key.identifier: array.data for key, array in pipeline.request_batch(request).items()},
            options.warm_up,
            options.count,
        )
    print(report)


if __name__ == "__main__":
    main()
