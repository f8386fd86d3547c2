"""Training: looks at the annotation only, goes on exactly where it was, and leaves a net that works."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from sparse2dense.errors import InputError
from sparse2dense.ops.augmentation import Augmentation
from sparse2dense.stages.net_kinds import describe_net
from sparse2dense.stages.nets import load_net
from sparse2dense.stages.samples import LiftSamples, Sample, SectionSamples, Targets, VolumeSamples
from sparse2dense.stages.slicing import SectionData
from sparse2dense.stages.trainer import TrainingOutputs, train
from sparse2dense.stages.training import split_sections, train_lift, train_volume
from sparse2dense.stages.training_plan import TrainingPlan
from sparse2dense.volumes.volume import create_volume, open_volume

SECTION: dict[str, Any] = {
    "kind": "2d_mtlsd",
    "adjacent": 1,
    "features": 3,
    "growth": 2,
    "pooling": [[2, 2]],
    "kernels": [[3, 3], [3, 3]],
    "normalization": "batch",
    "offsets": [[-1, 0], [0, -1], [-3, 0]],
    "sigma": [3, 3],
    "downsample": 1,
    "grow_boundary": 1,
    "rim": "boundary",
}
VOLUME: dict[str, Any] = SECTION | {
    "kind": "3d_mtlsd",
    "pooling": [[1, 2, 2]],
    "kernels": [[1, 3, 3], [3, 3, 3]],
    "offsets": [[-1, 0, 0], [0, -1, 0], [0, 0, -1]],
    "sigma": [2, 3, 3],
    "augmentation": {},
    "input_shape": [4, 16, 16],
    "batch": 1,
    "iterations": 4,
    "minutes": None,
    "learning_rate": 1e-3,
    "validate_every": 2,
    "checkpoint_every": 2,
}
LIFT: dict[str, Any] = VOLUME | {"kind": "3d_affs_from_2d_mtlsd", "synthetic": {"variant": "draw"}}


def outputs(folder: Path) -> TrainingOutputs:
    """The files of a training in `folder`."""
    return TrainingOutputs(
        folder / "checkpoint.pt", folder / "losses.csv", folder / "snapshots.png", folder / "tensorboard"
    )


def painted(seed: int = 0, shape: tuple[int, int] = (60, 70)) -> SectionData:
    """A section with objects on its left half, ids near 2^63, and nothing known on the right."""
    rng = np.random.default_rng(seed)
    tiles = np.add.outer(np.arange(shape[0]) // 12 * 10, np.arange(shape[1]) // 9)
    labels = tiles.astype(np.uint64) + np.uint64(2**63 + 1)
    mask = np.zeros(shape, np.uint8)
    mask[:, : shape[1] // 2] = 1
    raw = rng.integers(0, 256, (3, *shape)).astype(np.uint8)
    return SectionData(5, raw, np.where(mask, labels, 0).astype(np.uint64), mask, np.ones_like(mask), (8.0, 8.0, 8.0))


def samples(section: SectionData, augmentation: Augmentation | None = None) -> SectionSamples:
    """Samples of one section."""
    targets = Targets("2d_mtlsd", ((-1, 0), (0, -1), (-3, 0)), (3.0, 3.0), 1, 1, "boundary")
    return SectionSamples([section], targets, (24, 24), augmentation or Augmentation())


def test_what_is_not_annotated_never_reaches_the_loss() -> None:
    """Other labels outside the mask give the same samples, weights included."""
    section = painted()
    other = SectionData(**{**vars(section), "labels": np.where(section.mask > 0, section.labels, 77).astype(np.uint64)})
    for seed in range(5):
        a, b = (samples(s).draw(np.random.default_rng(seed)) for s in (section, other))
        for head in a.targets:
            np.testing.assert_array_equal(a.targets[head], b.targets[head])
            np.testing.assert_array_equal(a.weights[head], b.weights[head])


def test_weights_are_zero_far_from_the_annotation() -> None:
    """Nothing is trained more than an offset away from the mask."""
    section = painted()
    sample = samples(section, Augmentation().none()).at(section, np.array([30.0, 50.0]), np.random.default_rng(0))
    assert not sample.weights["descriptors"].any()
    assert not sample.weights["affinities"].any()


def test_the_edge_of_the_volume_is_no_boundary() -> None:
    """A pair of voxels of which one lies beyond the volume doesn't count, though nothing is annotated there."""
    whole = painted()
    section = SectionData(**{**vars(whole), "mask": np.ones_like(whole.mask), "labels": np.ones_like(whole.labels)})
    sample = samples(section, Augmentation().none()).at(section, np.array([5.0, 5.0]), np.random.default_rng(0))
    assert sample.targets["affinities"][sample.weights["affinities"] > 0].all()


