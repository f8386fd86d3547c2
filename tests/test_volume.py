"""What is written to a volume comes back, and what lies outside is mirrored."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from sparse2dense.errors import InputError
from sparse2dense.volumes.volume import create_volume, open_volume, pad_indices

IDS = np.array([0, 1, 2**53 + 1, 2**63, 2**64 - 1], np.uint64)


def test_a_volume_comes_back_as_it_was_written(tmp_path: Path) -> None:
    values = IDS[np.random.default_rng(0).integers(0, 5, (7, 33, 65))]
    volume = create_volume(
        tmp_path / "truth.zarr", values.shape, np.uint64,
        voxel_size=(45, 4.5, 4.5), offset=(-90, 13.5, 2**40), labels=True, attributes={"offsets": [[-1, 0, 0]]},
    )  # fmt: skip
    volume[:] = values
    again = open_volume(tmp_path / "truth.zarr")
    np.testing.assert_array_equal(again[:], values)
    assert again.dtype == np.uint64
    assert again.voxel_size == (45.0, 4.5, 4.5)
    assert again.offset == (-90.0, 13.5, 2.0**40)
    assert again.axes == "zyx"
    assert again.shape == again.spatial_shape == (7, 33, 65)
    assert again.attributes == {"offsets": [[-1, 0, 0]]}
    assert again.extent[1] == (13.5, 13.5 + 33 * 4.5)


def test_the_store_is_ome_zarr_and_readable_by_funlib(tmp_path: Path) -> None:
    create_volume(tmp_path / "a.zarr", (3, 8, 8, 8), np.uint8, voxel_size=(40, 4.5, 4), offset=(5, 0, 0), axes="czyx")
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    ome: Any = group.attrs.asdict()["ome"]
    assert ome["version"] == "0.5"
    scales = ome["multiscales"][0]
    assert [axis["name"] for axis in scales["axes"]] == ["c", "z", "y", "x"]
    assert [axis.get("unit") for axis in scales["axes"]] == [None, "nanometer", "nanometer", "nanometer"]
    assert scales["datasets"][0]["coordinateTransformations"] == [
        {"type": "scale", "scale": [1.0, 40.0, 4.5, 4.0]},
        {"type": "translation", "translation": [0.0, 5.0, 0.0, 0.0]},
    ]
    assert group["0"].attrs.asdict() == {
        "voxel_size": [40.0, 4.5, 4.0],
        "offset": [5.0, 0.0, 0.0],
        "axis_names": ["c^", "z", "y", "x"],
        "units": ["nm", "nm", "nm"],
    }
    assert "image-label" not in ome
    labels = create_volume(tmp_path / "l.zarr", (4, 4, 4), np.uint64, voxel_size=(1, 1, 1), labels=True)
    assert "image-label" in str(zarr.open_group(labels.path, mode="r").attrs["ome"])


def test_labels_are_compressed_without_shuffle(tmp_path: Path) -> None:
    labels = create_volume(tmp_path / "l.zarr", (4, 4, 4), np.uint64, voxel_size=(1, 1, 1), labels=True)
    assert [type(codec).__name__ for codec in labels.array.compressors] == ["ZstdCodec"]


def test_a_shard_holds_all_channels_of_its_voxels(tmp_path: Path) -> None:
    volume = create_volume(
        tmp_path / "a.zarr", (3, 100, 70, 64), np.uint8,
        voxel_size=(8, 8, 8), axes="czyx", chunks=(32, 32, 32), shards=(64, 64, 64),
    )  # fmt: skip
    assert volume.array.chunks == (1, 32, 32, 32)
    assert volume.array.shards == (3, 64, 64, 64)


@given(st.integers(1, 20), st.integers(0, 50), st.integers(0, 50))
def test_indices_beyond_the_edge_mirror_like_numpy(size: int, before: int, after: int) -> None:
    expected = np.pad(np.arange(size), (before, after), mode="reflect")
    np.testing.assert_array_equal(pad_indices(slice(-before, size + after), size), expected)


@pytest.mark.parametrize("halo", [0, 3, 46])
@pytest.mark.parametrize("mode", ["reflect", "constant"])
def test_reading_beyond_the_edge_equals_padding(tmp_path: Path, halo: int, mode: str) -> None:
    values = np.random.default_rng(1).integers(0, 255, (2, 20, 17, 5), dtype=np.uint8)
    volume = create_volume(tmp_path / "a.zarr", values.shape, np.uint8, voxel_size=(8, 8, 8), axes="czyx")
    volume[:] = values
    expected = np.pad(values, [(0, 0)] + [(halo, halo)] * 3, mode=mode)  # type: ignore[call-overload]
    box = tuple(slice(-halo, size + halo) for size in (20, 17, 5))
    np.testing.assert_array_equal(volume.read(box, mode=mode), expected)  # type: ignore[arg-type]


def test_a_box_wholly_outside_is_zero_or_mirrored(tmp_path: Path) -> None:
    volume = create_volume(tmp_path / "a.zarr", (1, 4, 4), np.uint8, voxel_size=(8, 8, 8))
    volume[:] = 7
    box = (slice(5, 8), slice(-9, -5), slice(0, 4))
    assert (volume.read(box, mode="constant") == np.zeros((3, 4, 4))).all()
    assert (volume.read(box, mode="reflect") == np.full((3, 4, 4), 7)).all()


def test_a_section_is_a_volume_of_two_axes(tmp_path: Path) -> None:
    volume = create_volume(tmp_path / "s.zarr", (30, 40), np.uint8, voxel_size=(4, 4), axes="yx")
    assert volume.offset == (0.0, 0.0)
    assert volume.read((slice(-5, 30), slice(0, 45))).shape == (35, 45)


def test_equal_volumes_are_equal_bytes(tmp_path: Path) -> None:
    values = np.random.default_rng(2).integers(0, 9, (40, 70, 70), dtype=np.uint64)
    for name in ("a", "b"):
        create_volume(tmp_path / name / "v.zarr", values.shape, np.uint64, voxel_size=(8, 8, 8), labels=True)[:] = (
            values
        )
    first = sorted(file.relative_to(tmp_path / "a") for file in (tmp_path / "a").rglob("*") if file.is_file())
    assert len(first) > 3
    for file in first:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.parametrize("kind", ["missing", "file", "array", "foreign", "empty"])
def test_what_is_no_volume_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "thing.zarr"
    if kind == "file":
        path.write_text("x")
    elif kind == "array":
        zarr.create_array(path, shape=(4, 4), dtype="u1")
    elif kind == "foreign":
        zarr.create_group(path).create_array("0", shape=(4, 4), dtype="u1")
    elif kind == "empty":
        path.mkdir()
    with pytest.raises(InputError, match=r"thing\.zarr"):
        open_volume(path)


def test_geometry_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="axes"):
        create_volume(tmp_path / "a.zarr", (4, 4, 4), np.uint8, voxel_size=(8, 8, 8), axes="czyx")
    with pytest.raises(InputError, match="voxel size"):
        create_volume(tmp_path / "a.zarr", (4, 4, 4), np.uint8, voxel_size=(8, 8))
    with pytest.raises(InputError, match="voxel size"):
        create_volume(tmp_path / "a.zarr", (4, 4, 4), np.uint8, voxel_size=(8, 8, 0))
    assert not (tmp_path / "a.zarr").exists()
