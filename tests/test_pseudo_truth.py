"""Pseudo ground truth: what the filters keep, with counts, as files."""

from pathlib import Path

import numpy as np
import pandas as pd

from sparse2dense.stages.pseudo_truth import make_pseudo_truth
from sparse2dense.volumes.volume import create_volume, open_volume

BIG = 2**63 + 5


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


def run(folder: Path, labels: np.ndarray, **settings: object) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Filter labels and return pseudo truth, mask and counts, as read from the files."""
    source = folder / "segmentation.zarr"
    create_volume(source, labels.shape, labels.dtype, voxel_size=(30.5, 8, 8), offset=(1, 2, 3), labels=True)[...] = (
        labels
    )
    outputs = folder / "pseudo_truth.zarr", folder / "pseudo_truth_mask.zarr", folder / "pseudo_truth.csv"
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


def test_objects_grow_into_gaps_but_not_into_what_was_removed(tmp_path: Path) -> None:
    """Objects meet in the space that no object took; where a filter took one away, nothing is known."""
    labels = np.zeros((4, 10, 40), np.uint64)
    labels[:, :, :10], labels[:, :, 14:24], labels[:, :, 26:28], labels[:, :, 30:] = BIG, 7, 5, 8
    truth, _, counts = run(tmp_path, labels, dust=100, grow=3)
    line = truth[2, 5].tolist()
    assert line[:24] == [BIG] * 12 + [7] * 12
    assert line[24:26] == [7, 7]
    assert line[26:28] == [0, 0]  # removed as dust: unlabelled, and nobody's
    assert line[28:30] == [8, 8]
    assert counts["step"].tolist()[-1] == "grow"


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