def test_samples_have_both_classes_and_finite_targets() -> None:
    """Targets are in [0, 1], boundaries and insides both count, and the same seed gives the same sample."""
    source = samples(painted())
    for seed in range(10):
        sample, again = (source.draw(np.random.default_rng(seed)) for _ in range(2))
        np.testing.assert_array_equal(sample.input, again.input)
        for head, target in sample.targets.items():
            assert np.isfinite(sample.input).all()
            assert target.min() >= 0
            assert target.max() <= 1
            assert sample.weights[head].sum() > 0
        counted = sample.targets["affinities"][sample.weights["affinities"] > 0]
        assert 0 < counted.mean() < 1


def test_an_empty_annotation_is_refused() -> None:
    """A section without labels can't be trained on."""
    section = painted()
    empty = SectionData(**{**vars(section), "mask": np.zeros_like(section.mask)})
    with pytest.raises(InputError, match="no labelled voxel"):
        samples(empty)


def test_validation_sections_are_kept_out() -> None:
    """A chosen section, the last of three, or the lower rows of fewer: what validates is never trained on."""
    data = {"a": [SectionData(**{**vars(painted()), "section": z}) for z in (3, 7, 9)]}
    for chosen, kept in ((7, 7), (None, 9)):
        training, held_out = split_sections(data, {"a": chosen})
        assert [s.section for s in held_out] == [kept]
        assert kept not in [s.section for s in training]
    training, held_out = split_sections({"a": data["a"][:1]}, {"a": None})
    assert not (training[0].mask & held_out[0].mask).any()
    assert held_out[0].mask.any()
    np.testing.assert_array_equal(training[0].mask | held_out[0].mask, data["a"][0].mask)


