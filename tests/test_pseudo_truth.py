"""Pseudo ground truth: what the filters keep, with counts, as files."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from sparse2dense.ops.filters import (
    keep_objects,
    objects_of,
    profiles_of,
    without_brief,
    without_dust,
    without_outliers,
)
from sparse2dense.ops.holes import fill_holes
from sparse2dense.stages import hole_filling
from sparse2dense.stages.pseudo_truth import make_pseudo_truth
from sparse2dense.volumes.volume import create_volume, open_volume

BIG = 2**63 + 5
OUTPUTS = ("pseudo_truth.zarr", "pseudo_truth_mask.zarr", "pseudo_truth.csv")


def segmentation() -> np.ndarray:
    """Return a large object with a hole, one of two sections, a small one, and one that fills half the volume."""
    labels = np.zeros((6, 40, 50), np.uint64)
    labels[:, 20:] = 9
    labels[:, 2:12, 2:12] = BIG
    labels[:, 6, 6] = 0
    labels[2:4, 2:12, 20:30] = 4
    labels[:, 2, 40] = 3
    for i in range(10):
        labels[:, 14:19, 5 * i : 5 * i + 4] = 100 + i
    return labels


def run(
    folder: Path, labels: np.ndarray, chunks: tuple[int, int, int] | None = None, **settings: object
) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Filter labels and return pseudo truth, mask and counts, as read from the files."""
    source = folder / "segmentation.zarr"
    create_volume(
        source, labels.shape, labels.dtype, voxel_size=(30.5, 8, 8), offset=(1, 2, 3), labels=True, chunks=chunks
    )[...] = labels
    outputs = [folder / name for name in OUTPUTS]
    make_pseudo_truth(source, *outputs, **settings)  # type: ignore[arg-type]
    truth, mask = open_volume(outputs[0]), open_volume(outputs[1])
    assert truth.extent == mask.extent == open_volume(source).extent
    assert (truth.dtype, mask.dtype) == (labels.dtype, np.uint8)
    return truth[...], mask[...], pd.read_csv(outputs[2])


def test_every_filter_removes_what_it_should_and_is_counted(tmp_path: Path) -> None:
    labels = segmentation()
    truth, mask, counts = run(tmp_path, labels, dust=10, outlier_deviations=3, minimum_sections=3, fill_holes=True)
    assert counts["step"].tolist() == ["segmentation", "dust", "outlier_deviations", "minimum_sections", "fill_holes"]
    assert counts["objects"].tolist() == [14, 13, 12, 11, 11]
    assert counts["voxels"].tolist()[0] == np.count_nonzero(labels)
    assert counts["voxels"].tolist()[-1] == np.count_nonzero(truth)
    assert np.diff(counts["voxels"]).tolist() == [-6, -6000, -200, 6]
    assert set(np.unique(truth)) == {0, BIG, *range(100, 110)}
    assert np.all(truth[:, 2:12, 2:12] == BIG)
    assert np.array_equal(mask, (truth > 0).astype(np.uint8))


def test_without_filters_everything_stays(tmp_path: Path) -> None:
    labels = segmentation()
    truth, _, counts = run(tmp_path, labels)
    assert np.array_equal(truth, labels)
    assert counts["objects"].nunique() == 1


def test_nothing_left_is_written_all_the_same(tmp_path: Path) -> None:
    truth, mask, counts = run(tmp_path, segmentation(), dust=10**6, outlier_deviations=4, fill_holes=True)
    assert not truth.any()
    assert not mask.any()
    assert counts["objects"].tolist() == [14, 0, 0, 0, 0]


def test_a_neurite_inside_another_survives_hole_filling(tmp_path: Path) -> None:
    """An object that crosses the volume inside another is enclosed in each section, but not in 3D."""
    labels = np.full((6, 20, 20), 3, np.uint64)
    labels[:, 8:12, 8:12] = 9
    labels[2:4, 2:4, 2:4] = 4
    labels[:, 15, 15] = 0
    truth, _, _ = run(tmp_path, labels, fill_holes=True)
    assert np.all(truth[:, 8:12, 8:12] == 9)
    assert np.all(truth[2:4, 2:4, 2:4] == 3)
    assert np.all(truth[:, 15, 15] == 3)


