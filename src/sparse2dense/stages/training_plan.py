"""How a net is trained, as data: how long, how fast, and by which options; it needs no library for nets."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sparse2dense.errors import InputError
from sparse2dense.ops.schedules import WARMUP, learning_rate_factor

__all__ = ["TrainingPlan", "plan_problems"]


@dataclass(frozen=True)
class TrainingPlan:
    """How long and how fast to train; steps are optimiser steps.

    Parameters
    ----------
    minutes
        Ends training early; None for never.
    schedule, warmup
        Of the learning rate: a key of `ops.schedules.SCHEDULES`, and the steps until it is at its largest, None for
        2 % of `iterations`.
    clip
        Largest norm of a step's gradient; a longer one is shortened to it. None for no limit.
    average
        Decay of the running average of the weights, which then is validated and kept in their place; None for none.
    patience
        Training ends after so many validations in a row without improvement; None for never.
    channels_last
        Whether weights and samples lie in memory as convolutions read them.
    compile
        Whether the net is compiled by PyTorch.
    loaders
        Processes that make samples; the only setting that changes nothing in the outcome.

    Raises
    ------
    InputError
        For the first of the `plan_problems`.
    """

    iterations: int
    batch: int
    learning_rate: float
    validate_every: int
    checkpoint_every: int
    seed: int
    minutes: float | None = None
    schedule: str = "cosine"
    warmup: int | None = None
    clip: float | None = 1.0
    average: float | None = None
    patience: int | None = None
    channels_last: bool = True
    compile: bool = False
    loaders: int = 1

    def __post_init__(self) -> None:
        for problem in plan_problems(asdict(self)):
            raise problem

    def learning_rate_at(self, step: int, seconds: float) -> float:
        """The learning rate of the step after `step` others that took `seconds`.

        With `minutes` the share of them that is over counts where it is more than the share of `iterations`: the
        schedule, warm-up included, is then squeezed into the time.
        """
        progress = step / self.iterations
        if self.minutes is not None:
            progress = max(progress, seconds / (60 * self.minutes))
        warmup = WARMUP if self.warmup is None else self.warmup / self.iterations
        return self.learning_rate * learning_rate_factor(progress, self.schedule, warmup)


def plan_problems(settings: Mapping[str, Any], path: str = "") -> Iterator[InputError]:
    """Yield the contradictions between settings of a plan, whose keys are named with `path` before them."""
    iterations, warmup, patience = settings["iterations"], settings["warmup"], settings["patience"]
    if warmup is not None and warmup > iterations:
        yield InputError(
            f"`{path}warmup` is {warmup}, but `{path}iterations` is {iterations}",
            allowed=f"a warm-up of at most {iterations} steps, or null for 2 % of them",
            remedy="shorten `warmup`: the learning rate would never be reached",
        )
    validations = -(-iterations // settings["validate_every"])
    if patience is not None and patience + 1 >= validations:  # the first one always is an improvement
        yield InputError(
            f"`{path}patience` is {patience}, but `{path}validate_every` makes {validations} validations",
            allowed=f"at least {patience + 2} validations, or a patience of null",
            remedy="validate more often, or lower `patience`: training could never end early",
        )
