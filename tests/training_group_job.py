"""A training by several processes, for tests to start, kill and look at: `python -m tests.training_group_job ...`."""

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from sparse2dense.stages.net_kinds import describe_net
from sparse2dense.stages.samples import Sample
from sparse2dense.stages.trainer import train
from sparse2dense.stages.training_group import group_of_this_process, share_training
from sparse2dense.stages.training_plan import TrainingPlan
from tests.test_training import SECTION, outputs, painted, samples


class Even:
    """Samples all of whose voxels count alike, so that the loss of a batch is the mean of those of its parts."""

    def __init__(self, killed_at: int | None = None) -> None:
        self.source, self.killed_at, self.drawn = samples(painted()), killed_at, 0

    def draw(self, rng: np.random.Generator) -> Sample:
        """A sample; or the end of this process and of all in its group."""
        self.drawn += 1
        if self.drawn == self.killed_at:
            os.killpg(os.getpgid(0), signal.SIGKILL)
        sample = self.source.draw(rng)
        return replace(sample, weights={head: np.ones_like(value) for head, value in sample.weights.items()})


def train_tiny(folder: Path, killed_at: int | None = None, batch: int = 4) -> None:
    """Train a tiny net without normalisation, which would see parts of a batch alone."""
    net = describe_net(SECTION | {"normalization": "none"}, voxel_size=(8, 8, 8))
    plan = TrainingPlan(12, batch, 1e-3, 4, 3, seed=3, loaders=0, average=0.9)
    held_out = [samples(painted(1)).draw(np.random.default_rng(9))]
    train(net, Even(killed_at), held_out, plan, outputs(folder), key={})


def wait(folder: Path) -> None:
    """Say which process this is, and go on until it is ended."""
    (folder / f"{group_of_this_process().rank}.pid").write_text(str(os.getpid()))
    time.sleep(60)


def break_off(folder: Path) -> None:
    """Fail in the second process, for which the first would wait for ever."""
    (folder / f"{group_of_this_process().rank}.begun").touch()
    if group_of_this_process().rank == 1:
        raise OSError("the second process can't go on")
    time.sleep(60)


if __name__ == "__main__":
    from tests import training_group_job as job  # by the name that helpers know it by

    name, processes, place, *numbers = sys.argv[1:]
    function = {"train": job.train_tiny, "wait": job.wait, "fail": job.break_off}[name]
    share_training(int(processes), function, Path(place), *map(int, numbers))
