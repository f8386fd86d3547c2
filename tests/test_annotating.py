"""The stage that writes labels, mask and their tables, and refuses annotations that can't be."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sparse2dense.errors import InputError
from sparse2dense.ops.tissue import tissue_mask
from sparse2dense.stages import annotating
from sparse2dense.stages.annotating import annotate, mask_tissue
from sparse2dense.volumes.volume import Volume, create_volume, open_volume

HIGH = 2**63 + 5
SHAPE = (7, 45, 71)


@pytest.fixture
def truth() -> np.ndarray:
    rng = np.random.default_rng(0)
    labels = np.zeros(SHAPE, np.uint64)
    for number in range(1, 9):
        z, y, x = rng.integers(0, (5, 35, 60))
        labels[z : z + 3, y : y + 12, x : x + 12] = number
    labels[:, :20, :30] = HIGH
    labels[0, 44, 70] = 77
    return labels


@pytest.fixture
def source(tmp_path: Path, truth: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(annotating, "VOXELS_PER_BLOCK", 2)  # many blocks even here
    path = tmp_path / "truth.zarr"
    volume = create_volume(path, SHAPE, np.uint64, voxel_size=(40, 8.5, 8.5), offset=(80, -17, 3.5), labels=True)
    volume[...] = truth
    return path


def run(source: Path, **settings: Any) -> tuple[Volume, Volume, pd.DataFrame, dict[str, Any]]:
    """Annotate; returns labels, mask, statistics and totals."""
    folder = source.parent / "out"
    paths = [folder / f"{name}.zarr" for name in ("labels", "mask", "scope")]
    paths += [folder / "annotation.csv", folder / "annotation.json"]
    settings = {"zero": "unlabelled", "volume": "demo", **settings}
    annotate(source, *paths, **settings)
    assert sorted(entry.name for entry in folder.iterdir()) == sorted(path.name for path in paths)
    statistics = pd.read_csv(paths[3], dtype={"object": np.uint64})
    return open_volume(paths[0]), open_volume(paths[1]), statistics, json.loads(paths[4].read_text())


@pytest.mark.parametrize("workers", [1, 2])
def test_sections(source: Path, truth: np.ndarray, workers: int) -> None:
    labels, mask, statistics, totals = run(source, draw="sections", sections=[5, 0], workers=workers)
    expected = np.zeros_like(truth)
    expected[[0, 5]] = truth[[0, 5]]
    assert (labels[...] == expected).all()
    assert (mask[...] == (expected > 0)).all()
    assert (labels.dtype, mask.dtype) == (np.uint64, np.uint8)
    for volume in (labels, mask):
        assert (volume.voxel_size, volume.offset) == ((40, 8.5, 8.5), (80, -17, 3.5))
    ids, voxels = np.unique(expected[expected > 0], return_counts=True)
    assert statistics["object"].tolist() == ids.tolist()
    assert statistics["voxels"].tolist() == voxels.tolist()
    assert totals["sections"] == 2
    assert totals["objects"] == len(ids)
    assert totals["voxels"] == voxels.sum()
    assert totals["share_of_volume"] == pytest.approx(voxels.sum() / truth.size)


def test_zero_as_background_within_sections(source: Path, truth: np.ndarray) -> None:
    labels, mask, _, _ = run(source, draw="sections", sections=[2], zero="background")
    assert mask[2].all()
    assert not mask[:2].any()
    assert (labels[2] == truth[2]).all()


def test_disks_are_the_same_for_the_same_seed(source: Path, truth: np.ndarray) -> None:
    settings: dict[str, Any] = {"draw": "disks", "count": 6, "radius": 9, "sections": [1, 3], "zero": "background"}
    labels, mask, _, _ = run(source, **settings, seed=6)
    first, speaks = labels[...], mask[...]
    assert set(np.nonzero(speaks)[0]) == {1, 3}
    assert (first[speaks > 0] == truth[speaks > 0]).all()
    again, _, _, _ = run(source, **settings, seed=6)
    assert (again[...] == first).all()
    other, _, _, _ = run(source, **settings, seed=5)
    assert (other[...] != first).any()


def test_objects_are_whole(source: Path, truth: np.ndarray) -> None:
    labels, mask, statistics, _ = run(source, draw="objects", objects=3, zero="background")
    ids = statistics["object"].to_numpy()
    assert len(ids) == 3
    assert (labels[...] == np.where(np.isin(truth, ids), truth, np.uint64(0))).all()
    assert (mask[...] == np.isin(truth, ids)).all()


def test_fractions_make_up_the_whole(source: Path, truth: np.ndarray) -> None:
    together = np.zeros_like(truth)
    for part in range(3):
        labels, _, _, _ = run(source, draw="fraction", parts=3, part=part)
        assert not (together[labels[...] > 0]).any()
        together += labels[...]
    assert (together == truth).all()


def test_small_objects_are_removed(source: Path, truth: np.ndarray) -> None:
    labels, mask, statistics, _ = run(source, draw="dense", zero="background", minimum_size=2)
    assert 77 not in statistics["object"].tolist()
    assert labels[0, 44, 70] == 0
    assert mask[0, 44, 70] == 0
    assert mask[...].sum() == truth.size - 1


def test_painted_labels_with_a_mask(source: Path, truth: np.ndarray) -> None:
    path = source.parent / "painted_mask.zarr"
    volume = create_volume(path, SHAPE, np.uint8, voxel_size=(40, 8.5, 8.5), offset=(80, -17, 3.5))
    volume[3] = 1
    labels, mask, _, _ = run(source, draw="painted", painted_mask=path)
    assert mask[3].all()
    assert mask[...].sum() == 45 * 71
    assert (labels[3] == truth[3]).all()
    labels, mask, _, _ = run(source, draw="painted", sections=[0, 4])
    assert set(np.nonzero(mask[...])[0]) == {0, 4}


def test_a_mask_of_another_frame_is_refused(source: Path) -> None:
    path = source.parent / "painted_mask.zarr"
    create_volume(path, SHAPE, np.uint8, voxel_size=(40, 8.5, 8.5))
    with pytest.raises(InputError, match=r"volumes\.demo\.painted_mask"):
        run(source, draw="painted", painted_mask=path)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"draw": "circles"}, "draw"),
        ({"draw": "dense", "zero": "nothing"}, "zero"),
        ({"draw": "sections"}, "sections"),
        ({"draw": "sections", "sections": [2, 7]}, "sections"),
        ({"draw": "sections", "sections": [-1]}, "sections"),
        ({"draw": "disks", "radius": 3}, "count"),
        ({"draw": "disks", "count": 3, "radius": 0}, "radius"),
        ({"draw": "objects", "objects": 999}, "objects"),
        ({"draw": "fraction", "parts": 3, "part": 3}, "part"),
        ({"draw": "fraction", "parts": 99, "part": 0}, "parts"),
        ({"draw": "dense", "minimum_size": 10**6}, "draw"),
    ],
)
def test_errors_name_the_key_and_leave_nothing(source: Path, settings: dict[str, Any], key: str) -> None:
    with pytest.raises(InputError, match=rf"volumes\.demo\.annotation\.{key}:"):
        run(source, **settings)
    assert not (source.parent / "out").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_tissue_mask_has_no_seams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    image = (np.random.default_rng(1).random((3, 150, 170)) > 0.985).astype(np.uint8) * 90
    raw = create_volume(tmp_path / "raw.zarr", image.shape, np.uint8, voxel_size=(8, 8, 8), offset=(1, 2, 3))
    raw[...] = image
    monkeypatch.setattr(annotating, "VOXELS_PER_BLOCK", 2)
    mask_tissue(tmp_path / "raw.zarr", tmp_path / "tissue.zarr", radius=5, iterations=2, workers=workers)
    tissue = open_volume(tmp_path / "tissue.zarr")
    assert tissue.offset == (1, 2, 3)
    for section, mask in zip(image, tissue[...], strict=True):
        assert (mask == tissue_mask(section, radius=5, iterations=2)).all()
