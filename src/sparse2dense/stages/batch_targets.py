"""Targets and weights of whole batches, made on the device of the net from the annotation of samples."""

from collections.abc import Mapping

import torch
from torch import Tensor

from sparse2dense.ops.targets_torch import (
    batch_affinities,
    batch_affinity_mask,
    batch_balance_weights,
    batch_descriptors,
    batch_grow_boundary,
)
from sparse2dense.stages.net_kinds import KINDS
from sparse2dense.stages.samples import Targets

__all__ = ["batch_targets"]


@torch.no_grad()
def batch_targets(targets: Targets, annotation: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What `Targets.make` makes of one sample, of a batch of annotations: targets and weights, (batch, channels, ...).

    `annotation` is what `Targets.annotation` gives, each array with the batch first.
    """
    labels, mask, scope = annotation["labels"], annotation["mask"], annotation["scope"]
    inner = targets.inner(labels.shape[1:])
    made, weights = {}, {}
    heads = KINDS[targets.kind].heads
    if "descriptors" in heads:
        made["descriptors"] = batch_descriptors(labels, targets.sigma, targets.downsample, inner)
        known = ((labels != 0) & (scope != 0))[(slice(None), *inner)].float()
        weights["descriptors"] = known.unsqueeze(1).expand_as(made["descriptors"])
    if "affinities" in heads:
        pairs = batch_affinity_mask(mask, labels, targets.offsets, targets.rim, inner)
        pairs &= batch_affinities(scope, targets.offsets, inner)
        grown = batch_grow_boundary(labels, targets.grow_boundary, mask, only_xy=True)
        found = batch_affinities(grown, targets.offsets, inner)
        made["affinities"] = found.float()
        weights["affinities"] = batch_balance_weights(found, pairs)
    return made, weights