def tangle(shape: tuple[int, int, int]) -> np.ndarray:
    """Return many objects with wide gaps, holes, objects in holes, and dust."""
    rng = np.random.default_rng(2)
    fields = np.stack([ndimage.gaussian_filter(rng.normal(size=shape), 3) for _ in range(5)])
    labels = np.argmax(fields, axis=0).astype(np.uint64)
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    for label in range(10, 20):
        distance = np.sqrt((((grid - rng.random(3) * shape) * (1.5, 1, 1)) ** 2).sum(-1))
        for radius, choice in ((5, (0, label)), (3.5, (0, 2, label)), (2, (0, 1, 2 * label))):
            labels[distance < radius] = rng.choice(choice)
    return np.where(labels > 0, labels + np.uint64(2**63), 0).astype(np.uint64)


SETTINGS = {"dust": 30, "outlier_deviations": 1.3, "minimum_sections": 8, "fill_holes": True}


def whole(labels: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Return what SETTINGS make of a volume in memory, and the voxels after every step."""
    steps = [objects_of([profiles_of(labels)])]
    steps.append(without_dust(steps[-1], 30))
    steps.append(without_outliers(steps[-1], 1.3))
    steps.append(without_brief(steps[-1], 8))
    kept = keep_objects(labels, steps[-1])
    filled = fill_holes(fill_holes(kept, objects=False), per_section=False)
    voxels = [*(int(step.voxels.sum()) for step in steps), int(np.count_nonzero(filled))]
    assert len(set(voxels)) == 5, "every step does something"
    return filled, voxels


@pytest.mark.parametrize(
    ("block_shape", "workers"), [((1, 1, 1), 1), ((5, 22, 9), 2), ((7, 3, 30), 1), ((14, 24, 27), 1)]
)
def test_blocks_make_what_the_whole_volume_makes(
    tmp_path: Path, block_shape: tuple[int, int, int], workers: int
) -> None:
    labels = tangle((14, 24, 27))
    chunks = (2, 5, 7)
    truth, mask, counts = run(tmp_path, labels, chunks, **SETTINGS, block_shape=block_shape, workers=workers)
    expected, voxels = whole(labels)
    assert np.array_equal(truth, expected)
    assert np.array_equal(mask, expected > 0)
    assert counts["voxels"].tolist() == voxels
    assert counts["objects"].tolist()[-1] == len(np.unique(expected)) - 1
    names = [f"pseudo_truth{ending}" for ending in (".csv", ".zarr", "_mask.zarr")]
    assert sorted(path.name for path in tmp_path.iterdir()) == [*names, "segmentation.zarr"]


def test_an_empty_volume_goes_through_in_blocks(tmp_path: Path) -> None:
    truth, mask, counts = run(tmp_path, np.zeros((5, 9, 7), np.uint64), (2, 4, 4), **SETTINGS, block_shape=(3, 5, 4))
    assert not truth.any()
    assert not mask.any()
    assert counts["objects"].tolist() == [0] * 5


def test_a_kill_costs_no_finished_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels, done = tangle((14, 24, 27)), list[int]()
    contacts = hole_filling.contacts

    def killed(regions: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        done.append(len(axes))
        if len(axes) == 3 and done.count(3) == 5:
            raise KeyboardInterrupt
        return contacts(regions, axes)

    monkeypatch.setattr(hole_filling, "contacts", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, labels, (7, 12, 14), **SETTINGS, block_shape=(7, 12, 14))
    assert not any((tmp_path / name).exists() for name in OUTPUTS)
    paths = [tmp_path / name for name in ("segmentation.zarr", *OUTPUTS)]
    make_pseudo_truth(*paths, **SETTINGS, block_shape=(7, 12, 14))  # type: ignore[arg-type]
    assert done == [2] * 8 + [3] * (5 + 4)  # blocks in sections, in 3D until the kill, and those that were left
    assert np.array_equal(open_volume(paths[1])[...], whole(labels)[0])
    assert sorted(tmp_path.iterdir()) == sorted(paths)
