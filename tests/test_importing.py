"""An imported volume holds the source's voxels, exactly and in the right place."""

import hashlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from sparse2dense.errors import InputError
from sparse2dense.stages import importing
from sparse2dense.stages.importing import check_source, import_volume, plan_import, slab_shape
from sparse2dense.volumes.grid import chunk_shape
from sparse2dense.volumes.volume import create_volume, open_volume
from sparse2dense.volumes.voxel_hash import voxel_hash

IDS = np.array([0, 1, 2**53 + 1, 2**63, 2**64 - 1], np.uint64)
SIZE = (40.0, 4.5, 4.0)


@pytest.fixture
def raw() -> NDArray[np.uint8]:
    """A small odd image."""
    return np.random.default_rng(0).integers(0, 255, (21, 37, 45), dtype=np.uint8)


@pytest.fixture
def small_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every import one of many blocks."""
    monkeypatch.setattr(importing, "SLAB_BYTES", 4000)
    monkeypatch.setattr(importing, "chunk_shape", lambda shape, voxel_size: (8, 16, 16))


@pytest.mark.usefixtures("small_slabs")
@pytest.mark.parametrize(("workers", "packed"), [(1, False), (1, True), (2, True)])
def test_a_crop_lies_where_it_lay_in_the_source(
    tmp_path: Path, raw: NDArray[np.uint8], workers: int, packed: bool
) -> None:
    source = tmp_path / "raw.tif"
    tifffile.imwrite(source, raw, compression="zlib" if packed else None)
    import_volume(
        source, tmp_path / "raw.zarr", voxel_size=SIZE, offset=(80, 0, -4),
        crop=[[3, 20], [0, 37], [5, 44]], workers=workers,
    )  # fmt: skip
    volume = open_volume(tmp_path / "raw.zarr")
    np.testing.assert_array_equal(volume[:], raw[3:20, :, 5:44])
    assert volume.dtype == np.uint8
    assert volume.voxel_size == SIZE
    assert volume.offset == (80 + 3 * 40.0, 0.0, -4 + 5 * 4.0)
    assert volume.attributes["provenance"]["settings"]["crop"] == [[3, 20], [0, 37], [5, 44]]


@pytest.mark.usefixtures("small_slabs")
def test_labels_keep_ids_of_64_bits(tmp_path: Path) -> None:
    ids = IDS[np.random.default_rng(1).integers(0, 5, (9, 20, 33))]
    np.save(tmp_path / "ids.npy", ids)
    import_volume(tmp_path / "ids.npy", tmp_path / "truth.zarr", voxel_size=SIZE, labels=True)
    volume = open_volume(tmp_path / "truth.zarr")
    assert volume.dtype == np.uint64
    np.testing.assert_array_equal(volume[:], ids)


@pytest.mark.parametrize("dtype", ["bool", "int8", "int16", "uint32", "int64"])
def test_labels_of_any_integer_become_uint64(tmp_path: Path, dtype: str) -> None:
    ids = np.random.default_rng(1).integers(0, 2 if dtype == "bool" else 100, (3, 9, 9)).astype(dtype)
    np.save(tmp_path / "ids.npy", ids)
    import_volume(tmp_path / "ids.npy", tmp_path / "truth.zarr", voxel_size=SIZE, labels=True)
    volume = open_volume(tmp_path / "truth.zarr")
    assert volume.dtype == np.uint64
    np.testing.assert_array_equal(volume[:], ids.astype(np.uint64))


@pytest.mark.parametrize("workers", [1, 2])
def test_negative_ids_are_refused(tmp_path: Path, workers: int) -> None:
    ids = np.ones((200, 8, 8), np.int32)
    ids[150] = -1
    np.save(tmp_path / "ids.npy", ids)
    with pytest.raises(InputError, match=r"ids\.npy holds the negative id -1"):
        import_volume(tmp_path / "ids.npy", tmp_path / "t.zarr", voxel_size=(8, 8, 8), labels=True, workers=workers)
    assert not (tmp_path / "t.zarr").exists()


@pytest.mark.parametrize(
    ("dtype", "stored"), [("uint8", "uint8"), ("uint16", "uint16"), ("bool", "uint8"), ("float64", "float32")]
)
def test_images_keep_their_type(tmp_path: Path, raw: NDArray[np.uint8], dtype: str, stored: str) -> None:
    values = raw / 255 if dtype == "float64" else raw.astype(dtype)
    np.save(tmp_path / "raw.npy", values)
    import_volume(tmp_path / "raw.npy", tmp_path / "raw.zarr", voxel_size=SIZE)
    volume = open_volume(tmp_path / "raw.zarr")
    assert volume.dtype == np.dtype(stored)
    np.testing.assert_array_equal(volume[:], values.astype(stored))


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.5, np.inf])
def test_floats_outside_0_to_1_are_refused(tmp_path: Path, bad: float) -> None:
    values = np.full((3, 8, 8), 0.5, np.float32)
    values[2, 3, 3] = bad
    np.save(tmp_path / "raw.npy", values)
    with pytest.raises(InputError, match="rescale it"):
        import_volume(tmp_path / "raw.npy", tmp_path / "raw.zarr", voxel_size=SIZE)


def test_types_that_would_lose_something_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((3, 8, 8), np.int32))
    with pytest.raises(InputError, match="an image of type int32"):
        import_volume(tmp_path / "a.npy", tmp_path / "raw.zarr", voxel_size=SIZE)
    np.save(tmp_path / "b.npy", np.zeros((3, 8, 8), np.float32))
    with pytest.raises(InputError, match="labels of type float32"):
        import_volume(tmp_path / "b.npy", tmp_path / "truth.zarr", voxel_size=SIZE, labels=True)


def write_cremi(path: Path, raw: NDArray[Any]) -> None:
    with h5py.File(path, "w") as file:
        data = file.create_dataset("volumes/raw", data=raw)
        data.attrs["resolution"], data.attrs["offset"] = SIZE, (80, 0, -4)


def test_the_config_beats_the_file_and_the_file_beats_nothing(tmp_path: Path, raw: NDArray[np.uint8]) -> None:
    write_cremi(tmp_path / "a.h5", raw)
    own = plan_import(tmp_path / "a.h5", dataset="volumes/raw")
    assert (own.voxel_size, own.offset) == (SIZE, (80.0, 0.0, -4.0))
    told = plan_import(tmp_path / "a.h5", dataset="volumes/raw", voxel_size=(8, 8, 8), offset=(1, 2, 3))
    assert (told.voxel_size, told.offset) == ((8.0, 8.0, 8.0), (1.0, 2.0, 3.0))
    tifffile.imwrite(tmp_path / "a.tif", raw)
    with pytest.raises(InputError, match=r"a\.tif: voxel size absent in the file and in the config"):
        plan_import(tmp_path / "a.tif")


@pytest.mark.parametrize("crop", [[[0, 22], [0, 37], [0, 45]], [[5, 5], [0, 37], [0, 45]], [[-1, 5], [0, 37], [0, 45]],
                                  [[0, 21], [0, 37]]])  # fmt: skip
def test_a_crop_outside_the_volume_is_refused(tmp_path: Path, raw: NDArray[np.uint8], crop: Any) -> None:
    np.save(tmp_path / "raw.npy", raw)
    with pytest.raises(InputError, match="crop"):
        plan_import(tmp_path / "raw.npy", voxel_size=SIZE, crop=crop)


def test_supervoxels_are_mapped_to_bodies(tmp_path: Path) -> None:
    ids = IDS[np.random.default_rng(1).integers(0, 5, (9, 20, 33))]
    bodies = np.array([0, 7, 7, 2**64 - 2, 9], np.uint64)
    table = np.stack([IDS, bodies], 1)[::-1]
    with h5py.File(tmp_path / "truth.h5", "w") as file:
        file["stack"], file["transforms"], file["short"] = ids, table[:4], table[1:4]
    np.save(tmp_path / "table.npy", table)
    (tmp_path / "table.csv").write_text("\n".join(f"{one},{two}" for one, two in table.tolist()))
    expected = bodies[np.searchsorted(IDS, ids)]
    for number, mapping in enumerate(("transforms", str(tmp_path / "table.npy"), str(tmp_path / "table.csv"))):
        output = tmp_path / f"{number}.zarr"
        import_volume(tmp_path / "truth.h5", output, dataset="stack", voxel_size=SIZE, labels=True, mapping=mapping)
        np.testing.assert_array_equal(open_volume(output)[:], expected)
    with pytest.raises(InputError, match=f"ids that the mapping lacks: {2**64 - 1}"):
        import_volume(
            tmp_path / "truth.h5", tmp_path / "x.zarr", dataset="stack", voxel_size=SIZE, labels=True, mapping="short"
        )


@pytest.mark.parametrize("table", [[[1, 2], [1, 3]], [[1, 2, 3]], [[1.0, 2.0]]])
def test_tables_that_map_nothing_clearly_are_refused(tmp_path: Path, table: Any) -> None:
    np.save(tmp_path / "ids.npy", np.ones((3, 4, 4), np.uint32))
    np.save(tmp_path / "table.npy", np.array(table))
    with pytest.raises(InputError, match=r"mapping .*table\.npy"):
        import_volume(
            tmp_path / "ids.npy", tmp_path / "t.zarr", voxel_size=SIZE, labels=True, mapping=str(tmp_path / "table.npy")
        )


def test_a_checksum_holds_whatever_the_ids_and_chunks_are(tmp_path: Path, raw: NDArray[np.uint8]) -> None:
    image = create_volume(tmp_path / "raw.zarr", raw.shape, raw.dtype, voxel_size=SIZE, chunks=(5, 8, 16))
    image[:] = raw
    assert voxel_hash(image, labels=False) == hashlib.sha256(raw.tobytes()).hexdigest()
    wide = create_volume(tmp_path / "wide.zarr", raw.shape, np.uint16, voxel_size=SIZE)
    wide[:] = raw.astype(np.uint16) * 257
    expected = hashlib.sha256((raw.astype("<u2") * 257).tobytes()).hexdigest()
    assert voxel_hash(wide, labels=False) == expected
    ids = np.random.default_rng(2).integers(0, 50, raw.shape)
    _, first, inverse = np.unique(np.append(0, ids.ravel()), return_index=True, return_inverse=True)
    canonical = np.argsort(np.argsort(first))[inverse][1:].astype("<u8")
    expected = hashlib.sha256(canonical.tobytes()).hexdigest()
    for name, other in (("one", ids.astype(np.uint64)), ("two", IDS[4] - ids.astype(np.uint64) * (ids > 0))):
        volume = create_volume(tmp_path / f"{name}.zarr", raw.shape, np.uint64, voxel_size=SIZE, chunks=(4, 8, 64))
        volume[:] = np.where(ids == 0, np.uint64(0), other)
        assert voxel_hash(volume, labels=True) == expected


def test_a_wrong_checksum_is_refused_and_the_right_one_is_named(tmp_path: Path, raw: NDArray[np.uint8]) -> None:
    tifffile.imwrite(tmp_path / "raw.tif", raw)
    right = hashlib.sha256(raw.tobytes()).hexdigest()
    with pytest.raises(InputError, match=right):
        import_volume(tmp_path / "raw.tif", tmp_path / "raw.zarr", voxel_size=SIZE, sha256="0" * 64)
    assert not (tmp_path / "raw.zarr").exists()
    import_volume(tmp_path / "raw.tif", tmp_path / "raw.zarr", voxel_size=SIZE, sha256=right)
    assert open_volume(tmp_path / "raw.zarr").shape == raw.shape


def test_labels_must_overlap_raw_in_the_world(tmp_path: Path, raw: NDArray[np.uint8]) -> None:
    reference = create_volume(tmp_path / "raw.zarr", raw.shape, "u1", voxel_size=SIZE, offset=(80, 0, 0))
    np.save(tmp_path / "ids.npy", np.ones(raw.shape, np.uint32))
    arguments: Any = {"labels": True, "reference": reference.path}
    output = tmp_path / "truth.zarr"
    with pytest.raises(InputError, match=r"lies at z 920-1760 nm, .* at z 80-920 nm"):
        import_volume(tmp_path / "ids.npy", output, voxel_size=SIZE, offset=(920, 0, 0), **arguments)
    with pytest.raises(InputError, match=r"voxel size \(40\.0, 4\.0, 4\.0\) nm, but .* has \(40\.0, 4\.5, 4\.0\) nm"):
        import_volume(tmp_path / "ids.npy", output, voxel_size=(40, 4, 4), **arguments)
    import_volume(tmp_path / "ids.npy", output, voxel_size=SIZE, offset=(880, 0, 0), **arguments)
    assert open_volume(output).offset == (880.0, 0.0, 0.0)


@pytest.mark.usefixtures("small_slabs")
def test_an_import_goes_on_unless_the_source_has_changed(tmp_path: Path, raw: NDArray[np.uint8]) -> None:
    folder = tmp_path / "sections"
    folder.mkdir()
    for number, section in enumerate(raw):
        Image.fromarray(section).save(folder / f"{number}.png")
    good = (folder / "20.png").read_bytes()
    (folder / "20.png").write_bytes(good[:60])
    with pytest.raises(InputError, match=r"20\.png can't be decoded"):
        import_volume(folder, tmp_path / "raw.zarr", voxel_size=SIZE)
    (done,) = tmp_path.glob("raw.zarr.*.partial/.blockwise/done")
    kept = {mark.name: mark.stat().st_mtime_ns for mark in done.iterdir()}
    assert kept
    with pytest.raises(InputError, match=r"20\.png can't be decoded"):
        import_volume(folder, tmp_path / "raw.zarr", voxel_size=SIZE)
    assert {mark.name: mark.stat().st_mtime_ns for mark in done.iterdir()} == kept
    (folder / "20.png").write_bytes(good)
    import_volume(folder, tmp_path / "raw.zarr", voxel_size=SIZE)
    np.testing.assert_array_equal(open_volume(tmp_path / "raw.zarr")[:], raw)


def test_problems_are_found_without_reading_voxels(tmp_path: Path, raw: NDArray[np.uint8]) -> None:
    tifffile.imwrite(tmp_path / "raw.tif", raw)
    plan = plan_import(tmp_path / "raw.tif", voxel_size=SIZE)
    assert check_source(tmp_path / "raw.tif", {"voxel_size": SIZE}) == []
    assert check_source(tmp_path / "raw.tif", {"voxel_size": SIZE, "sha256": "0" * 64}, reference=plan) == []
    for settings, words in (
        ({}, "voxel size absent"),
        ({"voxel_size": SIZE, "crop": [[0, 99], [0, 1], [0, 1]]}, "crop"),
        ({"voxel_size": SIZE, "dataset": "raw"}, "dataset"),
        ({"voxel_size": SIZE, "offset": (9999, 0, 0)}, "lies at"),
        ({"voxel_size": (8, 8, 8)}, "voxel size"),
    ):
        assert [words in error.problem for error in check_source(tmp_path / "raw.tif", settings, plan)] == [True]
    assert "doesn't exist" in check_source(tmp_path / "none.tif", {})[0].problem


@pytest.mark.parametrize(
    ("image", "labels", "known"),
    [
        ({}, {}, True),
        ({"offset": (0, 45, 40)}, {}, False),
        ({"offset": (0, 45, 40)}, {"offset": (0, 45, 40)}, True),
        ({}, {"shape": (20, 37, 45)}, False),
        ({}, {"shape": (20, 37, 45), "offset": (0, 0, 0)}, True),
        ({}, {"shape": (21, 45, 37)}, False),
        ({}, {"shape": (21, 45, 37), "crop": [[0, 21], [0, 37], [0, 37]]}, True),
        ({"crop": [[3, 9], [0, 37], [9, 45]]}, {}, True),
        ({"crop": [[3, 9], [0, 37], [9, 45]]}, {"shape": (6, 37, 36)}, False),
        ({"crop": [[0, 9], [0, 37], [0, 36]]}, {"shape": (9, 37, 36)}, True),
    ],
)
@pytest.mark.parametrize("states_zero", [False, True])
def test_labels_lie_on_the_image_unless_it_is_said_where(
    tmp_path: Path, image: dict[str, Any], labels: dict[str, Any], known: bool, states_zero: bool
) -> None:
    """Another shape or corner than the image's, or its crop's, needs a word; a 0 in the file isn't one."""
    np.save(tmp_path / "raw.npy", np.zeros((21, 37, 45), np.uint8))
    settings: dict[str, Any] = {"voxel_size": SIZE, "labels": True, **labels}
    ids, file = np.ones(settings.pop("shape", (21, 37, 45)), np.uint8), tmp_path / "ids.npy"
    if states_zero:
        file = tmp_path / "ids.zarr"
        zarr.create_array(file, data=ids).attrs.update(voxel_size=SIZE, offset=[0, 0, 0])
    else:
        np.save(file, ids)
    told = check_source(file, settings, plan_import(tmp_path / "raw.npy", voxel_size=SIZE, **image))
    assert ["nothing says that the labels lie there" in error.problem for error in told] == [True] * (not known)
    assert all("`offset`" in error.remedy for error in told)


