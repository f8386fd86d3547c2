"""Every format gives the same voxels, and what can't be one grey volume is refused by name."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import imagecodecs
import numpy as np
import pytest
import tensorstore
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image

from sparse2dense.errors import InputError
from sparse2dense.volumes.readers import Source, open_source
from sparse2dense.volumes.volume import create_volume

Voxels = NDArray[Any]
BOX = (slice(2, 5), slice(1, 9), slice(3, 7))
WHOLE = (slice(0, 6), slice(0, 11), slice(0, 9))


@pytest.fixture
def voxels() -> Voxels:
    """A small odd volume of uint8."""
    return np.random.default_rng(0).integers(0, 255, (6, 11, 9), dtype=np.uint8)


def assert_same(source: Source, voxels: Voxels) -> None:
    """Assert that a source holds exactly these voxels."""
    assert source.shape == voxels.shape
    assert source.dtype == voxels.dtype
    whole = tuple(slice(0, side) for side in voxels.shape)
    np.testing.assert_array_equal(source.read(whole), voxels)
    box = tuple(slice(side // 3, side // 3 + (side + 1) // 2) for side in voxels.shape)
    part = source.read(box)
    np.testing.assert_array_equal(part, voxels[box])
    assert part.dtype.isnative


def write_png_sections(folder: Path, voxels: Voxels, name: str = "iso.{:04d}.png", first: int = 2600) -> None:
    folder.mkdir()
    for number, section in enumerate(voxels, start=first):
        Image.fromarray(section).save(folder / name.format(number))


def empty(folder: Path) -> bool:
    for path in folder.iterdir():
        path.unlink()
    return True


def write_hdf5(path: Path, voxels: Voxels) -> None:
    with h5py.File(path, "w") as file:
        raw = file.create_dataset("volumes/raw", data=voxels, chunks=(2, 4, 4), compression="gzip")
        raw.attrs["resolution"], raw.attrs["offset"] = (40.0, 4.5, 4.0), (80, 0, -4)


def write_n5(path: Path, voxels: Voxels, **attributes: Any) -> None:
    metadata = {"dimensions": voxels.shape[::-1], "blockSize": [4, 4, 4], "dataType": str(voxels.dtype),
                "compression": {"type": "gzip"}, **attributes}  # fmt: skip
    spec = {"driver": "n5", "kvstore": {"driver": "file", "path": str(path)}, "metadata": metadata}
    tensorstore.open(spec, create=True).result().T.write(voxels).result()


WRITERS: dict[str, Callable[[Path, Voxels], Any]] = {
    "plain.tif": lambda path, voxels: tifffile.imwrite(path, voxels),
    "predicted.tif": lambda path, voxels: tifffile.imwrite(path, voxels, compression="zlib", predictor=True),
    "packed.tif": lambda path, voxels: tifffile.imwrite(path, voxels, compression="zlib", photometric="minisblack"),
    "tiles.tiff": lambda path, voxels: tifffile.imwrite(path, voxels, tile=(16, 16), compression="lzw"),
    "big.tif": lambda path, voxels: tifffile.imwrite(path, voxels, bigtiff=True),
    "motorola.tif": lambda path, voxels: tifffile.imwrite(path, voxels, byteorder=">"),
    "motorola_packed.tif": lambda path, voxels: tifffile.imwrite(
        path, voxels, byteorder=">", compression="zlib", photometric="minisblack"
    ),
    "loose.tif": lambda path, voxels: [tifffile.imwrite(path, s, append=True, metadata=None) for s in voxels],
    "imagej.tif": lambda path, voxels: tifffile.imwrite(path, voxels, imagej=True, metadata={"axes": "ZYX"}),
    "image.ome.tif": lambda path, voxels: tifffile.imwrite(path, voxels, metadata={"axes": "ZYX"}),
    "v2.zarr": lambda path, voxels: zarr.create_array(path, data=voxels, zarr_format=2),
    "v3.zarr": lambda path, voxels: zarr.create_array(path, data=voxels, zarr_format=3),
    "plain.npy": np.save,
    "fortran.npy": lambda path, voxels: np.save(path, np.asfortranarray(voxels)),
    "motorola.npy": lambda path, voxels: np.save(path, voxels.astype(voxels.dtype.newbyteorder(">"))),
    "one.npz": lambda path, voxels: np.savez_compressed(path, labels=voxels),
    "one.h5": lambda path, voxels: h5py.File(path, "w").create_dataset("stack", data=voxels).file.close(),
    "array.n5": lambda path, voxels: write_n5(path, voxels),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_every_format_gives_the_same_voxels(tmp_path: Path, voxels: Voxels, name: str, dtype: str) -> None:
    values = voxels.astype(dtype) * (1 if dtype == "uint8" else 257)
    WRITERS[name](tmp_path / name, values)
    assert_same(open_source(tmp_path / name), values)


@pytest.mark.parametrize("name", ["packed.tif", "v2.zarr", "v3.zarr", "plain.npy", "one.npz", "one.h5", "array.n5"])
def test_ids_of_64_bits_stay_exact(tmp_path: Path, name: str) -> None:
    ids = np.array([0, 1, 2**53 + 1, 2**63, 2**64 - 1], np.uint64)[np.arange(60).reshape(3, 4, 5) % 5]
    WRITERS[name](tmp_path / name, ids)
    assert_same(open_source(tmp_path / name), ids)


@pytest.mark.parametrize("name", ["plain.tif", "packed.tif", "plain.npy", "v3.zarr", "one.h5", "array.n5"])
def test_a_single_section_is_a_volume(tmp_path: Path, voxels: Voxels, name: str) -> None:
    WRITERS[name](tmp_path / name, voxels[:1].reshape(11, 9) if name != "array.n5" else voxels[:1])
    assert_same(open_source(tmp_path / name), voxels[:1])


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
def test_sections_come_in_natural_order(tmp_path: Path, suffix: str) -> None:
    for number in range(1, 13):
        section = np.full((8, 16), 20 * number, np.uint8)
        path = tmp_path / f"z{number}.{suffix}"
        if suffix == "tif":
            tifffile.imwrite(path, section)
        else:
            Image.fromarray(section).save(path)
    (tmp_path / "notes.txt").write_text("not a section")
    (tmp_path / ".hidden.png").write_text("not a section")
    source = open_source(tmp_path)
    assert source.shape == (12, 8, 16)
    assert source.read((slice(0, 12), slice(3, 4), slice(5, 6))).ravel().tolist() == [20 * n for n in range(1, 13)]


def test_png_sections_of_8_and_16_bits_and_masks_are_exact(tmp_path: Path, voxels: Voxels) -> None:
    write_png_sections(tmp_path / "a", voxels)
    assert_same(open_source(tmp_path / "a"), voxels)
    write_png_sections(tmp_path / "b", voxels.astype(np.uint16) * 257, "{}.png", first=0)
    assert_same(open_source(tmp_path / "b"), voxels.astype(np.uint16) * 257)
    write_png_sections(tmp_path / "c", voxels > 100)
    assert_same(open_source(tmp_path / "c"), voxels > 100)


def test_a_palette_keeps_the_indices(tmp_path: Path, voxels: Voxels) -> None:
    image = Image.fromarray(voxels[0] % 7, mode="P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0] * 7)
    image.save(tmp_path / "labels.png")
    assert_same(open_source(tmp_path / "labels.png"), (voxels % 7)[:1])


def test_grey_jpeg_sections_are_read(tmp_path: Path, voxels: Voxels) -> None:
    section = np.kron(voxels[0], np.ones((8, 8), np.uint8))
    Image.fromarray(section).save(tmp_path / "s1.jpg", quality=95)
    source = open_source(tmp_path / "s1.jpg")
    values = source.read((slice(0, 1), slice(0, 88), slice(0, 72)))[0]
    assert source.shape == (1, 88, 72)
    assert np.abs(values.astype(int) - section).mean() < 3


def test_sections_numbered_in_steps_are_a_series(tmp_path: Path, voxels: Voxels) -> None:
    tmp_path = tmp_path / "s"
    tmp_path.mkdir()
    for index, section in enumerate(voxels):
        Image.fromarray(section).save(tmp_path / f"tile_3_z{index * 40:04d}.png")
    assert_same(open_source(tmp_path), voxels)


def test_a_missing_section_is_named(tmp_path: Path, voxels: Voxels) -> None:
    write_png_sections(tmp_path / "s", voxels)
    (tmp_path / "s" / "iso.2603.png").unlink()
    with pytest.raises(InputError, match=r"misses section 2603: iso\.2602\.png is followed by iso\.2604\.png"):
        open_source(tmp_path / "s")


@pytest.mark.parametrize("kind", ["shape", "dtype", "pattern", "format", "twice", "pages", "colour", "broken", "none"])
def test_sections_that_do_not_belong_together_are_refused(tmp_path: Path, voxels: Voxels, kind: str) -> None:
    folder = tmp_path / "s"
    write_png_sections(folder, voxels)
    odd: dict[str, Callable[[], Any]] = {
        "shape": lambda: Image.fromarray(voxels[0, 1:]).save(folder / "iso.2606.png"),
        "dtype": lambda: Image.fromarray(voxels[0].astype(np.uint16)).save(folder / "iso.2606.png"),
        "pattern": lambda: Image.fromarray(voxels[0]).save(folder / "iso.2606 copy.png"),
        "format": lambda: tifffile.imwrite(folder / "iso.2606.tif", voxels[0]),
        "twice": lambda: Image.fromarray(voxels[0]).save(folder / "iso.02605.png"),
        "pages": lambda: (empty(folder), tifffile.imwrite(folder / "1.tif", voxels)),
        "colour": lambda: Image.fromarray(np.stack([voxels[0]] * 3, -1)).save(folder / "iso.2606.png"),
        "broken": lambda: (folder / "iso.2606.png").write_bytes(b"not an image"),
        "none": lambda: empty(folder),
    }
    odd[kind]()
    with pytest.raises(InputError, match=r"s(/iso\.2606\.png|/1\.tif)? (is|mixes|holds|has)"):
        open_source(folder)


def test_a_damaged_section_is_named_when_it_is_read(tmp_path: Path, voxels: Voxels) -> None:
    write_png_sections(tmp_path / "s", voxels)
    path = tmp_path / "s" / "iso.2604.png"
    path.write_bytes(path.read_bytes()[:-40])
    source = open_source(tmp_path / "s")
    with pytest.raises(InputError, match=r"iso\.2604\.png can't be decoded"):
        source.read(WHOLE)


@pytest.mark.parametrize("kind", ["rgb", "series", "channels", "nothing"])
def test_tiffs_that_are_no_grey_volume_are_refused(tmp_path: Path, voxels: Voxels, kind: str) -> None:
    path = tmp_path / "a.tif"
    if kind == "rgb":
        tifffile.imwrite(path, np.stack([voxels[0]] * 3, -1), photometric="rgb")
    elif kind == "series":
        tifffile.imwrite(path, voxels)
        tifffile.imwrite(path, voxels[0, 1:], append=True)
    elif kind == "channels":
        tifffile.imwrite(tmp_path / "a.tif", np.stack([voxels] * 2), ome=True, metadata={"axes": "CZYX"})
    else:
        path.write_bytes(b"II*\x00")
    with pytest.raises(InputError, match=r"a\.tif (is in colour|mixes|has 2 channels|can't be opened)"):
        open_source(path)


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.jpg"])
def test_labels_in_colour_are_not_to_be_made_grey(tmp_path: Path, name: str) -> None:
    """Whoever follows the advice keeps every object: that of an image isn't given for labels."""
    colours = np.random.default_rng(5).integers(0, 255, (9, 12, 3)).astype(np.uint8)
    if name == "a.tif":
        tifffile.imwrite(tmp_path / name, colours, photometric="rgb")
    else:
        Image.fromarray(colours).save(tmp_path / name)
    with pytest.raises(InputError, match="is in colour") as caught:
        open_source(tmp_path / name)
    assert caught.value.allowed == "grey images, and labels as integers"
    assert "never so labels" in caught.value.remedy
    assert "export their ids" in caught.value.remedy


