"""The errors of a 2D net are measured on what it was not trained on, and reach the samples of the 2D-to-3D net."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.ops.corruption import Degradation
from sparse2dense.stages import measuring_errors, training
from sparse2dense.stages.answering import answer
from sparse2dense.stages.measuring_errors import exact_section, measure_errors, predicted_section, read_errors
from sparse2dense.stages.nets import load_net
from sparse2dense.stages.samples import LiftSamples
from sparse2dense.stages.slicing import SectionData, read_sections, slice_sections
from sparse2dense.stages.training import targets_of, train_lift
from sparse2dense.volumes.grid import blocks
from sparse2dense.volumes.volume import create_volume, open_volume
from tests.test_predicting import checkpoint
from tests.test_training import LIFT, SECTION, outputs
from tests.voronoi import voronoi

SETTINGS = {"downsample": 1, "grow_boundary": 1, "rim": "boundary"}
SHAPE = (9, 61, 75)


@pytest.fixture
def sections(tmp_path: Path) -> Path:
    """Three painted sections of a volume of odd sides, the last of which is held out; a third of each is unlabelled."""
    labels = voronoi(SHAPE, 30, ids=range(2**63 - 10, 2**63 + 20))
    mask = np.zeros(SHAPE, np.uint8)
    mask[[2, 4, 6], :, :50] = 1
    raw = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)
    arrays = {"raw": raw, "labels": labels * mask, "mask": mask, "scope": mask}
    for name, values in arrays.items():
        create_volume(tmp_path / name, SHAPE, values.dtype, voxel_size=(8, 8, 8))[...] = values
    raw_path, labels_path, mask_path, scope_path = (tmp_path / name for name in arrays)
    slice_sections(raw_path, labels_path, mask_path, scope_path, tmp_path / "sections")
    return tmp_path / "sections"


def measured(tmp_path: Path, sections: Path, read: tuple[str, ...] = ("affinities", "descriptors")) -> dict[str, Any]:
    """What is written of an untrained net."""
    net = tmp_path / "2d_mtlsd/checkpoint.pt"
    if not net.exists():
        checkpoint(tmp_path, "2d_mtlsd")
    output = tmp_path / "errors.json"
    measure_errors(net, {"a": sections}, output, settings=SETTINGS, validation={"a": None}, read=read)
    found: dict[str, Any] = json.loads(output.read_text())
    return found


def test_a_net_that_is_right_has_no_errors(tmp_path: Path, sections: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what was held out is compared, and of that only what is annotated."""
    targets = targets_of(load_net(checkpoint(tmp_path, "2d_mtlsd"))[1], SETTINGS)
    asked = []

    def right(net: Any, section: SectionData) -> dict[str, NDArray[np.float32]]:
        asked.append(section.section)
        exact, weights = exact_section(targets, section)
        return {head: np.where(weights[head] > 0, exact[head], 0.5).astype(np.float32) for head in exact}

    monkeypatch.setattr(measuring_errors, "predicted_section", right)
    found = measured(tmp_path, sections)
    assert asked == found["sections"] == [6]
    errors = read_errors(tmp_path / "errors.json")
    assert (errors.faint, errors.spurious, errors.blur) == (0, 0, 0)
    assert max(errors.noise_sigma) < 1e-6 and errors.scale == pytest.approx((1, 1))


def test_an_untrained_net_is_wrong(tmp_path: Path, sections: Path) -> None:
    measured(tmp_path, sections)
    errors = read_errors(tmp_path / "errors.json")
    assert errors.faint or errors.spurious
    assert isinstance(errors.noise_sigma, tuple)
    measured(tmp_path, sections, read=("descriptors",))
    without = read_errors(tmp_path / "errors.json")
    assert (without.faint, without.spurious) == (0, 0), "a net that reads descriptors alone sees no affinities"


def test_a_section_is_predicted_as_in_its_volume(tmp_path: Path, sections: Path) -> None:
    net, description = load_net(checkpoint(tmp_path, "2d_mtlsd"))
    raw = open_volume(tmp_path / "raw")
    with torch.inference_mode():
        whole = answer(net, description, {"raw": raw}, blocks(SHAPE, SHAPE)[0])
    for section in read_sections(sections):
        found = predicted_section(net, section)
        for head, values in found.items():
            assert np.abs(values - whole[head][:, section.section]).max() < 1e-5


def test_nothing_to_compare_with_is_refused(tmp_path: Path, sections: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held_out = [
        replace(section, labels=section.labels * 0, mask=section.mask * 0) for section in read_sections(sections)
    ]
    monkeypatch.setattr(measuring_errors, "split_sections", lambda *_: ([], held_out))
    with pytest.raises(InputError, match=r"can't be measured: .* 0 of them known") as refused:
        measured(tmp_path, sections)
    assert "nets.2d_to_3d.synthetic.errors" in str(refused.value)
    assert not (tmp_path / "errors.json").exists()


def test_measured_errors_reach_the_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []

    def noting(*arguments: Any, **options: Any) -> LiftSamples:
        drawn.append(LiftSamples(*arguments, **options))
        return drawn[-1]

    monkeypatch.setattr(training, "LiftSamples", noting)
    nothing = Degradation(
        faint=0, spurious=0, noise=0, intensity_channel=0, intensity_section=0, blur=0, low_contrast=0
    )  # fmt: skip
    settings = {**LIFT, "synthetic": {**LIFT["synthetic"], "errors": "measured"}}
    for degradation in (None, nothing):
        folder = tmp_path / str(degradation is None)
        train_lift(
            outputs(folder), settings=settings, section_settings=SECTION, seed=0, threads=1, degradation=degradation
        )
    usual, exact = (samples.draw(np.random.default_rng(3)).input[6:] for samples in drawn)
    assert np.isin(exact, (0, 1)).all(), "affinities as they follow from the labels"
    assert not np.isin(usual, (0, 1)).all()