sides = st.tuples(st.integers(1, 5000), st.integers(1, 60_000), st.integers(1, 60_000))


@given(sides, st.sampled_from([(8.0, 8.0, 8.0), SIZE]), st.sampled_from([1, 2, 8]), st.booleans())
def test_slabs_are_whole_chunks_within_the_limit(
    shape: tuple[int, int, int], size: tuple[float, float, float], itemsize: int, whole_sections: bool
) -> None:
    limit = 48 * 2**20
    block, chunk = slab_shape(shape, chunk_shape(shape, size), itemsize, whole_sections, limit)
    assert all(side % step == 0 for side, step in zip(block, chunk, strict=True))
    assert np.prod(block, dtype=float) * itemsize <= limit or block == chunk
    assert np.prod(chunk, dtype=float) * itemsize <= 64**3 * 32


def test_sections_that_are_decoded_whole_are_decoded_once_where_memory_allows() -> None:
    shape = (1000, 2048, 2048)
    block, chunk = slab_shape(shape, (64, 64, 64), 1, whole_sections=True, limit=48 * 2**20)
    assert block == (8, 2048, 2048)
    assert chunk == (8, 256, 128)
    block, chunk = slab_shape(shape, (64, 64, 64), 1, whole_sections=False, limit=48 * 2**20)
    assert block == (64, 384, 2048)
    assert chunk == (64, 64, 64)
