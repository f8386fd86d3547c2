"""What is held out or was never painted teaches nothing: it has no weight, and its edge is no boundary."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sparse2dense.ops.affinities import Offsets, axis_offsets
from sparse2dense.ops.augmentation import Augmentation
from sparse2dense.ops.sampling import Positions
from sparse2dense.ops.unet import UNet
from sparse2dense.stages.annotating import annotate
from sparse2dense.stages.batch_targets import batch_targets
from sparse2dense.stages.net_kinds import describe_net
from sparse2dense.stages.samples import AnnotatedSamples, Sample, Samples, SectionSamples, Targets, VolumeSamples
from sparse2dense.stages.slicing import SectionData, read_sections, slice_sections
from sparse2dense.stages.trainer import as_batch, batch_loss
from sparse2dense.stages.training import split_sections
from sparse2dense.volumes.volume import Volume, create_volume
from tests.test_training import SECTION, VOLUME, painted, samples

FAR = axis_offsets((1, 1, 1), (5, 3, 3))
CUT = 20  # of 30 sections
# The edge of what is annotated of `painted`, so that every sample shows both sides.
POSITIONS = {n: Positions(np.array([[10, 30, 33][-n:]], np.int32), np.array([0, 1])) for n in (2, 3)}


def stored(path: Path, values: NDArray) -> Volume:
    """A volume of (8, 8, 8) nm."""
    volume = create_volume(path, values.shape, values.dtype, voxel_size=(8, 8, 8))
    volume[...] = values
    return volume


def volume_samples(
    folder: Path, labels: NDArray, sections: slice, mask: NDArray | None = None, offsets: Offsets = FAR
) -> VolumeSamples:
    """Samples of a volume whose image shows the number of each section, centred in `sections`."""
    image = np.broadcast_to(np.arange(len(labels), dtype=np.uint8)[:, None, None], labels.shape)
    spoken = np.ones(labels.shape, np.uint8) if mask is None else mask
    triple = (stored(folder / "raw", image), stored(folder / "labels", labels), stored(folder / "mask", spoken))
    targets = Targets("3d_mtlsd", offsets, (2.0, 2.0, 2.0), 1, 1, "boundary")
    augmentation = replace(Augmentation().none(), flip=0.5, transpose=0.5, rotation=0.5)
    return VolumeSamples([triple], targets, (16, 12, 12), augmentation, [sections])


def drawn(samples: Samples, count: int) -> Sequence[Sample]:
    """Samples of as many seeds."""
    return [samples.draw(np.random.default_rng(seed)) for seed in range(count)]


@pytest.mark.parametrize("sections", [slice(0, CUT), slice(CUT, 30)])
def test_sections_held_out_of_a_volume_have_no_weight(tmp_path: Path, sections: slice) -> None:
    """Crops reach beyond the sections they are centred in; what counts doesn't, in training and in validation."""
    labels = np.broadcast_to(np.add.outer(np.arange(26) // 7 * 9, np.arange(28) // 9), (30, 26, 28))
    beyond = False
    for sample in drawn(volume_samples(tmp_path, labels.astype(np.uint64) + np.uint64(2**63), sections), 20):
        shown = np.rint(sample.input[0] * 255)
        foreign = (shown < sections.start) | (shown >= sections.stop)
        beyond |= bool(foreign.any())
        for weights in sample.weights.values():
            assert not weights[:, foreign].any()
            assert weights.any()
    assert beyond


@pytest.mark.parametrize("sections", [slice(0, CUT), slice(CUT, 30)])
def test_the_cut_between_training_and_validation_sections_is_no_boundary(tmp_path: Path, sections: slice) -> None:
    """Of a single object every pair that counts is within the object."""
    for sample in drawn(volume_samples(tmp_path, np.ones((30, 26, 28), np.uint64), sections), 10):
        counted = sample.weights["affinities"] > 0
        assert counted.any()
        assert sample.targets["affinities"][counted].all()


def section_samples(sections: Sequence[SectionData]) -> SectionSamples:
    """Samples of painted sections as they are."""
    targets = Targets("2d_mtlsd", axis_offsets((1, 1), (5, 5)), (3.0, 3.0), 1, 1, "boundary")
    return SectionSamples(sections, targets, (24, 24), Augmentation().none())


def knows_boundaries(samples: SectionSamples, count: int = 10) -> bool:
    """Whether any pair that counts is said to be of two objects."""
    pairs = [(s.weights["affinities"] > 0, s.targets["affinities"]) for s in drawn(samples, count)]
    assert any(counted.any() for counted, _ in pairs)
    return any(not target[counted].all() for counted, target in pairs)


def test_the_cut_through_a_single_section_is_no_boundary() -> None:
    """One object is divided into rows to train on and rows to validate on; neither learns that it ends there."""
    ones = np.ones((100, 60), np.uint8)
    section = SectionData(0, np.zeros((1, 100, 60), np.uint8), ones.astype(np.uint64), ones, ones, (8.0, 8.0, 8.0))
    for part in split_sections({"a": [section]}, {"a": None}):
        assert not knows_boundaries(section_samples(part))
        rows = np.flatnonzero(part[0].mask.any(axis=1))
        beside = section_samples(part).at(part[0], np.array([85.0, 30.0]), np.random.default_rng(0))
        assert 0 < len(rows) < 100 and (beside.weights["affinities"] > 0).any()


@pytest.mark.parametrize("membrane", [False, True])
@pytest.mark.parametrize("zero", ["unlabelled", "background"])
@pytest.mark.parametrize(
    ("settings", "paint_ends_objects"),
    [
        ({"draw": "disks", "count": 3, "radius": 11}, False),
        ({"draw": "painted", "painted_mask": True}, False),
        ({"draw": "painted"}, True),
    ],
    ids=["disks", "mask", "paint"],
)
def test_only_paint_ends_an_object(
    tmp_path: Path, settings: dict[str, Any], paint_ends_objects: bool, zero: str, membrane: bool
) -> None:
    """A disk and a mask cut objects without a boundary; a membrane inside of them is one, as is the end of paint."""
    truth = np.ones((3, 60, 64), np.uint64)
    truth[:, :, 31:33] = 1 - membrane
    if paint_ends_objects:
        truth[:, :20] = 0
    spoken = np.zeros(truth.shape, np.uint8)
    spoken[1, 20:45, 12:50] = 1
    source, raw = (stored(tmp_path / name, values) for name, values in (("truth", truth), ("raw", spoken)))
    if settings.get("painted_mask"):
        settings = settings | {"painted_mask": raw.path}
    names = ("labels", "mask", "scope", "counts.csv", "counts.json", "sections")
    paths = [tmp_path / "out" / name for name in names]
    annotate(source.path, *paths[:5], sections=[1], zero=zero, seed=4, **settings)
    slice_sections(raw.path, paths[0], paths[1], paths[2], paths[5])
    assert knows_boundaries(section_samples(read_sections(paths[5])), 20) == (membrane or paint_ends_objects)


def gradients(source: AnnotatedSamples, net: UNet, seed: int) -> list[torch.Tensor]:
    """The gradient of the loss of one sample, as a training step has it."""
    batch = as_batch([vars(source.draw(np.random.default_rng(seed)))])  # type: ignore[attr-defined]
    if source.deferred:
        batch["targets"], batch["weights"] = batch_targets(source.targets, batch["annotation"])
    net.zero_grad()
    batch_loss(net(batch["input"]), batch).backward()
    return [parameter.grad.clone() for parameter in net.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("deferred", [False, True], ids=["samples", "device"])
@pytest.mark.parametrize("ndim", [2, 3])
def test_labels_outside_the_mask_leave_every_gradient_alone(tmp_path: Path, ndim: int, deferred: bool) -> None:
    """To the bit, in sections and in volumes, with targets of the sample or of the batch; labels inside matter."""
    shape = (60, 70) if ndim == 2 else (24, 60, 70)
    section = painted()
    mask = np.broadcast_to(section.mask, shape)
    labels = np.broadcast_to(section.labels, shape)
    noise = np.random.default_rng(1).integers(1, 2**63, shape).astype(np.uint64)
    outside, inside = np.where(mask > 0, labels, noise), np.where(mask > 0, noise, labels)
    assert (outside != labels).any()
    torch.manual_seed(0)
    net = UNet(describe_net(SECTION if ndim == 2 else VOLUME, voxel_size=(8, 8, 8)).architecture)
    found = []
    for number, values in enumerate((labels, outside, inside)):
        if ndim == 2:
            source: Any = samples(replace(section, labels=values))
        else:
            nearest = axis_offsets((1, 1, 1))
            source = volume_samples(tmp_path / str(number), values, slice(0, 24), mask, nearest)
        source = source.without_targets() if deferred else source
        # what is drawn doesn't depend on the labels, so that only targets can differ
        source.positions, source.shares = [POSITIONS[ndim]], np.ones(1)
        found.append([gradients(source, net, seed) for seed in range(2)])
    plain, changed, other = found
    for seed in range(2):
        assert any(gradient.any() for gradient in plain[seed])
        assert all(torch.equal(a, b) for a, b in zip(plain[seed], changed[seed], strict=True))
        assert not all(torch.equal(a, b) for a, b in zip(plain[seed], other[seed], strict=True))
