"""Generated volumes: exact truth, the same bytes for the same seed, and what the options do."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cc3d
import edt
import numpy as np
import pytest
import tifffile

from sparse2dense.errors import InputError
from sparse2dense.ops.neurites import connected
from sparse2dense.ops.phantom import PhantomSettings, phantom
from sparse2dense.stages.phantoms import write_phantom

CASES: list[dict[str, Any]] = [
    {"shape": (31, 63, 50)},
    {"shape": (9, 61, 52), "voxel_size": (40.0, 8.0, 8.0), "settings": PhantomSettings(jitter_voxels=1.0)},
    {"shape": (13, 40, 30), "voxel_size": (24.5, 18.0, 19.0)},
    {"shape": (24, 50, 50), "settings": PhantomSettings(extracellular_nm=14, minimum_size=60)},
]


def sizes(truth: np.ndarray) -> np.ndarray:
    return np.bincount(truth.ravel().astype(np.int64))[1:]


@pytest.mark.parametrize("case", CASES)
def test_every_label_is_one_component_of_useful_size(case: dict[str, Any]) -> None:
    raw, truth = phantom(**case, seed=5)
    assert raw.shape == truth.shape == case["shape"]
    assert (raw.dtype, truth.dtype) == (np.uint8, np.uint64)
    objects = cc3d.connected_components(truth, connectivity=6)
    assert objects.max() == truth.max() == len(np.unique(truth[truth > 0]))
    settings = case.get("settings", PhantomSettings())
    voxel_size = np.array(case.get("voxel_size", (8, 8, 8)))
    assert sizes(truth).min() >= round(settings.minimum_size * voxel_size.min() ** 3 / voxel_size.prod())
    assert (truth == 0).any() == (settings.extracellular_nm > 0)


def test_same_seed_gives_same_bytes_and_another_seed_another_volume() -> None:
    first, again, other = (phantom((12, 40, 40), seed=seed) for seed in (3, 3, 4))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert (first[1] != other[1]).mean() > 0.2


def membrane_and_inside(**options: float) -> tuple[np.ndarray, np.ndarray]:
    settings = replace(PhantomSettings(mitochondria=0, vacuoles=0, noise=2), **options)  # type: ignore[arg-type]
    raw, truth = phantom((40, 90, 90), seed=1, settings=settings)
    depth = edt.edt(truth.astype(np.uint32), black_border=False)
    return raw[depth <= 1].astype(float), raw[depth > 4].astype(float)


def test_membranes_are_dark_where_objects_meet() -> None:
    membrane, inside = membrane_and_inside()
    assert membrane.mean() < inside.mean() - 35
    invisible, inside = membrane_and_inside(membrane_contrast=0.0, membrane_fading=0.0)
    assert invisible.mean() > inside.mean() - 25  # synapses and the lowest contrast are left


def test_membranes_fade_in_places() -> None:
    even, _ = membrane_and_inside(membrane_fading=0.0)
    fading, _ = membrane_and_inside(membrane_fading=0.5)
    assert np.percentile(fading, 98) > np.percentile(even, 98) + 10


def test_neurites_vary_in_calibre() -> None:
    _, truth = phantom((64, 128, 128), seed=2)
    depth = edt.edt(truth.astype(np.uint32), black_border=False)
    widths = np.zeros(int(truth.max()) + 1)
    np.maximum.at(widths, truth.ravel().astype(np.int64), 2 * depth.ravel())
    assert (widths[1:] <= 12).sum() >= 5
    assert widths.max() >= 30


def test_thick_sections_make_boundaries_jump() -> None:
    _, fine = phantom((40, 60, 60), seed=6)
    _, coarse = phantom((8, 60, 60), voxel_size=(40, 8, 8), seed=6)
    assert (coarse[1:] != coarse[:-1]).mean() > 2 * (fine[1:] != fine[:-1]).mean()


def test_jitter_moves_image_and_truth_together() -> None:
    changes = []
    for jitter in (0.0, 2.0):
        settings = PhantomSettings(jitter_voxels=jitter, mitochondria=0, vesicles=0, vacuoles=0)
        raw, truth = phantom((24, 60, 60), seed=8, settings=settings)
        depth = edt.edt(truth.astype(np.uint32), anisotropy=(1e3, 1, 1), black_border=False)
        assert raw[depth <= 1].mean() < raw[depth > 4].mean() - 30
        changes.append((truth[1:] != truth[:-1]).mean())
    assert changes[1] > 1.5 * changes[0]


def test_damage_stays_in_the_sections_named() -> None:
    whole, truth = phantom((10, 40, 40), seed=4)
    damaged, same_truth = phantom((10, 40, 40), seed=4, settings=PhantomSettings(damaged=(2, 7)))
    assert (truth == same_truth).all()
    difference = np.abs(whole.astype(float) - damaged).mean(axis=(1, 2))
    others = np.delete(difference, [2, 7])
    assert difference[[2, 7]].min() > others.max() + 2


def test_a_number_of_damaged_sections_is_drawn() -> None:
    whole, _ = phantom((10, 40, 40), seed=4, settings=PhantomSettings(noise=0))
    damaged, _ = phantom((10, 40, 40), seed=4, settings=PhantomSettings(noise=0, damaged=3))
    # The brightness of sections is drawn before the damage, so whole sections stay as they were.
    assert (whole != damaged).any(axis=(1, 2)).sum() == 3


def test_a_damaged_section_outside_is_refused() -> None:
    with pytest.raises(ValueError, match="outside"):
        phantom((10, 20, 20), settings=PhantomSettings(damaged=(10,)))


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 33, 20), (20, 5, 5)])
def test_tiny_volumes_are_possible(shape: tuple[int, int, int]) -> None:
    raw, truth = phantom(shape, seed=1)
    assert raw.shape == shape
    assert truth.min() == 1


def test_bad_geometry_is_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        phantom((0, 10, 10))
    with pytest.raises(ValueError, match="positive"):
        phantom((10, 10, 10), voxel_size=(8, 8, 0))


def test_small_pieces_join_the_neighbour_with_the_widest_contact() -> None:
    labels = np.ones((1, 6, 8), np.uint64)
    labels[:, :, 4:] = 2
    labels[0, 2, 6] = 1  # a lost piece of 1 within 2
    labels[0, 0, 0] = 0  # background stays
    result = connected(labels, 3)
    expected = np.ones((1, 6, 8), np.uint64)
    expected[:, :, 4:] = 2
    expected[0, 0, 0] = 0
    assert (result == expected).all()


def test_large_pieces_become_objects_of_their_own() -> None:
    labels = np.full((2, 5, 9), 7, np.uint64)
    labels[:, :, 4] = 3
    result = connected(labels, 4)
    assert sorted(np.unique(result)) == [1, 2, 3]
    assert result[0, 0, 0] != result[0, 0, 8]


def test_files_keep_voxel_size_ids_and_bytes(tmp_path: Path) -> None:
    settings = {"shape": [5, 21, 32], "voxel_size": [40, 8.5, 8.5], "seed": 2, "damaged": [3], "minimum_size": 20}
    for folder in ("a", "b"):
        write_phantom(tmp_path / folder / "raw.tif", tmp_path / folder / "truth.tif", settings=settings)
    for name in ("raw.tif", "truth.tif"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    raw, truth = phantom(
        (5, 21, 32), voxel_size=(40, 8.5, 8.5), seed=2, settings=PhantomSettings(damaged=(3,), minimum_size=20)
    )
    with tifffile.TiffFile(tmp_path / "a" / "truth.tif") as file:
        stored = file.asarray()
        header = file.ome_metadata or ""
    assert stored.dtype == np.uint32
    assert (stored == truth).all()
    assert (tifffile.imread(tmp_path / "a" / "raw.tif") == raw).all()
    for text in ('PhysicalSizeZ="40.0"', 'PhysicalSizeX="8.5"', 'PhysicalSizeZUnit="nm"'):
        assert text in header


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"shape": [4, 8, 8], "tickness": 3}, "tickness"),
        ({"seed": 1}, "shape"),
        ({"shape": [4, 8, 8], "damaged": [9]}, "damaged"),
        ({"shape": [4, 0, 8]}, "shape"),
    ],
)
def test_bad_settings_name_the_key(tmp_path: Path, settings: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named):
        write_phantom(tmp_path / "raw.tif", tmp_path / "truth.tif", settings=settings)
    assert list(tmp_path.iterdir()) == []