def test_a_volume_of_thrice_the_weight_is_seen_thrice_as_often(tmp_path: Path) -> None:
    """Of those with as many objects; one with twice as many objects is seen twice as often."""
    targets = Targets("2d_affs", ((-1, 0), (0, -1)), (3.0, 3.0), 1, 1, "boundary")
    both = SectionSamples([painted(), replace(painted(), weight=3)], targets, (24, 24), Augmentation())
    assert both.shares.tolist() == [0.25, 0.75]
    triples = []
    for objects, grey in ((1, 0), (2, 255)):
        labels = np.broadcast_to(np.arange(12) // (12 // objects) + 1, (9, 12, 12))
        arrays: dict[str, np.ndarray] = {
            "raw": np.full(labels.shape, grey, np.uint8),
            "labels": labels,
            "mask": np.ones_like(labels),
        }
        for name, values in arrays.items():
            path = tmp_path / f"{name}{objects}"
            create_volume(path, values.shape, values.dtype, voxel_size=(8, 8, 8))[...] = values
        raw, stored, mask = (open_volume(tmp_path / f"{name}{objects}") for name in arrays)
        triples.append((raw, stored, mask))
    targets = Targets("3d_affs", ((-1, 0, 0),), (3.0, 3.0, 3.0), 1, 1, "boundary")
    sections, plain = [slice(0, 9)] * 2, Augmentation().none()
    source = VolumeSamples(triples, targets, (4, 8, 8), plain, sections, weights=[1.5, 1])
    assert source.shares == pytest.approx([3 / 7, 4 / 7])
    white = [source.draw(np.random.default_rng(seed)).input.mean() > 0.5 for seed in range(400)]
    assert np.mean(white) == pytest.approx(4 / 7, abs=0.08)


class Interrupted:
    """Samples that fail once the given number of draws is reached, as if the job were killed."""

    def __init__(self, limit: int) -> None:
        self.limit, self.source, self.drawn = limit, samples(painted()), 0

    def draw(self, rng: np.random.Generator) -> Sample:
        """A sample, or the kill."""
        self.drawn += 1
        if self.drawn > self.limit:
            raise KeyboardInterrupt
        return self.source.draw(rng)


def test_a_killed_training_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    """Killed twice and started again, a training gives the same weights and losses as one that ran through."""
    net = describe_net(SECTION, voxel_size=(8, 8, 8))
    plan = TrainingPlan(12, 2, 1e-3, 4, 3, seed=3, loaders=0)
    held_out = [samples(painted(1)).draw(np.random.default_rng(9))]
    train(net, samples(painted()), held_out, plan, outputs(tmp_path / "whole"), key={})
    broken = outputs(tmp_path / "broken")
    for limit in (9, 11):
        with pytest.raises(KeyboardInterrupt):
            train(net, Interrupted(limit), held_out, plan, broken, key={})
        assert not broken.checkpoint.exists()
    train(net, samples(painted()), held_out, plan, broken, key={})
    a, b = (load_net(tmp_path / name / "checkpoint.pt")[0].state_dict() for name in ("whole", "broken"))
    assert all(torch.equal(a[name], b[name]) for name in a)
    tables = [pd.read_csv(tmp_path / name / "losses.csv").drop(columns="seconds") for name in ("whole", "broken")]
    pd.testing.assert_frame_equal(tables[0], tables[1])
    assert not (tmp_path / "broken.partial").exists()


def test_other_settings_start_afresh(tmp_path: Path) -> None:
    """What an earlier attempt left is discarded where the settings differ."""
    net = describe_net(SECTION, voxel_size=(8, 8, 8))
    held_out = [samples(painted(1)).draw(np.random.default_rng(9))]
    with pytest.raises(KeyboardInterrupt):
        plan = TrainingPlan(6, 2, 1e-3, 2, 2, 3, loaders=0)
        train(net, Interrupted(9), held_out, plan, outputs(tmp_path / "n"), key={})
    plan = TrainingPlan(2, 2, 1e-2, 2, 2, 3, loaders=0)
    train(net, samples(painted()), held_out, plan, outputs(tmp_path / "n"), key={})
    assert pd.read_csv(tmp_path / "n" / "losses.csv").step.max() == 2


def test_lift_net_trains_on_synthetic_labels(tmp_path: Path) -> None:
    """The 2D-to-3D net needs no data, only what the 2D net predicts."""
    train_lift(outputs(tmp_path / "lift"), settings=LIFT, section_settings=SECTION, seed=0, threads=1)
    net, description = load_net(tmp_path / "lift" / "checkpoint.pt")
    assert description.input_offsets == ((-1, 0), (0, -1), (-3, 0))
    assert net.architecture.in_channels == 6 + 3
    losses = pd.read_csv(tmp_path / "lift" / "losses.csv")
    assert losses.validation_loss.notna().any()
    assert (tmp_path / "lift" / "snapshots.png").stat().st_size > 0


@pytest.mark.parametrize("kind", ["3d_affs_from_2d_affs", "3d_affs_from_2d_lsd", "3d_affs_from_2d_mtlsd"])
def test_every_voxel_of_a_synthetic_sample_is_known(kind: str) -> None:
    """Also at the rim, whose partners lie in what was drawn around it; and every channel of the input is filled."""
    net = describe_net(LIFT | {"kind": kind, "offsets": [[-1, 0, 0], [0, 5, 0], [2, 0, -3]]}, section_settings=SECTION)
    settings = {"downsample": 2, "input_grow_boundary": 1, "grow_boundary": 0}
    source = LiftSamples(net, (5, 17, 23), {"variant": "tessellation"}, settings)
    for seed in range(3):
        sample = source.draw(np.random.default_rng(seed))
        assert sample.input.shape == (net.architecture.in_channels, 5, 17, 23)
        assert sample.input.min() >= 0 and sample.input.max() <= 1 and (sample.input.std(axis=(1, 2, 3)) > 0).all()
        assert sample.targets["affinities"].shape == sample.weights["affinities"].shape == (3, 5, 17, 23)
        assert (sample.weights["affinities"] > 0).all()


def test_errors_of_a_2d_net_are_in_the_input_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without them the same targets and weights, to the bit, and another input."""
    net = describe_net(LIFT, section_settings=SECTION)
    settings = {"downsample": 1, "input_grow_boundary": 1, "grow_boundary": 0}
    source = LiftSamples(net, (5, 17, 23), {"variant": "tessellation"}, settings)
    wrong = [source.draw(np.random.default_rng(seed)) for seed in range(4)]
    monkeypatch.setattr("sparse2dense.stages.samples.corrupt", lambda labels, _: labels)
    monkeypatch.setattr("sparse2dense.stages.samples.degrade", lambda channels, *_, **__: channels)
    for seed, sample in enumerate(wrong):
        right = source.draw(np.random.default_rng(seed))
        assert not np.array_equal(sample.input, right.input)
        np.testing.assert_array_equal(sample.targets["affinities"], right.targets["affinities"])
        np.testing.assert_array_equal(sample.weights["affinities"], right.weights["affinities"])


def test_a_2d_net_sees_whole_objects_of_synthetic_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Descriptors at the rim of a sample are those of larger labels, as the window needs them."""
    cut: list[tuple[int, int]] = []

    def watched(labels: Any, sigma: Any, downsample: int, inner: Any) -> Any:
        cut.extend((part.start, side - part.stop) for part, side in zip(inner[1:], labels.shape[1:], strict=True))
        return np.zeros((6, 5, 16, 16), np.float32)

    monkeypatch.setattr("sparse2dense.stages.samples.section_descriptors", watched)
    net = describe_net(LIFT, section_settings=SECTION | {"sigma": [3.5, 5]})
    settings = {"downsample": 2, "input_grow_boundary": 1, "grow_boundary": 0}
    LiftSamples(net, (5, 16, 16), {"variant": "tessellation"}, settings).draw(np.random.default_rng(0))
    assert cut == [(12, 12), (16, 16)]  # three sigma, in whole steps of the sampling


def test_volume_net_trains_on_labelled_volumes(tmp_path: Path) -> None:
    """A 3D net trains on raw with labels; shapes that differ are refused by name."""
    shape = (20, 40, 44)
    rng = np.random.default_rng(0)
    paths = []
    for name, values in (
        ("raw", rng.integers(0, 256, shape).astype(np.uint8)),
        ("labels", (np.indices(shape) // 10).sum(axis=0).astype(np.uint64)),
        ("mask", np.ones(shape, np.uint8)),
    ):
        volume = create_volume(tmp_path / f"{name}.zarr", shape, values.dtype, voxel_size=(40, 8.5, 8.5))
        volume[...] = values
        paths.append(volume.path)
    triple = (paths[0], paths[1], paths[2])
    train_volume({"v": triple}, outputs(tmp_path / "net"), settings=VOLUME, seed=0, threads=1)
    _, description = load_net(tmp_path / "net" / "checkpoint.pt")
    assert description.voxel_size == (40, 8.5, 8.5)
    short = create_volume(tmp_path / "short.zarr", (20, 40, 40), "uint8", voxel_size=(40, 8.5, 8.5))
    finer = [
        create_volume(tmp_path / f"finer_{path.name}", shape, "uint8", voxel_size=(40, 4, 4)).path for path in paths
    ]
    with pytest.raises(InputError, match=r"volume w has voxels of \(40.0, 4.0, 4.0\) nm, but volume v of"):
        both = {"v": triple, "w": (finer[0], finer[1], finer[2])}
        train_volume(both, outputs(tmp_path / "x"), settings=VOLUME, seed=0, threads=1)
    with pytest.raises(InputError, match="volume v"):
        train_volume({"v": (*triple[:2], short.path)}, outputs(tmp_path / "x"), settings=VOLUME, seed=0, threads=1)


class Slow:
    """A source that takes its time for a sample."""

    def draw(self, rng: np.random.Generator) -> Sample:
        time.sleep(0.05)
        return samples(painted()).draw(rng)


def test_waiting_for_samples_is_measured(tmp_path: Path) -> None:
    """What the checkpoint tells of it holds every batch but the first, and no more than the training took."""
    plan = TrainingPlan(5, 2, 1e-3, validate_every=5, checkpoint_every=5, seed=1, loaders=0)
    train(
        describe_net(SECTION, voxel_size=(8, 8, 8)),
        Slow(),
        [Slow().draw(np.random.default_rng(0))],
        plan,
        outputs(tmp_path / "n"),
        key={},
    )
    run = torch.load(tmp_path / "n/checkpoint.pt", weights_only=True)["provenance"]["run"]
    assert run["waiting"] >= 4 * 2 * 0.05
    assert run["stepping"] > 0
    assert run["waiting"] + run["stepping"] < run["seconds"]
