"""How the learning rate changes in the course of a training."""

from collections.abc import Callable
from math import cos, pi

__all__ = ["SCHEDULES", "WARMUP", "learning_rate_factor"]

# Share of a training that the learning rate warms up in, unless told otherwise.
WARMUP = 0.02
# No step is smaller than this part of the largest, the very first one included.
SMALLEST = 1e-3


def constant(_: float) -> float:
    """The whole learning rate throughout."""
    return 1.0


def cosine(progress: float) -> float:
    """Half a period of a cosine, from 1 down to 0.01 (Loshchilov & Hutter 2017, without restarts)."""
    return 0.01 + 0.99 * 0.5 * (1 + cos(pi * min(progress, 1.0)))


SCHEDULES: dict[str, Callable[[float], float]] = {"constant": constant, "cosine": cosine}


def learning_rate_factor(progress: float, schedule: str, warmup: float = WARMUP) -> float:
    """What the learning rate is multiplied with: a ramp from 0 to 1 (Goyal et al. 2017) times the schedule.

    The schedule spans the whole training, the warm-up included.

    Parameters
    ----------
    progress
        Share of the training that is over, 0 at its first step.
    schedule
        A key of `SCHEDULES`.
    warmup
        Share of the training until the ramp ends; 0 for none.

    >>> learning_rate_factor(0.01, "constant"), learning_rate_factor(0.5, "cosine", warmup=0)
    (0.5, 0.505)
    """
    ramp = min(progress / warmup, 1.0) if warmup else 1.0
    return max(ramp * SCHEDULES[schedule](progress), SMALLEST)