def test_voxel_sizes_of_tiff_are_in_nm(tmp_path: Path, voxels: Voxels) -> None:
    for unit, factor in (("um", 1000), ("\\u00B5m", 1000), ("nm", 1), ("micron", 1000)):
        tifffile.imwrite(
            tmp_path / "j.tif", voxels, imagej=True, resolution=(1 / 0.004, 1 / 0.0045),
            metadata={"spacing": 0.04, "unit": unit, "axes": "ZYX"},
        )  # fmt: skip
        size = open_source(tmp_path / "j.tif").voxel_size
        assert size == pytest.approx((0.04 * factor, 0.0045 * factor, 0.004 * factor), rel=1e-5)
    sizes = {"PhysicalSizeZ": 40, "PhysicalSizeZUnit": "nm", "PhysicalSizeY": 0.0045, "PhysicalSizeX": 0.004}
    tifffile.imwrite(tmp_path / "a.ome.tif", voxels, metadata={"axes": "ZYX", **sizes})
    assert open_source(tmp_path / "a.ome.tif").voxel_size == (40.0, 4.5, 4.0)
    tifffile.imwrite(tmp_path / "p.tif", voxels, resolution=(300, 300), resolutionunit="INCH")
    assert open_source(tmp_path / "p.tif").voxel_size is None
    tifffile.imwrite(tmp_path / "u.tif", voxels, imagej=True, metadata={"spacing": 2, "unit": "pixel", "axes": "ZYX"})
    assert open_source(tmp_path / "u.tif").voxel_size is None


