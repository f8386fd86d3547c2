"""Synthetic labels: objects that fill space, of sizes and shapes as asked for."""

from typing import get_args

import cc3d
import numpy as np
import pytest

from sparse2dense.errors import InputError
from sparse2dense.ops.synthetic import Shapes, Variant, smooth_noise, synthetic_labels

VARIANTS = get_args(Variant)
PLAIN = Shapes(hole_probability=0.0, debris=0)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("shape", [(9, 41, 38), (1, 30, 31), (3, 5, 4), (1, 1, 1)])
def test_labels_are_consecutive_connected_objects(variant: Variant, shape: tuple[int, int, int]) -> None:
    labels = synthetic_labels(shape, np.random.default_rng(3), variant)
    assert labels.shape == shape and labels.dtype == np.uint32
    names = np.unique(labels)
    assert set(names) | {0} == set(range(int(names.max()) + 1))
    assert cc3d.connected_components(labels, connectivity=6).max() == names.max()


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_same_seed_gives_the_same_labels(variant: Variant) -> None:
    first, second, other = (synthetic_labels((6, 40, 40), np.random.default_rng(s), variant) for s in (5, 5, 6))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


@pytest.mark.parametrize("variant", VARIANTS)
def test_objects_leave_no_gaps_unless_holes_are_drawn(variant: Variant) -> None:
    assert synthetic_labels((8, 50, 50), np.random.default_rng(1), variant, shapes=PLAIN).all()
    holes = Shapes(hole_probability=1.0, hole_divisors=(2,), debris=0, diameter=(8, 8))
    background = (synthetic_labels((8, 50, 50), np.random.default_rng(1), variant, shapes=holes) == 0).mean()
    assert 0.02 < background < 0.98


@pytest.mark.parametrize("diameter", [8.0, 16.0, 32.0])
def test_cells_have_the_diameter_asked_for(diameter: float) -> None:
    shapes = Shapes(
        diameter=(diameter,) * 2, size_spread=(0, 0), stretch=(1, 1), joined=(0, 0), hole_probability=0.0, debris=0
    )
    side = int(4 * diameter)
    labels = synthetic_labels((side,) * 3, np.random.default_rng(2), "tessellation", (1, 1), shapes)
    sizes = np.bincount(labels.ravel())[1:]
    volume = (sizes.astype(float) ** 2).sum() / sizes.sum()
    assert 0.6 * diameter < (6 * volume / np.pi) ** (1 / 3) < 1.6 * diameter


def test_sizes_cover_thin_neurites_and_cell_bodies() -> None:
    """Over samples, the typical width of the objects in a section varies by far more than within one setting."""
    rng = np.random.default_rng(0)
    widths = []
    for _ in range(30):
        areas = np.bincount(synthetic_labels((4, 100, 100), rng, "tubes", shapes=PLAIN)[2].ravel())[1:]
        areas = areas[areas > 0]
        widths.append(np.sqrt(np.median(areas)))
    assert min(widths) < 10 and max(widths) > 30


def test_anisotropy_shortens_objects_in_z() -> None:
    shapes = Shapes(diameter=(16, 16), stretch=(1, 1), joined=(0, 0), hole_probability=0.0, debris=0)

    def extent(anisotropy: float) -> float:
        labels = synthetic_labels((32, 64, 64), np.random.default_rng(4), "tessellation", (anisotropy,) * 2, shapes)
        boxes = cc3d.statistics(labels)["bounding_boxes"][1:]
        return float(np.mean([box[0].stop - box[0].start for box in boxes]))

    assert extent(4.0) < 0.5 * extent(1.0)


def test_tubes_run_through_more_sections_than_cells() -> None:
    shapes = Shapes(diameter=(12, 12), stretch=(1, 1), hole_probability=0.0, matrix_probability=0.0)

    def extent(variant: Variant) -> float:
        labels = synthetic_labels((48, 64, 64), np.random.default_rng(9), variant, (1, 1), shapes)
        sizes = np.bincount(labels.ravel())[1:]
        boxes = cc3d.statistics(labels)["bounding_boxes"][1:]
        depths = np.array([box[0].stop - box[0].start for box in boxes])
        return float((depths * sizes).sum() / sizes.sum())

    assert extent("tubes") > 1.2 * extent("tessellation")


def test_noise_has_unit_variance_and_the_smoothness_asked_for() -> None:
    noise = smooth_noise((40, 90, 80), (1.0, 6.0, 9.0), np.random.default_rng(0), count=2)
    assert noise.shape == (2, 40, 90, 80) and noise.dtype == np.float32
    assert abs(float(noise.mean())) < 0.05 and abs(float(noise.std()) - 1) < 0.05

    def similarity(lag: int, axis: int) -> float:
        a, b = np.split(np.moveaxis(noise, axis, 0), [lag])[1], np.moveaxis(noise, axis, 0)[:-lag]
        return float((a * b).mean())

    assert abs(similarity(1, 1)) < 0.05
    assert similarity(1, 2) > 0.9 and similarity(1, 3) > similarity(1, 2)
    assert abs(similarity(30, 2)) < 0.1


def test_unknown_variants_are_named() -> None:
    with pytest.raises(InputError, match="blobs"):
        synthetic_labels((2, 2, 2), np.random.default_rng(0), "blobs")  # type: ignore[arg-type]
