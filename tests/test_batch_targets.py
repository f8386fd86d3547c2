"""Targets left to the device of the net are those that the processor makes."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from sparse2dense.ops.affinities import axis_offsets
from sparse2dense.stages import trainer
from sparse2dense.stages.batch_targets import batch_targets
from sparse2dense.stages.net_kinds import describe_net
from sparse2dense.stages.samples import Targets
from sparse2dense.stages.trainer import makes_targets, train
from sparse2dense.stages.training_plan import TrainingPlan
from tests.test_training import SECTION, outputs, painted, samples
from tests.voronoi import voronoi

HELD_OUT = [samples(painted(1)).draw(np.random.default_rng(9))]


def as_batch(annotations: list[dict[str, np.ndarray]]) -> dict[str, torch.Tensor]:
    """The annotations of several samples, stacked."""
    return {name: torch.from_numpy(np.stack([a[name] for a in annotations])) for name in annotations[0]}


def test_a_sample_without_targets_leads_to_the_same() -> None:
    """With ids near 2^63 and half of the section unknown: the same image, and all that targets follow from."""
    whole = samples(painted())
    bare = whole.without_targets()
    expected, found = ([source.draw(np.random.default_rng(seed)) for seed in range(4)] for source in (whole, bare))
    assert not found[0].targets and not found[0].weights and not expected[0].annotation
    targets, weights = batch_targets(whole.targets, as_batch([sample.annotation for sample in found]))
    for number, (a, b) in enumerate(zip(expected, found, strict=True)):
        np.testing.assert_array_equal(a.input, b.input)
        for head in a.targets:
            counts = a.weights[head] > 0
            np.testing.assert_allclose(targets[head][number].numpy()[counts], a.targets[head][counts], atol=1e-4)
            np.testing.assert_allclose(weights[head][number].numpy(), a.weights[head], rtol=1e-6)


@pytest.mark.parametrize("kind", ["3d_affs", "3d_mtlsd"])
@pytest.mark.parametrize("rim", ["boundary", "ignore"])
def test_targets_of_volumes_equal(kind: str, rim: Any) -> None:
    """In anisotropic volumes, partly unknown and partly beyond the volume."""
    targets = Targets(kind, axis_offsets((1, 1, 1), (2, 3, 5)), (1.5, 4.0, 3.0), 2, 1, rim)
    shape = tuple(n + 2 * m for n, m in zip((3, 11, 9), targets.margin, strict=True))
    rng = np.random.default_rng(5)
    parts = []
    for seed in range(2):
        labels = voronoi(shape, 9, seed).astype(np.uint64) + np.uint64(2**63)
        mask = (np.kron(rng.random([-(-n // 4) for n in shape]), np.ones((4, 4, 4))) < 0.7)[tuple(map(slice, shape))]
        scope = np.ones(shape, bool)
        scope[:, :, : targets.margin[2] + 2] = False
        parts.append((labels, mask.astype(np.uint8), scope))
    made, weights = batch_targets(targets, as_batch([targets.annotation(*part) for part in parts]))
    for number, part in enumerate(parts):
        expected, weighed = targets.make(*part)
        assert set(made) == set(expected) and all(w.any() for w in weighed.values())
        for head, values in expected.items():
            counts = weighed[head] > 0
            np.testing.assert_allclose(made[head][number].numpy()[counts], values[counts], atol=1e-4)
            np.testing.assert_allclose(weights[head][number].numpy(), weighed[head], rtol=1e-6)


def test_a_training_that_leaves_targets_to_the_device_learns_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a GPU would, the net's device makes the targets; here that is the processor, which else leaves them."""
    assert makes_targets(torch.device("cuda")) and not makes_targets(torch.device("cpu"))
    made = []

    def watched(*arguments: Any) -> Any:
        made.append(arguments)
        return batch_targets(*arguments)

    monkeypatch.setattr(trainer, "batch_targets", watched)
    losses = []
    for name, late in (("early", False), ("late", True)):
        monkeypatch.setattr(trainer, "makes_targets", lambda _, late=late: late)
        plan = TrainingPlan(6, 2, 1e-3, 2, 2, 3, loaders=0)
        train(
            describe_net(SECTION, voxel_size=(8, 8, 8)),
            samples(painted()),
            HELD_OUT,
            plan,
            outputs(tmp_path / name),
            key={},
        )
        losses.append(pd.read_csv(tmp_path / name / "losses.csv").drop(columns="seconds"))
        assert len(made) == (6 if late else 0)
    np.testing.assert_allclose(losses[0].to_numpy(), losses[1].to_numpy(), rtol=1e-3)