@pytest.mark.parametrize("packed", [False, True])
def test_cremi_files_say_where_they_lie(tmp_path: Path, voxels: Voxels, packed: bool) -> None:
    path = tmp_path / "sample.h5"
    write_hdf5(path, voxels)
    if packed:
        path = tmp_path / "sample.h5.gz"
        path.write_bytes(gzip.compress((tmp_path / "sample.h5").read_bytes()))
    source = open_source(path, "/volumes/raw")
    assert_same(source, voxels)
    assert source.voxel_size == (40.0, 4.5, 4.0)
    assert source.offset == (80.0, 0.0, -4.0)


def test_ilastik_files_say_their_voxel_size(tmp_path: Path, voxels: Voxels) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("raw", data=voxels).attrs["element_size_um"] = (0.04, 0.0045, 0.004)
    assert open_source(tmp_path / "a.h5").voxel_size == (40.0, 4.5, 4.0)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_gives_its_full_resolution_and_place(tmp_path: Path, voxels: Voxels, version: str) -> None:
    axes = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}] + [
        {"name": axis, "type": "space", "unit": "micrometer"} for axis in "zyx"
    ]
    steps = [
        {"type": "scale", "scale": [1, 1, 0.02, 0.00225, 0.002]},
        {"type": "translation", "translation": [0, 0, 0.04, 0, -0.002]},
    ]
    image = {
        "axes": axes, "datasets": [{"path": "s0", "coordinateTransformations": steps}, {"path": "s1"}],
        "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 2, 2, 2]}], "version": version,
    }  # fmt: skip
    attributes: Any = (
        {"multiscales": [image]} if version == "0.4" else {"ome": {"version": "0.5", "multiscales": [image]}}
    )
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=2 if version == "0.4" else 3)
    image_group = group.create_group("image", attributes=attributes)
    image_group.create_array("s0", data=voxels[None, None])
    image_group.create_array("s1", data=voxels[None, None, ::2])
    for source in (open_source(tmp_path / "a.zarr" / "image"), open_source(tmp_path / "a.zarr", "image")):
        assert_same(source, voxels)
        assert source.voxel_size == (40.0, 4.5, 4.0)
        assert source.offset == (80.0, 0.0, -4.0)
    assert_same(open_source(tmp_path / "a.zarr", "image/s1"), voxels[::2])


