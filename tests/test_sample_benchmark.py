"""The benchmark of training samples: our side draws what it says, and a missed target fails."""

import json
from pathlib import Path

import numpy as np
import pytest
import zarr

from benchmarks import samples
from benchmarks._samples import LIFT_OFFSETS, SECTION_OFFSETS, timed
from benchmarks.samples import TASKS, Taken, draw_ours, report, write_inputs
from sparse2dense.stages.slicing import read_sections

JUDGED, SHOWN, _ = TASKS


def test_both_sides_see_one_volume(tmp_path: Path) -> None:
    write_inputs(tmp_path, (9, 61, 83), 12, (2, 6))
    store = zarr.open_group(tmp_path / "peers.zarr", mode="r")
    assert store.metadata.zarr_format == 2
    raw, labels, painted, everything = (
        np.asarray(store[name][:])  # type: ignore[index]
        for name in ("raw", "labels", "unlabelled", "all_labels")
    )
    assert np.flatnonzero(painted.any(axis=(1, 2))).tolist() == [2, 6] and everything.min() > 0
    for section, z in zip(read_sections(tmp_path / "sections"), (2, 6), strict=True):
        assert np.array_equal(section.labels, labels[z]) and len(np.unique(section.labels)) > 5
        assert np.array_equal(section.raw, raw[z - 1 : z + 2])


def test_our_section_samples(tmp_path: Path) -> None:
    write_inputs(tmp_path, (5, 61, 83), 12, (2,))
    found = json.loads(draw_ours("section", tmp_path, 2, 0))
    assert len(found["seconds"]) == len(found["processor"]) == 2 and min(found["seconds"]) > 0
    assert found["shapes"]["input"] == [3, 196, 196]
    assert found["shapes"]["target descriptors"] == [6, 196, 196]
    assert found["shapes"]["target affinities"] == [len(SECTION_OFFSETS), 196, 196]


def test_our_lift_samples(tmp_path: Path) -> None:
    found = json.loads(draw_ours("lift", tmp_path, 1, 0))
    assert found["shapes"]["input"] == [6 + len(SECTION_OFFSETS), 24, 148, 148]
    assert found["shapes"]["target affinities"] == [len(LIFT_OFFSETS), 24, 148, 148]


def test_warm_up_is_not_timed() -> None:
    drawn: list[int] = []

    def draw() -> dict[str, np.ndarray]:
        drawn.append(1)
        return {"a": np.zeros((2, 3))}

    found = json.loads(timed(draw, 2, 3))
    assert len(drawn) == 5 and len(found["seconds"]) == 3 and found["shapes"] == {"a": [2, 3]}


@pytest.mark.parametrize(("peer", "kept"), [(10.1, True), (9.9, False)])
def test_a_target_is_ten_times(peer: float, kept: bool, capsys: pytest.CaptureFixture[str]) -> None:
    ours: list[Taken] = [{"seconds": [0.5, 1.5], "processor": [1.0]}]
    theirs: list[Taken] = [{"seconds": [peer], "processor": [peer]}]
    assert report(JUDGED, ours, theirs) == kept
    assert ("NOT 10 times" in capsys.readouterr().out) != kept
    assert report(SHOWN, ours, theirs) and report(JUDGED, ours, [])


def test_without_peers_it_says_how_to_make_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(samples, "VOLUME", (5, 61, 83))
    monkeypatch.setattr(samples, "PAINTED", (2,))
    monkeypatch.setattr(samples, "in_child", lambda *command: {"seconds": [1.0], "processor": [1.0]})
    samples.main(["--rounds", "1", "--peers", str(tmp_path / "nowhere")])
    printed = capsys.readouterr().out
    assert "make benchmark-peers" in printed and printed.count("ours") == len(TASKS) and "stand-in" not in printed
