"""A running average of a net's weights, which is steadier than the weights of any one step."""

from collections.abc import Mapping

from torch import Tensor

__all__ = ["average_weights"]


def average_weights(averaged: Mapping[str, Tensor], current: Mapping[str, Tensor], decay: float, step: int) -> None:
    """Move `averaged` towards `current` in place: an exponential moving average (Polyak & Juditsky 1992).

    Early on the decay is (1 + step) / (10 + step) where that is less, so that the random weights of the beginning are
    soon forgotten. What isn't a floating-point number, such as a counter, is copied.

    Parameters
    ----------
    averaged, current
        The `state_dict()` of two nets of one architecture, running statistics of normalisation included.
    decay
        Share of the average that is kept; it then spans about 1 / (1 - decay) steps.
    step
        Steps done so far, from 1.
    """
    kept = min(decay, (1 + step) / (10 + step))
    for name, value in current.items():
        if value.is_floating_point():
            averaged[name].lerp_(value, 1 - kept)
        else:
            averaged[name].copy_(value)