def test_volumes_of_this_project_and_of_funlib_come_back(tmp_path: Path, voxels: Voxels) -> None:
    volume = create_volume(tmp_path / "a.zarr", voxels.shape, "u1", voxel_size=(40, 4.5, 4), offset=(80, 0, -4))
    volume[:] = voxels
    plain: Any = {"resolution": [40, 4.5, 4], "offset": [80, 0, -4]}
    zarr.create_group(tmp_path / "b.zarr", zarr_format=2).create_array("raw", data=voxels, attributes=plain)
    for name in ("a.zarr", "b.zarr"):
        source = open_source(tmp_path / name)
        assert_same(source, voxels)
        assert source.voxel_size == (40.0, 4.5, 4.0)
        assert source.offset == (80.0, 0.0, -4.0)


def test_n5_counts_x_first_in_its_attributes(tmp_path: Path, voxels: Voxels) -> None:
    transform = {"axes": ["x", "y", "z"], "scale": [4, 4.5, 40], "translate": [-4, 0, 80], "units": ["nm"] * 3}
    layouts: dict[str, dict[str, Any]] = {
        "resolution": {"resolution": [4, 4.5, 40], "offset": [-4, 0, 80]},
        "transform": {"transform": transform},
        "pixels": {"pixelResolution": {"dimensions": [0.004, 0.0045, 0.04], "unit": "um"}},
    }
    for name, attributes in layouts.items():
        write_n5(tmp_path / "a.n5" / name / "s0", voxels, **attributes)
        source = open_source(tmp_path / "a.n5", name)
        assert_same(source, voxels)
        assert source.voxel_size == (40.0, 4.5, 4.0)
        assert source.offset == (None if name == "pixels" else (80.0, 0.0, -4.0))


