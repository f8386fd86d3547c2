"""Targets made with PyTorch equal those made on the processor."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.ops import targets_torch
from sparse2dense.ops.affinities import affinities, affinity_mask, axis_offsets
from sparse2dense.ops.balance import balance_weights
from sparse2dense.ops.boundaries import grow_boundary
from sparse2dense.ops.descriptors import local_shape_descriptors
from sparse2dense.ops.targets_torch import (
    batch_affinities,
    batch_affinity_mask,
    batch_balance_weights,
    batch_descriptors,
    batch_grow_boundary,
)
from tests.voronoi import voronoi

OFFSETS = {2: axis_offsets((1, 1), (3, 4)), 3: (*axis_offsets((1, 1, 1), (2, 4, 5)), (1, -2, 3))}


def cells(shape: Sequence[int], seed: int = 0, objects: int = 6) -> NDArray[np.int64]:
    """Cells, one of them background."""
    labels = voronoi(tuple(shape), objects, seed).astype(np.int64)
    labels[labels == 2] = 0
    return labels


def tensor(labels: NDArray) -> torch.Tensor:
    """A batch of one sample."""
    return torch.from_numpy(labels[np.newaxis].copy())


def assert_same_descriptors(
    labels: NDArray, sigma: Sequence[float], downsample: int = 1, roi: Sequence[slice] | None = None
) -> None:
    expected = local_shape_descriptors(labels, sigma, None, downsample, roi)
    found = batch_descriptors(tensor(labels), sigma, downsample, roi)[0].numpy()
    assert (found.dtype, found.shape) == (np.float32, expected.shape)
    ndim = labels.ndim
    certain = [*range(2 * ndim), len(expected) - 1]
    np.testing.assert_allclose(found[certain], expected[certain], rtol=0, atol=1e-4)
    # where an object is flat under the window, its correlation is a quotient of rounding errors
    flat = (expected[ndim : 2 * ndim] * np.reshape(sigma, (-1, *[1] * ndim)) ** 2 < 0.05).any(axis=0)
    correlations = slice(2 * ndim, -1)
    np.testing.assert_allclose(found[correlations, ~flat], expected[correlations, ~flat], rtol=0, atol=1e-4)


@pytest.mark.parametrize("downsample", [1, 2, 3])
@pytest.mark.parametrize(
    ("shape", "sigma"),
    [
        ((29, 37), (4, 4)),
        ((31, 20), (2.5, 6)),
        ((7, 23, 19), (1.5, 4, 5)),
        ((12, 13, 11), (3, 3, 3)),
        ((1, 9, 8), (2,) * 3),
    ],
)
def test_descriptors_equal(shape: tuple[int, ...], sigma: tuple[float, ...], downsample: int) -> None:
    labels = cells(shape)
    assert len(np.unique(labels)) > 3
    assert_same_descriptors(labels, sigma, downsample)


@given(
    shape=st.one_of(st.tuples(*[st.integers(1, 17)] * 2), st.tuples(*[st.integers(1, 9)] * 3)),
    seed=st.integers(0, 2**32 - 1),
    downsample=st.integers(1, 3),
)
@settings(max_examples=25, deadline=None)
def test_descriptors_of_any_part_equal(shape: tuple[int, ...], seed: int, downsample: int) -> None:
    rng = np.random.default_rng(seed)
    roi = [slice(int(a), int(b)) for a, b in (np.sort(rng.integers(0, n + 1, 2)) for n in shape)]
    sigma = rng.uniform(1, 4, len(shape)).tolist()
    labels = cells(shape, seed)
    assert batch_descriptors(tensor(labels), sigma, downsample, roi).shape[2:] == tuple(s.stop - s.start for s in roi)
    assert_same_descriptors(labels, sigma, downsample, roi)


@pytest.mark.parametrize("shape", [(15, 14), (5, 12, 13)])
@pytest.mark.parametrize("value", [0, 7])
def test_empty_and_single_objects_equal(shape: tuple[int, ...], value: int) -> None:
    labels = np.full(shape, value)
    assert (batch_descriptors(tensor(labels), (3,) * len(shape)).numpy()[:, -1] > 0).all() == (value > 0)
    assert_same_descriptors(labels, (3,) * len(shape), 2)


def test_an_object_that_sampling_misses_has_no_size() -> None:
    labels = np.zeros((5, 6), np.int32)
    labels[1, 1] = 4
    found = batch_descriptors(tensor(labels), (2, 2), 2)[0, :, 1, 1].numpy()
    np.testing.assert_allclose(found, local_shape_descriptors(labels, (2, 2), None, 2)[:, 1, 1], atol=1e-6)
    assert found[-1] == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.uint64])
def test_identifiers_near_the_limit_stay_apart(dtype: type[np.integer]) -> None:
    labels = cells((9, 14))
    limit = np.iinfo(dtype).max // 2 + 3
    named = np.where(labels == 0, 0, labels.astype(dtype) + dtype(limit)).astype(dtype)
    plain, large = tensor(labels), tensor(named)
    assert torch.equal(batch_descriptors(large, (3, 3)), batch_descriptors(plain, (3, 3)))
    assert torch.equal(batch_affinities(large, OFFSETS[2]), batch_affinities(plain, OFFSETS[2]))
    known = torch.ones_like(plain, dtype=torch.uint8)
    grown = batch_grow_boundary(large, 1, known)
    assert grown.dtype == large.dtype
    np.testing.assert_array_equal(grown[0].numpy(), grow_boundary(named, 1))


def test_objects_take_turns_when_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = tensor(cells((6, 15, 14), objects=20))
    together = batch_descriptors(labels, (2, 3, 3))
    monkeypatch.setattr(targets_torch, "BUDGET", 3 * 10 * labels.numel())
    torch.testing.assert_close(batch_descriptors(labels, (2, 3, 3)), together, rtol=0, atol=1e-6)
    assert together.any()


def test_samples_of_a_batch_do_not_meet() -> None:
    """The same label in two samples is two objects."""
    both = np.stack([cells((8, 11, 9), seed) for seed in (1, 2)])
    found = batch_descriptors(torch.from_numpy(both), (2, 3, 3))
    for sample, labels in zip(found, both, strict=True):
        torch.testing.assert_close(sample, batch_descriptors(tensor(labels), (2, 3, 3))[0], rtol=0, atol=1e-6)
    assert not torch.equal(found[0], found[1])


@given(
    shape=st.one_of(st.tuples(*[st.integers(1, 12)] * 2), st.tuples(*[st.integers(1, 8)] * 3)),
    seed=st.integers(0, 2**32 - 1),
    rim=st.sampled_from(["boundary", "ignore"]),
    steps=st.integers(0, 2),
)
@settings(max_examples=40, deadline=None)
def test_affinities_masks_boundaries_and_weights_equal(shape: tuple[int, ...], seed: int, rim, steps: int) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(seed)
    offsets = OFFSETS[len(shape)]
    mask = (rng.random((2, *shape)) < 0.7).astype(np.uint8)
    labels = np.stack([cells(shape, seed % 1000 + i) for i in range(2)]) * (mask if seed % 2 else 1)
    roi = [slice(int(a), int(b)) for a, b in (np.sort(rng.integers(0, n + 1, 2)) for n in shape)]
    every = (slice(None), *roi)
    found = batch_affinities(torch.from_numpy(labels), offsets, roi)
    counts = batch_affinity_mask(torch.from_numpy(mask), torch.from_numpy(labels), offsets, rim, roi)
    weights = batch_balance_weights(found, counts)
    grown = batch_grow_boundary(torch.from_numpy(labels), steps, torch.from_numpy(mask), only_xy=True)
    for i in range(2):
        expected = affinities(labels[i], offsets)[every]
        known = affinity_mask(mask[i], labels[i], offsets, rim)[every]
        np.testing.assert_array_equal(found[i].numpy(), expected)
        np.testing.assert_array_equal(counts[i].numpy(), known)
        singly = balance_weights(expected, known, groups=[[channel] for channel in range(len(offsets))])
        np.testing.assert_allclose(weights[i].numpy(), singly, rtol=1e-6)
        np.testing.assert_array_equal(grown[i].numpy(), grow_boundary(labels[i], steps, mask[i], only_xy=True))


def test_bad_labels_are_named() -> None:
    with pytest.raises(InputError, match="float32"):
        batch_descriptors(torch.zeros((1, 4, 4)), (2, 2))
    with pytest.raises(InputError, match="1 dimensions"):
        batch_descriptors(torch.zeros((1, 4), dtype=torch.int32), (2,))
