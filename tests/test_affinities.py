"""Affinities, and which of them an annotation knows."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.ops.affinities import (
    NEAREST_3D,
    affinities,
    affinity_mask,
    axis_offsets,
    check_offsets,
    nearest_offsets,
    pair_slices,
)

SHAPES = st.one_of(st.tuples(*[st.integers(1, 6)] * 2), st.tuples(*[st.integers(1, 5)] * 3))


def random_offsets(ndim: int, rng: np.random.Generator) -> list[list[int]]:
    offsets = {tuple(offset) for offset in rng.integers(-4, 5, (4, ndim)).tolist()}
    return [list(o) for o in offsets if any(o) and (tuple(-i for i in o) not in offsets or o > tuple(-i for i in o))]


def partners(shape: tuple[int, ...], offset: list[int]) -> list[tuple[tuple[int, ...], tuple[int, ...] | None]]:
    pairs: list[tuple[tuple[int, ...], tuple[int, ...] | None]] = []
    for p in itertools.product(*map(range, shape)):
        q = tuple(a + o for a, o in zip(p, offset, strict=True))
        pairs.append((p, q if all(0 <= a < n for a, n in zip(q, shape, strict=True)) else None))
    return pairs


@given(shape=SHAPES, seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_every_pair_by_the_definition(shape: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, shape).astype(np.uint64) * np.uint64(2**62)
    offsets = random_offsets(len(shape), rng)
    if not offsets:
        return
    found = affinities(labels, offsets)
    assert found.dtype == np.uint8
    for channel, offset in zip(found, offsets, strict=True):
        for p, q in partners(shape, offset):
            assert channel[p] == (q is not None and labels[p] == labels[q] != 0)


@given(shape=SHAPES, seed=st.integers(0, 2**32 - 1), rim=st.sampled_from(["boundary", "ignore"]), dense=st.booleans())
@settings(max_examples=40, deadline=None)
def test_every_weight_by_the_definition(shape: tuple[int, ...], seed: int, rim: str, dense: bool) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, shape).astype(np.int32)
    mask = rng.random(shape) < 0.5 if dense else labels > 0
    offsets = random_offsets(len(shape), rng)
    if not offsets:
        return
    for channel, offset in zip(affinity_mask(mask, labels, offsets, rim), offsets, strict=True):  # type: ignore[arg-type]
        for p, q in partners(shape, offset):
            if q is None:
                expected = False
            elif mask[p] and mask[q]:
                expected = True
            elif mask[p] or mask[q]:
                expected = rim == "boundary" and labels[p if mask[p] else q] > 0
            else:
                expected = False
            assert channel[p] == expected


@pytest.mark.parametrize("rim", ["boundary", "ignore"])
def test_unannotated_labels_never_count(rim: str) -> None:
    rng = np.random.default_rng(7)
    labels = rng.integers(0, 4, (5, 9, 8)).astype(np.uint64)
    mask = rng.random(labels.shape) < 0.4
    offsets = axis_offsets((1, 1, 1), (2, 3, 3))
    expected = affinity_mask(mask, labels, offsets, rim)  # type: ignore[arg-type]
    assert 0 < expected.sum() < expected.size
    for other in (0, 1, 2**63):
        changed = np.where(mask, labels, np.uint64(other))
        np.testing.assert_array_equal(affinity_mask(mask, changed, offsets, rim), expected)  # type: ignore[arg-type]


def test_background_counts_only_where_zero_means_background() -> None:
    labels = np.array([[0, 0, 1, 1]])
    offsets = [(0, -1)]
    assert affinity_mask(labels > 0, labels, offsets).tolist() == [[[0, 0, 1, 1]]]
    assert affinity_mask(labels > 0, labels, offsets, "ignore").tolist() == [[[0, 0, 0, 1]]]
    assert affinity_mask(np.ones_like(labels), labels, offsets, "ignore").tolist() == [[[0, 1, 1, 1]]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.uint64])
def test_large_identifiers_stay_apart(dtype: type) -> None:
    top = np.iinfo(dtype).max
    labels: NDArray = np.array([[[top, top, top - 1, 0, 0]]], dtype)
    assert affinities(labels, NEAREST_3D)[2].tolist() == [[[0, 1, 0, 0, 0]]]


def test_offsets_as_nets_list_them() -> None:
    assert nearest_offsets(2) == ((-1, 0), (0, -1))
    assert axis_offsets((1, 1, 1), (2, 9, 9))[3:] == ((-2, 0, 0), (0, -9, 0), (0, 0, -9))


def test_an_offset_longer_than_the_array_has_no_pairs() -> None:
    for offset in ((5, 0), (-5, 1), (0, 7)):
        here, there = pair_slices(offset, (3, 4))
        assert np.ones((3, 4))[here].size == np.ones((3, 4))[there].size == 0
    assert not affinities(np.ones((3, 4), np.uint8), [(-5, 0)]).any()


@pytest.mark.parametrize(
    ("offsets", "shape", "named"),
    [
        ([], None, "empty"),
        ([[0, 0, 0]], None, "0, 0, 0"),
        ([[0, 1]], None, "0, 1"),
        ([[0, 0, 1.5]], None, "1.5"),
        ([[0, 0, 1], [0, 0, -1]], None, "twice"),
        ([[0, 0, -9]], (9, 9, 9), "volume"),
    ],
)
def test_bad_offsets_are_named(offsets: list, shape: tuple[int, ...] | None, named: str) -> None:
    with pytest.raises(InputError, match=named) as error:
        check_offsets(offsets, 3, shape, name="nets.3d.offsets")
    assert "nets.3d.offsets" in str(error.value)


@pytest.mark.parametrize("mask", [np.ones((2, 3)), np.ones((1, 3))])
def test_bad_masks_and_rims_are_named(mask: NDArray) -> None:
    labels = np.ones((2, 3), np.uint8)
    with pytest.raises(InputError, match=r"rim|mask"):
        affinity_mask(mask, labels, [(0, -1)], "loose")  # type: ignore[arg-type]


@given(shape=SHAPES, seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_a_part_has_the_values_of_the_whole(shape: tuple[int, ...], seed: int) -> None:
    """Whether its partners lie inside it, outside, or beyond the array."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, shape)
    roi = tuple(slice(int(a), int(b)) for a, b in (np.sort(rng.integers(0, n + 1, 2)) for n in shape))
    offsets = random_offsets(len(shape), rng) or [[1] * len(shape)]
    np.testing.assert_array_equal(affinities(labels, offsets, roi), affinities(labels, offsets)[(slice(None), *roi)])
