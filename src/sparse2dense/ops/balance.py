"""Weights that give boundaries and insides of objects the same say in a loss."""

from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sparse2dense.errors import InputError

__all__ = ["FRACTION_LIMITS", "balance_weights"]

FRACTION_LIMITS = (0.05, 0.95)
"""A class counts as no rarer and no more frequent than this, which keeps weights between 0.53 and 10."""


def balance_weights(
    target: NDArray[np.integer],
    mask: NDArray[np.integer] | NDArray[np.bool_],
    groups: Sequence[Sequence[int]] | None = None,
) -> NDArray[np.float32]:
    """Weight 1 / (2 f) for the values that count, f being the fraction of their class (0 or not 0) among them.

    The weights of BalanceLabels in gunpowder, as Bootstrapper uses them.

    Parameters
    ----------
    target
        (channels, ...) of 0 and 1.
    mask
        Same shape; not 0 where a value counts.
    groups
        Lists of channels to balance together, each channel once; all together when omitted.

    Returns
    -------
    float32, same shape; 0 where the mask is 0.

    Raises
    ------
    InputError
        When shapes differ or `groups` doesn't hold each channel once.
    """
    if target.shape != mask.shape:
        raise InputError(f"mask of {mask.shape}", allowed=f"the target's shape {target.shape}", remedy="align them")
    channels = range(len(target))
    groups = [list(channels)] if groups is None else groups
    if sorted(channel for group in groups for channel in group) != list(channels):
        raise InputError(
            f"groups {groups} of {len(target)} channels", allowed="each channel once", remedy="correct the groups"
        )
    weights = np.zeros(target.shape, np.float32)
    for group in groups:
        counted = [(target[channel].reshape(-1), mask[channel].reshape(-1)) for channel in group]
        total, positive = np.sum([_count(*values) for values in counted], axis=0)
        if total == 0:
            continue
        fractions = np.clip([(total - positive) / total, positive / total], *FRACTION_LIMITS)
        of_class = (0.5 / fractions).astype(np.float32)
        for channel, values in zip(group, counted, strict=True):
            _weigh(*values, of_class, weights[channel].reshape(-1))
    return weights


@njit(cache=True, nogil=True)
def _count(target, mask):  # type: ignore[no-untyped-def]
    """How many values count, and how many of these aren't 0."""
    total = positive = 0
    for i in range(target.size):
        known = mask[i] != 0
        total += known
        positive += known & (target[i] != 0)
    return total, positive


@njit(cache=True, nogil=True)
def _weigh(target, mask, of_class, weights):  # type: ignore[no-untyped-def]
    """Give the values that count the weight of their class, of two."""
    zero, one = of_class[0], of_class[1]
    for i in range(target.size):
        if mask[i] != 0:
            weights[i] = one if target[i] != 0 else zero
