"""What to annotate next: facts on sections that are blurred, of another texture, annotated, or beside each other."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from sparse2dense.errors import InputError
from sparse2dense.ops.regions import (
    LAGS,
    MEASURED,
    RegionSums,
    binary_entropy,
    correlations,
    describe_regions,
    lag_sums,
    merge_regions,
    region_edges,
    sum_regions,
)
from sparse2dense.ops.suggestions import Regions, closeness, suggest

UNLIKE = np.zeros(len(LAGS))
BEYOND = 8


def regions(depth: int, columns: int = 1, **changes: Any) -> Regions:
    """Regions of a volume of `columns` by `depth`, all alike but for `changes`."""
    section, column = (axis.ravel() for axis in np.meshgrid(np.arange(depth), np.arange(columns), indexing="ij"))
    count = len(section)
    given: dict[str, Any] = {
        "volume": np.zeros(count, np.int64), "section": section, "row": np.zeros(count, np.int64), "column": column,
        "voxels": np.full(count, 100), "counted": np.full(count, 100), "annotated": np.zeros(count, bool),
        "uncertainty": np.full(count, 0.2), "disagreement": np.full(count, 0.1), "looks": np.ones((count, 3)),
    }  # fmt: skip
    return Regions(**given | changes)


def sections_of(found: Regions, count: int = 3, alike: NDArray[np.float64] = UNLIKE) -> list[int]:
    """The sections that are suggested, in order."""
    return [int(found.section[one.regions[0]]) for one in suggest(found, [alike, alike], count, whole_sections=True)]


def at(length: int, *places: int, value: float = 1.0, other: float = 0.0) -> NDArray[np.float64]:
    """A row of numbers that are `other` but in some places."""
    numbers = np.full(length, other)
    numbers[list(places)] = value
    return numbers


def summed(raw: NDArray, **changes: Any) -> RegionSums:
    """Sums over regions of 10 x 10 voxels of an image, sure and agreed with everywhere but for `changes`."""
    height, width = raw.shape[1:]
    inside = {"entropy": np.zeros(raw.shape, np.float32), "error": np.zeros(raw.shape, np.float32)}
    flags = {"counted": np.ones(raw.shape, np.uint8), "annotated": np.zeros(raw.shape, np.uint8)}
    behind = np.pad(raw, ((0, 0), (0, BEYOND), (0, BEYOND)), mode="reflect")
    edges = (region_edges(height, 10), region_edges(width, 10))
    return sum_regions(behind, begin=(0, 0, 0), edges=edges, **{**inside, **flags, **changes})


@pytest.mark.parametrize("part", ["uncertainty", "disagreement"])
def test_the_section_of_which_the_net_is_least_sure_comes_first(part: str) -> None:
    changes: dict[str, Any] = {part: at(9, 6, value=0.5, other=0.2)}
    found = regions(9, **changes)
    (first, *_) = suggest(found, [UNLIKE], 3, whole_sections=True)
    assert found.section[first.regions].tolist() == [6]
    assert first.parts[part] == 0.5
    assert first.scores[part] == pytest.approx(0.5 + 8 / 8**0.5 / 6), "2.8 standard deviations above the mean"
    assert first.scores["novelty"] == 0.5


def test_a_section_unlike_the_annotated_one_comes_first_and_its_likes_lose() -> None:
    """Two sections look strange, in the same way: one of them is enough, so a third sort comes before the second."""
    looks = (at(12, 4, 8, value=9) + at(12, 10, value=-5))[:, None]
    found = regions(12, looks=looks, annotated=at(12, 0).astype(bool))
    assert sections_of(found, 2) == [4, 10]


def test_annotated_sections_are_never_suggested() -> None:
    """Not even where a single region of a section is annotated and all others are the least sure of all."""
    uncertainty = at(14, 2, 3, 6, 7, value=0.9)
    found = regions(7, 2, uncertainty=uncertainty, annotated=at(14, 3, 6).astype(bool))
    assert sections_of(found, 99) == [0, 2, 4, 5, 6]
    places = [int(one.regions[0]) for one in suggest(found, [UNLIKE], 99, whole_sections=False)]
    assert sorted(places) == [place for place in range(14) if place not in (3, 6)]
    assert set(places[:2]) == {2, 7}
    assert sections_of(regions(3, annotated=np.ones(3, bool))) == []


def test_suggestions_dont_lie_beside_each_other() -> None:
    """The net is least sure of sections 20 to 24; where sections are alike over ten others, one is enough at first."""
    found = regions(60, uncertainty=at(60, *range(20, 25), value=0.9, other=0.2))
    alike = closeness(np.array(LAGS), np.exp(-np.array(LAGS) / 10))
    chosen = sections_of(found, 3, alike)
    assert 20 <= chosen[0] < 25
    assert min(abs(a - b) for a in chosen for b in chosen if a != b) > 10
    assert sorted(sections_of(found, 3)) == [20, 21, 22], "where sections have nothing in common, places don't matter"
    gains = [one.gain for one in suggest(found, [alike], 9, whole_sections=True)]
    assert gains == sorted(gains, reverse=True) and gains[-1] > 0


def test_sections_beside_annotated_ones_lose_by_how_alike_they_are() -> None:
    found = regions(40, annotated=at(40, 20).astype(bool))
    alike = np.array([0.9, 0.8, 0.6, 0.3, 0.1, 0.0])
    assert sections_of(found, 1, alike) == [0]
    (one,) = suggest(found, [alike], 1, whole_sections=True)
    assert one.closeness == pytest.approx(0.1 - 0.1 * 4 / 16)  # 20 sections, between 16 and 32
    assert one.gain == pytest.approx(0.5 * (1 - one.closeness))
    assert closeness(np.array([0, 1, 3, 64, 1000]), alike).tolist() == pytest.approx([1, 0.9, 0.7, 0, 0])


def test_what_lies_outside_tissue_adds_nothing() -> None:
    """A section of which a tenth is tissue is worth a tenth, one without any nothing, however strange it looks."""
    found = regions(4, counted=np.array([100, 10, 0, 100]), uncertainty=at(4, 1, 2, value=0.9))
    gains = {int(found.section[one.regions[0]]): one.gain for one in suggest(found, [UNLIKE], 9, whole_sections=True)}
    assert list(gains) == [0, 3, 1]
    assert gains[1] < 0.1


def test_volumes_compete_and_each_has_its_share() -> None:
    """What is annotated in one volume is known in the other, but is close to nothing there."""
    volume, section = np.repeat([0, 1], 6), np.tile(np.arange(6), 2)
    looks = np.zeros((12, 3))
    looks[[2, 9], 0] = 5.0
    one = regions(12, volume=volume, section=section, looks=looks, annotated=at(12, 2).astype(bool))
    chosen = suggest(one, [np.ones(len(LAGS)), UNLIKE], 2, whole_sections=True)
    assert [int(one.volume[found.regions[0]]) for found in chosen] == [1, 1], "all of the first is like section 2 of it"
    assert 9 not in [int(found.regions[0]) for found in chosen], "annotated in the first volume"
    both = suggest(one, [UNLIKE, UNLIKE], 2, whole_sections=True)
    assert sorted(int(one.volume[found.regions[0]]) for found in both) == [0, 0, 1, 1]


def test_one_section_and_nothing_at_all() -> None:
    assert sections_of(regions(1)) == [0]
    assert sections_of(regions(1, annotated=np.ones(1, bool))) == []
    assert sections_of(regions(0)) == []


def test_entropy_is_that_of_a_coin() -> None:
    assert binary_entropy(np.array([0, 255, 0], np.uint8)).tolist() == 0
    coin = binary_entropy(np.array([[[127]], [[255]]], np.uint8))
    assert (coin.dtype, coin.shape) == (np.float32, (1, 1))
    assert coin[0, 0] == pytest.approx(0.5, abs=1e-4)
    fractions = np.random.default_rng(0).integers(0, 256, (3, 4, 5)).astype(np.uint8)
    assert binary_entropy(fractions / 255) == pytest.approx(binary_entropy(fractions), abs=1e-6)


def test_regions_divide_a_section_evenly() -> None:
    assert region_edges(513, 256).tolist() == [0, 256, 513]
    assert region_edges(3, 256).tolist() == [0, 3]
    assert np.diff(region_edges(1000, 300)).tolist() == [333, 333, 334]
    with pytest.raises(InputError, match="regions of 0 voxels"):
        region_edges(10, 0)


def test_blurred_and_coarse_sections_look_different_whatever_their_contrast() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 21, 33)).astype(np.uint8)
    image[2] = gaussian_filter(image[2], 1.5)
    image[3] //= 3
    _, _, looks = describe_regions(summed(image))
    table = summed(image)
    mean = np.array([looks[table.section == section].mean(axis=0) for section in range(5)])
    assert mean[2, 2] < 0.7 * mean[[0, 1, 3, 4], 2].min(), "differences of neighbours vanish by blurring"
    assert mean[3, 2] == pytest.approx(mean[0, 2], rel=0.1), "and not by less contrast"
    assert mean[3, 1] < 0.4 * mean[0, 1]


def test_constant_and_uncounted_regions_are_described_by_zeros() -> None:
    flat = summed(np.full((1, 12, 9), 65535, np.uint16))
    uncertainty, disagreement, looks = describe_regions(flat)
    assert looks[:, 0] == pytest.approx(1, abs=1e-4) and not looks[:, 1:].any()
    nothing = summed(np.ones((1, 12, 9), np.float32), counted=np.zeros((1, 12, 9), np.uint8))
    for values in (uncertainty, disagreement, *describe_regions(nothing)):
        assert np.isfinite(values).all()
    assert not nothing.sums.any()


def test_regions_of_blocks_add_up_to_those_of_the_whole() -> None:
    rng = np.random.default_rng(3)
    shape = (3, 25, 31)
    raw = rng.integers(0, 65536, shape).astype(np.uint16)
    behind = np.pad(raw, ((0, 0), (0, BEYOND), (0, BEYOND)), mode="reflect")
    maps: dict[str, NDArray[Any]] = {name: rng.random(shape, np.float32) for name in ("entropy", "error")}
    maps["error"][rng.random(shape) < 0.2] = np.nan
    maps |= {name: (rng.random(shape) < 0.7).astype(np.uint8) for name in ("counted", "annotated")}
    whole = summed(raw, **maps)
    parts = []
    for z, y, x in ((0, 0, 0), (0, 11, 0), (0, 0, 17), (0, 11, 17), (2, 0, 0), (2, 0, 17), (2, 11, 0), (2, 11, 17)):
        ends = (2 if z == 0 else 3, 11 if y == 0 else 25, 17 if x == 0 else 31)
        box = tuple(slice(a, b) for a, b in zip((z, y, x), ends, strict=True))
        image = behind[box[0], y : ends[1] + BEYOND, x : ends[2] + BEYOND]
        cut = {name: values[box] for name, values in maps.items()}
        edges = (region_edges(25, 10), region_edges(31, 10))
        parts.append(sum_regions(image, begin=(z, y, x), edges=edges, **cut))
    again = merge_regions(parts[::-1])
    assert len(whole) == 3 * 2 * 3
    for name in ("section", "row", "column", "sums"):
        assert np.array_equal(getattr(again, name), getattr(whole, name)), name
    value = dict(zip(MEASURED, whole.sums.sum(axis=0), strict=True))
    assert value["counted"] == maps["counted"].sum()
    assert value["annotated"] == (maps["counted"] & maps["annotated"]).sum()
    assert value["error"] / 65536 == pytest.approx(np.nansum(maps["error"] * maps["counted"]), abs=0.01)


def test_shapes_that_dont_fit_are_refused() -> None:
    with pytest.raises(InputError, match="measurements of shapes"):
        summed(np.zeros((2, 9, 9), np.uint8), counted=np.ones((2, 9, 8)))


def test_sections_correlate_as_numpy_says() -> None:
    """By every eighth section; black voxels that don't count have no part in it."""
    rng = np.random.default_rng(5)
    steps = gaussian_filter(rng.random((40, 30, 31)), (3, 1, 1))
    image = ((steps - steps.min()) / np.ptp(steps) * 255).astype(np.uint8)
    counted = np.ones(image.shape, np.uint8)
    counted[:, :7] = 0
    image[:, :7] = 0
    found = correlations(lag_sums(image, counted, 0, 40))
    for lag, value in zip(LAGS, found, strict=True):
        firsts = [z for z in range(0, 40, 8) if z + lag < 40]
        pairs = [np.concatenate([image[z + more, 7:].ravel() for z in firsts]) for more in (0, lag)]
        assert value == pytest.approx(max(0, np.corrcoef(pairs[0], pairs[1])[0, 1]), abs=1e-3)
    halves = lag_sums(image, counted, 0, 11) + lag_sums(image[11:], counted[11:], 11, 29)
    assert np.array_equal(halves, lag_sums(image, counted, 0, 40))
    assert not correlations(lag_sums(image[:1], counted[:1], 0, 1)).any()
    assert not correlations(lag_sums(np.full_like(image, 9), counted, 0, 40)).any()