@pytest.mark.parametrize("name", ["a.h5", "a.zarr", "a.n5", "a.npz"])
def test_a_dataset_must_be_named_where_there_are_several(tmp_path: Path, voxels: Voxels, name: str) -> None:
    path = tmp_path / name
    if name == "a.h5":
        with h5py.File(path, "w") as file:
            file["volumes/raw"], file["labels"] = voxels, voxels + 1
    elif name == "a.zarr":
        group = zarr.create_group(path)
        group.create_array("volumes/raw", data=voxels)
        group.create_array("labels", data=voxels + 1)
    elif name == "a.n5":
        write_n5(path / "volumes" / "raw", voxels)
        write_n5(path / "labels", voxels + 1)
    else:
        arrays: dict[str, Any] = {"volumes/raw": voxels, "labels": voxels + 1}
        np.savez(path, **arrays)
    assert_same(open_source(path, "volumes/raw"), voxels)
    assert_same(open_source(path, "labels"), voxels + 1)
    for wrong in (None, "volumes/raws"):
        with pytest.raises(InputError, match=r"labels, volumes/raw") as caught:
            open_source(path, wrong)
        assert str(path) in caught.value.problem


def test_a_dataset_in_a_format_without_any_is_refused(tmp_path: Path, voxels: Voxels) -> None:
    tifffile.imwrite(tmp_path / "a.tif", voxels)
    with pytest.raises(InputError, match="dataset 'raw'"):
        open_source(tmp_path / "a.tif", "raw")


@pytest.mark.parametrize("name", ["a.h5", "a.h5.gz", "a.npy", "a.npz", "a.tif", "a.png", "a.jpg", "a.zarr", "a.n5"])
def test_a_file_that_only_has_the_suffix_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name in ("a.zarr", "a.n5"):
        path.mkdir()
    else:
        path.write_bytes(b"nonsense")
    with pytest.raises(InputError, match=str(path)):
        open_source(path)


def test_unknown_formats_missing_files_and_strange_types_are_named(tmp_path: Path, voxels: Voxels) -> None:
    (tmp_path / "a.xyz").write_text("x")
    with pytest.raises(InputError, match=r"a\.xyz is of an unknown format"):
        open_source(tmp_path / "a.xyz")
    with pytest.raises(InputError, match=r"b\.tif doesn't exist"):
        open_source(tmp_path / "b.tif")
    np.save(tmp_path / "c.npy", voxels.astype(np.complex64))
    with pytest.raises(InputError, match=r"c\.npy holds voxels of type complex64"):
        open_source(tmp_path / "c.npy")
    np.save(tmp_path / "d.npy", np.stack([voxels] * 2))
    with pytest.raises(InputError, match=r"d\.npy holds an array of shape \(2, 6, 11, 9\)"):
        open_source(tmp_path / "d.npy")


def test_a_large_png_is_no_bomb(tmp_path: Path) -> None:
    encoded = bytearray(imagecodecs.png_encode(np.zeros((4, 4), np.uint8)))
    encoded[16:24] = struct.pack(">II", 40_000, 30_000)
    (tmp_path / "1.png").write_bytes(encoded)
    assert open_source(tmp_path / "1.png").shape == (1, 30_000, 40_000)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_sections_written_one_by_one_are_a_stack(tmp_path: Path, voxels: Voxels, compression: str | None) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for section in voxels:
            file.write(section, compression=compression, contiguous=False)
    assert_same(open_source(tmp_path / "a.tif"), voxels)


def test_a_stack_saved_without_axes_is_a_stack_of_sections(tmp_path: Path, voxels: Voxels) -> None:
    many = np.concatenate([voxels] * 2)
    tifffile.imwrite(tmp_path / "a.tif", many, imagej=True)
    assert_same(open_source(tmp_path / "a.tif"), many)
