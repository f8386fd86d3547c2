"""Annotated sections as 2D data sets: the right pixels, neighbours, and place in the world."""

from pathlib import Path

import numpy as np
import pytest
import zarr

from sparse2dense.errors import InputError
from sparse2dense.stages.slicing import read_sections, slice_sections
from sparse2dense.volumes.volume import create_volume

SHAPE = (6, 13, 17)
VOXEL_SIZE = (40.0, 8.5, 8.5)


def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, SHAPE).astype(np.uint8)


def write(path: Path, values: np.ndarray, offset: tuple[float, float, float] = (80, 0, -17)) -> Path:
    volume = create_volume(path, values.shape, values.dtype, voxel_size=VOXEL_SIZE, offset=offset)
    volume[...] = values
    return path


def annotated(folder: Path, numbers: list[int]) -> tuple[Path, Path, Path, Path]:
    labels, mask, scope = np.zeros(SHAPE, np.uint64), np.zeros(SHAPE, np.uint8), np.ones(SHAPE, np.uint8)
    scope[:, :, 12:] = 0
    for number in numbers:
        labels[number, 2 : 3 + number, 4:9] = 2**63 + number
        mask[number] = 1
    return (
        write(folder / "raw.zarr", image()),
        write(folder / "labels.zarr", labels),
        write(folder / "mask.zarr", mask),
        write(folder / "scope.zarr", scope),
    )


def test_sections_with_their_neighbours(tmp_path: Path) -> None:
    slice_sections(*annotated(tmp_path, [0, 3, 5]), tmp_path / "sections")
    raw = image()
    first, middle, last = read_sections(tmp_path / "sections")
    assert [first.section, middle.section, last.section] == [0, 3, 5]
    assert (middle.raw == raw[2:5]).all()
    assert (first.raw == raw[[1, 0, 1]]).all()  # mirrored at the first section
    assert (last.raw == raw[[4, 5, 4]]).all()
    assert middle.labels.dtype == np.uint64
    assert set(np.unique(middle.labels)) == {0, 2**63 + 3}
    assert middle.mask.all()
    assert middle.scope[:, :12].all() and not middle.scope[:, 12:].any()
    assert middle.voxel_size == VOXEL_SIZE
    group = zarr.open_group(tmp_path / "sections" / "3.zarr", mode="r")
    assert group.attrs["section"] == 3
    assert group.attrs["z_nm"] == 200
    assert group.attrs["offset"] == [200, 0, -17]


def test_sections_are_read_in_order_of_their_number(tmp_path: Path) -> None:
    ones = np.ones((11, 4, 5), np.uint8)
    raw, mask = write(tmp_path / "raw.zarr", ones), write(tmp_path / "mask.zarr", ones)
    labels = write(tmp_path / "labels.zarr", ones.astype(np.uint64))
    slice_sections(raw, labels, mask, mask, tmp_path / "sections")
    assert [section.section for section in read_sections(tmp_path / "sections")] == list(range(11))


@pytest.mark.parametrize("adjacent", [0, 2])
def test_number_of_neighbours(tmp_path: Path, adjacent: int) -> None:
    slice_sections(*annotated(tmp_path, [1]), tmp_path / "sections", adjacent=adjacent)
    (section,) = read_sections(tmp_path / "sections")
    assert section.raw.shape == (2 * adjacent + 1, 13, 17)
    assert (section.raw[adjacent] == image()[1]).all()


def test_the_sections_with_most_labels_are_kept(tmp_path: Path) -> None:
    slice_sections(*annotated(tmp_path, [0, 1, 4, 5]), tmp_path / "sections", maximum_sections=2)
    assert [section.section for section in read_sections(tmp_path / "sections")] == [4, 5]


def test_labels_of_a_crop_lie_where_they_belong(tmp_path: Path) -> None:
    raw = write(tmp_path / "raw.zarr", image())
    part = np.full((2, 5, 6), 9, np.uint64)
    offset = (80 + 40.0 * 2, 8.5 * 3, -17 + 8.5 * 7)
    labels = write(tmp_path / "labels.zarr", part, offset)
    mask = write(tmp_path / "mask.zarr", part.astype(np.uint8), offset)
    slice_sections(raw, labels, mask, mask, tmp_path / "sections")
    first, second = read_sections(tmp_path / "sections")
    expected = np.zeros((13, 17), np.uint64)
    expected[3:8, 7:13] = 9
    assert (first.labels == expected).all()
    assert (first.mask == expected).all()
    assert (second.raw == image()[2:5]).all()
    assert zarr.open_group(tmp_path / "sections" / "1.zarr", mode="r").attrs["z_nm"] == 80 + 3 * 40


def test_labels_off_the_grid_or_outside_are_refused(tmp_path: Path) -> None:
    raw = write(tmp_path / "raw.zarr", image())
    ones = np.ones((1, 5, 6), np.uint64)
    for offset, message in (((84, 0, -17), "offset"), ((80 - 40, 0, -17), "outside")):
        labels = write(tmp_path / "labels.zarr", ones, offset)
        mask = write(tmp_path / "mask.zarr", ones.astype(np.uint8), offset)
        with pytest.raises(InputError, match=message):
            slice_sections(raw, labels, mask, mask, tmp_path / "sections")
        assert not (tmp_path / "sections").exists()


def test_an_empty_annotation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="empty"):
        slice_sections(*annotated(tmp_path, []), tmp_path / "sections")
    (tmp_path / "sections").mkdir()
    with pytest.raises(InputError, match="no sections"):
        read_sections(tmp_path / "sections")
